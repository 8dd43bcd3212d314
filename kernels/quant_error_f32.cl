/* quant_error_f32 for any device: squared errors of `num` candidate quantizers, summed over chunks; the host adds up
 * the chunks. Parameters of candidate j and group g: scale[j][g], thresholds[g][j][..]. partial [chunk][group][num]. */
#include "quantizer_f32.h"
#include "sum_of_group.h"

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

/* Element e of group g. */
static size_t place(uint e, uint g, uint inner, uint groups)
{
    const uint run = e / inner;
    return ((size_t)run * groups + g) * inner + (e - run * inner);
}

/* Groups of runs. Grid: (chunks of chunk_len of the group's n elements, groups). */
OP error_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                 __global float *partial, int inner, int groups, int n, int chunk_len, int num, int levels)
{
    __local float part[VQ_P0];
    const uint g = (uint)get_group_id(1), first = (uint)get_group_id(0) * chunk_len;
    const uint end = min(first + chunk_len, (uint)n);
    for (int j = 0; j < num; j++) {
        const float s = scale[j * groups + g], z = zero[j * groups + g];
        float sum = 0.0f;
        for (uint e = first + (uint)get_local_id(0); e < end; e += VQ_P0) {
            const float v = x[place(e, g, inner, groups)], d = v - uniform_value(v, s, z, (float)(levels - 1));
            sum = fma(d, d, sum);
        }
        sum = sum_of_group(part, sum);
        if (get_local_id(0) == 0) partial[(get_group_id(0) * groups + g) * num + j] = sum;
    }
}

/* Channels: one per work-item. Grid: (groups / VQ_P0, chunks of chunk_len rows). */
OP error_uniform_channels(__global const float *x, __global const float *scale, __global const float *zero,
                          __global float *partial, int groups, int rows, int chunk_len, int num, int levels)
{
    const int c = (int)get_global_id(0), first = (int)get_group_id(1) * chunk_len, end = min(first + chunk_len, rows);
    if (c >= groups) return;
    for (int j = 0; j < num; j++) {
        const float s = scale[j * groups + c], z = zero[j * groups + c];
        float sum = 0.0f;
        for (int r = first; r < end; r++) {
            const float v = x[(size_t)r * groups + c], d = v - uniform_value(v, s, z, (float)(levels - 1));
            sum = fma(d, d, sum);
        }
        partial[(get_group_id(1) * groups + c) * num + j] = sum;
    }
}

/* For vitq-bench: the most that the arithmetic of error_uniform, or with codebook that of error_codebook, could do on
 * registers alone. out s32 [groups][2]: elements per step of a work-group; the sums, so that they are not left out. */
OP error_peak(__global int *out, __global const float *thresholds, __global const float *values, int steps, int levels,
              int codebook)
{
    __global int *const mine = out + 2 * get_group_id(0);
    float x = (float)mine[0] + (float)get_local_id(0), sum = 0.0f;
    for (int i = 0; i < steps; i++) {
        const float y = codebook ? values[codebook_code(x, thresholds, levels - 1)]
                                 : uniform_value(x, values[0], values[1], (float)(levels - 1));
        sum = fma(x - y, x - y, sum);
        x += values[0];
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (get_local_id(0)) return;
    mine[0] = VQ_P0;
    mine[1] = as_int(sum);
}

/* For vitq-bench: reads n floats. Grid: (n / chunk_len). */
OP error_read(__global const float *x, __global float *out, int n, int chunk_len)
{
    __local float part[VQ_P0];
    const int first = (int)get_group_id(0) * chunk_len, end = min(first + chunk_len, n);
    float sum = 0.0f;
    for (int i = first + (int)get_local_id(0); i < end; i += VQ_P0) sum += x[i];
    sum = sum_of_group(part, sum);
    if (get_local_id(0) == 0) out[get_group_id(0)] = sum;
}

OP error_codebook(__global const float *x, __global const float *thresholds, __global const float *values,
                  __global float *partial, int inner, int groups, int n, int chunk_len, int num, int levels)
{
    __local float part[VQ_P0];
    const uint g = (uint)get_group_id(1), first = (uint)get_group_id(0) * chunk_len;
    const uint end = min(first + chunk_len, (uint)n);
    for (int j = 0; j < num; j++) {
        __global const float *const t = thresholds + (g * (size_t)num + j) * (levels - 1);
        __global const float *const u = values + (g * (size_t)num + j) * levels;
        float sum = 0.0f;
        for (uint e = first + (uint)get_local_id(0); e < end; e += VQ_P0) {
            const float v = x[place(e, g, inner, groups)], d = v - u[codebook_code(v, t, levels - 1)];
            sum = fma(d, d, sum);
        }
        sum = sum_of_group(part, sum);
        if (get_local_id(0) == 0) partial[(get_group_id(0) * groups + g) * num + j] = sum;
    }
}
