/* A tie that falls otherwise changes everything after it, so this witness follows given codes and says how far any of
 * them is from the one that should have been chosen. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref_f32.h"

vq_status vq_ref_gptq(const float *w, const float *factor, const int32_t *order, const float *scale, const float *zero,
                      int n, int k, int levels, const uint8_t *codes, double *furthest)
{
    double *row = NULL;
    *furthest = 0;
    VQ_TRY(vq_alloc(&row, (size_t)k, sizeof *row, "gptq"));
    for (int r = 0; r < n; r++) {
        for (int i = 0; i < k; i++) row[i] = w[(size_t)r * (size_t)k + (size_t)order[i]];
        for (int i = 0; i < k; i++) {
            const float *const u = factor + (size_t)i * (size_t)k;
            const int code = codes[(size_t)r * (size_t)k + (size_t)order[i]];
            const double exact = fmin(fmax(row[i] / scale[r] + zero[r], 0), levels - 1);
            const double error = (row[i] - (code - (double)zero[r]) * scale[r]) / u[i];
            *furthest = fmax(*furthest, fabs(exact - code));
            for (int l = i + 1; l < k; l++) row[l] -= error * u[l];
        }
    }
    free(row);
    return VQ_OK;
}
