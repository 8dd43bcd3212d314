/* Log, status, allocation, hashing, clock. */
#include "base/base.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

static const char *const status_names[VQ_STATUS_COUNT] = {
    [VQ_OK] = "ok",
    [1] = "usage",
    [VQ_ERR_INVALID_ARG] = "invalid argument",
    [VQ_ERR_SHAPE] = "wrong shape",
    [VQ_ERR_UNSUPPORTED] = "unsupported",
    [VQ_ERR_NO_DEVICE] = "no device",
    [VQ_ERR_NO_MEMORY] = "out of memory",
    [VQ_ERR_DEVICE_MEMORY] = "out of device memory",
    [VQ_ERR_BUILD] = "kernel does not compile",
    [VQ_ERR_DEVICE] = "device error",
    [VQ_ERR_IO] = "input/output error",
    [VQ_ERR_FORMAT] = "malformed file",
    [VQ_ERR_VERSION] = "wrong version",
    [VQ_ERR_CANCELLED] = "cancelled",
};

const char *vq_status_name(vq_status status)
{
    return (unsigned)status < VQ_STATUS_COUNT ? status_names[status] : "unknown";
}

const char *vq_version(void)
{
    return VQ_VERSION_STRING;
}

static void log_to_stderr(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level <= VQ_LOG_WARN) fprintf(stderr, "vitq: %s%s\n", level == VQ_LOG_WARN ? "warning: " : "", text);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static vq_log_fn log_fn = log_to_stderr;
static void *log_user;
static vq_log_level log_max = VQ_LOG_WARN;

void vq_log_set(vq_log_fn fn, void *user, vq_log_level max_level)
{
    pthread_mutex_lock(&log_lock);
    log_fn = fn ? fn : log_to_stderr;
    log_user = user;
    log_max = max_level;
    pthread_mutex_unlock(&log_lock);
}

static _Thread_local char *captured;

char *vq_log_capture(char *text)
{
    char *const before = captured;
    captured = text;
    return before;
}

/* One line: a message that quotes a file may hold anything. */
static void log_args(vq_log_level level, const char *fmt, va_list args)
{
    char text[VQ_LOG_LINE];
    if (level > log_max) return;
    vsnprintf(text, sizeof text, fmt, args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = ' ';
    if (level == VQ_LOG_ERROR && captured) {
        memcpy(captured, text, sizeof text);
        return;
    }
    pthread_mutex_lock(&log_lock);
    log_fn(log_user, level, text);
    pthread_mutex_unlock(&log_lock);
}

void vq_log(vq_log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_args(level, fmt, args);
    va_end(args);
}

vq_status vq_fail(vq_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_args(VQ_LOG_ERROR, fmt, args);
    va_end(args);
    return status;
}

vq_status vq_alloc(void *out_ptr, size_t count, size_t size, const char *what)
{
    /* The caller's pointer has any type; memcpy is the way to store into it without aliasing trouble. */
    const bool fits = size == 0 || count <= PTRDIFF_MAX / size;
    void *const memory = fits ? calloc(count ? count : 1, size ? size : 1) : NULL;
    memcpy(out_ptr, &memory, sizeof memory);
    if (!memory) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory (%zu elements of %zu bytes)", what, count, size);
    return VQ_OK;
}

bool vq_ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

vq_status vq_strdup(char **out, const char *text)
{
    const size_t size = strlen(text) + 1;
    VQ_TRY(vq_alloc(out, size, 1, "text"));
    memcpy(*out, text, size);
    return VQ_OK;
}

vq_status vq_format(char **out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    *out = NULL;
    if (length < 0) return vq_fail(VQ_ERR_INVALID_ARG, "text cannot be formatted");
    VQ_TRY(vq_alloc(out, (size_t)length + 1, 1, "text"));
    va_start(args, fmt);
    vsnprintf(*out, (size_t)length + 1, fmt, args);
    va_end(args);
    return VQ_OK;
}

void vq_hash_hex(char out[33], const void *data, size_t bytes)
{
    const XXH128_hash_t h = XXH3_128bits(data, bytes);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

struct vq_hasher {
    XXH3_state_t *state;
};

vq_status vq_hasher_begin(vq_hasher **out)
{
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "a hash"));
    (*out)->state = XXH3_createState();
    if ((*out)->state && XXH3_128bits_reset((*out)->state) == XXH_OK) return VQ_OK;
    vq_hasher_end(out);
    return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a hash");
}

void vq_hasher_add(vq_hasher *h, const void *data, size_t bytes)
{
    XXH3_128bits_update(h->state, data, bytes);
}

void vq_hasher_hex(char out[33], const vq_hasher *h)
{
    const XXH128_hash_t hash = XXH3_128bits_digest(h->state);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void vq_hasher_end(vq_hasher **h)
{
    if (!*h) return;
    XXH3_freeState((*h)->state);
    free(*h);
    *h = NULL;
}

double vq_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void vq_rng_seed(vq_rng *rng, uint64_t seed)
{
    rng->state = 0;
    rng->inc = 0xda3e39cb94b95bdbu | 1u;
    vq_rng_u32(rng);
    rng->state += seed;
    vq_rng_u32(rng);
}

uint32_t vq_rng_u32(vq_rng *rng)
{
    const uint64_t old = rng->state;
    rng->state = old * 6364136223846793005u + rng->inc;
    const uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27), turn = (uint32_t)(old >> 59);
    return (shifted >> turn) | (shifted << ((32 - turn) & 31));
}

uint32_t vq_rng_below(vq_rng *rng, uint32_t n)
{
    const uint32_t reject = (uint32_t)(-n) % n; /* 2^32 mod n */
    for (;;) {
        const uint32_t x = vq_rng_u32(rng);
        if (x >= reject) return x % n;
    }
}

float vq_rng_uniform(vq_rng *rng)
{
    return (float)(vq_rng_u32(rng) >> 8) * 0x1p-24f;
}

float vq_rng_normal(vq_rng *rng)
{
    const float u = 1.0f - vq_rng_uniform(rng), v = vq_rng_uniform(rng); /* Box-Muller; u > 0 */
    return sqrtf(-2.0f * logf(u)) * cosf(6.28318530718f * v);
}
