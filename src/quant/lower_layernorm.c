/* LayerNorm and the quantizer behind it: code = floor(y * gamma / s + beta / s + zero + 1/2), y with 16 fraction bits.
 */
#include <math.h>

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
    w->bits = q->bits;
    w->eps = (uint64_t)VQ_MIN(VQ_MAX(rint((double)n->eps * 0x1p32), 1.0), 0x1p32 - 1);
    VQ_TRY(vq_lower_array(l, &mult, name, "mult", VQ_DTYPE_S32, shape));
    w->mult = mult;
    VQ_TRY(vq_lower_array(l, &shift, name, "shift", VQ_DTYPE_U8, shape));
    w->shift = shift;
    VQ_TRY(vq_lower_array(l, &bias, name, "bias", VQ_DTYPE_S64, shape));
    w->bias = bias;
    if (!l->st) {
        const float *const gamma = g->params[n->weight].data, *const beta = g->params[n->bias].data;
        const double scale = q->scale[0], zero = (double)vq_lower_zero(q, 0);
        for (int c = 0; c < w->c; c++)
            if (!fit_channel(&mult[c], &shift[c], &bias[c], gamma[c] / scale, beta[c] / scale + zero))
                return vq_fail(VQ_ERR_UNSUPPORTED,
                               "%s: gamma %g and beta %g of channel %d are out of range for scale %g", name,
                               (double)gamma[c], (double)beta[c], c, scale);
    }
    return vq_prove_layernorm(w, name);
}
