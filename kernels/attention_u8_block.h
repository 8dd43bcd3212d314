/* The kernel of attention_u8 for GPUs but for its two products: a work-group of SIDE x SIDE items takes TILE query rows of one
 * head of one image and TILE channels of the result, and goes through the tokens TILE at a time. First for the rows' largest
 * scores, then for the sums of their powers of two, then for the probabilities, whose bytes are multiplied by V's. Scores
 * stay in registers, ROWS x COLUMNS per item and tile, or are computed again.
 * Grid: (row blocks * channel blocks, heads, images or windows).
 *
 * The file that includes this one brings SIDE, TILE and ITEMS, and
 *
 *   row_at(at, i), column_at(at, j)   where an item's scores are in a tile of them, and its sums in a tile of the result
 *   SHARERS, sharer(at)               items that have a row, and which of them this one is
 *   CODE_AT(token, four)              place of four codes in a tile of Q or K, of TILE_SIZE
 *   SIGN                              makes codes less 128 what the products take
 *   BIAS                              128 where they took the codes themselves, 0 where 128 less
 *   multiply_codes(s, q_tile, k_tile, scratch, at)    s += Q K
 *   store_row(p_tile, p, i, at)       bytes of a row's probabilities to planes of TILE_SIZE, high ones first
 *   multiply_values(acc, p_plane, v_tile, scratch, at)   acc += P V for one plane; v_tile is [TILE / 4][V_PITCH] */
#ifndef ATTENTION_U8_BLOCK_H
#define ATTENTION_U8_BLOCK_H

#include "attention_u8_gpu.h"
#include "vq_dot.h"

#define PLANES   (PROB_LOW ? 2 : 1)
#define QUARTERS (ITEMS / TILE)        /* items that fetch one row */
#define FETCHED  (TILE / 4 / QUARTERS) /* fours of it by each of them */
#define ONES     0x01010101u
#define KEPT     (TILES > 0)
#if ALIGNED
#define UNROLL_FETCH UNROLL
#else
#define UNROLL_FETCH UNROLL_NONE /* single bytes on their way take registers that scores need */
#endif

#if QUARTERS * FETCHED * 4 != TILE || FETCHED != 4 || 4 * SLICE > TILE
#error "an item fetches up to 4 fours of one row"
#endif

/* The group's tiles. */
typedef struct tiles_at {
    __local uint *q, *k, *v, *p;
    __local uint *q_sums, *k_sums; /* [QUARTERS][TILE] */
    __local int *regions;          /* of TILE rows and of TILE tokens */
    __local uint *scratch;
} tiles_at;

/* One slice of TILE rows from `first` on; rows past the last token repeat it. sums: of their codes. */
VQ_LOCAL_FUNCTION void load_codes(__local uint *tile, __local uint *sums, const attention *a, int which, int first,
                                  int slice, uint sign, int item)
{
    const int token = item / QUARTERS, quarter = item & (QUARTERS - 1), channel = 4 * SLICE * slice;
    __global const uchar *const row = codes_of(a, min(first + token, a->tokens - 1), which) + channel;
    int sum = 0;
    UNROLL_FETCH
    for (int i = 0; i < FETCHED; i++) {
        const int kk = quarter * FETCHED + i;
        if (kk >= SLICE) continue;
        const uint four = four_at(row, kk, a->width - channel);
        tile[CODE_AT(token, kk)] = four ^ sign;
        sum = DOT4(sum, four, ONES);
    }
    sums[quarter * TILE + token] = (uint)sum;
}

/* TILE channels of TILE tokens, four tokens' bytes together. */
VQ_LOCAL_FUNCTION void load_values(__local uint *tile, const attention *a, int first, int channel, int item)
{
    const int at = item / (TILE / 4), c = item & (TILE / 4 - 1);
    uint in[4], out[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int token = min(first + 4 * at + i, a->tokens - 1);
        in[i] = four_at(codes_of(a, token, 2) + channel, c, a->width - channel);
    }
    transpose4(out, in);
    UNROLL
    for (int i = 0; i < 4; i++) tile[at * V_PITCH + 4 * c + i] = out[i] ^ SIGN;
}

VQ_LOCAL_FUNCTION void load_regions(__local int *regions, const attention *a, int row, int token, int item)
{
    if (WINDOWS && item < 2 * TILE)
        regions[item] = a->region[min((item < TILE ? row : token - TILE) + item, a->tokens - 1)];
}

/* Scores of the group's rows from `row` on and the tokens from `first` on, SCORE_MIN past the last one. */
VQ_LOCAL_FUNCTION void score_tile(int s[ROWS][COLUMNS], const attention *a, const tiles_at *t, int row, int first,
                                  const position *at)
{
    int of_q[ROWS], of_k[COLUMNS];
    UNROLL
    for (int j = 0; j < COLUMNS; j++) of_k[j] = -128 * a->width;
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        of_q[i] = 0;
        UNROLL
        for (int j = 0; j < COLUMNS; j++) s[i][j] = 0;
    }
    for (int slice = 0; 4 * SLICE * slice < a->width; slice++) {
        barrier(CLK_LOCAL_MEM_FENCE); /* the tiles' last readers are done */
        if (first == 0 || a->width > 4 * SLICE) load_codes(t->q, t->q_sums, a, 0, row, slice, 0, at->item);
        if (slice == 0) load_regions(t->regions, a, row, first, at->item);
        load_codes(t->k, t->k_sums, a, 1, first, slice, SIGN, at->item);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_codes(s, t->q, t->k, t->scratch, at);
        UNROLL
        for (int quarter = 0; quarter < QUARTERS; quarter++) {
            UNROLL
            for (int j = 0; j < COLUMNS; j++) of_k[j] += (int)t->k_sums[quarter * TILE + column_at(at, j)];
            UNROLL
            for (int i = 0; i < (BIAS ? ROWS : 0); i++) of_q[i] += (int)t->q_sums[quarter * TILE + row_at(at, i)];
        }
    }
    UNROLL
    for (int i = 0; i < ROWS; i++)
        UNROLL
        for (int j = 0; j < COLUMNS; j++) {
            const int from = min(row + row_at(at, i), a->tokens - 1), token = first + column_at(at, j);
            const int sum = s[i][j] - BIAS * of_q[i] - a->q_zero * of_k[j];
            const bool near = !WINDOWS || t->regions[row_at(at, i)] == t->regions[TILE + column_at(at, j)];
            s[i][j] = token < a->tokens ? score_of(a, sum, from, token, near) : SCORE_MIN;
        }
}

/* The group's values of every row, reduced, in every item that has the row. */
enum { LARGEST, TOTAL, LOG_OF_TOTAL };
VQ_LOCAL_FUNCTION void reduce_rows(int values[ROWS], int how, __local uint *part, const position *at)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < ROWS; i++) part[sharer(at) * TILE + row_at(at, i)] = (uint)values[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    if (at->item < TILE) {
        uint all = part[at->item];
        for (int x = 1; x < SHARERS; x++) {
            const uint one = part[x * TILE + at->item];
            all = how == LARGEST ? (uint)max((int)all, (int)one) : all + one;
        }
        part[at->item] = how == LOG_OF_TOTAL ? (uint)vq_log2_q16(all) : all;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL
    for (int i = 0; i < ROWS; i++) values[i] = (int)part[row_at(at, i)];
}

/* Probabilities from scores, their bytes to P. */
VQ_LOCAL_FUNCTION void put_probabilities(__local uint *p_tile, int p_sums[ROWS], int s[ROWS][COLUMNS], const attention *a,
                                         const int tops[ROWS], const int logs[ROWS], int first, const position *at)
{
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        uint p[COLUMNS];
        UNROLL
        for (int j = 0; j < COLUMNS; j++) {
            p[j] = 0;
            if (first + column_at(at, j) >= a->tokens) continue;
            p[j] = probability(a, below(tops[i], s[i][j]), logs[i]);
            p_sums[i] += (int)p[j];
        }
        store_row(p_tile, p, i, at);
    }
}

/* acc += P V */
VQ_LOCAL_FUNCTION void add_values(int acc[ROWS][COLUMNS], const tiles_at *t, const position *at)
{
    int high[ROWS][COLUMNS];
    UNROLL
    for (int i = 0; i < ROWS; i++)
        UNROLL
        for (int j = 0; j < COLUMNS; j++) high[i][j] = 0;
    multiply_values(high, t->p, t->v, t->scratch, at);
    UNROLL
    for (int i = 0; i < ROWS; i++)
        UNROLL
        for (int j = 0; j < COLUMNS; j++) acc[i][j] = (int)((uint)acc[i][j] + ((uint)high[i][j] << 8));
    if (PROB_LOW) multiply_values(acc, t->p + TILE_SIZE, t->v, t->scratch, at);
}

#if KEPT
#define PASS(tile)   UNROLL for (int tile = 0; tile < TILES; tile++)
#define SCORES(tile) s[tile]
#define SCORE_TILES  [TILES]
#else
#define PASS(tile)   UNROLL_NONE for (int tile = 0; tile * TILE < tokens; tile++)
#define SCORES(tile) s
#define SCORE_TILES
#endif

__kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void attention_u8(ATTENTION_ARGS)
{
    /* K, Q and P; kept scores no longer need Q when there are probabilities, and K's place is V's then */
    __local uint tiles[((KEPT ? 1 : 2) + PLANES) * TILE_SIZE] __attribute__((aligned(16)));
    __local uint q_sums[ITEMS] __attribute__((aligned(16))), k_sums[ITEMS] __attribute__((aligned(16)));
    __local int regions[WINDOWS ? 2 * TILE : 1];
#ifdef SCRATCH
    __local uint scratch[SCRATCH];
#else
    __local uint *const scratch = tiles;
#endif
    const tiles_at t = {tiles + TILE_SIZE, tiles,  tiles,   tiles + (KEPT ? 1 : 2) * TILE_SIZE,
                        q_sums,            k_sums, regions, scratch};
    const int blocks = (width + TILE - 1) / TILE, group = (int)get_group_id(0), block = group / blocks;
    const int head = (int)get_group_id(1), heads = (int)get_num_groups(1), channel = (group - block * blocks) * TILE;
    const int first_row = block * TILE, item = (int)(get_local_id(1) * SIDE + get_local_id(0));
    const size_t part = get_group_id(2);
    const position at = POSITION(item);
    const attention a = attention_of(qkv, ld_qkv, consts, prob, prob_step, prob_last, prob_shift, tokens, width, map,
                                     region, bias, pad, mask, windows, raster, head, heads, part);
    int s SCORE_TILES[ROWS][COLUMNS], tops[ROWS], logs[ROWS], p_sums[ROWS], acc[ROWS][COLUMNS];
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        tops[i] = SCORE_MIN;
        logs[i] = p_sums[i] = 0;
        UNROLL
        for (int j = 0; j < COLUMNS; j++) acc[i][j] = 0;
    }
    PASS(tile) {
        score_tile(SCORES(tile), &a, &t, first_row, tile * TILE, &at);
        UNROLL
        for (int i = 0; i < ROWS; i++)
            UNROLL
            for (int j = 0; j < COLUMNS; j++) tops[i] = max(tops[i], SCORES(tile)[i][j]);
    }
    reduce_rows(tops, LARGEST, t.p, &at);
    PASS(tile) {
        if (!KEPT) score_tile(SCORES(tile), &a, &t, first_row, tile * TILE, &at);
        UNROLL
        for (int i = 0; i < ROWS; i++)
            UNROLL
            for (int j = 0; j < COLUMNS; j++)
                if (tile * TILE + column_at(&at, j) < tokens)
                    logs[i] += (int)vq_exp2_neg((int)below(tops[i], SCORES(tile)[i][j]));
    }
    reduce_rows(logs, LOG_OF_TOTAL, t.p, &at);
    PASS(tile) {
        if (!KEPT) score_tile(SCORES(tile), &a, &t, first_row, tile * TILE, &at);
        barrier(CLK_LOCAL_MEM_FENCE);
        put_probabilities(t.p, p_sums, SCORES(tile), &a, tops, logs, tile * TILE, &at);
        load_values(t.v, &a, tile * TILE, channel, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        add_values(acc, &t, &at);
    }
    reduce_rows(p_sums, TOTAL, t.p, &at);
    __global const int *const of_channel = consts + heads * 4 + head * 3 * padded;
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int row = first_row + row_at(&at, i), to = row < tokens ? ROW_INDEX(a.map, row) : -1;
        UNROLL
        for (int j = 0; j < COLUMNS; j++) {
            const int d = channel + column_at(&at, j);
            if (to < 0 || d >= width) continue; /* padding has no output */
            const int sum = (int)((uint)acc[i][j] + (uint)p_sums[i] * (uint)(of_channel[d] - BIAS));
            const int code = add_sat(vq_requant(sum, of_channel[padded + d], of_channel[2 * padded + d]), zero);
            out[(FIRST_ROW(part, tokens) + to) * ld_out + head * width + d] = (uchar)clamp(code, 0, code_max);
        }
    }
}

#endif
