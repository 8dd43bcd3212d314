/* gptq_f32 (src/ops/ops_f32.h). A lane is one row of the weights; a work-group has 16 of them in its part of scratch,
 * columns in the order in which they are rounded, so that what one column's error adds to the later ones is a run of
 * multiply-adds. */
#include "lanes_f32.h"

LANES_OP gptq(__global const float *w, __global const float *factor, __global const int *order,
              __global const float *scale, __global const float *zero, __global float *scratch,
              __global uchar *codes, __global float *values, int n, int k, int levels)
{
    const int first = (int)get_group_id(0) * 16;
    __global float *const x = scratch + (size_t)first * k;
    const lane_t s = LANE_LOAD(scale + first), z = LANE_LOAD(zero + first);
    const float top = (float)(levels - 1);
    for (int i = 0; i < k; i++)
        FOR_LANES(lane) x[i * 16 + lane] = first + lane < n ? w[(size_t)(first + lane) * k + order[i]] : 0.0f;
    for (int i = 0; i < k; i++) {
        __global const float *const u = factor + (size_t)i * k;
        const lane_t v = LANE_LOAD(x + i * 16), code = LANE_CODE(v, s, z, top), rounded = (code - z) * s;
        const lane_t error = (v - rounded) / u[i];
        FOR_LANES(lane) if (first + lane < n)
        {
            codes[(size_t)(first + lane) * k + order[i]] = (uchar)LANE_AT(code, lane);
            values[(size_t)(first + lane) * k + order[i]] = LANE_AT(rounded, lane);
        }
        for (int l = i + 1; l < k; l++) LANE_STORE(x + l * 16, fma(-error, (lane_t)u[l], LANE_LOAD(x + l * 16)));
    }
}
