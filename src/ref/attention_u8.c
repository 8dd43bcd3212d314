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

/* One head of one image. */
typedef struct head {
    const vq_attention_u8_weights *w;
    const uint8_t *q, *k, *v; /* rows ld apart */
    int h, ld, tokens;
} head;

static int32_t score(const head *a, int i, int j)
{
    const uint8_t *const q = a->q + (size_t)i * (size_t)a->ld, *const k = a->k + (size_t)j * (size_t)a->ld;
    int32_t s = 0;
    for (int d = 0; d < a->w->head_dim; d++) s += (q[d] - a->w->q_zero[a->h]) * (k[d] - 128);
    const int32_t y = vq_ref_requant(s, a->w->score_mult[a->h], a->w->score_shift[a->h]), limit = 1 << 30;
    return y < -limit ? -limit : y > limit ? limit : y;
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
    for (int j = 0; j < a->tokens; j++)
        sum += p[j] * ((int64_t)a->v[(size_t)j * (size_t)a->ld + (size_t)d] - 128 + a->w->v_zero[c]);
    const int64_t code = (int64_t)vq_ref_requant((int32_t)sum, a->w->mult[c], a->w->shift[c]) + a->w->zero;
    const int64_t last = (1 << a->w->bits) - 1;
    return (uint8_t)(code < 0 ? 0 : code > last ? last : code);
}

vq_status vq_ref_attention_u8(const vq_attention_u8_weights *weights, const uint8_t *qkv, int ld_qkv, uint8_t *out,
                              int ld_out, int batch, int tokens)
{
    const size_t width = (size_t)weights->head_dim, c = width * (size_t)weights->heads, rows = (size_t)tokens;
    int32_t *t = NULL;
    uint16_t *p = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&t, rows, sizeof *t, "attention_u8 scores"));
    VQ_GO(vq_alloc(&p, rows, sizeof *p, "attention_u8 probabilities"));
    for (size_t b = 0; b < (size_t)batch; b++)
        for (size_t h = 0; h < (size_t)weights->heads; h++) {
            const uint8_t *const q = qkv + b * rows * (size_t)ld_qkv + h * width;
            const head a = {weights, q, q + c, q + 2 * c, (int)h, ld_qkv, tokens};
            for (size_t i = 0; i < rows; i++) {
                uint8_t *const row = out + (b * rows + i) * (size_t)ld_out + h * width;
                probabilities(&a, (int)i, t, p);
                for (int d = 0; d < weights->head_dim; d++) row[d] = output(&a, p, d);
            }
        }
done:
    free(t);
    free(p);
    return status;
}
