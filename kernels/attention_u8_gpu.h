/* What the kernels of attention_u8 for GPUs share: the arithmetic between the two products, and codes on their way to local
 * memory.
 *
 * ALIGNED   1: codes of every head of every token begin at multiples of 4
 * SLICE     fours of channels of Q and K that are multiplied at once
 * PROB_LOW  0: the low bytes of all probabilities are 0
 * TILES     tiles of tokens that an attention has, whose scores an item then keeps; 0 where they are too many, and every
 *           pass computes them again */
#ifndef ATTENTION_U8_GPU_H
#define ATTENTION_U8_GPU_H

#include "attention_u8_rows.h"
#include "vq_int.h"
#include "vq_local.h"

#ifndef ALIGNED
#define ALIGNED 0
#endif
#ifndef PROB_LOW
#define PROB_LOW 1
#endif
#ifndef SLICE
#define SLICE 16
#endif
#ifndef TILES
#define TILES 0
#endif

/* One head of one image or window. */
typedef struct attention {
    token_rows rows;                       /* from the head's part of Q on; K and V are all_heads and twice that further */
    __global const int *map, *region, *bias; /* of the window and of the head; the last two not looked at without WINDOWS */
    __global const ushort *prob;
    int tokens, width, all_heads, q_zero, mult, shift, mask, prob_last, prob_shift;
} attention;

/* consts, prob: see attention_u8.cl. */
#define ATTENTION_ARGS                                                                                                 \
    __global const uchar *qkv, int ld_qkv, __global uchar *out, int ld_out, __global const int *consts,                \
        __global const ushort *prob, int prob_step, int prob_last, int prob_shift, int tokens, int width, int padded,  \
        int zero, int code_max, WINDOW_ARGS

static attention attention_of(__global const uchar *qkv, int ld_qkv, __global const int *consts,
                              __global const ushort *prob, int prob_step, int prob_last, int prob_shift, int tokens,
                              int width, WINDOW_ARGS, int head, int heads, size_t part)
{
    __global const int *const of_head = consts + head * 4;
    __global const int *const map_of = MAP_OF(part, tokens);
    const token_rows all = {qkv + FIRST_ROW(part, tokens) * ld_qkv, pad, map_of, ld_qkv};
#if WINDOWS
    region += map_of - map;
    bias += (size_t)head * tokens * tokens;
#endif
    return (attention){.rows = columns(all, head * width),
                       .map = map_of,
                       .region = region,
                       .bias = bias,
                       .prob = prob + (size_t)head * prob_step,
                       .tokens = tokens,
                       .width = width,
                       .all_heads = heads * width,
                       .q_zero = of_head[0],
                       .mult = of_head[1],
                       .shift = of_head[2],
                       .mask = mask,
                       .prob_last = prob_last,
                       .prob_shift = prob_shift};
}

/* Row of Q, K or V (0, 1, 2) of a token. */
static __global const uchar *codes_of(const attention *a, int token, int which)
{
    return row_of(&a->rows, token) + which * a->all_heads;
}

/* Codes 4 * at .. + 3 of a row, 0 from `count` on. */
static uint four_at(__global const uchar *row, int at, int count)
{
#if ALIGNED
    return 4 * at < count ? ((__global const uint *)row)[at] : 0;
#else
    uint four = 0;
#pragma unroll 1 /* in flight together, they take registers that the products need */
    for (int i = 0; i < 4; i++)
        if (4 * at + i < count) four |= (uint)row[4 * at + i] << (8 * i);
    return four;
#endif
}

/* Four rows of four codes to four columns of them. */
static void transpose4(uint out[4], const uint in[4])
{
    const uchar4 a = as_uchar4(in[0]), b = as_uchar4(in[1]), c = as_uchar4(in[2]), d = as_uchar4(in[3]);
    out[0] = as_uint((uchar4)(a.s0, b.s0, c.s0, d.s0));
    out[1] = as_uint((uchar4)(a.s1, b.s1, c.s1, d.s1));
    out[2] = as_uint((uchar4)(a.s2, b.s2, c.s2, d.s2));
    out[3] = as_uint((uchar4)(a.s3, b.s3, c.s3, d.s3));
}

/* A score from its sum of products. near: row and token are in the same region. */
#define SCORE_LIMIT (1 << 30)
#define SCORE_MIN   (-SCORE_LIMIT)
static int score_of(const attention *a, int sum, int row, int token, bool near)
{
    const int y = clamp(vq_requant(sum, a->mult, a->shift), -SCORE_LIMIT, SCORE_LIMIT);
#if WINDOWS
    const int added = a->bias[row * a->tokens + token] + (near ? 0 : a->mask);
    return clamp(y + added, -SCORE_LIMIT, SCORE_LIMIT);
#else
    return y;
#endif
}

static uint below(int top, int score)
{
    return min((uint)top - (uint)score, 0x7fffffffu);
}

/* A probability's decode value. log_sum > -2^31 and t + log_sum < 2^32. */
static uint probability(const attention *a, uint t, int log_sum)
{
    const uint u = log_sum < 0 && t < (uint)-log_sum ? 0 : t + (uint)log_sum;
    return a->prob[min(u >> a->prob_shift, (uint)a->prob_last)];
}

#endif
