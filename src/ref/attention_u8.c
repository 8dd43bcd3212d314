/* Witness of attention_u8: one row of one head at a time, the steps of base/int_ops.h in their order. */
#include "ref/ref_int.h"

#include <stdlib.h>

/* High 32 bits of the product. */
static uint32_t mul_hi(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

uint32_t vq_ref_exp2_neg(int32_t t)
{
    const int octaves = t >> 16;
    if (octaves > 20) return 0;
    const uint64_t rest = 0x10000 - (uint64_t)(t & 0xffff); /* 1 - fraction, in (0, 1] */
    const uint32_t g = rest == 0x10000 ? UINT32_MAX : (uint32_t)(rest << 16);
    uint32_t p = 14532198;
    p = 55846889 + mul_hi(p, g);
    p = 259247181 + mul_hi(p, g);
    p = 744107202 + mul_hi(p, g);
    p = 1073744609 + mul_hi(p, g);
    return ((p >> 1) + ((uint32_t)1 << (9 + octaves))) >> (10 + octaves);
}

int32_t vq_ref_log2_q16(uint32_t s)
{
    int exponent = 0;
    while (s >> exponent > 1) exponent++;
    uint64_t m = (uint64_t)s << (31 - exponent); /* 1 <= m / 2^31 < 2 */
    int32_t bits = 0;
    for (int i = 0; i < 16; i++) {
        m = m * m >> 31;
        bits *= 2;
        if (m >= (uint64_t)1 << 32) {
            bits += 1;
            m /= 2;
        }
    }
    return (exponent - 20) * 65536 + bits;
}

/* One head of one image or window. */
typedef struct head {
    const vq_attention_u8_weights *w;
    const uint8_t *qkv; /* of the image, rows ld apart */
    int h, ld, tokens;
    const int32_t *row, *region; /* of a window's tokens, or NULL */
} head;

enum { Q, K, V };

/* Channels of the head in part Q, K or V of token i. */
static const uint8_t *token(const head *a, int part, int i)
{
    const int width = a->w->head_dim, at = (part * a->w->heads + a->h) * width, row = a->row ? a->row[i] : i;
    return row < 0 ? a->w->pad + at : a->qkv + (size_t)row * (size_t)a->ld + at;
}

static int32_t clip_score(int32_t y)
{
    const int32_t limit = 1 << 30;
    return y < -limit ? -limit : y > limit ? limit : y;
}

static int32_t score(const head *a, int i, int j)
{
    const vq_attention_u8_weights *const w = a->w;
    const uint8_t *const q = token(a, Q, i), *const k = token(a, K, j);
    int32_t s = 0;
    for (int d = 0; d < w->head_dim; d++) s += (q[d] - w->q_zero[a->h]) * (k[d] - 128);
    const int32_t y = clip_score(vq_ref_requant(s, w->score_mult[a->h], w->score_shift[a->h]));
    if (!a->row) return y;
    const int32_t bias = w->bias[vq_windows_relative(&w->windows, i, j) * w->heads + a->h];
    return clip_score(y + bias + (a->region[i] != a->region[j] ? w->mask : 0));
}

/* Probabilities of row i: p[tokens], with t[tokens] as working space. */
static void probabilities(const head *a, int i, int32_t *t, uint16_t *p)
{
    int32_t top = INT32_MIN;
    uint32_t sum = 0;
    for (int j = 0; j < a->tokens; j++) {
        t[j] = score(a, i, j);
        if (t[j] > top) top = t[j];
    }
    for (int j = 0; j < a->tokens; j++) {
        const int64_t below = (int64_t)top - t[j];
        t[j] = below > INT32_MAX ? INT32_MAX : (int32_t)below;
        sum += vq_ref_exp2_neg(t[j]);
    }
    for (int j = 0; j < a->tokens; j++) {
        const int64_t sum_log = (int64_t)t[j] + vq_ref_log2_q16(sum), u = sum_log < 0 ? 0 : sum_log;
        const int64_t at = u >> a->w->prob_shift, last = a->w->prob_len - 1;
        p[j] = vq_attention_prob(a->w, a->h)[at > last ? last : at];
    }
}

static uint8_t output(const head *a, const uint16_t *p, int d)
{
    const int c = a->h * a->w->head_dim + d;
    int64_t sum = 0;
    for (int j = 0; j < a->tokens; j++) sum += p[j] * ((int64_t)token(a, V, j)[d] - 128 + a->w->v_zero[c]);
    const int64_t code = (int64_t)vq_ref_requant((int32_t)sum, a->w->mult[c], a->w->shift[c]) + a->w->zero;
    const int64_t last = (1 << a->w->bits) - 1;
    return (uint8_t)(code < 0 ? 0 : code > last ? last : code);
}

/* All rows of one head; out is the image's. */
static void run_head(const head *a, uint8_t *out, int ld_out, int32_t *t, uint16_t *p)
{
    const int width = a->w->head_dim;
    for (int i = 0; i < a->tokens; i++) {
        const int to = a->row ? a->row[i] : i;
        if (to < 0) continue;
        probabilities(a, i, t, p);
        for (int d = 0; d < width; d++) out[(size_t)to * (size_t)ld_out + (size_t)(a->h * width + d)] = output(a, p, d);
    }
}

vq_status vq_ref_attention_u8(const vq_attention_u8_weights *weights, const uint8_t *qkv, int ld_qkv, uint8_t *out,
                              int ld_out, int batch, int tokens)
{
    const vq_windows *const windows = weights->windows.height ? &weights->windows : NULL;
    const int count = vq_windows_count(&weights->windows), each = windows ? vq_windows_tokens(windows) : tokens;
    const size_t rows = (size_t)tokens, all = (size_t)count * (size_t)each;
    int32_t *t = NULL, *map = NULL, *regions = NULL;
    uint16_t *p = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&t, (size_t)each, sizeof *t, "attention_u8 scores"));
    VQ_GO(vq_alloc(&p, (size_t)each, sizeof *p, "attention_u8 probabilities"));
    VQ_GO(vq_alloc(&map, all, sizeof *map, "attention_u8 windows"));
    VQ_GO(vq_alloc(&regions, all, sizeof *regions, "attention_u8 windows"));
    if (windows) {
        vq_windows_map(windows, map);
        vq_windows_regions(windows, regions);
    }
    for (size_t b = 0; b < (size_t)batch; b++)
        for (int w = 0; w < count; w++)
            for (int h = 0; h < weights->heads; h++) {
                const head a = {.w = weights,
                                .qkv = qkv + b * rows * (size_t)ld_qkv,
                                .h = h,
                                .ld = ld_qkv,
                                .tokens = each,
                                .row = windows ? map + w * each : NULL,
                                .region = regions + w * each};
                run_head(&a, out + b * rows * (size_t)ld_out, ld_out, t, p);
            }
done:
    free(t);
    free(p);
    free(map);
    free(regions);
    return status;
}
