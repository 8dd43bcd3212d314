/* gemm_s8 for NVIDIA's tensor cores, sm_80 and later, see gemm_s8_mma.h. w [k_pad/4][n_pad][4]. With W_PACKED
 * [k_pad/8][n_pad][4], lower halves of bytes first, and codes of at most 4 bits. Grid: (column blocks, row blocks).
 *
 * VQ_P0 side of the work-group, 16; VQ_P1 TILE / VQ_P0, 4 or 8; VQ_P2 2: multiplies packed weights by such codes. */
#include "gemm_s8_epilogue.h"
#include "gemm_s8_mma.h"

#define SUMS (W_ZERO || W_PACKED)

#if W_PACKED && A_PLANES != 1
#error "codes of 4 bits have one plane"
#endif

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
    const int blocks = (k + STEP - 1) / STEP, steps_all = A_PLANES * blocks;
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
    copy_tiles(&next, a_tiles, w_tiles, &o, m0, n0, 0, item);
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
        store_codes(a_tiles + now * A_TILE, &next, item);
        if (then < steps_all) {
            o.a = low ? a + a_plane : a;
            copy_tiles(&next, a_tiles + (now ^ 1) * A_TILE, w_tiles + (now ^ 1) * W_TILE, &o, m0, n0,
                       (low ? then - blocks : then) * STEP, item);
            COPY_WAIT(1);
        } else {
            COPY_WAIT(0);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tiles(acc, sums, SUMS, a_tiles + now * A_TILE, w_tiles + now * W_TILE,
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
                const int low = W_PACKED ? (char)consts[FIELD_W_LOW * n_pad + col] : 0; /* of its equal bytes */
                const int zero = (W_ZERO ? consts[FIELD_W_ZERO * n_pad + col] : 0) + low;
                const int zeros = SUMS ? zero * sums[i][r] : 0;
                put_one(&s, consts, table, c + (size_t)c_row(&s, row) * ldc + col, col,
                        (acc[i][j][r] << (W_PACKED ? W_SHIFT : 0)) + zeros + consts[FIELD_BIAS * n_pad + col]);
            }
}
