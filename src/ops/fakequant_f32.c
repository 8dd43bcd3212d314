/* fakequant_f32 on a device: uniform quantizers and codebooks, to values, whole numbers or codes. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

/* What the four functions share. p0 and p1 hold per_group0 and per_group1 floats for every group. */
typedef struct call {
    const char *function;
    const vq_groups *groups;
    const vq_buf *x, *p0, *p1, *y;
    size_t per_group0, per_group1, y_size;
    int levels, max_levels;
} call;

static vq_status run(vq_device *dev, const call *c)
{
    const size_t groups = (size_t)c->groups->groups, count = c->groups->count;
    if (!count) return VQ_OK;
    VQ_TRY(vq_need_groups(c->function, c->groups));
    if (c->levels < 2 || c->levels > c->max_levels)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d levels, from 2 to %d are possible", c->function, c->levels,
                       c->max_levels);
    VQ_TRY(vq_need(c->function, "x", c->x, count, sizeof(float)));
    VQ_TRY(vq_need(c->function, "y", c->y, count, c->y_size));
    VQ_TRY(vq_need(c->function, "parameters", c->p0, groups * c->per_group0, sizeof(float)));
    VQ_TRY(vq_need(c->function, "parameters", c->p1, groups * c->per_group1, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_FAKEQUANT_F32);
    const size_t inner = groups == 1 ? count : c->groups->inner;
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, c->function, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_elements(variant, count), VQ_A_BUF(c->x), VQ_A_BUF(c->p0), VQ_A_BUF(c->p1),
                     VQ_A_BUF(c->y), VQ_A_I32((int)inner), VQ_A_I32((int)groups), VQ_A_I32(c->levels),
                     VQ_A_I32((int)count));
}

vq_status vq_fakequant_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                                   const vq_buf *zero, int levels, const vq_buf *y)
{
    return run(dev, &(const call){"fakequant_uniform", g, x, scale, zero, y, 1, 1, sizeof(float), levels, 1 << 16});
}

vq_status vq_whole_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                               const vq_buf *zero, int levels, const vq_buf *y)
{
    return run(dev, &(const call){"whole_uniform", g, x, scale, zero, y, 1, 1, sizeof(float), levels, 1 << 16});
}

vq_status vq_quantize_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                                  const vq_buf *zero, int levels, const vq_buf *codes_u8)
{
    return run(dev, &(const call){"quantize_uniform", g, x, scale, zero, codes_u8, 1, 1, 1, levels, 256});
}

vq_status vq_fakequant_codebook_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *thresholds,
                                    const vq_buf *values, int levels, const vq_buf *y)
{
    return run(dev, &(const call){"fakequant_codebook", g, x, thresholds, values, y, (size_t)VQ_MAX(levels - 1, 1),
                                  (size_t)VQ_MAX(levels, 1), sizeof(float), levels, 257});
}
