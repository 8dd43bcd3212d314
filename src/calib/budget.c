/* Calibration within a budget: widths from the sensitivities, and the uniform model of the same budget beside it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "calib/knapsack.h"
#include "calib/sensitivity.h"
#include "run/int_run.h"
#include "run/model.h"

/* NOTE_BYTES: what the manifest says of the budget, and digits of numbers in it, at most. */
enum { BATCH = 8, USUAL_BITS = 4, MOST_TRIES = 5, NOTE_BYTES = 640 };

typedef struct work {
    vq_device *dev;
    const vq_model *fp32;
    const vq_dataset *images;
    const vq_calib_params *params;
    const vq_budget *budget;
    const vq_sensitivity *s;
    vq_bits *bits;   /* [nodes] of the model being calibrated */
    int *choice;     /* [tensors] widths of the mixed one */
    uint8_t *pixels; /* of the calibration's images */
    float *wanted;   /* logits of the float model */
    int samples;
    bool quiet; /* unreadable images have been told of */
} work;

/* ---- errors --------------------------------------------------------------------------------------------------------
 */

static vq_status float_logits(work *w)
{
    const vq_graph *const g = w->fp32->graph;
    const int batch = VQ_MIN(BATCH, w->samples);
    vq_float_run *run = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&w->wanted, (size_t)w->samples * (size_t)g->num_classes, sizeof *w->wanted, "logits"));
    VQ_GO(vq_float_run_create(&run, w->dev, g, batch));
    for (int i = 0; i < w->samples; i += batch)
        VQ_GO(vq_float_run_logits(run, w->pixels + (size_t)i * vq_value_count(g, 0), VQ_MIN(batch, w->samples - i),
                                  w->wanted + (size_t)i * (size_t)g->num_classes));
done:
    vq_float_run_destroy(&run);
    return status;
}

/* Keeps the images of the first calibration; later ones have the same. */
static vq_status keep_pixels(void *user, const vq_calibration *c)
{
    work *const w = user;
    const size_t bytes = (size_t)c->samples * vq_value_count(c->source, 0);
    w->samples = c->samples;
    VQ_TRY(vq_alloc(&w->pixels, bytes, 1, "calibration images"));
    if (c->photos.store) return vq_store_read(c->photos.store, c->photos.offset, w->pixels, bytes);
    memcpy(w->pixels, c->photos.pixels, bytes);
    return VQ_OK;
}

/* Of the integers: what will be run. */
static vq_status model_error(work *w, const vq_model *model, double *error)
{
    const int classes = w->fp32->graph->num_classes, batch = VQ_MIN(BATCH, w->samples);
    const size_t count = (size_t)w->samples * (size_t)classes;
    int32_t *ints = NULL;
    float *logits = NULL;
    vq_int_run *run = NULL;
    vq_status status = VQ_OK;
    if (!w->wanted) VQ_GO(float_logits(w));
    VQ_GO(vq_alloc(&ints, count, sizeof *ints, "logits"));
    VQ_GO(vq_alloc(&logits, count, sizeof *logits, "logits"));
    VQ_GO(vq_int_run_create(&run, w->dev, model->qmodel->ints, &(vq_int_run_params){.max_batch = batch}));
    for (int i = 0; i < w->samples; i += batch)
        VQ_GO(vq_int_run_logits(run, w->pixels + (size_t)i * vq_value_count(w->fp32->graph, 0),
                                VQ_MIN(batch, w->samples - i), ints + (size_t)i * (size_t)classes));
    for (size_t i = 0; i < count; i++) logits[i] = (float)ldexp(ints[i], -VQ_RESIDUAL_BITS);
    *error = vq_logits_error(logits, w->wanted, w->samples, classes);
done:
    vq_int_run_destroy(&run);
    free(ints);
    free(logits);
    return status;
}

/* ---- calibrations --------------------------------------------------------------------------------------------------
 */

/* The calibration's own progress, under a name that tells which of the two it is. */
typedef struct relay_to {
    const vq_calib_params *params;
    const char *name;
} relay_to;

static bool relay(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    const relay_to *const r = user;
    if (strcmp(stage, "calibrate") == 0) stage = r->name;
    return r->params->progress(r->params->progress_user, stage, item, done, total);
}

static vq_status calibrate(work *w, vq_model **out, const char *name)
{
    const vq_calib_extra extra = {.bits = w->bits, .measure = w->pixels ? NULL : keep_pixels, .user = w};
    const bool quiet = w->quiet && w->params->skip_bad;
    vq_calib_params params = *w->params;
    relay_to to = {w->params, name};
    char text[VQ_LOG_LINE] = "", *before = NULL;
    if (params.progress) {
        params.progress = relay;
        params.progress_user = &to;
    }
    if (quiet) before = vq_log_capture(text);
    const vq_status status = vq_calibrate_extra(out, w->dev, w->fp32, w->images, &params, &extra);
    if (quiet) vq_log_capture(before);
    w->quiet = true;
    if (quiet && status != VQ_OK && status != VQ_ERR_CANCELLED) return vq_fail(status, "%s", text);
    return status;
}

static vq_status calibrate_uniform(work *w, vq_model **out, int weight_bits, int activation_bits)
{
    for (int i = 0; i < w->fp32->graph->num_nodes; i++)
        w->bits[i] = (vq_bits){(uint8_t)weight_bits, (uint8_t)activation_bits};
    return calibrate(w, out, "calibrate uniform");
}

static vq_status calibrate_mixed(work *w, vq_model **out)
{
    for (int i = 0; i < w->s->count; i++) {
        const vq_tensor_place *const p = &w->s->places[i];
        if (p->operand == VQ_OPERAND_WEIGHT)
            w->bits[p->node].weight = (uint8_t)w->choice[i];
        else
            w->bits[p->node].input = (uint8_t)w->choice[i];
    }
    return calibrate(w, out, "calibrate mixed");
}

/* ---- widths --------------------------------------------------------------------------------------------------------
 */

static double elements(const vq_sensitivity *s, bool weights)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++)
        if (s->tensors[i].is_weight == weights) sum += (double)s->tensors[i].elements;
    return sum;
}

static double mean_bits(const work *w, bool weights)
{
    double sum = 0;
    for (int i = 0; i < w->s->count; i++)
        if (w->s->tensors[i].is_weight == weights) sum += (double)w->s->tensors[i].elements * w->choice[i];
    return sum / elements(w->s, weights);
}

/* Bytes of all weights at so many bits. */
static double weight_bytes(const vq_sensitivity *s, int bits)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++) sum += s->tensors[i].bytes[bits];
    return sum;
}

static double chosen_bytes(const work *w)
{
    double sum = 0;
    for (int i = 0; i < w->s->count; i++) sum += w->s->tensors[i].bytes[w->choice[i]];
    return sum;
}

/* Widths of all weights, or of all activations, of total cost at most limit: in bytes of the file, or in bits. Adds to
 * the sums of errors and of bounds. */
static vq_status choose(work *w, bool weights, bool in_bytes, double limit, vq_budget_result *sums)
{
    const vq_sensitivity *const s = w->s;
    vq_knapsack_item *items = NULL;
    vq_knapsack_result result;
    int *option = NULL, n = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&items, (size_t)s->count, sizeof *items, "budget"));
    VQ_GO(vq_alloc(&option, (size_t)s->count, sizeof *option, "budget"));
    for (int i = 0; i < s->count; i++) {
        const vq_tensor_errors *const t = &s->tensors[i];
        if (t->is_weight != weights) continue;
        vq_knapsack_item *const item = &items[n++];
        item->num_options = s->max_bits - s->min_bits + 1;
        for (int b = s->min_bits; b <= s->max_bits; b++) {
            item->cost[b - s->min_bits] = in_bytes ? t->bytes[b] : (double)t->elements * b;
            item->error[b - s->min_bits] = t->error[b];
        }
    }
    VQ_GO(vq_knapsack_solve(option, &result, items, n, limit));
    sums->expected += result.error;
    sums->bound += result.bound;
    n = 0;
    for (int i = 0; i < s->count; i++)
        if (s->tensors[i].is_weight == weights) w->choice[i] = s->min_bits + option[n++];
done:
    free(items);
    free(option);
    return status;
}

static vq_status choose_activations(work *w, int uniform_bits, vq_budget_result *sums)
{
    const double mean = w->budget->activation_bits;
    if (mean > 0) return choose(w, false, false, mean * elements(w->s, false), sums);
    for (int i = 0; i < w->s->count; i++) {
        if (w->s->tensors[i].is_weight) continue;
        w->choice[i] = uniform_bits;
        sums->expected += w->s->tensors[i].error[uniform_bits];
        sums->bound += w->s->tensors[i].error[uniform_bits];
    }
    return VQ_OK;
}

/* ---- both models ---------------------------------------------------------------------------------------------------
 */

typedef struct contest {
    vq_model *uniform, *mixed;
    double uniform_bytes, mixed_bytes;
    vq_budget_result result;
} contest;

static vq_status file_bytes(double *bytes, const vq_model *model)
{
    VQ_TRY(vq_qmodel_file_bytes(bytes, model->qmodel));
    *bytes += NOTE_BYTES;
    return VQ_OK;
}

static vq_status by_mean(work *w, contest *c)
{
    vq_budget_result *const r = &c->result;
    r->uniform_weight_bits = (int)w->budget->weight_bits;
    VQ_TRY(choose(w, true, false, w->budget->weight_bits * elements(w->s, true), r));
    VQ_TRY(choose_activations(w, r->uniform_activation_bits, r));
    VQ_TRY(calibrate_mixed(w, &c->mixed));
    VQ_TRY(file_bytes(&c->mixed_bytes, c->mixed));
    VQ_TRY(calibrate_uniform(w, &c->uniform, r->uniform_weight_bits, r->uniform_activation_bits));
    return file_bytes(&c->uniform_bytes, c->uniform);
}

static vq_status too_small(const work *w, double bytes)
{
    return vq_fail(VQ_ERR_INVALID_ARG, "a budget of %.4g MB is too small: %s with weights of %d bits takes %.4g MB",
                   w->budget->bytes * 1e-6, w->fp32->graph->architecture, w->s->min_bits, bytes * 1e-6);
}

/* The largest uniform width whose file fits. What the file holds besides codes is known once one has been made. */
static vq_status uniform_by_bytes(work *w, contest *c, double *overhead)
{
    int bits = w->s->max_bits;
    for (;;) {
        while (bits > w->s->min_bits && *overhead + weight_bytes(w->s, bits) > w->budget->bytes) bits--;
        vq_model_destroy(&c->uniform);
        VQ_TRY(calibrate_uniform(w, &c->uniform, bits, c->result.uniform_activation_bits));
        VQ_TRY(file_bytes(&c->uniform_bytes, c->uniform));
        *overhead = c->uniform_bytes - weight_bytes(w->s, bits);
        c->result.uniform_weight_bits = bits;
        if (c->uniform_bytes <= w->budget->bytes) return VQ_OK;
        if (bits == w->s->min_bits) return too_small(w, c->uniform_bytes);
    }
}

static vq_status by_bytes(work *w, contest *c)
{
    double overhead = 0;
    VQ_TRY(uniform_by_bytes(w, c, &overhead));
    for (int i = 0; i < MOST_TRIES; i++) { /* the mixed model's tables may be larger */
        c->result.expected = c->result.bound = 0;
        VQ_TRY(choose_activations(w, c->result.uniform_activation_bits, &c->result));
        if (w->budget->bytes - overhead < weight_bytes(w->s, w->s->min_bits)) break;
        VQ_TRY(choose(w, true, true, w->budget->bytes - overhead, &c->result));
        vq_model_destroy(&c->mixed);
        VQ_TRY(calibrate_mixed(w, &c->mixed));
        VQ_TRY(file_bytes(&c->mixed_bytes, c->mixed));
        if (c->mixed_bytes <= w->budget->bytes) return VQ_OK;
        overhead = VQ_MAX(overhead, c->mixed_bytes - chosen_bytes(w)) + NOTE_BYTES;
    }
    vq_model_destroy(&c->mixed); /* none fits: the uniform one does */
    return VQ_OK;
}

static vq_status compare(work *w, contest *c)
{
    vq_budget_result *const r = &c->result;
    r->mixed_error = INFINITY;
    VQ_TRY(model_error(w, c->uniform, &r->uniform_error));
    if (c->mixed) VQ_TRY(model_error(w, c->mixed, &r->mixed_error));
    r->mixed = c->mixed && r->mixed_error <= r->uniform_error;
    r->weight_bits = r->mixed ? mean_bits(w, true) : r->uniform_weight_bits;
    r->activation_bits = r->mixed ? mean_bits(w, false) : r->uniform_activation_bits;
    return VQ_OK;
}

/* The manifest of an ordinary calibration, with the budget and means in it. */
static vq_status amend_manifest(vq_qmodel *m, const vq_budget *b, const vq_budget_result *r)
{
    cJSON *root = NULL, *o;
    vq_status status = VQ_OK;
    VQ_TRY(vq_json_parse(&root, "manifest", m->manifest, strlen(m->manifest)));
    cJSON_ReplaceItemInObjectCaseSensitive(root, "weight_bits", cJSON_CreateNumber(r->weight_bits));
    cJSON_ReplaceItemInObjectCaseSensitive(root, "activation_bits", cJSON_CreateNumber(r->activation_bits));
    o = cJSON_AddObjectToObject(root, "budget");
    if (b->bytes > 0)
        cJSON_AddNumberToObject(o, "bytes", b->bytes);
    else
        cJSON_AddNumberToObject(o, "weight_bits", b->weight_bits);
    if (b->activation_bits > 0) cJSON_AddNumberToObject(o, "activation_bits", b->activation_bits);
    cJSON_AddStringToObject(o, "kept", r->mixed ? "mixed" : "uniform");
    if (isfinite(r->mixed_error)) cJSON_AddNumberToObject(o, "mixed_error", r->mixed_error);
    cJSON_AddNumberToObject(o, "uniform_error", r->uniform_error);
    char *const text = cJSON_PrintUnformatted(root);
    if (!text) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the manifest"));
    free(m->manifest);
    m->manifest = text;
done:
    cJSON_Delete(root);
    return status;
}

/* ---- the call ------------------------------------------------------------------------------------------------------
 */

static bool is_mean(double bits)
{
    return bits >= VQ_MIN_BITS && bits <= VQ_MAX_BITS;
}

static vq_status check_budget(const vq_budget *b, const vq_calib_params *p)
{
    const double a = b->activation_bits;
    if ((b->bytes != 0) == (b->weight_bits != 0))
        return vq_fail(VQ_ERR_INVALID_ARG, "a budget has either mean bits of weights or bytes");
    if (b->bytes != 0 && !(b->bytes > 0 && isfinite(b->bytes)))
        return vq_fail(VQ_ERR_INVALID_ARG, "a budget of %g bytes must be positive", b->bytes);
    if ((b->bytes == 0 && !is_mean(b->weight_bits)) || (a != 0 && !is_mean(a)))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "a budget of %g bits of weights and %g of activations: each must be %d to %d", b->weight_bits,
                       a != 0 ? a : p->a_bits, VQ_MIN_BITS, VQ_MAX_BITS);
    if (p->official_levels)
        return vq_fail(VQ_ERR_UNSUPPORTED, "official levels belong to one width everywhere, not to a budget");
    return VQ_OK;
}

/* A budget must leave a choice: widths outside the measured range have no errors. */
static vq_status check_range(const work *w, int activation_bits)
{
    const vq_sensitivity *const s = w->s;
    const double least[2] = {w->budget->bytes > 0 ? s->min_bits : w->budget->weight_bits,
                             w->budget->activation_bits > 0 ? w->budget->activation_bits : activation_bits};
    for (int i = 0; i < 2; i++)
        if (least[i] < s->min_bits || (i && w->budget->activation_bits <= 0 && least[i] > s->max_bits))
            return vq_fail(VQ_ERR_INVALID_ARG, "%g bits of %s: the sensitivities are of %d to %d bits", least[i],
                           i ? "activations" : "weights", s->min_bits, s->max_bits);
    if (s->graph != w->fp32->graph) return vq_fail(VQ_ERR_INVALID_ARG, "the sensitivities are of another model");
    return VQ_OK;
}

/* A plain decimal number at *text, which moves on behind it. */
static bool read_number(double *out, const char **text)
{
    const size_t length = strspn(*text, "0123456789.");
    char number[32], *end;
    if (length == 0 || length >= sizeof number) return false;
    memcpy(number, *text, length);
    number[length] = 0;
    *out = strtod(number, &end);
    *text += length;
    return *end == 0;
}

vq_status vq_budget_parse(vq_budget *out, const char *text)
{
    const char *at = text;
    double first, second = 0;
    if (out) *out = (vq_budget){0};
    if (!out || !text) return vq_fail(VQ_ERR_INVALID_ARG, "vq_budget_parse: NULL argument");
    bool good = read_number(&first, &at);
    const bool size = good && strncmp(at, "MB", 2) == 0;
    if (size) at += 2;
    const bool both = good && *at == '/';
    if (both) {
        at++;
        good = read_number(&second, &at);
    }
    if (!good || *at)
        return vq_fail(VQ_ERR_FORMAT, "budget: '%.40s' is not of the form 4.5, 4.5/5, 3.2MB or 3.2MB/5", text);
    if (size && !(first > 0 && first < 1e9))
        return vq_fail(VQ_ERR_INVALID_ARG, "budget: '%.40s' is no size of a model", text);
    if ((!size && !is_mean(first)) || (both && !is_mean(second)))
        return vq_fail(VQ_ERR_INVALID_ARG, "budget: '%.40s' is out of range, mean bits must be %d to %d", text,
                       VQ_MIN_BITS, VQ_MAX_BITS);
    out->bytes = size ? first * 1e6 : 0;
    out->weight_bits = size ? 0 : first;
    out->activation_bits = both ? second : out->weight_bits;
    return VQ_OK;
}

vq_status vq_calibrate_budget(vq_model **out, vq_budget_result *result, vq_device *dev, const vq_model *fp32,
                              const vq_dataset *images, const vq_calib_params *params, const vq_budget *budget,
                              const vq_sensitivity *s)
{
    static const vq_calib_params usual = {0};
    work w = {.dev = dev, .fp32 = fp32, .images = images, .params = params ? params : &usual, .budget = budget, .s = s};
    contest c = {0};
    vq_sensitivity *measured = NULL;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (result) *result = (vq_budget_result){0};
    if (!out || !dev || !fp32 || !images || !budget)
        return vq_fail(VQ_ERR_INVALID_ARG, "vq_calibrate_budget: NULL argument");
    if (!fp32->graph) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", fp32->path);
    VQ_TRY(check_budget(budget, w.params));
    if (!s) {
        VQ_GO(vq_sensitivity_measure(&measured, dev, fp32, images, w.params, NULL));
        w.s = measured;
        w.quiet = true;
    }
    const int a_bits = w.params->a_bits ? w.params->a_bits : USUAL_BITS;
    VQ_GO(check_range(&w, a_bits));
    c.result.uniform_activation_bits = budget->activation_bits > 0 ? (int)budget->activation_bits : a_bits;
    VQ_GO(vq_alloc(&w.bits, (size_t)fp32->graph->num_nodes, sizeof *w.bits, "bits"));
    VQ_GO(vq_alloc(&w.choice, (size_t)w.s->count, sizeof *w.choice, "bits"));
    VQ_GO(budget->bytes > 0 ? by_bytes(&w, &c) : by_mean(&w, &c));
    VQ_GO(compare(&w, &c));
    vq_model **const kept = c.result.mixed ? &c.mixed : &c.uniform;
    VQ_GO(amend_manifest((*kept)->qmodel, budget, &c.result));
    VQ_GO(vq_qmodel_file_bytes(&c.result.bytes, (*kept)->qmodel));
    *out = *kept;
    *kept = NULL;
    if (result) *result = c.result;
done:
    vq_model_destroy(&c.uniform);
    vq_model_destroy(&c.mixed);
    vq_sensitivity_destroy(&measured);
    free(w.bits);
    free(w.choice);
    free(w.pixels);
    free(w.wanted);
    return status;
}
