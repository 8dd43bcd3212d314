/* attention_u8 for GPUs with an instruction for sums of 4 products of bytes: a work-group of SIDE x SIDE items takes TILE
 * query rows of one head of one image and TILE channels of the result, and goes through the tokens TILE at a time. First for the
 * rows' largest scores, then for the sums of their powers of two, then for the probabilities, whose bytes, four tokens'
 * together, are multiplied by V's. Scores stay in registers, EACH x EACH per item and tile, or are computed again.
 * Grid: (row blocks * channel blocks, heads, images or windows).
 *
 * VQ_P0 SIDE, VQ_P1 EACH, 4; VQ_P2 most TILES (attention_u8_gpu.h). */
#include "attention_u8_gpu.h"
#if VQ_DOT == 1
#define UNROLL_FOURS _Pragma("unroll 1") /* more do not fit beside the scores: Intel's items have 128 registers */
#elif VQ_DOT
#define UNROLL_FOURS _Pragma("unroll 4") /* nor here */
#endif
#include "dot_tile.h"

#define FOURS     (TILE / 4) /* of tokens in a tile */
#define TILE_SIZE (FOURS * PITCH)
#define PLANES    (PROB_LOW ? 2 : 1)
#define QUARTERS  (ITEMS / TILE) /* items that fetch one row */
#define ONES      0x01010101u
#define SIGN      FLIP4(0x80808080u) /* makes codes less 128 ready for DOT4 */
#define KEPT      (TILES > 0)

#if QUARTERS * EACH != FOURS || EACH != 4 || SLICE > FOURS
#error "an item fetches up to 4 fours of one row, and multiplies 4 x 4"
#endif

typedef struct position {
    int x, y, item, row; /* row: the group's first */
} position;

/* One slice of TILE rows from `first` on; rows past the last token repeat it. sums: [QUARTERS][TILE] of their codes. */
VQ_LOCAL_FUNCTION void load_codes(__local uint *tile, __local uint *sums, const attention *a, int which, int first,
                                  int slice, uint sign, int item)
{
    const int token = item / QUARTERS, quarter = item & (QUARTERS - 1), channel = 4 * SLICE * slice;
    __global const uchar *const row = codes_of(a, min(first + token, a->tokens - 1), which) + channel;
    int sum = 0;
    UNROLL
    for (int i = 0; i < EACH; i++) {
        const int kk = quarter * EACH + i;
        if (kk >= SLICE) continue;
        const uint four = four_at(row, kk, a->width - channel);
        tile[kk * PITCH + token] = four ^ sign;
        sum = DOT4(sum, four, ONES);
    }
    sums[quarter * TILE + token] = (uint)sum;
}

/* TILE channels of TILE tokens, four tokens' bytes together. */
VQ_LOCAL_FUNCTION void load_values(__local uint *tile, const attention *a, int first, int channel, int item)
{
    const int at = item / FOURS, c = item & (FOURS - 1);
    uint in[4], out[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int token = min(first + 4 * at + i, a->tokens - 1);
        in[i] = four_at(codes_of(a, token, 2) + channel, c, a->width - channel);
    }
    transpose4(out, in);
    UNROLL
    for (int i = 0; i < 4; i++) tile[at * PITCH + 4 * c + i] = out[i] ^ SIGN;
}

/* Regions of TILE rows and of TILE tokens. */
VQ_LOCAL_FUNCTION void load_regions(__local int *regions, const attention *a, int row, int token, int item)
{
    if (WINDOWS && item < 2 * TILE)
        regions[item] = a->region[min((item < TILE ? row : token - TILE) + item, a->tokens - 1)];
}

VQ_LOCAL_FUNCTION void add_sums(int sums[EACH], __local const uint *from, int at)
{
    for (int quarter = 0; quarter < QUARTERS; quarter++)
        UNROLL
        for (int i = 0; i < EACH; i++) sums[i] += (int)from[quarter * TILE + EACH * at + i];
}

/* Scores of the group's rows and the tokens from `first` on, SCORE_MIN past the last one. */
VQ_LOCAL_FUNCTION void score_tile(int s[EACH][EACH], const attention *a, __local uint *q_tile, __local uint *k_tile,
                                  __local uint *q_sums, __local uint *k_sums, __local int *regions, int first,
                                  const position *at)
{
    int of_q[EACH], of_k[EACH];
    UNROLL
    for (int i = 0; i < EACH; i++) {
        of_q[i] = of_k[i] = 0;
        UNROLL
        for (int j = 0; j < EACH; j++) s[i][j] = 0;
    }
    for (int slice = 0; 4 * SLICE * slice < a->width; slice++) {
        barrier(CLK_LOCAL_MEM_FENCE); /* the tiles' last readers are done */
        if (first == 0 || a->width > 4 * SLICE) load_codes(q_tile, q_sums, a, 0, at->row, slice, 0, at->item);
        if (slice == 0) load_regions(regions, a, at->row, first, at->item);
        load_codes(k_tile, k_sums, a, 1, first, slice, SIGN, at->item);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply(s, q_tile, k_tile, PITCH, SLICE, at->x, at->y);
        add_sums(of_k, k_sums, at->x);
        if (DOT4_BIAS) add_sums(of_q, q_sums, at->y);
    }
    UNROLL
    for (int i = 0; i < EACH; i++)
        UNROLL
        for (int j = 0; j < EACH; j++) {
            const int row = min(at->row + at->y * EACH + i, a->tokens - 1), token = first + at->x * EACH + j;
            const int sum = s[i][j] - DOT4_BIAS * of_q[i] - a->q_zero * (of_k[j] - 128 * a->width);
            const bool near = !WINDOWS || regions[at->y * EACH + i] == regions[TILE + at->x * EACH + j];
            s[i][j] = token < a->tokens ? score_of(a, sum, row, token, near) : SCORE_MIN;
        }
}

/* The group's values of every row, reduced, in every item that has the row. */
enum { LARGEST, TOTAL, LOG_OF_TOTAL };
VQ_LOCAL_FUNCTION void reduce_rows(int values[EACH], int how, __local uint *part, const position *at)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < EACH; i++) part[at->x * TILE + at->y * EACH + i] = (uint)values[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (at->item < TILE) {
        uint all = part[at->item];
        for (int x = 1; x < SIDE; x++) {
            const uint one = part[x * TILE + at->item];
            all = how == LARGEST ? (uint)max((int)all, (int)one) : all + one;
        }
        part[at->item] = how == LOG_OF_TOTAL ? (uint)vq_log2_q16(all) : all;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < EACH; i++) values[i] = (int)part[at->y * EACH + i];
}

/* Probabilities from scores, their bytes to P's planes [FOURS][PITCH], high ones first. */
VQ_LOCAL_FUNCTION void put_probabilities(__local uint *p_tile, int p_sums[EACH], int s[EACH][EACH], const attention *a,
                                         const int tops[EACH], const int logs[EACH], int first, const position *at)
{
    UNROLL
    for (int i = 0; i < EACH; i++) {
        uint high = 0, low = 0;
        UNROLL
        for (int j = 0; j < EACH; j++) {
            if (first + at->x * EACH + j >= a->tokens) continue;
            const uint p = probability(a, below(tops[i], s[i][j]), logs[i]);
            high |= (p >> 8) << (8 * j);
            low |= (p & 255) << (8 * j);
            p_sums[i] += (int)p;
        }
        p_tile[at->x * PITCH + at->y * EACH + i] = high;
        if (PROB_LOW) p_tile[TILE_SIZE + at->x * PITCH + at->y * EACH + i] = low;
    }
}

/* acc += P V */
VQ_LOCAL_FUNCTION void add_values(int acc[EACH][EACH], __local const uint *p_tile, __local const uint *v_tile,
                                  const position *at)
{
    int high[EACH][EACH];
    UNROLL
    for (int i = 0; i < EACH; i++)
        UNROLL
        for (int j = 0; j < EACH; j++) high[i][j] = 0;
    multiply(high, p_tile, v_tile, PITCH, FOURS, at->x, at->y);
    UNROLL
    for (int i = 0; i < EACH; i++)
        UNROLL
        for (int j = 0; j < EACH; j++) acc[i][j] = (int)((uint)acc[i][j] + ((uint)high[i][j] << 8));
    if (PROB_LOW) multiply(acc, p_tile + TILE_SIZE, v_tile, PITCH, FOURS, at->x, at->y);
}

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void attention_u8(ATTENTION_ARGS)
{
    /* K, Q and P; kept scores no longer need Q when there are probabilities, and K's place is V's then */
    __local uint tiles[((KEPT ? 1 : 2) + PLANES) * TILE_SIZE] __attribute__((aligned(16)));
    __local uint q_sums[ITEMS] __attribute__((aligned(16))), k_sums[ITEMS] __attribute__((aligned(16)));
    __local int regions[WINDOWS ? 2 * TILE : 1];
    __local uint *const k_tile = tiles, *const q_tile = tiles + TILE_SIZE;
    __local uint *const p_tile = KEPT ? q_tile : q_tile + TILE_SIZE;
    const int blocks = (width + TILE - 1) / TILE, group = (int)get_group_id(0), block = group / blocks;
    const int head = (int)get_group_id(1), heads = (int)get_num_groups(1), channel = (group - block * blocks) * TILE;
    const size_t part = get_group_id(2);
    const int x = (int)get_local_id(0), y = (int)get_local_id(1);
    const position at = {x, y, y * SIDE + x, block * TILE};
    const attention a = attention_of(qkv, ld_qkv, consts, prob, prob_step, prob_last, prob_shift, tokens, width, map,
                                     region, bias, pad, mask, windows, raster, head, heads, part);
#if KEPT
#define PASS(tile) UNROLL for (int tile = 0; tile < TILES; tile++)
#define SCORES(tile) s[tile]
    int s[TILES][EACH][EACH];
#else
#define PASS(tile) UNROLL_NONE for (int tile = 0; tile * TILE < tokens; tile++)
#define SCORES(tile) s
    int s[EACH][EACH];
#endif
    int tops[EACH], logs[EACH], p_sums[EACH], acc[EACH][EACH];
    UNROLL
    for (int i = 0; i < EACH; i++) {
        tops[i] = SCORE_MIN;
        logs[i] = p_sums[i] = 0;
        UNROLL
        for (int j = 0; j < EACH; j++) acc[i][j] = 0;
    }
    PASS(tile) {
        score_tile(SCORES(tile), &a, q_tile, k_tile, q_sums, k_sums, regions, tile * TILE, &at);
        UNROLL
        for (int i = 0; i < EACH; i++)
            UNROLL
            for (int j = 0; j < EACH; j++) tops[i] = max(tops[i], SCORES(tile)[i][j]);
    }
    reduce_rows(tops, LARGEST, p_tile, &at);
    PASS(tile) {
        if (!KEPT) score_tile(SCORES(tile), &a, q_tile, k_tile, q_sums, k_sums, regions, tile * TILE, &at);
        UNROLL
        for (int i = 0; i < EACH; i++)
            UNROLL
            for (int j = 0; j < EACH; j++)
                if (tile * TILE + x * EACH + j < tokens) logs[i] += (int)vq_exp2_neg((int)below(tops[i], SCORES(tile)[i][j]));
    }
    reduce_rows(logs, LOG_OF_TOTAL, p_tile, &at);
    PASS(tile) {
        if (!KEPT) score_tile(SCORES(tile), &a, q_tile, k_tile, q_sums, k_sums, regions, tile * TILE, &at);
        barrier(CLK_LOCAL_MEM_FENCE);
        put_probabilities(p_tile, p_sums, SCORES(tile), &a, tops, logs, tile * TILE, &at);
        load_values(k_tile, &a, tile * TILE, channel, at.item);
        barrier(CLK_LOCAL_MEM_FENCE);
        add_values(acc, p_tile, k_tile, &at);
    }
    reduce_rows(p_sums, TOTAL, p_tile, &at);
    __global const int *const of_channel = consts + heads * 4 + head * 3 * padded;
    UNROLL
    for (int i = 0; i < EACH; i++) {
        const int row = at.row + y * EACH + i, to = row < tokens ? ROW_INDEX(a.map, row) : -1;
        UNROLL
        for (int j = 0; j < EACH; j++) {
            const int d = channel + x * EACH + j;
            if (to < 0 || d >= width) continue; /* padding has no output */
            const int sum = (int)((uint)acc[i][j] + (uint)p_sums[i] * (uint)(of_channel[d] - DOT4_BIAS));
            const int code = add_sat(vq_requant(sum, of_channel[padded + d], of_channel[2 * padded + d]), zero);
            out[(FIRST_ROW(part, tokens) + to) * ld_out + head * width + d] = (uchar)clamp(code, 0, code_max);
        }
    }
}
