/* layernorm_f64 for any device: one work-group of VQ_P0 (a power of two) items per row, sums by a tree of fixed shape.
 * Grid: (rows). */
#include "vq_real.h"
#define SUM_TYPE vq_real
#include "sum_of_group.h"

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void layernorm_f64(__global const float *x,
                                                                               __global const float *gamma,
                                                                               __global const float *beta, float eps,
                                                                               __global float *y, int m, int c)
{
    __local vq_real part[VQ_P0];
    __global const float *const in = x + get_group_id(0) * (size_t)c;
    __global float *const out = y + get_group_id(0) * (size_t)c;
    const int item = (int)get_local_id(0);
    vq_real sum = 0, squares = 0;
    for (int i = item; i < c; i += VQ_P0) sum += (vq_real)in[i];
    const vq_real mean = sum_of_group(part, sum) / c;
    for (int i = item; i < c; i += VQ_P0) {
        const vq_real d = (vq_real)in[i] - mean;
        squares += d * d;
    }
    const vq_real scale = 1 / sqrt(sum_of_group(part, squares) / c + (vq_real)eps);
    for (int i = item; i < c; i += VQ_P0)
        out[i] = (float)(((vq_real)in[i] - mean) * scale * (vq_real)gamma[i] + (vq_real)beta[i]);
}
