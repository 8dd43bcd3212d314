/* softmax_f32 for CPUs: one work-item per VQ_P0 rows, 16 columns at a time. x and y may be the same memory.
 * Grid: (rows / VQ_P0), work-groups of one. */
#include "exp_f32.h"
#include "vq_vector.h"

/* As exp_neg, but zero below e^-87 and with n rounded on its own. Calibration by scores decides between candidates that are
 * equal but for last bits, so these stay as they were when the figures in docs/recipes.md were measured. */
static float16 exp_of(float16 x)
{
    const float16 n = rint(x * 1.44269504f);
    const float16 r = fma(n, (float16)-1.42860677e-6f, fma(n, (float16)-0.693145752f, x));
    const float16 p = exp_polynomial(r);
    const float16 scale = as_float16((__builtin_convertvector(max(n, (float16)-126.0f), int16) + 127) << 23);
    return select(p * scale, (float16)0.0f, x < -87.0f);
}

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
    const float16 e_last = exp_of(last - row_top);
    sum = rest ? e_last : 0.0f;
    for (int i = 0; i < whole; i += 16) {
        const float16 e = exp_of(LOAD_AT(float16, in + i) - row_top);
        STORE_AT(float16, out + i) = e;
        sum += e;
    }
    const float row_sum = lanes_sum(sum);
    for (int i = 0; i < whole; i += 16) STORE_AT(float16, out + i) = LOAD_AT(float16, out + i) / row_sum;
    *(float16 *)tail = e_last / row_sum;
    for (int i = 0; i < rest; i++) out[whole + i] = tail[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_f32(__global const float *x, __global float *y,
                                                                         int rows, int t)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, rows);
    for (int r = first; r < end; r++) row(x + (size_t)r * t, y + (size_t)r * t, t);
}
