/* The harness's state, for its own files. */
#ifndef VQ_CHECK_STATE_H
#define VQ_CHECK_STATE_H

#include "check.h"

struct check_alloc {
    struct check_alloc *next;
    max_align_t align; /* what follows is aligned */
};

struct check_base {
    vq_op op;
    char name[96];
    double median;
};

struct check {
    vq_device *dev;
    int device;
    uint64_t seed;
    const char *pattern; /* --case; NULL: all */
    bool exact, bench, list, verbose;
    bool quiet; /* self-test: failures are wanted */
    double duration, max_work;

    const vq_variant *const *left;
    const vq_variant *variant;
    bool registered; /* a row of the registry, chosen through it */
    char name[96];   /* of the case */
    vq_rng rng;
    check_buf *bufs;
    struct check_alloc *allocs;
    check_run_fn run;
    void *user;

    int cases, failed, shown, cases_before, failed_before;
    bool failed_now;
    struct check_base base[256];
    int num_base;
};

void check_failed(check *ck, const char *fmt, ...) VQ_PRINTF(2, 3);
void check_variant_begin(check *ck, const vq_variant *variant, bool registered);
void check_variant_end(check *ck);

/* Runs the deliberately broken kernels of broken.cl; false where the harness misses one. */
bool check_selftest(check *ck);

#endif
