/* Ops that measure what a device can do at most. */
#include "ops/peak.h"
#include "run/bench.h"

#include <string.h>

enum { OUT = 0, X = 0, Y = 1, MAX_VARIANTS = 32 };

static vq_peak_kind kind_of(const vq_bench_case *c)
{
    return !strcmp(c->p.op, "peak_s8") ? VQ_PEAK_S8 : VQ_PEAK_F32;
}

/* A fixed number, so that all rounds do the same: some milliseconds on the devices of today. */
static int passes_of(const vq_bench_case *c)
{
    return strstr(c->p.variant, "__wide") ? 8 : 2;
}

static vq_status make_products(vq_bench_case *c)
{
    const size_t items = vq_peak_items(c->dev);
    c->ops = 2.0 * vq_peak_products(c->dev, kind_of(c)) * VQ_PEAK_MAX_STEPS * passes_of(c) * (double)items;
    return vq_buf_create(&c->buf[OUT], c->dev, items * sizeof(int32_t));
}

static vq_status run_products(vq_bench_case *c)
{
    return vq_peak_run(c->dev, kind_of(c), c->buf[OUT], VQ_PEAK_MAX_STEPS, passes_of(c));
}

/* The number of products taken, which is known. */
static vq_status verify_products(vq_bench_case *c)
{
    const size_t items = vq_peak_items(c->dev);
    const uint32_t want = (uint32_t)vq_peak_products(c->dev, kind_of(c)) * VQ_PEAK_MAX_STEPS * (uint32_t)passes_of(c);
    uint32_t *got;
    VQ_TRY(vq_bench_host(&got, c, OUT, items, sizeof *got));
    VQ_TRY(run_products(c));
    VQ_TRY(vq_buf_read(c->dev, c->buf[OUT], 0, got, items * sizeof *got));
    for (size_t i = 0; i < items; i++)
        if (got[i] != want) return vq_bench_differs(c, "the products", i, got[i], want);
    c->verified = items;
    return VQ_OK;
}

static size_t copy_bytes(const vq_bench_case *c)
{
    return (size_t)c->p.m << 10;
}

static vq_status make_copy(vq_bench_case *c)
{
    const size_t count = copy_bytes(c) / sizeof(uint32_t);
    uint32_t *x;
    VQ_TRY(vq_bench_host(&x, c, X, count, sizeof *x));
    for (size_t i = 0; i < count; i++) x[i] = vq_rng_u32(&c->rng);
    VQ_TRY(vq_bench_upload(c, X, x, copy_bytes(c)));
    c->bytes = 2.0 * (double)copy_bytes(c);
    return vq_buf_create(&c->buf[Y], c->dev, copy_bytes(c));
}

static vq_status run_copy(vq_bench_case *c)
{
    return vq_peak_copy_run(c->dev, c->buf[X], c->buf[Y], copy_bytes(c));
}

static vq_status verify_copy(vq_bench_case *c)
{
    const size_t count = copy_bytes(c) / sizeof(uint32_t);
    const uint32_t *const want = c->host[X];
    uint32_t *got;
    VQ_TRY(vq_bench_host(&got, c, Y, count, sizeof *got));
    VQ_TRY(run_copy(c));
    VQ_TRY(vq_buf_read(c->dev, c->buf[Y], 0, got, copy_bytes(c)));
    for (size_t i = 0; i < count; i++)
        if (got[i] != want[i]) return vq_bench_differs(c, "the copy", i, got[i], want[i]);
    c->verified = count;
    return VQ_OK;
}

static vq_status make_nothing(vq_bench_case *c)
{
    (void)c;
    return VQ_OK;
}

static vq_status run_nothing(vq_bench_case *c)
{
    return vq_peak_nothing_run(c->dev);
}

static vq_status verify_nothing(vq_bench_case *c)
{
    VQ_TRY(run_nothing(c));
    return vq_device_finish(c->dev);
}

const vq_bench_op_def vq_bench_peak_ops[] = {
    {"peak_s8", "u8 x s8 multiply-adds on registers alone", VQ_OP_PEAK, VQ_BENCH_S8, VQ_BENCH_TOGETHER, make_products,
     run_products, verify_products, NULL},
    {"peak_f32", "float multiply-adds on registers alone", VQ_OP_PEAK, VQ_BENCH_F32, VQ_BENCH_TOGETHER, make_products,
     run_products, verify_products, NULL},
    {"copy", "m KiB from one buffer to another", VQ_OP_PEAK, VQ_BENCH_F32, VQ_BENCH_TOGETHER, make_copy, run_copy,
     verify_copy, NULL},
    {"enqueue", "a launch of an empty kernel, not waited for", VQ_OP_PEAK, VQ_BENCH_F32, VQ_BENCH_ENQUEUE, make_nothing,
     run_nothing, verify_nothing, NULL},
    {"round_trip", "a launch of an empty kernel, waited for", VQ_OP_PEAK, VQ_BENCH_F32, VQ_BENCH_ALONE, make_nothing,
     run_nothing, verify_nothing, NULL},
};
const int vq_bench_num_peak_ops = VQ_ARRAY_LEN(vq_bench_peak_ops);

vq_status vq_bench_peak(double *gops, vq_device *dev, vq_bench_type type)
{
    const char *const op = type == VQ_BENCH_S8 ? "peak_s8" : "peak_f32", *names[MAX_VARIANTS];
    int count;
    if (!gops) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no place for the peak");
    *gops = 0;
    VQ_TRY(vq_bench_op_variants(names, MAX_VARIANTS, &count, dev, op));
    for (int i = 0; i < VQ_MIN(count, MAX_VARIANTS); i++) {
        const vq_bench_op_params params = {.op = op, .variant = names[i], .seconds = 0.05};
        vq_bench_op_result r;
        VQ_TRY(vq_bench_op(&r, dev, &params));
        *gops = VQ_MAX(*gops, 1e-9 * r.ops / r.min);
    }
    return VQ_OK;
}
