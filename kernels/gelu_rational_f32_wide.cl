/* gelu_rational_f32 for CPUs: one work-item per VQ_P0 elements (a multiple of 16), 16 at a time; nothing may be
 * contracted. Grid: (count / VQ_P0), work-groups of one. */
#pragma OPENCL FP_CONTRACT OFF

#include "vq_gelu_rational.h"
#include "vq_vector.h"

__constant float numerator[] = {VQ_GELU_NUMERATOR}, denominator[] = {VQ_GELU_DENOMINATOR};

static float16 gelu(float16 x)
{
    const float16 u = x * VQ_GELU_ROOT_HALF;
    const float16 square = u * u;
    const float16 t = square < VQ_GELU_TOP ? square : (float16)VQ_GELU_TOP;
    float16 p = numerator[0], q = denominator[0];
    for (int i = 1; i < VQ_GELU_TERMS; i++) {
        p = p * t + numerator[i];
        q = q * t + denominator[i];
    }
    float16 erf_u = u * p / q;
    erf_u = erf_u < 1.0f ? erf_u : (float16)1.0f;
    erf_u = erf_u > -1.0f ? erf_u : (float16)-1.0f;
    return x * 0.5f * (erf_u + 1.0f);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gelu_rational_f32(__global const float *x,
                                                                               __global float *y, int count)
{
    const size_t first = get_group_id(0) * (size_t)VQ_P0;
    const size_t end = min(first + VQ_P0, (size_t)count);
    size_t i = first;
    for (; i + 16 <= end; i += 16) STORE_AT(float16, y + i) = gelu(LOAD_AT(float16, x + i));
    if (i == end) return;
    float tail[16];
    for (int j = 0; j < 16; j++) tail[j] = i + j < end ? x[i + j] : 0.0f;
    vstore16(gelu(vload16(0, tail)), 0, tail);
    for (int j = 0; i + j < end; j++) y[i + j] = tail[j];
}
