/* attention_u8: one work-group of VQ_P0 (a power of two) work-items per query row of one head of one image, the row's
 * scores and then its probabilities in local memory. Grid: (rows, heads, images). base/int_ops.h has the formulas.
 * MAX_T: a bound on the tokens. */
#include "attention_u8_rows.h"
#include "vq_int.h"
#include "vq_local.h"

#ifndef MAX_T
#define MAX_T 4096
#endif
#define MAX_D 256

#define MAX_OF(a, b) max(a, b)
#define SUM_OF(a, b) ((a) + (b))

/* The group's values reduced by OP, in every item. */
#define REDUCE(name, OP)                                                     \
    VQ_LOCAL_FUNCTION uint name(__local uint *part, uint value)              \
    {                                                                        \
        const int item = (int)get_local_id(0);                               \
        barrier(CLK_LOCAL_MEM_FENCE);                                        \
        part[item] = value;                                                  \
        for (int step = VQ_P0 / 2; step > 0; step /= 2) {                    \
            barrier(CLK_LOCAL_MEM_FENCE);                                    \
            if (item < step) part[item] = OP(part[item], part[item + step]); \
        }                                                                    \
        barrier(CLK_LOCAL_MEM_FENCE);                                        \
        return part[0];                                                      \
    }
REDUCE(reduce_max, MAX_OF)
REDUCE(reduce_sum, SUM_OF)

/* A score, biased by 2^30 into 0 .. 2^31. */
VQ_LOCAL_FUNCTION uint score(__local const uchar *q, __global const uchar *k, int d, int q_zero, int mult, int shift)
{
    int s = 0;
    for (int i = 0; i < d; i++) s += (q[i] - q_zero) * (k[i] - 128);
    return (uint)(clamp(vq_requant(s, mult, shift), -(1 << 30), 1 << 30) + (1 << 30));
}

/* consts: s32 [heads][4] q_zero, score_mult, score_shift, 0; then [heads][3][padded] v_zero, mult, shift.
 * prob_step: from one head's table to the next, 0 where they share one. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void
attention_u8(__global const uchar *qkv, int ld_qkv, __global uchar *out, int ld_out, __global const int *consts,
             __global const ushort *prob, int prob_step, int prob_last, int prob_shift, int tokens, int width,
             int padded, int zero, int code_max, WINDOW_ARGS)
{
    __local uint y[MAX_T];
    __local uint part[VQ_P0];
    __local uchar q[MAX_D];
    const int item = (int)get_local_id(0), row = (int)get_group_id(0), head = (int)get_group_id(1);
    const int heads = (int)get_num_groups(1), all = heads * width;
    const size_t part_id = get_group_id(2), first = FIRST_ROW(part_id, tokens);
    __global const int *const map_of = MAP_OF(part_id, tokens);
    const token_rows of_q = columns((token_rows){qkv + first * ld_qkv, pad, map_of, ld_qkv}, head * width);
    const token_rows of_k = columns(of_q, all), of_v = columns(of_k, all);
    const int to = ROW_INDEX(map_of, row);
    if (to < 0) return; /* padding has no output */
    __global const int *const of_head = consts + head * 4;
    __global const int *const channel = consts + heads * 4 + head * 3 * padded;
    for (int d = item; d < width; d += VQ_P0) q[d] = row_of(&of_q, row)[d];
    barrier(CLK_LOCAL_MEM_FENCE);

    uint top = 0;
    for (int j = item; j < tokens; j += VQ_P0) {
        y[j] = score(q, row_of(&of_k, j), width, of_head[0], of_head[1], of_head[2]);
#if WINDOWS
        __global const int *const region_of = region + (map_of - map);
        const int added = bias[((size_t)head * tokens + row) * tokens + j] + (region_of[j] != region_of[row] ? mask : 0);
        y[j] = (uint)clamp((int)y[j] - (1 << 30) + added, -(1 << 30), 1 << 30) + (1u << 30);
#endif
        top = max(top, y[j]);
    }
    top = reduce_max(part, top);
    uint sum = 0;
    for (int j = item; j < tokens; j += VQ_P0) {
        y[j] = min(top - y[j], 0x7fffffffu);
        sum += vq_exp2_neg((int)y[j]);
    }
    const int log_sum = vq_log2_q16(reduce_sum(part, sum));
    uint p_sum = 0;
    for (int j = item; j < tokens; j += VQ_P0) {
        const long u = max((long)y[j] + log_sum, 0L);
        y[j] = prob[(long)head * prob_step + min(u >> prob_shift, (long)prob_last)];
        p_sum += y[j];
    }
    p_sum = reduce_sum(part, p_sum);

    for (int d = item; d < width; d += VQ_P0) {
        uint a = p_sum * (uint)channel[d]; /* the total fits s32, so wrapping parts do no harm */
        for (int j = 0; j < tokens; j++) a += y[j] * (uint)(row_of(&of_v, j)[d] - 128);
        const int code = add_sat(vq_requant((int)a, channel[padded + d], channel[2 * padded + d]), zero);
        out[(first + to) * ld_out + head * width + d] = (uchar)clamp(code, 0, code_max);
    }
}
