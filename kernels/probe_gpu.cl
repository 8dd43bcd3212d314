/* Known-answer kernel of the GPU's ways to multiply: C [64][64] += A u8 [64][64] * W s8 [16][64][4] (k by fours), by the macros
 * that the kernels use. A row that needs a capability runs only where this gave the answer of plain C. */
#define SIZE 64

#ifdef PROBE_MMA /* with VQ_P0 16 and VQ_P1 4: one tile, two steps of its loop; W_PACKED: one, of codes of 4 bits, w [8][64][4] */
#include "gemm_s8_mma.h"

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void probe(__global const uchar *a, __global const uchar *w,
                                                                     __global int *c)
{
    __local uint a_tiles[2 * A_TILE] __attribute__((aligned(16)));
    __local uint w_tiles[2 * W_TILE] __attribute__((aligned(16)));
    __local uint scratches[8 * MMA_SCRATCH];
    const operand o = {a, w, SIZE, SIZE, SIZE, SIZE};
    const int item = (int)(get_local_id(1) * 16 + get_local_id(0)), warp = item >> 5, lane = item & 31;
    int acc[A_FRAGS][B_FRAGS][4], sums[A_FRAGS][4];
    moving next;
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++)
        FRAGMENTS
        for (int r = 0; r < 4; r++) {
            sums[i][r] = 0;
            FRAGMENTS
            for (int j = 0; j < B_FRAGS; j++) acc[i][j][r] = 0;
        }
    copy_tiles(&next, a_tiles, w_tiles, &o, 0, 0, 0, item);
    for (int step = 0; step < SIZE / STEP; step++) {
        store_codes(a_tiles + step * A_TILE, &next, item);
        if (step + 1 < SIZE / STEP) {
            copy_tiles(&next, a_tiles + A_TILE, w_tiles + W_TILE, &o, 0, 0, STEP, item);
            COPY_WAIT(1);
        } else {
            COPY_WAIT(0);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tiles(acc, sums, true, a_tiles + step * A_TILE, w_tiles + step * W_TILE, scratches + warp * MMA_SCRATCH,
                       warp, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++)
        FRAGMENTS
        for (int j = 0; j < B_FRAGS; j++)
            FRAGMENTS
            for (int r = 0; r < 4; r++) {
                const int row = (warp >> 1) * WARP_ROWS + 16 * i + (lane >> 2) + 8 * (r >> 1);
                const int col = (warp & 1) * WARP_COLS + 8 * j + 2 * (lane & 3) + (r & 1);
                int sum = 0;
                for (int k = 0; k < SIZE; k++) sum += a[row * SIZE + k];
                c[row * SIZE + col] += acc[i][j][r] + sum - sums[i][r]; /* what the fragment of ones says, too */
            }
}

#elif defined(PROBE_MFMA) /* likewise */
#include "gemm_s8_mfma.h"

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void probe(__global const uchar *a, __global const uchar *w,
                                                                     __global int *c)
{
    __local uint a_tile[FOURS * PITCH], w_tile[FOURS * PITCH], scratches[4 * MFMA_SCRATCH];
    const operand o = {a, w, SIZE, SIZE, SIZE, SIZE};
    const int item = (int)(get_local_id(1) * 16 + get_local_id(0)), wave = item >> 6, lane = item & 63;
    mfma_sums acc[FRAGS][FRAGS];
    moving next;
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) next.row_sums[i] = 0;
    next.col_sum = 0;
    FRAGMENTS
    for (int f = 0; f < FRAGS * FRAGS; f++)
        FRAGMENTS
        for (int r = 0; r < MFMA_SUMS; r++) MFMA_AT(acc[f / FRAGS][f % FRAGS], r) = 0;
    for (int step = 0; step < 2; step++) {
        fetch(&next, &o, 0, 0, step * FOURS, item);
        store_tiles(a_tile, w_tile, &next, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tiles(acc, a_tile, w_tile, scratches + wave * MFMA_SCRATCH, wave, lane);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    share_sums(a_tile, w_tile, &next, item);
    FRAGMENTS
    for (int f = 0; f < FRAGS * FRAGS; f++)
        FRAGMENTS
        for (int r = 0; r < MFMA_SUMS; r++) {
            const int row = (wave >> 1) * HALF + MFMA_SIDE * (f / FRAGS) + MFMA_ROW(r, lane);
            const int col = (wave & 1) * HALF + MFMA_SIDE * (f % FRAGS) + lane % MFMA_SIDE;
            const int product = MFMA_AT(acc[f / FRAGS][f % FRAGS], r);
            int sum = 0;
            for (int k = 0; k < SIZE; k++) sum += a[row * SIZE + k];
            c[row * SIZE + col] += product + 128 * sum_of_column(w_tile, col) + sum - sum_of_row(a_tile, row);
        }
}

#else
#include "vq_dot.h"

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void probe(__global const uint *a, __global const uint *w,
                                                                     __global int *c)
{
    for (int row = (int)get_local_id(1); row < SIZE; row += 16)
        for (int col = (int)get_local_id(0); col < SIZE; col += 16) {
            int acc = c[row * SIZE + col], sum = 0;
            for (int k = 0; k < SIZE / 4; k++) {
                acc = DOT4(acc, a[row * (SIZE / 4) + k], FLIP4(w[k * SIZE + col]));
                sum = DOT4(sum, a[row * (SIZE / 4) + k], 0x01010101u);
            }
            c[row * SIZE + col] = acc - DOT4_BIAS * sum;
        }
}
#endif
