/* gelu_rational_f32: the steps of base/float_ops.h, each rounded to float, so that nothing may be contracted. One element
 * per work-item. Grid: (count / VQ_P0). */
#pragma OPENCL FP_CONTRACT OFF

#include "vq_gelu_rational.h"

__constant float numerator[] = {VQ_GELU_NUMERATOR}, denominator[] = {VQ_GELU_DENOMINATOR};

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void gelu_rational_f32(__global const float *x,
                                                                                   __global float *y, int count)
{
    const size_t at = get_global_id(0);
    if (at >= (size_t)count) return;
    const float u = x[at] * VQ_GELU_ROOT_HALF;
    const float t = min(u * u, VQ_GELU_TOP);
    float p = numerator[0], q = denominator[0];
    for (int i = 1; i < VQ_GELU_TERMS; i++) {
        p = p * t + numerator[i];
        q = q * t + denominator[i];
    }
    const float erf_u = clamp(u * p / q, -1.0f, 1.0f);
    y[at] = x[at] * 0.5f * (erf_u + 1.0f);
}
