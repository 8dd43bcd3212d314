/* gemm_f32 for any device: a work-group of SIDE x SIDE items computes a TILE x TILE block of C from tiles of A and B in
 * local memory, EACH x EACH elements per item. Grid: (column blocks, row blocks, batch).
 *
 * VQ_P0 SIDE, VQ_P1 EACH. */
#include "vq_local.h"

#define SIDE   VQ_P0
#define EACH   VQ_P1
#define TILE   (SIDE * EACH)
#define K_STEP 16

/* One K_STEP x TILE tile of the operand whose element (i, k) lies at i * stride_i + k * stride_k, as [k][i]; zero
 * outside. */
VQ_LOCAL_FUNCTION void load_tile(__local float *tile, __global const float *x, long stride_i, long stride_k, int i0,
                                 int num_i, int k0, int num_k)
{
    const uint item = (uint)(get_local_id(1) * SIDE + get_local_id(0));
    for (uint at = item; at < K_STEP * TILE; at += SIDE * SIDE) {
        /* neighbouring items take neighbouring addresses */
        const int k = stride_k == 1 ? at % K_STEP : at / TILE, i = stride_k == 1 ? at / K_STEP : at % TILE;
        const int inside = i0 + i < num_i && k0 + k < num_k;
        tile[k * TILE + i] = inside ? x[(i0 + i) * stride_i + (k0 + k) * stride_k] : 0.0f;
    }
}

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void
gemm_f32(__global const float *a, __global const float *b, __global const float *bias, __global float *c, int has_bias,
         int m, int n, int k, int lda, int ldb, int ldc, int trans_a, int trans_b, int accumulate, float alpha, int inner,
         long a_offset, long b_offset, long c_offset, long a_outer, long a_inner, long b_outer, long b_inner,
         long c_outer, long c_inner, int rows_in, int rows_out, int row_first, int rows_per_item)
{
    __local float a_tile[K_STEP * TILE], b_tile[K_STEP * TILE];
    const long z = (long)get_group_id(2), z_outer = (int)z / inner;
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int x = (int)get_local_id(0), y = (int)get_local_id(1);
    float sum[EACH][EACH];
    a += a_offset + z * a_inner + z_outer * (a_outer - inner * a_inner);
    b += b_offset + z * b_inner + z_outer * (b_outer - inner * b_inner);
    c += c_offset + z * c_inner + z_outer * (c_outer - inner * c_inner);
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) sum[i][j] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += K_STEP) {
        load_tile(a_tile, a, trans_a ? 1 : lda, trans_a ? lda : 1, m0, m, k0, k);
        load_tile(b_tile, b, trans_b ? ldb : 1, trans_b ? 1 : ldb, n0, n, k0, k);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int kk = 0; kk < K_STEP; kk++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sum[i][j] = fma(a_tile[kk * TILE + y + i * SIDE], b_tile[kk * TILE + x + j * SIDE], sum[i][j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++) {
        const int row = m0 + y + i * SIDE;
        const int to = rows_in ? row + row / rows_in * (rows_out - rows_in) + row_first : row;
        for (int j = 0; j < EACH; j++) {
            const int col = n0 + x + j * SIDE;
            if (row >= m || col >= n) continue;
            __global float *const out = c + (size_t)to * ldc + col;
            *out = alpha * sum[i][j] + (has_bias ? bias[col] : 0.0f) + (accumulate ? *out : 0.0f);
        }
    }
}
