/* tokens_s32 on a device. */
#include "ops/args_int.h"
#include "ops/ops_int.h"

vq_status vq_tokens_s32_run(vq_device *dev, const vq_buf *init, int count, const vq_buf *out, int batch)
{
    if (count < 1 || batch < 1) return vq_fail(VQ_ERR_SHAPE, "tokens_s32: %d values, %d images", count, batch);
    const size_t bytes = (size_t)count * sizeof(int32_t);
    VQ_TRY(vq_need_bytes("tokens_s32", "init", init, bytes));
    VQ_TRY(vq_need_bytes("tokens_s32", "out", out, bytes * (size_t)batch));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_TOKENS_S32);
    const size_t p = (size_t)variant->p[0];
    vq_kernel *kernel;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, "tokens_s32", NULL));
    const vq_grid grid = {{VQ_CEIL_DIV((size_t)count, p), (size_t)batch}, {vq_variant_is_wide(variant) ? 1 : p}};
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(init), VQ_A_BUF(out), VQ_A_I32(count));
}
