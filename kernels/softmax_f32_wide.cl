/* softmax_f32 for CPUs: one work-item per VQ_P0 rows, 16 columns at a time. x and y may be the same memory.
 * Grid: (rows / VQ_P0), work-groups of one. */
#include "exp_f32.h"
#include "vq_vector.h"

static void row(__global const float *in, __global float *out, int t)
{
    const int whole = t & ~15, rest = t - whole;
    float tail[16] __attribute__((aligned(64)));
    for (int i = 0; i < 16; i++) tail[i] = i < rest ? in[whole + i] : -INFINITY;
    const float16 last = *(float16 *)tail;
    float16 top = last, sum;
    for (int i = 0; i < whole; i += 16) {
        const float16 v = LOAD_AT(float16, in + i);
        top = select(top, v, v > top);
    }
    const float row_top = lanes_max(top);
    const float16 e_last = exp_neg(last - row_top);
    sum = rest ? e_last : 0.0f;
    for (int i = 0; i < whole; i += 16) {
        const float16 e = exp_neg(LOAD_AT(float16, in + i) - row_top);
        STORE_AT(float16, out + i) = e;
        sum += e;
    }
    const float factor = 1.0f / lanes_sum(sum);
    for (int i = 0; i < whole; i += 16) STORE_AT(float16, out + i) = LOAD_AT(float16, out + i) * factor;
    *(float16 *)tail = e_last * factor;
    for (int i = 0; i < rest; i++) out[whole + i] = tail[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_f32(__global const float *x, __global float *y,
                                                                         int rows, int t)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, rows);
    for (int r = first; r < end; r++) row(x + (size_t)r * t, y + (size_t)r * t, t);
}
