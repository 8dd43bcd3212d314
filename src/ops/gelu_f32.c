/* gelu_f32 and gelu_rational_f32 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

static vq_status run(vq_device *dev, vq_op id, const char *op, const vq_buf *x, const vq_buf *y, size_t count)
{
    if (!count) return VQ_OK;
    VQ_TRY(vq_need(op, "x", x, count, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, count, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, id);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_elements(variant, count), VQ_A_BUF(x), VQ_A_BUF(y), VQ_A_I32((int)count));
}

vq_status vq_gelu_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t count)
{
    return run(dev, VQ_OP_GELU_F32, "gelu_f32", x, y, count);
}

vq_status vq_gelu_rational_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t count)
{
    return run(dev, VQ_OP_GELU_RATIONAL_F32, "gelu_rational_f32", x, y, count);
}
