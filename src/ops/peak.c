/* peak on a device. */
#include "ops/peak.h"
#include "ops/args_int.h"
#include "ops/variant_f32.h"

enum { WIDE_GROUPS = 16, GROUPS = 64, COPY_WIDE_GROUPS = 4 }; /* per compute unit */

static size_t units(vq_device *dev)
{
    return (size_t)VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
}

static size_t group_items(const vq_variant *v)
{
    return vq_variant_is_wide(v) ? 1 : (size_t)v->p[0];
}

size_t vq_peak_items(vq_device *dev)
{
    const vq_variant *const v = vq_variant_choose(dev, VQ_OP_PEAK);
    return units(dev) * (vq_variant_is_wide(v) ? WIDE_GROUPS : GROUPS) * group_items(v);
}

int vq_peak_products(vq_device *dev, vq_peak_kind kind)
{
    static const int codes[] = {1, 4, 2, 4}; /* of a lane, by how the variant multiplies */
    const vq_variant *const v = vq_variant_choose(dev, VQ_OP_PEAK);
    if (!vq_variant_is_wide(v)) return v->p[1] * (kind == VQ_PEAK_S8 ? v->p[2] : 1);
    return v->p[0] * v->p[1] * (kind == VQ_PEAK_S8 ? codes[v->p[3]] : 1);
}

vq_status vq_peak_run(vq_device *dev, vq_peak_kind kind, const vq_buf *out, int steps, int passes)
{
    const vq_variant *const v = vq_variant_choose(dev, VQ_OP_PEAK);
    const size_t items = vq_peak_items(dev);
    vq_kernel *kernel;
    if (steps < 1 || steps > VQ_PEAK_MAX_STEPS || passes < 1)
        return vq_fail(VQ_ERR_INVALID_ARG, "peak: %d passes of %d steps, must be 1 to %d steps", passes, steps,
                       VQ_PEAK_MAX_STEPS);
    VQ_TRY(vq_need_bytes("peak", "out", out, items * sizeof(int32_t)));
    VQ_TRY(vq_kernel_get(&kernel, dev, v, kind == VQ_PEAK_S8 ? "peak_s8" : "peak_f32", NULL));
    return VQ_LAUNCH(dev, kernel, ((vq_grid){{items / group_items(v)}, {group_items(v)}}), VQ_A_BUF(out),
                     VQ_A_I32(steps), VQ_A_I32(passes), VQ_A_I32(0));
}

vq_status vq_peak_copy_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t bytes)
{
    const vq_variant *const v = vq_variant_choose(dev, VQ_OP_PEAK);
    const size_t vectors = bytes / 16, items = group_items(v);
    const size_t most = vq_variant_is_wide(v) ? units(dev) * COPY_WIDE_GROUPS : units(dev) * GROUPS;
    vq_kernel *kernel;
    if (!vectors || bytes % 16 || vectors > INT32_MAX / 2)
        return vq_fail(VQ_ERR_INVALID_ARG, "peak: %zu bytes to copy, must be a multiple of 16 below 2^34", bytes);
    VQ_TRY(vq_need_bytes("peak", "x", x, bytes));
    VQ_TRY(vq_need_bytes("peak", "y", y, bytes));
    VQ_TRY(vq_kernel_get(&kernel, dev, v, "peak_copy", NULL));
    return VQ_LAUNCH(dev, kernel, ((vq_grid){{VQ_MIN(VQ_CEIL_DIV(vectors, items), most)}, {items}}), VQ_A_BUF(x),
                     VQ_A_BUF(y), VQ_A_I32((int)vectors));
}

vq_status vq_peak_nothing_run(vq_device *dev)
{
    vq_kernel *kernel;
    VQ_TRY(vq_kernel_get(&kernel, dev, vq_variant_choose(dev, VQ_OP_PEAK), "peak_nothing", NULL));
    return VQ_LAUNCH(dev, kernel, ((vq_grid){{1}, {1}}), VQ_A_I32(0));
}
