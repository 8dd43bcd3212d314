/* Witness of linear_f32: every element is one dot product in double. */
#include <math.h>

#include "ref/ref_f32.h"

void vq_ref_linear_f32(int m, int n, int k, const float *x, const float *w, const float *bias,
                       vq_linear_epilogue epilogue, const float *other, float *y)
{
    for (size_t r = 0; r < (size_t)m; r++)
        for (size_t c = 0; c < (size_t)n; c++) {
            double sum = bias ? bias[c] : 0;
            for (size_t i = 0; i < (size_t)k; i++) sum += (double)x[r * (size_t)k + i] * w[c * (size_t)k + i];
            if (epilogue == VQ_LINEAR_GELU) sum = sum / 2 * (1 + erf(sum / sqrt(2)));
            if (epilogue == VQ_LINEAR_ADD) sum += other[r * (size_t)n + c];
            y[r * (size_t)n + c] = (float)sum;
        }
}
