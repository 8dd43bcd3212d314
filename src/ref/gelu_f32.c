/* Witness of gelu_f32. */
#include "ref/ref_f32.h"

#include <math.h>

void vq_ref_gelu_f32(const float *x, float *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double v = (double)x[i];
        y[i] = (float)(v / 2.0 * erfc(-v / sqrt(2.0))); /* 1 + erf(u) = erfc(-u), without its cancellation */
    }
}
