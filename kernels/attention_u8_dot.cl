/* attention_u8 for GPUs with an instruction for sums of 4 products of bytes, see attention_u8_block.h: an item has EACH x EACH
 * neighbouring scores.
 *
 * VQ_P0 SIDE, VQ_P1 EACH, 4; VQ_P2 most TILES. */
#include "vq_dot.h"
#if VQ_DOT == 1
#define UNROLL_FOURS _Pragma("unroll 1") /* more do not fit beside the scores: Intel's items have 128 registers */
#elif VQ_DOT
#define UNROLL_FOURS _Pragma("unroll 4") /* nor here */
#endif
#include "attention_u8_gpu.h"
#include "dot_tile.h"

#define TILE_SIZE          (TILE / 4 * PITCH)
#define CODE_AT(token, kk) ((kk) * PITCH + (token))
#define V_PITCH            PITCH
#define SIGN               FLIP4(0x80808080u)
#define BIAS               DOT4_BIAS
#define ROWS               EACH
#define COLUMNS            EACH
#define SHARERS            SIDE

typedef struct position {
    int item, x, y;
} position;
#define POSITION(item)   {item, item & (SIDE - 1), item / SIDE}
#define row_at(at, i)    ((at)->y * EACH + (i))
#define column_at(at, j) ((at)->x * EACH + (j))
#define sharer(at)       ((at)->x)

#define multiply_codes(s, q_tile, k_tile, scratch, at)     multiply(s, q_tile, k_tile, PITCH, SLICE, (at)->x, (at)->y)
#define multiply_values(acc, p_plane, v_tile, scratch, at) multiply(acc, p_plane, v_tile, PITCH, TILE / 4, (at)->x, (at)->y)

VQ_LOCAL_FUNCTION void store_row(__local uint *p_tile, const uint p[EACH], int i, const position *at)
{
    const int to = CODE_AT(row_at(at, i), at->x);
    p_tile[to] = p[0] >> 8 | (p[1] & 0xff00u) | (p[2] & 0xff00u) << 8 | (p[3] & 0xff00u) << 16;
    if (PROB_LOW) p_tile[TILE_SIZE + to] = (p[0] & 255) | (p[1] & 255) << 8 | (p[2] & 255) << 16 | p[3] << 24;
}

#include "attention_u8_block.h"
