/* vitq tier 4: how often a session is right about labelled images, and how fast it is. */
#ifndef VITQ_EVAL_H
#define VITQ_EVAL_H

#include "vitq/image.h"
#include "vitq/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vq_eval_params {
    size_t limit;            /* only the first so many images; 0: all */
    bool skip_bad;           /* leave unreadable images out, with a warning "skipped: ...", instead of failing */
    void *logits;            /* NULL, or room for one row per image, as vq_session_run writes them: in the order of the
                                data set, rows of skipped images left out */
    vq_progress_fn progress; /* may be NULL; called between batches with stage "eval" and images done and in all */
    void *progress_user;
} vq_eval_params;

typedef struct vq_eval_result {
    size_t n;          /* images that were run */
    size_t top1, top5; /* of them: the label was the likeliest class, or among the five likeliest (vq_topk) */
    size_t skipped;
    double run_seconds; /* of the model alone, for run_images: where there are several batches, without the first one,
                           which warms up */
    size_t run_images;
    double total_seconds; /* with decoding */
} vq_eval_result;

/* Runs the labelled images in batches of the session's max_batch. Threads decode the next batch meanwhile, or, where the
 * device needs the same cores, take turns with it. Needs a label for every image; fails where no image is readable. */
vq_status vq_evaluate(vq_eval_result *out, vq_session *session, const vq_dataset *images, const vq_eval_params *params);

#ifdef __cplusplus
}
#endif
#endif
