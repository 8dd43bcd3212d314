/* Ops on random operands: verified, then timed. */
#include "run/bench.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SAMPLES = 2000, MAX_RUNS = 1000 };

/* ---- the ops ----------------------------------------------------------------------------------------------------- */

static const vq_bench_op_def *op_at(int i)
{
    const vq_bench_op_def *const lists[] = {vq_bench_peak_ops, vq_bench_gemm_ops, vq_bench_int_ops, vq_bench_f32_ops,
                                            vq_bench_calib_ops};
    const int counts[] = {vq_bench_num_peak_ops, vq_bench_num_gemm_ops, vq_bench_num_int_ops, vq_bench_num_f32_ops,
                          vq_bench_num_calib_ops};
    for (size_t list = 0; i >= 0 && list < VQ_ARRAY_LEN(lists); i -= counts[list++])
        if (i < counts[list]) return &lists[list][i];
    return NULL;
}

static const vq_bench_op_def *find(const char *name)
{
    const vq_bench_op_def *def;
    for (int i = 0; (def = op_at(i)); i++)
        if (name && !strcmp(def->name, name)) return def;
    return NULL;
}

static vq_status need(const vq_bench_op_def **out, const char *name)
{
    *out = find(name);
    return *out ? VQ_OK : vq_fail(VQ_ERR_INVALID_ARG, "bench: no op is named %s", name ? name : "NULL");
}

const char *vq_bench_op_name(int i)
{
    const vq_bench_op_def *const def = op_at(i);
    return def ? def->name : NULL;
}

const char *vq_bench_op_about(int i)
{
    const vq_bench_op_def *const def = op_at(i);
    return def ? def->about : NULL;
}

bool vq_bench_op_is_peak(const char *op)
{
    const vq_bench_op_def *const def = find(op);
    return def && def->op == VQ_OP_PEAK;
}

vq_bench_type vq_bench_op_type(const char *op)
{
    const vq_bench_op_def *const def = find(op);
    return def ? def->type : VQ_BENCH_F32;
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

vq_status vq_bench_op_variants(const char **names, int max, int *count, vq_device *dev, const char *op)
{
    const vq_bench_op_def *def;
    if (count) *count = 0;
    VQ_TRY(need(&def, op));
    return vq_bench_list(names, max, count, dev, def->op);
}

vq_status vq_bench_op_choice(const char **variant, vq_device *dev, const char *op)
{
    const vq_bench_op_def *def;
    if (!variant || !dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, or no place for the variant");
    *variant = NULL;
    VQ_TRY(need(&def, op));
    *variant = vq_variant_choose(dev, def->op)->name;
    return VQ_OK;
}

/* ---- tuning ------------------------------------------------------------------------------------------------------ */

vq_status vq_bench_tuning_set(vq_device *dev, const char *op, const char *variant)
{
    const vq_bench_op_def *def;
    const vq_variant *row = NULL;
    if (!dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device");
    VQ_TRY(need(&def, op));
    if (variant) VQ_TRY(vq_variant_find(&row, variant));
    return vq_tuning_set(dev, def->op, row);
}

const char *vq_bench_clblast_kernel(int i, int *sets)
{
    if (sets) *sets = 0;
    if (i < 0 || i >= VQ_CLBLAST_KERNELS) return NULL;
    if (sets) *sets = vq_clblast_num_sets((vq_clblast_kernel)i);
    return vq_clblast_kernel_name((vq_clblast_kernel)i);
}

vq_status vq_bench_clblast_set(vq_device *dev, int kernel, int set)
{
    if (!dev || kernel < 0 || kernel >= VQ_CLBLAST_KERNELS)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, or no kernel %d of CLBlast", kernel);
    if (!(vq_device_get_info(dev)->caps & VQ_CAP_CLBLAST))
        return vq_fail(VQ_ERR_UNSUPPORTED, "bench: CLBlast does not run on the device");
    return vq_clblast_use_set(dev, (vq_clblast_kernel)kernel, set);
}

vq_status vq_bench_tuning_save(char **path, vq_device *dev)
{
    if (path) *path = NULL;
    if (!dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device");
    VQ_TRY(vq_tuning_save(dev));
    if (path) *path = vq_tuning_path(dev);
    return VQ_OK;
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

vq_status vq_bench_host(void *out_ptr, vq_bench_case *c, int slot, size_t count, size_t size)
{
    VQ_TRY(vq_alloc(&c->host[slot], count, size, "operands"));
    memcpy(out_ptr, &c->host[slot], sizeof c->host[slot]);
    return VQ_OK;
}

vq_status vq_bench_upload(vq_bench_case *c, int slot, const void *data, size_t bytes)
{
    return vq_buf_create_from(&c->buf[slot], c->dev, data, bytes);
}

vq_status vq_bench_random_f32(float **out, vq_bench_case *c, int slot, size_t count, float lo, float hi)
{
    VQ_TRY(vq_bench_host(out, c, slot, count, sizeof **out));
    for (size_t i = 0; i < count; i++) (*out)[i] = lo + (hi - lo) * vq_rng_uniform(&c->rng);
    return vq_bench_upload(c, slot, *out, count * sizeof **out);
}

uint8_t vq_bench_code(vq_rng *rng, int bits)
{
    const uint32_t quarter = 1u << bits >> 2;
    uint32_t sum = 2;
    if (bits <= 2) return (uint8_t)vq_rng_below(rng, 1u << bits);
    for (int i = 0; i < 4; i++) sum += vq_rng_below(rng, quarter);
    return (uint8_t)sum;
}

vq_status vq_bench_differs(const vq_bench_case *c, const char *what, size_t at, double got, double want)
{
    return vq_fail(VQ_ERR_DEVICE,
                   "bench: device %s: %s on batch %d, %d x %d x %d: element %zu of %s is %.9g, the witness has %.9g",
                   vq_device_get_info(c->dev)->name, c->p.variant, c->p.batch, c->p.m, c->p.n, c->p.k, at, what, got,
                   want);
}

static vq_status check_params(const vq_bench_op_params *p)
{
    const int64_t limit = 1 << 20, area = 1 << 30;
    if ((unsigned)p->epilogue > VQ_BENCH_SET)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: unknown epilogue %d", (int)p->epilogue);
    if (p->m < 1 || p->n < 1 || p->k < 1 || p->batch < 1 || p->m > limit || p->n > limit || p->k > limit ||
        p->batch > 65536 || (int64_t)p->n * p->k > area || (int64_t)p->batch * p->m * p->n > area ||
        (int64_t)p->batch * p->m * p->k > area)
        return vq_fail(VQ_ERR_SHAPE, "bench: batch %d, %d x %d x %d: must be 1 to 2^20 each, and matrices at most 2^30",
                       p->batch, p->m, p->n, p->k);
    if (p->w_bits < 2 || p->w_bits > 8 || p->a_bits < 2 || p->a_bits > 8)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: %d bits of weights and %d of codes, must be 2 to 8", p->w_bits,
                       p->a_bits);
    if (!(p->seconds >= 0 && p->seconds <= 3600))
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: %g seconds to measure for, must be 0 to 3600", p->seconds);
    if (p->window < 0) return vq_fail(VQ_ERR_INVALID_ARG, "bench: windows of %d", p->window);
    return VQ_OK;
}

static vq_bench_op_params complete(const vq_bench_op_params *params)
{
    vq_bench_op_params p = *params;
    if (!p.batch) p.batch = 1;
    if (!p.m) p.m = 1;
    if (!p.n) p.n = 1;
    if (!p.k) p.k = 1;
    if (!p.w_bits) p.w_bits = 8;
    if (!p.a_bits) p.a_bits = 8;
    if (p.seconds == 0) p.seconds = 0.2;
    return p;
}

/* ---- timing ------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static vq_status sample(double *seconds, const vq_bench_op_def *def, vq_bench_case *c, int runs)
{
    const double start = vq_now();
    for (int i = 0; i < runs; i++) VQ_TRY(def->run(c));
    const double enqueued = vq_now();
    VQ_TRY(vq_device_finish(c->dev));
    *seconds = ((def->pace == VQ_BENCH_ENQUEUE ? enqueued : vq_now()) - start) / runs;
    return VQ_OK;
}

/* Two runs to warm up, then samples of at least a millisecond: waiting for the queue costs some 40 us. */
static vq_status take_times(vq_bench_op_result *r, const vq_bench_op_def *def, vq_bench_case *c)
{
    double *times = NULL, once = 0;
    vq_status status = VQ_OK;
    VQ_TRY(vq_alloc(&times, MAX_SAMPLES, sizeof *times, "samples"));
    VQ_GO(sample(&once, def, c, 1));
    VQ_GO(sample(&once, def, c, 1));
    r->runs_each = def->pace == VQ_BENCH_ALONE ? 1 : once < 1e-3 ? (int)(1e-3 / VQ_MAX(once, 1e-3 / MAX_RUNS)) + 1 : 1;
    for (const double start = vq_now();
         r->samples < MAX_SAMPLES && (vq_now() - start < c->p.seconds || r->samples < 3);)
        VQ_GO(sample(&times[r->samples++], def, c, r->runs_each));
    qsort(times, (size_t)r->samples, sizeof *times, by_size);
    r->min = times[0];
    r->p10 = times[r->samples / 10];
    r->median = times[r->samples / 2];
    r->p90 = times[r->samples * 9 / 10];
done:
    free(times);
    return status;
}

static void clear(const vq_bench_op_def *def, vq_bench_case *c)
{
    if (def->destroy && c->op) def->destroy(c);
    for (int i = 0; i < VQ_BENCH_SLOTS; i++) {
        vq_buf_destroy(&c->buf[i]);
        free(c->host[i]);
    }
}

vq_status vq_bench_op(vq_bench_op_result *out, vq_device *dev, const vq_bench_op_params *params)
{
    const vq_bench_op_def *def;
    const vq_variant *variant = NULL;
    vq_status status = VQ_OK;
    if (!out || !dev || !params) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no device, parameters or result");
    *out = (vq_bench_op_result){0};
    vq_bench_case c = {.p = complete(params), .dev = dev};
    VQ_TRY(check_params(&c.p));
    VQ_TRY(need(&def, c.p.op));
    if (c.p.variant) VQ_TRY(vq_variant_find(&variant, c.p.variant));
    VQ_TRY(vq_variant_force(dev, def->op, variant));
    out->variant = c.p.variant = vq_variant_choose(dev, def->op)->name;
    vq_rng_seed(&c.rng, c.p.seed);
    VQ_GO(def->make(&c));
    VQ_GO(def->verify(&c));
    VQ_GO(take_times(out, def, &c));
    out->ops = c.ops;
    out->bytes = c.bytes;
    out->verified = c.verified;
    out->max_error = c.max_error;
done:
    clear(def, &c);
    vq_variant_force(dev, def->op, NULL);
    return status;
}
