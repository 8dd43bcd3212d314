/* attention_f32 for CPUs: one work-item does rows_per_item queries of one head. It packs the head's keys as
 * [panel][d][PANEL] and its values as [panel][t][PANEL] into local memory (which on a CPU is ordinary, cached memory), then
 * takes ROWS queries at a time through scores, softmax and the product with the values, which nothing but the result
 * leaves. Grid: (row chunks, heads, images), work-groups of one. VQ_P0 and VQ_P1: see tile_f32.h.
 *
 * TOKENS, WIDTH  what t and d are: rows of scores and queries then lie at distances known to the compiler, which else keeps an
 *                address for each of them, more than there are registers. 0: not known */
#include "exp_f32.h"
#include "tile_f32.h"
#include "vq_vector.h"

#ifndef TOKENS
#define TOKENS 0
#endif
#ifndef WIDTH
#define WIDTH 0
#endif
#define ROUND_UP(n) (((n) + PANEL - 1) / PANEL * PANEL)

/* Keys beyond t repeat the last one. */
VQ_LOCAL_FUNCTION void pack_keys(__local float *packed, __global const float *k, int ld, int t, int d)
{
    for (int j = 0; j < ROUND_UP(t); j += 4)
        transpose_four(packed + (size_t)(j / PANEL) * PANEL * d + j % PANEL, k, ld, j, t - 1, d);
}

VQ_LOCAL_FUNCTION void pack_values(__local float *packed, __global const float *v, int ld, int t, int d)
{
    for (int c = 0; c < d; c += 16) {
        __local float *const to = packed + (size_t)(c / PANEL) * PANEL * t + c % PANEL;
        for (int j = 0; j < t; j++) {
            __global const float *const from = v + (size_t)j * ld + c;
            if (c + 16 <= d)
                *(__local float16 *)(to + j * PANEL) = LOAD_AT(float16, from);
            else
                for (int i = 0; i < 16; i++) to[j * PANEL + i] = c + i < d ? from[i] : 0.0f;
        }
    }
}

VQ_LOCAL_FUNCTION void take_query(__local float *to, __global const float *q, int d)
{
    int i = 0;
    for (; i + 4 <= d; i += 4) vstore4(vload4(0, q + i), 0, to + i);
    for (; i < d; i++) to[i] = q[i];
}

/* ROWS x PANEL sums of rows of a, ld elements apart, with a panel of k rows. */
VQ_LOCAL_FUNCTION void multiply(float16 *sums, __local const float *a, int ld, __local const float *panel, int k)
{
#define ROW_START(r) __local const float *const a##r = a + (r)*ld;
    EACH_ROW(ROW_START)
#define SUM_START(r) float16 p##r = 0.0f; SECOND(float16 q##r = 0.0f;)
    EACH_ROW(SUM_START)
    for (int i = 0; i < k; i++) {
#define A_AT(r) a##r[i]
        LOAD_PANEL(__local, panel + i * PANEL)
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
}

#define LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

/* A row of scores becomes e^(scale * (score - the largest)), zeros beyond t; their sum. Beyond t it holds copies of the last
 * score, which do not move the largest. */
VQ_LOCAL_FUNCTION float weigh(__local float *p, int t, float scale)
{
    const int whole = t & ~15;
    float16 top = *(__local float16 *)p, sum = 0.0f;
    for (int i = 16; i < t; i += 16) {
        const float16 v = *(__local float16 *)(p + i);
        top = v > top ? v : top;
    }
    const float largest = lanes_max(top);
    for (int i = 0; i < t; i += 16) {
        float16 e = exp_neg((*(__local float16 *)(p + i) - largest) * scale);
        if (i == whole) e = LANES < t - i ? e : 0.0f;
        *(__local float16 *)(p + i) = e;
        sum += e;
    }
    return lanes_sum(sum);
}

static void store(__global float *to, float16 value, int cols)
{
    if (cols >= 16) {
        STORE_AT(float16, to) = value;
        return;
    }
    float spill[16] __attribute__((aligned(64)));
    *(float16 *)spill = value;
    for (int i = 0; i < cols; i++) to[i] = spill[i];
}

/* local: floats for keys and values packed, ROWS rows of scores and of queries; scale > 0. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_f32(__global const float *qkv, __global float *out, int t, int d, float scale, int rows_per_item,
              __local float *local_floats)
{
    if (TOKENS) t = TOKENS;
    if (WIDTH) d = WIDTH;
    const int head = (int)get_group_id(1), width = (int)get_num_groups(1) * d, ld = 3 * width;
    const int tokens = ROUND_UP(t), first = (int)get_group_id(0) * rows_per_item, end = min(first + rows_per_item, t);
    __local float *const keys = local_floats, *const values = keys + (size_t)tokens * d;
    __local float *const scores = values + (size_t)ROUND_UP(d) * t, *const queries = scores + ROWS * tokens;
    __global const float *const q = qkv + get_group_id(2) * t * ld + head * d;
    __global float *const y = out + get_group_id(2) * t * width + head * d;
    float16 sums[ROWS * VECTORS];
    float factor[ROWS];
    pack_keys(keys, q + width, ld, t, d);
    pack_values(values, q + 2 * width, ld, t, d);
    for (int m0 = first; m0 < end; m0 += ROWS) {
        for (int r = 0; r < ROWS; r++) take_query(queries + r * d, q + (size_t)min(m0 + r, end - 1) * ld, d);
        for (int n0 = 0; n0 < tokens; n0 += PANEL) {
            multiply(sums, queries, d, keys + (size_t)n0 * d, d);
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECTORS; v++)
                    *(__local float16 *)(scores + r * tokens + n0 + 16 * v) = sums[r * VECTORS + v];
        }
        for (int r = 0; r < ROWS; r++) factor[r] = 1.0f / weigh(scores + r * tokens, t, scale);
        for (int n0 = 0; n0 < d; n0 += PANEL) {
            multiply(sums, scores, tokens, values + (size_t)n0 * t, t);
            for (int r = 0; r < ROWS && m0 + r < end; r++)
                for (int v = 0; v < VECTORS && n0 + 16 * v < d; v++)
                    store(y + (size_t)(m0 + r) * width + n0 + 16 * v, sums[r * VECTORS + v] * factor[r], d - n0 - 16 * v);
        }
    }
}
