/* Sensitivities: what one quantized tensor does to the logits, tensor after tensor and width after width.
 *
 * A walk through the float model: in front of every node with operands to quantize, all values that are alive are set
 * aside; then each operand is quantized and the rest of the model is run from there. */
#include "calib/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qfile.h"
#include "run/model.h"

enum { MOST_IMAGES = 32 };

/* ---- tensors -------------------------------------------------------------------------------------------------------
 */

static const char *const operand_names[] = {"weight", "input", "qkv", "probabilities"};

static void add_tensor(vq_sensitivity *s, int node, vq_operand operand)
{
    const vq_graph *const g = s->graph;
    const vq_node *const n = &g->nodes[node];
    const vq_value *const in = &g->values[n->in[0]];
    vq_tensor_errors *const t = &s->tensors[s->count];
    *t = (vq_tensor_errors){.layer = n->name, .operand = operand_names[operand]};
    t->is_weight = operand == VQ_OPERAND_WEIGHT;
    t->elements = (size_t)in->rows * (size_t)in->cols;
    for (int b = 0; b <= VQ_MAX_BITS; b++) t->error[b] = NAN;
    if (t->is_weight) {
        const vq_shape *const shape = &g->params[n->weight].shape;
        const int k = (int)(vq_shape_count(shape) / (size_t)shape->dims[0]);
        t->elements = vq_shape_count(shape);
        for (int b = VQ_MIN_BITS; b <= VQ_MAX_BITS; b++) t->bytes[b] = (double)shape->dims[0] * vq_packed_row(k, b);
    }
    s->places[s->count++] = (vq_tensor_place){operand, node};
}

static vq_status list_tensors(vq_sensitivity *s)
{
    const size_t most = 2 * (size_t)s->graph->num_nodes;
    VQ_TRY(vq_alloc(&s->tensors, most, sizeof *s->tensors, "sensitivities"));
    VQ_TRY(vq_alloc(&s->places, most, sizeof *s->places, "sensitivities"));
    for (int i = 0; i < s->graph->num_nodes; i++) {
        const vq_node_op op = s->graph->nodes[i].op;
        if (op == VQ_NODE_LINEAR) add_tensor(s, i, VQ_OPERAND_INPUT);
        if (op == VQ_NODE_LINEAR || op == VQ_NODE_PATCH_EMBED) add_tensor(s, i, VQ_OPERAND_WEIGHT);
        if (op == VQ_NODE_SCORES) add_tensor(s, i, VQ_OPERAND_QKV);
        if (op == VQ_NODE_CONTEXT) add_tensor(s, i, VQ_OPERAND_PROBABILITIES);
    }
    return VQ_OK;
}

vq_status vq_sensitivity_create(vq_sensitivity **out, const vq_graph *graph, int min_bits, int max_bits)
{
    vq_sensitivity *s = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    if (min_bits < VQ_MIN_BITS || max_bits > VQ_MAX_BITS || min_bits > max_bits)
        return vq_fail(VQ_ERR_INVALID_ARG, "bits from %d to %d: must be a range from %d to %d", min_bits, max_bits,
                       VQ_MIN_BITS, VQ_MAX_BITS);
    VQ_TRY(vq_alloc(&s, 1, sizeof *s, "sensitivities"));
    s->graph = graph;
    s->min_bits = min_bits;
    s->max_bits = max_bits;
    VQ_GO(list_tensors(s));
    *out = s;
    s = NULL;
done:
    vq_sensitivity_destroy(&s);
    return status;
}

/* ---- errors --------------------------------------------------------------------------------------------------------
 */

typedef struct squares {
    double error, signal;
} squares;

static void add_logits(squares *sum, const float *logits, const float *wanted, int images, int classes)
{
    for (int i = 0; i < images; i++) {
        const float *const x = logits + (size_t)i * (size_t)classes, *const y = wanted + (size_t)i * (size_t)classes;
        double mean_x = 0, mean_y = 0;
        for (int c = 0; c < classes; c++) {
            mean_x += (double)x[c] / classes;
            mean_y += (double)y[c] / classes;
        }
        for (int c = 0; c < classes; c++) {
            const double b = y[c] - mean_y, d = x[c] - mean_x - b;
            sum->error += d * d;
            sum->signal += b * b;
        }
    }
}

static double ratio(const squares *s)
{
    return s->signal > 0 ? s->error / s->signal : s->error;
}

double vq_logits_error(const float *logits, const float *wanted, int images, int classes)
{
    squares s = {0};
    add_logits(&s, logits, wanted, images, classes);
    return ratio(&s);
}

static double squared_distance(const float *x, const float *y, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)x[i] - (double)y[i];
        sum += d * d;
    }
    return sum;
}

/* ---- one width -----------------------------------------------------------------------------------------------------
 */

/* What a measurement knows of a tensor at a width. */
typedef struct reading {
    squares logits;
    double entry; /* squared error where it enters the residual stream */
} reading;

typedef struct meter {
    vq_sensitivity *s;
    reading (*readings)[VQ_MAX_BITS + 1]; /* [tensors][bits] */
    const vq_calib_params *params;
    int bits;
    bool whole; /* this width is measured at the logits */
    size_t steps;
    /* while a width is being measured */
    const vq_calibration *c;
    int batch;           /* images of this part */
    vq_buf *saved;       /* the arena in front of a node */
    float *wanted, *got; /* logits */
    float *entry_wanted, *entry_got;
} meter;

/* Where what happens at a node enters the residual stream: the addition behind it, else the logits. */
static int entry_of(const vq_graph *g, int node)
{
    for (int i = node; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_ADD) return i;
    return g->num_nodes - 1;
}

static vq_status run_nodes(const meter *m, int first, int last)
{
    for (int i = first; i <= last; i++) VQ_TRY(vq_float_run_node(m->c->run, i, m->batch));
    return VQ_OK;
}

static vq_status read_node(const meter *m, int node, float *out)
{
    const vq_float_run *const run = m->c->run;
    const int v = run->graph->nodes[node].out;
    return vq_buf_read(run->dev, run->values[v], 0, out,
                       vq_value_count(run->graph, v) * (size_t)m->batch * sizeof *out);
}

static size_t node_count(const meter *m, int node)
{
    const vq_graph *const g = m->c->source;
    return vq_value_count(g, g->nodes[node].out) * (size_t)m->batch;
}

static vq_status restore(const meter *m)
{
    const vq_float_run *const run = m->c->run;
    return vq_buf_copy(run->dev, run->arena, 0, m->saved, 0, run->arena->bytes);
}

/* Runs from a node on, its operands as they are set now, to the logits or to the entry. */
static vq_status run_rest(const meter *m, int node, reading *r)
{
    const int entry = entry_of(m->c->source, node), last = m->c->source->num_nodes - 1;
    VQ_TRY(run_nodes(m, node, entry));
    VQ_TRY(read_node(m, entry, m->entry_got));
    r->entry += squared_distance(m->entry_got, m->entry_wanted, node_count(m, entry));
    if (!m->whole) return VQ_OK;
    VQ_TRY(run_nodes(m, entry + 1, last));
    VQ_TRY(read_node(m, last, m->got));
    add_logits(&r->logits, m->got, m->wanted, m->batch, m->c->source->num_classes);
    return VQ_OK;
}

static vq_status try_weight(const meter *m, int node, reading *r)
{
    vq_float_run *const run = m->c->run;
    const vq_node *const n = &run->graph->nodes[node];
    const vq_param *const bias = n->bias >= 0 ? &m->c->model->graph->params[n->bias] : NULL;
    const size_t count = vq_shape_count(&run->graph->params[n->weight].shape);
    vq_buf *const weight = run->params[n->weight], *const old_bias = bias ? run->params[n->bias] : NULL;
    vq_buf *quantized = NULL, *new_bias = NULL;
    float *w = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&w, count, sizeof *w, n->name));
    vq_qmodel_weight_f32(w, m->c->model, node);
    VQ_GO(vq_buf_create_from(&quantized, run->dev, w, count * sizeof *w));
    if (bias) VQ_GO(vq_buf_create_from(&new_bias, run->dev, bias->data, vq_shape_count(&bias->shape) * sizeof(float)));
    run->params[n->weight] = quantized;
    if (bias) run->params[n->bias] = new_bias;
    status = run_rest(m, node, r);
    run->params[n->weight] = weight;
    if (bias) run->params[n->bias] = old_bias;
    if (status == VQ_OK) status = vq_device_finish(run->dev);
done:
    vq_buf_destroy(&quantized);
    vq_buf_destroy(&new_bias);
    free(w);
    return status;
}

/* The node that multiplies by V what this SCORES node's probabilities become. */
static const vq_quantizer *value_quantizer(const vq_calibration *c, int scores)
{
    const vq_graph *const g = c->source;
    for (int i = scores; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_CONTEXT && g->nodes[i].in[1] == g->nodes[scores].in[0])
            return &c->model->nodes[i].in[1];
    return NULL;
}

static vq_status try_activation(const meter *m, const vq_tensor_place *place, reading *r)
{
    vq_float_run *const run = m->c->run;
    const vq_qnode *const qn = &m->c->model->nodes[place->node];
    if (place->operand == VQ_OPERAND_QKV) {
        const vq_quantizer *const v = value_quantizer(m->c, place->node);
        if (!v) return vq_fail(VQ_ERR_UNSUPPORTED, "attention without both of its products");
        VQ_TRY(vq_float_run_set_qkv(run, place->node, &qn->in[0], &qn->in[1], v));
    } else {
        VQ_TRY(vq_float_run_set_quantizer(run, place->node, &qn->in[0]));
    }
    VQ_TRY(run_rest(m, place->node, r));
    return vq_float_run_set_quantizer(run, place->node, NULL);
}

static bool report(const meter *m, const char *item, size_t done)
{
    char stage[32];
    if (!m->params->progress) return true;
    snprintf(stage, sizeof stage, "measure %d bits", m->bits);
    return m->params->progress(m->params->progress_user, stage, item, done, m->steps);
}

/* All tensors of a node, whose inputs are in place; they are again at the end. */
static vq_status try_node(meter *m, int node, int *next)
{
    const vq_sensitivity *const s = m->s;
    const vq_float_run *const run = m->c->run;
    const int entry = entry_of(m->c->source, node);
    if (*next >= s->count || s->places[*next].node != node) return VQ_OK;
    VQ_TRY(vq_buf_copy(run->dev, m->saved, 0, run->arena, 0, run->arena->bytes));
    VQ_TRY(run_nodes(m, node, entry));
    VQ_TRY(read_node(m, entry, m->entry_wanted));
    for (; *next < s->count && s->places[*next].node == node; (*next)++) {
        const vq_tensor_place *const place = &s->places[*next];
        reading *const r = &m->readings[*next][m->bits];
        if (!report(m, m->c->source->nodes[node].name, (size_t)*next)) return VQ_ERR_CANCELLED;
        VQ_TRY(restore(m));
        VQ_TRY(place->operand == VQ_OPERAND_WEIGHT ? try_weight(m, node, r) : try_activation(m, place, r));
    }
    return restore(m);
}

static vq_status measure_part(meter *m, int first)
{
    const int last = m->c->source->num_nodes - 1;
    int next = 0;
    VQ_TRY(vq_walk_input(m->c->walk, first, m->batch));
    VQ_TRY(run_nodes(m, 0, last));
    VQ_TRY(read_node(m, last, m->wanted));
    for (int i = 0; i <= last; i++) {
        VQ_TRY(try_node(m, i, &next));
        VQ_TRY(run_nodes(m, i, i));
    }
    return VQ_OK;
}

/* Called at the end of a calibration at m->bits. */
static vq_status measure_width(void *user, const vq_calibration *c)
{
    meter *const m = user;
    const vq_graph *const g = c->source;
    const int images = VQ_MIN(c->samples, MOST_IMAGES), most = VQ_MIN(c->run->max_batch, images);
    size_t entry = 0;
    vq_status status = VQ_OK;
    m->c = c;
    m->s->samples = images;
    m->steps = (size_t)m->s->count;
    for (int i = 0; i < g->num_nodes; i++) entry = VQ_MAX(entry, vq_value_count(g, g->nodes[entry_of(g, i)].out));
    VQ_GO(vq_buf_create(&m->saved, c->dev, c->run->arena->bytes));
    VQ_GO(vq_alloc(&m->wanted, (size_t)most * (size_t)g->num_classes, sizeof(float), "logits"));
    VQ_GO(vq_alloc(&m->got, (size_t)most * (size_t)g->num_classes, sizeof(float), "logits"));
    VQ_GO(vq_alloc(&m->entry_wanted, (size_t)most * entry, sizeof(float), "values"));
    VQ_GO(vq_alloc(&m->entry_got, (size_t)most * entry, sizeof(float), "values"));
    for (int first = 0; first < images; first += most) {
        m->batch = VQ_MIN(most, images - first);
        VQ_GO(measure_part(m, first));
    }
done:
    vq_buf_destroy(&m->saved);
    free(m->wanted);
    free(m->got);
    free(m->entry_wanted);
    free(m->entry_got);
    m->wanted = m->got = m->entry_wanted = m->entry_got = NULL;
    m->c = NULL;
    return status;
}

/* ---- all widths ----------------------------------------------------------------------------------------------------
 */

static bool is_whole(const vq_sensitivity *s, const vq_sensitivity_params *what, int bits)
{
    return what->every_width || bits == 2 || bits == 4 || bits == 6 || s->max_bits - s->min_bits < 2;
}

/* How much a squared error at the entry counts at the logits, at a width that was not run to the end: the geometric
 * mean of the two next to it, or the nearer one where only one was. */
static double gain_at(const vq_sensitivity *s, const vq_sensitivity_params *what, const reading *r, int bits)
{
    double log_sum = 0;
    int found = 0;
    for (int distance = 1; distance <= VQ_MAX_BITS && !found; distance++)
        for (int side = -1; side <= 1; side += 2) {
            const int b = bits + side * distance;
            if (b < s->min_bits || b > s->max_bits || !is_whole(s, what, b)) continue;
            if (!(r[b].entry > 0) || !(ratio(&r[b].logits) > 0)) continue;
            log_sum += log(ratio(&r[b].logits) / r[b].entry);
            found++;
        }
    return found ? exp(log_sum / found) : 0;
}

static void conclude(const meter *m, const vq_sensitivity_params *what)
{
    vq_sensitivity *const s = m->s;
    for (int t = 0; t < s->count; t++)
        for (int b = s->min_bits; b <= s->max_bits; b++) {
            const reading *const r = m->readings[t];
            s->tensors[t].error[b] = is_whole(s, what, b) ? ratio(&r[b].logits) : r[b].entry * gain_at(s, what, r, b);
        }
}

/* The calibration's own progress, under a name that tells which of the widths it is. */
static bool relay(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    const meter *const m = user;
    char name[32];
    if (strcmp(stage, "calibrate") == 0) {
        snprintf(name, sizeof name, "calibrate %d bits", m->bits);
        stage = name;
    }
    return m->params->progress(m->params->progress_user, stage, item, done, total);
}

static vq_status calibrate_width(meter *m, vq_device *dev, const vq_model *fp32, const vq_dataset *images)
{
    const vq_calib_extra extra = {.parallel = true, .measure = measure_width, .user = m};
    vq_calib_params params = *m->params;
    char text[VQ_LOG_LINE] = "", *before = NULL;
    const bool again = m->bits > m->s->min_bits && params.skip_bad; /* unreadable images have been told of */
    params.w_bits = params.a_bits = m->bits;
    if (params.progress) {
        params.progress = relay;
        params.progress_user = m;
    }
    if (again) before = vq_log_capture(text);
    const vq_status status = vq_calibrate_extra(NULL, dev, fp32, images, &params, &extra);
    if (again) vq_log_capture(before);
    if (again && status != VQ_OK && status != VQ_ERR_CANCELLED) return vq_fail(status, "%s", text);
    return status;
}

vq_status vq_sensitivity_measure(vq_sensitivity **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                                 const vq_calib_params *params, const vq_sensitivity_params *what)
{
    static const vq_calib_params usual = {0};
    static const vq_sensitivity_params all = {0};
    meter m = {.params = params ? params : &usual};
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !dev || !fp32 || !images) return vq_fail(VQ_ERR_INVALID_ARG, "vq_sensitivity_measure: NULL argument");
    if (!fp32->graph) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", fp32->path);
    if (m.params->official_levels)
        return vq_fail(VQ_ERR_UNSUPPORTED, "official levels belong to one width everywhere, not to mixed ones");
    what = what ? what : &all;
    VQ_TRY(vq_sensitivity_create(&m.s, fp32->graph, what->min_bits ? what->min_bits : VQ_MIN_BITS,
                                 what->max_bits ? what->max_bits : VQ_MAX_BITS));
    VQ_GO(vq_alloc(&m.readings, (size_t)m.s->count, sizeof *m.readings, "sensitivities"));
    for (m.bits = m.s->min_bits; m.bits <= m.s->max_bits; m.bits++) {
        m.whole = is_whole(m.s, what, m.bits);
        VQ_GO(calibrate_width(&m, dev, fp32, images));
    }
    conclude(&m, what);
    *out = m.s;
    m.s = NULL;
done:
    free(m.readings);
    vq_sensitivity_destroy(&m.s);
    return status;
}

void vq_sensitivity_destroy(vq_sensitivity **s)
{
    if (!s || !*s) return;
    free((*s)->tensors);
    free((*s)->places);
    free(*s);
    *s = NULL;
}

int vq_sensitivity_count(const vq_sensitivity *s)
{
    return s->count;
}

const vq_tensor_errors *vq_sensitivity_tensor(const vq_sensitivity *s, int i)
{
    return i >= 0 && i < s->count ? &s->tensors[i] : NULL;
}

int vq_sensitivity_samples(const vq_sensitivity *s)
{
    return s->samples;
}
