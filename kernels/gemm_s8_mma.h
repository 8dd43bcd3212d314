/* The loop of gemm_s8_mma.cl, which the probe runs too: a work-group of 8 warps multiplies TILE rows of codes by TILE columns
 * of weights, each warp WARP_ROWS x WARP_COLS, from two buffers in local memory: one is filled while the other is read. */
#include "vq_mma.h"

#define SIDE      VQ_P0
#define TILE      (VQ_P0 * VQ_P1)
#define ITEMS     256
#define WARP_ROWS (TILE / 4)
#define WARP_COLS (TILE / 2)
#define A_FRAGS   (WARP_ROWS / 16)
#define B_FRAGS   (WARP_COLS / 8)
#define FOURS     8             /* of k in a step: one mma */
#define A_PITCH   (FOURS + 4)   /* uints: the rows of a matrix that ldmatrix reads lie in different banks */
#define W_PITCH   (TILE + 8)    /* so do the lanes of a fragment of weights */
#define A_TILE    (TILE * A_PITCH)
#define W_TILE    (FOURS * W_PITCH)

#if SIDE * SIDE != ITEMS || WARP_ROWS % 16
#error "8 warps of whole fragments"
#endif

typedef struct operand {
    __global const uchar *a; /* [rows][lda] */
    __global const uchar *w; /* [k/4][n_pad][4] */
    int rows, k, lda, n_pad;
} operand;

/* Codes from k on become 0, and weights from the last four on. Rows beyond the last one repeat it. */
VQ_LOCAL_FUNCTION void copy_tiles(__local uint *a_tile, __local uint *w_tile, const operand *o, int m0, int n0, int k0,
                                  int item)
{
    const int fours = (o->k + 3) / 4;
    FRAGMENTS
    for (int at = item; at < TILE * FOURS / 4; at += ITEMS) {
        const int i = at >> 1, ka = k0 + 16 * (at & 1), row = min(m0 + i, o->rows - 1);
        const int bytes = max(min(o->k - ka, 16), 0);
        COPY_ASYNC(a_tile + i * A_PITCH + 4 * (at & 1), o->a + (size_t)row * o->lda + (bytes ? ka : 0), bytes);
    }
    FRAGMENTS
    for (int at = item; at < TILE * FOURS / 4; at += ITEMS) {
        const int kk = at / (TILE / 4), j = at & (TILE / 4 - 1), kw = k0 / 4 + kk;
        const bool there = kw < fours;
        COPY_ASYNC(w_tile + kk * W_PITCH + 4 * j, o->w + 4 * ((size_t)(there ? kw : 0) * o->n_pad + n0 + 4 * j),
                   there ? 16 : 0);
    }
    COPY_COMMIT();
}

/* Products of one step; with `sums`, rows of codes by ones as well: a fragment whose columns all hold the rows' sums. */
VQ_LOCAL_FUNCTION void multiply_tiles(int acc[A_FRAGS][B_FRAGS][4], int sums[A_FRAGS][4], bool with_sums,
                                      __local const uint *a_tile, __local const uint *w_tile, __local uint *scratch,
                                      int warp, int lane)
{
    const uint ones[2] = {0x01010101u, 0x01010101u};
    const int rows = (warp >> 1) * WARP_ROWS, cols = (warp & 1) * WARP_COLS;
    uint a[A_FRAGS][4];
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++) {
        /* matrices: rows 0..7, rows 8..15, then the same 16 codes further */
        const int row = rows + 16 * i + (lane & 15);
        LDMATRIX_X4(a[i], a_tile + row * A_PITCH + 4 * (lane >> 4), scratch, lane);
        if (with_sums) MMA_S32_U8_S8(sums[i], a[i], ones, scratch, lane);
    }
    FRAGMENTS
    for (int j = 0; j < B_FRAGS; j++) {
        __local const uint *const at = w_tile + (lane & 3) * W_PITCH + cols + 8 * j + (lane >> 2);
        const uint b[2] = {at[0], at[4 * W_PITCH]};
        FRAGMENTS
        for (int i = 0; i < A_FRAGS; i++) MMA_S32_U8_S8(acc[i][j], a[i], b, scratch, lane);
    }
}
