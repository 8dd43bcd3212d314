/* Calibration: one pass over the nodes in order. In a sequential flow every quantizer takes its parameters from data
 * that is already quantized upstream, in a parallel one from the float model's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "calib/calibration.h"
#include "calib/memory.h"
#include "calib/transform.h"
#include "run/model.h"

enum { DEFAULT_SAMPLES = 32, DEFAULT_BITS = 4 };

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

static bool report(const vq_calibration *c, const char *stage, const char *item, size_t done, size_t total)
{
    return !c->params.progress || c->params.progress(c->params.progress_user, stage, item, done, total);
}

/* What the calibration will take, and where its samples go: all of it to memory, or to a store. */
static vq_status plan_memory(vq_calibration *c, size_t wanted, size_t image_bytes)
{
    vq_samples *const s = &c->photos;
    vq_memory_plan plan;
    VQ_TRY(vq_memory_plan_make(&plan, c->dev, c->source, c->recipe, (int)wanted, c->params.memory));
    s->at_once = plan.at_once;
    s->part = plan.part;
    if (c->params.memory_taken)
        *c->params.memory_taken = (vq_calib_memory){.planned = plan.planned, .images_at_once = plan.at_once};
    if (plan.whole) return vq_alloc(&s->pixels, wanted, image_bytes, "calibration images");
    VQ_TRY(vq_store_create(&s->store));
    return vq_store_reserve(s->store, wanted * image_bytes, &s->offset);
}

/* Loads the samples, their hash, and their names into the JSON array names; c->samples is how many there are. */
static vq_status load_samples(vq_calibration *c, const vq_dataset *images, char hash[33], cJSON *names)
{
    const vq_preprocess *const pre = &c->source->pre;
    const size_t count = vq_dataset_count(images), wanted = VQ_MIN((size_t)c->params.samples, count);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    vq_samples *const s = &c->photos;
    vq_hasher *hasher = NULL;
    uint8_t *one = NULL;
    size_t *order = NULL, loaded = 0;
    vq_status status = VQ_OK;
    VQ_GO(plan_memory(c, wanted, bytes));
    VQ_GO(sample_order(&order, count, &c->params));
    VQ_GO(vq_hasher_begin(&hasher));
    if (s->store) VQ_GO(vq_alloc(&one, 1, bytes, "an image"));
    for (size_t i = 0; i < count && loaded < wanted; i++) {
        const char *const name = vq_dataset_name(images, order[i]);
        if (!report(c, "load", name, loaded, wanted)) VQ_GO(VQ_ERR_CANCELLED);
        uint8_t *const to = s->store ? one : s->pixels + loaded * bytes;
        const vq_status loading = vq_dataset_load(images, order[i], pre, to);
        if (loading != VQ_OK && !c->params.skip_bad) VQ_GO(loading);
        if (loading != VQ_OK) continue;
        if (s->store) VQ_GO(vq_store_write(s->store, s->offset + loaded * bytes, one, bytes));
        vq_hasher_add(hasher, to, bytes);
        cJSON_AddItemToArray(names, cJSON_CreateString(name));
        loaded++;
    }
    if (loaded == 0) VQ_GO(vq_fail(VQ_ERR_FORMAT, "no readable image among the %zu given for calibration", count));
    if (loaded < wanted) vq_log(VQ_LOG_WARN, "calibrating with %zu images, %zu were wanted", loaded, wanted);
    c->samples = s->count = (int)loaded;
    s->at_once = s->store ? VQ_MIN(s->at_once, s->count) : s->count;
    vq_hasher_hex(hash, hasher);
done:
    vq_hasher_end(&hasher);
    free(one);
    free(order);
    return status;
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------
 */

/* In a parallel flow the float model's value stays. */
static vq_status calibrate_node(vq_calibration *c, int node)
{
    const bool parallel = c->recipe->flow == VQ_FLOW_PARALLEL;
    if (parallel) VQ_TRY(vq_walk_node(c->walk, node));
    switch (c->source->nodes[node].op) {
    case VQ_NODE_PATCH_EMBED: return vq_calibrate_patch_embed(c, node);
    case VQ_NODE_LINEAR: return vq_calibrate_linear(c, node);
    case VQ_NODE_SCORES: return vq_calibrate_scores(c, node);
    case VQ_NODE_CONTEXT: return vq_calibrate_context(c, node);
    default: return parallel ? VQ_OK : vq_walk_node(c->walk, node);
    }
}

static vq_status calibrate_nodes(vq_calibration *c)
{
    const vq_graph *const g = c->source;
    for (int i = 0; i < g->num_nodes; i++) {
        if (!report(c, "calibrate", g->nodes[i].name, (size_t)i, (size_t)g->num_nodes)) return VQ_ERR_CANCELLED;
        VQ_TRY(calibrate_node(c, i));
    }
    return VQ_OK;
}

/* ---- the model -----------------------------------------------------------------------------------------------------
 */

static vq_status begin_model(vq_calibration *c)
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

static vq_status write_manifest(vq_calibration *c, const char *pixels_hash, cJSON *names)
{
    const vq_device_info *const info = vq_device_get_info(c->dev);
    cJSON *const m = cJSON_CreateObject();
    cJSON_AddStringToObject(m, "vitq", vq_version());
    cJSON_AddStringToObject(m, "recipe", c->recipe->name);
    if (c->params.parts) cJSON_AddStringToObject(m, "parts", c->params.parts);
    if (c->params.search) cJSON_AddStringToObject(m, "search", c->params.search);
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

static vq_status choose_bits(vq_bits **out, const vq_calibration *c, const vq_bits *given)
{
    VQ_TRY(vq_alloc(out, (size_t)c->source->num_nodes, sizeof **out, "bits"));
    for (int i = 0; i < c->source->num_nodes; i++)
        (*out)[i] = given ? given[i] : (vq_bits){(uint8_t)c->params.w_bits, (uint8_t)c->params.a_bits};
    return VQ_OK;
}

/* A recipe that only a sequential flow can do has its nearest relative in a parallel one. */
static void make_parallel(vq_recipe *r)
{
    r->flow = VQ_FLOW_PARALLEL;
    if (r->reparam == VQ_REPARAM_BEST) r->reparam = VQ_REPARAM_MEAN;
}

vq_status vq_calibrate_extra(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                             const vq_calib_params *params, const vq_calib_extra *extra)
{
    static const vq_calib_extra none = {0};
    vq_calibration c = {.params = params ? *params : (vq_calib_params){0}, .dev = dev};
    vq_recipe recipe;
    vq_graph *rewritten = NULL;
    vq_bits *bits = NULL;
    char hash[33];
    cJSON *names = NULL;
    vq_status status = VQ_OK;
    if (!extra) extra = &none;
    if (!fp32->graph) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", fp32->path);
    VQ_TRY(check_params(&c.params));
    VQ_TRY(vq_recipe_read(&recipe, c.params.recipe, c.params.parts));
    VQ_TRY(vq_recipe_set_search(&recipe, c.params.search));
    if (extra->parallel) make_parallel(&recipe);
    c.recipe = &recipe;
    c.source = fp32->graph;
    names = cJSON_CreateArray();
    if (!names) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the manifest"));
    VQ_GO(load_samples(&c, images, hash, names));
    VQ_GO(choose_bits(&bits, &c, extra->bits));
    c.bits = bits;
    VQ_GO(vq_rewrite_graph(&rewritten, &c));
    if (rewritten) c.source = rewritten;
    VQ_GO(begin_model(&c));
    VQ_GO(vq_walk_create(&c.walk, dev, c.source, &c.photos));
    c.run = c.walk->run;
    VQ_GO(calibrate_nodes(&c));
    if (extra->measure) VQ_GO(extra->measure(extra->user, &c));
    if (!out) goto done;
    VQ_GO(write_manifest(&c, hash, names));
    if (c.params.memory_taken && c.photos.store) c.params.memory_taken->file_bytes = vq_store_bytes(c.photos.store);
    if (!report(&c, "lower", "", 0, 1)) VQ_GO(VQ_ERR_CANCELLED);
    if (!c.params.official_levels) VQ_GO(vq_lower(&c.model->ints, c.model));
    VQ_GO(vq_model_from_qmodel(out, &c.model));
done:
    vq_temp_destroy(&c.qkv);
    vq_walk_destroy(&c.walk);
    vq_store_destroy(&c.photos.store);
    vq_qmodel_destroy(&c.model);
    vq_graph_destroy(&rewritten);
    cJSON_Delete(names);
    free(c.photos.pixels);
    free(bits);
    return status;
}

vq_status vq_calibrate(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                       const vq_calib_params *params)
{
    if (out) *out = NULL;
    if (!out || !dev || !fp32 || !images) return vq_fail(VQ_ERR_INVALID_ARG, "vq_calibrate: NULL argument");
    return vq_calibrate_extra(out, dev, fp32, images, params, NULL);
}
