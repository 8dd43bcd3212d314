/* A tie that falls otherwise changes what comes after it, so this witness follows given codes, as that of gptq_f32. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref_f32.h"

static double error_of(const double *d, const float *gram, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) sum += d[i] * d[j] * (double)gram[(size_t)i * (size_t)k + (size_t)j];
    return sum;
}

vq_status vq_ref_descent(const float *w, const float *gram, const float *scale, const float *zero, int n, int k,
                         int levels, const uint8_t *before, const uint8_t *after, double *error, double *furthest)
{
    double *d = NULL;
    *furthest = 0;
    VQ_TRY(vq_alloc(&d, (size_t)k, sizeof *d, "descent"));
    for (int r = 0; r < n; r++) {
        const float *const row = w + (size_t)r * (size_t)k;
        const uint8_t *const old = before + (size_t)r * (size_t)k, *const now = after + (size_t)r * (size_t)k;
        for (int i = 0; i < k; i++) d[i] = row[i] - (old[i] - (double)zero[r]) * scale[r];
        for (int i = 0; i < k; i++) {
            const float *const g = gram + (size_t)i * (size_t)k;
            double slope = 0; /* of the others alone: 0 = slope + d g_ii at the best d */
            for (int j = 0; j < k; j++)
                if (j != i) slope += d[j] * (double)g[j];
            const double value = row[i] + slope / (double)g[i];
            const double exact = fmin(fmax(value / scale[r] + zero[r], 0), levels - 1);
            *furthest = fmax(*furthest, fabs(exact - now[i]));
            d[i] = row[i] - (now[i] - (double)zero[r]) * scale[r];
        }
        error[r] = error_of(d, gram, k);
    }
    free(d);
    return VQ_OK;
}
