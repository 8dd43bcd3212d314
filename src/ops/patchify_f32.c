/* patchify_f32 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

vq_status vq_patchify_f32_run(vq_device *dev, int batch, int height, int width, int chans, int patch,
                              const vq_buf *image_u8, const vq_buf *out)
{
    static const char op[] = "patchify_f32";
    vq_kernel *kernel = NULL;
    if (batch < 1 || chans < 1 || patch < 1 || height < patch || width < patch || height % patch || width % patch)
        return vq_fail(VQ_ERR_SHAPE, "%s: %d images of %d x %d x %d do not divide into patches of %d", op, batch,
                       height, width, chans, patch);
    const size_t count = (size_t)batch * (size_t)height * (size_t)width * (size_t)chans;
    VQ_TRY(vq_need(op, "image", image_u8, count, 1));
    VQ_TRY(vq_need(op, "out", out, count, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_PATCHIFY_F32);
    const size_t cols = (size_t)chans * (size_t)patch * (size_t)patch;
    const size_t local = vq_variant_is_wide(variant) ? 1 : (size_t)variant->p[0];
    const size_t blocks = vq_variant_is_wide(variant) ? 1 : VQ_CEIL_DIV(cols, local);
    const vq_grid grid = {{blocks, (size_t)(height / patch) * (size_t)(width / patch), (size_t)batch}, {local, 1, 1}};
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(image_u8), VQ_A_BUF(out), VQ_A_I32(height), VQ_A_I32(width),
                     VQ_A_I32(chans), VQ_A_I32(patch));
}
