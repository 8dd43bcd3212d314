/* Witness of attention_f32: scores, softmax and the weighted sum of the values in double. Fails only for memory. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref_f32.h"

/* One row of queries of a head; qkv its image, p [t]. */
static void attend(const float *qkv, const float *q, int t, int width, int d, float scale, double *p, float *out)
{
    double top = -INFINITY, sum = 0;
    for (int j = 0; j < t; j++) {
        const float *const k = qkv + (size_t)j * 3 * (size_t)width + width;
        p[j] = 0;
        for (int i = 0; i < d; i++) p[j] += (double)q[i] * k[i];
        p[j] *= (double)scale;
        top = fmax(top, p[j]);
    }
    for (int j = 0; j < t; j++) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    for (int i = 0; i < d; i++) {
        double y = 0;
        for (int j = 0; j < t; j++) y += p[j] * qkv[(size_t)j * 3 * (size_t)width + 2 * (size_t)width + (size_t)i];
        out[i] = (float)(y / sum);
    }
}

vq_status vq_ref_attention_f32(const float *qkv, int t, int heads, int d, float scale, float *out, int batch)
{
    const size_t width = (size_t)heads * (size_t)d;
    double *p = NULL;
    VQ_TRY(vq_alloc(&p, (size_t)t, sizeof *p, "scores"));
    for (size_t row = 0; row < (size_t)batch * (size_t)t; row++)
        for (size_t h = 0; h < (size_t)heads; h++) {
            const float *const image = qkv + row / (size_t)t * (size_t)t * 3 * width;
            attend(image + h * (size_t)d, qkv + row * 3 * width + h * (size_t)d, t, (int)width, d, scale, p,
                   out + row * width + h * (size_t)d);
        }
    free(p);
    return VQ_OK;
}
