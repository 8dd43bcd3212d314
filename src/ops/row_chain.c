/* Chains of row-wise ops: one kernel that calls theirs. */
#include "ops/row_chain.h"

#include <stdlib.h>

#include "ops/args_int.h"

struct vq_row_chain {
    vq_kernel *kernel;
    vq_row_op ops[VQ_ROW_CHAIN_MOST];
    int count;
    int tile_rows, most_rows, units;
};

bool vq_row_chain_fits(vq_device *dev)
{
    return vq_has_one_item(vq_variant_choose(dev, VQ_OP_GEMM_S8)) &&
           vq_has_one_item(vq_variant_choose(dev, VQ_OP_LAYERNORM_S32));
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
        if (ops[i].gemm)
            vq_gemm_s8_part(&part, ops[i].gemm);
        else
            vq_layernorm_s32_part(&part, ops[i].layernorm);
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
    if (!vq_row_chain_fits(dev))
        return vq_fail(VQ_ERR_UNSUPPORTED, "device %s: its kernels are no parts of chains",
                       vq_device_get_info(dev)->name);
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

/* Rows of a work-group: as many as may share the weights on their way through the caches, or fewer, so that each thread
 * has two groups: threads do not start at the same time. */
static int cut(const vq_row_chain *c, int m)
{
    const int tiles = VQ_CEIL_DIV(m, c->tile_rows), most = c->most_rows / c->tile_rows;
    return VQ_MIN(VQ_CEIL_DIV(tiles, 2 * c->units), most) * c->tile_rows;
}

vq_status vq_row_chain_run(vq_device *dev, const vq_row_chain *chain, const vq_row_io *ios)
{
    vq_arg args[VQ_ROW_CHAIN_MOST * VQ_PART_ARGS];
    int at = 0, count = 0;
    const int m = chain->ops[0].gemm ? ios[0].gemm.m : ios[0].layernorm.m, rows = cut(chain, VQ_MAX(m, 1));
    for (int i = 0; i < chain->count; i++, at += count) {
        const vq_row_op *const op = &chain->ops[i];
        if (op->gemm)
            VQ_TRY(vq_gemm_s8_part_args(args + at, &count, op->gemm, &ios[i].gemm, rows));
        else
            VQ_TRY(vq_layernorm_s32_part_args(args + at, &count, op->layernorm, &ios[i].layernorm, rows));
    }
    return vq_launch(dev, chain->kernel, (vq_grid){{(size_t)VQ_CEIL_DIV(m, rows)}, {1}}, args, at);
}
