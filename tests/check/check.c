/* The harness: variants, cases, buffers with guards, comparisons, timing. */
#include "check_state.h"

#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = VQ_BUF_ALIGN, FILL = 0xA5, SHOWN = 20 };

static void die(const check *ck, const char *what)
{
    fprintf(stderr, "check: %s %s: %s failed\n", ck->variant ? ck->variant->name : "", ck->name, what);
    exit(EXIT_FAILURE);
}

static void need(const check *ck, vq_status status, const char *what)
{
    if (status != VQ_OK) die(ck, what);
}

void check_failed(check *ck, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!ck->failed_now) ck->failed++;
    ck->failed_now = true;
    if (ck->quiet) return;
    if (ck->shown++ >= SHOWN && !ck->verbose) return;
    printf("FAILURE: %s/%s: %s\n         again: check --device %d --case '%s/%s' %llu\n", ck->variant->name, ck->name,
           text, ck->device, ck->variant->name, ck->name, (unsigned long long)ck->seed);
}

void check_that(check *ck, bool ok, const char *fmt, ...)
{
    char text[400];
    if (ok) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    check_failed(ck, "%s", text);
}

/* ---- variants and cases ------------------------------------------------------------------------------------------ */

static void free_case(check *ck)
{
    while (ck->bufs) {
        check_buf *const b = ck->bufs;
        ck->bufs = b->next;
        if (b->whole != b->buf) vq_buf_destroy(&b->buf);
        vq_buf_destroy(&b->whole);
        free(b->host);
        free(b->want);
        free(b);
    }
    while (ck->allocs) {
        struct check_alloc *const a = ck->allocs;
        ck->allocs = a->next;
        free(a);
    }
    ck->run = NULL;
    ck->failed_now = false;
}

/* The pattern is "variant" or "variant/case". */
static bool variant_wanted(const check *ck, const char *name)
{
    char head[256];
    if (!ck->pattern) return true;
    snprintf(head, sizeof head, "%s", ck->pattern);
    head[strcspn(head, "/")] = '\0';
    return fnmatch(head, name, 0) == 0;
}

static bool case_wanted(const check *ck)
{
    const char *const slash = ck->pattern ? strchr(ck->pattern, '/') : NULL;
    return !slash || fnmatch(slash + 1, ck->name, 0) == 0;
}

void check_variant_end(check *ck)
{
    free_case(ck);
    if (!ck->variant) return;
    if (ck->registered) need(ck, vq_variant_force(ck->dev, ck->variant->op, NULL), "vq_variant_force");
    if (ck->cases > ck->cases_before && !ck->quiet && !ck->bench && !ck->list)
        printf("  %-32s %4d cases  [%s]\n", ck->variant->name, ck->cases - ck->cases_before,
               ck->failed == ck->failed_before ? "OK" : "FAILED");
    fflush(stdout);
    ck->variant = NULL;
}

void check_variant_begin(check *ck, const vq_variant *variant, bool registered)
{
    ck->variant = variant;
    ck->registered = registered;
    ck->cases_before = ck->cases;
    ck->failed_before = ck->failed;
    if (registered) need(ck, vq_variant_force(ck->dev, variant->op, variant), "vq_variant_force");
}

const vq_variant *check_next(check *ck)
{
    check_variant_end(ck);
    for (; *ck->left; ck->left++) {
        const vq_variant *const v = *ck->left;
        if (!vq_variant_eligible(ck->dev, v) || !variant_wanted(ck, v->name)) continue;
        ck->left++;
        check_variant_begin(ck, v, true);
        return v;
    }
    return NULL;
}

const vq_variant *check_first(check *ck, vq_op op)
{
    ck->left = vq_variants(op);
    return check_next(ck);
}

static uint64_t seed_of(const check *ck)
{
    uint64_t h = 14695981039346656037u ^ ck->seed; /* FNV-1a of the case's name */
    for (const char *p = ck->name; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211u;
    return h;
}

bool check_case(check *ck, double work, const char *fmt, ...)
{
    va_list args;
    free_case(ck);
    va_start(args, fmt);
    vsnprintf(ck->name, sizeof ck->name, fmt, args);
    va_end(args);
    if (!case_wanted(ck)) return false;
    if (work > ck->max_work) return false;
    if (ck->bench && work < 1e6 && !(ck->pattern && strchr(ck->pattern, '/'))) return false;
    if (ck->list) {
        printf("%s/%s\n", ck->variant->name, ck->name);
        return false;
    }
    ck->cases++;
    vq_rng_seed(&ck->rng, seed_of(ck));
    return true;
}

vq_device *check_device(const check *ck)
{
    return ck->dev;
}

vq_rng *check_rng(check *ck)
{
    return &ck->rng;
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

void *check_alloc(check *ck, size_t bytes)
{
    struct check_alloc *const a = calloc(1, sizeof *a + bytes);
    if (!a) die(ck, "calloc");
    a->next = ck->allocs;
    ck->allocs = a;
    return a + 1;
}

static size_t whole_bytes(const check_buf *b)
{
    return GUARD + VQ_ROUND_UP(b->bytes, (size_t)GUARD) + GUARD;
}

static void upload_guarded(check *ck, check_buf *b)
{
    const size_t bytes = whole_bytes(b);
    unsigned char *const all = malloc(bytes);
    if (!all) die(ck, "malloc");
    memset(all, FILL, bytes);
    memcpy(all + GUARD, b->host, b->bytes);
    need(ck, vq_buf_create_from(&b->whole, ck->dev, all, bytes), "vq_buf_create_from");
    need(ck, vq_buf_view(&b->buf, ck->dev, b->whole, GUARD, b->bytes), "vq_buf_view");
    free(all);
}

/* A buffer whose host bytes are to be filled; upload puts them on the device. */
static check_buf *make(check *ck, size_t bytes)
{
    check_buf *const b = calloc(1, sizeof *b);
    if (!b || !bytes) die(ck, "a buffer");
    b->bytes = bytes;
    b->host = malloc(bytes);
    b->want = malloc(bytes);
    if (!b->host || !b->want) die(ck, "malloc");
    b->next = ck->bufs;
    ck->bufs = b;
    return b;
}

static check_buf *upload(check *ck, check_buf *b)
{
    memcpy(b->want, b->host, b->bytes);
    if (ck->exact) {
        need(ck, vq_buf_create_from(&b->buf, ck->dev, b->host, b->bytes), "vq_buf_create_from");
        b->whole = b->buf;
    } else {
        upload_guarded(ck, b);
    }
    return b;
}

check_buf *check_in(check *ck, const void *data, size_t bytes)
{
    check_buf *const b = make(ck, bytes);
    memcpy(b->host, data, bytes);
    return upload(ck, b);
}

check_buf *check_out(check *ck, size_t bytes)
{
    check_buf *const b = make(ck, bytes);
    memset(b->host, FILL, bytes);
    return upload(ck, b);
}

check_buf *check_scratch(check *ck, size_t bytes)
{
    if (!bytes) return NULL;
    check_buf *const b = check_out(ck, bytes);
    b->written = true;
    return b;
}

check_buf *check_in_u8(check *ck, size_t count, int lo, int hi)
{
    check_buf *const b = make(ck, count);
    check_fill_u8(ck, b->host, count, lo, hi);
    return upload(ck, b);
}

check_buf *check_in_s8(check *ck, size_t count, int lo, int hi)
{
    check_buf *const b = make(ck, count);
    check_fill_s8(ck, b->host, count, lo, hi);
    return upload(ck, b);
}

check_buf *check_in_s32(check *ck, size_t count, int32_t lo, int32_t hi)
{
    check_buf *const b = make(ck, count * sizeof(int32_t));
    check_fill_s32(ck, b->host, count, lo, hi);
    return upload(ck, b);
}

check_buf *check_in_f32(check *ck, size_t count, float lo, float hi)
{
    check_buf *const b = make(ck, count * sizeof(float));
    check_fill_f32(ck, b->host, count, lo, hi);
    return upload(ck, b);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/* What an op did outside of all results: guards of every buffer. */
static void compare_guards(check *ck, const check_buf *b)
{
    const size_t bytes = whole_bytes(b);
    unsigned char *const all = malloc(bytes);
    if (!all) die(ck, "malloc");
    need(ck, vq_buf_read(ck->dev, b->whole, 0, all, bytes), "vq_buf_read");
    for (size_t i = 0; i < bytes; i++) {
        if ((i >= GUARD && i < GUARD + b->bytes) || all[i] == FILL) continue;
        check_failed(ck, "byte %lld of a buffer of %zu was written", (long long)i - GUARD, b->bytes);
        break;
    }
    free(all);
}

bool check_run(check *ck, check_run_fn fn, void *user)
{
    ck->run = fn;
    ck->user = user;
    vq_status status = fn(user, ck->dev);
    if (status == VQ_OK) status = vq_device_finish(ck->dev);
    if (status != VQ_OK) check_failed(ck, "the op failed: %s", vq_status_name(status));
    if (status != VQ_OK) return false;
    for (const check_buf *b = ck->bufs; b && !ck->exact; b = b->next) compare_guards(ck, b);
    return true;
}

/* Reads the buffer back; the caller frees. */
static void *result(check *ck, check_buf *b)
{
    void *const got = malloc(b->bytes);
    if (!got) die(ck, "malloc");
    need(ck, vq_buf_read(ck->dev, b->buf, 0, got, b->bytes), "vq_buf_read");
    b->written = true;
    return got;
}

/* Inputs are compared when the results are: cheap enough, and it finds kernels that write to what they should read. */
static void compare_inputs(check *ck)
{
    for (check_buf *b = ck->bufs; b; b = b->next) {
        if (b->written || memcmp(b->host, b->want, b->bytes) != 0) continue;
        void *const got = result(ck, b);
        b->written = false;
        if (memcmp(got, b->host, b->bytes) != 0) check_failed(ck, "an input of %zu bytes was changed", b->bytes);
        free(got);
    }
}

static long long value_at(const void *x, size_t i, bool is_s32)
{
    return is_s32 ? ((const int32_t *)x)[i] : ((const uint8_t *)x)[i];
}

static void check_equal(check *ck, const char *name, check_buf *out, size_t cols, size_t ld, bool is_s32)
{
    const size_t count = out->bytes / (is_s32 ? sizeof(int32_t) : 1);
    void *const got = result(ck, out);
    size_t wrong = 0, padding = 0, first = 0;
    for (size_t i = 0; i < count; i++) {
        if (value_at(got, i, is_s32) == value_at(out->want, i, is_s32)) continue;
        if (i % ld >= cols)
            padding++;
        else if (!wrong++)
            first = i;
    }
    if (wrong)
        check_failed(ck, "%s: %zu of %zu differ, first at [%zu][%zu]: want %lld got %lld", name, wrong,
                     count / ld * cols, first / ld, first % ld, value_at(out->want, first, is_s32),
                     value_at(got, first, is_s32));
    if (padding) check_failed(ck, "%s: %zu values of row padding were written", name, padding);
    free(got);
    compare_inputs(ck);
}

void check_equal_u8(check *ck, const char *name, check_buf *out, size_t cols, size_t ld)
{
    check_equal(ck, name, out, cols, ld, false);
}

void check_equal_s32(check *ck, const char *name, check_buf *out, size_t cols, size_t ld)
{
    check_equal(ck, name, out, cols, ld, true);
}

static bool near(float got, float want, double abs_bound, int ulps)
{
    if (isnan(want)) return isnan(got) != 0;
    if (isinf(want) || isinf(got)) return got == want;
    const double ulp = nextafterf(fabsf(want), INFINITY) - fabsf(want);
    return fabs((double)got - want) <= abs_bound + ulps * ulp;
}

void check_near_f32(check *ck, const char *name, check_buf *out, size_t cols, size_t ld, double max_nmse,
                    double abs_bound, int ulps)
{
    const size_t count = out->bytes / sizeof(float);
    float *const got = result(ck, out);
    const float *const want = out->want;
    size_t wrong = 0, padding = 0, first = 0;
    double error = 0, power = 0;
    for (size_t i = 0; i < count; i++) {
        if (i % ld >= cols) {
            padding += memcmp(&got[i], &want[i], sizeof *got) != 0;
            continue;
        }
        if (!near(got[i], want[i], abs_bound, ulps) && !wrong++) first = i;
        if (!isfinite(want[i]) || !isfinite(got[i])) continue;
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += (double)want[i] * want[i];
    }
    if (wrong)
        check_failed(ck, "%s: %zu of %zu differ, first at [%zu][%zu]: want %.9g got %.9g", name, wrong,
                     count / ld * cols, first / ld, first % ld, want[first], got[first]);
    if (error > max_nmse * power + 1e-60)
        check_failed(ck, "%s: normalised mean square error %.3g, bound %.3g", name, error / power, max_nmse);
    if (padding) check_failed(ck, "%s: %zu values of row padding were written", name, padding);
    free(got);
    compare_inputs(ck);
}

/* ---- timing ------------------------------------------------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sum_seconds(void *user, const char *function, size_t launches, double seconds)
{
    (void)function;
    (void)launches;
    *(double *)user += seconds;
}

/* Device seconds of one run, and the host's seconds around it. */
static double time_once(check *ck, double *wall)
{
    double device = 0;
    const double start = vq_now();
    need(ck, ck->run(ck->user, ck->dev), "a timed run");
    need(ck, vq_device_finish(ck->dev), "vq_device_finish");
    *wall = vq_now() - start;
    need(ck, vq_device_profile(ck->dev, sum_seconds, &device), "vq_device_profile");
    return device;
}

/* Time of the same case by the op's weakest variant; 0 while that one is being timed. */
static double weakest(check *ck, double median)
{
    for (int i = 0; i < ck->num_base; i++)
        if (ck->base[i].op == ck->variant->op && !strcmp(ck->base[i].name, ck->name)) return ck->base[i].median;
    if (ck->num_base == (int)VQ_ARRAY_LEN(ck->base)) return 0;
    struct check_base *const b = &ck->base[ck->num_base++];
    b->op = ck->variant->op;
    b->median = median;
    snprintf(b->name, sizeof b->name, "%s", ck->name);
    return 0;
}

void check_bench(check *ck, double ops, double bytes)
{
    enum { MAX_SAMPLES = 10000, MIN_SAMPLES = 3 };
    static double device[MAX_SAMPLES], wall[MAX_SAMPLES];
    if (!ck->bench || ck->failed_now) return;
    int n = 0;
    time_once(ck, &wall[0]); /* warm-up; its launches' times are thrown away */
    const double end = vq_now() + ck->duration;
    while (n < MAX_SAMPLES && (n < MIN_SAMPLES || vq_now() < end)) {
        device[n] = time_once(ck, &wall[n]);
        n++;
    }
    qsort(device, (size_t)n, sizeof *device, compare_doubles);
    qsort(wall, (size_t)n, sizeof *wall, compare_doubles);
    const double median = device[n / 2], base = weakest(ck, median);
    printf("  %-28s %-26s min %9.1f us  median %9.1f us  p90 %9.1f us  host %9.1f us  %7.2f GOP/s %6.2f GB/s",
           ck->variant->name, ck->name, 1e6 * device[0], 1e6 * median, 1e6 * device[n * 9 / 10], 1e6 * wall[n / 2],
           1e-9 * ops / median, 1e-9 * bytes / median);
    if (base > 0) printf("  %.2fx", base / median);
    printf("\n");
    fflush(stdout);
}
