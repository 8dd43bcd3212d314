/* Witness of layernorm_f32. */
#include "ref/ref_f32.h"

#include <math.h>

void vq_ref_layernorm_f32(const float *x, int ldx, const float *gamma, const float *beta, float eps, float *y, int m,
                          int c)
{
    for (int row = 0; row < m; row++) {
        const float *const in = x + (size_t)row * (size_t)ldx;
        float *const out = y + (size_t)row * (size_t)c;
        double sum = 0.0, squares = 0.0;
        for (int i = 0; i < c; i++) sum += (double)in[i];
        const double mean = sum / c;
        for (int i = 0; i < c; i++) squares += ((double)in[i] - mean) * ((double)in[i] - mean);
        const double deviation = sqrt(squares / c + (double)eps);
        for (int i = 0; i < c; i++)
            out[i] = (float)(((double)in[i] - mean) / deviation * (double)gamma[i] + (double)beta[i]);
    }
}
