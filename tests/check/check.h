/* The harness that compares every kernel variant with its plain-C witness, and times it.
 *
 * A test file has the stem of its op and one function, check_<op>, listed in CMakeLists.txt:
 *
 *     static vq_status run(void *user, vq_device *dev) { struct args *a = user; return vq_layernorm_f32_run(dev, ...);
 * }
 *
 *     void check_layernorm_f32(check *ck)
 *     {
 *         for (const vq_variant *v = check_first(ck, VQ_OP_LAYERNORM_F32); v; v = check_next(ck))
 *             for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) {
 *                 if (!check_case(ck, work, "m%d_c%d", m, c)) continue;
 *                 check_buf *x = check_in_f32(ck, m * ldx, -4, 4), *y = check_out(ck, m * c * sizeof(float));
 *                 vq_ref_layernorm_f32(x->host, ..., y->want, ...);
 *                 if (!check_run(ck, run, &(struct args){...})) continue;
 *                 check_near_f32(ck, "y", y, c, c, 1e-7, 1e-5, 4);
 *                 check_bench(ck, ops, bytes);
 *             }
 *     }
 *
 * Buffers live until the next case begins; the harness frees them. In the default mode each is a view inside a larger
 * buffer of 0xA5 bytes, and every byte around the values is compared after the run: guards, row padding, inputs. With
 * --exact buffers are as large as they say, for a simulator that sees reads out of bounds.
 * Failures of the harness's own calls (memory, device) end the program with status 1. */
#ifndef VQ_CHECK_H
#define VQ_CHECK_H

#include "base/base.h"
#include "cl/cl.h"

typedef struct check check;

/* Memory of one case. */
typedef struct check_buf {
    vq_buf *buf; /* what the op gets */
    void *host;  /* contents before the run; may be read by the witness */
    void *want;  /* contents wanted after the run, at first a copy of host: the witness writes here */
    size_t bytes;
    bool written;  /* check_equal_* or check_near_f32 has looked at it; others must stay as they were */
    vq_buf *whole; /* the buffer around the view; equal to buf with --exact */
    struct check_buf *next;
} check_buf;

/* Variants of an op that this device has and --case may want, weakest first; NULL after the last. The op uses the
 * variant for as long as it is the current one. */
const vq_variant *check_first(check *ck, vq_op op);
const vq_variant *check_next(check *ck);

/* Begins a case of the current variant, named like printf. False where it is to be skipped: by --case, by --exact for
 * cases with more than --max-work steps of the witness, by --bench for small ones. The random numbers that follow
 * depend on the seed and on the case's name without the variant, so that all variants see the same inputs. */
bool check_case(check *ck, double work, const char *fmt, ...) VQ_PRINTF(3, 4);

vq_device *check_device(const check *ck);
vq_rng *check_rng(check *ck);
int check_between(check *ck, int lo, int hi); /* uniform, both ends included */

/* Fills host arrays (weights, tables): a random pattern among constant, extremes, alternating extremes, runs, sparse
 * outliers, one column larger than all others, uniform, normal; all values within [lo, hi], whose ends do occur. */
void check_fill_u8(check *ck, uint8_t *x, size_t count, int lo, int hi);
void check_fill_s8(check *ck, int8_t *x, size_t count, int lo, int hi);
void check_fill_s32(check *ck, int32_t *x, size_t count, int32_t lo, int32_t hi);
void check_fill_f32(check *ck, float *x, size_t count, float lo, float hi);

/* Host memory of the case, zeroed. */
void *check_alloc(check *ck, size_t bytes);

/* Buffers with such contents, with given contents, and for results (0xA5 everywhere). */
check_buf *check_in_u8(check *ck, size_t count, int lo, int hi);
check_buf *check_in_s8(check *ck, size_t count, int lo, int hi);
check_buf *check_in_s32(check *ck, size_t count, int32_t lo, int32_t hi);
check_buf *check_in_f32(check *ck, size_t count, float lo, float hi);
check_buf *check_in(check *ck, const void *data, size_t bytes);
check_buf *check_out(check *ck, size_t bytes);
/* Memory that may hold anything after the run (only its guards are compared); NULL for 0 bytes. */
check_buf *check_scratch(check *ck, size_t bytes);

/* Runs the op once, waits, and compares guards and all buffers that no comparison below names; false where the op
 * failed. `user` must live until the case ends. */
typedef vq_status (*check_run_fn)(void *user, vq_device *dev);
bool check_run(check *ck, check_run_fn fn, void *user);

/* The whole buffer against `want`, bit for bit. Rows of cols values start ld apart: differences beyond cols are
 * reported as overwritten padding. */
void check_equal_u8(check *ck, const char *name, check_buf *out, size_t cols, size_t ld);
void check_equal_s32(check *ck, const char *name, check_buf *out, size_t cols, size_t ld);
/* Values: normalised mean square error up to max_nmse, and each within abs_bound + ulps units in the last place; NaN
 * and infinities as wanted. Padding bit for bit. */
void check_near_f32(check *ck, const char *name, check_buf *out, size_t cols, size_t ld, double max_nmse,
                    double abs_bound, int ulps);
/* For ops that return host data: a failure of the case, with its reason, unless ok. */
void check_that(check *ck, bool ok, const char *fmt, ...) VQ_PRINTF(3, 4);

/* With --bench: times the op of check_run again; ops and bytes are per run. */
void check_bench(check *ck, double ops, double bytes);

/* Made by CMakeLists.txt: prototypes of all check_<op>, and the list CHECK_TESTS. */
#include "check_tests.h"

#endif
