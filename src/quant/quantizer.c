#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

vq_status vq_quantizer_uniform(vq_quantizer *out, vq_granularity granularity, int groups, int bits)
{
    vq_quantizer q = {.kind = VQ_QUANTIZER_UNIFORM,
                      .granularity = granularity,
                      .bits = bits,
                      .levels = 1 << bits,
                      .groups = groups,
                      .method = "uniform"};
    vq_status status = VQ_OK;
    *out = (vq_quantizer){0};
    VQ_GO(vq_alloc(&q.scale, (size_t)groups, sizeof *q.scale, "quantizer"));
    VQ_GO(vq_alloc(&q.zero, (size_t)groups, sizeof *q.zero, "quantizer"));
    for (int i = 0; i < groups; i++) q.scale[i] = 1;
    *out = q;
    q = (vq_quantizer){0};
done:
    vq_quantizer_clear(&q);
    return status;
}

void vq_quantizer_clear(vq_quantizer *q)
{
    free(q->scale);
    free(q->zero);
    free(q->thresholds);
    free(q->values);
    *q = (vq_quantizer){0};
}

static vq_status copy_array(void *out_ptr, const void *from, size_t count, size_t size)
{
    void *copy = NULL;
    if (!from) return VQ_OK;
    VQ_TRY(vq_alloc(&copy, count, size, "quantizer"));
    memcpy(copy, from, count * size);
    memcpy(out_ptr, &copy, sizeof copy);
    return VQ_OK;
}

vq_status vq_quantizer_clone(vq_quantizer *out, const vq_quantizer *q)
{
    const size_t groups = (size_t)q->groups, levels = (size_t)q->levels;
    vq_quantizer copy = *q;
    vq_status status = VQ_OK;
    *out = (vq_quantizer){0};
    copy.scale = copy.zero = copy.thresholds = NULL;
    copy.values = NULL;
    VQ_GO(copy_array(&copy.scale, q->scale, groups, sizeof *q->scale));
    VQ_GO(copy_array(&copy.zero, q->zero, groups, sizeof *q->zero));
    VQ_GO(copy_array(&copy.thresholds, q->thresholds, groups * (levels - 1), sizeof *q->thresholds));
    VQ_GO(copy_array(&copy.values, q->values, groups * levels, sizeof *q->values));
    *out = copy;
    copy = (vq_quantizer){0};
done:
    vq_quantizer_clear(&copy);
    return status;
}

/* A constant c is one step away from zero: code 1 (or 0, where c is negative) decodes to it exactly. */
static void represent_constant(float *scale, float *zero, float c)
{
    const bool tiny = !(fabsf(c) >= FLT_MIN);
    *scale = tiny ? 1 : fabsf(c);
    *zero = !tiny && c < 0 ? 1 : 0;
}

void vq_uniform_from_range(float *scale, float *zero, float lo, float hi, int levels)
{
    const float width = hi - lo;
    if (!isfinite(lo) || !isfinite(hi)) {
        represent_constant(scale, zero, 0);
    } else if (!(width >= FLT_MIN * (float)levels)) {
        represent_constant(scale, zero, lo);
    } else {
        /* a range wider than any float is halved before it is divided */
        *scale = isfinite(width) ? width / (float)(levels - 1) : (hi / 2 - lo / 2) / (float)(levels - 1) * 2;
        *zero = rintf(-lo / *scale);
    }
}

bool vq_mult_shift(int32_t *mult, uint8_t *shift, double factor)
{
    int exponent;
    *mult = 0;
    *shift = 1;
    if (factor == 0) return true;
    if (!(factor > 0) || !isfinite(factor)) return false;
    double m = floor(ldexp(frexp(factor, &exponent), 31) + 0.5);
    if (m == 0x1p31) { /* rounded up to the next power of two */
        m = 0x1p30;
        exponent++;
    }
    if (31 - exponent < 1 || 31 - exponent > 62) return false;
    *mult = (int32_t)m;
    *shift = (uint8_t)(31 - exponent);
    return true;
}
