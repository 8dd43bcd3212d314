/* Witness of fakequant_f32. Codes are a matter of float32 arithmetic (PyTorch's), so they are computed in float here
 * too: one division, one rounding to even, one addition. */
#include "ref/ref_f32.h"

#include <math.h>

static size_t group_of(const vq_groups *g, size_t i)
{
    return i / g->inner % (size_t)g->groups;
}

static float uniform_code(float x, float scale, float zero, int levels)
{
    const float shifted = rintf(x / scale) + zero;
    return fminf(fmaxf(shifted, 0.0f), (float)(levels - 1));
}

static float uniform_value(float x, float scale, float zero, int levels)
{
    return (uniform_code(x, scale, zero, levels) - zero) * scale;
}

static float codebook_value(float x, const float *thresholds, const float *values, int levels)
{
    int code = 0;
    while (code < levels - 1 && thresholds[code] <= x) code++;
    return values[code];
}

void vq_ref_fakequant_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int levels,
                              float *y)
{
    for (size_t i = 0; i < g->count; i++) {
        const size_t at = group_of(g, i);
        y[i] = uniform_value(x[i], scale[at], zero[at], levels);
    }
}

void vq_ref_quantize_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int levels,
                             uint8_t *codes)
{
    for (size_t i = 0; i < g->count; i++) {
        const size_t at = group_of(g, i);
        codes[i] = (uint8_t)uniform_code(x[i], scale[at], zero[at], levels);
    }
}

void vq_ref_fakequant_codebook(const vq_groups *g, const float *x, const float *thresholds, const float *values,
                               int levels, float *y)
{
    for (size_t i = 0; i < g->count; i++) {
        const size_t at = group_of(g, i);
        y[i] = codebook_value(x[i], thresholds + at * (size_t)(levels - 1), values + at * (size_t)levels, levels);
    }
}

/* error[group][candidate] becomes the mean over the group's elements. */
static void mean_of(const vq_groups *g, int num, double *error)
{
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] /= (double)(g->count / (size_t)g->groups);
}

void vq_ref_quant_error_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int num,
                                int levels, double *error)
{
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] = 0.0;
    for (size_t i = 0; i < g->count; i++)
        for (int j = 0; j < num; j++) {
            const size_t at = group_of(g, i) * (size_t)num + (size_t)j;
            const double d = (double)x[i] - (double)uniform_value(x[i], scale[at], zero[at], levels);
            error[at] += d * d;
        }
    mean_of(g, num, error);
}

void vq_ref_quant_error_codebook(const vq_groups *g, const float *x, const float *thresholds, const float *values,
                                 int num, int levels, double *error)
{
    for (size_t i = 0; i < (size_t)g->groups * (size_t)num; i++) error[i] = 0.0;
    for (size_t i = 0; i < g->count; i++)
        for (int j = 0; j < num; j++) {
            const size_t at = group_of(g, i) * (size_t)num + (size_t)j;
            const double d = (double)x[i] - (double)codebook_value(x[i], thresholds + at * (size_t)(levels - 1),
                                                                   values + at * (size_t)levels, levels);
            error[at] += d * d;
        }
    mean_of(g, num, error);
}
