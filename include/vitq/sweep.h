/* vitq tier 5: calibrating and judging a whole grid of settings, with the results in a database.
 *
 * A sweep calibrates one model at every point of a grid, and judges each result, on one loading of model and images. Results live in
 * an SQLite database (docs/sweep.md has its tables): every finished point is kept whatever happens next, a sweep that was
 * interrupted or killed goes on where it was, and several processes may work on one grid at the same time, on one machine. */
#ifndef VITQ_SWEEP_H
#define VITQ_SWEEP_H

#include "vitq/calib.h"
#include "vitq/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The axes a grid may have, by index: name, the value of an axis that the grid leaves out, and what values look like.
 *     recipe   "repq"    a recipe, or the path of a recipe file, which ends in ".json"
 *     bits     "w4a4"    bits of weights and activations, 2 to 8 each, or a budget (vq_budget_parse): "budget=4.5/5"
 *     samples  "32"      images to calibrate with, 1 to 65536
 *     seed     "first"   a number that draws the samples at random, or "first": the first ones of the data set
 *     parts    ""        parts of the recipe changed, as vq_calib_params has them; "none" or "" changes nothing
 *     search   ""        "full", "fpcs", or "none" or "": as the recipe has it
 * NULL past the last. */
const char *vq_sweep_axis_name(int i);
const char *vq_sweep_axis_usual(int i);

typedef struct vq_sweep_axis {
    const char *name;
    const char *const *values;
    int count; /* at least 1 */
} vq_sweep_axis;

typedef struct vq_sweep_params {
    const vq_sweep_axis *axes; /* in any order, each at most once; the points are all combinations */
    int num_axes;
    const vq_mode *modes; /* FAKE and INT: how each point is judged; num_modes 0: both */
    int num_modes;
    size_t limit;         /* only the first so many images for judging; 0: all */
    int batch;            /* images per run; 0: 8 */
    size_t memory;        /* as in vq_calib_params, kept images included */
    size_t keep_bytes;    /* of decoded images kept in memory; the rest is decoded for every point; 0: 2^30, or half of
                             memory where that is given and less */
    bool retry;           /* try failed points again */
    double stale_seconds; /* a point whose owner, on another machine, was silent for so long is taken over; 0: 600 */
    const char *model_name, *calib_name, *val_name; /* for people who read the database, such as paths; may be NULL */
    vq_progress_fn progress; /* may be NULL; stage "read", then "sweep" with results of the grid done and in all */
    void *progress_user;
} vq_sweep_params;

/* Of this grid, in results: one per point and mode, and one for the FP32 model. */
typedef struct vq_sweep_result {
    int64_t context; /* of the database, see vq_sweep_row */
    size_t total;
    size_t done, failed;       /* in the database, whoever made them */
    size_t elsewhere;          /* being worked on by other processes */
    size_t made;               /* by this call, failed ones included */
    vq_status first_failure;   /* of the first failed result in the order of the grid; VQ_OK where there is none */
    char first_failure_text[1024]; /* its settings and its message */
} vq_sweep_result;

/* Works until no result is left that nobody has or works on. db is made where it does not exist. Results are told apart
 * by everything they depend on: hashes of the model, the names and sizes of the calibration images, the pixels and
 * labels of those for judging, device and driver, version of vitq, settings of the point (of a recipe file its contents).
 * A point that cannot be calibrated or run is recorded as failed and the sweep goes on: check out->failed.
 * Fails, with nothing half-recorded, where the database is of another program (VQ_ERR_FORMAT), of a newer vitq
 * (VQ_ERR_VERSION), damaged, read-only or on a full disk. Every image must be readable and val have labels. val keeps
 * the decoded pixels (vq_dataset_keep). */
vq_status vq_sweep_run(vq_sweep_result *out, const char *db, vq_device *dev, const vq_model *fp32,
                       const vq_dataset *calib, vq_dataset *val, const vq_sweep_params *params);

typedef struct vq_sweep_row {
    /* what the result belongs to */
    int64_t context;                                  /* rows of equal number share all of these */
    const char *model_name, *calib_name, *val_name;   /* as first given, "" where not */
    const char *model_hash, *calib_hash, *val_hash;
    size_t val_images;
    const char *device, *driver, *version;
    /* settings */
    const char *mode;        /* "fp32", "fake", "int" */
    const char *const *axes; /* in the order of vq_sweep_axis_name; "" for fp32 */
    const char *recipe_hash; /* of the recipe's contents */
    /* result */
    const char *state; /* "pending", "running", "done", "failed" */
    size_t n, top1, top5;
    double calib_seconds, eval_seconds; /* of wall time */
    double started, finished;           /* since 1970; 0 where not yet */
    const char *samples_hash;           /* of the pixels calibrated with */
    const char *host;                   /* who works on it, or did */
    long pid;
    vq_status error_status;
    const char *error; /* "" but for failed ones */
} vq_sweep_row;

/* Receives one row, valid during the call; false ends the reading, without a failure. */
typedef bool (*vq_sweep_row_fn)(void *user, const vq_sweep_row *row);

/* Reads all rows in the order of contexts and points, also while other processes work. Fails as vq_sweep_run does, and
 * with VQ_ERR_IO where the database does not exist. Changes nothing. */
vq_status vq_sweep_read(const char *db, vq_sweep_row_fn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
