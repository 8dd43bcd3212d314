/* descent_f32 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"

enum { LANES = 16 };

vq_status vq_descent_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const float *scale, const float *zero,
                         int n, int k, int levels, const vq_buf *codes, const vq_buf *values, float *error)
{
    static const char op[] = "descent_f32";
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_DESCENT_F32);
    const size_t count = (size_t)n * (size_t)k, blocks = (size_t)VQ_CEIL_DIV(n, LANES);
    const vq_grid grid = {{blocks}, {variant->needs & VQ_CAP_CPU ? 1 : LANES}};
    vq_buf *s = NULL, *z = NULL, *scratch = NULL, *sums = NULL;
    vq_kernel *kernel = NULL;
    vq_status status = VQ_OK;
    if (n < 1 || k < 1 || levels < 2 || levels > 256)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d rows of %d weights with %d levels", op, n, k, levels);
    VQ_TRY(vq_need(op, "w", w, count, sizeof(float)));
    VQ_TRY(vq_need(op, "gram", gram, (size_t)k * (size_t)k, sizeof(float)));
    VQ_TRY(vq_need(op, "codes", codes, count, 1));
    VQ_TRY(vq_need(op, "values", values, count, sizeof(float)));
    VQ_GO(vq_upload_lanes(&s, dev, scale, n, LANES));
    VQ_GO(vq_upload_lanes(&z, dev, zero, n, LANES));
    VQ_GO(vq_buf_create(&scratch, dev, 3 * blocks * LANES * (size_t)k * sizeof(float)));
    VQ_GO(vq_buf_create(&sums, dev, (size_t)n * sizeof(float)));
    VQ_GO(vq_kernel_get(&kernel, dev, variant, "descent", NULL));
    VQ_GO(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(w), VQ_A_BUF(gram), VQ_A_BUF(s), VQ_A_BUF(z), VQ_A_BUF(scratch),
                    VQ_A_BUF(codes), VQ_A_BUF(values), VQ_A_BUF(sums), VQ_A_I32(n), VQ_A_I32(k), VQ_A_I32(levels)));
    if (error) VQ_GO(vq_buf_read(dev, sums, 0, error, (size_t)n * sizeof *error));
    VQ_GO(vq_device_finish(dev));
done:
    vq_buf_destroy(&s);
    vq_buf_destroy(&z);
    vq_buf_destroy(&scratch);
    vq_buf_destroy(&sums);
    return status;
}
