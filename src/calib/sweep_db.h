/* The database of sweeps: who may work on which point, and what came out. SQLite keeps it whole whatever happens to the
 * processes; every change is one transaction. docs/sweep.md describes the tables for people who query them. */
#ifndef VQ_SRC_SWEEP_DB_H
#define VQ_SRC_SWEEP_DB_H

#include "calib/sweep_axes.h"

enum { VQ_SWEEP_DB_VERSION = 1 };

typedef struct vq_sweep_db vq_sweep_db;

/* Opens a database and makes it where it does not exist. One of another program fails with VQ_ERR_FORMAT, one of a
 * newer version with VQ_ERR_VERSION, both unchanged. stale_seconds as in vq_sweep_params, not 0. One thread at a time.
 */
vq_status vq_sweep_db_open(vq_sweep_db **out, const char *path, double stale_seconds);
/* Leaves points that this connection has claimed as they are: another process sees that their owner is gone. */
void vq_sweep_db_close(vq_sweep_db **db);

/* What all results of a sweep share. Hashes, number of images, device, driver and version tell contexts apart. */
typedef struct vq_db_context {
    const char *model_hash, *calib_hash, *val_hash;
    size_t val_images;
    const char *device, *driver, *version;
    const char *model_name, *calib_name, *val_name;
} vq_db_context;

/* Finds or adds it. */
vq_status vq_sweep_db_context(int64_t *id, vq_sweep_db *db, const vq_db_context *context);

/* A result to come. Key and mode tell those of a context apart; those of equal key are claimed together. */
typedef struct vq_db_point {
    const char *key, *mode;
    const char *const *axes; /* [VQ_NUM_AXES]; NULL for the FP32 model */
    const char *recipe_hash; /* NULL for the FP32 model */
    int tag;                 /* of the caller, who gets it back from a claim; equal for equal keys */
} vq_db_point;

/* Adds those that are not there yet and makes them, in this order, the grid of this connection. retry makes failed ones
 * pending again. */
vq_status vq_sweep_db_grid(vq_sweep_db *db, int64_t context, const vq_db_point *points, size_t count, bool retry);

typedef struct vq_db_claim {
    int tag;
    int count; /* results to make; 0: nothing is left to do */
    struct {
        int64_t id;
        vq_mode mode;
    } results[3];
} vq_db_claim;

/* Takes the first point of the grid that nobody has or works on, with all of its modes. Points of an owner that is gone
 * count as free. */
vq_status vq_sweep_db_claim(vq_db_claim *out, vq_sweep_db *db);

/* Says that the owner of the claimed points is alive. */
vq_status vq_sweep_db_beat(vq_sweep_db *db);

typedef struct vq_db_outcome {
    vq_status status; /* VQ_OK: done; else failed, with error */
    const char *error;
    size_t n, top1, top5;
    double calib_seconds, eval_seconds;
    const char *samples_hash; /* NULL where nothing was calibrated */
} vq_db_outcome;

/* Records a claimed result; nothing where the claim was lost to another process meanwhile. */
vq_status vq_sweep_db_record(vq_sweep_db *db, int64_t id, const vq_db_outcome *outcome);

/* Gives claimed points that were not recorded back. */
vq_status vq_sweep_db_release(vq_sweep_db *db);

/* Counts over the grid of this connection. */
typedef struct vq_db_counts {
    size_t total, done, failed, running;
} vq_db_counts;
vq_status vq_sweep_db_counts(vq_db_counts *out, vq_sweep_db *db);

/* The first failed result of the grid into text [size]; *status VQ_OK where there is none. */
vq_status vq_sweep_db_first_failure(vq_status *failure, char *text, size_t size, vq_sweep_db *db);

#endif
