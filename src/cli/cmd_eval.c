/* vitq eval: accuracy and speed of a model on labelled images. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/feed.h"

enum { TOP = 5 };

typedef struct evaluation {
    const cli_options *options;
    const char *path;
    vq_model *model;
    vq_dataset *set;
    vq_device *dev; /* NULL for the witness */
    vq_session *session;
    cli_feed *feed;
    int classes;
    size_t count;         /* images asked for */
    char *rows;           /* logits of one batch; with --logits of all images */
    size_t n, top1, top5; /* images that were run, and were right */
    double run_seconds;   /* of the model alone, for run_images; the first of several batches warms up */
    size_t run_images, batches;
    double total_seconds;
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
    const vq_session_params params = {.mode = o->mode, .max_batch = o->batch, .witness = o->witness};
    vq_status status = vq_model_load(&e->model, e->path);
    if (status != VQ_OK) return status;
    e->classes = vq_model_num_classes(e->model);
    status = vq_dataset_open(&e->set, o->images, o->labels, e->classes);
    if (status != VQ_OK) return status;
    e->count = vq_dataset_count(e->set);
    if (o->limit && (size_t)o->limit < e->count) e->count = (size_t)o->limit;
    if (e->count == 0) return (vq_status)cli_fail(VQ_ERR_FORMAT, "%s: names no image", o->labels);
    if (!o->witness) status = cli_open_device(&e->dev, o);
    return status == VQ_OK ? vq_session_create(&e->session, e->dev, e->model, &params) : status;
}

/* Decoding shares the cores with a CPU device: taking turns is as fast and times the model alone. */
static vq_status start_feed(evaluation *e)
{
    const cli_feed_params params = {.set = e->set,
                                    .pre = vq_model_preprocess(e->model),
                                    .count = e->count,
                                    .batch = e->options->batch,
                                    .skip_bad = e->options->skip_bad,
                                    .apart = !e->dev || vq_device_get_info(e->dev)->is_cpu};
    const size_t rows = e->options->logits ? e->count : (size_t)e->options->batch;
    e->rows = calloc(rows, (size_t)e->classes * sizeof(float));
    if (!e->rows)
        return (vq_status)cli_fail(VQ_ERR_NO_MEMORY, "out of memory for logits of %zu x %d", rows, e->classes);
    return cli_feed_create(&e->feed, &params);
}

static void count_right(evaluation *e, const cli_batch *batch, const char *logits)
{
    const int k = e->classes < TOP ? e->classes : TOP;
    for (int i = 0; i < batch->count; i++) {
        const int label = vq_dataset_label(e->set, batch->images[i]);
        int classes[TOP];
        vq_topk(classes, NULL, k, logits + (size_t)i * (size_t)e->classes * sizeof(float), e->classes,
                vq_session_mode(e->session));
        e->top1 += classes[0] == label;
        for (int j = 0; j < k; j++) e->top5 += classes[j] == label;
    }
}

static vq_status run_batch(evaluation *e, const cli_batch *batch)
{
    const size_t row = (size_t)e->classes * sizeof(float);
    char *const logits = e->options->logits ? e->rows + e->n * row : e->rows;
    if (batch->count == 0) return VQ_OK;
    const double start = cli_now();
    const vq_status status = vq_session_run(e->session, batch->pixels, batch->count, logits);
    if (status != VQ_OK) return status;
    if (e->batches == 1) { /* there are more: the first was the warm-up */
        e->run_seconds = 0;
        e->run_images = 0;
    }
    e->run_seconds += cli_now() - start;
    e->run_images += (size_t)batch->count;
    e->batches++;
    e->n += (size_t)batch->count;
    count_right(e, batch, logits);
    return VQ_OK;
}

static vq_status run_all(evaluation *e)
{
    const double start = cli_now();
    const cli_batch *batch = NULL;
    vq_status status = VQ_OK;
    while (status == VQ_OK) {
        const size_t seen = e->n + cli_feed_skipped(e->feed);
        if (!cli_progress(NULL, "eval", "", seen, e->count)) return VQ_ERR_CANCELLED;
        status = cli_feed_next(e->feed, &batch);
        if (status != VQ_OK || !batch) break;
        status = run_batch(e, batch);
    }
    cli_progress_end();
    e->total_seconds = cli_now() - start;
    if (status == VQ_OK && e->n == 0)
        return (vq_status)cli_fail(VQ_ERR_FORMAT, "none of the %zu images is readable", e->count);
    return status;
}

static vq_status save_logits(const evaluation *e)
{
    if (!e->options->logits) return VQ_OK;
    cli_signals_hold(true);
    const vq_status status =
        cli_interrupted() ? VQ_ERR_CANCELLED
                          : vq_logits_save(e->options->logits, e->rows, e->n, e->classes, vq_session_mode(e->session));
    cli_signals_hold(false);
    return status;
}

static double rate(size_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static int print_json(const evaluation *e)
{
    cJSON *const o = cJSON_CreateObject();
    cli_json_text(o, "model", e->path);
    cJSON_AddStringToObject(o, "mode", vq_mode_name(vq_session_mode(e->session)));
    cJSON_AddNumberToObject(o, "n", (double)e->n);
    cJSON_AddNumberToObject(o, "top1", (double)e->top1);
    cJSON_AddNumberToObject(o, "top5", (double)e->top5);
    cJSON_AddNumberToObject(o, "skipped", (double)cli_feed_skipped(e->feed));
    cJSON_AddNumberToObject(o, "batch", e->options->batch);
    cli_json_number(o, "images_per_second", rate(e->run_images, e->run_seconds), 2);
    cli_json_number(o, "images_per_second_total", rate(e->n, e->total_seconds), 2);
    cJSON_AddNumberToObject(o, "device_bytes", (double)vq_session_device_bytes(e->session));
    cJSON_AddNumberToObject(o, "peak_memory_bytes", cli_peak_memory());
    cli_json_text(o, "device", e->dev ? vq_device_get_info(e->dev)->name : "host");
    cli_json_text(o, "variant", e->dev ? vq_device_variants(e->dev) : "witness");
    if (e->options->logits) cli_json_text(o, "logits", e->options->logits);
    return cli_json_print(o);
}

static int print_text(const evaluation *e)
{
    const size_t skipped = cli_feed_skipped(e->feed);
    printf("model   %s\n", e->path);
    printf("mode    %s on %s, batch %d\n", vq_mode_name(vq_session_mode(e->session)),
           e->dev ? vq_device_get_info(e->dev)->name : "the host (witness)", e->options->batch);
    printf("images  %zu", e->n);
    if (skipped) printf(" (%zu unreadable ones skipped)", skipped);
    printf("\ntop-1   %zu  %.2f %%\n", e->top1, 100 * rate(e->top1, (double)e->n));
    printf("top-5   %zu  %.2f %%\n", e->top5, 100 * rate(e->top5, (double)e->n));
    printf("speed   %.1f images/s of the model alone, %.1f with decoding\n", rate(e->run_images, e->run_seconds),
           rate(e->n, e->total_seconds));
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
    if (status == VQ_OK) status = start_feed(&e);
    if (status == VQ_OK) status = run_all(&e);
    if (status == VQ_OK) status = save_logits(&e);
    if (status == VQ_ERR_CANCELLED) {
        snprintf(detail, sizeof detail, "%zu of %zu images were done, nothing was written", e.n, e.count);
        code = cli_stopped(detail);
    } else {
        code = cli_code(status);
    }
    if (!code) code = options->json ? print_json(&e) : print_text(&e);
    cli_feed_destroy(&e.feed);
    free(e.rows);
    vq_session_destroy(&e.session);
    vq_device_destroy(&e.dev);
    vq_dataset_destroy(&e.set);
    vq_model_destroy(&e.model);
    return code;
}
