/* layernorm_f32 and layernorm_f64 on a device. */
#include <string.h>

#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/row_chain.h"
#include "ops/variant_f32.h"

static const char name[] = "layernorm_f32";

static vq_status check_io(const vq_layernorm_f32_io *io)
{
    const int m = io->m, c = io->c, ldx = io->ldx;
    if (m < 1 || c < 1 || ldx < c)
        return vq_fail(VQ_ERR_SHAPE, "%s: M %d, C %d, row stride %d do not fit together", name, m, c, ldx);
    VQ_TRY(vq_need(name, "x", io->x, (size_t)(m - 1) * (size_t)ldx + (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(name, "y", io->y, (size_t)m * (size_t)c, sizeof(float)));
    VQ_TRY(vq_need(name, "gamma", io->gamma, (size_t)c, sizeof(float)));
    return vq_need(name, "beta", io->beta, (size_t)c, sizeof(float));
}

enum { NUM_ARGS = 9 };

static void list_args(vq_arg args[NUM_ARGS], const vq_layernorm_f32_io *io, int rows)
{
    const vq_arg all[NUM_ARGS] = {VQ_A_BUF(io->x),    VQ_A_I32(io->ldx), VQ_A_BUF(io->gamma),
                                  VQ_A_BUF(io->beta), VQ_A_F32(io->eps), VQ_A_BUF(io->y),
                                  VQ_A_I32(io->m),    VQ_A_I32(io->c),   VQ_A_I32(rows)};
    memcpy(args, all, sizeof all);
}

vq_status vq_layernorm_f32_run(vq_device *dev, const vq_layernorm_f32_io *io)
{
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_LAYERNORM_F32);
    vq_arg args[NUM_ARGS];
    vq_kernel *kernel = NULL;
    VQ_TRY(check_io(io));
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, name, NULL));
    list_args(args, io, variant->p[0]);
    return vq_launch(dev, kernel, vq_grid_rows(variant, (size_t)io->m), args, NUM_ARGS);
}

void vq_layernorm_f32_part(vq_row_part *part, vq_device *dev)
{
    static const char params[] = "__global const float *,int,__global const float *,__global const float *,float,"
                                 "__global float *,int,int,int";
    *part = (vq_row_part){.kernel = {vq_variant_choose(dev, VQ_OP_LAYERNORM_F32), name, "", params}, .tile_rows = 1};
}

vq_status vq_layernorm_f32_part_args(vq_arg *args, int *count, const vq_layernorm_f32_io *io, vq_row_share share)
{
    VQ_TRY(check_io(io));
    list_args(args, io, share.tile);
    *count = NUM_ARGS;
    return VQ_OK;
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
