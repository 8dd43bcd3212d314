/* Quantizers that are not uniform, as sorted thresholds and 16-bit decode values. The thresholds are found by bisecting
 * the family's own float encode over the bit patterns of the non-negative floats, so that counting thresholds gives
 * the same code for every float, and no device ever computes a logarithm or a tangent. */
#include "quant/codebook.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const vq_codebook_family *const families[] = {
#define VQ_CODEBOOK(name) &vq_codebook_##name##_family,
#include "quant/codebooks.def"
#undef VQ_CODEBOOK
};

const vq_codebook_family *vq_codebook_family_at(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(families) ? families[i] : NULL;
}

const vq_codebook_family *vq_codebook_find(const char *name)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(families); i++)
        if (strcmp(families[i]->name, name) == 0) return families[i];
    return NULL;
}

static float float_of(uint32_t pattern)
{
    float x;
    memcpy(&x, &pattern, sizeof x);
    return x;
}

/* The smallest float >= 0 whose level is at least `level`, not below the one of the level before; +infinity where there
 * is none. */
static float find_threshold(const vq_codebook_family *f, const float *shape, float top, int levels, int level)
{
    uint32_t below = 0, at = 0x7f800000u; /* 0 and +infinity */
    if (f->level(0.0f, shape, levels) >= level) return 0.0f;
    while (at - below > 1) {
        const uint32_t middle = below + (at - below) / 2;
        if (f->level(float_of(middle) / top, shape, levels) >= level)
            at = middle;
        else
            below = middle;
    }
    return float_of(at);
}

static vq_status allocate(vq_quantizer *q, int levels)
{
    VQ_TRY(vq_alloc(&q->scale, 1, sizeof *q->scale, "codebook"));
    VQ_TRY(vq_alloc(&q->zero, 1, sizeof *q->zero, "codebook"));
    VQ_TRY(vq_alloc(&q->thresholds, (size_t)levels - 1, sizeof *q->thresholds, "codebook"));
    return vq_alloc(&q->values, (size_t)levels, sizeof *q->values, "codebook");
}

vq_status vq_codebook_create(vq_quantizer *out, const vq_codebook_family *family, int bits, bool extra_level, float top,
                             float offset, const float shape[VQ_SHAPE_MAX])
{
    static const float no_shape[VQ_SHAPE_MAX] = {0};
    const int levels = (1 << bits) + (extra_level ? 1 : 0);
    const int value_top = family->top ? family->top(levels) : VQ_CODEBOOK_TOP;
    vq_quantizer q = {
        .kind = VQ_QUANTIZER_CODEBOOK, .granularity = VQ_PER_TENSOR, .bits = bits, .levels = levels, .groups = 1};
    vq_status status = VQ_OK;
    *out = (vq_quantizer){0};
    if (!(top > 0) || !isfinite(top) || !(offset >= 0) || !isfinite(offset))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "%s: the largest value is %g and the offset %g; one must be positive, the "
                       "other not negative",
                       family->name, (double)top, (double)offset);
    if (!shape) shape = no_shape;
    snprintf(q.method, sizeof q.method, "%s", family->name);
    VQ_GO(allocate(&q, levels));
    q.scale[0] = top / (float)value_top;
    q.zero[0] = VQ_MIN(rintf(offset / q.scale[0]), (float)VQ_CODEBOOK_TOP);
    for (int i = 0; i < levels; i++) {
        q.values[i] = (uint16_t)lrint(value_top * family->value(i, shape, levels));
        if (i) q.thresholds[i - 1] = find_threshold(family, shape, top, levels, i) - offset;
    }
    *out = q;
    q = (vq_quantizer){0};
done:
    vq_quantizer_clear(&q);
    return status;
}
