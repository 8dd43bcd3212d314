/* pool_s32 on a device. */
#include "ops/args_int.h"
#include "ops/ops_int.h"

enum { MAX_ROWS = 4095 };

static vq_status check_weights(const vq_pool_s32_weights *w, int ld_out, int batch)
{
    if (w->rows < 1 || w->c < 1 || w->parts < 1 || w->parts > 2 || batch < 1 || ld_out < w->parts * w->c)
        return vq_fail(VQ_ERR_SHAPE, "pool_s32: %d x %d, %d parts, row stride %d, batch %d", w->rows, w->c, w->parts,
                       ld_out, batch);
    for (int p = 0; p < w->parts; p++)
        if (w->count[p] < 1 || w->count[p] > MAX_ROWS || w->first[p] < 0 || w->first[p] > w->rows - w->count[p])
            return vq_fail(VQ_ERR_SHAPE, "pool_s32: part %d takes %d rows from %d on of %d", p, w->count[p],
                           w->first[p], w->rows);
    if (w->set) return VQ_OK;
    if (w->bits < 1 || w->bits > 8 || w->shift < 1 || w->shift > 62 || (w->mult != 0 && w->mult < 1 << 30))
        return vq_fail(VQ_ERR_INVALID_ARG, "pool_s32: %d bits, multiplier %d, shift %d", w->bits, w->mult, w->shift);
    return VQ_OK;
}

vq_status vq_pool_s32_run(vq_device *dev, const vq_pool_s32_weights *w, const vq_buf *x, const vq_buf *out, int ld_out,
                          int batch)
{
    VQ_TRY(check_weights(w, ld_out, batch));
    const size_t in_bytes = (size_t)batch * (size_t)w->rows * (size_t)w->c * sizeof(int32_t);
    VQ_TRY(vq_need_bytes("pool_s32", "x", x, in_bytes));
    VQ_TRY(vq_need_bytes("pool_s32", "out", out,
                         vq_rows_bytes((size_t)batch, ld_out, w->parts * w->c, w->set ? sizeof(int32_t) : 1)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_POOL_S32);
    const size_t p = (size_t)variant->p[0];
    const vq_grid grid = {{VQ_CEIL_DIV((size_t)w->c, p), (size_t)batch, (size_t)w->parts},
                          {vq_variant_is_wide(variant) ? 1 : p, 1, 1}};
    vq_kernel *kernel;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, w->set ? "pool_s32_set" : "pool_s32_codes", NULL));
    if (w->set)
        return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(w->rows), VQ_A_I32(w->c), VQ_A_I32(w->first[0]),
                         VQ_A_I32(w->count[0]), VQ_A_I32(w->first[1]), VQ_A_I32(w->count[1]), VQ_A_BUF(out),
                         VQ_A_I32(ld_out));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(w->rows), VQ_A_I32(w->c), VQ_A_I32(w->first[0]),
                     VQ_A_I32(w->count[0]), VQ_A_I32(w->first[1]), VQ_A_I32(w->count[1]), VQ_A_BUF(out),
                     VQ_A_I32(ld_out), VQ_A_I32(w->mult), VQ_A_I32(w->shift), VQ_A_I32(w->zero),
                     VQ_A_I32((1 << w->bits) - 1));
}
