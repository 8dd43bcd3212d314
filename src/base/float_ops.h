/* The float ops of the FP32 and fake-quant forward and of calibration: parameters shared by src/ops and src/ref.
 *
 * Groups: a quantizer's parameters may differ along a tensor. Element i (row-major) belongs to group
 * (i / inner) % groups:  tensor: groups 1;  last-dim channel: inner 1, groups C;  row of a weight [N][K]: inner K,
 * groups N;  head of [B][T][H*D]: inner D, groups H;  head of [B][H][T][T]: inner T*T, groups H. */
#ifndef VQ_SRC_FLOAT_OPS_H
#define VQ_SRC_FLOAT_OPS_H

#include "base/base.h"

/* C[z] = alpha * A[z] * op(B[z]) + bias + (accumulate ? C[z] : 0); all row-major f32; z = (outer, inner) with
 * offset + outer*stride_outer + inner*stride_inner elements. op(B) = B^T where B is [N][K] (trans_b), else B is [K][N].
 * Rows of C are mapped as row(m) = (m / rows_in) * rows_out + m % rows_in + row_first (m when rows_in is 0), only for
 * batch 1. */
typedef struct vq_gemm_f32_shape {
    int m, n, k;
    int lda, ldb, ldc;
    bool trans_b, accumulate;
    float alpha; /* 0 means 1 */
    int outer, inner; /* 0 means 1 */
    size_t a_offset, b_offset, c_offset;
    size_t a_outer, a_inner, b_outer, b_inner, c_outer, c_inner;
    int rows_in, rows_out, row_first;
} vq_gemm_f32_shape;

typedef struct vq_groups {
    size_t count; /* elements of the tensor, a multiple of inner * groups */
    size_t inner;
    int groups;
} vq_groups;

/* Uniform: k = rint(x / scale) (ties to even, true division); q = clip(k + zero, 0, levels - 1); x^ = (q - zero) * scale.
 * zero need not be an integer (the official RepQ-ViT code has fractional ones); levels = 2^bits.
 * Codebook: q = number of thresholds <= x; x^ = value[q]. */

/* Order statistics wanted of every group, as ranks 0..n-1 of its n elements in ascending order. */
#define VQ_MAX_RANKS 16

/* Candidate uniform quantizers to score: mean over the group of (x - x^)^2. */
#define VQ_MAX_CANDIDATES 16

#endif
