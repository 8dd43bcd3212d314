/* Float ops: of the FP32 forward, and of calibration. */
#include <math.h>

#include "ops/ops_f32.h"
#include "ref/ref_f32.h"
#include "ref/ref_int.h"
#include "run/bench.h"

enum { IN, OUT, WANT, SECOND, THIRD };
enum { RANKS = 2 };

/* Witnesses in double take some nanoseconds an element: this many are about a second. */
#define AFFORDABLE 2e7

static size_t rows_of(const vq_bench_case *c)
{
    return (size_t)c->p.m * (size_t)c->p.batch;
}

static size_t count_of(const vq_bench_case *c)
{
    return rows_of(c) * (size_t)c->p.n;
}

/* Rows that the witness can take. */
static size_t rows_affordable(const vq_bench_case *c)
{
    return (size_t)VQ_MAX(VQ_MIN(AFFORDABLE / c->p.n, (double)rows_of(c)), 1);
}

static vq_groups tensor(size_t count)
{
    return (vq_groups){.count = count, .inner = count, .groups = 1};
}

/* x in [lo, hi] and a place for as many results. */
static vq_status make_map(vq_bench_case *c, float lo, float hi)
{
    float *x;
    VQ_TRY(vq_bench_random_f32(&x, c, IN, count_of(c), lo, hi));
    c->bytes = 8.0 * (double)count_of(c);
    return vq_buf_create(&c->buf[OUT], c->dev, count_of(c) * sizeof *x);
}

/* The first `count` results against host[WANT], errors in units of the larger of `size` and the value wanted. */
static vq_status near(vq_bench_case *c, size_t count, double size, double bound)
{
    const float *const want = c->host[WANT];
    float *got;
    VQ_TRY(vq_bench_host(&got, c, OUT, count, sizeof *got));
    VQ_TRY(vq_buf_read(c->dev, c->buf[OUT], 0, got, count * sizeof *got));
    for (size_t i = 0; i < count; i++) {
        const double w = want[i], error = fabs(got[i] - w) / VQ_MAX(fabs(w), size);
        if (!(error <= bound)) return vq_bench_differs(c, "the result", i, got[i], w);
        c->max_error = VQ_MAX(c->max_error, error);
    }
    c->verified = count;
    return VQ_OK;
}

static vq_status want_of(float **out, vq_bench_case *c)
{
    return vq_bench_host(out, c, WANT, rows_affordable(c) * (size_t)c->p.n, sizeof **out);
}

/* ---- layernorm, softmax, GELU, addition -------------------------------------------------------------------------- */

#define EPS 1e-6f

static vq_status make_layernorm(vq_bench_case *c)
{
    float *gamma, *beta;
    VQ_TRY(vq_bench_random_f32(&gamma, c, SECOND, (size_t)c->p.n, 0.5f, 1.5f));
    VQ_TRY(vq_bench_random_f32(&beta, c, THIRD, (size_t)c->p.n, -1, 1));
    return make_map(c, -4, 5);
}

static vq_status run_layernorm(vq_bench_case *c)
{
    const vq_layernorm_f32_io io = {.x = c->buf[IN],
                                    .gamma = c->buf[SECOND],
                                    .beta = c->buf[THIRD],
                                    .y = c->buf[OUT],
                                    .m = (int)rows_of(c),
                                    .c = c->p.n,
                                    .ldx = c->p.n,
                                    .eps = EPS};
    return vq_layernorm_f32_run(c->dev, &io);
}

static vq_status run_layernorm_f64(vq_bench_case *c)
{
    return vq_layernorm_f64_run(c->dev, c->buf[IN], c->buf[SECOND], c->buf[THIRD], EPS, c->buf[OUT], (int)rows_of(c),
                                c->p.n);
}

static vq_status want_layernorm(vq_bench_case *c)
{
    float *want;
    VQ_TRY(want_of(&want, c));
    vq_ref_layernorm_f32(c->host[IN], c->p.n, c->host[SECOND], c->host[THIRD], EPS, want, (int)rows_affordable(c),
                         c->p.n);
    return VQ_OK;
}

static vq_status verify_layernorm(vq_bench_case *c)
{
    VQ_TRY(want_layernorm(c));
    VQ_TRY(run_layernorm(c));
    return near(c, rows_affordable(c) * (size_t)c->p.n, 1, 1e-4);
}

static vq_status verify_layernorm_f64(vq_bench_case *c)
{
    VQ_TRY(want_layernorm(c));
    VQ_TRY(run_layernorm_f64(c));
    return near(c, rows_affordable(c) * (size_t)c->p.n, 1, 1e-6);
}

static vq_status make_softmax(vq_bench_case *c)
{
    return make_map(c, -8, 8);
}

static vq_status run_softmax(vq_bench_case *c)
{
    return vq_softmax_f32_run(c->dev, c->buf[IN], c->buf[OUT], rows_of(c), c->p.n);
}

static vq_status run_softmax_f64(vq_bench_case *c)
{
    return vq_softmax_f64_run(c->dev, c->buf[IN], c->buf[OUT], rows_of(c), c->p.n);
}

static vq_status want_softmax(vq_bench_case *c)
{
    float *want;
    VQ_TRY(want_of(&want, c));
    vq_ref_softmax_f32(c->host[IN], want, rows_affordable(c), c->p.n);
    return VQ_OK;
}

static vq_status verify_softmax(vq_bench_case *c)
{
    VQ_TRY(want_softmax(c));
    VQ_TRY(run_softmax(c));
    return near(c, rows_affordable(c) * (size_t)c->p.n, 1e-6, 1e-4);
}

static vq_status verify_softmax_f64(vq_bench_case *c)
{
    VQ_TRY(want_softmax(c));
    VQ_TRY(run_softmax_f64(c));
    return near(c, rows_affordable(c) * (size_t)c->p.n, 1e-6, 1e-6);
}

static vq_status make_attention(vq_bench_case *c)
{
    const size_t count = count_of(c) * (size_t)c->p.k;
    float *qkv;
    if (!vq_attention_f32_fits(c->dev, c->p.m, c->p.k))
        return vq_fail(VQ_ERR_UNSUPPORTED, "bench: attention of %d tokens does not fit local memory", c->p.m);
    VQ_TRY(vq_bench_random_f32(&qkv, c, IN, 3 * count, -2, 2));
    c->ops = 4.0 * (double)count * c->p.m;
    c->bytes = 16.0 * (double)count;
    return vq_buf_create(&c->buf[OUT], c->dev, count * sizeof *qkv);
}

static vq_status run_attention(vq_bench_case *c)
{
    return vq_attention_f32_run(c->dev, c->buf[IN], c->p.m, c->p.n, c->p.k, 0.125f, c->buf[OUT], c->p.batch);
}

static vq_status verify_attention(vq_bench_case *c)
{
    const double image = 2.0 * c->p.m * c->p.m * c->p.n * c->p.k;
    const int images = (int)VQ_MAX(VQ_MIN(5 * AFFORDABLE / image, c->p.batch), 1);
    const size_t count = (size_t)images * (size_t)c->p.m * (size_t)c->p.n * (size_t)c->p.k;
    float *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, count, sizeof *want));
    VQ_TRY(vq_ref_attention_f32(c->host[IN], c->p.m, c->p.n, c->p.k, 0.125f, want, images));
    VQ_TRY(run_attention(c));
    return near(c, count, 1, 1e-4);
}

static vq_status make_gelu(vq_bench_case *c)
{
    return make_map(c, -6, 6);
}

static vq_status run_gelu(vq_bench_case *c)
{
    return vq_gelu_f32_run(c->dev, c->buf[IN], c->buf[OUT], count_of(c));
}

static vq_status verify_gelu(vq_bench_case *c)
{
    const size_t count = rows_affordable(c) * (size_t)c->p.n;
    float *want;
    VQ_TRY(want_of(&want, c));
    vq_ref_gelu_f32(c->host[IN], want, count);
    VQ_TRY(run_gelu(c));
    return near(c, count, 1, 1e-5);
}

static vq_status run_gelu_rational(vq_bench_case *c)
{
    return vq_gelu_rational_f32_run(c->dev, c->buf[IN], c->buf[OUT], count_of(c));
}

static vq_status verify_gelu_rational(vq_bench_case *c)
{
    const size_t count = rows_affordable(c) * (size_t)c->p.n;
    float *want;
    VQ_TRY(want_of(&want, c));
    vq_ref_gelu_rational_f32(c->host[IN], want, count);
    VQ_TRY(run_gelu_rational(c));
    return near(c, count, 1, 1e-12);
}

static vq_status make_add(vq_bench_case *c)
{
    float *y;
    VQ_TRY(make_map(c, -4, 4));
    VQ_TRY(vq_bench_random_f32(&y, c, SECOND, count_of(c), -4, 4));
    c->bytes = 12.0 * (double)count_of(c);
    return VQ_OK;
}

static vq_status run_add(vq_bench_case *c)
{
    return vq_add_f32_run(c->dev, c->buf[IN], c->buf[SECOND], c->buf[OUT], count_of(c));
}

static vq_status verify_add(vq_bench_case *c)
{
    const size_t count = rows_affordable(c) * (size_t)c->p.n;
    const float *const x = c->host[IN], *const y = c->host[SECOND];
    float *want;
    VQ_TRY(want_of(&want, c));
    for (size_t i = 0; i < count; i++) want[i] = x[i] + y[i];
    VQ_TRY(run_add(c));
    return near(c, count, 1, 0);
}

/* ---- patchify ---------------------------------------------------------------------------------------------------- */

static vq_status make_patchify_f32(vq_bench_case *c)
{
    const size_t count = (size_t)c->p.batch * (size_t)c->p.m * (size_t)c->p.m * (size_t)c->p.n;
    uint8_t *x;
    if (c->p.m % c->p.k || c->p.m > 8192 || c->p.n > 64)
        return vq_fail(VQ_ERR_SHAPE, "bench: images of %d pixels on a side, %d channels, in patches of %d", c->p.m,
                       c->p.n, c->p.k);
    VQ_TRY(vq_bench_host(&x, c, IN, count, sizeof *x));
    for (size_t i = 0; i < count; i++) x[i] = (uint8_t)vq_rng_u32(&c->rng);
    VQ_TRY(vq_bench_upload(c, IN, x, count));
    c->bytes = 5.0 * (double)count;
    return vq_buf_create(&c->buf[OUT], c->dev, count * sizeof(float));
}

static vq_status run_patchify_f32(vq_bench_case *c)
{
    return vq_patchify_f32_run(c->dev, c->p.batch, c->p.m, c->p.m, c->p.n, c->p.k, c->buf[IN], c->buf[OUT]);
}

static vq_status verify_patchify_f32(vq_bench_case *c)
{
    const vq_patchify_shape shape = {
        .batch = c->p.batch, .height = c->p.m, .width = c->p.m, .chans = c->p.n, .patch = c->p.k};
    const int cols = c->p.n * c->p.k * c->p.k;
    const size_t count = (size_t)c->p.batch * (size_t)c->p.m * (size_t)c->p.m * (size_t)c->p.n;
    uint8_t *codes;
    float *want;
    VQ_TRY(vq_bench_host(&codes, c, SECOND, count, sizeof *codes));
    VQ_TRY(vq_bench_host(&want, c, WANT, count, sizeof *want));
    vq_ref_patchify_u8(&shape, c->host[IN], codes, cols);
    for (size_t i = 0; i < count; i++) want[i] = codes[i];
    VQ_TRY(run_patchify_f32(c));
    return near(c, count, 1, 0);
}

/* ---- quantizers of calibration ----------------------------------------------------------------------------------- */

static int levels_of(const vq_bench_case *c)
{
    return 1 << c->p.a_bits;
}

static vq_status make_fakequant(vq_bench_case *c)
{
    float *scale, *zero;
    VQ_TRY(vq_bench_random_f32(&scale, c, SECOND, 1, 5.0f / (float)levels_of(c), 6.0f / (float)levels_of(c)));
    const float middle = (float)(levels_of(c) / 2);
    VQ_TRY(vq_bench_random_f32(&zero, c, THIRD, 1, middle, middle));
    return make_map(c, -3, 3);
}

static vq_status run_fakequant(vq_bench_case *c)
{
    const vq_groups g = tensor(count_of(c));
    return vq_fakequant_uniform_run(c->dev, &g, c->buf[IN], c->buf[SECOND], c->buf[THIRD], levels_of(c), c->buf[OUT]);
}

static vq_status verify_fakequant(vq_bench_case *c)
{
    const vq_groups g = tensor(rows_affordable(c) * (size_t)c->p.n);
    float *want;
    VQ_TRY(want_of(&want, c));
    vq_ref_fakequant_uniform(&g, c->host[IN], c->host[SECOND], c->host[THIRD], levels_of(c), want);
    VQ_TRY(run_fakequant(c));
    return near(c, g.count, 1, 1e-5);
}

/* Host results of ops that block, in host[OUT]. */
static vq_status make_quantile(vq_bench_case *c)
{
    float *x, *out;
    VQ_TRY(vq_bench_random_f32(&x, c, IN, count_of(c), -3, 3));
    VQ_TRY(vq_bench_host(&out, c, OUT, RANKS, sizeof *out));
    c->bytes = 4.0 * (double)count_of(c);
    return VQ_OK;
}

/* The percentiles 0.1 and 99.9. */
static void ranks_of(size_t ranks[RANKS], size_t count)
{
    ranks[0] = count / 1000;
    ranks[1] = count - 1 - count / 1000;
}

static vq_status run_quantile(vq_bench_case *c)
{
    const vq_groups g = tensor(count_of(c));
    size_t ranks[RANKS];
    ranks_of(ranks, g.count);
    return vq_quantile_f32_run(c->dev, &g, c->buf[IN], ranks, RANKS, c->host[OUT]);
}

static vq_status verify_quantile(vq_bench_case *c)
{
    const vq_groups g = tensor(count_of(c));
    const float *const got = c->host[OUT];
    float want[RANKS];
    size_t ranks[RANKS];
    ranks_of(ranks, g.count);
    VQ_TRY(vq_ref_quantile_f32(&g, c->host[IN], ranks, RANKS, want));
    VQ_TRY(run_quantile(c));
    for (size_t i = 0; i < RANKS; i++)
        if (got[i] != want[i]) return vq_bench_differs(c, "the percentiles", i, got[i], want[i]);
    c->verified = RANKS;
    return VQ_OK;
}

static vq_status make_quant_error(vq_bench_case *c)
{
    float *x, *scale, *zero;
    double *error;
    VQ_TRY(vq_bench_random_f32(&x, c, IN, count_of(c), -3, 3));
    VQ_TRY(vq_bench_random_f32(&scale, c, SECOND, VQ_MAX_CANDIDATES, 4.0f / (float)levels_of(c),
                               8.0f / (float)levels_of(c)));
    VQ_TRY(vq_bench_host(&zero, c, THIRD, VQ_MAX_CANDIDATES, sizeof *zero));
    for (int i = 0; i < VQ_MAX_CANDIDATES; i++) zero[i] = (float)(levels_of(c) / 2);
    VQ_TRY(vq_bench_host(&error, c, OUT, VQ_MAX_CANDIDATES, sizeof *error));
    c->bytes = 4.0 * (double)count_of(c);
    return VQ_OK;
}

static vq_status run_some_error(vq_bench_case *c, size_t count)
{
    const vq_groups g = tensor(count);
    return vq_quant_error_uniform_run(c->dev, &g, c->buf[IN], c->host[SECOND], c->host[THIRD], VQ_MAX_CANDIDATES,
                                      levels_of(c), c->host[OUT]);
}

static vq_status run_quant_error(vq_bench_case *c)
{
    return run_some_error(c, count_of(c));
}

static vq_status verify_quant_error(vq_bench_case *c)
{
    const vq_groups g = tensor(VQ_MIN(rows_affordable(c) * (size_t)c->p.n, (size_t)(AFFORDABLE / VQ_MAX_CANDIDATES)));
    const double *const got = c->host[OUT];
    double want[VQ_MAX_CANDIDATES];
    vq_ref_quant_error_uniform(&g, c->host[IN], c->host[SECOND], c->host[THIRD], VQ_MAX_CANDIDATES, levels_of(c), want);
    VQ_TRY(run_some_error(c, g.count));
    for (size_t i = 0; i < VQ_MAX_CANDIDATES; i++) {
        const double error = fabs(got[i] - want[i]) / (want[i] + 1e-30);
        if (!(error < 1e-4)) return vq_bench_differs(c, "the errors", i, got[i], want[i]);
        c->max_error = VQ_MAX(c->max_error, error);
    }
    c->verified = VQ_MAX_CANDIDATES;
    return VQ_OK;
}

const vq_bench_op_def vq_bench_f32_ops[] = {
    VQ_BENCH_F32_OP("layernorm_f32", "m rows of an image, n channels", LAYERNORM_F32, layernorm),
    VQ_BENCH_F32_OP_OF("layernorm_f64", "in double: m rows of an image, n channels", LAYERNORM_F64, layernorm,
                       layernorm_f64),
    VQ_BENCH_F32_OP("softmax_f32", "m rows of an image, n columns", SOFTMAX_F32, softmax),
    VQ_BENCH_F32_OP_OF("softmax_f64", "in double: m rows of an image, n columns", SOFTMAX_F64, softmax, softmax_f64),
    VQ_BENCH_F32_OP("attention_f32", "m tokens, n heads of k", ATTENTION_F32, attention),
    VQ_BENCH_F32_OP("gelu_f32", "m rows of an image, n channels", GELU_F32, gelu),
    VQ_BENCH_F32_OP_OF("gelu_rational_f32", "in equal steps: m rows of an image, n channels", GELU_RATIONAL_F32, gelu,
                       gelu_rational),
    VQ_BENCH_F32_OP("elementwise_f32", "sum of two tensors: m rows of an image, n channels", ELEMENTWISE_F32, add),
    VQ_BENCH_F32_OP("patchify_f32", "images of m x m pixels with n channels, patches of k x k", PATCHIFY_F32,
                    patchify_f32),
    VQ_BENCH_F32_OP("fakequant_f32", "uniform: m rows of an image, n channels", FAKEQUANT_F32, fakequant),
    VQ_BENCH_F32_OP("quantile_f32", "two percentiles of m rows of an image, n channels", QUANTILE_F32, quantile),
    VQ_BENCH_F32_OP("quant_error_f32", "16 uniform candidates: m rows of an image, n channels", QUANT_ERROR_F32,
                    quant_error),
};
const int vq_bench_num_f32_ops = VQ_ARRAY_LEN(vq_bench_f32_ops);
