#include <math.h>

#include "ref/ref_f32.h"

static double rounding_error(float w, float scale, float zero, int levels)
{
    const float code = fminf(fmaxf(rintf(w / scale) + zero, 0), (float)(levels - 1));
    return (double)((code - zero) * scale) - w;
}

void vq_ref_gram_terms(const float *w, const float *gram, const float *cross, const float *along, const float *scale,
                       const float *zero, int n, int k, int num, int levels, bool diagonal, double *terms)
{
    for (int r = 0; r < n; r++)
        for (int j = 0; j < num; j++) {
            const size_t at = (size_t)(r * num + j), row = (size_t)r * (size_t)k;
            double *const out = terms + 3 * at;
            out[0] = out[1] = out[2] = 0;
            for (int a = 0; a < k; a++) {
                const double da = rounding_error(w[row + (size_t)a], scale[at], zero[at], levels);
                for (int b = 0; b < k; b++)
                    if (a == b || !diagonal)
                        out[0] += da * (double)gram[(size_t)a * (size_t)k + (size_t)b] *
                                  rounding_error(w[row + (size_t)b], scale[at], zero[at], levels);
                out[1] += da * (double)cross[row + (size_t)a];
                out[2] += da * (double)along[row + (size_t)a];
            }
        }
}

void vq_ref_gram_error(const float *w, const float *gram, const float *cross, const float *scale, const float *zero,
                       int n, int k, int num, int levels, bool diagonal, double *error)
{
    for (int r = 0; r < n; r++) {
        const float *const row = w + (size_t)r * (size_t)k, *const c = cross + (size_t)r * (size_t)k;
        for (int j = 0; j < num; j++) {
            const float s = scale[r * num + j], z = zero[r * num + j];
            double sum = 0;
            for (int a = 0; a < k; a++) {
                const double da = rounding_error(row[a], s, z, levels);
                for (int b = 0; b < k; b++)
                    if (a == b || !diagonal)
                        sum +=
                            da * (double)gram[(size_t)a * (size_t)k + (size_t)b] * rounding_error(row[b], s, z, levels);
                sum -= 2 * da * (double)c[a];
            }
            error[r * num + j] = sum;
        }
    }
}
