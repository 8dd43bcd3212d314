/* attention_f32 on a device. */
#include <stdio.h>

#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

/* Local memory of a work-group, in floats. */
static size_t local_floats(const vq_variant *variant, int t, int d)
{
    const size_t rows = (size_t)variant->p[0], cols = 16 * (size_t)variant->p[1], tokens = (size_t)t, dim = (size_t)d;
    if (!vq_variant_is_wide(variant)) return tokens;
    const size_t padded = VQ_ROUND_UP(tokens, cols);
    return padded * dim + VQ_ROUND_UP(dim, cols) * tokens + rows * (padded + dim);
}

bool vq_attention_f32_fits(vq_device *dev, int t, int d)
{
    enum { OTHERS = 4096 }; /* bytes of a kernel's own */
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_ATTENTION_F32);
    return local_floats(variant, t, d) * sizeof(float) + OTHERS <= vq_device_get_info(dev)->local_mem_bytes;
}

/* Queries for one work-item of the wide kernel: all of a head, unless the threads would go without work. */
static int rows_per_item(const vq_device *dev, const vq_variant *variant, size_t heads, int t)
{
    enum { ITEMS_PER_UNIT = 6 };
    const size_t items = ITEMS_PER_UNIT * (size_t)VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    const int tile = variant->p[0], tiles = VQ_CEIL_DIV(t, tile);
    const int chunks = (int)VQ_MIN(VQ_CEIL_DIV(items, heads), (size_t)tiles);
    return VQ_CEIL_DIV(tiles, chunks) * tile;
}

vq_status vq_attention_f32_run(vq_device *dev, const vq_buf *qkv, int t, int heads, int d, float scale,
                               const vq_buf *out, int batch)
{
    static const char name[] = "attention_f32";
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_ATTENTION_F32);
    if (batch < 1 || t < 1 || heads < 1 || d < 1 || !(scale > 0))
        return vq_fail(VQ_ERR_SHAPE, "%s: %d images of %d tokens, %d heads of %d, scale %g", name, batch, t, heads, d,
                       (double)scale);
    if (!vq_attention_f32_fits(dev, t, d))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %d tokens, heads of %d do not fit local memory", name, t, d);
    const size_t count = (size_t)batch * (size_t)t * (size_t)heads * (size_t)d;
    VQ_TRY(vq_need(name, "qkv", qkv, 3 * count, sizeof(float)));
    VQ_TRY(vq_need(name, "out", out, count, sizeof(float)));
    const bool wide = vq_variant_is_wide(variant);
    const int rows = wide ? rows_per_item(dev, variant, (size_t)batch * (size_t)heads, t) : 1;
    const vq_grid grid = {{(size_t)VQ_CEIL_DIV(t, rows), (size_t)heads, (size_t)batch},
                          {wide ? 1 : (size_t)variant->p[0], 1, 1}};
    vq_kernel *kernel = NULL;
    char options[64];
    snprintf(options, sizeof options, "-DTOKENS=%d -DWIDTH=%d", t, d);
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, name, wide ? options : NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(qkv), VQ_A_BUF(out), VQ_A_I32(t), VQ_A_I32(d), VQ_A_F32(scale),
                     VQ_A_I32(rows), VQ_A_LOCAL(local_floats(variant, t, d) * sizeof(float)));
}
