/* The integer ops: what each computes and its parameters. src/ops runs them on a device (ops/ops_int.h), src/ref in
 * plain C (ref/ref_int.h), src/quant computes the parameters. Integer kernels are exact: device and witness agree bit
 * for bit, for every variant, batch and work-group size.
 *
 * Shape letters: B images, P patches, T tokens, C channels, H heads, D head width, M N K of a product.
 *
 * Requantization, the one rounding rule of the project (kernels/vq_int.h; witness in src/ref/ref_int.c):
 *     requant(x, mult, shift) = saturate_s32( (x * mult + 2^(shift-1)) >> shift )     (ties towards +infinity)
 * with x s32, the product in s64, mult in [2^30, 2^31) or 0, shift in [1, 62], >> arithmetic. 2^(shift-1) <= 2^61 and
 * |x*mult| < 2^62, so the sum fits s64. */
#ifndef VQ_SRC_INT_OPS_H
#define VQ_SRC_INT_OPS_H

#include "base/windows.h"

#define VQ_RESIDUAL_BITS 16 /* fraction bits of the s32 residual stream and of the logits */
#define VQ_PROB_BITS     16 /* fraction bits of scores and of -log2(probability), in octaves */
#define VQ_CODE_PITCH    16 /* rows of codes start at multiples of this many elements */

/* ---- gemm_s8: product of u8 codes with s8 weights, and what follows it ------------------------------------------
 *
 *   acc[m][n] = sum_k a[m][k] * w[n][k]  (+ w_zero[n] * sum_k a[m][k], where w_zero is given)  + bias[n]   in s32
 *
 * a[m][k] is a u8 code or, with two planes, the u16 decode value 256 * high + low of a codebook's code: a row of A then
 * holds k high bytes from column 0 and k low bytes from column a_plane_pitch. Two planes cost two products with the
 * same weights.
 *
 * w holds (weight code - zero point), or a small power of two times that at few bits, whenever all of them fit s8, and
 * then w_zero is absent; else w holds code - 128 and
 * w_zero[n] = 128 - zero[n]. bias holds the real bias and the correction for the activations' zero point. The lowering
 * (src/quant/lower.c) proves |acc| < 2^31 from the code ranges. Then, by epilogue:
 *   CODES  c[m][n] = clip(requant(acc, mult[n], shift[n]) + zero[n], 0, 2^bits - 1)                          u8
 *   TABLE  i = clip(requant(acc, mult[n], shift[n]) + zero[n], 0, table_len - 1);  c[m][n] = table[i]        u8
 *          and, where table_low is given, c[m][c_plane_pitch + n] = table_low[i]: the two planes of a next product's A
 *   ADD    c[row(m)][n] = saturate(c[row(m)][n] + requant(acc, mult[n], shift[n]))                            s32
 *   SET    c[row(m)][n] = requant(acc, mult[n], shift[n])                                                    s32
 * row(m) = (m / rows_in) * rows_out + m % rows_in + row_first, or m when rows_in is 0. */
typedef enum vq_gemm_epilogue { VQ_GEMM_CODES, VQ_GEMM_TABLE, VQ_GEMM_ADD, VQ_GEMM_SET } vq_gemm_epilogue;

/* Host view of one layer's constants; every array has n entries unless said. */
typedef struct vq_gemm_s8_weights {
    int n, k;
    int a_planes;          /* 1 or 2; 0 counts as 1 */
    int a_max;             /* largest a: with one plane 2^bits - 1 <= 255, with two <= 65535 */
    int w_abs_max;         /* largest |w|, <= 128: with a_max and k the bound that licenses 16-bit accumulation */
    int a_zero;            /* the code that most lie near, 0..255, as that of 0 is; -1: there is none. Kernels may take longer
                              the more lie elsewhere; sums do not depend on it, and with two planes it does not count */
    const int8_t *w;       /* [n][k] dense */
    const int32_t *w_zero; /* NULL: not needed; |w_zero| <= 32767 */
    const int32_t *bias, *mult, *zero;
    const uint8_t *shift;
    vq_gemm_epilogue epilogue;
    int bits;                 /* CODES */
    const uint8_t *table;     /* TABLE: [table_len] */
    const uint8_t *table_low; /* TABLE: low bytes beside table's high ones, same length; NULL: one plane */
    int table_len;            /* 2..65536 */
} vq_gemm_s8_weights;

/* Largest byte of A that enters a product: a_max, or 255 where a has two. */
static inline int vq_gemm_byte_max(const vq_gemm_s8_weights *w)
{
    return w->a_planes > 1 ? 255 : w->a_max;
}

/* Largest size that the sum of output channel n, 0 <= n < w->n, or any part of it can have, whatever the codes 0..a_max
 * and the order of summation: every partial sum of a*w lies in [-a_max * negative, a_max * positive], so its size is
 * below the larger of both; w_zero * sum(a) and the bias may come before or after it. With two planes that holds as
 * well while the low bytes of some or all a are still to come: 256 * high <= a. Needs w, w_zero, bias, a_max, n, k. */
double vq_gemm_row_bound(const vq_gemm_s8_weights *w, int n);

/* ---- layernorm_s32: residual stream to codes ----------------------------------------------------------------------
 * x[m][c] s32 with VQ_RESIDUAL_BITS fraction bits; rows start ldx elements apart. With merge, the C channels of a row
 * are the C/4 of each of four rows of x, 2 x 2 neighbours of the grid [merge_h][merge_w] of its image (vq_merge_map),
 * zeros beyond the grid; m then counts the merged rows. mean = floor((2*sum_c x + C) / (2*C))          floor division,
 * sum in s64                      s32 d    = clip(x - mean, -2^26 + 1, 2^26 - 1)      +-1024 in real units; difference
 * in s64 V    = sum_c d^2 + C * eps                      u64, < 2^64 for C <= 4095; V >= 1 since eps >= 1 s    = the
 * even number with 2^62 <= V * 2^s < 2^64 R    = isqrt(V << s)                            u32 in [2^31, 2^32) root =
 * isqrt(C << 46)                           sqrt(C) * 2^23 < 2^29 G    = floor((root << 33) / R)                  < 2^31
 *   y    = (d * G + 2^(h-1)) >> h,  h = 40 - s/2    d / sqrt(V/C) with 16 fraction bits, h in [9, 40]; |y| < 2^23
 *   out  = (y * mult[c] + bias[c] + 2^(shift[c]-1)) >> shift[c]                            in s64, then
 *   CODES u8, clipped to 0..2^bits - 1; or, with `set`, s32, saturated: the normalized row with VQ_RESIDUAL_BITS
 *   fraction bits, where it is no linear layer that reads it.
 * bias is the real offset (beta/scale + zero) * 2^shift. The error of y is below 2^-15 * max(1, 1 / the row's
 * deviation). */
typedef struct vq_layernorm_s32_weights {
    int c;                /* 1..4095 */
    uint64_t eps;         /* eps * 2^32, rounded, at least 1 and below 2^32 */
    const int32_t *mult;  /* [c] signed: gamma may be negative; |mult| < 2^31 */
    const uint8_t *shift; /* [c] 1..62 */
    const int64_t *bias;  /* [c] |bias| < 2^61 */
    int bits;             /* of the codes; not looked at with set */
    bool set;             /* s32 results instead of codes */
    int merge_h, merge_w; /* 0: rows as they are; else c is a multiple of 4 */
} vq_layernorm_s32_weights;

/* ---- attention_u8: softmax(Q K^T) V for all heads, from codes to codes --------------------------------------------
 * qkv   u8 [B][T][ld_qkv]; head h of image b reads q at column h*D, k at C + h*D, v at 2C + h*D, C = H*D
 * out   u8 [B][T][ld_out], head h writes columns h*D .. h*D+D-1
 * Let k' = k - 128, v' = v - 128 (s8).
 *   s[i][j] = sum_d q[i][d]*k'[j][d] - q_zero[h] * sum_d k'[j][d]          terms constant along a row are dropped
 *   y[i][j] = clip(requant(s, score_mult[h], score_shift[h]), -2^30, 2^30)   octaves, VQ_PROB_BITS fraction bits
 *   t[i][j] = max_j y - y[i][j]                                            0 <= t <= 2^31, s32 (2^31 saturates)
 *   E[i][j] = exp2_neg(t)                                                  2^-t, 20 fraction bits (below); u32
 *   S[i]    = sum_j E[i][j]                                                T <= 4095: fits u32
 *   u[i][j] = max(0, t + log2_q16(S))                                      -log2(probability), 16 fraction bits; s64
 * sum p[i][j] = prob[h][ min(u >> prob_shift, prob_len - 1) ]                u16: decode value of the quantizer's code
 *   a[i][d] = sum_j p[i][j] * v'[j][d] + v_zero[h*D+d] * sum_j p[i][j]     s32, v_zero = 128 - zero; proved to fit
 *   out     = clip(requant(a, mult[c], shift[c]) + zero, 0, 2^bits - 1)
 * Within windows (windows.height > 0) T is the tokens of a window, and each of its tokens is a row of the raster
 * [height * width] of its image or padding (vq_windows_map); padding is the codes `pad`, and its own outputs are
 * nowhere. Then y[i][j] = clip(y[i][j] + bias[relative(i, j)][h] + (region(i) != region(j) ? mask : 0), -2^30, 2^30)
 * comes behind the clipping above: |bias| and |mask| <= 2^26, so the sum fits s32.
 * exp2_neg(t): k = t >> 16; 0 when k > 20; f = t & 0xffff; g = min((0x10000 - f) << 16, 0xffffffff) as u32;
 *   p = 14532198; p = 55846889 + mulhi(p, g); p = 259247181 + mulhi(p, g); p = 744107202 + mulhi(p, g);
 *   p = 1073744609 + mulhi(p, g);   mulhi(a, b) = (a * b) >> 32 in u64;   2^(1-f) with 30 fraction bits, off by < 3e-6
 *   result ((p >> 1) + 2^(9+k)) >> (10+k)
 * log2_q16(S), S >= 1: e = 31 - clz(S); m = S << (31 - e); then 16 times: m = (u64)m * m >> 31, bit = m >= 2^32, m >>=
 * bit collecting the bits, highest first;   result (e - 20) * 2^16 + bits: floor of log2(S / 2^20) with 16 fraction
 * bits (the truncated squarings leave it at most 1 unit low) A table prob[h] is quantizer and decoding in one: a
 * monotone non-increasing step function of u with at most 2^bits distinct values; heads have one each (prob_tables ==
 * heads) or share one. Where every value's low byte in all of them is 0 (prob_low == false), one u8 x s8 product on the
 * high bytes is enough and a variant may use it; else two. A last value of 0 is an exact zero: what it covers adds
 * nothing to a. */
typedef struct vq_attention_u8_weights {
    int heads, head_dim;
    const int32_t *q_zero;      /* [heads] */
    const int32_t *score_mult;  /* [heads] */
    const uint8_t *score_shift; /* [heads] */
    const uint16_t *prob;       /* [prob_tables][prob_len] */
    int prob_tables;            /* 1 or heads; 0 counts as 1 */
    int prob_len, prob_shift;   /* prob_len <= 65536 */
    bool prob_low;
    const int32_t *v_zero; /* [C] */
    const int32_t *mult;   /* [C] */
    const uint8_t *shift;  /* [C] */
    int zero, bits;
    int qkv_bits;        /* 1..8, of the codes of q, k and v; 0: 8 */
    vq_windows windows;  /* height == 0: none, every image is one attention */
    const int32_t *bias; /* [(2 window_h - 1) * (2 window_w - 1)][heads] in units of y */
    int32_t mask;        /* in units of y */
    const uint8_t *pad;  /* [3C] codes of q, k and v; NULL where no window is padded */
} vq_attention_u8_weights;

enum { VQ_SCORE_BIAS_MAX = 1 << 26 };

/* The table of head h. */
static inline const uint16_t *vq_attention_prob(const vq_attention_u8_weights *w, int h)
{
    return w->prob + (w->prob_tables > 1 ? (size_t)h * (size_t)w->prob_len : 0);
}

/* ---- patchify_u8: images to rows of patches -----------------------------------------------------------------------
 * image u8 [B][height][width][chans]; out u8 [B*P][ld_out]: row (b, py, px) holds patch pixels in the order [c][y][x]
 * (that of a convolution weight [N][c][y][x]); columns chans*patch*patch .. ld_out-1 are zero. */
typedef struct vq_patchify_shape {
    int batch, height, width, chans, patch; /* height and width are multiples of patch */
} vq_patchify_shape;

/* ---- pool_s32: means of rows --------------------------------------------------------------------------------------
 * x s32 [B][rows][C]; part p < parts takes the n = count[p] rows from first[p] on:
 *   mean = floor((2 * sum_r x[first + r][c] + n) / (2 * n))         floor division, sum in s64          s32
 * and makes columns p*C .. p*C + C-1 of the image's one row of out:
 *   SET   mean                                                       s32
 *   CODES clip(requant(mean, mult, shift) + zero, 0, 2^bits - 1)     u8
 * One row is passed on as it is: a mean of one. */
typedef struct vq_pool_s32_weights {
    int rows, c, parts;     /* parts 1 or 2 */
    int first[2], count[2]; /* count 1..4095 */
    bool set;               /* SET; else CODES with what follows */
    int32_t mult, zero;
    int shift, bits;
} vq_pool_s32_weights;

/* ---- tokens_s32: start of the residual stream ---------------------------------------------------------------------
 * out s32 [B][count]: every image gets the same init[count], the position embedding plus class token. */

#endif
