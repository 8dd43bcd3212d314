/* What CLBlast's SGEMM lacks: C starts as the bias, to which the product is then added.
 * Grid: (rows * n / VQ_P0). */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void gemm_f32_bias(__global const float *bias,
                                                                               __global float *c, long c_offset, int m,
                                                                               int n, int ldc, int accumulate,
                                                                               int rows_in, int rows_out, int row_first)
{
    const int at = (int)get_global_id(0), row = at / n, col = at - row * n;
    const int to = rows_in ? row + row / rows_in * (rows_out - rows_in) + row_first : row;
    if (row >= m) return;
    __global float *const out = c + c_offset + (size_t)to * ldc + col;
    *out = bias[col] + (accumulate ? *out : 0.0f);
}
