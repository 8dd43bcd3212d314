/* Attention: scores in octaves, probabilities through a table that is quantizer and decoding in one. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/lower.h"

/* Entries of the table are 1/1024 octave wide: the edge between two codes is off by less than 0.04 % of p. */
enum { PROB_SHIFT = VQ_PROB_BITS - 10, PROB_MAX = 65536 };

typedef struct attention_arrays {
    int32_t *q_zero, *score_mult, *v_zero, *mult;
    uint8_t *score_shift, *shift;
} attention_arrays;

/* Decode value in a quantizer's group of a probability of 2^-(i + 1/2) table steps; the last entry is all that is
 * smaller. */
static uint16_t prob_value(const vq_quantizer *p, int group, int i)
{
    const float *const thresholds = p->thresholds + (size_t)group * (size_t)(p->levels - 1);
    const double x = exp2(-ldexp(i + 0.5, PROB_SHIFT - VQ_PROB_BITS));
    int code = 0;
    while (i < PROB_MAX - 1 && code < p->levels - 1 && thresholds[code] <= x) code++;
    return p->values[(size_t)group * (size_t)p->levels + (size_t)code];
}

/* The table of a group, its values divided by 2^drop so that the sums fit s32; *used entries until nothing changes any
 * more. */
static vq_status compute_table(uint16_t *prob, int *used, int *drop, const char *name, const vq_quantizer *p, int group,
                               int tokens, double factor_of_sum)
{
    for (int i = 0; i < PROB_MAX; i++) prob[i] = prob_value(p, group, i);
    for (*used = PROB_MAX; *used > 1 && prob[*used - 1] == prob[*used - 2];) (*used)--;
    const double most = (0x1p31 - 1) / (1.001 * factor_of_sum);
    for (*drop = 0; vq_attention_prob_sum(prob, *used, PROB_SHIFT, tokens) > most; (*drop)++) {
        if (*drop == 8)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: the softmax quantizer's sums over %d tokens do not fit 32 bits",
                           name, tokens);
        for (int i = 0; i < PROB_MAX; i++) /* halves of the original value, rounded once */
            prob[i] = (uint16_t)lrint(ldexp(prob_value(p, group, i), -*drop - 1));
    }
    return VQ_OK;
}

/* A table per group of the quantizer, and what its values are worth: p_scale[group]. */
static vq_status compute_tables(vq_attention_u8_weights *w, double *p_scale, const char *name, const vq_quantizer *p,
                                int tokens)
{
    const int tables = p->groups, of_table = w->heads / tables * w->head_dim;
    uint16_t *prob = NULL;
    VQ_TRY(vq_alloc(&prob, (size_t)tables * PROB_MAX, sizeof *prob, name));
    w->prob = prob;
    w->prob_tables = tables;
    w->prob_len = 1;
    w->prob_shift = PROB_SHIFT;
    for (int i = 0; i < tables; i++) {
        double factor_of_sum = 0;
        int used, drop;
        for (int c = i * of_table; c < (i + 1) * of_table; c++)
            factor_of_sum = VQ_MAX(factor_of_sum, 128.0 + fabs((double)w->v_zero[c]));
        VQ_TRY(compute_table(prob + (size_t)i * PROB_MAX, &used, &drop, name, p, i, tokens, factor_of_sum));
        w->prob_len = VQ_MAX(w->prob_len, used);
        p_scale[i] = ldexp(p->scale[i], drop);
    }
    for (int i = 1; i < tables; i++)
        memmove(prob + (size_t)i * (size_t)w->prob_len, prob + (size_t)i * PROB_MAX,
                (size_t)w->prob_len * sizeof *prob);
    return VQ_OK;
}

static vq_status compute_scores(attention_arrays *a, const vq_lowering *l, const char *name, int node)
{
    const vq_node *const n = &l->m->graph->nodes[node];
    const vq_quantizer *const q = &l->m->nodes[node].in[0], *const k = &l->m->nodes[node].in[1];
    for (int h = 0; h < n->heads; h++) {
        const int qg = q->groups == 1 ? 0 : h, kg = k->groups == 1 ? 0 : h;
        const double octaves = (double)q->scale[qg] * k->scale[kg] * n->scale * 1.44269504088896340736;
        const int64_t zero = vq_lower_zero(q, qg);
        if (llabs(zero) > 1 << 24)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: zero point %lld of head %d is out of range", name, (long long)zero,
                           h);
        a->q_zero[h] = (int32_t)zero;
        if (!vq_mult_shift(&a->score_mult[h], &a->score_shift[h], ldexp(octaves, VQ_PROB_BITS)))
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: scores of head %d have a scale of %g octaves, out of range", name,
                           h, octaves);
    }
    return VQ_OK;
}

/* A V whose scale is far below the output's may vanish; the reverse saturates and is refused by the proof. */
static vq_status compute_output(attention_arrays *a, const char *name, int width, const double *p_scale, int tables,
                                const vq_quantizer *v, const vq_quantizer *out)
{
    for (int c = 0; c < width; c++) {
        const double factor = p_scale[c * tables / width] * v->scale[c * v->groups / width] / out->scale[0];
        if (factor < 0x1p-33 || vq_mult_shift(&a->mult[c], &a->shift[c], factor)) continue;
        if (factor >= 1)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: channel %d needs a scale of %g, must be below 2^30", name, c,
                           factor);
        a->mult[c] = 0;
    }
    for (int c = 0; c < width; c++)
        if (a->mult[c] == 0) a->shift[c] = 1;
    return VQ_OK;
}

static vq_status compute(attention_arrays *a, vq_attention_u8_weights *w, const vq_lowering *l, const char *name,
                         int scores, int context, const vq_quantizer *out)
{
    const vq_quantizer *const p = &l->m->nodes[context].in[0], *const v = &l->m->nodes[context].in[1];
    const int width = w->heads * w->head_dim, tokens = l->m->graph->values[l->m->graph->nodes[context].in[0]].cols;
    double *p_scale = NULL;
    vq_status status = VQ_OK;
    VQ_TRY(compute_scores(a, l, name, scores));
    for (int c = 0; c < width; c++) {
        const int64_t zero = vq_lower_zero(v, c * v->groups / width);
        if (llabs(zero) > 1 << 24)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: zero point %lld of V, channel %d, is out of range", name,
                           (long long)zero, c);
        a->v_zero[c] = (int32_t)(128 - zero);
    }
    VQ_GO(vq_alloc(&p_scale, (size_t)p->groups, sizeof *p_scale, name));
    VQ_GO(compute_tables(w, p_scale, name, p, tokens));
    VQ_GO(compute_output(a, name, width, p_scale, p->groups, v, out));
done:
    free(p_scale);
    return status;
}

static vq_status read_prob(vq_attention_u8_weights *w, const vq_lowering *l, const char *name)
{
    uint16_t *prob = NULL;
    int32_t *shift = NULL;
    VQ_TRY(vq_lower_read_lists(l, &prob, &w->prob_tables, &w->prob_len, name, "prob", VQ_DTYPE_U16, w->heads, 1,
                               PROB_MAX));
    w->prob = prob;
    VQ_TRY(vq_lower_array(l, &shift, name, "prob_shift", VQ_DTYPE_S32, vq_shape1(1)));
    w->prob_shift = *shift;
    free(shift);
    return VQ_OK;
}

static vq_status check_quantizers(const vq_lowering *l, int scores, int context, const vq_quantizer *out)
{
    static const char *const what[3] = {"Q", "K", "V"};
    const vq_graph *const g = l->m->graph;
    const vq_quantizer *const part[3] = {&l->m->nodes[scores].in[0], &l->m->nodes[scores].in[1],
                                         &l->m->nodes[context].in[1]};
    const vq_quantizer *const p = &l->m->nodes[context].in[0];
    const vq_node *const n = &g->nodes[context];
    for (int i = 0; i < 3; i++) {
        VQ_TRY(vq_lower_check_uniform(part[i], n->name, what[i]));
        if (i < 2 && part[i]->granularity == VQ_PER_CHANNEL)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s is quantized per channel, which has no integer form", n->name,
                           what[i]);
        if (part[i]->bits != part[0]->bits)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has %d bits and Q %d, must be the same", n->name, what[i],
                           part[i]->bits, part[0]->bits);
    }
    const bool per_head = p->granularity == VQ_PER_HEAD && p->groups == n->heads;
    if (p->kind != VQ_QUANTIZER_CODEBOOK || (p->groups != 1 && !per_head) || p->levels > 256)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: probabilities need one codebook of at most 256 levels, or one per head",
                       n->name);
    return vq_lower_check_uniform(out, n->name, "output");
}

/* ---- windows -------------------------------------------------------------------------------------------------------
 */

/* Scores are octaves, biases natural logarithms. */
static vq_status compute_bias(int32_t *bias, const char *name, const float *table, int count)
{
    for (int i = 0; i < count; i++) {
        const double b = rint(ldexp((double)table[i] * 1.44269504088896340736, VQ_PROB_BITS));
        if (!(fabs(b) <= VQ_SCORE_BIAS_MAX))
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: entry %d of the position biases is %g, must be within +-700", name,
                           i, (double)table[i]);
        bias[i] = (int32_t)b;
    }
    return VQ_OK;
}

/* Padding is zero in front of the linear, so its q, k and v are the linear's own bias: a constant row, quantized here
 * once. What a reparameterization does to that bias is undone by the zero point in front of it, which padding has not
 * seen. */
static void compute_pad(uint8_t *pad, const float *row, const vq_quantizer *const part[3], int width)
{
    for (int i = 0; i < 3 * width; i++) {
        const vq_quantizer *const q = part[i / width];
        const int group = i % width * q->groups / width;
        const float code = rintf(row[i] / q->scale[group]) + q->zero[group];
        pad[i] = (uint8_t)fminf(fmaxf(code, 0), (float)(q->levels - 1));
    }
}

static const vq_node *producer(const vq_graph *g, int value)
{
    const int i = vq_graph_producer(g, value);
    return i < 0 ? NULL : &g->nodes[i];
}

static vq_status lower_windows(const vq_lowering *l, vq_attention_u8_weights *w, const char *name, int scores,
                               int context)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const n = &g->nodes[scores], *const rows = producer(g, n->in[0]);
    const int width = n->heads * n->head_dim, entries = (2 * n->windows.window_h - 1) * (2 * n->windows.window_w - 1);
    const vq_quantizer *const part[3] = {&l->m->nodes[scores].in[0], &l->m->nodes[scores].in[1],
                                         &l->m->nodes[context].in[1]};
    int32_t *bias = NULL;
    uint8_t *pad = NULL;
    if (!rows || rows->op != VQ_NODE_ROWS || n->weight < 0)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: windows without their rows or position biases", name);
    w->windows = n->windows;
    w->mask = (int32_t)rint(ldexp((double)VQ_WINDOW_MASK * 1.44269504088896340736, VQ_PROB_BITS));
    VQ_TRY(vq_lower_array(l, &bias, name, "bias", VQ_DTYPE_S32, vq_shape2(entries, n->heads)));
    w->bias = bias;
    if (!l->st) VQ_TRY(compute_bias(bias, name, g->params[n->weight].data, entries * n->heads));
    if (!vq_windows_padded(&n->windows)) return VQ_OK;
    VQ_TRY(vq_lower_array(l, &pad, name, "pad", VQ_DTYPE_U8, vq_shape1(3 * width)));
    w->pad = pad;
    if (rows->weight < 0) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: windows without their padding", name);
    if (!l->st) compute_pad(pad, g->params[rows->weight].data, part, width);
    return VQ_OK;
}

vq_status vq_lower_attention(const vq_lowering *l, vq_attention_u8_weights *w, const char *name, int scores,
                             int context, const vq_quantizer *out)
{
    const vq_node *const n = &l->m->graph->nodes[context];
    const vq_shape heads = vq_shape1(n->heads), width = vq_shape1(n->heads * n->head_dim);
    attention_arrays a = {0};
    VQ_TRY(check_quantizers(l, scores, context, out));
    w->heads = n->heads;
    w->head_dim = n->head_dim;
    w->bits = out->bits;
    w->qkv_bits = l->m->nodes[scores].in[0].bits; /* qkv_target sees to it that all have as many */
    VQ_TRY(vq_lower_array(l, &a.q_zero, name, "q_zero", VQ_DTYPE_S32, heads));
    w->q_zero = a.q_zero;
    VQ_TRY(vq_lower_array(l, &a.score_mult, name, "score_mult", VQ_DTYPE_S32, heads));
    w->score_mult = a.score_mult;
    VQ_TRY(vq_lower_array(l, &a.score_shift, name, "score_shift", VQ_DTYPE_U8, heads));
    w->score_shift = a.score_shift;
    VQ_TRY(vq_lower_array(l, &a.v_zero, name, "v_zero", VQ_DTYPE_S32, width));
    w->v_zero = a.v_zero;
    VQ_TRY(vq_lower_array(l, &a.mult, name, "mult", VQ_DTYPE_S32, width));
    w->mult = a.mult;
    VQ_TRY(vq_lower_array(l, &a.shift, name, "shift", VQ_DTYPE_U8, width));
    w->shift = a.shift;
    if (n->windows.height) VQ_TRY(lower_windows(l, w, name, scores, context));
    if (l->st)
        VQ_TRY(read_prob(w, l, name));
    else
        VQ_TRY(compute(&a, w, l, name, scores, context, out));
    const int64_t zero = vq_lower_zero(out, 0);
    if (llabs(zero) > 1 << 24)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: zero point %lld of the output is out of range", name, (long long)zero);
    w->zero = (int)zero;
    for (int i = 0; i < w->prob_len * w->prob_tables; i++) w->prob_low |= (w->prob[i] & 255) != 0;
    return vq_prove_attention(w, name, l->m->graph->values[n->in[0]].cols);
}
