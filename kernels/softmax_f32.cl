/* softmax_f32 for any device: one work-group of VQ_P0 (a power of two) items per row; sums by a tree of fixed shape.
 * x and y may be the same memory. Grid: (rows). */
#include "vq_local.h"

VQ_LOCAL_FUNCTION float reduce(__local float *part, float value, int want_max)
{
    const int item = (int)get_local_id(0);
    part[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = VQ_P0 / 2; half_size; half_size /= 2) {
        if (item < half_size) {
            const float a = part[item], b = part[item + half_size];
            part[item] = want_max ? fmax(a, b) : a + b;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float result = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return result;
}

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void softmax_f32(__global const float *x, __global float *y,
                                                                             int rows, int t)
{
    __local float part[VQ_P0];
    __global const float *const in = x + get_group_id(0) * (size_t)t;
    __global float *const out = y + get_group_id(0) * (size_t)t;
    const int item = (int)get_local_id(0);
    float top = -INFINITY, sum = 0.0f;
    for (int i = item; i < t; i += VQ_P0) top = fmax(top, in[i]);
    top = reduce(part, top, 1);
    for (int i = item; i < t; i += VQ_P0) {
        const float e = exp(in[i] - top);
        out[i] = e;
        sum += e;
    }
    sum = reduce(part, sum, 0);
    for (int i = item; i < t; i += VQ_P0) out[i] /= sum;
}
