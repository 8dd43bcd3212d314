#include <math.h>

#include "quant/lower.h"

/* Sums must stay below this to fit s32. */
static const double limit_s32 = 0x1p31 - 1;

static bool is_mult_shift(int32_t mult, int shift)
{
    return (mult == 0 || mult >= 1 << 30) && shift >= 1 && shift <= 62;
}

/* |requant(x)| for |x| <= bound, rounded up. */
static double requant_bound(double bound, int32_t mult, int shift)
{
    return ldexp(bound * mult, -shift) + 1;
}

static vq_status prove_gemm_row(const vq_gemm_s8_weights *w, const char *name, int n)
{
    const double bound = vq_gemm_row_bound(w, n);
    if (w->w_zero && (w->w_zero[n] < -32767 || w->w_zero[n] > 32767))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: row %d has weight zero point %d, outside +-32767", name, n,
                       w->w_zero[n]);
    if (bound > limit_s32)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: sums of row %d may reach %.3g, which does not fit 32 bits", name, n,
                       bound);
    if (!is_mult_shift(w->mult[n], w->shift[n]))
        return vq_fail(VQ_ERR_FORMAT, "%s: row %d has multiplier %d and shift %d, must be 2^30.. or 0, and 1..62", name,
                       n, w->mult[n], w->shift[n]);
    if (w->epilogue != VQ_GEMM_CODES && w->epilogue != VQ_GEMM_TABLE) return VQ_OK;
    const double end = requant_bound(bound, w->mult[n], w->shift[n]) + fabs((double)w->zero[n]);
    if (end > limit_s32)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: results of row %d may reach %.3g, which does not fit 32 bits", name, n,
                       end);
    return VQ_OK;
}

vq_status vq_prove_gemm(const vq_gemm_s8_weights *w, const char *name)
{
    if (w->a_planes < 0 || w->a_planes > 2 || w->a_max < 1 || w->a_max > (w->a_planes > 1 ? 65535 : 255))
        return vq_fail(VQ_ERR_FORMAT, "%s: activations up to %d in %d planes, must be up to 255 in 1 or 65535 in 2",
                       name, w->a_max, VQ_MAX(w->a_planes, 1));
    if (w->epilogue == VQ_GEMM_TABLE && (w->table_len < 2 || w->table_len > 65536))
        return vq_fail(VQ_ERR_FORMAT, "%s: table has %d entries, must be 2 to 65536", name, w->table_len);
    if (w->table_low && w->epilogue != VQ_GEMM_TABLE)
        return vq_fail(VQ_ERR_FORMAT, "%s: a table of low bytes without one of high bytes", name);
    for (int n = 0; n < w->n; n++) VQ_TRY(prove_gemm_row(w, name, n));
    return VQ_OK;
}

vq_status vq_prove_layernorm(const vq_layernorm_s32_weights *w, const char *name)
{
    if (w->c < 1 || w->c > 4095) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %d channels, must be 1 to 4095", name, w->c);
    if (w->eps < 1 || w->eps >> 32) return vq_fail(VQ_ERR_FORMAT, "%s: eps is outside 2^-32 to 1", name);
    for (int c = 0; c < w->c; c++) {
        const int64_t limit = (int64_t)1 << 61;
        if (w->mult[c] == INT32_MIN || w->shift[c] < 1 || w->shift[c] > 62 || w->bias[c] <= -limit ||
            w->bias[c] >= limit)
            return vq_fail(VQ_ERR_FORMAT, "%s: channel %d has multiplier %d, shift %d, bias %lld: out of range", name,
                           c, w->mult[c], w->shift[c], (long long)w->bias[c]);
    }
    return VQ_OK;
}

/* The sums of at most 4095 rows fit any 64 bits, their halves 32 (kernels/pool_s32.h). */
vq_status vq_prove_pool(const vq_pool_s32_weights *w, const char *name)
{
    for (int p = 0; p < w->parts; p++)
        if (w->count[p] < 1 || w->count[p] > 4095)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: mean of %d rows, must be 1 to 4095", name, w->count[p]);
    if (!w->set && !is_mult_shift(w->mult, w->shift))
        return vq_fail(VQ_ERR_FORMAT, "%s: multiplier %d and shift %d, must be 2^30.. or 0, and 1..62", name, w->mult,
                       w->shift);
    return VQ_OK;
}

/* Entry i stands for probabilities above 2^-(end of its bin), so value <= ratio * probability with the largest ratio
 * over all entries but the last; a row's probabilities sum to 1 but for rounding: the exponentials are right to 2^-21
 * each in a sum of at least 1 and the logarithm to 2 units of 2^-16, together below 1 % for 4095 tokens. What lies past
 * the table, or in a last run of equal values, has the last entry's value. Nothing can exceed tokens * the largest
 * value. */
double vq_attention_prob_sum(const uint16_t *prob, int prob_len, int prob_shift, int tokens)
{
    double ratio = 0;
    while (prob_len > 1 && prob[prob_len - 1] == prob[prob_len - 2]) prob_len--;
    for (int i = 0; i + 1 < prob_len; i++)
        if (prob[i]) ratio = VQ_MAX(ratio, prob[i] * exp2(ldexp(i + 1.0, prob_shift - VQ_PROB_BITS)));
    const double by_ratio = 1.01 * ratio + (double)tokens * prob[prob_len - 1];
    return VQ_MIN(by_ratio, (double)tokens * prob[0]);
}

static vq_status prove_prob(const vq_attention_u8_weights *w, const char *name)
{
    bool low = false;
    if (w->prob_len < 1 || w->prob_len > 65536 || w->prob_shift < 0 || w->prob_shift > 30)
        return vq_fail(VQ_ERR_FORMAT, "%s: probability table has %d entries and shift %d, must be 1..65536 and 0..30",
                       name, w->prob_len, w->prob_shift);
    if (w->prob_tables > 1 && w->prob_tables != w->heads)
        return vq_fail(VQ_ERR_FORMAT, "%s: %d probability tables for %d heads", name, w->prob_tables, w->heads);
    for (int i = 0; i < w->prob_len * VQ_MAX(w->prob_tables, 1); i++) {
        if (i % w->prob_len && w->prob[i] > w->prob[i - 1])
            return vq_fail(VQ_ERR_FORMAT, "%s: probability table %d rises at entry %d", name, i / w->prob_len,
                           i % w->prob_len);
        low |= (w->prob[i] & 255) != 0;
    }
    if (low && !w->prob_low) return vq_fail(VQ_ERR_FORMAT, "%s: probability table has low bytes", name);
    return VQ_OK;
}

vq_status vq_prove_attention(const vq_attention_u8_weights *w, const char *name, int tokens)
{
    const int width = w->heads * w->head_dim;
    VQ_TRY(prove_prob(w, name));
    for (int h = 0; h < w->heads; h++) {
        const double bound = w->head_dim * 128.0 * (255.0 + fabs((double)w->q_zero[h]));
        if (bound > limit_s32)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: scores of head %d may reach %.3g, which does not fit 32 bits", name,
                           h, bound);
        if (!is_mult_shift(w->score_mult[h], w->score_shift[h]))
            return vq_fail(VQ_ERR_FORMAT, "%s: head %d has score multiplier %d and shift %d, out of range", name, h,
                           w->score_mult[h], w->score_shift[h]);
    }
    const int entries = (2 * w->windows.window_h - 1) * (2 * w->windows.window_w - 1) * w->heads;
    for (int i = 0; w->bias && i < entries; i++)
        if (w->bias[i] < -VQ_SCORE_BIAS_MAX || w->bias[i] > VQ_SCORE_BIAS_MAX)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: entry %d of the position biases is %d, must be within +-2^26", name,
                           i, w->bias[i]);
    double sum = 0;
    for (int c = 0; c < width; c++) {
        if (c % w->head_dim == 0)
            sum = vq_attention_prob_sum(vq_attention_prob(w, c / w->head_dim), w->prob_len, w->prob_shift, tokens);
        const double bound = sum * (128.0 + fabs((double)w->v_zero[c]));
        if (bound > limit_s32)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: sums of channel %d may reach %.3g, which does not fit 32 bits",
                           name, c, bound);
        if (!is_mult_shift(w->mult[c], w->shift[c]))
            return vq_fail(VQ_ERR_FORMAT, "%s: channel %d has multiplier %d and shift %d, out of range", name, c,
                           w->mult[c], w->shift[c]);
        const double end = requant_bound(bound, w->mult[c], w->shift[c]) + fabs((double)w->zero);
        if (end > limit_s32)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: results of channel %d may reach %.3g, which does not fit 32 bits",
                           name, c, end);
    }
    return VQ_OK;
}
