/* Chains of row-wise ops: one kernel that calls theirs. */
#include "ops/row_chain.h"

#include <stdlib.h>
#include <string.h>

#include "ops/args_int.h"

struct vq_row_chain {
    vq_kernel *kernel;
    vq_row_op ops[VQ_ROW_CHAIN_MOST];
    int count;
    int tile_rows, most_rows, units;
};

bool vq_row_chain_fits(vq_device *dev, vq_op product, vq_op layernorm)
{
    return vq_variant_is_wide(vq_variant_choose(dev, product)) && vq_variant_is_wide(vq_variant_choose(dev, layernorm));
}

static void describe(vq_row_part *part, vq_device *dev, const vq_row_op *op)
{
    if (op->gemm)
        vq_gemm_s8_part(part, op->gemm);
    else if (op->layernorm)
        vq_layernorm_s32_part(part, op->layernorm);
    else if (op->linear)
        vq_linear_f32_part(part, op->linear);
    else
        vq_layernorm_f32_part(part, dev);
}

bool vq_row_chain_alike(vq_device *dev, const vq_row_op *a, const vq_row_op *b, int count)
{
    for (int i = 0; i < count; i++) {
        vq_row_part p, q;
        describe(&p, dev, &a[i]);
        describe(&q, dev, &b[i]);
        if (p.kernel.variant != q.kernel.variant || strcmp(p.kernel.options, q.kernel.options)) return false;
    }
    return true;
}

static vq_status create(vq_row_chain *chain, vq_device *dev, const vq_row_op *ops, int count)
{
    vq_kernel_part kernels[VQ_ROW_CHAIN_MOST];
    chain->count = count;
    chain->units = VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    chain->tile_rows = 1;
    chain->most_rows = INT32_MAX;
    for (int i = 0; i < count; i++) {
        vq_row_part part;
        chain->ops[i] = ops[i];
        describe(&part, dev, &ops[i]);
        if (!vq_variant_is_wide(part.kernel.variant))
            return vq_fail(VQ_ERR_UNSUPPORTED, "device %s: %s is no part of a chain", vq_device_get_info(dev)->name,
                           part.kernel.variant->name);
        if (part.tile_rows > 1 && chain->tile_rows > 1 && part.tile_rows != chain->tile_rows)
            return vq_fail(VQ_ERR_INVALID_ARG, "row chain: products of %d and of %d rows at a time", chain->tile_rows,
                           part.tile_rows);
        kernels[i] = part.kernel;
        chain->tile_rows = VQ_MAX(chain->tile_rows, part.tile_rows);
        if (part.most_rows) chain->most_rows = VQ_MIN(chain->most_rows, part.most_rows);
    }
    return vq_kernel_chain(&chain->kernel, dev, "row_chain", kernels, count);
}

vq_status vq_row_chain_create(vq_row_chain **out, vq_device *dev, const vq_row_op *ops, int count)
{
    *out = NULL;
    if (count < 1 || count > VQ_ROW_CHAIN_MOST)
        return vq_fail(VQ_ERR_INVALID_ARG, "row chain: %d ops, must be 1 to %d", count, VQ_ROW_CHAIN_MOST);
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "a chain of rows"));
    const vq_status status = create(*out, dev, ops, count);
    if (status != VQ_OK) vq_row_chain_destroy(out);
    return status;
}

void vq_row_chain_destroy(vq_row_chain **chain)
{
    free(*chain);
    *chain = NULL;
}

/* Work-groups: each thread has two, since threads do not start at the same time, or more of no more rows than may share
 * the weights on their way through the caches. */
static int count_groups(const vq_row_chain *c, int tiles)
{
    const int groups = VQ_MAX(2 * c->units, VQ_CEIL_DIV(tiles, c->most_rows / c->tile_rows));
    return VQ_MIN(VQ_ROUND_UP(groups, c->units), tiles);
}

static int rows_of(const vq_row_op *op, const vq_row_io *io)
{
    if (op->gemm) return io->gemm.m;
    if (op->layernorm) return io->layernorm.m;
    return op->linear ? io->linear.m : io->layernorm_f32.m;
}

static vq_status list_args(vq_arg *args, int *count, const vq_row_op *op, const vq_row_io *io, vq_row_share share)
{
    if (op->gemm) return vq_gemm_s8_part_args(args, count, op->gemm, &io->gemm, share);
    if (op->layernorm) return vq_layernorm_s32_part_args(args, count, op->layernorm, &io->layernorm, share);
    if (op->linear) return vq_linear_f32_part_args(args, count, op->linear, &io->linear, share);
    return vq_layernorm_f32_part_args(args, count, &io->layernorm_f32, share);
}

vq_status vq_row_chain_run(vq_device *dev, const vq_row_chain *chain, const vq_row_io *ios)
{
    vq_arg args[VQ_ROW_CHAIN_MOST * VQ_PART_ARGS];
    int at = 0, count = 0;
    const int tiles = VQ_MAX(VQ_CEIL_DIV(rows_of(&chain->ops[0], &ios[0]), chain->tile_rows), 1);
    const int groups = count_groups(chain, tiles);
    const vq_row_share share = {chain->tile_rows, VQ_CEIL_DIV(tiles, groups) * chain->tile_rows};
    for (int i = 0; i < chain->count; i++, at += count)
        VQ_TRY(list_args(args + at, &count, &chain->ops[i], &ios[i], share));
    return vq_launch(dev, chain->kernel, (vq_grid){{(size_t)groups}, {1}}, args, at);
}
