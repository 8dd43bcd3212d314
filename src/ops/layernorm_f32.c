/* layernorm_f32 and layernorm_f64 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

vq_status vq_layernorm_f32_run(vq_device *dev, const vq_buf *x, int ldx, const vq_buf *gamma, const vq_buf *beta,
                               float eps, const vq_buf *y, int m, int c)
{
    static const char op[] = "layernorm_f32";
    if (m < 1 || c < 1 || ldx < c)
        return vq_fail(VQ_ERR_SHAPE, "%s: M %d, C %d, row stride %d do not fit together", op, m, c, ldx);
    VQ_TRY(vq_need(op, "x", x, (size_t)(m - 1) * (size_t)ldx + (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, (size_t)m * (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "gamma", gamma, (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "beta", beta, (size_t)c, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_LAYERNORM_F32);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_rows(variant, (size_t)m), VQ_A_BUF(x), VQ_A_I32(ldx), VQ_A_BUF(gamma),
                     VQ_A_BUF(beta), VQ_A_F32(eps), VQ_A_BUF(y), VQ_A_I32(m), VQ_A_I32(c));
}

vq_status vq_layernorm_f64_run(vq_device *dev, const vq_buf *x, const vq_buf *gamma, const vq_buf *beta, float eps,
                               const vq_buf *y, int m, int c)
{
    static const char op[] = "layernorm_f64";
    if (m < 1 || c < 1) return vq_fail(VQ_ERR_SHAPE, "%s: M %d and C %d must be positive", op, m, c);
    VQ_TRY(vq_need(op, "x", x, (size_t)m * (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, (size_t)m * (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "gamma", gamma, (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(op, "beta", beta, (size_t)c, sizeof(float)));
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_LAYERNORM_F64);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, op, NULL));
    return VQ_LAUNCH(dev, kernel, vq_grid_rows(variant, (size_t)m), VQ_A_BUF(x), VQ_A_BUF(gamma), VQ_A_BUF(beta),
                     VQ_A_F32(eps), VQ_A_BUF(y), VQ_A_I32(m), VQ_A_I32(c));
}
