/* What lowering and packing both need to know of an integer op. */
#include "base/int_ops.h"

#include <math.h>

double vq_gemm_row_bound(const vq_gemm_s8_weights *w, int n)
{
    const int8_t *const row = w->w + (size_t)n * (size_t)w->k;
    double positive = 0, negative = 0;
    for (int k = 0; k < w->k; k++) {
        if (row[k] > 0)
            positive += row[k];
        else
            negative -= row[k];
    }
    const double zero = w->w_zero ? fabs((double)w->w_zero[n]) * w->k : 0;
    return w->a_max * (VQ_MAX(positive, negative) + zero) + fabs((double)w->bias[n]);
}
