/* Judging a session: batches from the feed, run, compared with the labels. */
#include "vitq/eval.h"

#include <stdlib.h>

#include "base/base.h"
#include "run/feed.h"
#include "run/session.h"

enum { TOP = 5 };

typedef struct evaluation {
    vq_session *session;
    const vq_dataset *images;
    const vq_eval_params *params;
    vq_eval_result *result;
    vq_feed *feed;
    int classes;
    size_t count;   /* images asked for */
    size_t batches; /* that were run */
    char *rows;     /* logits of one batch, or all where the caller wants them */
} evaluation;

static vq_status check_labels(const evaluation *e)
{
    if (e->count == 0) return vq_fail(VQ_ERR_FORMAT, "there is no image to evaluate with");
    for (size_t i = 0; i < e->count; i++)
        if (vq_dataset_label(e->images, i) < 0)
            return vq_fail(VQ_ERR_INVALID_ARG, "%s: has no label", vq_dataset_name(e->images, i));
    return VQ_OK;
}

static void count_right(evaluation *e, const vq_feed_batch *batch, const char *logits)
{
    const int k = VQ_MIN(e->classes, TOP);
    for (int i = 0; i < batch->count; i++) {
        const int label = vq_dataset_label(e->images, batch->images[i]);
        int classes[TOP];
        vq_topk(classes, NULL, k, logits + (size_t)i * (size_t)e->classes * sizeof(float), e->classes,
                vq_session_mode(e->session));
        e->result->top1 += classes[0] == label;
        for (int j = 0; j < k; j++) e->result->top5 += classes[j] == label;
    }
}

static vq_status run_batch(evaluation *e, const vq_feed_batch *batch)
{
    vq_eval_result *const r = e->result;
    char *const logits = e->rows + (e->params->logits ? r->n * (size_t)e->classes * sizeof(float) : 0);
    if (batch->count == 0) return VQ_OK;
    const double start = vq_now();
    VQ_TRY(vq_session_run(e->session, batch->pixels, batch->count, logits));
    if (e->batches == 1) { /* there are more: the first was the warm-up */
        r->run_seconds = 0;
        r->run_images = 0;
    }
    r->run_seconds += vq_now() - start;
    r->run_images += (size_t)batch->count;
    r->n += (size_t)batch->count;
    e->batches++;
    count_right(e, batch, logits);
    return VQ_OK;
}

static vq_status run_all(evaluation *e)
{
    const vq_eval_params *const p = e->params;
    const vq_feed_batch *batch = NULL;
    do {
        const size_t seen = e->result->n + vq_feed_skipped(e->feed);
        if (p->progress && !p->progress(p->progress_user, "eval", "", seen, e->count)) return VQ_ERR_CANCELLED;
        VQ_TRY(vq_feed_next(e->feed, &batch));
        if (batch) VQ_TRY(run_batch(e, batch));
    } while (batch);
    e->result->skipped = vq_feed_skipped(e->feed);
    return e->result->n ? VQ_OK : vq_fail(VQ_ERR_FORMAT, "none of the %zu images is readable", e->count);
}

vq_status vq_evaluate(vq_eval_result *out, vq_session *session, const vq_dataset *images, const vq_eval_params *params)
{
    static const vq_eval_params defaults = {0};
    const double start = vq_now();
    void *own_rows = NULL;
    vq_status status = VQ_OK;
    if (out) *out = (vq_eval_result){0};
    if (!out || !session || !images) return vq_fail(VQ_ERR_INVALID_ARG, "vq_evaluate: NULL argument");

    evaluation e = {.session = session, .images = images, .params = params ? params : &defaults, .result = out};
    const vq_model *const model = vq_session_model(session);
    const vq_device *const dev = vq_session_device(session);
    const vq_feed_params feed = {
        .set = images,
        .pre = vq_model_preprocess(model),
        .count = e.params->limit ? VQ_MIN(e.params->limit, vq_dataset_count(images)) : vq_dataset_count(images),
        .batch = vq_session_max_batch(session),
        .skip_bad = e.params->skip_bad,
        /* decoding shares the cores with a CPU device: taking turns is as fast and times the model alone */
        .apart = !dev || vq_device_get_info(dev)->is_cpu};
    e.classes = vq_model_num_classes(model);
    e.count = feed.count;
    e.rows = e.params->logits;
    VQ_TRY(check_labels(&e));
    if (!e.rows) {
        VQ_GO(vq_alloc(&own_rows, (size_t)feed.batch * (size_t)e.classes, sizeof(float), "logits of a batch"));
        e.rows = own_rows;
    }
    VQ_GO(vq_feed_create(&e.feed, &feed));
    VQ_GO(run_all(&e));
    out->total_seconds = vq_now() - start;
done:
    if (status != VQ_OK) *out = (vq_eval_result){0};
    vq_feed_destroy(&e.feed);
    free(own_rows);
    return status;
}
