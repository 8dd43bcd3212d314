/* Timing of matrix products and the peak they are measured against. */
#include "run/bench.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SAMPLES = 2000, PEAK_TRIES = 15 };

static vq_op op_of(vq_bench_type type)
{
    return type == VQ_BENCH_F32 ? VQ_OP_GEMM_F32 : VQ_OP_GEMM_S8;
}

vq_status vq_bench_list(const char **names, int max, int *count, const vq_device *dev, vq_op op)
{
    if (!count) return vq_fail(VQ_ERR_INVALID_ARG, "bench: count is NULL");
    *count = 0;
    if (!dev || max < 0 || (max > 0 && !names))
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, or no room for %d names", max);
    for (const vq_variant *const *v = vq_variants(op); *v; v++) {
        if (!vq_variant_eligible(dev, *v)) continue;
        if (*count < max) names[*count] = (*v)->name;
        ++*count;
    }
    return VQ_OK;
}

vq_status vq_bench_variants(const char **names, int max, int *count, vq_device *dev, vq_bench_type type)
{
    if ((unsigned)type > VQ_BENCH_F32) return vq_fail(VQ_ERR_INVALID_ARG, "bench: unknown type %d", (int)type);
    return vq_bench_list(names, max, count, dev, op_of(type));
}

/* ---- peak -------------------------------------------------------------------------------------------------------- */

typedef struct peak {
    vq_kernel *kernel;
    vq_grid grid;
    size_t groups;
    vq_buf *out;
} peak;

/* The integer kernels' variant whose multiply-add is measured: the strongest, or for floats the one that uses them. */
static vq_status peak_variant(const vq_variant **out, vq_device *dev, vq_bench_type type)
{
    *out = NULL;
    for (const vq_variant *const *v = vq_variants(VQ_OP_GEMM_S8); *v; v++) {
        if (!vq_variant_eligible(dev, *v)) continue;
        if (type == VQ_BENCH_S8 || !strcmp((*v)->name, "gemm_s8__wide") || !*out) *out = *v;
    }
    return *out ? VQ_OK : vq_fail(VQ_ERR_UNSUPPORTED, "bench: the device has no kernel to measure its peak with");
}

static vq_status peak_once(double *gops, vq_device *dev, const peak *p, int steps)
{
    int32_t products = 0;
    VQ_TRY(vq_buf_fill(dev, p->out, 0, 0, p->out->bytes));
    VQ_TRY(vq_device_finish(dev));
    const double start = vq_now();
    VQ_TRY(VQ_LAUNCH(dev, p->kernel, p->grid, VQ_A_BUF(p->out), VQ_A_I32(steps)));
    VQ_TRY(vq_device_finish(dev));
    const double seconds = vq_now() - start;
    VQ_TRY(vq_buf_read(dev, p->out, 0, &products, sizeof products));
    *gops = 2e-9 * products * steps * (double)p->groups / seconds;
    return VQ_OK;
}

/* Many short tries: on a machine that does other work too, some run undisturbed. */
static vq_status peak_measure(double *gops, vq_device *dev, const peak *p)
{
    double seconds = 0, once = 0;
    int steps = 1000;
    VQ_TRY(peak_once(&once, dev, p, 1)); /* compiles */
    for (; seconds < 0.004 && steps < 1 << 26; steps *= 2) {
        const double start = vq_now();
        VQ_TRY(peak_once(&once, dev, p, steps));
        seconds = vq_now() - start;
    }
    *gops = once;
    for (int i = 0; i < PEAK_TRIES; i++) {
        VQ_TRY(peak_once(&once, dev, p, steps / 2));
        *gops = VQ_MAX(*gops, once);
    }
    return VQ_OK;
}

vq_status vq_bench_peak(double *gops, vq_device *dev, vq_bench_type type)
{
    const vq_variant *variant;
    peak p = {0};
    vq_status status = VQ_OK;
    if (!gops || !dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device or no place for the peak");
    *gops = 0;
    VQ_TRY(peak_variant(&variant, dev, type));
    const bool wide = strstr(variant->file, "_wide") != NULL;
    const size_t side = wide ? 1 : (size_t)variant->p[0];
    p.groups = (size_t)VQ_MAX(vq_device_get_info(dev)->compute_units, 1) * (wide ? 16 : 64);
    p.grid = (vq_grid){{p.groups}, {side, side}};
    VQ_GO(vq_kernel_get(&p.kernel, dev, variant, "gemm_s8_peak", type == VQ_BENCH_F32 ? "-DPEAK_F32" : NULL));
    VQ_GO(vq_buf_create(&p.out, dev, p.groups * 2 * sizeof(int32_t)));
    VQ_GO(peak_measure(gops, dev, &p));
done:
    vq_buf_destroy(&p.out);
    return status;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static vq_status check_params(const vq_bench_gemm_params *p)
{
    const int64_t limit = 1 << 20, area = 1 << 30;
    if ((unsigned)p->type > VQ_BENCH_F32 || (unsigned)p->epilogue > VQ_BENCH_SET)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: unknown type %d or epilogue %d", (int)p->type, (int)p->epilogue);
    if (p->m < 1 || p->n < 1 || p->k < 1 || p->m > limit || p->n > limit || p->k > limit ||
        (int64_t)p->n * p->k > area || (int64_t)p->m * p->n > area || (int64_t)p->m * p->k > area)
        return vq_fail(VQ_ERR_SHAPE, "bench: M %d, N %d, K %d: must be 1 to 2^20 each, and matrices at most 2^30", p->m,
                       p->n, p->k);
    if (p->w_bits < 2 || p->w_bits > 8 || p->a_bits < 2 || p->a_bits > 8)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: %d bits of weights and %d of codes, must be 2 to 8", p->w_bits,
                       p->a_bits);
    if (!(p->seconds >= 0 && p->seconds <= 3600))
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: %g seconds to measure for, must be 0 to 3600", p->seconds);
    return VQ_OK;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static vq_status sample(double *seconds, vq_bench_problem *problem, vq_device *dev, int runs)
{
    const double start = vq_now();
    for (int i = 0; i < runs; i++) VQ_TRY(vq_bench_problem_run(problem));
    VQ_TRY(vq_device_finish(dev));
    *seconds = (vq_now() - start) / runs;
    return VQ_OK;
}

/* Samples of at least a millisecond: waiting for the queue costs some 40 us. */
static vq_status time_problem(vq_bench_gemm_result *r, vq_bench_problem *problem, vq_device *dev, double seconds)
{
    double *times = NULL, once = 0;
    vq_status status = VQ_OK;
    VQ_TRY(vq_alloc(&times, MAX_SAMPLES, sizeof *times, "samples"));
    VQ_GO(sample(&once, problem, dev, 1));
    VQ_GO(sample(&once, problem, dev, 1));
    r->runs_each = once < 1e-3 ? (int)(1e-3 / VQ_MAX(once, 1e-6)) + 1 : 1;
    for (const double start = vq_now(); r->samples < MAX_SAMPLES && (vq_now() - start < seconds || r->samples < 3);)
        VQ_GO(sample(&times[r->samples++], problem, dev, r->runs_each));
    qsort(times, (size_t)r->samples, sizeof *times, by_size);
    r->min = times[0];
    r->p10 = times[r->samples / 10];
    r->median = times[r->samples / 2];
    r->p90 = times[r->samples * 9 / 10];
done:
    free(times);
    return status;
}

static vq_status force(vq_device *dev, vq_op op, const char *name)
{
    const vq_variant *variant = NULL;
    if (name) VQ_TRY(vq_variant_find(&variant, name));
    return vq_variant_force(dev, op, variant);
}

vq_status vq_bench_gemm(vq_bench_gemm_result *out, vq_device *dev, const vq_bench_gemm_params *params)
{
    vq_bench_problem *problem = NULL;
    vq_status status = VQ_OK;
    if (!out || !dev || !params) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, parameters or result");
    vq_bench_gemm_params p = *params;
    *out = (vq_bench_gemm_result){0};
    if (!p.w_bits) p.w_bits = 8;
    if (!p.a_bits) p.a_bits = 8;
    if (p.seconds == 0) p.seconds = 0.2;
    VQ_TRY(check_params(&p));
    VQ_GO(force(dev, op_of(p.type), p.variant));
    out->variant = vq_variant_choose(dev, op_of(p.type))->name;
    VQ_GO(vq_bench_problem_create(&problem, dev, &p));
    VQ_GO(vq_bench_problem_verify(problem, out));
    VQ_GO(time_problem(out, problem, dev, p.seconds));
    out->gops = 2e-9 * p.m * p.n * p.k / out->median;
done:
    vq_bench_problem_destroy(&problem);
    vq_variant_force(dev, op_of(p.type), NULL);
    return status;
}
