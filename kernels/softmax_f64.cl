/* softmax_f64 for any device: one work-group of VQ_P0 (a power of two) items per row; sums by a tree of fixed shape.
 * x and y may be the same memory. Grid: (rows). */
#include "vq_real.h"
#define SUM_TYPE vq_real
#include "sum_of_group.h"

VQ_LOCAL_FUNCTION vq_real max_of_group(__local vq_real *part, vq_real value)
{
    const int item = (int)get_local_id(0);
    part[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = VQ_P0 / 2; half_size; half_size /= 2) {
        if (item < half_size) part[item] = fmax(part[item], part[item + half_size]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const vq_real top = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return top;
}

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void softmax_f64(__global const float *x, __global float *y,
                                                                             int rows, int t)
{
    __local vq_real part[VQ_P0];
    __global const float *const in = x + get_group_id(0) * (size_t)t;
    __global float *const out = y + get_group_id(0) * (size_t)t;
    const int item = (int)get_local_id(0);
    vq_real top = -INFINITY, sum = 0;
    for (int i = item; i < t; i += VQ_P0) top = fmax(top, (vq_real)in[i]);
    top = max_of_group(part, top);
    for (int i = item; i < t; i += VQ_P0) sum += exp((vq_real)in[i] - top);
    sum = sum_of_group(part, sum);
    for (int i = item; i < t; i += VQ_P0) out[i] = (float)(exp((vq_real)in[i] - top) / sum);
}
