/* softmax_f32 and softmax_f64 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

static vq_status run(vq_device *dev, vq_op id, const char *op, const vq_buf *x, const vq_buf *y, size_t rows, int t)
{
    if (!rows || t < 1) return vq_fail(VQ_ERR_SHAPE, "%s: %zu rows of %d must be positive", op, rows, t);
    VQ_TRY(vq_need(op, "x", x, rows * (size_t)t, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, rows * (size_t)t, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, id);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_rows(variant, rows), VQ_A_BUF(x), VQ_A_BUF(y), VQ_A_I32((int)rows),
                     VQ_A_I32(t));
}

vq_status vq_softmax_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t)
{
    return run(dev, VQ_OP_SOFTMAX_F32, "softmax_f32", x, y, rows, t);
}

vq_status vq_softmax_f64_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t)
{
    return run(dev, VQ_OP_SOFTMAX_F64, "softmax_f64", x, y, rows, t);
}
