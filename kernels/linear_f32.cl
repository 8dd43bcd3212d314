/* linear_f32 for any device: a work-group of SIDE x SIDE items computes a TILE x TILE block of y, EACH x EACH elements
 * per item, from rows of x and a panel of weights, packed as [panel][k][TILE]. Grid: (panels, row blocks).
 *
 * VQ_P0 SIDE, VQ_P1 EACH. */
#include "vq_local.h"

#define SIDE   VQ_P0
#define EACH   VQ_P1
#define TILE   (SIDE * EACH)
#define K_STEP 16

/* K_STEP columns of TILE rows of x as [k][row], and K_STEP rows of the panel; zero outside. */
VQ_LOCAL_FUNCTION void load_tiles(__local float *x_tile, __local float *w_tile, __global const float *x,
                                  __global const float *panel, int m0, int m, int k0, int k)
{
    const int item = (int)(get_local_id(1) * SIDE + get_local_id(0));
    for (int at = item; at < K_STEP * TILE; at += SIDE * SIDE) {
        const int row = at / K_STEP, kx = at - row * K_STEP, kw = at / TILE;
        const int has_x = m0 + row < m && k0 + kx < k, has_w = k0 + kw < k;
        x_tile[kx * TILE + row] = has_x ? x[(size_t)(m0 + row) * k + k0 + kx] : 0.0f;
        w_tile[at] = has_w ? panel[(size_t)k0 * TILE + at] : 0.0f;
    }
}

/* epilogue: 1 GELU, 2 adds other. */
__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void
linear_f32(__global const float *x, __global const float *w, __global const float *bias, __global const float *other,
           __global float *y, int has_bias, int epilogue, int m, int n, int k, int rows_per_item)
{
    __local float x_tile[K_STEP * TILE], w_tile[K_STEP * TILE];
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int across = (int)get_local_id(0), down = (int)get_local_id(1);
    float sum[EACH][EACH];
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) sum[i][j] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += K_STEP) {
        load_tiles(x_tile, w_tile, x, w + (size_t)n0 * k, m0, m, k0, k);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int kk = 0; kk < K_STEP; kk++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sum[i][j] =
                        fma(x_tile[kk * TILE + down + i * SIDE], w_tile[kk * TILE + across + j * SIDE], sum[i][j]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            const int row = m0 + down + i * SIDE, col = n0 + across + j * SIDE;
            if (row >= m || col >= n) continue;
            const size_t at = (size_t)row * n + col;
            float v = sum[i][j] + (has_bias ? bias[col] : 0.0f);
            if (epilogue == 1) v = 0.5f * v * (1.0f + erf(v * 0.707106781f));
            if (epilogue == 2) v += other[at];
            y[at] = v;
        }
}
