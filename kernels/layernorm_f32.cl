/* layernorm_f32 for any device: one work-group of VQ_P0 (a power of two) items per row, sums by a tree of fixed shape.
 * The second pass sums squared differences from the mean, which do not cancel, and the differences themselves, whose
 * mean is what rounding left in the first: a constant row gives beta to the last bits, however large. Grid: (rows). */
#include "sum_of_group.h"

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void layernorm_f32(__global const float *x, int ldx,
                                                                               __global const float *gamma,
                                                                               __global const float *beta, float eps,
                                                                               __global float *y, int m, int c,
                                                                               int rows_per_item)
{
    __local float part[VQ_P0];
    __global const float *const in = x + get_group_id(0) * (size_t)ldx;
    __global float *const out = y + get_group_id(0) * (size_t)c;
    const int item = (int)get_local_id(0);
    float sum = 0.0f, squares = 0.0f, rest = 0.0f;
    for (int i = item; i < c; i += VQ_P0) sum += in[i];
    const float mean = sum_of_group(part, sum) / c;
    for (int i = item; i < c; i += VQ_P0) {
        const float d = in[i] - mean;
        squares = fma(d, d, squares);
        rest += d;
    }
    rest = sum_of_group(part, rest) / c;
    const float scale = 1.0f / sqrt(max(sum_of_group(part, squares) / c - rest * rest, 0.0f) + eps);
    for (int i = item; i < c; i += VQ_P0) out[i] = fma((in[i] - mean - rest) * scale, gamma[i], beta[i]);
}
