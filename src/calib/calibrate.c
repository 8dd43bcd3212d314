/* Calibration as RepQ-ViT does it: one pass over the nodes in order, every quantizer taking its parameters from data
 * that is already quantized upstream. Values, statistics and products stay on the device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "calib/reparam.h"
#include "calib/search.h"
#include "ops/ops_f32.h"
#include "run/float_run.h"
#include "run/model.h"

enum { DEFAULT_SAMPLES = 32, DEFAULT_BITS = 4 };

typedef struct calibration {
    const vq_recipe *recipe;
    vq_calib_params params; /* with the defaults filled in */
    vq_device *dev;
    const vq_graph *source; /* FP32 */
    vq_float_run *run;
    vq_qmodel *model; /* being made */
    int samples;
} calibration;

/* ---- photos --------------------------------------------------------------------------------------------------------
 */

/* The order in which images are tried: as they come, or shuffled (Fisher-Yates). */
static vq_status sample_order(size_t **out, size_t count, const vq_calib_params *p)
{
    vq_rng rng;
    VQ_TRY(vq_alloc(out, count, sizeof **out, "sample order"));
    for (size_t i = 0; i < count; i++) (*out)[i] = i;
    if (!p->shuffle) return VQ_OK;
    vq_rng_seed(&rng, p->seed);
    for (size_t i = 0; i + 1 < count; i++) {
        const size_t j = i + vq_rng_below(&rng, (uint32_t)(count - i)), t = (*out)[i];
        (*out)[i] = (*out)[j];
        (*out)[j] = t;
    }
    return VQ_OK;
}

static bool report(const calibration *c, const char *stage, const char *item, size_t done, size_t total)
{
    return !c->params.progress || c->params.progress(c->params.progress_user, stage, item, done, total);
}

/* Loads the samples into *pixels and their names into the JSON array names; c->samples is how many there are. */
static vq_status load_samples(calibration *c, const vq_dataset *images, uint8_t **pixels, cJSON *names)
{
    const vq_preprocess *const pre = &c->source->pre;
    const size_t count = vq_dataset_count(images), wanted = VQ_MIN((size_t)c->params.samples, count);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    size_t *order = NULL, loaded = 0;
    vq_status status = VQ_OK;
    VQ_GO(sample_order(&order, count, &c->params));
    VQ_GO(vq_alloc(pixels, wanted, bytes, "calibration images"));
    for (size_t i = 0; i < count && loaded < wanted; i++) {
        const char *const name = vq_dataset_name(images, order[i]);
        if (!report(c, "load", name, loaded, wanted)) VQ_GO(VQ_ERR_CANCELLED);
        const vq_status loading = vq_dataset_load(images, order[i], pre, *pixels + loaded * bytes);
        if (loading != VQ_OK && !c->params.skip_bad) VQ_GO(loading);
        if (loading != VQ_OK) continue;
        cJSON_AddItemToArray(names, cJSON_CreateString(name));
        loaded++;
    }
    if (loaded == 0) VQ_GO(vq_fail(VQ_ERR_FORMAT, "no readable image among the %zu given for calibration", count));
    if (loaded < wanted) vq_log(VQ_LOG_WARN, "calibrating with %zu images, %zu were wanted", loaded, wanted);
    c->samples = (int)loaded;
done:
    free(order);
    return status;
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

static size_t value_count(const vq_graph *g, int v)
{
    return (size_t)g->values[v].rows * (size_t)g->values[v].cols;
}

static vq_groups weight_groups(const vq_graph *g, const vq_node *n)
{
    const size_t count = vq_shape_count(&g->params[n->weight].shape);
    const int rows = (int)g->params[n->weight].shape.dims[0];
    return (vq_groups){count, count / (size_t)rows, rows};
}

static vq_status search_weight(calibration *c, const vq_groups *g, const vq_buf *weight, vq_quantizer *out)
{
    vq_quantizer_clear(out);
    VQ_TRY(vq_quantizer_uniform(out, VQ_PER_ROW, g->groups, c->params.w_bits));
    return vq_search_uniform(c->dev, c->recipe->range, g, weight, out);
}

/* Device copies of a uniform quantizer's parameters. */
static vq_status upload_uniform(vq_device *dev, const vq_quantizer *q, vq_buf **scale, vq_buf **zero)
{
    VQ_TRY(vq_buf_create_from(scale, dev, q->scale, (size_t)q->groups * sizeof(float)));
    return vq_buf_create_from(zero, dev, q->zero, (size_t)q->groups * sizeof(float));
}

/* The node's product sees quantized weights from here on. */
static vq_status fakequant_weight(calibration *c, const vq_groups *g, const vq_buf *weight, const vq_quantizer *q,
                                  const vq_buf *out)
{
    vq_buf *scale = NULL, *zero = NULL;
    vq_status status = VQ_OK;
    VQ_GO(upload_uniform(c->dev, q, &scale, &zero));
    VQ_GO(vq_fakequant_uniform_run(c->dev, g, weight, scale, zero, q->levels, out));
    VQ_GO(vq_device_finish(c->dev));
done:
    vq_buf_destroy(&scale);
    vq_buf_destroy(&zero);
    return status;
}

/* Codes of the node's final weights, kept in the model. */
static vq_status keep_codes(calibration *c, int node, const vq_groups *g, const vq_buf *weight)
{
    vq_qnode *const qn = &c->model->nodes[node];
    vq_buf *scale = NULL, *zero = NULL, *codes = NULL;
    vq_status status = VQ_OK;
    VQ_GO(upload_uniform(c->dev, &qn->weight, &scale, &zero));
    VQ_GO(vq_buf_create(&codes, c->dev, g->count));
    VQ_GO(vq_quantize_uniform_run(c->dev, g, weight, scale, zero, qn->weight.levels, codes));
    VQ_GO(vq_alloc(&qn->codes, g->count, 1, "weight codes"));
    VQ_GO(vq_buf_read(c->dev, codes, 0, qn->codes, g->count));
done:
    vq_buf_destroy(&scale);
    vq_buf_destroy(&zero);
    vq_buf_destroy(&codes);
    return status;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------
 */

/* sum_k W[o][k] * u[k] with u the pixel value (0..255) of the normalization's mean, for every output o. */
static vq_status mean_pixel_product(calibration *c, const vq_node *n, const vq_groups *g, const vq_buf *weight,
                                    float *out)
{
    const vq_preprocess *const pre = &c->source->pre;
    const int width = (int)g->inner, area = width / pre->chans;
    float *mean = NULL;
    VQ_TRY(vq_alloc(&mean, g->inner, sizeof *mean, n->name));
    for (int k = 0; k < width; k++) mean[k] = 255.0f * pre->mean[k / area];
    const vq_status status = vq_matrix_vector(c->dev, weight, mean, out, g->groups, width);
    free(mean);
    return status;
}

/* The official code quantizes the normalized image to 8 bits, whatever the bits of the rest. Ours need not: pixels are
 * 8 bits. */
static vq_status imitate_image_quantizer(calibration *c, int node)
{
    const vq_preprocess *const pre = &c->source->pre;
    const size_t count = value_count(c->source, 0) * (size_t)c->samples;
    const vq_groups g = {count, count, 1};
    vq_quantizer *const q = &c->model->nodes[node].in[0];
    const vq_buf *normalized = NULL;
    float map[3 * 256];
    for (int i = 0; i < pre->chans * 256; i++)
        map[i] = ((float)(i % 256) / 255.0f - pre->mean[i / 256]) / pre->std[i / 256];
    VQ_TRY(vq_float_run_set_pixel_map(c->run, node, map));
    VQ_TRY(vq_float_run_patches(c->run, node, c->samples, &normalized));
    VQ_TRY(vq_quantizer_uniform(q, VQ_PER_TENSOR, 1, 8));
    VQ_TRY(vq_search_uniform(c->dev, c->recipe->range, &g, normalized, q));
    return vq_float_run_set_quantizer(c->run, node, q);
}

/* The graph folds the mean of the normalization into the bias, with the float weights; quantized ones must be folded
 * anew, or their rounding errors would be multiplied by half the range of the pixels. */
static vq_status calibrate_patch_embed(calibration *c, int node)
{
    const vq_node *const n = &c->source->nodes[node];
    vq_qnode *const qn = &c->model->nodes[node];
    const vq_groups g = weight_groups(c->source, n);
    const vq_buf *const weight = c->run->params[n->weight];
    float *const bias = c->model->graph->params[n->bias].data, *before = NULL, *after = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&before, (size_t)g.groups, sizeof *before, n->name));
    VQ_GO(vq_alloc(&after, (size_t)g.groups, sizeof *after, n->name));
    if (c->params.official_levels) VQ_GO(imitate_image_quantizer(c, node));
    VQ_GO(search_weight(c, &g, weight, &qn->weight));
    VQ_GO(keep_codes(c, node, &g, weight));
    VQ_GO(mean_pixel_product(c, n, &g, weight, before));
    VQ_GO(fakequant_weight(c, &g, weight, &qn->weight, weight));
    VQ_GO(mean_pixel_product(c, n, &g, weight, after));
    for (int o = 0; o < g.groups; o++) bias[o] += before[o] - after[o];
    VQ_GO(vq_float_run_set_param(c->run, n->bias, bias, (size_t)g.groups));
    VQ_GO(vq_float_run_node(c->run, node, c->samples));
done:
    free(before);
    free(after);
    return status;
}

/* The LayerNorm whose scale can be moved into this linear: its output feeds nothing else. */
static const vq_node *reparam_source(const calibration *c, const vq_node *linear)
{
    const vq_graph *const g = c->source;
    const int producer = vq_graph_producer(g, linear->in[0]);
    if (!c->recipe->reparam || producer < 0 || g->nodes[producer].op != VQ_NODE_LAYERNORM) return NULL;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n != linear && (n->in[0] == linear->in[0] || n->in[1] == linear->in[0])) return NULL;
    }
    return &g->nodes[producer];
}

static vq_status search_input(calibration *c, int node, bool channelwise)
{
    const vq_node *const n = &c->source->nodes[node];
    vq_quantizer *const q = &c->model->nodes[node].in[0];
    const int cols = c->source->values[n->in[0]].cols;
    const size_t count = value_count(c->source, n->in[0]) * (size_t)c->samples;
    const vq_groups g = channelwise ? (vq_groups){count, 1, cols} : (vq_groups){count, count, 1};
    VQ_TRY(vq_quantizer_uniform(q, channelwise ? VQ_PER_CHANNEL : VQ_PER_TENSOR, g.groups, c->params.a_bits));
    return vq_search_uniform(c->dev, c->recipe->range, &g, c->run->values[n->in[0]], q);
}

static vq_status reparam(calibration *c, int node, const vq_node *norm, const vq_buf *weight)
{
    const vq_node *const n = &c->source->nodes[node];
    vq_param *const params = c->model->graph->params;
    const vq_shape *const shape = &params[n->weight].shape;
    if (n->bias < 0) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: reparameterization needs a bias", n->name);
    return vq_reparam_layernorm(c->dev, &c->model->nodes[node].in[0], c->params.official_levels,
                                params[norm->weight].data, params[norm->bias].data, weight, params[n->bias].data,
                                (int)shape->dims[0], (int)shape->dims[1]);
}

static vq_status set_param(calibration *c, int p)
{
    const vq_param *const param = &c->model->graph->params[p];
    return vq_float_run_set_param(c->run, p, param->data, vq_shape_count(&param->shape));
}

/* Runs the reparameterized LayerNorm in place of the original: the linear's input is then what the final model has. */
static vq_status rerun_norm(calibration *c, const vq_node *norm, const vq_node *linear)
{
    VQ_TRY(set_param(c, norm->weight));
    VQ_TRY(set_param(c, norm->bias));
    VQ_TRY(set_param(c, linear->bias));
    return vq_float_run_node(c->run, (int)(norm - c->source->nodes), c->samples);
}

/* Every layer behind a linear sees the product the final model computes. The official code differs in this: there,
 * later layers see channel-wise inputs and the original weights quantized, and only then is the LayerNorm
 * reparameterized and the new weights calibrated in a second pass that changes nothing else. */
static vq_status calibrate_linear(calibration *c, int node)
{
    const vq_node *const n = &c->source->nodes[node];
    const vq_node *const norm = reparam_source(c, n);
    const bool official = c->params.official_levels;
    vq_qnode *const qn = &c->model->nodes[node];
    const vq_groups g = weight_groups(c->source, n);
    vq_buf *const weight = c->run->params[n->weight];
    vq_buf *quantized = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create(&quantized, c->dev, weight->bytes));
    VQ_GO(search_input(c, node, norm != NULL));
    if (norm && !official) {
        VQ_GO(reparam(c, node, norm, weight));
        VQ_GO(rerun_norm(c, norm, n));
    }
    VQ_GO(vq_float_run_set_quantizer(c->run, node, &qn->in[0]));
    VQ_GO(search_weight(c, &g, weight, &qn->weight));
    VQ_GO(fakequant_weight(c, &g, weight, &qn->weight, quantized));
    c->run->params[n->weight] = quantized;
    status = vq_float_run_node(c->run, node, c->samples);
    c->run->params[n->weight] = weight;
    VQ_GO(status);
    if (norm && official) {
        VQ_GO(reparam(c, node, norm, weight));
        VQ_GO(search_weight(c, &g, weight, &qn->weight));
    }
    VQ_GO(keep_codes(c, node, &g, weight));
    VQ_GO(vq_device_finish(c->dev));
done:
    vq_buf_destroy(&quantized);
    return status;
}

static int context_of(const vq_graph *g, int scores)
{
    for (int i = scores + 1; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_CONTEXT && g->nodes[i].in[1] == g->nodes[scores].in[0]) return i;
    return -1;
}

/* Q, K and V are three column ranges of one value, quantized together; nothing else reads it. */
static vq_status calibrate_scores(calibration *c, int node)
{
    const vq_graph *const g = c->source;
    const vq_node *const n = &g->nodes[node];
    const int context = context_of(g, node);
    if (context < 0) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: scores without a context node", n->name);
    const vq_groups groups = {value_count(g, n->in[0]) * (size_t)c->samples, (size_t)(n->heads * n->head_dim), 3};
    vq_quantizer *const part[3] = {&c->model->nodes[node].in[0], &c->model->nodes[node].in[1],
                                   &c->model->nodes[context].in[1]};
    vq_quantizer all = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_quantizer_uniform(&all, VQ_PER_CHANNEL, 3, c->params.a_bits));
    VQ_GO(vq_search_uniform(c->dev, c->recipe->range, &groups, c->run->values[n->in[0]], &all));
    for (int p = 0; p < 3; p++) {
        VQ_GO(vq_quantizer_uniform(part[p], VQ_PER_TENSOR, 1, c->params.a_bits));
        part[p]->scale[0] = all.scale[p];
        part[p]->zero[0] = all.zero[p];
    }
    VQ_GO(vq_float_run_set_qkv(c->run, node, part[0], part[1], part[2]));
    VQ_GO(vq_float_run_node(c->run, node, c->samples));
done:
    vq_quantizer_clear(&all);
    return status;
}

static vq_status calibrate_context(calibration *c, int node)
{
    const vq_node *const n = &c->source->nodes[node];
    vq_quantizer *const q = &c->model->nodes[node].in[0];
    VQ_TRY(vq_search_softmax(c->dev, c->recipe->softmax, c->recipe->range,
                             value_count(c->source, n->in[0]) * (size_t)c->samples, c->run->values[n->in[0]],
                             c->params.a_bits, c->params.official_levels, q));
    VQ_TRY(vq_float_run_set_quantizer(c->run, node, q));
    return vq_float_run_node(c->run, node, c->samples);
}

static vq_status calibrate_node(calibration *c, int node)
{
    switch (c->source->nodes[node].op) {
    case VQ_NODE_PATCH_EMBED: return calibrate_patch_embed(c, node);
    case VQ_NODE_LINEAR: return calibrate_linear(c, node);
    case VQ_NODE_SCORES: return calibrate_scores(c, node);
    case VQ_NODE_CONTEXT: return calibrate_context(c, node);
    default: return vq_float_run_node(c->run, node, c->samples);
    }
}

static vq_status calibrate_nodes(calibration *c, const uint8_t *pixels)
{
    const vq_graph *const g = c->source;
    VQ_TRY(vq_float_run_input(c->run, pixels, c->samples));
    for (int i = 0; i < g->num_nodes; i++) {
        if (!report(c, "calibrate", g->nodes[i].name, (size_t)i, (size_t)g->num_nodes)) return VQ_ERR_CANCELLED;
        VQ_TRY(calibrate_node(c, i));
    }
    return VQ_OK;
}

/* ---- the model -----------------------------------------------------------------------------------------------------
 */

static vq_status begin_model(calibration *c)
{
    const vq_graph *const g = c->source;
    VQ_TRY(vq_alloc(&c->model, 1, sizeof *c->model, "quantized model"));
    VQ_TRY(vq_graph_clone(&c->model->graph, g));
    VQ_TRY(vq_alloc(&c->model->nodes, (size_t)g->num_nodes, sizeof *c->model->nodes, "quantized model"));
    for (int i = 0; i < g->num_nodes; i++) { /* only codes remain of these */
        const vq_node *const n = &g->nodes[i];
        if (n->op != VQ_NODE_PATCH_EMBED && n->op != VQ_NODE_LINEAR) continue;
        free(c->model->graph->params[n->weight].data);
        c->model->graph->params[n->weight].data = NULL;
    }
    return VQ_OK;
}

static vq_status write_manifest(calibration *c, const uint8_t *pixels, cJSON *names)
{
    const vq_preprocess *const pre = &c->source->pre;
    const vq_device_info *const info = vq_device_get_info(c->dev);
    char pixels_hash[33];
    cJSON *const m = cJSON_CreateObject();
    vq_hash_hex(pixels_hash, pixels,
                (size_t)c->samples * (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans);
    cJSON_AddStringToObject(m, "vitq", vq_version());
    cJSON_AddStringToObject(m, "recipe", c->recipe->name);
    cJSON_AddNumberToObject(m, "weight_bits", c->params.w_bits);
    cJSON_AddNumberToObject(m, "activation_bits", c->params.a_bits);
    cJSON_AddBoolToObject(m, "official_levels", c->params.official_levels);
    cJSON_AddNumberToObject(m, "samples", c->samples);
    cJSON_AddBoolToObject(m, "shuffled", c->params.shuffle);
    if (c->params.shuffle) {
        char seed[24];
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)c->params.seed); /* JSON numbers end at 2^53 */
        cJSON_AddStringToObject(m, "seed", seed);
    }
    cJSON_AddStringToObject(m, "weights_xxh3", c->source->source_hash);
    cJSON_AddStringToObject(m, "images_xxh3", pixels_hash);
    cJSON_AddStringToObject(m, "device", info->name);
    cJSON_AddStringToObject(m, "driver", info->driver);
    cJSON_AddItemReferenceToObject(m, "images", names);
    c->model->manifest = cJSON_PrintUnformatted(m);
    cJSON_Delete(m);
    return c->model->manifest ? VQ_OK : vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the manifest");
}

static vq_status check_params(vq_calib_params *p)
{
    p->w_bits = p->w_bits ? p->w_bits : DEFAULT_BITS;
    p->a_bits = p->a_bits ? p->a_bits : DEFAULT_BITS;
    p->samples = p->samples ? p->samples : DEFAULT_SAMPLES;
    if (p->w_bits < 2 || p->w_bits > 8 || p->a_bits < 2 || p->a_bits > 8)
        return vq_fail(VQ_ERR_INVALID_ARG, "bits are w%da%d, each must be 2 to 8", p->w_bits, p->a_bits);
    if (p->samples < 1 || p->samples > 65536)
        return vq_fail(VQ_ERR_INVALID_ARG, "samples is %d, must be 1 to 65536", p->samples);
    return VQ_OK;
}

vq_status vq_calibrate(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                       const vq_calib_params *params)
{
    calibration c = {.params = params ? *params : (vq_calib_params){0}, .dev = dev};
    uint8_t *pixels = NULL;
    cJSON *names = NULL;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !dev || !fp32 || !images) return vq_fail(VQ_ERR_INVALID_ARG, "vq_calibrate: NULL argument");
    if (!fp32->graph) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", fp32->path);
    VQ_TRY(check_params(&c.params));
    VQ_TRY(vq_recipe_find(&c.recipe, c.params.recipe));
    c.source = fp32->graph;
    names = cJSON_CreateArray();
    if (!names) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the manifest"));
    VQ_GO(load_samples(&c, images, &pixels, names));
    VQ_GO(begin_model(&c));
    VQ_GO(vq_float_run_create(&c.run, dev, c.source, c.samples));
    VQ_GO(calibrate_nodes(&c, pixels));
    VQ_GO(write_manifest(&c, pixels, names));
    if (!c.params.official_levels) VQ_GO(vq_lower(&c.model->ints, c.model));
    VQ_GO(vq_model_from_qmodel(out, &c.model));
done:
    vq_float_run_destroy(&c.run);
    vq_qmodel_destroy(&c.model);
    cJSON_Delete(names);
    free(pixels);
    return status;
}
