/* Linear layers and the patch embedding: quantizers of inputs, the order of things, bias. Values, statistics and
 * products stay on the device. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/layer.h"
#include "calib/output_score.h"
#include "calib/reparam.h"
#include "calib/search.h"
#include "ops/ops_f32.h"

/* |min GELU|, as the official AdaLog code has it: added before a codebook that knows no negative values. */
static const float gelu_offset = 0.16997124254704522f;

/* True where something is judged by the layer's output. */
static bool aims_at_output(const vq_recipe *r)
{
    return vq_part_by_output(&r->weight) || vq_part_by_output(&r->input) || vq_part_by_output(&r->gelu) ||
           r->reparam == VQ_REPARAM_BEST;
}

static vq_status layer_begin(vq_layer *l, vq_calibration *c, int node)
{
    const vq_graph *const g = c->source;
    const vq_node *const n = &g->nodes[node];
    const vq_shape *const shape = &g->params[n->weight].shape;
    const size_t count = vq_shape_count(shape);
    *l = (vq_layer){.c = c, .n = n, .node = node, .qn = &c->model->nodes[node]};
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

static bool is_sequential(const vq_layer *l)
{
    return l->c->recipe->flow == VQ_FLOW_SEQUENTIAL;
}

static void layer_end(vq_layer *l)
{
    vq_rows_close(&l->x);
    vq_rows_close(&l->y);
    vq_temp_destroy(&l->quantized);
    vq_buf_destroy(&l->quantized_weight);
    vq_buf_destroy(&l->codes);
}

static vq_status quantize_input(vq_layer *l)
{
    const int step = vq_layer_rows_at_once(l, 1);
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
static vq_status output_error(vq_layer *l, double *error)
{
    const vq_groups dense = {0, 0, 1};
    size_t unit = vq_quant_error_part(&dense); /* rows that fill its parts */
    for (int cols = l->out; unit % 2 == 0 && cols % 2 == 0; cols /= 2) unit /= 2;
    const int step = vq_layer_rows_at_once(l, unit);
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
        VQ_GO(vq_layer_load_rows(&x, &l->quantized.rows, first, rows, l->in));
        VQ_GO(vq_layer_residual(l, x, first, rows, l->quantized_weight, r));
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
static vq_status output_means(vq_layer *l, vq_rows *x, const vq_buf *weight, double *out)
{
    vq_gemm_f32_shape shape = {.n = l->out, .k = l->in, .lda = l->in, .ldb = l->in, .ldc = l->out, .trans_b = true};
    vq_device *const dev = l->c->dev;
    const int step = vq_layer_rows_at_once(l, VQ_GRAM_ROWS);
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
        VQ_GO(vq_layer_load_rows(&part, x, first, shape.m, l->in));
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

/* The bias takes up the mean of what quantizing this layer alone has changed. (Taking up what the layers before have
 * changed as well was measured to be worse, on the very photos it is fitted to.) x is the quantized input; raw that
 * before. */
static vq_status correct_bias(vq_layer *l, vq_rows *raw, vq_rows *x)
{
    vq_calibration *const c = l->c;
    double *mean[2] = {NULL, NULL};
    float *const bias = l->n->bias >= 0 ? c->model->graph->params[l->n->bias].data : NULL;
    vq_status status = VQ_OK;
    if (!bias || !vq_layer_has_many_rows(l)) return VQ_OK;
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
static vq_status mean_pixel_product(vq_layer *l, const vq_buf *weight, float *out)
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
static vq_status imitate_image_quantizer(vq_layer *l)
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

/* The graph folds the mean of the normalization into the bias, with the float weights; quantized ones must be folded
 * anew, or their rounding errors would be multiplied by half the range of the pixels. */
static vq_status refold_mean(vq_layer *l)
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
static vq_status run_calibrated(vq_layer *l)
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
    vq_layer l;
    vq_status status = VQ_OK;
    VQ_GO(layer_begin(&l, c, node));
    if (c->params.official_levels) VQ_GO(imitate_image_quantizer(&l));
    VQ_GO(vq_walk_patches(c->walk, node, &l.quantized.rows));
    VQ_GO(vq_layer_quantize_weight(&l, &l.quantized.rows));
    VQ_GO(vq_layer_keep_codes(&l));
    VQ_GO(refold_mean(&l));
    if (c->recipe->bias_correction) VQ_GO(correct_bias(&l, &l.quantized.rows, &l.quantized.rows));
    VQ_GO(run_calibrated(&l));
done:
    layer_end(&l);
    return status;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------
 */

static const vq_node *producer_of(const vq_layer *l)
{
    const vq_graph *const g = l->c->source;
    const int producer = vq_graph_producer(g, l->n->in[0]);
    return producer < 0 ? NULL : &g->nodes[producer];
}

/* The LayerNorm whose scale can be moved into this linear: its output feeds nothing else. */
static const vq_node *reparam_source(const vq_layer *l)
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

static const vq_part *input_part(const vq_layer *l)
{
    const vq_node *const producer = producer_of(l);
    return producer && producer->op == VQ_NODE_GELU ? &l->c->recipe->gelu : &l->c->recipe->input;
}

/* Quantizer of the whole input. */
static vq_status search_input(vq_layer *l, const vq_score *score)
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

static vq_status search_input_by_tensor(vq_layer *l)
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

static vq_status search_channels(vq_layer *l)
{
    const vq_groups g = {(size_t)l->rows * (size_t)l->in, 1, l->in};
    const vq_score score = vq_score_of_tensor(l->c->dev, &g, &l->x);
    vq_quantizer_clear(&l->qn->in[0]);
    VQ_TRY(vq_quantizer_uniform(&l->qn->in[0], VQ_PER_CHANNEL, l->in, l->c->bits[l->node].input));
    return vq_search_uniform(&score, l->c->recipe->norm.search, false, &l->qn->in[0]);
}

static vq_status reparam(vq_layer *l, const vq_node *norm, vq_reparam how)
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
static vq_status rerun_norm(vq_layer *l, const vq_node *norm)
{
    vq_calibration *const c = l->c;
    VQ_TRY(set_param(c, norm->weight));
    VQ_TRY(set_param(c, norm->bias));
    VQ_TRY(set_param(c, l->n->bias));
    return vq_walk_node(c->walk, (int)(norm - c->source->nodes));
}

/* Rows that count, brought together: x and y of one part. */
typedef struct row_parts {
    vq_layer *l;
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

static vq_status search_input_by_output(vq_layer *l)
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
        o.at_once = VQ_MIN(vq_layer_rows_at_once(l, 64), VQ_CEIL_DIV(l->rows, o.row_step));
    }
    VQ_GO(vq_layer_keep_codes(l));
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
static vq_status search_by_output(vq_layer *l)
{
    const vq_recipe *const r = l->c->recipe;
    const vq_part *const part = input_part(l);
    const bool input = vq_part_by_output(part), weight = vq_part_by_output(&r->weight);
    for (int round = 0; round < r->rounds; round++)
        for (int turn = 0; turn < 2; turn++) {
            const bool input_turn = (turn == 0) == (part->quantizer != NULL);
            if (input_turn && input) {
                VQ_TRY(vq_layer_round_nearest(l));
                VQ_TRY(search_input_by_output(l));
                VQ_TRY(vq_float_run_set_quantizer(l->c->run, l->node, &l->qn->in[0]));
            }
            if (!input_turn && weight) {
                VQ_TRY(quantize_input(l));
                VQ_TRY(vq_layer_search_weight_by_output(l));
            }
        }
    return VQ_OK;
}

/* Which of the mean and the median of the channels' scales costs less at the output, with the weights rounded to
 * nearest. Both are tried on copies; the winner is applied. */
static vq_status choose_reparam(vq_layer *l, const vq_node *norm, vq_reparam *best)
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
        VQ_GO(vq_layer_search_weight(l));
        VQ_GO(vq_layer_round_nearest(l));
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
static vq_status calibrate_official(vq_layer *l, const vq_node *norm)
{
    VQ_TRY(norm ? search_channels(l) : search_input_by_tensor(l));
    VQ_TRY(vq_float_run_set_quantizer(l->c->run, l->node, &l->qn->in[0]));
    VQ_TRY(vq_layer_search_weight(l));
    VQ_TRY(vq_layer_round_nearest(l));
    VQ_TRY(run_calibrated(l));
    if (!norm) return vq_layer_keep_codes(l);
    VQ_TRY(reparam(l, norm, l->c->recipe->reparam));
    VQ_TRY(vq_layer_search_weight(l));
    VQ_TRY(vq_layer_round_nearest(l));
    return vq_layer_keep_codes(l);
}

/* Every layer behind a linear sees the product the final model computes. */
static vq_status calibrate(vq_layer *l, const vq_node *norm)
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
        VQ_TRY(vq_layer_search_weight(l));
        VQ_TRY(search_by_output(l));
        if (r->rounding == VQ_ROUNDING_NEAREST) VQ_TRY(vq_layer_round_nearest(l));
    }
    VQ_TRY(quantize_input(l));
    if (r->rounding == VQ_ROUNDING_GPTQ || !vq_part_by_output(&r->weight))
        VQ_TRY(vq_layer_quantize_weight(l, &l->quantized.rows));
    VQ_TRY(vq_layer_keep_codes(l));
    if (r->bias_correction) VQ_TRY(correct_bias(l, &l->x, &l->quantized.rows));
    return run_calibrated(l);
}

vq_status vq_calibrate_linear(vq_calibration *c, int node)
{
    vq_layer l;
    vq_status status = VQ_OK;
    VQ_GO(layer_begin(&l, c, node));
    l.x = vq_walk_value(c->walk, l.n->in[0]);
    const vq_node *const norm = reparam_source(&l);
    VQ_GO(c->params.official_levels ? calibrate_official(&l, norm) : calibrate(&l, norm));
done:
    layer_end(&l);
    return status;
}
