/* Matrix products: a layer made of random operands, in the ranges and with the constants that a calibrated vision
 * transformer has. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/float_ops.h"
#include "ops/ops_f32.h"
#include "ops/ops_int.h"
#include "ref/ref_f32.h"
#include "ref/ref_int.h"
#include "run/bench.h"

enum { TABLE_LEN = 16384 };

typedef struct problem {
    vq_bench_op_params params; /* m of all images */
    vq_device *dev;
    int lda, ldc;
    size_t c_elem; /* bytes */
    vq_buf *a, *c;
    void *host_a, *host_c; /* C before the first run */
    /* S8 */
    vq_gemm_s8 *op;
    vq_gemm_s8_weights weights;
    int8_t *w;
    int32_t *ints; /* bias, mult, zero, w_zero */
    uint8_t *shift, *table;
    /* F32 */
    vq_buf *w_f32, *bias;
    vq_linear_f32 *linear; /* instead of w_f32 */
    float *host_w, *host_bias;
} problem;

static bool is_f32(const problem *p)
{
    return strcmp(p->params.op, "gemm_s8") != 0;
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

static vq_status fill_f32(float **out, vq_rng *rng, size_t count, float scale)
{
    VQ_TRY(vq_alloc(out, count, sizeof **out, "operands"));
    for (size_t i = 0; i < count; i++) (*out)[i] = scale * (2 * vq_rng_uniform(rng) - 1);
    return VQ_OK;
}

static void fill_codes(uint8_t *codes, vq_rng *rng, const problem *p)
{
    for (size_t i = 0; i < (size_t)p->params.m * (size_t)p->lda; i++) codes[i] = vq_bench_code(rng, p->params.a_bits);
}

/* Falls a little, then rises, as GELU does. */
static void fill_table(uint8_t *table)
{
    const int turn = TABLE_LEN / 16;
    for (int i = 0; i < TABLE_LEN; i++)
        table[i] = (uint8_t)(i < turn ? 12 - 12 * i / turn : (i - turn) * 255 / (TABLE_LEN - turn));
}

/* A factor whose results spread over the range the epilogue keeps: 3 deviations of the sums. */
static double factor_of(const problem *p, int a_max, int w_max)
{
    const double deviation = sqrt(p->params.k / 3.0) * a_max * w_max / 1.7 + 1;
    switch (p->params.epilogue) {
    case VQ_BENCH_CODES: return 42 / deviation;
    case VQ_BENCH_TABLE: return TABLE_LEN / 6.0 / deviation;
    default: return 65536 / deviation;
    }
}

static void fill_constants(problem *p, vq_rng *rng, int a_max, int w_max)
{
    const size_t n = (size_t)p->params.n;
    for (size_t i = 0; i < n; i++) {
        int exponent;
        const double fraction = frexp(factor_of(p, a_max, w_max) * (0.8 + 0.4 * vq_rng_uniform(rng)), &exponent);
        p->ints[i] = (int)vq_rng_below(rng, 2001) - 1000;
        p->ints[n + i] = (int32_t)VQ_MIN(fraction * 0x1p31, 0x1p31 - 1);
        p->shift[i] = (uint8_t)VQ_MAX(VQ_MIN(31 - exponent, 62), 1);
        p->ints[2 * n + i] = p->params.epilogue == VQ_BENCH_TABLE ? TABLE_LEN / 3 : 128;
        p->ints[3 * n + i] = (int)vq_rng_below(rng, 17) - 8;
    }
}

/* Weights of 8 bits keep their zero points, as those of real layers do: their codes span more than s8 around them. */
static vq_status make_s8(problem *p, vq_rng *rng)
{
    const vq_bench_op_params *const q = &p->params;
    const size_t n = (size_t)q->n, count = n * (size_t)q->k;
    const int a_max = (1 << q->a_bits) - 1, w_max = 1 << (q->w_bits - 1);
    VQ_TRY(vq_alloc(&p->host_a, (size_t)q->m * (size_t)p->lda, 1, "codes"));
    VQ_TRY(vq_alloc(&p->w, count, 1, "weights"));
    VQ_TRY(vq_alloc(&p->ints, 4 * n, sizeof *p->ints, "constants"));
    VQ_TRY(vq_alloc(&p->shift, n, 1, "shifts"));
    VQ_TRY(vq_alloc(&p->table, TABLE_LEN, 1, "a table"));
    fill_codes(p->host_a, rng, p);
    for (size_t i = 0; i < count; i++) p->w[i] = (int8_t)((int)vq_rng_below(rng, 2 * (uint32_t)w_max) - w_max);
    fill_constants(p, rng, a_max, w_max);
    fill_table(p->table);
    p->weights = (vq_gemm_s8_weights){.n = q->n,
                                      .k = q->k,
                                      .a_max = a_max,
                                      .a_zero = (a_max + 1) / 2,
                                      .w_abs_max = w_max,
                                      .w = p->w,
                                      .w_zero = q->w_bits == 8 ? p->ints + 3 * n : NULL,
                                      .bias = p->ints,
                                      .mult = p->ints + n,
                                      .zero = p->ints + 2 * n,
                                      .shift = p->shift,
                                      .epilogue = (vq_gemm_epilogue)q->epilogue,
                                      .bits = q->a_bits,
                                      .table = p->table,
                                      .table_len = TABLE_LEN};
    VQ_TRY(vq_buf_create_from(&p->a, p->dev, p->host_a, (size_t)q->m * (size_t)p->lda));
    return vq_gemm_s8_create(&p->op, p->dev, &p->weights, VQ_STORAGE_DEFAULT);
}

static vq_status make_f32(problem *p, vq_rng *rng)
{
    const vq_bench_op_params *const q = &p->params;
    const size_t a_count = (size_t)q->m * (size_t)q->k, w_count = (size_t)q->n * (size_t)q->k;
    float *a = NULL;
    const vq_status status = fill_f32(&a, rng, a_count, 1);
    p->host_a = a;
    VQ_TRY(status);
    VQ_TRY(fill_f32(&p->host_w, rng, w_count, 0.1f));
    VQ_TRY(fill_f32(&p->host_bias, rng, (size_t)q->n, 1));
    VQ_TRY(vq_buf_create_from(&p->a, p->dev, a, a_count * sizeof *a));
    VQ_TRY(vq_buf_create_from(&p->bias, p->dev, p->host_bias, (size_t)q->n * sizeof *a));
    if (strcmp(q->op, "linear_f32")) return vq_buf_create_from(&p->w_f32, p->dev, p->host_w, w_count * sizeof *a);
    VQ_TRY(vq_linear_f32_create(&p->linear, p->dev, q->n, q->k));
    return vq_linear_f32_set(p->linear, p->dev, p->host_w);
}

static vq_status make(problem *p)
{
    const bool codes = !is_f32(p) && p->params.epilogue <= VQ_BENCH_TABLE;
    const size_t c_count =
        (size_t)p->params.m * (size_t)(codes ? VQ_ROUND_UP(p->params.n, VQ_CODE_PITCH) : p->params.n);
    vq_rng rng;
    vq_rng_seed(&rng, p->params.seed);
    p->lda = is_f32(p) ? p->params.k : VQ_ROUND_UP(p->params.k, VQ_CODE_PITCH);
    p->ldc = codes ? VQ_ROUND_UP(p->params.n, VQ_CODE_PITCH) : p->params.n;
    p->c_elem = codes ? 1 : 4;
    VQ_TRY(vq_alloc(&p->host_c, c_count, p->c_elem, "results"));
    for (size_t i = 0; !codes && !is_f32(p) && i < c_count; i++)
        ((int32_t *)p->host_c)[i] = (int32_t)vq_rng_below(&rng, 1 << 20) - (1 << 19);
    VQ_TRY(vq_buf_create_from(&p->c, p->dev, p->host_c, c_count * p->c_elem));
    return is_f32(p) ? make_f32(p, &rng) : make_s8(p, &rng);
}

static void destroy(vq_bench_case *c)
{
    problem *const p = c->op;
    vq_gemm_s8_destroy(&p->op);
    vq_buf_destroy(&p->a);
    vq_buf_destroy(&p->c);
    vq_buf_destroy(&p->w_f32);
    vq_buf_destroy(&p->bias);
    vq_linear_f32_destroy(&p->linear);
    free(p->host_a);
    free(p->host_c);
    free(p->w);
    free(p->ints);
    free(p->shift);
    free(p->table);
    free(p->host_w);
    free(p->host_bias);
    free(p);
    c->op = NULL;
}

static vq_status make_case(vq_bench_case *c)
{
    problem *p;
    VQ_TRY(vq_alloc(&p, 1, sizeof *p, "a product"));
    c->op = p;
    p->params = c->p;
    p->params.m *= c->p.batch;
    p->dev = c->dev;
    VQ_TRY(make(p));
    const double m = p->params.m, n = p->params.n, k = p->params.k;
    const bool add = !is_f32(p) && c->p.epilogue == VQ_BENCH_ADD;
    c->ops = 2 * m * n * k;
    const double weight = is_f32(p) ? 4 : vq_gemm_s8_is_packed(p->op) ? 0.5 : 1;
    c->bytes = (is_f32(p) ? 4 : 1) * m * k + weight * n * k + (add ? 2 : 1) * (double)p->c_elem * m * n;
    return VQ_OK;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static vq_gemm_f32_shape shape_f32(const problem *p, int m)
{
    const vq_bench_op_params *const q = &p->params;
    return (vq_gemm_f32_shape){.m = m, .n = q->n, .k = q->k, .lda = q->k, .ldb = q->k, .ldc = q->n, .trans_b = true};
}

static vq_status run(vq_bench_case *c)
{
    const problem *const p = c->op;
    if (p->linear) {
        const vq_linear_f32_io io = {.x = p->a, .bias = p->bias, .y = p->c, .m = p->params.m};
        return vq_linear_f32_run(p->dev, p->linear, &io);
    }
    if (is_f32(p)) {
        const vq_gemm_f32_shape shape = shape_f32(p, p->params.m);
        return vq_gemm_f32_run(p->dev, &shape, p->a, p->w_f32, p->bias, p->c);
    }
    const vq_gemm_s8_io io = {.a = p->a, .c = p->c, .m = p->params.m, .lda = p->lda, .ldc = p->ldc};
    return vq_gemm_s8_run(p->dev, p->op, &io);
}

/* ---- verification ------------------------------------------------------------------------------------------------ */

static vq_status verify_s8(const problem *p, int row, const uint8_t *got, uint8_t *want)
{
    const size_t bytes = (size_t)p->params.n * p->c_elem, pitch = (size_t)p->ldc * p->c_elem;
    memcpy(want, (const uint8_t *)p->host_c + (size_t)row * pitch, bytes);
    vq_ref_gemm_s8(&p->weights, (const uint8_t *)p->host_a + (size_t)row * (size_t)p->lda, p->lda, want, p->ldc, 1, 0,
                   0, 0);
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != want[i])
            return vq_fail(VQ_ERR_DEVICE, "bench: M %d, N %d, K %d: element [%d][%zu] differs from the witness",
                           p->params.m, p->params.n, p->params.k, row, i / p->c_elem);
    return VQ_OK;
}

/* Against the witness, whose sums are doubles, in units of what rounding errors grow with. */
static vq_status verify_f32(const problem *p, int row, const float *got, float *want, double *max_error)
{
    const vq_gemm_f32_shape shape = shape_f32(p, 1);
    const float *const a = (const float *)p->host_a + (size_t)row * (size_t)p->params.k;
    vq_ref_gemm_f32(&shape, a, p->host_w, p->host_bias, want);
    for (int n = 0; n < p->params.n; n++) {
        double size = fabs((double)p->host_bias[n]);
        for (int k = 0; k < p->params.k; k++)
            size += fabs((double)a[k] * p->host_w[(size_t)n * (size_t)p->params.k + (size_t)k]);
        const double error = fabs((double)got[n] - want[n]) / (size + 1e-30);
        if (!(error < 1e-5))
            return vq_fail(VQ_ERR_DEVICE, "bench: M %d, N %d, K %d: element [%d][%d] is %g, the witness has %g",
                           p->params.m, p->params.n, p->params.k, row, n, (double)got[n], (double)want[n]);
        *max_error = VQ_MAX(*max_error, error);
    }
    return VQ_OK;
}

static vq_status verify(vq_bench_case *c)
{
    const problem *const p = c->op;
    const double cost = (double)p->params.n * p->params.k, affordable = is_f32(p) ? 5e7 : 2e8;
    const int m = p->params.m, rows = (int)VQ_MAX(VQ_MIN(affordable / cost, m), VQ_MIN(m, 4));
    const size_t pitch = (size_t)p->ldc * p->c_elem, bytes = (size_t)m * pitch;
    uint8_t *got = NULL, *want = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&got, bytes, 1, "results"));
    VQ_GO(vq_alloc(&want, pitch, 1, "a row of results"));
    VQ_GO(run(c));
    VQ_GO(vq_buf_read(p->dev, p->c, 0, got, bytes));
    for (int i = 0; i < rows; i++) {
        /* evenly, the first and the last among them */
        const int row = rows == 1 ? 0 : (int)((int64_t)i * (m - 1) / (rows - 1));
        const uint8_t *const at = got + (size_t)row * pitch;
        VQ_GO(is_f32(p) ? verify_f32(p, row, (const float *)at, (float *)want, &c->max_error)
                        : verify_s8(p, row, at, want));
    }
    c->verified = (size_t)rows * (size_t)p->params.n;
done:
    free(got);
    free(want);
    return status;
}

const vq_bench_op_def vq_bench_gemm_ops[] = {
    {"gemm_s8", "u8 codes [m][k] x s8 weights [n][k], epilogue; m of an image", VQ_OP_GEMM_S8, VQ_BENCH_S8,
     VQ_BENCH_TOGETHER, make_case, run, verify, destroy},
    {"gemm_f32", "floats [m][k] x [n][k], bias; m of an image", VQ_OP_GEMM_F32, VQ_BENCH_F32, VQ_BENCH_TOGETHER,
     make_case, run, verify, destroy},
    {"linear_f32", "the same with weights packed beforehand", VQ_OP_LINEAR_F32, VQ_BENCH_F32, VQ_BENCH_TOGETHER,
     make_case, run, verify, destroy},
};
const int vq_bench_num_gemm_ops = VQ_ARRAY_LEN(vq_bench_gemm_ops);
