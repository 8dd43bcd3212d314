/* attention_u8 on every variant: score scales from flat to winner-takes-all, tables of few and of many values, zero
 * points beyond the codes' range, sums up to the 31 bits that a layer's proof allows. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct shape {
    int batch, tokens, heads, width;
    int levels;         /* values of the table; below 0: crowded at its end, more than one in a 63rd of it */
    bool low;           /* values have low bytes */
    bool own;           /* a table per head */
    vq_windows windows; /* height 0: none; else tokens is height * width */
    int qkv_bits;       /* 0: 8, or fewer that nobody tells the op */
} shape;

typedef struct args {
    vq_attention_u8 *op;
    const check_buf *qkv, *out, *scratch;
    int ld_qkv, ld_out, batch, tokens;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_attention_u8_run(dev, a->op, a->qkv->buf, a->ld_qkv, a->out->buf, a->ld_out,
                               a->scratch ? a->scratch->buf : NULL, a->batch, a->tokens);
}

/* Falling step functions with their largest values near 2^16 * 2^-u, like a probability quantizer's. One per head
 * differ in where they end, and some end in an exact zero. */
static void make_tables(check *ck, vq_attention_u8_weights *w, const shape *s)
{
    const int shift = check_between(ck, 6, 12), len = check_between(ck, 1, 12 << (16 - shift));
    const int tables = s->own ? s->heads : 1, levels = abs(s->levels);
    uint16_t *const prob = check_alloc(ck, (size_t)(tables * len) * sizeof *prob);
    for (int t = 0; t < tables; t++) {
        const int used = t ? check_between(ck, 1, len) : len, zero = vq_rng_below(check_rng(ck), 2) ? levels : 0;
        for (int i = 0; i < len; i++) {
            const double at = (double)VQ_MIN(i, used - 1) / used;
            const int level = (int)((s->levels < 0 ? pow(at, 6) : at) * levels);
            const double octaves = ldexp((double)level * used / levels, shift - 16);
            const int value = level == zero - 1 ? 0 : (int)(65535 * exp2(-octaves));
            prob[t * len + i] = (uint16_t)(s->low ? value : value & 0xff00);
        }
    }
    w->prob = prob;
    w->prob_tables = s->own ? s->heads : 0;
    w->prob_len = len;
    w->prob_shift = shift;
    w->prob_low = s->low;
}

static int32_t *make_s32(check *ck, size_t count, int32_t lo, int32_t hi)
{
    int32_t *const x = check_alloc(ck, count * sizeof *x);
    check_fill_s32(ck, x, count, lo, hi);
    return x;
}

static uint8_t *make_u8(check *ck, size_t count, int lo, int hi)
{
    uint8_t *const x = check_alloc(ck, count);
    check_fill_u8(ck, x, count, lo, hi);
    return x;
}

/* Biases and masks up to the largest that are allowed, in half of the cases such as a model has. */
static void make_windows(check *ck, vq_attention_u8_weights *w, const shape *s)
{
    const vq_windows *const v = &s->windows;
    const int pairs = (2 * v->window_h - 1) * (2 * v->window_w - 1) * s->heads;
    const bool wild = vq_rng_below(check_rng(ck), 2) != 0;
    const int32_t most = wild ? VQ_SCORE_BIAS_MAX : 5 << VQ_PROB_BITS;
    w->windows = *v;
    w->bias = make_s32(ck, (size_t)pairs, -most, most);
    w->mask = wild ? -VQ_SCORE_BIAS_MAX : -9454949;
    if (vq_windows_padded(v))
        w->pad = make_u8(ck, (size_t)(3 * s->heads * s->width), 0, (1 << (s->qkv_bits ? s->qkv_bits : 8)) - 1);
}

/* Weights that keep every sum within 31 bits: values fall with u, so a row's sum of values is at most that of a row
 * whose probabilities are those of the table, besides the last value for every token. */
static vq_attention_u8_weights make_weights(check *ck, const shape *s)
{
    const size_t heads = (size_t)s->heads, c = heads * (size_t)s->width;
    vq_attention_u8_weights w = {.heads = s->heads, .head_dim = s->width, .qkv_bits = s->qkv_bits};
    int last = 0;
    const int tokens = s->windows.height ? vq_windows_tokens(&s->windows) : s->tokens;
    make_tables(ck, &w, s);
    if (s->windows.height) make_windows(ck, &w, s);
    for (int h = 0; h < s->heads; h++) last = VQ_MAX(last, vq_attention_prob(&w, h)[w.prob_len - 1]);
    const double sum = fmin(65535.0 * tokens, 4.0 * 65536 + (double)tokens * last);
    const int32_t zero = (int32_t)fmin(1 << 20, 2147483647.0 / sum - 129);
    w.q_zero = make_s32(ck, heads, -300, 300);
    w.score_mult = make_s32(ck, heads, 1 << 30, INT32_MAX);
    w.score_shift = vq_rng_below(check_rng(ck), 2) ? make_u8(ck, heads, 26, 32) /* small scores, as variants may ask */
                                                   : make_u8(ck, heads, 12, 40);
    w.v_zero = zero > 0 ? make_s32(ck, c, -zero, zero) : make_s32(ck, c, 0, 0);
    w.mult = make_s32(ck, c, 1 << 30, INT32_MAX);
    w.shift = make_u8(ck, c, vq_rng_below(check_rng(ck), 2) ? 33 : 1, 62); /* from 33 on variants may need less */
    w.zero = check_between(ck, -10, 300);
    w.bits = check_between(ck, 1, 8);
    if (vq_rng_below(check_rng(ck), 2)) { /* outputs within the codes' range, not all clipped */
        w.shift = make_u8(ck, c, 46, 48);
        w.bits = 8;
        w.zero = 128;
    }
    if (s->qkv_bits == 8) { /* as a model has them: every score and value shows in the codes */
        w.q_zero = make_s32(ck, heads, 60, 200);
        w.score_shift = make_u8(ck, heads, 27, 28);
        w.v_zero = make_s32(ck, c, -9, 9);
        w.shift = make_u8(ck, c, 45, 47);
        w.bits = 8;
        w.zero = 128;
    }
    return w;
}

static void check_shape(check *ck, const shape *s)
{
    const size_t c = (size_t)s->heads * (size_t)s->width, rows = (size_t)s->batch * (size_t)s->tokens;
    const vq_windows *const v = &s->windows;
    const int each = v->height ? vq_windows_tokens(v) : s->tokens;
    const double all = (double)s->batch * vq_windows_count(v) * each, macs = all * (double)c * each * 2;
    char grid[64] = "", bits[16] = "";
    if (s->qkv_bits) snprintf(bits, sizeof bits, "_q%d", s->qkv_bits);
    if (v->height)
        snprintf(grid, sizeof grid, "_%dx%d_w%dx%d_s%dx%d%s", v->height, v->width, v->window_h, v->window_w, v->shift_h,
                 v->shift_w, v->pad_first ? "_first" : "");
    if (!check_case(ck, macs + 200.0 * all * s->heads * each, "b%d_t%d_h%d_d%d_l%d%s%s%s%s", s->batch, s->tokens,
                    s->heads, s->width, s->levels, s->low ? "" : "_hi", s->own ? "_own" : "", bits, grid))
        return;
    const vq_attention_u8_weights w = make_weights(ck, s);
    const size_t ld_qkv = VQ_ROUND_UP(3 * c, VQ_CODE_PITCH) + (s->tokens % 2 ? 16 : 0);
    const size_t ld_out = VQ_ROUND_UP(c, VQ_CODE_PITCH) + (s->tokens % 2 ? 0 : 16);
    check_buf *const qkv =
        check_in_u8(ck, rows * ld_qkv, 0, (1 << (s->qkv_bits ? s->qkv_bits : check_between(ck, 2, 8))) - 1);
    check_buf *const out = check_out(ck, rows * ld_out);
    args a = {NULL, qkv, out, NULL, (int)ld_qkv, (int)ld_out, s->batch, s->tokens};
    vq_status status = vq_attention_u8_create(&a.op, check_device(ck), &w);
    if (status == VQ_OK)
        status = vq_ref_attention_u8(&w, qkv->host, (int)ld_qkv, out->want, (int)ld_out, s->batch, s->tokens);
    check_that(ck, status == VQ_OK, "the op could not be created: %s", vq_status_name(status));
    if (status == VQ_OK) {
        a.scratch = check_scratch(ck, vq_attention_u8_scratch_bytes(a.op, s->batch, s->tokens));
        if (check_run(ck, run, &a)) {
            check_equal_u8(ck, "out", out, c, ld_out);
            check_bench(ck, 2 * macs, 4.0 * (double)(rows * c));
        }
    }
    vq_attention_u8_destroy(&a.op);
}

void check_attention_u8(check *ck)
{
    static const shape shapes[] = {
        {1, 1, 1, 1, 2, true, false, {0}, 0},
        {2, 3, 1, 5, 8, true, false, {0}, 0},
        {1, 16, 2, 16, 16, false, false, {0}, 0},
        {2, 17, 2, 33, 16, true, false, {0}, 0},
        {1, 31, 3, 32, 15, true, true, {0}, 0},
        {1, 33, 1, 7, 17, true, true, {0}, 0},
        {1, 12, 1, 64, 256, true, false, {0}, 0},
        {2, 13, 3, 65, 16, false, false, {0}, 0},
        {1, 49, 2, 32, 16, true, false, {0}, 0},
        {1, 5, 1, 256, 16, true, false, {0}, 0},
        {1, 50, 3, 64, 64, false, true, {0}, 0},
        {1, 100, 1, 255, 16, true, false, {0}, 0},
        {1, 257, 1, 48, 16, true, false, {0}, 0},
        {1, 640, 1, 3, 4, true, false, {0}, 0},
        {1, 1025, 1, 16, 16, true, false, {0}, 0},
        {1, 4095, 1, 2, 16, true, false, {0}, 0},
        {1, 2305, 1, 12, 16, true, false, {0}, 0},
        {1, 577, 1, 64, 64, false, false, {0}, 0},
        {2, 29, 4, 17, 16, false, true, {0}, 0},
        {2, 65, 5, 20, 16, true, true, {0}, 0},
        {2, 90, 6, 33, 200, true, true, {0}, 0},
        {8, 197, 3, 64, 256, false, false, {0}, 0},
        {8, 197, 3, 64, 16, true, false, {0}, 0},
        {1, 197, 3, 64, 256, true, false, {0}, 0},
        {2, 36, 1, 5, 16, true, false, {6, 6, 3, 3, 1, 1, false}, 0},
        {1, 64, 2, 16, 16, true, false, {8, 8, 4, 4, 2, 2, false}, 0},
        {2, 35, 3, 7, 16, true, true, {5, 7, 3, 3, 1, 1, false}, 0},
        {1, 35, 2, 9, 200, true, false, {5, 7, 3, 2, 1, 1, true}, 0},
        {1, 40, 1, 33, 16, false, false, {4, 10, 4, 4, 0, 2, false}, 0},
        {1, 100, 2, 32, 256, true, false, {10, 10, 7, 7, 3, 3, true}, 0},
        {1, 9, 1, 1, 2, true, false, {3, 3, 1, 1, 0, 0, false}, 0},
        {1, 196, 3, 32, 16, true, false, {14, 14, 7, 7, 3, 3, false}, 0},
        {2, 3136, 3, 32, 256, true, false, {56, 56, 7, 7, 3, 3, false}, 0},
        {1, 45, 2, 20, -14, true, false, {0}, 0},
        {1, 70, 3, 64, -60, true, true, {0}, 0},
        {2, 35, 3, 33, -30, false, false, {5, 7, 3, 3, 1, 1, false}, 0},
        {8, 197, 3, 64, -60, true, true, {0}, 0},
        {1, 47, 2, 24, 6, true, true, {0}, 0},
        {1, 61, 2, 16, 24, true, true, {0}, 0},
        {1, 130, 1, 31, 33, true, false, {0}, 0},
        {2, 63, 2, 40, 33, false, true, {0}, 0},
        {1, 84, 2, 16, 48, true, true, {0}, 0},
        {1, 98, 2, 32, 33, true, true, {7, 14, 7, 7, 3, 3, false}, 0},
        {1, 576, 2, 32, 16, true, false, {24, 24, 12, 12, 6, 6, false}, 0},
        {1, 197, 3, 64, 16, true, false, {0}, 4},
        {2, 67, 2, 64, 64, true, false, {0}, 6},
        {1, 50, 3, 33, 33, true, true, {0}, 6},
        {1, 33, 1, 255, 16, false, false, {0}, 5},
        {2, 13, 2, 256, 16, true, false, {0}, 1},
        {1, 40, 1, 7, 16, true, false, {0}, 4},
        {1, 40, 2, 64, 16, true, false, {0}, 7},
        {1, 40, 2, 7, 16, true, false, {0}, 8},
        {2, 67, 2, 20, 64, true, false, {0}, 8},
        {1, 50, 3, 33, 33, true, true, {0}, 8},
        {1, 33, 2, 255, 16, true, false, {0}, 8},
        {3, 29, 3, 64, 256, true, false, {0}, 8},
        {1, 100, 2, 48, 64, true, false, {10, 10, 7, 7, 3, 3, false}, 8},
        {8, 197, 3, 64, 16, true, false, {0}, 4},
        {8, 197, 3, 64, 64, true, false, {0}, 6},
        {1, 35, 2, 20, 16, true, false, {5, 7, 3, 2, 1, 1, true}, 4},
        {1, 100, 2, 32, 64, true, false, {10, 10, 7, 7, 3, 3, false}, 6},
    };
    for (const vq_variant *v = check_first(ck, VQ_OP_ATTENTION_U8); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i]);
}
