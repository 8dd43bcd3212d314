/* Witness of softmax_f32. */
#include "ref/ref_f32.h"

#include <math.h>

void vq_ref_softmax_f32(const float *x, float *y, size_t rows, int t)
{
    for (size_t row = 0; row < rows; row++) {
        const float *const in = x + row * (size_t)t;
        float *const out = y + row * (size_t)t;
        double top = (double)in[0], sum = 0.0;
        for (int i = 1; i < t; i++) top = fmax(top, (double)in[i]);
        for (int i = 0; i < t; i++) sum += exp((double)in[i] - top);
        for (int i = 0; i < t; i++) out[i] = (float)(exp((double)in[i] - top) / sum);
    }
}
