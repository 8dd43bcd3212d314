/* gram_error_f32 on a device. */
#include <stdlib.h>

#include "ops/args_f32.h"
#include "ops/ops_f32.h"

enum { LANES = 16 };

/* [n][num] as [n][blocks * LANES]; what is too much repeats the last candidate. */
static vq_status upload_padded(vq_buf **out, vq_device *dev, const float *x, int n, int num, int blocks)
{
    const int padded = blocks * LANES;
    float *all = NULL;
    VQ_TRY(vq_alloc(&all, (size_t)n * (size_t)padded, sizeof *all, "candidates"));
    for (int r = 0; r < n; r++)
        for (int j = 0; j < padded; j++)
            all[(size_t)r * (size_t)padded + (size_t)j] = x[(size_t)r * (size_t)num + (size_t)VQ_MIN(j, num - 1)];
    const vq_status status = vq_buf_create_from(out, dev, all, (size_t)n * (size_t)padded * sizeof *all);
    free(all);
    return status;
}

/* out [n][num][terms] of buf [n][blocks][terms][LANES]. */
static vq_status read_unpadded(vq_device *dev, const vq_buf *buf, float *out, int n, int num, int blocks, int terms)
{
    const size_t count = (size_t)n * (size_t)blocks * (size_t)terms * LANES;
    float *all = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&all, count, sizeof *all, "candidates"));
    VQ_GO(vq_buf_read(dev, buf, 0, all, count * sizeof *all));
    for (int r = 0; r < n; r++)
        for (int j = 0; j < num; j++)
            for (int t = 0; t < terms; t++)
                out[((size_t)r * (size_t)num + (size_t)j) * (size_t)terms + (size_t)t] =
                    all[(((size_t)r * (size_t)blocks + (size_t)(j / LANES)) * (size_t)terms + (size_t)t) * LANES +
                        (size_t)(j % LANES)];
done:
    free(all);
    return status;
}

/* along NULL: errors, else terms. */
static vq_status run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const vq_buf *cross, const vq_buf *along,
                     const float *scale, const float *zero, int n, int k, int num, int levels, bool diagonal,
                     float *out)
{
    static const char op[] = "gram_error_f32";
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_GRAM_ERROR_F32);
    const int blocks = VQ_CEIL_DIV(num, LANES), terms = along ? 3 : 1;
    const size_t slots = VQ_MIN((size_t)variant->p[0], (size_t)n * (size_t)blocks);
    const vq_grid grid = {{slots}, {variant->needs & VQ_CAP_CPU ? 1 : LANES}};
    vq_buf *s = NULL, *z = NULL, *scratch = NULL, *sums = NULL;
    vq_kernel *kernel = NULL;
    vq_status status = VQ_OK;
    if (n < 1 || k < 1 || num < 1 || levels < 2)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d rows of %d weights, %d candidates of %d levels", op, n, k, num,
                       levels);
    VQ_TRY(vq_need(op, "w", w, (size_t)n * (size_t)k, sizeof(float)));
    VQ_TRY(vq_need(op, "gram", gram, (size_t)k * (size_t)k, sizeof(float)));
    VQ_TRY(vq_need(op, "cross", cross, (size_t)n * (size_t)k, sizeof(float)));
    if (along) VQ_TRY(vq_need(op, "w times gram", along, (size_t)n * (size_t)k, sizeof(float)));
    VQ_GO(upload_padded(&s, dev, scale, n, num, blocks));
    VQ_GO(upload_padded(&z, dev, zero, n, num, blocks));
    VQ_GO(vq_buf_create(&scratch, dev, slots * (size_t)k * LANES * sizeof(float)));
    VQ_GO(vq_buf_create(&sums, dev, (size_t)n * (size_t)blocks * (size_t)terms * LANES * sizeof(float)));
    VQ_GO(vq_kernel_get(&kernel, dev, variant, "gram_error", along ? "-DTERMS" : NULL));
    const vq_arg args[] = {VQ_A_BUF(w),       VQ_A_BUF(gram),     VQ_A_BUF(cross), VQ_A_BUF(s), VQ_A_BUF(z),
                           VQ_A_BUF(scratch), VQ_A_BUF(sums),     VQ_A_I32(n),     VQ_A_I32(k), VQ_A_I32(blocks),
                           VQ_A_I32(levels),  VQ_A_I32(diagonal), VQ_A_BUF(along)};
    VQ_GO(vq_launch(dev, kernel, grid, args, (int)VQ_ARRAY_LEN(args) - (along ? 0 : 1)));
    VQ_GO(read_unpadded(dev, sums, out, n, num, blocks, terms));
done:
    vq_buf_destroy(&s);
    vq_buf_destroy(&z);
    vq_buf_destroy(&scratch);
    vq_buf_destroy(&sums);
    return status;
}

vq_status vq_gram_error_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const vq_buf *cross,
                            const float *scale, const float *zero, int n, int k, int num, int levels, bool diagonal,
                            float *error)
{
    return run(dev, w, gram, cross, NULL, scale, zero, n, k, num, levels, diagonal, error);
}

vq_status vq_gram_terms_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const vq_buf *cross,
                            const vq_buf *along, const float *scale, const float *zero, int n, int k, int num,
                            int levels, bool diagonal, float *terms)
{
    if (!along) return vq_fail(VQ_ERR_INVALID_ARG, "gram_error_f32: terms need w times gram");
    return run(dev, w, gram, cross, along, scale, zero, n, k, num, levels, diagonal, terms);
}
