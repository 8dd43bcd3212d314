/* quant_error_f32 on a device: every chunk's sums come back as floats, few enough to be added up here in double and in
 * a fixed order. A chunk is short, so that a float holds its sum well and the first-level cache holds its elements. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

#include <stdlib.h>

enum { CHUNK = 4096, SHORT_CHUNK = 256, VECTOR = 16 };

/* One sweep: a kernel, its parameters on the device and how it cuts the tensor. */
typedef struct sweep {
    const vq_groups *g;
    const vq_buf *x;
    int num, levels;
    size_t n, chunks; /* elements of a group; its chunks */
    int chunk;        /* elements of one */
    vq_buf *p0, *p1, *partial;
    float *sums;
} sweep;

/* Runs shorter than a vector are added up one element at a time, into one float: so their chunks are shorter too. */
static vq_status sweep_begin(sweep *s, const char *op, vq_device *dev)
{
    VQ_TRY(vq_need_groups(op, s->g));
    VQ_TRY(vq_need(op, "x", s->x, s->g->count, sizeof(float)));
    if (s->num < 1 || s->num > VQ_MAX_CANDIDATES || s->levels < 2)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d candidates of %d levels; from 1 to %d of at least 2", op, s->num,
                       s->levels, VQ_MAX_CANDIDATES);
    s->n = s->g->count / (size_t)s->g->groups;
    s->chunk = s->g->groups > 1 && s->g->inner < VECTOR ? SHORT_CHUNK : CHUNK;
    s->chunks = VQ_CEIL_DIV(s->n, (size_t)s->chunk);
    const size_t count = s->chunks * (size_t)s->g->groups * (size_t)s->num;
    VQ_TRY(vq_alloc(&s->sums, count, sizeof *s->sums, "partial errors"));
    return vq_buf_create(&s->partial, dev, count * sizeof *s->sums);
}

static void sweep_end(sweep *s)
{
    vq_buf_destroy(&s->p0);
    vq_buf_destroy(&s->p1);
    vq_buf_destroy(&s->partial);
    free(s->sums);
}

/* Adds partial [chunk][group][candidate] to sum[group][candidate]. */
static vq_status sweep_collect(const sweep *s, vq_device *dev, double *sum)
{
    const size_t row = (size_t)s->g->groups * (size_t)s->num;
    VQ_TRY(vq_buf_read(dev, s->partial, 0, s->sums, s->chunks * row * sizeof *s->sums));
    for (size_t i = 0; i < row; i++)
        for (size_t chunk = 0; chunk < s->chunks; chunk++) sum[i] += (double)s->sums[chunk * row + i];
    return VQ_OK;
}

/* The kernel over groups of runs. */
static vq_status launch_runs(const sweep *s, vq_device *dev, const char *function)
{
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_QUANT_ERROR_F32);
    const size_t local = vq_variant_is_wide(variant) ? 1 : (size_t)variant->p[0];
    const vq_grid grid = {{s->chunks, (size_t)s->g->groups, 1}, {local, 1, 1}};
    const size_t inner = s->g->groups == 1 ? s->g->count : s->g->inner;
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, function, NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(s->x), VQ_A_BUF(s->p0), VQ_A_BUF(s->p1), VQ_A_BUF(s->partial),
                     VQ_A_I32((int)inner), VQ_A_I32(s->g->groups), VQ_A_I32((int)s->n), VQ_A_I32(s->chunk),
                     VQ_A_I32(s->num), VQ_A_I32(s->levels));
}

/* The kernel over channels, which lie side by side: p[0] of them per work-group. */
static vq_status launch_channels(const sweep *s, vq_device *dev)
{
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_QUANT_ERROR_F32);
    const size_t width = (size_t)variant->p[0], local = vq_variant_is_wide(variant) ? 1 : width;
    const vq_grid grid = {{VQ_CEIL_DIV((size_t)s->g->groups, width), s->chunks, 1}, {local, 1, 1}};
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, "error_uniform_channels", NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(s->x), VQ_A_BUF(s->p0), VQ_A_BUF(s->p1), VQ_A_BUF(s->partial),
                     VQ_A_I32(s->g->groups), VQ_A_I32((int)s->n), VQ_A_I32(s->chunk), VQ_A_I32(s->num),
                     VQ_A_I32(s->levels));
}

/* [groups][num] of the host as [num][groups] on the device, where neighbouring channels are read together. */
static vq_status upload_transposed(vq_buf **out, vq_device *dev, const float *x, int groups, int num)
{
    float *turned = NULL;
    const size_t count = (size_t)groups * (size_t)num;
    VQ_TRY(vq_alloc(&turned, count, sizeof *turned, "candidates"));
    for (size_t i = 0; i < count; i++) turned[i % (size_t)num * (size_t)groups + i / (size_t)num] = x[i];
    const vq_status status = vq_buf_create_from(out, dev, turned, count * sizeof *turned);
    free(turned);
    return status;
}

vq_status vq_quant_error_uniform_add(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *scale,
                                     const float *zero, int num, int levels, double *sum)
{
    const bool channels = g->inner == 1 && g->groups > 1;
    sweep s = {.g = g, .x = x, .num = num, .levels = levels};
    vq_status status = VQ_OK;
    VQ_GO(sweep_begin(&s, "quant_error_uniform", dev));
    VQ_GO(upload_transposed(&s.p0, dev, scale, g->groups, num));
    VQ_GO(upload_transposed(&s.p1, dev, zero, g->groups, num));
    VQ_GO(channels ? launch_channels(&s, dev) : launch_runs(&s, dev, "error_uniform"));
    VQ_GO(sweep_collect(&s, dev, sum));
done:
    sweep_end(&s);
    return status;
}

vq_status vq_quant_error_codebook_add(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *thresholds,
                                      const float *values, int num, int levels, double *sum)
{
    const size_t count = (size_t)g->groups * (size_t)num * (size_t)levels;
    sweep s = {.g = g, .x = x, .num = num, .levels = levels};
    vq_status status = VQ_OK;
    VQ_GO(sweep_begin(&s, "quant_error_codebook", dev));
    VQ_GO(vq_buf_create_from(&s.p0, dev, thresholds, (count - (size_t)g->groups * (size_t)num) * sizeof *thresholds));
    VQ_GO(vq_buf_create_from(&s.p1, dev, values, count * sizeof *values));
    VQ_GO(launch_runs(&s, dev, "error_codebook"));
    VQ_GO(sweep_collect(&s, dev, sum));
done:
    sweep_end(&s);
    return status;
}

size_t vq_quant_error_part(const vq_groups *g)
{
    const size_t chunk = g->groups > 1 && g->inner < VECTOR ? SHORT_CHUNK : CHUNK;
    size_t runs = chunk; /* the fewest runs of every group that fill chunks: chunk / gcd(chunk, inner) */
    if (g->groups == 1) return chunk;
    for (size_t inner = g->inner; runs > 1 && inner % 2 == 0; inner /= 2) runs /= 2;
    return runs * g->inner * (size_t)g->groups;
}

/* Sums of a whole tensor as means. */
static void to_means(double *error, const vq_groups *g, int num)
{
    const double n = (double)(g->count / (size_t)g->groups);
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] /= n;
}

vq_status vq_quant_error_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *scale,
                                     const float *zero, int num, int levels, double *error)
{
    VQ_TRY(vq_need_groups("quant_error_uniform", g));
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] = 0;
    VQ_TRY(vq_quant_error_uniform_add(dev, g, x, scale, zero, num, levels, error));
    to_means(error, g, num);
    return VQ_OK;
}

vq_status vq_quant_error_codebook_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *thresholds,
                                      const float *values, int num, int levels, double *error)
{
    VQ_TRY(vq_need_groups("quant_error_codebook", g));
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] = 0;
    VQ_TRY(vq_quant_error_codebook_add(dev, g, x, thresholds, values, num, levels, error));
    to_means(error, g, num);
    return VQ_OK;
}
