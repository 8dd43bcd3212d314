/* The loop of gemm_s8_mfma.cl, which the probe runs too: a work-group of 4 waves multiplies TILE rows of codes by TILE columns
 * of weights, each wave half of both. Matrix cores multiply s8 by s8: codes are taken 128 lower, and 128
 * times the sums of the weights' columns sets that right. Items sum what they fetch. */
#include "vq_dot.h"
#include "vq_mfma.h"

#define SIDE   VQ_P0
#define TILE   (VQ_P0 * VQ_P1)
#define ITEMS  256
#define HALF   (TILE / 2)
#define FRAGS  (HALF / MFMA_SIDE)
#define FOURS  8          /* of k in a step: four products */
#define PITCH  (TILE + 4)
#define LOADS  (FOURS * TILE / ITEMS)
#define ONES   0x01010101u

#if SIDE * SIDE != ITEMS || HALF % MFMA_SIDE
#error "4 waves of whole fragments"
#endif

typedef struct operand {
    __global const uchar *a; /* [rows][lda] */
    __global const uchar *w; /* [k/4][n_pad][4] */
    int rows, k, lda, n_pad;
} operand;

/* Fours on their way. Item t holds fours t % FOURS of rows t / FOURS, and so on, and weights of column t % TILE. */
typedef struct moving {
    uint a[LOADS], w[LOADS];
    int row_sums[LOADS], col_sum;
} moving;

/* Codes from k on become 0, and weights from the last four on. Rows beyond the last one repeat it. */
static void fetch(moving *next, const operand *o, int m0, int n0, int k0, int item)
{
    const int fours = (o->k + 3) / 4;
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS, ka = k0 + at % FOURS, row = min(m0 + at / FOURS, o->rows - 1);
        const int left = o->k - 4 * ka;
        const uint four = left > 0 ? ((__global const uint *)(o->a + (size_t)row * o->lda))[ka] : 0;
        next->a[i] = left >= 4 || left <= 0 ? four : four & ((1u << (8 * left)) - 1);
        const int kw = k0 + at / TILE;
        next->w[i] = kw < fours ? ((__global const uint *)o->w)[(size_t)kw * o->n_pad + n0 + at % TILE] : 0;
    }
}

VQ_LOCAL_FUNCTION void store_tiles(__local uint *a_tile, __local uint *w_tile, moving *next, int item)
{
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS;
        a_tile[at % FOURS * PITCH + at / FOURS] = next->a[i] ^ 0x80808080u;
        w_tile[at / TILE * PITCH + at % TILE] = next->w[i];
        next->row_sums[i] = DOT4(next->row_sums[i], next->a[i], ONES);
        next->col_sum = DOT4(next->col_sum, ONES, FLIP4(next->w[i])) - 4 * DOT4_BIAS;
    }
}

VQ_LOCAL_FUNCTION void multiply_tiles(mfma_sums acc[FRAGS][FRAGS], __local const uint *a_tile, __local const uint *w_tile,
                                      __local uint *scratch, int wave, int lane)
{
    const int row = (wave >> 1) * HALF + lane % MFMA_SIDE, col = (wave & 1) * HALF + lane % MFMA_SIDE;
    FRAGMENTS
    for (int kk = 0; kk < FOURS; kk += MFMA_PLACES) {
        uint a[FRAGS], b[FRAGS];
        FRAGMENTS
        for (int i = 0; i < FRAGS; i++) {
            a[i] = a_tile[(kk + lane / MFMA_SIDE) * PITCH + row + MFMA_SIDE * i];
            b[i] = w_tile[(kk + lane / MFMA_SIDE) * PITCH + col + MFMA_SIDE * i];
        }
        FRAGMENTS
        for (int i = 0; i < FRAGS; i++)
            FRAGMENTS
            for (int j = 0; j < FRAGS; j++) MFMA(acc[i][j], a[i], b[j], scratch, lane);
    }
}

/* The whole sums of all rows and columns, in the memory of the tiles, which nobody reads any more. */
VQ_LOCAL_FUNCTION void share_sums(__local uint *row_sums, __local uint *col_sums, const moving *last, int item)
{
    FRAGMENTS
    for (int i = 0; i < LOADS; i++) row_sums[item + i * ITEMS] = (uint)last->row_sums[i];
    col_sums[item] = (uint)last->col_sum;
    barrier(CLK_LOCAL_MEM_FENCE);
}

VQ_LOCAL_FUNCTION int sum_of_row(__local const uint *row_sums, int row)
{
    uint sum = 0;
    for (int i = 0; i < FOURS; i++) sum += row_sums[row * FOURS + i];
    return (int)sum;
}

VQ_LOCAL_FUNCTION int sum_of_column(__local const uint *col_sums, int col)
{
    uint sum = 0;
    for (int i = col; i < ITEMS; i += TILE) sum += col_sums[i];
    return (int)sum;
}
