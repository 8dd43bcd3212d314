/* fakequant_f32 for any device: one element per work-item. Element i belongs to group i / inner % groups.
 * Grid: (count / VQ_P0). */
#include "quantizer_f32.h"

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

OP fakequant_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                     __global float *y, int inner, int groups, int levels, int count)
{
    const uint i = (uint)get_global_id(0), g = i / (uint)inner % (uint)groups;
    if (i < (uint)count) y[i] = uniform_value(x[i], scale[g], zero[g], (float)(levels - 1));
}

OP whole_uniform(__global const float *x, __global const float *scale, __global const float *zero, __global float *y,
                 int inner, int groups, int levels, int count)
{
    const uint i = (uint)get_global_id(0), g = i / (uint)inner % (uint)groups;
    if (i < (uint)count) y[i] = uniform_code(x[i], scale[g], zero[g], (float)(levels - 1)) - zero[g];
}

OP quantize_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                    __global uchar *codes, int inner, int groups, int levels, int count)
{
    const uint i = (uint)get_global_id(0), g = i / (uint)inner % (uint)groups;
    if (i < (uint)count) codes[i] = convert_uchar(uniform_code(x[i], scale[g], zero[g], (float)(levels - 1)));
}

OP fakequant_codebook(__global const float *x, __global const float *thresholds, __global const float *values,
                      __global float *y, int inner, int groups, int levels, int count)
{
    const uint i = (uint)get_global_id(0), g = i / (uint)inner % (uint)groups;
    if (i >= (uint)count) return;
    y[i] = values[g * (size_t)levels + codebook_code(x[i], thresholds + g * (size_t)(levels - 1), levels - 1)];
}
