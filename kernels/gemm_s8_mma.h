/* The loop of gemm_s8_mma.cl, which the probe runs too: a work-group of 8 warps multiplies TILE rows of codes by TILE columns
 * of weights, each warp WARP_ROWS x WARP_COLS, from two buffers in local memory: one is filled while the other is read.
 *
 * W_PACKED 1: codes of 4 bits by weights as they lie two in a byte, codes of 4 bits too. Codes come a byte each, so they pass
 * through registers and are packed on the way: a shift and an or for 8 codes, once per work-group, in place of cp.async;
 * their tile is half as large and each warp loads half as many fragments. A byte has k and k + 4 as the weights' bytes have:
 * products only need both sides in one order. */
#include "vq_mma.h"

#ifndef W_PACKED
#define W_PACKED 0
#endif

#define SIDE      VQ_P0
#define TILE      (VQ_P0 * VQ_P1)
#define ITEMS     256
#define WARP_ROWS (TILE / 4)
#define WARP_COLS (TILE / 2)
#define A_FRAGS   (WARP_ROWS / 16)
#define B_FRAGS   (WARP_COLS / 8)
#define WORDS     8             /* uints of k in a step: one mma */
#define PER_WORD  (4 << W_PACKED)
#define STEP      (WORDS * PER_WORD)
#define A_PITCH   (WORDS + 4)   /* the rows of a matrix that ldmatrix reads lie in different banks */
#define W_PITCH   (TILE + 8)    /* so do the lanes of a fragment of weights */
#define A_TILE    (TILE * A_PITCH)
#define W_TILE    (WORDS * W_PITCH)
#define LOADS     (TILE * STEP / 16 / ITEMS) /* of 16 codes, where they pass through registers */
#if W_PACKED
#define MMA  MMA_S32_U4_U4
#define ONES 0x11111111u
#else
#define MMA  MMA_S32_U8_S8
#define ONES 0x01010101u
#endif

#if SIDE * SIDE != ITEMS || WARP_ROWS % 16
#error "8 warps of whole fragments"
#endif

typedef struct operand {
    __global const uchar *a; /* [rows][lda] */
    __global const uchar *w; /* [k/PER_WORD][n_pad][4] */
    int rows, k, lda, n_pad;
} operand;

/* Codes on their way: item t holds 16 * (t % 4) .. of row t / 4, and so on. */
typedef struct moving {
    uint4 a[LOADS];
} moving;

#if W_PACKED
static uint first_codes(uint four, int count)
{
    return count >= 4 ? four : count <= 0 ? 0 : four & ((1u << (8 * count)) - 1);
}

static void copy_codes(moving *next, __local uint *a_tile, const operand *o, int m0, int k0, int item)
{
    (void)a_tile;
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS, ka = k0 + 16 * (at & 3), row = min(m0 + (at >> 2), o->rows - 1);
        const int left = o->k - ka;
        uint4 x = 0;
        if (left > 0) x = *(__global const uint4 *)(o->a + (size_t)row * o->lda + ka);
        if (left < 16) {
            x.s0 = first_codes(x.s0, left);
            x.s1 = first_codes(x.s1, left - 4);
            x.s2 = first_codes(x.s2, left - 8);
            x.s3 = first_codes(x.s3, left - 12);
        }
        next->a[i] = x;
    }
}

VQ_LOCAL_FUNCTION void store_codes(__local uint *a_tile, const moving *next, int item)
{
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS;
        const uint4 x = next->a[i];
        *(__local uint2 *)(a_tile + (at >> 2) * A_PITCH + 2 * (at & 3)) = (uint2)(x.s0 | x.s1 << 4, x.s2 | x.s3 << 4);
    }
}
#else
VQ_LOCAL_FUNCTION void copy_codes(moving *next, __local uint *a_tile, const operand *o, int m0, int k0, int item)
{
    (void)next;
    FRAGMENTS
    for (int at = item; at < TILE * WORDS / 4; at += ITEMS) {
        const int i = at >> 1, ka = k0 + 16 * (at & 1), row = min(m0 + i, o->rows - 1);
        const int bytes = max(min(o->k - ka, 16), 0);
        COPY_ASYNC(a_tile + i * A_PITCH + 4 * (at & 1), o->a + (size_t)row * o->lda + (bytes ? ka : 0), bytes);
    }
}

VQ_LOCAL_FUNCTION void store_codes(__local uint *a_tile, const moving *next, int item)
{
    (void)a_tile;
    (void)next;
    (void)item;
}
#endif

/* Codes from k on become 0, and weights from the last word on. Rows beyond the last one repeat it. Codes in `next` are
 * still to be stored. */
VQ_LOCAL_FUNCTION void copy_tiles(moving *next, __local uint *a_tile, __local uint *w_tile, const operand *o, int m0,
                                  int n0, int k0, int item)
{
    const int words = (o->k + PER_WORD - 1) / PER_WORD;
    copy_codes(next, a_tile, o, m0, k0, item);
    FRAGMENTS
    for (int at = item; at < TILE * WORDS / 4; at += ITEMS) {
        const int kk = at / (TILE / 4), j = at & (TILE / 4 - 1), kw = k0 / PER_WORD + kk;
        const bool there = kw < words;
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
    const uint ones[2] = {ONES, ONES};
    const int rows = (warp >> 1) * WARP_ROWS, cols = (warp & 1) * WARP_COLS;
    uint a[A_FRAGS][4];
    FRAGMENTS
    for (int i = 0; i < A_FRAGS; i++) {
        /* matrices: rows 0..7, rows 8..15, then the same 16 bytes further */
        const int row = rows + 16 * i + (lane & 15);
        LDMATRIX_X4(a[i], a_tile + row * A_PITCH + 4 * (lane >> 4), scratch, lane);
        if (with_sums) MMA(sums[i], a[i], ones, scratch, lane);
    }
    FRAGMENTS
    for (int j = 0; j < B_FRAGS; j++) {
        __local const uint *const at = w_tile + (lane & 3) * W_PITCH + cols + 8 * j + (lane >> 2);
        const uint b[2] = {at[0], at[4 * W_PITCH]};
        FRAGMENTS
        for (int i = 0; i < A_FRAGS; i++) MMA(acc[i][j], a[i], b, scratch, lane);
    }
}
