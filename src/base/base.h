/* Small things every folder uses: failing with a message, checked allocation, byte buffers, hashing, random numbers. */
#ifndef VQ_SRC_BASE_H
#define VQ_SRC_BASE_H

#include "vitq/base.h"

#define VQ_ARRAY_LEN(a)  (sizeof(a) / sizeof((a)[0]))
#define VQ_MIN(a, b)     ((a) < (b) ? (a) : (b))
#define VQ_MAX(a, b)     ((a) > (b) ? (a) : (b))
#define VQ_CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
#define VQ_ROUND_UP(a, b) (VQ_CEIL_DIV(a, b) * (b))

#if defined(__GNUC__)
#define VQ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VQ_PRINTF(fmt, args)
#endif

/* Logs one line at a level; nothing above the level set by vq_log_set is formatted. */
void vq_log(vq_log_level level, const char *fmt, ...) VQ_PRINTF(2, 3);

/* Logs the text at VQ_LOG_ERROR and returns status, so that a check is one line:
 *     if (k % 4) return vq_fail(VQ_ERR_SHAPE, "gemm_s8: K is %d, must be a multiple of 4", k);
 * Texts are short, impersonal, name the file or tensor, and give the numbers. */
vq_status vq_fail(vq_status status, const char *fmt, ...) VQ_PRINTF(2, 3);

/* Longest line of the log, with its NUL. */
enum { VQ_LOG_LINE = 1024 };

/* From here on the calling thread's lines at VQ_LOG_ERROR are kept in text [VQ_LOG_LINE], the newest one replacing the
 * one before, and not logged: for failures that the caller goes on after. NULL ends it. Returns what was set before, so
 * that captures nest. */
char *vq_log_capture(char *text);

/* Forward a failure where nothing needs freeing. */
#define VQ_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        const vq_status vq_try_status = (expr);                                                                        \
        if (vq_try_status != VQ_OK) return vq_try_status;                                                              \
    } while (0)

/* Forward a failure through the function's `done` label; needs a local `vq_status status`. */
#define VQ_GO(expr)                                                                                                    \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status != VQ_OK) goto done;                                                                                \
    } while (0)

/* Zeroed array of count elements of size bytes (count*size is checked); free() releases it. *out is NULL on failure.
 * A count of 0 gives a non-NULL pointer. The message names `what`. */
vq_status vq_alloc(void *out_ptr, size_t count, size_t size, const char *what);

/* Copy of a string; free() releases it. */
vq_status vq_strdup(char **out, const char *text);

bool vq_ends_with(const char *text, const char *end);

/* printf into a fresh string; free() releases it. */
vq_status vq_format(char **out, const char *fmt, ...) VQ_PRINTF(2, 3);

/* 128-bit XXH3 of data as 32 lower-case hex digits and a NUL. */
void vq_hash_hex(char out[33], const void *data, size_t bytes);

/* The same hash of data that come piece by piece. */
typedef struct vq_hasher vq_hasher;
vq_status vq_hasher_begin(vq_hasher **out);
void vq_hasher_add(vq_hasher *h, const void *data, size_t bytes);
void vq_hasher_hex(char out[33], const vq_hasher *h);
void vq_hasher_end(vq_hasher **h);

/* PCG32 (O'Neill 2014, XSH RR 64/32): small, seedable, the same everywhere. */
typedef struct vq_rng {
    uint64_t state, inc;
} vq_rng;
void vq_rng_seed(vq_rng *rng, uint64_t seed);
uint32_t vq_rng_u32(vq_rng *rng);
uint32_t vq_rng_below(vq_rng *rng, uint32_t n); /* uniform in [0, n), n > 0, without modulo bias */
float vq_rng_uniform(vq_rng *rng);              /* [0, 1) */
float vq_rng_normal(vq_rng *rng);               /* mean 0, deviation 1 */

/* Seconds of a monotonic clock. */
double vq_now(void);

#endif
