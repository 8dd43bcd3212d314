/* gemm_s8 for GPUs with an instruction for sums of 4 products of bytes: a work-group of SIDE x SIDE items computes a
 * TILE x TILE block of C from tiles of A and W in local memory, EACH x EACH neighbouring sums per item. While a tile is
 * multiplied the next one is on its way to registers. w [k_pad/4][n_pad][4]; with W_PACKED
 * [k_pad/8][n_pad][4], lower halves of bytes first. Grid: (column blocks, row blocks).
 *
 * VQ_P0 SIDE, VQ_P1 EACH, 4; VQ_P2 1: can unpack. */
#include "gemm_s8_epilogue.h"
#include "dot_tile.h"

#define K_STEP 8 /* fours */
#define LOADS  (K_STEP * TILE / ITEMS)
#define SUMS   (W_ZERO || DOT4_UNSIGNED)

#if W_PACKED /* of neighbouring fours one has the lower halves of bytes; an item holds always such or always others */
#define EVERY 2
#define WEIGHTS(x) unpack_four(x, item / TILE & 1, lowest)
#else
#define EVERY 1
#define WEIGHTS(x) (x)
#endif

/* Fours on their way. Item t holds fours t % K_STEP of rows t / K_STEP, and so on. */
typedef struct moving {
    uint a[LOADS], w[LOADS];
} moving;

static uint first_codes(uint four, int count)
{
    return count >= 4 ? four : count <= 0 ? 0 : four & ((1u << (8 * count)) - 1);
}

/* Codes from k on, which may be anything, become 0, and so do fours of weights. Rows beyond m repeat the last one and are not stored. */
static void fetch(moving *next, __global const uchar *a, __global const char *w, const gemm_shape *s, int m0, int n0,
                  int k0, int item)
{
    const int fours = (s->k + 3) / 4;
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS;
        const int ka = k0 + at % K_STEP, row = min(m0 + at / K_STEP, s->m - 1);
        next->a[i] = ka < fours ? ((__global const uint *)(a + (size_t)row * s->lda))[ka] : 0;
        next->a[i] = first_codes(next->a[i], s->k - 4 * ka);
    }
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS, kw = k0 + at / TILE;
        next->w[i] = kw < fours ? ((__global const uint *)w)[(size_t)(kw / EVERY) * s->n_pad + n0 + at % TILE] : 0;
    }
}

/* lowest: of the column whose weights the item holds, in each byte; weights are unpacked here. */
VQ_LOCAL_FUNCTION void store_tiles(__local uint *a_tile, __local uint *w_tile, const moving *next, int *sums, int item,
                                   uint lowest)
{
    for (int i = 0; i < LOADS; i++) {
        const int at = item + i * ITEMS;
        a_tile[at % K_STEP * PITCH + at / K_STEP] = next->a[i];
        w_tile[at] = FLIP4(WEIGHTS(next->w[i]));
        if (SUMS) sums[i] = DOT4(sums[i], next->a[i], 0x01010101u);
    }
}

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_s8(GEMM_ARGS)
{
    __local uint a_tile[K_STEP * PITCH] __attribute__((aligned(16)));
    __local uint w_tile[K_STEP * TILE] __attribute__((aligned(16)));
    const gemm_shape s = GEMM_SHAPE;
    const int m0 = (int)get_group_id(1) * TILE, n0 = (int)get_group_id(0) * TILE;
    const int x = (int)get_local_id(0), y = (int)get_local_id(1), item = y * SIDE + x;
    const int blocks = (k + 4 * K_STEP - 1) / (4 * K_STEP);
    int acc[EACH][EACH], sums[LOADS];
    moving next;
#if W_PACKED
    const uint lowest = (uint)consts[FIELD_W_LOW * n_pad + n0 + item % TILE];
#else
    const uint lowest = 0;
#endif
    for (int i = 0; i < LOADS; i++) sums[i] = 0;
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) acc[i][j] = 0;
    fetch(&next, a, w, &s, m0, n0, 0, item);
    for (int at = 0; at < A_PLANES * blocks; at++) {
        const int then = at + 1;
        if (A_PLANES == 2 && at == blocks) {
            for (int i = 0; i < LOADS; i++) sums[i] *= 256;
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++) acc[i][j] *= 256;
        }
        store_tiles(a_tile, w_tile, &next, sums, item, lowest);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (then < A_PLANES * blocks) {
            const bool low = A_PLANES == 2 && then >= blocks;
            fetch(&next, low ? a + a_plane : a, w, &s, m0, n0, (low ? then - blocks : then) * K_STEP, item);
        }
        multiply(acc, a_tile, w_tile, TILE, K_STEP, x, y);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (SUMS) { /* of the items that fetched a row's fours; the tiles are no longer needed */
        for (int i = 0; i < LOADS; i++) w_tile[item + i * ITEMS] = (uint)sums[i];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++) {
        const int row = m0 + y * EACH + i;
        int sum = 0;
        for (int kk = 0; SUMS && kk < K_STEP; kk++) sum += (int)w_tile[(y * EACH + i) * K_STEP + kk];
        for (int j = 0; j < EACH; j++) {
            const int col = n0 + x * EACH + j;
            if (row >= m || col >= n) continue;
            const int zero = (W_ZERO ? consts[FIELD_W_ZERO * n_pad + col] : 0) - DOT4_BIAS;
            const int zeros = SUMS ? zero * sum : 0;
            put_one(&s, consts, table, c + (size_t)c_row(&s, row) * ldc + col, col,
                    acc[i][j] + zeros + consts[FIELD_BIAS * n_pad + col]);
        }
    }
}
