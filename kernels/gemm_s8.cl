/* gemm_s8 for any device: a work-group of SIDE x SIDE items computes a TILE x TILE block of C from tiles of A and W in
 * local memory, EACH x EACH sums per item. Codes and weights travel in fours, one uint each.
 * w [k_pad/4][n_pad][4]; with W_PACKED [k_pad/8][n_pad][4], lower halves of bytes first. Grid: (column blocks, row blocks).
 *
 * VQ_P0 SIDE, VQ_P1 EACH, VQ_P2 1: can unpack. */
#include "gemm_s8_epilogue.h"
#include "vq_local.h"

#define SIDE   VQ_P0
#define EACH   VQ_P1
#define TILE   (SIDE * EACH)
#define K_STEP 8 /* fours */

static int dot4(uint a, uint w, int acc)
{
    const uchar4 x = as_uchar4(a);
    const char4 y = as_char4(w);
    return acc + x.s0 * y.s0 + x.s1 * y.s1 + x.s2 * y.s2 + x.s3 * y.s3;
}

static uint load_weights(__global const uint *w, __global const int *consts, const gemm_shape *s, int four, int col)
{
#if W_PACKED
    return unpack_four(w[(size_t)(four / 2) * s->n_pad + col], four & 1, (uint)consts[FIELD_W_LOW * s->n_pad + col]);
#else
    return w[(size_t)four * s->n_pad + col];
#endif
}

/* [k][row] and [k][column]; zeros beyond the last four. Rows beyond m repeat the last one and are not stored. */
VQ_LOCAL_FUNCTION void load_tiles(__local uint *a_tile, __local uint *w_tile, __global const uchar *a,
                                  __global const char *w, __global const int *consts, const gemm_shape *s, int m0,
                                  int n0, int k0)
{
    const int fours = (s->k + 3) / 4;
    for (uint at = (uint)(get_local_id(1) * SIDE + get_local_id(0)); at < K_STEP * TILE; at += SIDE * SIDE) {
        const int ka = (int)(at % K_STEP), i = (int)(at / K_STEP), kw = (int)(at / TILE), j = (int)(at % TILE);
        __global const uint *const row = (__global const uint *)(a + (size_t)min(m0 + i, s->m - 1) * s->lda);
        a_tile[ka * TILE + i] = k0 + ka < fours ? row[k0 + ka] : 0;
        w_tile[kw * TILE + j] =
            k0 + kw < fours ? load_weights((__global const uint *)w, consts, s, k0 + kw, n0 + j) : 0;
    }
}

/* The codes of a four that lie before k: what follows them in a row may be anything. */
static uint known(uint four, int left)
{
    return left >= 4 ? four : left <= 0 ? 0 : four & ((1u << (8 * left)) - 1);
}

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_s8(GEMM_ARGS)
{
    __local uint a_tile[K_STEP * TILE], w_tile[K_STEP * TILE];
    const gemm_shape s = GEMM_SHAPE;
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int x = (int)get_local_id(0), y = (int)get_local_id(1), blocks = (k + 4 * K_STEP - 1) / (4 * K_STEP);
    int acc[EACH][EACH], sums[EACH];
    for (int i = 0; i < EACH; i++) {
        sums[i] = 0;
        for (int j = 0; j < EACH; j++) acc[i][j] = 0;
    }
    for (int at = 0; at < A_PLANES * blocks; at++) {
        const bool low = A_PLANES == 2 && at >= blocks;
        const int k0 = (low ? at - blocks : at) * K_STEP;
        if (A_PLANES == 2 && at == blocks)
            for (int i = 0; i < EACH; i++) {
                sums[i] *= 256;
                for (int j = 0; j < EACH; j++) acc[i][j] *= 256;
            }
        load_tiles(a_tile, w_tile, low ? a + a_plane : a, w, consts, &s, m0, n0, k0);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int kk = 0; kk < K_STEP; kk++)
            for (int i = 0; i < EACH; i++) {
                const uint four = a_tile[kk * TILE + y + i * SIDE];
                if (W_ZERO) sums[i] = dot4(known(four, k - 4 * (k0 + kk)), 0x01010101u, sums[i]);
                for (int j = 0; j < EACH; j++) acc[i][j] = dot4(four, w_tile[kk * TILE + x + j * SIDE], acc[i][j]);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++) {
        const int row = m0 + y + i * SIDE;
        for (int j = 0; j < EACH; j++) {
            const int col = n0 + x + j * SIDE;
            if (row >= m || col >= n) continue;
            const int zeros = W_ZERO ? consts[FIELD_W_ZERO * n_pad + col] * sums[i] : 0;
            put_one(&s, consts, table, c + (size_t)c_row(&s, row) * ldc + col, col,
                    acc[i][j] + zeros + consts[FIELD_BIAS * n_pad + col]);
        }
    }
}
