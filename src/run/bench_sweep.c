/* Sweeps of calibration on random layers: verified, timed, and compared with what the device can do at most. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"
#include "ref/ref_f32.h"
#include "run/bench.h"

enum { MAX_SAMPLES = 2000, TRIES = 15, READ_FLOATS = 1 << 25, READ_CHUNK = 1 << 14 };

static bool of_output(vq_sweep_kind kind)
{
    return kind >= VQ_SWEEP_OUTPUT;
}

static bool has_codebook(vq_sweep_kind kind)
{
    return kind == VQ_SWEEP_CODEBOOK || kind == VQ_SWEEP_OUTPUT_CODEBOOK;
}

static vq_op op_of(vq_sweep_kind kind)
{
    return of_output(kind) ? VQ_OP_OUTPUT_ERROR : VQ_OP_QUANT_ERROR_F32;
}

vq_status vq_bench_sweep_variants(const char **names, int max, int *count, vq_device *dev, vq_sweep_kind kind)
{
    if ((unsigned)kind >= VQ_SWEEP_KINDS) return vq_fail(VQ_ERR_INVALID_ARG, "bench: unknown sweep %d", (int)kind);
    return vq_bench_list(names, max, count, dev, op_of(kind));
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static vq_grid peak_grid(const vq_device *dev, const vq_variant *v)
{
    const bool wide = vq_variant_is_wide(v);
    const size_t units = (size_t)VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    return (vq_grid){{units * (wide ? 16 : 64)}, {wide ? 1 : (size_t)v->p[0]}};
}

/* The fastest of a few tries of some milliseconds, 1e9 elements a second. */
static vq_status quantizer_peak(double *best, vq_device *dev, const vq_variant *v, int levels, bool codebook)
{
    const vq_grid grid = peak_grid(dev, v);
    float thresholds[256], values[256];
    vq_buf *out = NULL, *t = NULL, *u = NULL;
    vq_kernel *kernel;
    vq_status status = VQ_OK;
    int steps = 200;
    *best = 0;
    for (int i = 0; i < levels; i++) thresholds[i] = values[i] = 0.01f * (float)(i + 1);
    VQ_GO(vq_buf_create(&out, dev, grid.groups[0] * 2 * sizeof(int32_t)));
    VQ_GO(vq_buf_create_from(&t, dev, thresholds, sizeof thresholds));
    VQ_GO(vq_buf_create_from(&u, dev, values, sizeof values));
    VQ_GO(vq_kernel_get(&kernel, dev, v, "error_peak", NULL));
    for (int i = 0; i < TRIES;) {
        int32_t elements = 0;
        VQ_GO(vq_buf_fill(dev, out, 0, 0, out->bytes));
        VQ_GO(vq_device_finish(dev));
        const double start = vq_now();
        VQ_GO(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(out), VQ_A_BUF(t), VQ_A_BUF(u), VQ_A_I32(steps), VQ_A_I32(levels),
                        VQ_A_I32(codebook)));
        VQ_GO(vq_device_finish(dev));
        const double seconds = vq_now() - start;
        if (seconds < 0.003 && steps < 1 << 24) {
            steps *= 2;
            continue;
        }
        VQ_GO(vq_buf_read(dev, out, 0, &elements, sizeof elements));
        *best = VQ_MAX(*best, 1e-9 * elements * steps * (double)grid.groups[0] / seconds);
        i++;
    }
done:
    vq_buf_destroy(&out);
    vq_buf_destroy(&t);
    vq_buf_destroy(&u);
    return status;
}

static vq_status read_peak(double *best, vq_device *dev, const vq_variant *v)
{
    const vq_grid grid = {{READ_FLOATS / READ_CHUNK}, {peak_grid(dev, v).local[0]}};
    vq_buf *x = NULL, *out = NULL;
    vq_kernel *kernel;
    vq_status status = VQ_OK;
    *best = 0;
    VQ_GO(vq_buf_create(&x, dev, READ_FLOATS * sizeof(float)));
    VQ_GO(vq_buf_create(&out, dev, grid.groups[0] * sizeof(float)));
    VQ_GO(vq_kernel_get(&kernel, dev, v, "error_read", NULL));
    for (int i = 0; i <= TRIES; i++) {
        VQ_GO(vq_device_finish(dev));
        const double start = vq_now();
        VQ_GO(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_BUF(out), VQ_A_I32(READ_FLOATS), VQ_A_I32(READ_CHUNK)));
        VQ_GO(vq_device_finish(dev));
        if (i) *best = VQ_MAX(*best, 4e-9 * READ_FLOATS / (vq_now() - start)); /* the first one compiles */
    }
done:
    vq_buf_destroy(&x);
    vq_buf_destroy(&out);
    return status;
}

vq_status vq_bench_sweep_limits(vq_sweep_limits *out, vq_device *dev, int bits)
{
    if (!out || !dev || bits < 2 || bits > 8)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, no place for its limits, or %d bits", bits);
    const vq_variant *const v = vq_variant_choose(dev, VQ_OP_QUANT_ERROR_F32);
    *out = (vq_sweep_limits){0};
    VQ_TRY(read_peak(&out->read_gbps, dev, v));
    VQ_TRY(quantizer_peak(&out->uniform, dev, v, 1 << bits, false));
    VQ_TRY(quantizer_peak(&out->codebook, dev, v, 1 << bits, true));
    VQ_TRY(vq_bench_peak(&out->int8, dev, VQ_BENCH_S8));
    return vq_bench_peak(&out->fp32, dev, VQ_BENCH_F32);
}

/* ---- a layer ------------------------------------------------------------------------------------------------------
 */

typedef struct layer {
    vq_bench_sweep_params p;
    vq_device *dev;
    int levels, groups;
    float *x, *y, *scale, *zero, *thresholds, *values; /* values as floats: quant_error's */
    uint16_t *integers;
    int8_t *w;
    float *w_scale, *w_f32;
    vq_buf *dev_x, *dev_y, *dev_w;
    vq_output_error *op;
    double *error;
} layer;

static vq_status fill(float **out, vq_rng *rng, size_t count, float lo, float hi)
{
    VQ_TRY(vq_alloc(out, count, sizeof **out, "a layer"));
    for (size_t i = 0; i < count; i++) (*out)[i] = lo + (hi - lo) * vq_rng_uniform(rng);
    return VQ_OK;
}

/* Thresholds grow as those of logarithmic quantizers do, values with them. */
static vq_status make_codebooks(layer *l)
{
    const size_t num = (size_t)l->p.candidates, levels = (size_t)l->levels;
    VQ_TRY(vq_alloc(&l->thresholds, num * (levels - 1), sizeof(float), "thresholds"));
    VQ_TRY(vq_alloc(&l->values, num * levels, sizeof(float), "values"));
    VQ_TRY(vq_alloc(&l->integers, num * levels, sizeof(uint16_t), "values"));
    for (size_t j = 0; j < num; j++)
        for (size_t i = 0; i < levels; i++) {
            const float top = 1.5f + (float)j / (float)num;
            const float v = top * exp2f(-6.0f * (float)(levels - 1 - i) / (float)(levels - 1));
            l->integers[j * levels + i] = (uint16_t)(65535.0f * v / 3.0f);
            l->values[j * levels + i] = v;
            if (i) l->thresholds[j * (levels - 1) + i - 1] = (v + l->values[j * levels + i - 1]) / 2;
        }
    for (size_t j = 0; j < num; j++) {
        l->scale[j] = 3.0f / 65535.0f;
        l->zero[j] = 0;
    }
    return VQ_OK;
}

static vq_status make_weights(layer *l, vq_rng *rng)
{
    const size_t count = (size_t)l->p.n * (size_t)l->p.k;
    if (l->p.kind == VQ_SWEEP_OUTPUT_F32) {
        const vq_output_error_f32 w = {.n = l->p.n, .k = l->p.k, .ld = l->p.k};
        VQ_TRY(fill(&l->w_f32, rng, count, -0.1f, 0.1f));
        VQ_TRY(vq_buf_create_from(&l->dev_w, l->dev, l->w_f32, count * sizeof(float)));
        return vq_output_error_create_f32(&l->op, l->dev, &w, l->dev_w, NULL);
    }
    VQ_TRY(vq_alloc(&l->w, count, 1, "weights"));
    for (size_t i = 0; i < count; i++) l->w[i] = (int8_t)((int)vq_rng_below(rng, 255) - 127);
    VQ_TRY(fill(&l->w_scale, rng, (size_t)l->p.n, 0.0005f, 0.001f));
    const vq_output_error_s8 w = {.n = l->p.n,
                                  .k = l->p.k,
                                  .a_max = has_codebook(l->p.kind) ? 255 : l->levels - 1,
                                  .w_abs_max = 127,
                                  .w = l->w,
                                  .scale = l->w_scale};
    return vq_output_error_create_s8(&l->op, l->dev, &w, NULL);
}

static vq_status make(layer *l)
{
    const size_t m = (size_t)l->p.m, n = (size_t)l->p.n, k = (size_t)l->p.k;
    vq_rng rng;
    vq_rng_seed(&rng, l->p.seed);
    l->levels = 1 << l->p.bits;
    l->groups = l->p.kind == VQ_SWEEP_CHANNELS ? l->p.k : 1;
    const size_t count = (size_t)l->p.candidates * (size_t)l->groups;
    VQ_TRY(fill(&l->x, &rng, m * k, -2, 3));
    VQ_TRY(fill(&l->scale, &rng, count, 3.0f / (float)l->levels, 6.0f / (float)l->levels));
    VQ_TRY(vq_alloc(&l->zero, count, sizeof(float), "zero points"));
    VQ_TRY(vq_alloc(&l->error, count, sizeof(double), "errors"));
    for (size_t i = 0; i < count; i++) l->zero[i] = (float)vq_rng_below(&rng, (uint32_t)l->levels);
    if (has_codebook(l->p.kind)) VQ_TRY(make_codebooks(l));
    VQ_TRY(vq_buf_create_from(&l->dev_x, l->dev, l->x, m * k * sizeof(float)));
    if (!of_output(l->p.kind)) return VQ_OK;
    VQ_TRY(fill(&l->y, &rng, m * n, -3, 3));
    VQ_TRY(vq_buf_create_from(&l->dev_y, l->dev, l->y, m * n * sizeof(float)));
    return make_weights(l, &rng);
}

static void destroy(layer *l)
{
    vq_output_error_destroy(&l->op);
    vq_buf_destroy(&l->dev_x);
    vq_buf_destroy(&l->dev_y);
    vq_buf_destroy(&l->dev_w);
    free(l->x);
    free(l->y);
    free(l->scale);
    free(l->zero);
    free(l->thresholds);
    free(l->values);
    free(l->integers);
    free(l->w);
    free(l->w_scale);
    free(l->w_f32);
    free(l->error);
}

static vq_candidates candidates_of(const layer *l, int num)
{
    const bool codebook = has_codebook(l->p.kind);
    return (vq_candidates){.num = num,
                           .levels = l->levels,
                           .scale = l->scale,
                           .zero = l->zero,
                           .thresholds = codebook ? l->thresholds : NULL,
                           .values = codebook ? l->integers : NULL};
}

static vq_groups groups_of(const layer *l, int rows)
{
    const size_t count = (size_t)rows * (size_t)l->p.k;
    return l->groups > 1 ? (vq_groups){count, 1, l->groups} : (vq_groups){count, count, 1};
}

/* The first `num` candidates on the first `rows` rows; quant_error takes them in passes. */
static vq_status run_rows(layer *l, int rows, int num)
{
    if (of_output(l->p.kind)) {
        const vq_output_error_shape shape = {.m = rows, .ldx = l->p.k, .ldy = l->p.n};
        const vq_candidates c = candidates_of(l, num);
        return vq_output_error_run(l->dev, l->op, &shape, l->dev_x, l->dev_y, &c, l->error);
    }
    const vq_groups g = groups_of(l, rows);
    for (int j = 0; j < num; j += VQ_MAX_CANDIDATES) {
        const size_t at = (size_t)j * (size_t)l->groups, levels = (size_t)l->levels;
        const int some = VQ_MIN(VQ_MAX_CANDIDATES, num - j);
        VQ_TRY(has_codebook(l->p.kind)
                   ? vq_quant_error_codebook_run(l->dev, &g, l->dev_x, l->thresholds + (size_t)j * (levels - 1),
                                                 l->values + (size_t)j * levels, some, l->levels, l->error + at)
                   : vq_quant_error_uniform_run(l->dev, &g, l->dev_x, l->scale + at, l->zero + at, some, l->levels,
                                                l->error + at));
    }
    return VQ_OK;
}

/* ---- verification ------------------------------------------------------------------------------------------------ */

static vq_status witness_output(const layer *l, int rows, int num, double *want)
{
    const vq_output_error_shape shape = {.m = rows, .ldx = l->p.k, .ldy = l->p.n};
    const vq_candidates c = candidates_of(l, num);
    const size_t k = (size_t)l->p.k, count = (size_t)l->p.n * k;
    double *w;
    VQ_TRY(vq_alloc(&w, count, sizeof *w, "weights"));
    for (size_t i = 0; i < count; i++) w[i] = l->w_f32 ? (double)l->w_f32[i] : (double)l->w_scale[i / k] * l->w[i];
    const vq_status status = vq_ref_output_error(&shape, l->p.n, l->p.k, 1, w, NULL, l->x, l->y, &c, want);
    free(w);
    return status;
}

static vq_status verify(layer *l, double *max_error)
{
    const int num = VQ_MIN(l->p.candidates, 3);
    const double cost = (double)num * l->p.k * (of_output(l->p.kind) ? l->p.n : l->levels);
    const int rows = (int)VQ_MAX(VQ_MIN(3e7 / cost, l->p.m), 1);
    const vq_groups g = groups_of(l, rows);
    double *want = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&want, (size_t)num * (size_t)l->groups, sizeof *want, "errors"));
    if (of_output(l->p.kind))
        VQ_GO(witness_output(l, rows, num, want));
    else if (has_codebook(l->p.kind))
        vq_ref_quant_error_codebook(&g, l->x, l->thresholds, l->values, num, l->levels, want);
    else
        vq_ref_quant_error_uniform(&g, l->x, l->scale, l->zero, num, l->levels, want);
    VQ_GO(run_rows(l, rows, num));
    for (size_t i = 0; i < (size_t)num * (size_t)l->groups; i++) {
        const double error = fabs(l->error[i] - want[i]) / (want[i] + 1e-30);
        if (!(error < 1e-4)) {
            status = vq_fail(VQ_ERR_DEVICE, "bench: M %d, N %d, K %d: error %zu is %g, the witness has %g", rows,
                             l->p.n, l->p.k, i, l->error[i], want[i]);
            goto done;
        }
        *max_error = VQ_MAX(*max_error, error);
    }
done:
    free(want);
    return status;
}

/* ---- timing ------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static vq_status time_layer(vq_bench_sweep_result *r, layer *l)
{
    double *times = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&times, MAX_SAMPLES, sizeof *times, "samples"));
    VQ_GO(run_rows(l, l->p.m, l->p.candidates));
    const double begin = vq_now();
    while (r->samples < MAX_SAMPLES && (vq_now() - begin < l->p.seconds || r->samples < 3)) {
        const double start = vq_now();
        VQ_GO(run_rows(l, l->p.m, l->p.candidates));
        times[r->samples++] = vq_now() - start;
    }
    qsort(times, (size_t)r->samples, sizeof *times, by_size);
    r->min = times[0];
    r->p10 = times[r->samples / 10];
    r->median = times[r->samples / 2];
    r->p90 = times[r->samples * 9 / 10];
done:
    free(times);
    return status;
}

/* Rates, and the least time that reading and arithmetic take. */
static void rate(vq_bench_sweep_result *r, const vq_bench_sweep_params *p, const vq_sweep_limits *limits)
{
    const bool codebook = has_codebook(p->kind), output = of_output(p->kind);
    const double m = p->m, elements = m * p->k * p->candidates;
    const int passes = output ? 1 : VQ_CEIL_DIV(p->candidates, VQ_MAX_CANDIDATES);
    const double bytes = 4.0 * m * p->k * passes + (output ? 4.0 * m * p->n : 0);
    const double products = output ? 2e-9 * elements * p->n * (codebook ? 2 : 1) : 0;
    r->rate = 1e-9 * elements / r->median;
    r->gops = products / r->median;
    r->memory_seconds = 1e-9 * bytes / limits->read_gbps;
    r->compute_seconds = output ? products / (p->kind == VQ_SWEEP_OUTPUT_F32 ? limits->fp32 : limits->int8)
                                : 1e-9 * elements / (codebook ? limits->codebook : limits->uniform);
}

static vq_status check_params(const vq_bench_sweep_params *p)
{
    const int64_t limit = 1 << 20, area = 1 << 30;
    if ((unsigned)p->kind >= VQ_SWEEP_KINDS || p->bits < 2 || p->bits > 8 || p->candidates < 1 || p->candidates > 4096)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: sweep %d of %d candidates of %d bits", (int)p->kind, p->candidates,
                       p->bits);
    if (p->m < 1 || p->n < 1 || p->k < 1 || p->m > limit || p->n > limit || p->k > limit ||
        (int64_t)p->n * p->k > area / 2 || (int64_t)p->m * p->n > area || (int64_t)p->m * p->k > area)
        return vq_fail(VQ_ERR_SHAPE, "bench: M %d, N %d, K %d: must be 1 to 2^20 each, and matrices at most 2^30", p->m,
                       p->n, p->k);
    if (!(p->seconds >= 0 && p->seconds <= 3600))
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: %g seconds to measure for, must be 0 to 3600", p->seconds);
    return VQ_OK;
}

vq_status vq_bench_sweep(vq_bench_sweep_result *out, vq_device *dev, const vq_bench_sweep_params *params,
                         const vq_sweep_limits *limits)
{
    vq_status status = VQ_OK;
    const vq_variant *variant = NULL;
    if (!out || !dev || !params || !limits)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, parameters or result");
    layer l = {.p = *params, .dev = dev};
    *out = (vq_bench_sweep_result){0};
    if (!l.p.candidates) l.p.candidates = 16;
    if (!l.p.bits) l.p.bits = 4;
    if (l.p.seconds == 0) l.p.seconds = 0.2;
    VQ_TRY(check_params(&l.p));
    if (l.p.variant) VQ_TRY(vq_variant_find(&variant, l.p.variant));
    VQ_TRY(vq_variant_force(dev, op_of(l.p.kind), variant));
    out->variant = vq_variant_choose(dev, op_of(l.p.kind))->name;
    VQ_GO(make(&l));
    VQ_GO(verify(&l, &out->max_error));
    VQ_GO(time_layer(out, &l));
    rate(out, &l.p, limits);
done:
    destroy(&l);
    vq_variant_force(dev, op_of(l.p.kind), NULL);
    return status;
}
