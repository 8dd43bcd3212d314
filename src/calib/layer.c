/* Linear layers and the patch embedding: quantizers of inputs and weights, rounding, bias. Values, statistics and
 * products stay on the device. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calibration.h"
#include "calib/output_score.h"
#include "calib/reparam.h"
#include "calib/rounding.h"
#include "calib/search.h"
#include "ops/ops_f32.h"

/* |min GELU|, as the official AdaLog code has it: added before a codebook that knows no negative values. */
static const float gelu_offset = 0.16997124254704522f;

/* The layer being calibrated. */
typedef struct layer {
    vq_calibration *c;
    const vq_node *n;
    int node, in, out, rows; /* columns of input and output; rows of both in all samples */
    vq_qnode *qn;
    vq_groups weights; /* a group per row */
    vq_rows x;         /* its input, f32 [rows][in] */
    vq_rows y;         /* its output with float weights and input [rows][out], where aims_at_output() */
    vq_temp quantized; /* its input as it multiplies it [rows][in] */
    vq_buf *weight;    /* f32 [out][in] */
    vq_rows weight_rows;
    vq_buf *quantized_weight;
    vq_buf *codes; /* u8 [out][in] of quantized_weight */
} layer;

/* True where something is judged by the layer's output. */
static bool aims_at_output(const vq_recipe *r)
{
    return vq_part_by_output(&r->weight) || vq_part_by_output(&r->input) || vq_part_by_output(&r->gelu) ||
           r->reparam == VQ_REPARAM_BEST;
}

static vq_status layer_begin(layer *l, vq_calibration *c, int node)
{
    const vq_graph *const g = c->source;
    const vq_node *const n = &g->nodes[node];
    const vq_shape *const shape = &g->params[n->weight].shape;
    const size_t count = vq_shape_count(shape);
    *l = (layer){.c = c, .n = n, .node = node, .qn = &c->model->nodes[node]};
    l->out = (int)shape->dims[0];
    l->in = (int)(count / (size_t)l->out);
    l->rows = c->samples * g->values[n->out].rows;
    l->weights = (vq_groups){count, (size_t)l->in, l->out};
    l->weight = c->run->params[n->weight];
    l->weight_rows = vq_rows_of(c->dev, l->weight);
    l->y = vq_walk_value(c->walk, n->out);
    VQ_TRY(vq_buf_create(&l->quantized_weight, c->dev, count * sizeof(float)));
    VQ_TRY(vq_buf_create(&l->codes, c->dev, count));
    if (c->recipe->flow == VQ_FLOW_SEQUENTIAL && aims_at_output(c->recipe)) VQ_TRY(vq_walk_node(c->walk, node));
    return vq_temp_create(&l->quantized, c->walk, (size_t)l->rows * (size_t)l->in);
}

static bool is_sequential(const layer *l)
{
    return l->c->recipe->flow == VQ_FLOW_SEQUENTIAL;
}

static void layer_end(layer *l)
{
    vq_rows_close(&l->x);
    vq_rows_close(&l->y);
    vq_temp_destroy(&l->quantized);
    vq_buf_destroy(&l->quantized_weight);
    vq_buf_destroy(&l->codes);
}

/* Rows of a part of data that is taken part by part, as wide as the wider of input and output: a multiple of unit. */
static int rows_at_once(const layer *l, size_t unit)
{
    const size_t width = (size_t)VQ_MAX(l->in, l->out);
    return (int)(vq_rows_step(&l->quantized.rows, (size_t)l->rows * width, unit * width) / width);
}

/* A buffer of rows first .. first + count of a tensor that is `cols` wide. */
static vq_status load_rows(const vq_buf **out, vq_rows *r, int first, int count, int cols)
{
    return vq_rows_load(out, r, (size_t)first * (size_t)cols, (size_t)count * (size_t)cols);
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

/* By the error of the weights themselves. */
static vq_status search_weight(layer *l)
{
    const vq_score score = vq_score_of_tensor(l->c->dev, &l->weights, &l->weight_rows);
    vq_quantizer_clear(&l->qn->weight);
    VQ_TRY(vq_quantizer_uniform(&l->qn->weight, VQ_PER_ROW, l->out, l->c->bits[l->node].weight));
    return vq_search_uniform(&score, l->c->recipe->weight.search, true, &l->qn->weight);
}

static vq_status round_nearest(layer *l)
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

static vq_status keep_codes(layer *l)
{
    free(l->qn->codes);
    l->qn->codes = NULL;
    VQ_TRY(vq_alloc(&l->qn->codes, l->weights.count, 1, "weight codes"));
    return vq_buf_read(l->c->dev, l->codes, 0, l->qn->codes, l->weights.count);
}

/* out = Y - (X W' + bias) of rows first .. first + rows, which x begins with: what the layer with these weights lacks
 * of the output wanted. */
static vq_status residual(layer *l, const vq_buf *x, int first, int rows, const vq_buf *weight, const vq_buf *out)
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
static vq_status add_products(products *p, layer *l, vq_rows *x, const vq_buf *r, int step)
{
    vq_device *const dev = l->c->dev;
    for (int first = 0; first < l->rows; first += step) {
        const int rows = VQ_MIN(step, l->rows - first);
        const vq_buf *part = NULL;
        VQ_TRY(load_rows(&part, x, first, rows, l->in));
        VQ_TRY(vq_gram_f32_add(dev, part, part, rows, l->in, l->in, p->gram));
        if (!r) continue;
        VQ_TRY(residual(l, part, first, rows, l->weight, r));
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
static vq_status add_prefix(products *p, layer *l, vq_rows *x)
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

static vq_status products_begin(products *p, layer *l, vq_rows *x, bool with_target)
{
    const int step = rows_at_once(l, VQ_GRAM_ROWS);
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
    const layer *l;
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
    const layer *const l = g->l;
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

static vq_status search_weight_by_output(layer *l, const products *p, bool diagonal)
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

static vq_status round_gptq(layer *l, const products *p)
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

static vq_status quantize_input(layer *l)
{
    const int step = rows_at_once(l, 1);
    for (int first = 0; first < l->rows; first += step) {
        const size_t at = (size_t)first * (size_t)l->in, n = (size_t)VQ_MIN(step, l->rows - first) * (size_t)l->in;
        const vq_buf *x = NULL, *out = NULL;
        VQ_TRY(vq_rows_load(&x, &l->x, at, n));
        VQ_TRY(vq_rows_open(&out, &l->quantized.rows, at, n));
        VQ_TRY(vq_float_run_fakequant(l->c->run, l->node, x, n, out));
        VQ_TRY(vq_rows_keep(&l->quantized.rows, at, n));
    }
    return VQ_OK;
}

/* Mean squared error of the output with the weights and the input as quantized now. */
static vq_status output_error(layer *l, double *error)
{
    const vq_groups dense = {0, 0, 1};
    size_t unit = vq_quant_error_part(&dense); /* rows that fill its parts */
    for (int cols = l->out; unit % 2 == 0 && cols % 2 == 0; cols /= 2) unit /= 2;
    const int step = rows_at_once(l, unit);
    /* a step so wide that everything is rounded to zero: the error is what there is */
    static const float scale = 0x1p100f, zero = 1;
    vq_buf *r = NULL;
    vq_status status = VQ_OK;
    *error = 0;
    VQ_GO(quantize_input(l));
    VQ_GO(vq_buf_create(&r, l->c->dev, (size_t)step * (size_t)l->out * sizeof(float)));
    for (int first = 0; first < l->rows; first += step) {
        const int rows = VQ_MIN(step, l->rows - first);
        const vq_groups g = {(size_t)rows * (size_t)l->out, (size_t)rows * (size_t)l->out, 1};
        const vq_buf *x = NULL;
        VQ_GO(load_rows(&x, &l->quantized.rows, first, rows, l->in));
        VQ_GO(residual(l, x, first, rows, l->quantized_weight, r));
        VQ_GO(vq_quant_error_uniform_add(l->c->dev, &g, r, &scale, &zero, 1, 4, error));
    }
    *error /= (double)l->rows * l->out;
done:
    vq_buf_destroy(&r);
    return status;
}

/* ---- bias ----------------------------------------------------------------------------------------------------------
 */

/* out[n] = mean over the rows of X W'. */
static vq_status output_means(layer *l, vq_rows *x, const vq_buf *weight, double *out)
{
    vq_gemm_f32_shape shape = {.n = l->out, .k = l->in, .lda = l->in, .ldb = l->in, .ldc = l->out, .trans_b = true};
    vq_device *const dev = l->c->dev;
    const int step = rows_at_once(l, VQ_GRAM_ROWS);
    vq_buf *ones = NULL, *y = NULL;
    float *one = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&one, (size_t)step, sizeof *one, "means"));
    for (int i = 0; i < step; i++) one[i] = 1;
    VQ_GO(vq_buf_create_from(&ones, dev, one, (size_t)step * sizeof *one));
    VQ_GO(vq_buf_create(&y, dev, (size_t)step * (size_t)l->out * sizeof(float)));
    for (int first = 0; first < l->rows; first += step) {
        const vq_buf *part = NULL;
        shape.m = VQ_MIN(step, l->rows - first);
        VQ_GO(load_rows(&part, x, first, shape.m, l->in));
        VQ_GO(vq_gemm_f32_run(dev, &shape, part, weight, NULL, y));
        VQ_GO(vq_gram_f32_add(dev, ones, y, shape.m, 1, l->out, out));
    }
    for (int i = 0; i < l->out; i++) out[i] /= l->rows;
done:
    vq_buf_destroy(&ones);
    vq_buf_destroy(&y);
    free(one);
    return status;
}

/* Fewer rows than weights in a row say nothing about most directions of the input, and their mean is that of a few
 * photos: what is fitted to them is the photos. That is the head, which sees one row per photo. */
static bool has_many_rows(const layer *l)
{
    return l->rows >= 2 * l->in;
}

/* The bias takes up the mean of what quantizing this layer alone has changed. (Taking up what the layers before have
 * changed as well was measured to be worse, on the very photos it is fitted to.) x is the quantized input; raw that
 * before. */
static vq_status correct_bias(layer *l, vq_rows *raw, vq_rows *x)
{
    vq_calibration *const c = l->c;
    double *mean[2] = {NULL, NULL};
    float *const bias = l->n->bias >= 0 ? c->model->graph->params[l->n->bias].data : NULL;
    vq_status status = VQ_OK;
    if (!bias || !has_many_rows(l)) return VQ_OK;
    for (int i = 0; i < 2; i++) {
        VQ_GO(vq_alloc(&mean[i], (size_t)l->out, sizeof *mean[i], "means"));
        VQ_GO(output_means(l, i ? x : raw, i ? l->quantized_weight : l->weight, mean[i]));
    }
    for (int i = 0; i < l->out; i++) bias[i] += (float)(mean[0][i] - mean[1][i]);
    if (is_sequential(l)) VQ_GO(vq_float_run_set_param(c->run, l->n->bias, bias, (size_t)l->out));
done:
    free(mean[0]);
    free(mean[1]);
    return status;
}

/* ---- patch embedding -----------------------------------------------------------------------------------------------
 */

/* sum_k W[o][k] * u[k] with u the pixel value (0..255) of the normalization's mean, for every output o. */
static vq_status mean_pixel_product(layer *l, const vq_buf *weight, float *out)
{
    const vq_preprocess *const pre = &l->c->source->pre;
    const int area = l->in / pre->chans;
    float *mean = NULL;
    VQ_TRY(vq_alloc(&mean, (size_t)l->in, sizeof *mean, l->n->name));
    for (int k = 0; k < l->in; k++) mean[k] = 255.0f * pre->mean[k / area];
    const vq_status status = vq_matrix_vector(l->c->dev, weight, mean, out, l->out, l->in);
    free(mean);
    return status;
}

/* The official code quantizes the normalized image to 8 bits, whatever the bits of the rest. Ours need not: pixels are
 * 8 bits. */
static vq_status imitate_image_quantizer(layer *l)
{
    vq_calibration *const c = l->c;
    const vq_preprocess *const pre = &c->source->pre;
    const size_t count = vq_value_count(c->source, 0) * (size_t)c->samples;
    const vq_groups g = {count, count, 1};
    vq_quantizer *const q = &l->qn->in[0];
    float map[3 * 256];
    for (int i = 0; i < pre->chans * 256; i++)
        map[i] = ((float)(i % 256) / 255.0f - pre->mean[i / 256]) / pre->std[i / 256];
    VQ_TRY(vq_float_run_set_pixel_map(c->run, l->node, map));
    VQ_TRY(vq_walk_patches(c->walk, l->node, &l->quantized.rows));
    VQ_TRY(vq_quantizer_uniform(q, VQ_PER_TENSOR, 1, 8));
    const vq_score score = vq_score_of_tensor(c->dev, &g, &l->quantized.rows);
    VQ_TRY(vq_search_uniform(&score, c->recipe->input.search, false, q));
    return vq_float_run_set_quantizer(c->run, l->node, q);
}

/* The weights' quantizers and codes, by whatever the recipe has: x is what the layer multiplies. */
static vq_status quantize_weight(layer *l, vq_rows *x)
{
    const vq_recipe *const r = l->c->recipe;
    const bool gptq = r->rounding == VQ_ROUNDING_GPTQ && has_many_rows(l);
    products p = {0};
    vq_status status = VQ_OK;
    VQ_GO(search_weight(l));
    if (gptq || vq_part_by_output(&r->weight)) {
        /* GPTQ moves errors between columns, so what counts for its ranges is the diagonal alone */
        VQ_GO(products_begin(&p, l, x, !gptq));
        VQ_GO(search_weight_by_output(l, &p, gptq));
    }
    VQ_GO(gptq ? round_gptq(l, &p) : round_nearest(l));
done:
    products_end(&p);
    return status;
}

/* The graph folds the mean of the normalization into the bias, with the float weights; quantized ones must be folded
 * anew, or their rounding errors would be multiplied by half the range of the pixels. */
static vq_status refold_mean(layer *l)
{
    float *const bias = l->c->model->graph->params[l->n->bias].data, *before = NULL, *after = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&before, (size_t)l->out, sizeof *before, l->n->name));
    VQ_GO(vq_alloc(&after, (size_t)l->out, sizeof *after, l->n->name));
    VQ_GO(mean_pixel_product(l, l->weight, before));
    VQ_GO(mean_pixel_product(l, l->quantized_weight, after));
    for (int o = 0; o < l->out; o++) bias[o] += before[o] - after[o];
    if (is_sequential(l)) VQ_GO(vq_float_run_set_param(l->c->run, l->n->bias, bias, (size_t)l->out));
done:
    free(before);
    free(after);
    return status;
}

/* Leaves the node's value as the flow wants it: with what was found, or the float model's. */
static vq_status run_calibrated(layer *l)
{
    vq_calibration *const c = l->c;
    if (!is_sequential(l)) { /* the value is there, with the float model's weights and bias */
        VQ_TRY(vq_float_run_set_quantizer(c->run, l->node, NULL));
        return vq_device_finish(c->dev);
    }
    vq_buf *const weight = c->run->params[l->n->weight];
    c->run->params[l->n->weight] = l->quantized_weight;
    const vq_status status = vq_walk_node(c->walk, l->node);
    c->run->params[l->n->weight] = weight;
    VQ_TRY(status);
    return vq_device_finish(c->dev);
}

vq_status vq_calibrate_patch_embed(vq_calibration *c, int node)
{
    layer l;
    vq_status status = VQ_OK;
    VQ_GO(layer_begin(&l, c, node));
    if (c->params.official_levels) VQ_GO(imitate_image_quantizer(&l));
    VQ_GO(vq_walk_patches(c->walk, node, &l.quantized.rows));
    VQ_GO(quantize_weight(&l, &l.quantized.rows));
    VQ_GO(keep_codes(&l));
    VQ_GO(refold_mean(&l));
    if (c->recipe->bias_correction) VQ_GO(correct_bias(&l, &l.quantized.rows, &l.quantized.rows));
    VQ_GO(run_calibrated(&l));
done:
    layer_end(&l);
    return status;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------
 */

static const vq_node *producer_of(const layer *l)
{
    const vq_graph *const g = l->c->source;
    const int producer = vq_graph_producer(g, l->n->in[0]);
    return producer < 0 ? NULL : &g->nodes[producer];
}

/* The LayerNorm whose scale can be moved into this linear: its output feeds nothing else. */
static const vq_node *reparam_source(const layer *l)
{
    const vq_graph *const g = l->c->source;
    const vq_node *const norm = producer_of(l);
    if (l->c->recipe->reparam == VQ_REPARAM_NONE || !norm || norm->op != VQ_NODE_LAYERNORM || l->n->bias < 0)
        return NULL;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n != l->n && (n->in[0] == l->n->in[0] || n->in[1] == l->n->in[0])) return NULL;
    }
    return norm;
}

static const vq_part *input_part(const layer *l)
{
    const vq_node *const producer = producer_of(l);
    return producer && producer->op == VQ_NODE_GELU ? &l->c->recipe->gelu : &l->c->recipe->input;
}

/* Quantizer of the whole input. */
static vq_status search_input(layer *l, const vq_score *score)
{
    const vq_part *const part = input_part(l);
    vq_quantizer *const q = &l->qn->in[0];
    const int bits = l->c->bits[l->node].input;
    vq_quantizer_clear(q);
    if (part->quantizer) {
        const vq_codebook_task task = {.family = part->quantizer,
                                       .search = part->search,
                                       .bits = bits,
                                       .extra_level = l->c->params.official_levels,
                                       .offset = gelu_offset};
        return vq_search_codebook(score, &task, q);
    }
    VQ_TRY(vq_quantizer_uniform(q, VQ_PER_TENSOR, 1, bits));
    return vq_search_uniform(score, part->search, false, q);
}

static vq_status search_input_by_tensor(layer *l)
{
    const bool codebook = input_part(l)->quantizer != NULL;
    vq_buf *sample = NULL;
    int rows = l->rows;
    vq_status status = VQ_OK;
    if (codebook)
        VQ_GO(vq_sample_rows(&sample, &rows, l->c->dev, &l->x, l->rows, l->in, 1 << l->c->bits[l->node].input));
    const size_t count = (size_t)rows * (size_t)l->in;
    const vq_groups g = {count, count, 1};
    vq_rows sampled = vq_rows_of(l->c->dev, sample);
    const vq_score score = vq_score_of_tensor(l->c->dev, &g, sample ? &sampled : &l->x);
    VQ_GO(search_input(l, &score));
done:
    vq_buf_destroy(&sample);
    return status;
}

static vq_status search_channels(layer *l)
{
    const vq_groups g = {(size_t)l->rows * (size_t)l->in, 1, l->in};
    const vq_score score = vq_score_of_tensor(l->c->dev, &g, &l->x);
    vq_quantizer_clear(&l->qn->in[0]);
    VQ_TRY(vq_quantizer_uniform(&l->qn->in[0], VQ_PER_CHANNEL, l->in, l->c->bits[l->node].input));
    return vq_search_uniform(&score, l->c->recipe->norm.search, false, &l->qn->in[0]);
}

static vq_status reparam(layer *l, const vq_node *norm, vq_reparam how)
{
    vq_param *const params = l->c->model->graph->params;
    return vq_reparam_layernorm(l->c->dev, how, &l->qn->in[0], l->c->params.official_levels, params[norm->weight].data,
                                params[norm->bias].data, l->weight, params[l->n->bias].data, l->out, l->in);
}

static vq_status set_param(vq_calibration *c, int p)
{
    const vq_param *const param = &c->model->graph->params[p];
    return vq_float_run_set_param(c->run, p, param->data, vq_shape_count(&param->shape));
}

/* Runs the reparameterized LayerNorm in place of the original: the linear's input is then what the final model has. */
static vq_status rerun_norm(layer *l, const vq_node *norm)
{
    vq_calibration *const c = l->c;
    VQ_TRY(set_param(c, norm->weight));
    VQ_TRY(set_param(c, norm->bias));
    VQ_TRY(set_param(c, l->n->bias));
    return vq_walk_node(c->walk, (int)(norm - c->source->nodes));
}

/* Rows that count, brought together: x and y of one part. */
typedef struct row_parts {
    layer *l;
    vq_buf *x, *y;
} row_parts;

static vq_status load_parts(vq_output_layer *o, int first, int count)
{
    row_parts *const p = o->user;
    const size_t in = (size_t)p->l->in, out = (size_t)p->l->out;
    if (!p->x) VQ_TRY(vq_buf_create(&p->x, p->l->c->dev, (size_t)o->at_once * in * sizeof(float)));
    if (!p->y) VQ_TRY(vq_buf_create(&p->y, p->l->c->dev, (size_t)o->at_once * out * sizeof(float)));
    o->x = (vq_matrix){.buf = p->x, .ld = p->l->in};
    o->y = (vq_matrix){.buf = p->y, .ld = p->l->out};
    const size_t step = (size_t)o->row_step, row = (size_t)first * step;
    const vq_runs of_x = {row * in, step * in, in, (size_t)count}, of_y = {row * out, step * out, out, (size_t)count};
    VQ_TRY(vq_rows_read_runs(&p->l->x, &of_x, p->x, 0));
    return vq_rows_read_runs(&p->l->y, &of_y, p->y, 0);
}

static vq_status search_input_by_output(layer *l)
{
    const size_t count = (size_t)l->rows * (size_t)l->in;
    const float *const bias = l->n->bias >= 0 ? l->c->model->graph->params[l->n->bias].data : NULL;
    const vq_groups g = {count, count, 1};
    vq_output_layer o = {.batch = 1,
                         .m = l->rows,
                         .row_step = vq_row_step(l->c, l->rows),
                         .cosine = input_part(l)->objective == VQ_OBJECTIVE_COSINE,
                         .x = {.buf = l->x.whole, .ld = l->in},
                         .y = {.buf = l->y.whole, .ld = l->out}};
    row_parts parts = {.l = l};
    vq_status status = VQ_OK;
    if (!l->x.whole) {
        o.load = load_parts;
        o.user = &parts;
        o.by_rows = true;
        o.at_once = VQ_MIN(rows_at_once(l, 64), VQ_CEIL_DIV(l->rows, o.row_step));
    }
    VQ_GO(keep_codes(l));
    VQ_GO(vq_output_layer_codes(&o, l->c->dev, l->qn->codes, &l->qn->weight, l->out, l->in, bias));
    const vq_score score = vq_score_of_output(l->c->dev, &g, 0, &l->x, &o);
    VQ_GO(search_input(l, &score));
done:
    vq_output_layer_end(&o);
    vq_buf_destroy(&parts.x);
    vq_buf_destroy(&parts.y);
    return status;
}

/* Input and weights searched in turn by the layer's output, each with what was found for the other. AdaLog's official
 * code begins with the input where that is a codebook, else with the weights. */
static vq_status search_by_output(layer *l)
{
    const vq_recipe *const r = l->c->recipe;
    const vq_part *const part = input_part(l);
    const bool input = vq_part_by_output(part), weight = vq_part_by_output(&r->weight);
    for (int round = 0; round < r->rounds; round++)
        for (int turn = 0; turn < 2; turn++) {
            const bool input_turn = (turn == 0) == (part->quantizer != NULL);
            if (input_turn && input) {
                VQ_TRY(round_nearest(l));
                VQ_TRY(search_input_by_output(l));
                VQ_TRY(vq_float_run_set_quantizer(l->c->run, l->node, &l->qn->in[0]));
            }
            if (!input_turn && weight) {
                products p = {0};
                VQ_TRY(quantize_input(l));
                vq_status status = products_begin(&p, l, &l->quantized.rows, true);
                if (status == VQ_OK) status = search_weight_by_output(l, &p, false);
                products_end(&p);
                VQ_TRY(status);
            }
        }
    return VQ_OK;
}

/* Which of the mean and the median of the channels' scales costs less at the output, with the weights rounded to
 * nearest. Both are tried on copies; the winner is applied. */
static vq_status choose_reparam(layer *l, const vq_node *norm, vq_reparam *best)
{
    static const vq_reparam ways[] = {VQ_REPARAM_MEAN, VQ_REPARAM_MOSF};
    vq_calibration *const c = l->c;
    vq_param *const params = c->model->graph->params;
    const int touched[3] = {norm->weight, norm->bias, l->n->bias};
    float *before[3] = {NULL};
    vq_buf *weight = NULL;
    vq_quantizer channels = {0};
    double least = INFINITY;
    vq_status status = VQ_OK;
    *best = ways[0];
    VQ_GO(vq_quantizer_clone(&channels, &l->qn->in[0]));
    VQ_GO(vq_buf_create(&weight, c->dev, l->weight->bytes));
    VQ_GO(vq_buf_copy(c->dev, weight, 0, l->weight, 0, l->weight->bytes));
    for (int i = 0; i < 3; i++) {
        const size_t count = vq_shape_count(&params[touched[i]].shape);
        VQ_GO(vq_alloc(&before[i], count, sizeof(float), "reparameterization"));
        memcpy(before[i], params[touched[i]].data, count * sizeof(float));
    }
    for (size_t w = 0; w < VQ_ARRAY_LEN(ways); w++) {
        double error;
        VQ_GO(reparam(l, norm, ways[w]));
        VQ_GO(rerun_norm(l, norm));
        VQ_GO(vq_float_run_set_quantizer(c->run, l->node, &l->qn->in[0]));
        VQ_GO(search_weight(l));
        VQ_GO(round_nearest(l));
        VQ_GO(output_error(l, &error));
        if (error < least) {
            least = error;
            *best = ways[w];
        }
        VQ_GO(vq_buf_copy(c->dev, l->weight, 0, weight, 0, l->weight->bytes));
        VQ_GO(vq_device_finish(c->dev));
        for (int i = 0; i < 3; i++)
            memcpy(params[touched[i]].data, before[i], vq_shape_count(&params[touched[i]].shape) * sizeof(float));
        vq_quantizer_clear(&l->qn->in[0]);
        VQ_GO(vq_quantizer_clone(&l->qn->in[0], &channels));
    }
    vq_log(VQ_LOG_INFO, "%s: the %s of the scales costs less", l->n->name,
           *best == VQ_REPARAM_MEAN ? "mean" : "median");
done:
    vq_buf_destroy(&weight);
    vq_quantizer_clear(&channels);
    for (int i = 0; i < 3; i++) free(before[i]);
    return status;
}

/* The official RepQ-ViT code's order: its later layers see channel-wise inputs and the original weights quantized, and
 * only then is the LayerNorm reparameterized and the new weights calibrated in a second pass that changes nothing else.
 */
static vq_status calibrate_official(layer *l, const vq_node *norm)
{
    VQ_TRY(norm ? search_channels(l) : search_input_by_tensor(l));
    VQ_TRY(vq_float_run_set_quantizer(l->c->run, l->node, &l->qn->in[0]));
    VQ_TRY(search_weight(l));
    VQ_TRY(round_nearest(l));
    VQ_TRY(run_calibrated(l));
    if (!norm) return keep_codes(l);
    VQ_TRY(reparam(l, norm, l->c->recipe->reparam));
    VQ_TRY(search_weight(l));
    VQ_TRY(round_nearest(l));
    return keep_codes(l);
}

/* Every layer behind a linear sees the product the final model computes. */
static vq_status calibrate(layer *l, const vq_node *norm)
{
    const vq_recipe *const r = l->c->recipe;
    vq_reparam how = r->reparam;
    if (norm) {
        VQ_TRY(search_channels(l));
        if (how == VQ_REPARAM_BEST) VQ_TRY(choose_reparam(l, norm, &how));
        VQ_TRY(reparam(l, norm, how));
        VQ_TRY(rerun_norm(l, norm));
    } else {
        VQ_TRY(search_input_by_tensor(l));
    }
    VQ_TRY(vq_float_run_set_quantizer(l->c->run, l->node, &l->qn->in[0]));
    if (vq_part_by_output(&r->weight) || vq_part_by_output(input_part(l))) {
        VQ_TRY(search_weight(l));
        VQ_TRY(search_by_output(l));
        if (r->rounding == VQ_ROUNDING_NEAREST) VQ_TRY(round_nearest(l));
    }
    VQ_TRY(quantize_input(l));
    if (r->rounding == VQ_ROUNDING_GPTQ || !vq_part_by_output(&r->weight))
        VQ_TRY(quantize_weight(l, &l->quantized.rows));
    VQ_TRY(keep_codes(l));
    if (r->bias_correction) VQ_TRY(correct_bias(l, &l->x, &l->quantized.rows));
    return run_calibrated(l);
}

vq_status vq_calibrate_linear(vq_calibration *c, int node)
{
    layer l;
    vq_status status = VQ_OK;
    VQ_GO(layer_begin(&l, c, node));
    l.x = vq_walk_value(c->walk, l.n->in[0]);
    const vq_node *const norm = reparam_source(&l);
    VQ_GO(c->params.official_levels ? calibrate_official(&l, norm) : calibrate(&l, norm));
done:
    layer_end(&l);
    return status;
}
