/* Quantizers that are not uniform, as sorted thresholds and 16-bit decode values. The thresholds are found by bisecting
 * the method's own float32 encode over the bit patterns of the non-negative floats, so that counting thresholds gives
 * the same code for every float, and no device ever computes a logarithm. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/quant.h"

enum { VALUE_MAX = 65535 };

/* A method's encode as a level that does not fall when x grows. */
typedef int (*level_fn)(float x, float scale, int levels);

static float float_of(uint32_t pattern)
{
    float x;
    memcpy(&x, &pattern, sizeof x);
    return x;
}

/* The smallest float >= 0 whose level is at least `level`; +infinity where there is none. */
static float find_threshold(level_fn encode, float scale, int levels, int level)
{
    uint32_t below = 0, at = 0x7f800000u; /* 0 and +infinity */
    if (encode(0.0f, scale, levels) >= level) return 0.0f;
    while (at - below > 1) {
        const uint32_t middle = below + (at - below) / 2;
        if (encode(float_of(middle), scale, levels) >= level)
            at = middle;
        else
            below = middle;
    }
    return float_of(at);
}

static vq_status create(vq_quantizer *out, const char *method, int bits, int levels, float unit, float scale,
                        level_fn encode)
{
    vq_quantizer q = {
        .kind = VQ_QUANTIZER_CODEBOOK, .granularity = VQ_PER_TENSOR, .bits = bits, .levels = levels, .groups = 1};
    vq_status status = VQ_OK;
    *out = (vq_quantizer){0};
    snprintf(q.method, sizeof q.method, "%s", method);
    VQ_GO(vq_alloc(&q.scale, 1, sizeof *q.scale, "codebook"));
    VQ_GO(vq_alloc(&q.thresholds, (size_t)levels - 1, sizeof *q.thresholds, "codebook"));
    VQ_GO(vq_alloc(&q.values, (size_t)levels, sizeof *q.values, "codebook"));
    q.scale[0] = unit;
    for (int i = 1; i < levels; i++) q.thresholds[i - 1] = find_threshold(encode, scale, levels, i);
    *out = q;
    q = (vq_quantizer){0};
done:
    vq_quantizer_clear(&q);
    return status;
}

/* k = rint(-2 log2(x / delta)) counts down from the top level; all k at or past the last go to level 0, the exact zero.
 */
static int level_log_sqrt2(float x, float delta, int levels)
{
    const float k = rintf(-1.0f * log2f(x / delta) * 2.0f), last = (float)(levels - 1);
    if (!(k < last)) return 0; /* also x == 0, where k is infinite */
    return levels - 1 - (k > 0 ? (int)k : 0);
}

vq_status vq_codebook_log_sqrt2(vq_quantizer *out, float delta, int bits, bool strict)
{
    const int levels = (1 << bits) + (strict ? 0 : 1);
    *out = (vq_quantizer){0};
    if (!(delta > 0) || !isfinite(delta))
        return vq_fail(VQ_ERR_INVALID_ARG, "log_sqrt2: delta is %g, must be positive", (double)delta);
    VQ_TRY(create(out, "log_sqrt2", bits, levels, delta / VALUE_MAX, delta, level_log_sqrt2));
    for (int i = 1; i < levels; i++)
        out->values[i] = (uint16_t)lrint(VALUE_MAX * exp2(-0.5 * (double)(levels - 1 - i)));
    return VQ_OK;
}

static int level_uniform(float x, float scale, int levels)
{
    const float k = rintf(x / scale);
    return k < (float)(levels - 1) ? (int)k : levels - 1;
}

/* Every value is a multiple of 256 * step, so that the low bytes are zero and the values exactly uniform; the largest
 * is 255 * 256 where 255 is a multiple of levels - 1, and a little less elsewhere. */
vq_status vq_codebook_uniform(vq_quantizer *out, float scale, int bits)
{
    const int levels = 1 << bits, step = 256 * (255 / (levels - 1));
    *out = (vq_quantizer){0};
    if (!(scale > 0) || !isfinite(scale))
        return vq_fail(VQ_ERR_INVALID_ARG, "uniform codebook: scale is %g, must be positive", (double)scale);
    VQ_TRY(create(out, "uniform", bits, levels, scale / (float)step, scale, level_uniform));
    for (int i = 0; i < levels; i++) out->values[i] = (uint16_t)(i * step);
    return VQ_OK;
}
