/* attention_u8 for NVIDIA's tensor cores, sm_80 and later, see attention_u8_block.h: the 8 warps have 16 rows and 32 columns each,
 * as 4 fragments of 16 x 8.
 *
 * VQ_P0 SIDE, VQ_P1 TILE / SIDE, 4; VQ_P2 most TILES. */
#include "attention_u8_gpu.h"
#include "vq_mma.h"

#define SIDE               VQ_P0
#define TILE               (VQ_P0 * VQ_P1)
#define ITEMS              (SIDE * SIDE)
#define UNROLL             FRAGMENTS
#define UNROLL_NONE        _Pragma("unroll 1")
#define PITCH              (TILE / 4 + 4) /* the rows of a matrix lie in different banks */
#define TILE_SIZE          (TILE * PITCH)
#define CODE_AT(token, kk) ((token) * PITCH + (kk))
#define V_PITCH            (TILE + 8) /* so do the lanes of a fragment of V */
#define SIGN               0x80808080u
#define BIAS               0
#define ROWS               2
#define COLUMNS            8
#define SHARERS            8
#if VQ_MMA == 0
#define SCRATCH (8 * MMA_SCRATCH)
#endif

#if TILE != 64 || ITEMS != 256 || SLICE % 8
#error "8 warps of whole fragments"
#endif

typedef struct position {
    int item, warp, lane, row, column; /* the warp's first */
} position;
#define POSITION(item)   {item, item >> 5, item & 31, (item >> 6) * 16, (item >> 5 & 1) * 32}
#define row_at(at, i)    ((at)->row + ((at)->lane >> 2) + 8 * (i))
#define column_at(at, j) ((at)->column + 8 * ((j) >> 1) + 2 * ((at)->lane & 3) + ((j) & 1))
#define sharer(at)       (4 * ((at)->warp & 1) + ((at)->lane & 3))

/* sums += the product of 32 neighbouring codes of the warp's rows, [row][PITCH], by its columns, of which fragment j's are at
 * columns + j * pitch, and their second halves `second` further. */
VQ_LOCAL_FUNCTION void multiply_step(int sums[ROWS][COLUMNS], __local const uint *rows, __local const uint *columns,
                                     int pitch, int second, __local uint *scratch, const position *at)
{
    uint a[4];
    scratch += at->warp * MMA_SCRATCH;
    LDMATRIX_X4(a, rows + (at->row + (at->lane & 15)) * PITCH + 4 * (at->lane >> 4), scratch, at->lane);
    UNROLL
    for (int j = 0; j < COLUMNS / 2; j++) {
        const uint b[2] = {columns[j * pitch], columns[j * pitch + second]};
        int c[4] = {sums[0][2 * j], sums[0][2 * j + 1], sums[1][2 * j], sums[1][2 * j + 1]};
        MMA_S32_U8_S8(c, a, b, scratch, at->lane);
        sums[0][2 * j] = c[0];
        sums[0][2 * j + 1] = c[1];
        sums[1][2 * j] = c[2];
        sums[1][2 * j + 1] = c[3];
    }
}

VQ_LOCAL_FUNCTION void multiply_codes(int s[ROWS][COLUMNS], __local const uint *q_tile, __local const uint *k_tile,
                                      __local uint *scratch, const position *at)
{
    __local const uint *const columns = k_tile + (at->column + (at->lane >> 2)) * PITCH + (at->lane & 3);
    UNROLL
    for (int kk = 0; kk < SLICE; kk += 8) multiply_step(s, q_tile + kk, columns + kk, 8 * PITCH, 4, scratch, at);
}

VQ_LOCAL_FUNCTION void multiply_values(int acc[ROWS][COLUMNS], __local const uint *p_plane, __local const uint *v_tile,
                                       __local uint *scratch, const position *at)
{
    __local const uint *const columns = v_tile + (at->lane & 3) * V_PITCH + at->column + (at->lane >> 2);
    UNROLL
    for (int kk = 0; kk < TILE / 4; kk += 8)
        multiply_step(acc, p_plane + kk, columns + kk * V_PITCH, 8, 4 * V_PITCH, scratch, at);
}

/* Two neighbouring tokens' bytes at a time. */
VQ_LOCAL_FUNCTION void store_row(__local uint *p_tile, const uint p[COLUMNS], int i, const position *at)
{
    __local ushort *const pairs = (__local ushort *)(p_tile + row_at(at, i) * PITCH);
    UNROLL
    for (int j = 0; j < COLUMNS; j += 2) {
        const int to = column_at(at, j) / 2;
        pairs[to] = (ushort)(p[j] >> 8 | (p[j + 1] & 0xff00u));
        if (PROB_LOW) pairs[2 * TILE_SIZE + to] = (ushort)((p[j] & 255) | (p[j + 1] & 255) << 8);
    }
}

#include "attention_u8_block.h"
