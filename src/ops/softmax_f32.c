/* softmax_f32 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

vq_status vq_softmax_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t)
{
    static const char op[] = "softmax_f32";
    if (!rows || t < 1) return vq_fail(VQ_ERR_SHAPE, "%s: %zu rows of %d must be positive", op, rows, t);
    VQ_TRY(vq_need(op, "x", x, rows * (size_t)t, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, rows * (size_t)t, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_SOFTMAX_F32);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_rows(variant, rows), VQ_A_BUF(x), VQ_A_BUF(y), VQ_A_I32((int)rows),
                     VQ_A_I32(t));
}
