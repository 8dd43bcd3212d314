/* vitq eval: accuracy and speed of a model on labelled images. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vitq/eval.h"

typedef struct evaluation {
    const cli_options *options;
    const char *path;
    vq_model *model;
    vq_dataset *set;
    vq_device *dev; /* NULL for the witness */
    vq_session *session;
    int classes;
    size_t count; /* images asked for */
    size_t seen;  /* so far */
    void *logits; /* [count][classes] with --logits */
    vq_eval_result result;
} evaluation;

static int check(const cli_options *options, const char *model)
{
    if (!options->images)
        return cli_fail(CLI_USAGE, "eval: needs --images, a folder of photos or an IDX file of images");
    if (!options->labels)
        return cli_fail(CLI_USAGE, "eval: needs --labels, a CSV with the columns file,class_index "
                                   "(or, for IDX images, an IDX file of labels)");
    return options->logits ? cli_check_output(options->logits, model) : 0;
}

static vq_status open_all(evaluation *e)
{
    const cli_options *const o = e->options;
    vq_status status = vq_model_load(&e->model, e->path);
    if (status != VQ_OK) return status;
    e->classes = vq_model_num_classes(e->model);
    status = vq_dataset_open(&e->set, o->images, o->labels, e->classes);
    if (status != VQ_OK) return status;
    e->count = vq_dataset_count(e->set);
    if (o->limit && (size_t)o->limit < e->count) e->count = (size_t)o->limit;
    if (e->count == 0) return (vq_status)cli_fail(VQ_ERR_FORMAT, "%s: names no image", o->labels);
    if (!o->witness) status = cli_open_device(&e->dev, o);
    const vq_session_params params = {.mode = o->mode,
                                      .max_batch = o->batch,
                                      .images = (int)(e->count < INT_MAX ? e->count : INT_MAX),
                                      .memory = o->memory,
                                      .weights = o->weights,
                                      .witness = o->witness};
    return status == VQ_OK ? vq_session_create(&e->session, e->dev, e->model, &params) : status;
}

static bool progress(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    evaluation *const e = user;
    e->seen = done;
    return cli_progress(NULL, stage, item, done, total);
}

static vq_status run_all(evaluation *e)
{
    vq_eval_params params = {
        .limit = e->count, .skip_bad = e->options->skip_bad, .progress = progress, .progress_user = e};
    if (e->options->logits) {
        e->logits = calloc(e->count, (size_t)e->classes * sizeof(float));
        if (!e->logits)
            return (vq_status)cli_fail(VQ_ERR_NO_MEMORY, "out of memory for logits of %zu x %d", e->count, e->classes);
        params.logits = e->logits;
    }
    const vq_status status = vq_evaluate(&e->result, e->session, e->set, &params);
    cli_progress_end();
    return status;
}

static vq_status save_logits(const evaluation *e)
{
    if (!e->options->logits) return VQ_OK;
    cli_signals_hold(true);
    const vq_status status = cli_interrupted() ? VQ_ERR_CANCELLED
                                               : vq_logits_save(e->options->logits, e->logits, e->result.n, e->classes,
                                                                vq_session_mode(e->session));
    cli_signals_hold(false);
    return status;
}

static double rate(size_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static int print_json(const evaluation *e)
{
    const vq_eval_result *const r = &e->result;
    cJSON *const o = cJSON_CreateObject();
    cli_json_text(o, "model", e->path);
    cJSON_AddStringToObject(o, "mode", vq_mode_name(vq_session_mode(e->session)));
    cJSON_AddNumberToObject(o, "n", (double)r->n);
    cJSON_AddNumberToObject(o, "top1", (double)r->top1);
    cJSON_AddNumberToObject(o, "top5", (double)r->top5);
    cJSON_AddNumberToObject(o, "skipped", (double)r->skipped);
    cJSON_AddNumberToObject(o, "batch", vq_session_max_batch(e->session));
    cli_json_number(o, "images_per_second", rate(r->run_images, r->run_seconds), 2);
    cli_json_number(o, "images_per_second_total", rate(r->n, r->total_seconds), 2);
    cJSON_AddNumberToObject(o, "device_bytes", (double)vq_session_device_bytes(e->session));
    cJSON *const resident = cJSON_AddObjectToObject(o, "resident_bytes");
    cJSON_AddNumberToObject(resident, "model", (double)vq_session_model_bytes(e->session));
    cJSON_AddNumberToObject(resident, "activations", (double)vq_session_activation_bytes(e->session));
    cJSON_AddNumberToObject(o, "peak_memory_bytes", cli_peak_memory());
    cli_json_text(o, "device", e->dev ? vq_device_get_info(e->dev)->name : "host");
    cli_json_text(o, "variant", e->dev ? vq_device_variants(e->dev) : "witness");
    if (e->options->logits) cli_json_text(o, "logits", e->options->logits);
    return cli_json_print(o);
}

static int print_text(const evaluation *e)
{
    const vq_eval_result *const r = &e->result;
    printf("model   %s\n", e->path);
    printf("mode    %s on %s, batch %d\n", vq_mode_name(vq_session_mode(e->session)),
           e->dev ? vq_device_get_info(e->dev)->name : "the host (witness)", vq_session_max_batch(e->session));
    if (e->dev)
        printf("memory  %.2f MB of model and %.2f MB of activations on the device\n",
               1e-6 * (double)vq_session_model_bytes(e->session),
               1e-6 * (double)vq_session_activation_bytes(e->session));
    printf("images  %zu", r->n);
    if (r->skipped) printf(" (%zu unreadable ones skipped)", r->skipped);
    printf("\ntop-1   %zu  %.2f %%\n", r->top1, 100 * rate(r->top1, (double)r->n));
    printf("top-5   %zu  %.2f %%\n", r->top5, 100 * rate(r->top5, (double)r->n));
    printf("speed   %.1f images/s of the model alone, %.1f with decoding\n", rate(r->run_images, r->run_seconds),
           rate(r->n, r->total_seconds));
    if (e->options->logits) printf("logits  %s\n", e->options->logits);
    return 0;
}

int cli_eval(const cli_options *options)
{
    evaluation e = {.options = options};
    char detail[80];
    int code = 0;
    e.path = cli_one_argument(options, "a MODEL", &code);
    if (!e.path) return code;
    code = check(options, e.path);
    if (code) return code;
    vq_status status = open_all(&e);
    if (status == VQ_OK) status = run_all(&e);
    if (status == VQ_OK) status = save_logits(&e);
    if (status == VQ_ERR_CANCELLED) {
        snprintf(detail, sizeof detail, "%zu of %zu images were done, nothing was written", e.seen, e.count);
        code = cli_stopped(detail);
    } else {
        code = cli_code(status);
    }
    if (!code) code = options->json ? print_json(&e) : print_text(&e);
    free(e.logits);
    vq_session_destroy(&e.session);
    vq_device_destroy(&e.dev);
    vq_dataset_destroy(&e.set);
    vq_model_destroy(&e.model);
    return code;
}
