/* Integer ops besides the products. */
#include <math.h>
#include <string.h>

#include "ops/ops_int.h"
#include "ref/ref_int.h"
#include "run/bench.h"

enum { IN, OUT, WANT, SECOND, THIRD, FOURTH };

/* Witnesses take some nanoseconds a step; this many are about a second. */
#define AFFORDABLE 2e8

static int rows_of(const vq_bench_case *c)
{
    return c->p.m * c->p.batch;
}

/* Compares `count` values of `size` bytes of rows that start ld apart; the result is read from buf[OUT]. */
static vq_status equal(vq_bench_case *c, size_t rows, size_t cols, size_t ld, size_t size)
{
    const uint8_t *const want = c->host[WANT];
    uint8_t *got;
    const size_t bytes = ((rows - 1) * ld + cols) * size;
    VQ_TRY(vq_bench_host(&got, c, OUT, bytes, 1));
    VQ_TRY(vq_buf_read(c->dev, c->buf[OUT], 0, got, bytes));
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) {
            const size_t at = (r * ld + i) * size;
            if (memcmp(got + at, want + at, size) == 0) continue;
            int32_t pair[2] = {got[at], want[at]};
            if (size == sizeof(int32_t)) {
                memcpy(&pair[0], got + at, size);
                memcpy(&pair[1], want + at, size);
            }
            return vq_bench_differs(c, "the result", r * cols + i, pair[0], pair[1]);
        }
    c->verified = rows * cols;
    return VQ_OK;
}

static vq_status random_s32(int32_t **out, vq_bench_case *c, int slot, size_t count, int32_t lo, int32_t hi)
{
    VQ_TRY(vq_bench_host(out, c, slot, count, sizeof **out));
    for (size_t i = 0; i < count; i++) (*out)[i] = lo + (int32_t)vq_rng_below(&c->rng, (uint32_t)(hi - lo) + 1);
    return VQ_OK;
}

static vq_status random_u8(uint8_t **out, vq_bench_case *c, int slot, size_t count, int lo, int hi)
{
    VQ_TRY(vq_bench_host(out, c, slot, count, 1));
    for (size_t i = 0; i < count; i++) (*out)[i] = (uint8_t)(lo + (int)vq_rng_below(&c->rng, (uint32_t)(hi - lo) + 1));
    return VQ_OK;
}

/* A residual stream: a few units around zero. */
static vq_status residual(int32_t **out, vq_bench_case *c, size_t count)
{
    VQ_TRY(random_s32(out, c, IN, count, -(5 << VQ_RESIDUAL_BITS), 5 << VQ_RESIDUAL_BITS));
    return vq_bench_upload(c, IN, *out, count * sizeof **out);
}

/* ---- layernorm_s32 ----------------------------------------------------------------------------------------------- */

typedef struct layernorm {
    vq_layernorm_s32_weights w;
    vq_layernorm_s32 *op;
} layernorm;

static vq_status make_layernorm(vq_bench_case *c)
{
    const size_t cols = (size_t)c->p.n, count = (size_t)rows_of(c) * cols;
    int32_t *x, *mult;
    int64_t *bias;
    uint8_t *shift;
    layernorm *l;
    VQ_TRY(vq_bench_host(&l, c, FOURTH + 1, 1, sizeof *l));
    c->op = l;
    c->ld_out = VQ_ROUND_UP(c->p.n, VQ_CODE_PITCH);
    VQ_TRY(residual(&x, c, count));
    VQ_TRY(random_s32(&mult, c, SECOND, cols, 1 << 29, INT32_MAX - 1));
    VQ_TRY(random_u8(&shift, c, THIRD, cols, 41, 42));
    VQ_TRY(vq_bench_host(&bias, c, FOURTH, cols, sizeof *bias));
    for (size_t i = 0; i < cols; i++) bias[i] = (int64_t)(100 + vq_rng_below(&c->rng, 56)) << shift[i];
    l->w = (vq_layernorm_s32_weights){
        .c = c->p.n, .eps = 4295, .mult = mult, .shift = shift, .bias = bias, .bits = c->p.a_bits};
    VQ_TRY(vq_buf_create(&c->buf[OUT], c->dev, (size_t)rows_of(c) * (size_t)c->ld_out));
    c->bytes = 5.0 * (double)count;
    return vq_layernorm_s32_create(&l->op, c->dev, &l->w);
}

static vq_status run_layernorm(vq_bench_case *c)
{
    const layernorm *const l = c->op;
    const vq_layernorm_s32_io io = {c->buf[IN], c->buf[OUT], rows_of(c), c->p.n, c->ld_out};
    return vq_layernorm_s32_run(c->dev, l->op, &io);
}

static vq_status verify_layernorm(vq_bench_case *c)
{
    const layernorm *const l = c->op;
    const int rows = (int)VQ_MIN(AFFORDABLE / 20 / c->p.n, rows_of(c));
    uint8_t *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, (size_t)rows * (size_t)c->ld_out, 1));
    vq_ref_layernorm_s32(&l->w, c->host[IN], c->p.n, want, c->ld_out, rows);
    VQ_TRY(run_layernorm(c));
    return equal(c, (size_t)rows, (size_t)c->p.n, (size_t)c->ld_out, 1);
}

static void destroy_layernorm(vq_bench_case *c)
{
    layernorm *const l = c->op;
    vq_layernorm_s32_destroy(&l->op);
}

/* ---- attention_u8 ------------------------------------------------------------------------------------------------ */

enum { PROB_SHIFT = 8, PROB_LEN = 12 << (16 - PROB_SHIFT) };

typedef struct attention {
    vq_attention_u8_weights w;
    vq_attention_u8 *op;
    uint16_t prob[PROB_LEN];
    int32_t *ints;
    uint8_t *bytes;
} attention;

/* Powers of two or of its root over 12 octaves, as logarithmic quantizers of any bits have them. */
static void make_table(attention *a, int bits)
{
    const int levels = VQ_MIN(1 << bits, 24);
    for (int i = 0; i < PROB_LEN; i++) {
        const int level = VQ_MIN(i * levels / PROB_LEN, levels - 1);
        a->prob[i] = (uint16_t)(65535 * exp2(-12.0 * level / levels));
    }
}

static vq_status make_windows(vq_bench_case *c, attention *a, int32_t *bias)
{
    const int side = (int)lround(sqrt(c->p.m)), window = c->p.window;
    if (!window) return VQ_OK;
    if (side * side != c->p.m || side % window)
        return vq_fail(VQ_ERR_SHAPE, "bench: windows of %d do not divide a raster of %d tokens", window, c->p.m);
    a->w.windows = (vq_windows){.height = side, .width = side, .window_h = window, .window_w = window};
    if (side > window) a->w.windows.shift_h = a->w.windows.shift_w = window / 2;
    a->w.bias = bias;
    a->w.mask = -9454949; /* -100 in octaves */
    return VQ_OK;
}

static vq_status make_attention(vq_bench_case *c)
{
    const size_t heads = (size_t)c->p.n, cols = heads * (size_t)c->p.k, rows = (size_t)rows_of(c);
    const size_t pairs = c->p.window ? (size_t)(2 * c->p.window - 1) * (size_t)(2 * c->p.window - 1) * heads : 0;
    attention *a;
    uint8_t *qkv;
    VQ_TRY(vq_bench_host(&a, c, SECOND, 1, sizeof *a));
    c->op = a;
    c->ld_in = (int)VQ_ROUND_UP(3 * cols, VQ_CODE_PITCH);
    c->ld_out = (int)VQ_ROUND_UP(cols, VQ_CODE_PITCH);
    VQ_TRY(vq_bench_host(&qkv, c, IN, rows * (size_t)c->ld_in, 1));
    for (size_t i = 0; i < rows * (size_t)c->ld_in; i++) qkv[i] = vq_bench_code(&c->rng, c->p.a_bits);
    VQ_TRY(vq_bench_upload(c, IN, qkv, rows * (size_t)c->ld_in));
    VQ_TRY(vq_bench_host(&a->ints, c, THIRD, 2 * heads + 2 * cols + pairs, sizeof *a->ints));
    VQ_TRY(vq_bench_host(&a->bytes, c, FOURTH, heads + cols, 1));
    int32_t *const q_zero = a->ints, *const score_mult = q_zero + heads, *const v_zero = score_mult + heads,
                   *const mult = v_zero + cols, *const bias = mult + cols;
    make_table(a, c->p.a_bits);
    /* scores of a deviation of some octaves */
    const double range = ldexp(1, c->p.a_bits) / 256;
    int exponent;
    const double fraction = frexp(131072.0 * 3 / (sqrt((double)c->p.k) * 1350 * range * range), &exponent);
    for (size_t h = 0; h < heads; h++) {
        q_zero[h] = 1 << (c->p.a_bits - 1);
        score_mult[h] = (int32_t)(fraction * 0x1p31);
        a->bytes[h] = (uint8_t)(31 - exponent);
    }
    for (size_t i = 0; i < cols; i++) {
        v_zero[i] = 128 - (1 << (c->p.a_bits - 1));
        mult[i] = (1 << 30) + (int32_t)vq_rng_below(&c->rng, 1 << 29);
        a->bytes[heads + i] = 45; /* averages of some codes' size, of 16 bits */
    }
    for (size_t i = 0; i < pairs; i++) bias[i] = (int32_t)vq_rng_below(&c->rng, 1 << 18) - (1 << 17);
    a->w = (vq_attention_u8_weights){.heads = c->p.n,
                                     .head_dim = c->p.k,
                                     .q_zero = q_zero,
                                     .score_mult = score_mult,
                                     .score_shift = a->bytes,
                                     .prob = a->prob,
                                     .prob_tables = 1,
                                     .prob_len = PROB_LEN,
                                     .prob_shift = PROB_SHIFT,
                                     .prob_low = true,
                                     .v_zero = v_zero,
                                     .mult = mult,
                                     .shift = a->bytes + heads,
                                     .zero = 1 << (c->p.a_bits - 1),
                                     .bits = c->p.a_bits,
                                     .qkv_bits = c->p.a_bits};
    VQ_TRY(make_windows(c, a, bias));
    VQ_TRY(vq_attention_u8_create(&a->op, c->dev, &a->w));
    const size_t scratch = vq_attention_u8_scratch_bytes(a->op, c->p.batch, c->p.m);
    if (scratch) VQ_TRY(vq_buf_create(&c->buf[SECOND], c->dev, scratch));
    VQ_TRY(vq_buf_create(&c->buf[OUT], c->dev, rows * (size_t)c->ld_out));
    /* Q K^T once, P V as two products of bytes */
    const double each = c->p.window ? c->p.window * c->p.window : c->p.m;
    c->ops = 2.0 * 3 * (double)rows * each * (double)cols;
    c->bytes = 4.0 * (double)(rows * cols);
    return VQ_OK;
}

static vq_status run_attention(vq_bench_case *c)
{
    const attention *const a = c->op;
    return vq_attention_u8_run(c->dev, a->op, c->buf[IN], c->ld_in, c->buf[OUT], c->ld_out, c->buf[SECOND], c->p.batch,
                               c->p.m);
}

/* The first images, as many as the witness can take. */
static vq_status verify_attention(vq_bench_case *c)
{
    const attention *const a = c->op;
    const double image = c->ops / 6 / c->p.batch + 20.0 * c->p.m * c->p.n * c->p.m;
    const int images = (int)VQ_MAX(VQ_MIN(AFFORDABLE / image, c->p.batch), 1);
    const size_t rows = (size_t)images * (size_t)c->p.m;
    uint8_t *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, rows * (size_t)c->ld_out, 1));
    VQ_TRY(vq_ref_attention_u8(&a->w, c->host[IN], c->ld_in, want, c->ld_out, images, c->p.m));
    VQ_TRY(run_attention(c));
    return equal(c, rows, (size_t)(c->p.n * c->p.k), (size_t)c->ld_out, 1);
}

static void destroy_attention(vq_bench_case *c)
{
    attention *const a = c->op;
    vq_attention_u8_destroy(&a->op);
}

/* ---- patchify_u8 ------------------------------------------------------------------------------------------------- */

static vq_patchify_shape patches(const vq_bench_case *c)
{
    return (vq_patchify_shape){
        .batch = c->p.batch, .height = c->p.m, .width = c->p.m, .chans = c->p.n, .patch = c->p.k};
}

static size_t patch_rows(const vq_bench_case *c)
{
    return (size_t)c->p.batch * (size_t)(c->p.m / c->p.k) * (size_t)(c->p.m / c->p.k);
}

static vq_status make_patchify(vq_bench_case *c)
{
    const size_t count = (size_t)c->p.batch * (size_t)c->p.m * (size_t)c->p.m * (size_t)c->p.n;
    uint8_t *x;
    if (c->p.m % c->p.k || c->p.m > 8192 || c->p.n > 64)
        return vq_fail(VQ_ERR_SHAPE, "bench: images of %d pixels on a side, %d channels, in patches of %d", c->p.m,
                       c->p.n, c->p.k);
    c->ld_out = VQ_ROUND_UP(c->p.n * c->p.k * c->p.k, VQ_CODE_PITCH);
    VQ_TRY(random_u8(&x, c, IN, count, 0, 255));
    VQ_TRY(vq_bench_upload(c, IN, x, count));
    c->bytes = 2.0 * (double)count;
    return vq_buf_create(&c->buf[OUT], c->dev, patch_rows(c) * (size_t)c->ld_out);
}

static vq_status run_patchify(vq_bench_case *c)
{
    const vq_patchify_shape shape = patches(c);
    return vq_patchify_u8_run(c->dev, &shape, c->buf[IN], c->buf[OUT], c->ld_out);
}

static vq_status verify_patchify(vq_bench_case *c)
{
    const vq_patchify_shape shape = patches(c);
    uint8_t *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, patch_rows(c) * (size_t)c->ld_out, 1));
    vq_ref_patchify_u8(&shape, c->host[IN], want, c->ld_out);
    VQ_TRY(run_patchify(c));
    return equal(c, patch_rows(c), (size_t)c->ld_out, (size_t)c->ld_out, 1);
}

/* ---- pool_s32 and tokens_s32 ------------------------------------------------------------------------------------- */

static vq_pool_s32_weights pool(const vq_bench_case *c)
{
    return (vq_pool_s32_weights){.rows = c->p.m, .c = c->p.n, .parts = 1, .count = {VQ_MIN(c->p.m, 4095)}, .set = true};
}

static vq_status make_pool(vq_bench_case *c)
{
    int32_t *x;
    VQ_TRY(residual(&x, c, (size_t)rows_of(c) * (size_t)c->p.n));
    c->bytes = 4.0 * ((double)rows_of(c) + c->p.batch) * c->p.n;
    return vq_buf_create(&c->buf[OUT], c->dev, (size_t)c->p.batch * (size_t)c->p.n * sizeof(int32_t));
}

static vq_status run_pool(vq_bench_case *c)
{
    const vq_pool_s32_weights w = pool(c);
    return vq_pool_s32_run(c->dev, &w, c->buf[IN], c->buf[OUT], c->p.n, c->p.batch);
}

static vq_status verify_pool(vq_bench_case *c)
{
    const vq_pool_s32_weights w = pool(c);
    int32_t *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, (size_t)c->p.batch * (size_t)c->p.n, sizeof *want));
    vq_ref_pool_s32(&w, c->host[IN], want, c->p.n, c->p.batch);
    VQ_TRY(run_pool(c));
    return equal(c, (size_t)c->p.batch, (size_t)c->p.n, (size_t)c->p.n, sizeof *want);
}

static vq_status make_tokens(vq_bench_case *c)
{
    const size_t count = (size_t)c->p.m * (size_t)c->p.n;
    int32_t *x;
    VQ_TRY(residual(&x, c, count));
    c->bytes = 4.0 * (double)count * (1 + c->p.batch);
    return vq_buf_create(&c->buf[OUT], c->dev, count * (size_t)c->p.batch * sizeof *x);
}

static vq_status run_tokens(vq_bench_case *c)
{
    return vq_tokens_s32_run(c->dev, c->buf[IN], c->p.m * c->p.n, c->buf[OUT], c->p.batch);
}

static vq_status verify_tokens(vq_bench_case *c)
{
    const size_t count = (size_t)rows_of(c) * (size_t)c->p.n;
    int32_t *want;
    VQ_TRY(vq_bench_host(&want, c, WANT, count, sizeof *want));
    vq_ref_tokens_s32(c->host[IN], c->p.m * c->p.n, want, c->p.batch);
    VQ_TRY(run_tokens(c));
    return equal(c, 1, count, count, sizeof *want);
}

const vq_bench_op_def vq_bench_int_ops[] = {
    {"attention_u8", "m tokens of an image, n heads of k channels", VQ_OP_ATTENTION_U8, VQ_BENCH_S8, VQ_BENCH_TOGETHER,
     make_attention, run_attention, verify_attention, destroy_attention},
    {"layernorm_s32", "m rows of an image, n channels", VQ_OP_LAYERNORM_S32, VQ_BENCH_S8, VQ_BENCH_TOGETHER,
     make_layernorm, run_layernorm, verify_layernorm, destroy_layernorm},
    {"patchify_u8", "images of m pixels on a side, n channels, patches of k", VQ_OP_PATCHIFY_U8, VQ_BENCH_S8,
     VQ_BENCH_TOGETHER, make_patchify, run_patchify, verify_patchify, NULL},
    {"pool_s32", "mean of m rows of an image, n channels", VQ_OP_POOL_S32, VQ_BENCH_S8, VQ_BENCH_TOGETHER, make_pool,
     run_pool, verify_pool, NULL},
    {"tokens_s32", "start of m rows of an image, n channels", VQ_OP_TOKENS_S32, VQ_BENCH_S8, VQ_BENCH_TOGETHER,
     make_tokens, run_tokens, verify_tokens, NULL},
};
const int vq_bench_num_int_ops = VQ_ARRAY_LEN(vq_bench_int_ops);
