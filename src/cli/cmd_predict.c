/* vitq predict: the likeliest classes of single photos. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { DECODED = 32 };

typedef struct prediction {
    const cli_options *options;
    vq_model *model;
    vq_device *dev;
    vq_session *session;
    int classes, topk, batch;
    size_t image_bytes;
    uint8_t *pixels; /* [batch][image_bytes] */
    char *logits;    /* [batch][classes] of 4 bytes */
    int *top;        /* [topk] */
    float *probs;    /* [topk] */
    cJSON *images;   /* with --json */
} prediction;

static vq_status open_all(prediction *p, const char *path, int num_images)
{
    const cli_options *const o = p->options;
    vq_status status = vq_model_load(&p->model, path);
    if (status != VQ_OK) return status;
    const vq_preprocess *const pre = vq_model_preprocess(p->model);
    p->classes = vq_model_num_classes(p->model);
    p->topk = o->topk < p->classes ? o->topk : p->classes;
    const int most = o->batch ? o->batch : DECODED;
    p->batch = num_images < most ? num_images : most;
    p->image_bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    p->pixels = calloc((size_t)p->batch, p->image_bytes);
    p->logits = calloc((size_t)p->batch, (size_t)p->classes * sizeof(float));
    p->top = calloc((size_t)p->topk, sizeof *p->top);
    p->probs = calloc((size_t)p->topk, sizeof *p->probs);
    if (!p->pixels || !p->logits || !p->top || !p->probs)
        return (vq_status)cli_fail(VQ_ERR_NO_MEMORY, "out of memory for %d images", p->batch);
    return VQ_OK;
}

/* After the photos are known to be readable: a wrong name should not wait for kernels. */
static vq_status open_session(prediction *p)
{
    const cli_options *const o = p->options;
    const vq_session_params params = {.mode = o->mode,
                                      .max_batch = o->batch ? p->batch : 0,
                                      .images = p->batch,
                                      .memory = o->memory,
                                      .weights = o->weights};
    if (p->session) return VQ_OK;
    vq_status status = cli_open_device(&p->dev, p->options);
    if (status == VQ_OK) status = vq_session_create(&p->session, p->dev, p->model, &params);
    cli_progress_end();
    return status;
}

static void print_image(const prediction *p, const char *name)
{
    printf("%s\n", name);
    for (int k = 0; k < p->topk; k++) {
        const char *const label = vq_model_label(p->model, p->top[k]);
        printf("  %6.2f %%  %5d  %s\n", 100 * (double)p->probs[k], p->top[k], label);
    }
}

static void add_image(const prediction *p, const char *name)
{
    cJSON *const o = cJSON_CreateObject(), *list;
    cli_json_text(o, "file", name);
    list = cJSON_AddArrayToObject(o, "classes");
    for (int k = 0; k < p->topk; k++) {
        cJSON *const c = cJSON_CreateObject();
        cJSON_AddNumberToObject(c, "index", p->top[k]);
        cli_json_text(c, "label", vq_model_label(p->model, p->top[k]));
        cli_json_number(c, "probability", (double)p->probs[k], 6);
        cJSON_AddItemToArray(list, c);
    }
    cJSON_AddItemToArray(p->images, o);
}

/* As many at a time as the session takes. */
static vq_status run(prediction *p, int count)
{
    const int most = vq_session_max_batch(p->session);
    vq_status status = VQ_OK;
    for (int i = 0; i < count && status == VQ_OK; i += most)
        status = vq_session_run(p->session, p->pixels + (size_t)i * p->image_bytes, count - i < most ? count - i : most,
                                p->logits + (size_t)i * (size_t)p->classes * sizeof(float));
    return status;
}

static vq_status predict_batch(prediction *p, char *const *names, int count)
{
    const vq_preprocess *const pre = vq_model_preprocess(p->model);
    vq_status status = VQ_OK;
    for (int i = 0; i < count && status == VQ_OK; i++) {
        if (cli_interrupted()) return VQ_ERR_CANCELLED;
        status = vq_image_load(p->pixels + (size_t)i * p->image_bytes, pre, names[i]);
    }
    if (status == VQ_OK) status = open_session(p);
    if (status == VQ_OK) status = run(p, count);
    for (int i = 0; i < count && status == VQ_OK; i++) {
        vq_topk(p->top, p->probs, p->topk, p->logits + (size_t)i * (size_t)p->classes * sizeof(float), p->classes,
                vq_session_mode(p->session));
        if (p->options->json)
            add_image(p, names[i]);
        else
            print_image(p, names[i]);
    }
    return status;
}

static int print_json(prediction *p, const char *path)
{
    cJSON *const o = cJSON_CreateObject();
    cli_json_text(o, "model", path);
    cJSON_AddStringToObject(o, "mode", vq_mode_name(vq_session_mode(p->session)));
    cJSON_AddNumberToObject(o, "batch", vq_session_max_batch(p->session));
    cli_json_text(o, "device", vq_device_get_info(p->dev)->name);
    cli_json_text(o, "variant", vq_device_variants(p->dev));
    cJSON_AddItemToObject(o, "images", p->images);
    p->images = NULL;
    return cli_json_print(o);
}

int cli_predict(const cli_options *options)
{
    prediction p = {.options = options};
    int code = 0;
    if (options->num_args < 2)
        return cli_fail(CLI_USAGE, "predict: needs a MODEL and at least one IMAGE; 'vitq predict --help' shows how");
    const char *const path = options->args[0];
    char *const *const names = options->args + 1;
    const int count = options->num_args - 1;
    p.images = cJSON_CreateArray();
    vq_status status = open_all(&p, path, count);
    for (int i = 0; i < count && status == VQ_OK; i += p.batch)
        status = predict_batch(&p, names + i, count - i < p.batch ? count - i : p.batch);
    code = cli_code(status);
    if (!code && options->json) code = print_json(&p, path);
    cJSON_Delete(p.images);
    vq_session_destroy(&p.session);
    vq_device_destroy(&p.dev);
    free(p.pixels);
    free(p.logits);
    free(p.top);
    free(p.probs);
    vq_model_destroy(&p.model);
    return code;
}
