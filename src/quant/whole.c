/* Which products have whole operands, and their scales. */
#include "quant/whole.h"

#include <math.h>
#include <stdlib.h>

static bool whole_zeros(const vq_quantizer *q)
{
    for (int i = 0; i < q->groups; i++)
        if (!(q->zero[i] == rintf(q->zero[i]) && fabsf(q->zero[i]) < 0x1p20f)) return false;
    return true;
}

/* Codebooks may have no zero points. */
static bool is_whole(const vq_quantizer *q, int groups)
{
    if (q->kind == VQ_QUANTIZER_NONE || (q->groups != 1 && q->groups != groups)) return false;
    return !q->zero || whole_zeros(q);
}

static bool is_whole_uniform(const vq_quantizer *q, int groups)
{
    return q->kind == VQ_QUANTIZER_UNIFORM && is_whole(q, groups);
}

static float scale_of(const vq_quantizer *q, int group)
{
    return q->scale[q->groups == 1 ? 0 : group];
}

void vq_whole_value(const vq_quantizer *q, int group, int level, int *high, int *low)
{
    const int zero = q->zero ? (int)q->zero[group] : 0;
    const int value = q->values[(size_t)group * (size_t)q->levels + (size_t)level] - zero;
    *low = value & 255; /* of two's complement: 0..255 for negative ones, too */
    *high = (value - *low) / 256;
}

static bool has_low(const vq_quantizer *q)
{
    if (q->kind != VQ_QUANTIZER_CODEBOOK) return false;
    for (int g = 0; g < q->groups; g++)
        for (int i = 0; i < q->levels; i++) {
            int high, low;
            vq_whole_value(q, g, i, &high, &low);
            if (low) return true;
        }
    return false;
}

int vq_context_of(const vq_graph *g, int scores)
{
    for (int i = scores + 1; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_CONTEXT && g->nodes[i].in[1] == g->nodes[scores].in[0]) return i;
    return -1;
}

static vq_status make(vq_whole_product *out, int count)
{
    VQ_TRY(vq_alloc(&out->scale, (size_t)count, sizeof *out->scale, "scales of a product"));
    out->count = count;
    return VQ_OK;
}

/* Behind high bytes alone, the scale makes up for the 256 that they are units of. */
static void settle_bytes(vq_whole_product *p, const vq_quantizer *q)
{
    p->low = has_low(q);
    for (int i = 0; i < p->count && q->kind == VQ_QUANTIZER_CODEBOOK && !p->low; i++) p->scale[i] *= 256;
}

static vq_status weighted(vq_whole_product *out, const vq_qmodel *m, int node)
{
    const vq_qnode *const qn = &m->nodes[node];
    const bool pixels = m->graph->nodes[node].op == VQ_NODE_PATCH_EMBED && qn->in[0].kind == VQ_QUANTIZER_NONE;
    if (!is_whole_uniform(&qn->weight, qn->weight.groups) || !(pixels || is_whole(&qn->in[0], 1))) return VQ_OK;
    if (m->graph->nodes[node].op == VQ_NODE_PATCH_EMBED && !pixels) return VQ_OK; /* imitations: in front of the mean */
    VQ_TRY(make(out, qn->weight.groups));
    for (int n = 0; n < out->count; n++) out->scale[n] = (pixels ? 1.0f : qn->in[0].scale[0]) * qn->weight.scale[n];
    settle_bytes(out, &qn->in[0]);
    return VQ_OK;
}

static vq_status attention(vq_whole_product *all, const vq_qmodel *m, int scores)
{
    const int context = vq_context_of(m->graph, scores);
    if (context < 0) return VQ_OK;
    const vq_node *const n = &m->graph->nodes[scores];
    const vq_quantizer *const q = &m->nodes[scores].in[0], *const k = &m->nodes[scores].in[1];
    const vq_quantizer *const p = &m->nodes[context].in[0], *const v = &m->nodes[context].in[1];
    const int width = n->heads * n->head_dim;
    const bool v_fits = is_whole_uniform(v, n->heads) || is_whole_uniform(v, width);
    if (!is_whole_uniform(q, n->heads) || !is_whole_uniform(k, n->heads) || !is_whole(p, n->heads) || !v_fits)
        return VQ_OK;
    VQ_TRY(make(&all[scores], n->heads));
    VQ_TRY(make(&all[context], width));
    for (int h = 0; h < n->heads; h++) all[scores].scale[h] = scale_of(q, h) * scale_of(k, h) * n->scale;
    for (int c = 0; c < width; c++)
        all[context].scale[c] = scale_of(p, c / n->head_dim) * scale_of(v, v->groups == width ? c : c / n->head_dim);
    settle_bytes(&all[context], p);
    return VQ_OK;
}

vq_status vq_whole_products(vq_whole_product **out, const vq_qmodel *m)
{
    const vq_graph *const g = m->graph;
    vq_whole_product *all = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(vq_alloc(&all, (size_t)g->num_nodes, sizeof *all, "products"));
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node_op op = g->nodes[i].op;
        if (op == VQ_NODE_PATCH_EMBED || op == VQ_NODE_LINEAR) VQ_GO(weighted(&all[i], m, i));
        if (op == VQ_NODE_SCORES) VQ_GO(attention(all, m, i));
    }
    *out = all;
    all = NULL;
done:
    vq_whole_products_destroy(&all, g->num_nodes);
    return status;
}

void vq_whole_products_destroy(vq_whole_product **products, int num_nodes)
{
    for (int i = 0; *products && i < num_nodes; i++) free((*products)[i].scale);
    free(*products);
    *products = NULL;
}
