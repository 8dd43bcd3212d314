/* Ops of calibration on a layer's weights [n][k] and the Gram matrix of its inputs. */
#include <math.h>
#include <string.h>

#include "ops/ops_f32.h"
#include "ref/ref_f32.h"
#include "run/bench.h"

enum { W, SQUARE, CODES, VALUES, CROSS, SCALE = CROSS, ZERO, OTHER }; /* slots; SCALE and ZERO on the host */
enum { CANDIDATES = 16 };

/* Multiply-adds that the witness can take in about a second. */
#define AFFORDABLE 2e8

static int levels_of(const vq_bench_case *c)
{
    return 1 << c->p.w_bits;
}

static int rows_affordable(const vq_bench_case *c, double each)
{
    return (int)VQ_MAX(VQ_MIN(AFFORDABLE / ((double)c->p.k * c->p.k * each), c->p.n), 1);
}

/* A symmetric matrix with a strong diagonal; with `upper` what is below it is zero. */
static vq_status make_square(vq_bench_case *c, bool upper)
{
    const size_t k = (size_t)c->p.k;
    float *g;
    VQ_TRY(vq_bench_host(&g, c, SQUARE, k * k, sizeof *g));
    for (size_t i = 0; i < k; i++) {
        g[i * k + i] = 1;
        for (size_t j = i + 1; j < k; j++) {
            g[i * k + j] = (vq_rng_uniform(&c->rng) - 0.5f) / (float)k;
            if (!upper) g[j * k + i] = g[i * k + j];
        }
    }
    return vq_bench_upload(c, SQUARE, g, k * k * sizeof *g);
}

/* Weights in [-1, 1], and `num` quantizers a row that cover about that. */
static vq_status make_weights(vq_bench_case *c, int num)
{
    const size_t n = (size_t)c->p.n, all = n * (size_t)num;
    float *w, *scale, *zero;
    VQ_TRY(vq_bench_random_f32(&w, c, W, n * (size_t)c->p.k, -1, 1));
    VQ_TRY(vq_bench_host(&scale, c, SCALE, all, sizeof *scale));
    VQ_TRY(vq_bench_host(&zero, c, ZERO, all, sizeof *zero));
    for (size_t i = 0; i < all; i++) {
        scale[i] = (1.5f + vq_rng_uniform(&c->rng)) / (float)levels_of(c);
        zero[i] = (float)(levels_of(c) / 2);
    }
    c->bytes = 4.0 * (double)c->p.k * ((double)c->p.k + c->p.n);
    return VQ_OK;
}

static vq_status make_rounding(vq_bench_case *c, bool upper)
{
    const size_t count = (size_t)c->p.n * (size_t)c->p.k;
    VQ_TRY(make_weights(c, 1));
    VQ_TRY(make_square(c, upper));
    VQ_TRY(vq_buf_create(&c->buf[CODES], c->dev, count));
    c->bytes += 5.0 * (double)count;
    return vq_buf_create(&c->buf[VALUES], c->dev, count * sizeof(float));
}

/* How far any code is from the value it stands for: at most 1/2, and what float arithmetic adds. */
static vq_status judge(vq_bench_case *c, double furthest, int rows)
{
    c->max_error = VQ_MAX(furthest - 0.5, 0);
    c->verified = (size_t)rows * (size_t)c->p.k;
    if (furthest <= 0.5 + 1e-3) return VQ_OK;
    return vq_bench_differs(c, "the distances from codes to values", 0, furthest, 0.5);
}

/* ---- gptq_f32 ---------------------------------------------------------------------------------------------------- */

static vq_status make_gptq(vq_bench_case *c)
{
    int32_t *order;
    VQ_TRY(make_rounding(c, true));
    VQ_TRY(vq_bench_host(&order, c, OTHER, (size_t)c->p.k, sizeof *order));
    for (int i = 0; i < c->p.k; i++) order[i] = i;
    c->ops = (double)c->p.n * c->p.k * c->p.k; /* half of the square, two a multiply-add */
    return VQ_OK;
}

static vq_status run_gptq(vq_bench_case *c)
{
    return vq_gptq_run(c->dev, c->buf[W], c->buf[SQUARE], c->host[OTHER], c->host[SCALE], c->host[ZERO], c->p.n, c->p.k,
                       levels_of(c), c->buf[CODES], c->buf[VALUES]);
}

static vq_status verify_gptq(vq_bench_case *c)
{
    const int rows = rows_affordable(c, 1);
    uint8_t *codes;
    double furthest;
    VQ_TRY(vq_bench_host(&codes, c, CODES, (size_t)rows * (size_t)c->p.k, 1));
    VQ_TRY(run_gptq(c));
    VQ_TRY(vq_buf_read(c->dev, c->buf[CODES], 0, codes, (size_t)rows * (size_t)c->p.k));
    VQ_TRY(vq_ref_gptq(c->host[W], c->host[SQUARE], c->host[OTHER], c->host[SCALE], c->host[ZERO], rows, c->p.k,
                       levels_of(c), codes, &furthest));
    return judge(c, furthest, rows);
}

/* ---- descent_f32 ------------------------------------------------------------------------------------------------- */

static vq_status make_descent(vq_bench_case *c)
{
    const size_t k = (size_t)c->p.k, count = (size_t)c->p.n * k;
    uint8_t *before;
    VQ_TRY(make_rounding(c, false));
    VQ_TRY(vq_bench_host(&before, c, OTHER, count, 1));
    for (size_t i = 0; i < count; i++) {
        const float *const w = c->host[W], *const scale = c->host[SCALE], *const zero = c->host[ZERO];
        const int near = (int)rintf(w[i] / scale[i / k] + zero[i / k]) + (int)vq_rng_below(&c->rng, 3) - 1;
        before[i] = (uint8_t)VQ_MIN(VQ_MAX(near, 0), levels_of(c) - 1);
    }
    c->ops = 4.0 * (double)count * c->p.k;
    return vq_buf_write(c->dev, c->buf[CODES], 0, before, count);
}

/* From the codes that the run before left: the work is the same. */
static vq_status run_descent(vq_bench_case *c)
{
    return vq_descent_run(c->dev, c->buf[W], c->buf[SQUARE], c->host[SCALE], c->host[ZERO], c->p.n, c->p.k,
                          levels_of(c), c->buf[CODES], c->buf[VALUES], NULL);
}

static vq_status verify_descent(vq_bench_case *c)
{
    const int rows = rows_affordable(c, 2);
    uint8_t *after;
    double *error, furthest;
    VQ_TRY(vq_bench_host(&after, c, CODES, (size_t)rows * (size_t)c->p.k, 1));
    VQ_TRY(vq_bench_host(&error, c, VALUES, (size_t)rows, sizeof *error));
    VQ_TRY(run_descent(c));
    VQ_TRY(vq_buf_read(c->dev, c->buf[CODES], 0, after, (size_t)rows * (size_t)c->p.k));
    VQ_TRY(vq_ref_descent(c->host[W], c->host[SQUARE], c->host[SCALE], c->host[ZERO], rows, c->p.k, levels_of(c),
                          c->host[OTHER], after, error, &furthest));
    return judge(c, furthest, rows);
}

/* ---- gram_error_f32 ---------------------------------------------------------------------------------------------- */

static vq_status make_gram_error(vq_bench_case *c)
{
    const size_t n = (size_t)c->p.n, count = n * (size_t)c->p.k;
    float *error, *cross;
    VQ_TRY(make_weights(c, CANDIDATES));
    VQ_TRY(make_square(c, false));
    VQ_TRY(vq_bench_host(&cross, c, CODES, count, sizeof *cross));
    for (size_t i = 0; i < count; i++) cross[i] = 0.1f * (vq_rng_uniform(&c->rng) - 0.5f);
    VQ_TRY(vq_bench_upload(c, CROSS, cross, count * sizeof *cross));
    VQ_TRY(vq_bench_host(&error, c, VALUES, n * CANDIDATES, sizeof *error));
    c->bytes += 4.0 * (double)count;
    c->ops = 2.0 * CANDIDATES * (double)count * c->p.k;
    return VQ_OK;
}

static vq_status run_gram_error(vq_bench_case *c)
{
    return vq_gram_error_run(c->dev, c->buf[W], c->buf[SQUARE], c->buf[CROSS], c->host[SCALE], c->host[ZERO], c->p.n,
                             c->p.k, CANDIDATES, levels_of(c), false, c->host[VALUES]);
}

/* Against the witness in double, in units of the sizes that sum up in a row: all d are of a scale. */
static vq_status verify_gram_error(vq_bench_case *c)
{
    const int rows = rows_affordable(c, CANDIDATES);
    const float *const got = c->host[VALUES], *const scale = c->host[SCALE];
    double *want;
    VQ_TRY(vq_bench_host(&want, c, OTHER, (size_t)rows * CANDIDATES, sizeof *want));
    vq_ref_gram_error(c->host[W], c->host[SQUARE], c->host[CODES], c->host[SCALE], c->host[ZERO], rows, c->p.k,
                      CANDIDATES, levels_of(c), false, want);
    VQ_TRY(run_gram_error(c));
    for (int i = 0; i < rows * CANDIDATES; i++) {
        const double d = scale[i] + 0.25, error = fabs(got[i] - want[i]) / (c->p.k * d * (d + 0.1));
        if (!(error < 1e-4)) return vq_bench_differs(c, "the errors", (size_t)i, got[i], want[i]);
        c->max_error = VQ_MAX(c->max_error, error);
    }
    c->verified = (size_t)rows * CANDIDATES;
    return VQ_OK;
}

const vq_bench_op_def vq_bench_calib_ops[] = {
    VQ_BENCH_F32_OP("gptq_f32", "GPTQ rounding of weights [n][k]", GPTQ_F32, gptq),
    VQ_BENCH_F32_OP("descent_f32", "a sweep of coordinate descent on weights [n][k]", DESCENT_F32, descent),
    VQ_BENCH_F32_OP("gram_error_f32", "16 quantizers of every row of weights [n][k] by the Gram matrix", GRAM_ERROR_F32,
                    gram_error),
};
const int vq_bench_num_calib_ops = VQ_ARRAY_LEN(vq_bench_calib_ops);
