/* The weights of a layer: quantizers, by the weights themselves or by the layer's output through the Gram matrix of its
 * inputs, and rounding. */
#include <math.h>
#include <stdlib.h>

#include "calib/layer.h"
#include "calib/rounding.h"
#include "calib/search.h"
#include "ops/ops_f32.h"

int vq_layer_rows_at_once(const vq_layer *l, size_t unit)
{
    const size_t width = (size_t)VQ_MAX(l->in, l->out);
    return (int)(vq_rows_step(&l->quantized.rows, (size_t)l->rows * width, unit * width) / width);
}

vq_status vq_layer_load_rows(const vq_buf **out, vq_rows *r, int first, int count, int cols)
{
    return vq_rows_load(out, r, (size_t)first * (size_t)cols, (size_t)count * (size_t)cols);
}

bool vq_layer_has_many_rows(const vq_layer *l)
{
    return l->rows >= 2 * l->in;
}

vq_status vq_layer_search_weight(vq_layer *l)
{
    const vq_score score = vq_score_of_tensor(l->c->dev, &l->weights, &l->weight_rows);
    vq_quantizer_clear(&l->qn->weight);
    VQ_TRY(vq_quantizer_uniform(&l->qn->weight, VQ_PER_ROW, l->out, l->c->bits[l->node].weight));
    return vq_search_uniform(&score, l->c->recipe->weight.search, true, &l->qn->weight);
}

vq_status vq_layer_round_nearest(vq_layer *l)
{
    const vq_quantizer *const q = &l->qn->weight;
    vq_device *const dev = l->c->dev;
    vq_buf *scale = NULL, *zero = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create_from(&scale, dev, q->scale, (size_t)q->groups * sizeof(float)));
    VQ_GO(vq_buf_create_from(&zero, dev, q->zero, (size_t)q->groups * sizeof(float)));
    VQ_GO(vq_quantize_uniform_run(dev, &l->weights, l->weight, scale, zero, q->levels, l->codes));
    VQ_GO(vq_fakequant_uniform_run(dev, &l->weights, l->weight, scale, zero, q->levels, l->quantized_weight));
    VQ_GO(vq_device_finish(dev));
done:
    vq_buf_destroy(&scale);
    vq_buf_destroy(&zero);
    return status;
}

vq_status vq_layer_keep_codes(vq_layer *l)
{
    free(l->qn->codes);
    l->qn->codes = NULL;
    VQ_TRY(vq_alloc(&l->qn->codes, l->weights.count, 1, "weight codes"));
    return vq_buf_read(l->c->dev, l->codes, 0, l->qn->codes, l->weights.count);
}

vq_status vq_layer_residual(vq_layer *l, const vq_buf *x, int first, int rows, const vq_buf *weight, const vq_buf *out)
{
    const vq_gemm_f32_shape shape = {.m = rows,
                                     .n = l->out,
                                     .k = l->in,
                                     .lda = l->in,
                                     .ldb = l->in,
                                     .ldc = l->out,
                                     .trans_b = true,
                                     .accumulate = true,
                                     .alpha = -1};
    const float *const bias = l->n->bias >= 0 ? l->c->model->graph->params[l->n->bias].data : NULL;
    vq_device *const dev = l->c->dev;
    vq_buf *negative = NULL;
    float *turned = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&turned, (size_t)l->out, sizeof *turned, "bias"));
    for (int i = 0; bias && i < l->out; i++) turned[i] = -bias[i];
    VQ_GO(vq_buf_create_from(&negative, dev, turned, (size_t)l->out * sizeof *turned));
    VQ_GO(vq_rows_read(&l->y, (size_t)first * (size_t)l->out, (size_t)rows * (size_t)l->out, out, 0));
    VQ_GO(vq_gemm_f32_run(dev, &shape, x, weight, negative, out));
    VQ_GO(vq_device_finish(dev));
done:
    vq_buf_destroy(&negative);
    free(turned);
    return status;
}

/* Products of the inputs as the layer reads them: gram X'X [in][in], and cross R'X [out][in] (zero without the
 * target), R being what the float weights lack of the output wanted. */
typedef struct products {
    double *gram, *cross;
    vq_buf *gram_buf, *cross_buf;
} products;

static void products_end(products *p)
{
    free(p->gram);
    free(p->cross);
    vq_buf_destroy(&p->gram_buf);
    vq_buf_destroy(&p->cross_buf);
}

static vq_status upload_f32(vq_buf **out, vq_device *dev, const double *x, size_t count)
{
    float *f = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&f, count, sizeof *f, "products"));
    for (size_t i = 0; i < count; i++) f[i] = (float)x[i];
    VQ_GO(vq_buf_create_from(out, dev, f, count * sizeof *f));
done:
    free(f);
    return status;
}

/* r has room for the residual of a part, where cross is wanted. */
static vq_status add_products(products *p, vq_layer *l, vq_rows *x, const vq_buf *r, int step)
{
    vq_device *const dev = l->c->dev;
    for (int first = 0; first < l->rows; first += step) {
        const int rows = VQ_MIN(step, l->rows - first);
        const vq_buf *part = NULL;
        VQ_TRY(vq_layer_load_rows(&part, x, first, rows, l->in));
        VQ_TRY(vq_gram_f32_add(dev, part, part, rows, l->in, l->in, p->gram));
        if (!r) continue;
        VQ_TRY(vq_layer_residual(l, part, first, rows, l->weight, r));
        VQ_TRY(vq_gram_f32_add(dev, r, part, rows, l->out, l->in, p->cross));
    }
    return VQ_OK;
}

/* The first rows of every image that are not patches: the class token and its like. */
static int prefix_rows(const vq_graph *g, int value)
{
    for (int i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_TOKENS && g->values[g->nodes[i].out].rows == g->values[value].rows)
            return g->nodes[i].prefix;
    return 0;
}

/* One row of 197 is all that the head will see, and as good as nothing in a sum over all: it counts as `prefix_weight`
 * rows. */
static vq_status add_prefix(products *p, vq_layer *l, vq_rows *x)
{
    const size_t square = (size_t)l->in * (size_t)l->in;
    const int prefix = prefix_rows(l->c->source, l->n->in[0]), tokens = l->rows / l->c->samples;
    const vq_runs runs = {0, (size_t)tokens * (size_t)l->in, (size_t)prefix * (size_t)l->in, (size_t)l->c->samples};
    const double more = l->c->recipe->prefix_weight - 1;
    double *gram = NULL;
    vq_buf *rows = NULL;
    vq_status status = VQ_OK;
    if (!prefix || more <= 0) return VQ_OK;
    VQ_GO(vq_alloc(&gram, square, sizeof *gram, "Gram matrix"));
    VQ_GO(vq_buf_create(&rows, l->c->dev, runs.count * runs.length * sizeof(float)));
    VQ_GO(vq_rows_read_runs(x, &runs, rows, 0));
    VQ_GO(vq_gram_f32_add(l->c->dev, rows, rows, l->c->samples * prefix, l->in, l->in, gram));
    for (size_t i = 0; i < square; i++) p->gram[i] += more * gram[i];
done:
    free(gram);
    vq_buf_destroy(&rows);
    return status;
}

static vq_status products_begin(products *p, vq_layer *l, vq_rows *x, bool with_target)
{
    const int step = vq_layer_rows_at_once(l, VQ_GRAM_ROWS);
    const size_t square = (size_t)l->in * (size_t)l->in, cross = (size_t)l->out * (size_t)l->in;
    vq_device *const dev = l->c->dev;
    vq_buf *r = NULL;
    vq_status status = VQ_OK;
    *p = (products){0};
    VQ_GO(vq_alloc(&p->gram, square, sizeof *p->gram, "Gram matrix"));
    VQ_GO(vq_alloc(&p->cross, cross, sizeof *p->cross, "Gram matrix"));
    if (with_target) VQ_GO(vq_buf_create(&r, dev, (size_t)step * (size_t)l->out * sizeof(float)));
    VQ_GO(add_products(p, l, x, r, step));
    if (!with_target) VQ_GO(add_prefix(p, l, x));
    VQ_GO(upload_f32(&p->gram_buf, dev, p->gram, square));
    VQ_GO(upload_f32(&p->cross_buf, dev, p->cross, cross));
done:
    vq_buf_destroy(&r);
    return status;
}

/* Weights scored by the layer's output, through the Gram matrix. */
typedef struct gram_layer {
    const vq_layer *l;
    const products *p;
    bool diagonal;
    vq_buf *along; /* of cosines: G w [out][in], and w'G w and w'c of every row */
    double *wgw, *wc;
} gram_layer;

static vq_status gram_uniform(const vq_score *s, const float *scale, const float *zero, int num, int levels,
                              double *error)
{
    const gram_layer *const g = s->layer;
    const size_t count = (size_t)s->groups.groups * (size_t)num;
    float *f = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&f, count, sizeof *f, "errors"));
    VQ_GO(vq_gram_error_run(s->dev, s->x->whole, g->p->gram_buf, g->p->cross_buf, scale, zero, g->l->out, g->l->in, num,
                            levels, g->diagonal, f));
    for (size_t i = 0; i < count; i++) error[i] = (double)f[i];
done:
    free(f);
    return status;
}

/* Of every row w, as gram_error has d, G and c, and with r what w lacks of the target t = X w + r: p = X (w + d) is
 * what comes out, and sin^2 = (|t - p|^2 - (p.(t - p))^2 / |p|^2) / |t|^2 the same order as 1 - cos. What is the same
 * for all candidates, |r|^2 and |t|^2, is left out; a cosine that is not positive is infinitely bad. */
static vq_status gram_cosine(const vq_score *s, const float *scale, const float *zero, int num, int levels,
                             double *error)
{
    const gram_layer *const g = s->layer;
    const size_t rows = (size_t)s->groups.groups, n = (size_t)num;
    float *terms = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&terms, rows * n * 3, sizeof *terms, "errors"));
    VQ_GO(vq_gram_terms_run(s->dev, s->x->whole, g->p->gram_buf, g->p->cross_buf, g->along, scale, zero, g->l->out,
                            g->l->in, num, levels, g->diagonal, terms));
    for (size_t i = 0; i < rows * n; i++) {
        const double quad = (double)terms[3 * i], cross = (double)terms[3 * i + 1], mixed = (double)terms[3 * i + 2];
        const double size = g->wgw[i / n] + 2 * mixed + quad, dot = g->wc[i / n] + cross - mixed - quad;
        error[i] = size > 0 && dot + size > 0 ? quad - 2 * cross - dot * dot / size : INFINITY;
    }
done:
    free(terms);
    return status;
}

/* G w of every row, or of the diagonal of G, and the products with w that all candidates share. */
static vq_status begin_cosine(gram_layer *g, float **buffer)
{
    const vq_layer *const l = g->l;
    const size_t in = (size_t)l->in, out = (size_t)l->out, count = in * out;
    const vq_gemm_f32_shape shape = {.m = l->out, .n = l->in, .k = l->in, .lda = l->in, .ldb = l->in, .ldc = l->in};
    vq_device *const dev = l->c->dev;
    float *host;
    VQ_TRY(vq_buf_create(&g->along, dev, count * sizeof(float)));
    VQ_TRY(vq_alloc(buffer, 2 * count, sizeof **buffer, "cosines"));
    host = *buffer;
    VQ_TRY(vq_buf_read(dev, l->weight, 0, host, count * sizeof *host));
    if (g->diagonal) {
        for (size_t i = 0; i < count; i++) host[count + i] = (float)(g->p->gram[i % in * (in + 1)] * (double)host[i]);
        VQ_TRY(vq_buf_write(dev, g->along, 0, host + count, count * sizeof *host));
    } else {
        VQ_TRY(vq_gemm_f32_run(dev, &shape, l->weight, g->p->gram_buf, NULL, g->along));
        VQ_TRY(vq_buf_read(dev, g->along, 0, host + count, count * sizeof *host));
    }
    VQ_TRY(vq_alloc(&g->wgw, out, sizeof *g->wgw, "cosines"));
    VQ_TRY(vq_alloc(&g->wc, out, sizeof *g->wc, "cosines"));
    for (size_t i = 0; i < count; i++) {
        g->wgw[i / in] += (double)host[i] * (double)host[count + i];
        g->wc[i / in] += (double)host[i] * g->p->cross[i];
    }
    return VQ_OK;
}

static vq_status search_weight_by_output(vq_layer *l, const products *p, bool diagonal)
{
    const bool cosine = l->c->recipe->weight.objective == VQ_OBJECTIVE_COSINE;
    gram_layer g = {.l = l, .p = p, .diagonal = diagonal};
    vq_score score = vq_score_of_tensor(l->c->dev, &l->weights, &l->weight_rows);
    float *host = NULL;
    vq_status status = VQ_OK;
    if (cosine) VQ_GO(begin_cosine(&g, &host));
    score.uniform = cosine ? gram_cosine : gram_uniform;
    score.layer = &g;
    VQ_GO(vq_search_uniform(&score, l->c->recipe->weight.search, true, &l->qn->weight));
done:
    vq_buf_destroy(&g.along);
    free(g.wgw);
    free(g.wc);
    free(host);
    return status;
}

static vq_status round_gptq(vq_layer *l, const products *p)
{
    const vq_recipe *const r = l->c->recipe;
    const vq_rounding_task task = {.weight = l->weight,
                                   .gram = p->gram,
                                   .n = l->out,
                                   .k = l->in,
                                   .damping = r->damping,
                                   .ranges = r->rounding_ranges,
                                   .sweeps = r->rounding_sweeps};
    return vq_round_gptq(l->c->dev, &task, &l->qn->weight, l->codes, l->quantized_weight);
}

vq_status vq_layer_search_weight_by_output(vq_layer *l)
{
    products p = {0};
    vq_status status = VQ_OK;
    VQ_GO(products_begin(&p, l, &l->quantized.rows, true));
    VQ_GO(search_weight_by_output(l, &p, false));
done:
    products_end(&p);
    return status;
}

vq_status vq_layer_quantize_weight(vq_layer *l, vq_rows *x)
{
    const vq_recipe *const r = l->c->recipe;
    const bool gptq = r->rounding == VQ_ROUNDING_GPTQ && vq_layer_has_many_rows(l);
    products p = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_layer_search_weight(l));
    if (gptq || vq_part_by_output(&r->weight)) {
        /* GPTQ moves errors between columns, so what counts for its ranges is the diagonal alone */
        VQ_GO(products_begin(&p, l, x, !gptq));
        VQ_GO(search_weight_by_output(l, &p, gptq));
    }
    VQ_GO(gptq ? round_gptq(l, &p) : vq_layer_round_nearest(l));
done:
    products_end(&p);
    return status;
}
