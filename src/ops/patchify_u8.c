/* patchify_u8 on a device. */
#include "ops/args_int.h"
#include "ops/ops_int.h"

static vq_status check(const vq_patchify_shape *s, const vq_buf *image, const vq_buf *out, int ld_out, size_t rows)
{
    const size_t pixels = (size_t)s->height * (size_t)s->width * (size_t)s->batch;
    const int64_t columns = (int64_t)s->chans * s->patch * s->patch;
    if (columns > ld_out || rows > INT32_MAX)
        return vq_fail(VQ_ERR_SHAPE, "patchify_u8: %zu rows of %lld columns with stride %d", rows, (long long)columns,
                       ld_out);
    VQ_TRY(vq_need_bytes("patchify_u8", "image", image, pixels * (size_t)s->chans));
    return vq_need_bytes("patchify_u8", "out", out, rows * (size_t)ld_out);
}

vq_status vq_patchify_u8_run(vq_device *dev, const vq_patchify_shape *shape, const vq_buf *image, const vq_buf *out,
                             int ld_out)
{
    const vq_patchify_shape s = *shape;
    if (s.batch < 1 || s.chans < 1 || s.chans > 4096 || s.patch < 1 || s.patch > 4096 || s.height < 1 || s.width < 1 ||
        s.height % s.patch || s.width % s.patch)
        return vq_fail(VQ_ERR_SHAPE, "patchify_u8: %d images of %d x %d x %d in patches of %d", s.batch, s.height,
                       s.width, s.chans, s.patch);
    const size_t rows = (size_t)s.batch * (size_t)(s.height / s.patch) * (size_t)(s.width / s.patch);
    VQ_TRY(check(&s, image, out, ld_out, rows));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_PATCHIFY_U8);
    vq_kernel *kernel;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, "patchify_u8", NULL));
    vq_grid grid = {{rows}, {1}};
    if (!vq_variant_is_wide(variant)) {
        const size_t x = (size_t)variant->p[0], y = (size_t)variant->p[1];
        grid = (vq_grid){{VQ_CEIL_DIV((size_t)ld_out, x), VQ_CEIL_DIV(rows, y)}, {x, y}};
    }
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(image), VQ_A_BUF(out), VQ_A_I32((int)rows), VQ_A_I32(s.height),
                     VQ_A_I32(s.width), VQ_A_I32(s.chans), VQ_A_I32(s.patch), VQ_A_I32(ld_out));
}
