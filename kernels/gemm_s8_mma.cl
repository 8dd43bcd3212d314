/* gemm_s8 for NVIDIA's tensor cores, sm_80 and later, see gemm_s8_mma.h. w [k_pad/4][n_pad][4]. Grid: (column blocks, row
 * blocks).
 *
 * VQ_P0 side of the work-group, 16; VQ_P1 TILE / VQ_P0, 4 or 8. */
#include "gemm_s8_epilogue.h"
#include "gemm_s8_mma.h"

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_s8(GEMM_ARGS)
{
    __local uint a_tiles[2 * A_TILE] __attribute__((aligned(16)));
    __local uint w_tiles[2 * W_TILE] __attribute__((aligned(16)));
#if VQ_MMA == 0
    __local uint scratches[8 * MMA_SCRATCH];
#else
    __local uint *const scratches = a_tiles;
#endif
    const gemm_shape s = GEMM_SHAPE;
    operand o = {a, (__global const uchar *)w, m, k, lda, n_pad};
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int item = (int)(get_local_id(1) * SIDE + get_local_id(0)), warp = item >> 5, lane = item & 31;
    const int blocks = (k + 4 * FOURS - 1) / (4 * FOURS), steps_all = A_PLANES * blocks;
    int acc[A_FRAGS][B_FRAGS][4], sums[A_FRAGS][4];
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++)
        FRAGMENTS
        for (int r = 0; r < 4; r++) {
            sums[i][r] = 0;
            FRAGMENTS
            for (int j = 0; j < B_FRAGS; j++) acc[i][j][r] = 0;
        }
    copy_tiles(a_tiles, w_tiles, &o, m0, n0, 0, item);
    for (int at = 0; at < steps_all; at++) {
        const int then = at + 1, now = at & 1;
        const bool low = A_PLANES == 2 && then >= blocks;
        if (A_PLANES == 2 && at == blocks)
            FRAGMENTS
            for (int i = 0; i < A_FRAGS; i++)
                FRAGMENTS
                for (int r = 0; r < 4; r++) {
                    sums[i][r] *= 256;
                    FRAGMENTS
                    for (int j = 0; j < B_FRAGS; j++) acc[i][j][r] *= 256;
                }
        if (then < steps_all) {
            o.a = low ? a + a_plane : a;
            copy_tiles(a_tiles + (now ^ 1) * A_TILE, w_tiles + (now ^ 1) * W_TILE, &o, m0, n0,
                       (low ? then - blocks : then) * 4 * FOURS, item);
            COPY_WAIT(1);
        } else {
            COPY_WAIT(0);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tiles(acc, sums, W_ZERO, a_tiles + now * A_TILE, w_tiles + now * W_TILE,
                       scratches + warp * MMA_SCRATCH, warp, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++)
        FRAGMENTS
        for (int j = 0; j < B_FRAGS; j++)
            FRAGMENTS
            for (int r = 0; r < 4; r++) {
                const int row = m0 + (warp >> 1) * WARP_ROWS + 16 * i + (lane >> 2) + 8 * (r >> 1);
                const int col = n0 + (warp & 1) * WARP_COLS + 8 * j + 2 * (lane & 3) + (r & 1);
                if (row >= m || col >= n) continue;
                const int zeros = W_ZERO ? consts[FIELD_W_ZERO * n_pad + col] * sums[i][r] : 0;
                put_one(&s, consts, table, c + (size_t)c_row(&s, row) * ldc + col, col,
                        acc[i][j][r] + zeros + consts[FIELD_BIAS * n_pad + col]);
            }
}
