/* Operations and traffic of integer nodes, fused and apart. Sizes: of codes 1 byte, of sums and the residual stream 4.
 */
#include "run/int_cost.h"

enum { CODE = 1, SUM = 4, INDEX = 2 /* into a table */ };

static void pass(vq_int_cost *c, double launches, double bytes)
{
    c->launches += launches;
    c->bytes += bytes;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static int planes_of(const vq_gemm_s8_weights *w)
{
    return w->a_planes > 1 ? 2 : 1;
}

static double product_operations(const vq_gemm_s8_weights *w, double m)
{
    return 2 * m * w->n * w->k * planes_of(w);
}

static double result_bytes(const vq_gemm_s8_weights *w)
{
    if (w->epilogue == VQ_GEMM_CODES) return CODE;
    return w->epilogue == VQ_GEMM_TABLE ? CODE * (w->table_low ? 2 : 1) : SUM;
}

static vq_int_cost product_fused(const vq_gemm_s8_weights *w, double m)
{
    const double written = result_bytes(w) * m * w->n;
    return (vq_int_cost){.operations = product_operations(w, m),
                         .bytes = m * w->k * planes_of(w) + written * (w->epilogue == VQ_GEMM_ADD ? 2 : 1)};
}

static vq_int_cost product_apart(const vq_gemm_s8_weights *w, double m)
{
    const double planes = planes_of(w), a = m * w->k * CODE, sums = m * w->n * SUM, index = m * w->n * INDEX;
    const bool table = w->epilogue == VQ_GEMM_TABLE;
    vq_int_cost c = {.operations = product_operations(w, m)};
    pass(&c, planes, planes * (a + sums));
    if (planes > 1) pass(&c, 1, 3 * sums);
    if (w->w_zero) pass(&c, 1, planes * a + 2 * m * SUM); /* sums of rows, which the requantization reads */
    pass(&c, 1, sums + (table ? index : result_bytes(w) * m * w->n));
    if (table) pass(&c, 1, index + result_bytes(w) * m * w->n);
    if (w->epilogue == VQ_GEMM_ADD) pass(&c, 1, 3 * sums);
    return c;
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

typedef struct attention_size {
    double values, scores, operations; /* of one of Q, K, V; of all heads' scores */
    int planes;                        /* of the probabilities */
} attention_size;

static attention_size size_of(const vq_attention_u8_weights *w, double rows, double tokens, int batch)
{
    const double windows = w->windows.height ? vq_windows_count(&w->windows) : 1;
    const double t = w->windows.height ? vq_windows_tokens(&w->windows) : tokens;
    const double scores = batch * windows * w->heads * t * t;
    const int planes = w->prob_low ? 2 : 1;
    return (attention_size){.values = rows * w->heads * w->head_dim,
                            .scores = scores,
                            .operations = 2 * scores * w->head_dim * (1 + planes),
                            .planes = planes};
}

static vq_int_cost attention_apart(const vq_attention_u8_weights *w, const attention_size *s)
{
    vq_int_cost c = {.operations = s->operations};
    const double values = s->values, scores = s->scores * SUM, probs = s->scores * CODE;
    pass(&c, 3, 3 * 2 * values * CODE); /* Q, K, V by heads */
    pass(&c, 1, 2 * values * CODE + scores);
    pass(&c, 1, 2 * scores);                        /* to octaves */
    if (w->windows.height) pass(&c, 1, 2 * scores); /* relative positions and mask */
    pass(&c, 1, 2 * scores);                        /* softmax */
    pass(&c, 1, scores + s->planes * probs);        /* to codes */
    pass(&c, s->planes, s->planes * (probs + values * (CODE + SUM)));
    if (s->planes > 1) pass(&c, 1, 3 * values * SUM);
    pass(&c, 1, values * (SUM + CODE)); /* requantization */
    pass(&c, 1, 2 * values * CODE);     /* heads together */
    return c;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static double value_bytes(const vq_int_value *v, int batch)
{
    const double planes = v->plane_pitch ? 2 : 1;
    return (double)batch * v->rows * v->cols * (v->s32 ? SUM : planes * CODE);
}

static double pooled_rows(const vq_pool_s32_weights *w)
{
    double rows = 0;
    for (int p = 0; p < w->parts; p++) rows += w->count[p];
    return rows;
}

vq_int_cost vq_int_cost_fused(const vq_int_graph *g, int node, int batch)
{
    const vq_int_node *const n = &g->nodes[node];
    const double out = value_bytes(&g->values[n->out], batch);
    switch (n->op) {
    case VQ_INT_PATCHIFY: return (vq_int_cost){.bytes = value_bytes(&g->values[n->in], batch) + out};
    case VQ_INT_TOKENS: return (vq_int_cost){.bytes = (double)batch * n->u.tokens.count * SUM};
    case VQ_INT_GEMM: return product_fused(&n->u.gemm.w, (double)batch * n->u.gemm.rows);
    case VQ_INT_LAYERNORM: {
        const double count = (double)batch * n->u.layernorm.rows * n->u.layernorm.w.c;
        return (vq_int_cost){.bytes = count * (SUM + (n->u.layernorm.w.set ? SUM : CODE))};
    }
    case VQ_INT_POOL: return (vq_int_cost){.bytes = batch * pooled_rows(&n->u.pool) * n->u.pool.c * SUM + out};
    case VQ_INT_ATTENTION: {
        const attention_size s =
            size_of(&n->u.attention.w, (double)batch * g->values[n->out].rows, n->u.attention.tokens, batch);
        return (vq_int_cost){.operations = s.operations, .bytes = 4 * s.values * CODE};
    }
    }
    return (vq_int_cost){0};
}

vq_int_cost vq_int_cost_apart(const vq_int_graph *g, int node, int batch)
{
    const vq_int_node *const n = &g->nodes[node];
    vq_int_cost c = vq_int_cost_fused(g, node, batch);
    c.launches = 1;
    if (n->op == VQ_INT_GEMM) return product_apart(&n->u.gemm.w, (double)batch * n->u.gemm.rows);
    if (n->op == VQ_INT_LAYERNORM) {
        const vq_layernorm_s32_weights *const w = &n->u.layernorm.w;
        const double count = (double)batch * n->u.layernorm.rows * w->c;
        if (!w->set) pass(&c, 1, count * 2 * SUM);    /* the normalized rows, written and read */
        if (w->merge_h) pass(&c, 1, count * 2 * SUM); /* neighbours side by side */
    }
    if (n->op == VQ_INT_POOL && !n->u.pool.set) pass(&c, 1, 2.0 * batch * n->u.pool.parts * n->u.pool.c * SUM);
    if (n->op == VQ_INT_ATTENTION) {
        const attention_size s =
            size_of(&n->u.attention.w, (double)batch * g->values[n->out].rows, n->u.attention.tokens, batch);
        return attention_apart(&n->u.attention.w, &s);
    }
    return c;
}
