/* The float ops of the FP32 and fake-quant forward and of calibration: parameters shared by src/ops and src/ref.
 *
 * Groups: a quantizer's parameters may differ along a tensor. Element i (row-major) belongs to group
 * (i / inner) % groups:  tensor: groups 1;  last-dim channel: inner 1, groups C;  row of a weight [N][K]: inner K,
 * groups N;  head of [B][T][H*D]: inner D, groups H;  head of [B][H][T][T]: inner T*T, groups H. */
#ifndef VQ_SRC_FLOAT_OPS_H
#define VQ_SRC_FLOAT_OPS_H

#include "base/base.h"

/* C[z] = alpha * op(A[z]) * op(B[z]) + bias + (accumulate ? C[z] : 0); all row-major f32; z = (outer, inner) with
 * offset + outer*stride_outer + inner*stride_inner elements. op(B) = B^T where B is [N][K] (trans_b), else B is [K][N];
 * op(A) = A^T where A is [K][M] (trans_a), else A is [M][K].
 * Rows of C are mapped as row(m) = (m / rows_in) * rows_out + m % rows_in + row_first (m when rows_in is 0), only for
 * batch 1. */
typedef struct vq_gemm_f32_shape {
    int m, n, k;
    int lda, ldb, ldc;
    bool trans_a, trans_b, accumulate;
    float alpha;      /* 0 means 1 */
    int outer, inner; /* 0 means 1 */
    size_t a_offset, b_offset, c_offset;
    size_t a_outer, a_inner, b_outer, b_inner, c_outer, c_inner;
    int rows_in, rows_out, row_first;
} vq_gemm_f32_shape;

/* What follows the product of a linear layer, x w' + bias. */
typedef enum vq_linear_epilogue { VQ_LINEAR_PLAIN, VQ_LINEAR_GELU, VQ_LINEAR_ADD } vq_linear_epilogue;

typedef struct vq_groups {
    size_t count; /* elements of the tensor, a multiple of inner * groups */
    size_t inner;
    int groups;
} vq_groups;

/* Uniform: k = rint(x / scale) (ties to even, true division); q = clip(k + zero, 0, levels - 1); x^ = (q - zero) *
 * scale. zero need not be an integer (the official RepQ-ViT code has fractional ones); levels = 2^bits. Codebook: q =
 * number of thresholds <= x; x^ = value[q]. */

/* Order statistics wanted of every group, as ranks 0..n-1 of its n elements in ascending order. */
#define VQ_MAX_RANKS 16

/* Candidate uniform quantizers to score: mean over the group of (x - x^)^2. */
#define VQ_MAX_CANDIDATES 16

/* ---- output_error: squared error of a layer's output for candidate quantizers of its input ------------------------
 *
 *   error[j] = mean over batch, scored rows m and columns n of
 *              ( y[b][m][n] - bias[n] - sum_k a_j(x[b][m][k]) * w^[b][n][k] )^2
 *
 * a_j is candidate j (struct vq_candidates). w^ is either float, or integer times a scale per output channel:
 * w^ = scale[n] * (w[n][k] + w_zero[n]), as gemm_s8 has it (base/int_ops.h). Batch b = (outer, inner) of x starts at
 * x_offset + outer * x_outer + inner * x_inner elements, its rows ldx apart, so that one head of a [B][T][H*D] tensor
 * can be addressed in place; y alike. Only rows 0, row_step, 2 * row_step, ... are scored. */
typedef struct vq_output_error_shape {
    int m, row_step; /* row_step 0 means 1 */
    int ldx, ldy;
    int outer, inner; /* 0 means 1 */
    size_t x_offset, x_outer, x_inner, y_offset, y_outer, y_inner;
} vq_output_error_shape;

/* Host view of integer weights. `batches` is 1 (0 means that) for weights that all batches share, else outer * inner.
 */
typedef struct vq_output_error_s8 {
    int n, k, batches;
    int a_max;             /* largest code, or byte of a decode value, of any candidate to come: 1..255 */
    int w_abs_max;         /* largest |w|, <= 128 */
    const int8_t *w;       /* [batches][n][k] */
    const int32_t *w_zero; /* [batches][n]; NULL: zeros. |w_zero| <= 32767 */
    const float *scale;    /* [batches][n] */
} vq_output_error_s8;

/* Float weights on the device: element (n, k) of batch (outer, inner) lies at
 * offset + outer * stride_outer + inner * stride_inner + (k_major ? k * ld + n : n * ld + k). outer and inner are 1 (0
 * means that) for weights that all batches share, else those of the run. */
typedef struct vq_output_error_f32 {
    int n, k, ld;
    bool k_major; /* stored [K][N]: V in probabilities times V */
    int outer, inner;
    size_t offset, stride_outer, stride_inner;
} vq_output_error_f32;

/* num quantizers of `levels` levels (2..256), host arrays.
 * Uniform, thresholds NULL: q = clip(rint(x / scale[j]) + zero[j], 0, levels - 1), a = (q - zero[j]) * scale[j]; zero
 * must be integral for integer weights. Codebook: q = number of thresholds[j][..levels-1] (ascending) that are <= x, a
 * = (values[j][q] - zero[j]) * scale[j], zero integral in 0..65535. Values are 16 bits: integer products take their two
 * bytes apart, and one of them where the other is zero throughout.
 * cosine: instead of the mean squared error
 *   error[j] = 1 - (t . p) / (|t| |p|), t = y - bias and p the product, both of all batches, scored rows and columns as one
 * vector; 1 where one of them is zero. */
typedef struct vq_candidates {
    int num, levels;
    bool cosine;
    const float *scale, *zero; /* [num] */
    const float *thresholds;   /* [num][levels - 1] */
    const uint16_t *values;    /* [num][levels] */
} vq_candidates;

#endif
