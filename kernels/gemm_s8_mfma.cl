/* gemm_s8 for AMD's matrix cores of gfx908 and gfx90a, see gemm_s8_mfma.h. w [k_pad/4][n_pad][4]. Grid: (column blocks, row
 * blocks).
 *
 * VQ_P0 side of the work-group, 16; VQ_P1 TILE / VQ_P0, 4 or 8, or 2 where MFMA_SIDE is 16. */
#include "gemm_s8_epilogue.h"
#include "gemm_s8_mfma.h"

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_s8(GEMM_ARGS)
{
    __local uint a_tile[FOURS * PITCH], w_tile[FOURS * PITCH];
#if VQ_MMA == 0
    __local uint scratches[4 * MFMA_SCRATCH];
#else
    __local uint *const scratches = a_tile;
#endif
    const gemm_shape s = GEMM_SHAPE;
    operand o = {a, (__global const uchar *)w, m, k, lda, n_pad};
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int item = (int)(get_local_id(1) * SIDE + get_local_id(0)), wave = item >> 6, lane = item & 63;
    const int blocks = (k + 4 * FOURS - 1) / (4 * FOURS);
    mfma_sums acc[FRAGS][FRAGS];
    moving next;
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) next.row_sums[i] = 0;
    next.col_sum = 0;
    FRAGMENTS
    for (int i = 0; i < FRAGS; i++)
        FRAGMENTS
        for (int j = 0; j < FRAGS; j++)
            FRAGMENTS
            for (int r = 0; r < MFMA_SUMS; r++) MFMA_AT(acc[i][j], r) = 0;
    fetch(&next, &o, m0, n0, 0, item);
    for (int at = 0; at < A_PLANES * blocks; at++) {
        const int then = at + 1;
        const bool low = A_PLANES == 2 && then >= blocks;
        if (A_PLANES == 2 && at == blocks) {
            FRAGMENTS
            for (int i = 0; i < LOADS; i++) next.row_sums[i] *= 256;
            next.col_sum *= 256;
            FRAGMENTS
            for (int i = 0; i < FRAGS; i++)
                FRAGMENTS
                for (int j = 0; j < FRAGS; j++)
                    FRAGMENTS
                    for (int r = 0; r < MFMA_SUMS; r++) MFMA_AT(acc[i][j], r) *= 256;
        }
        store_tiles(a_tile, w_tile, &next, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (then < A_PLANES * blocks) {
            o.a = low ? a + a_plane : a;
            fetch(&next, &o, m0, n0, (low ? then - blocks : then) * FOURS, item);
        }
        multiply_tiles(acc, a_tile, w_tile, scratches + wave * MFMA_SCRATCH, wave, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    share_sums(a_tile, w_tile, &next, item);
    FRAGMENTS
    for (int j = 0; j < FRAGS; j++) {
        const int in_tile = (wave & 1) * HALF + MFMA_SIDE * j + lane % MFMA_SIDE, col = n0 + in_tile;
        const int offset = 128 * sum_of_column(w_tile, in_tile);
        FRAGMENTS
        for (int i = 0; i < FRAGS; i++)
            FRAGMENTS
            for (int r = 0; r < MFMA_SUMS; r++) {
                const int row = (wave >> 1) * HALF + MFMA_SIDE * i + MFMA_ROW(r, lane);
                if (m0 + row >= m || col >= n) continue;
                const int zeros = W_ZERO ? consts[FIELD_W_ZERO * n_pad + col] * sum_of_row(a_tile, row) : 0;
                put_one(&s, consts, table, c + (size_t)c_row(&s, m0 + row) * ldc + col, col,
                        MFMA_AT(acc[i][j], r) + offset + zeros + consts[FIELD_BIAS * n_pad + col]);
            }
    }
}
