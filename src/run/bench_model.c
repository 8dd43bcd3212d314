/* Whole models: what they cost, and where the time goes. */
#include "cl/cl.h"
#include "run/model.h"
#include "vitq/bench.h"

/* Multiply-adds of a node for one image. */
static double products_of(const vq_graph *g, const vq_node *node)
{
    const vq_value *const in = &g->values[node->in[0]], *const out = &g->values[node->out];
    switch (node->op) {
    case VQ_NODE_PATCH_EMBED: return (double)out->rows * out->cols * g->pre.chans * node->patch * node->patch;
    case VQ_NODE_LINEAR: return (double)out->rows * out->cols * in->cols;
    case VQ_NODE_SCORES: return (double)out->rows * out->cols * node->head_dim;
    case VQ_NODE_CONTEXT: return (double)in->rows * in->cols * node->head_dim;
    default: return 0;
    }
}

vq_status vq_bench_model_ops(double *ops, const vq_model *model)
{
    if (!ops || !model) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no model, or no place for its operations");
    const vq_graph *const g = vq_model_graph(model);
    *ops = 0;
    for (int i = 0; i < g->num_nodes; i++) *ops += 2 * products_of(g, &g->nodes[i]);
    return VQ_OK;
}

vq_status vq_bench_profile(vq_device *dev, vq_bench_profile_fn fn, void *user)
{
    if (!dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device");
    return vq_device_profile(dev, fn, user);
}
