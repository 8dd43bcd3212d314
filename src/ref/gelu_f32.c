/* Witnesses of gelu_f32 and gelu_rational_f32. */
#include "ref/ref_f32.h"

#include <math.h>

#include "vq_gelu_rational.h"

void vq_ref_gelu_f32(const float *x, float *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double v = (double)x[i];
        y[i] = (float)(v / 2.0 * erfc(-v / sqrt(2.0))); /* 1 + erf(u) = erfc(-u), without its cancellation */
    }
}

void vq_ref_gelu_rational_f32(const float *x, float *y, size_t count)
{
    static const float p[] = {VQ_GELU_NUMERATOR}, q[] = {VQ_GELU_DENOMINATOR};
    for (size_t i = 0; i < count; i++) {
        const float u = x[i] * VQ_GELU_ROOT_HALF;
        const float t = fminf(u * u, VQ_GELU_TOP);
        const float above = ((((p[0] * t + p[1]) * t + p[2]) * t + p[3]) * t + p[4]) * t + p[5];
        const float below = ((((q[0] * t + q[1]) * t + q[2]) * t + q[3]) * t + q[4]) * t + q[5];
        const float erf_u = fminf(fmaxf(u * above / below, -1.0f), 1.0f);
        y[i] = x[i] * 0.5f * (erf_u + 1.0f);
    }
}
