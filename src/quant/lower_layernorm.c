/* LayerNorm and the quantizer behind it: code = floor(y * gamma / s + beta / s + zero + 1/2), y with 16 fraction bits.
 * For s32 results s is their unit. Pools, and the quantizer behind them. */
#include <math.h>
#include <stdlib.h>

#include "quant/lower.h"

/* The largest shift for which multiplier and offset stay in range, so that their rounding is as fine as can be. */
static bool fit_channel(int32_t *mult, uint8_t *shift, int64_t *bias, double gain, double offset)
{
    for (int s = 62; s >= 1; s--) {
        const double m = rint(ldexp(gain, s - VQ_PROB_BITS)), b = rint(ldexp(offset, s));
        if (!(fabs(m) < 0x1p31 - 1) || !(fabs(b) < 0x1p60)) continue;
        *mult = (int32_t)m;
        *shift = (uint8_t)s;
        *bias = (int64_t)b;
        return true;
    }
    return false;
}

vq_status vq_lower_layernorm(const vq_lowering *l, vq_layernorm_s32_weights *w, const char *name, int node,
                             const vq_quantizer *q)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const n = &g->nodes[node];
    const vq_shape shape = vq_shape1(g->values[n->out].cols);
    int32_t *mult = NULL;
    uint8_t *shift = NULL;
    int64_t *bias = NULL;
    w->c = (int)shape.dims[0];
    w->set = !q;
    w->bits = q ? q->bits : 0;
    w->eps = (uint64_t)VQ_MIN(VQ_MAX(rint((double)n->eps * 0x1p32), 1.0), 0x1p32 - 1);
    VQ_TRY(vq_lower_array(l, &mult, name, "mult", VQ_DTYPE_S32, shape));
    w->mult = mult;
    VQ_TRY(vq_lower_array(l, &shift, name, "shift", VQ_DTYPE_U8, shape));
    w->shift = shift;
    VQ_TRY(vq_lower_array(l, &bias, name, "bias", VQ_DTYPE_S64, shape));
    w->bias = bias;
    if (!l->st) {
        const float *const gamma = g->params[n->weight].data, *const beta = g->params[n->bias].data;
        const double scale = q ? (double)q->scale[0] : ldexp(1, -VQ_RESIDUAL_BITS);
        const double zero = q ? (double)vq_lower_zero(q, 0) : 0;
        for (int c = 0; c < w->c; c++)
            if (!fit_channel(&mult[c], &shift[c], &bias[c], gamma[c] / scale, beta[c] / scale + zero))
                return vq_fail(VQ_ERR_UNSUPPORTED,
                               "%s: gamma %g and beta %g of channel %d are out of range for scale %g", name,
                               (double)gamma[c], (double)beta[c], c, scale);
    }
    return vq_prove_layernorm(w, name);
}

vq_status vq_lower_pool(const vq_lowering *l, vq_pool_s32_weights *w, const char *name, int node, const vq_quantizer *q)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const n = &g->nodes[node];
    int32_t *requant = NULL; /* multiplier, shift, zero point */
    uint8_t shift = 0;
    *w = (vq_pool_s32_weights){.rows = g->values[n->in[0]].rows, .c = g->values[n->in[0]].cols, .parts = n->num_pools};
    for (int p = 0; p < n->num_pools; p++) {
        w->first[p] = n->pools[p].first;
        w->count[p] = n->pools[p].count;
    }
    w->set = !q;
    if (w->set) return vq_prove_pool(w, name);
    w->bits = q->bits;
    VQ_TRY(vq_lower_array(l, &requant, name, "requant", VQ_DTYPE_S32, vq_shape1(3)));
    if (!l->st) {
        const double factor = ldexp(1 / (double)q->scale[0], -VQ_RESIDUAL_BITS);
        if (!vq_mult_shift(&requant[0], &shift, factor)) {
            free(requant);
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: scale %g of its codes is out of range", name, (double)q->scale[0]);
        }
        requant[1] = shift;
        requant[2] = (int32_t)VQ_MIN(VQ_MAX(vq_lower_zero(q, 0), -INT32_MAX), INT32_MAX);
    }
    w->mult = requant[0];
    w->shift = requant[1];
    w->zero = requant[2];
    free(requant);
    return vq_prove_pool(w, name);
}
