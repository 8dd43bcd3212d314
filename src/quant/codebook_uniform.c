/* A uniform quantizer with zero point 0 as a codebook. Every value is a multiple of 256, so that the low bytes are zero
 * and one product is enough; they are exactly uniform. */
#include <math.h>

#include "quant/codebook.h"

static int level(float u, const float *shape, int levels)
{
    const float k = rintf(u * (float)(levels - 1));
    (void)shape;
    return k < (float)(levels - 1) ? (int)k : levels - 1;
}

static double value(int i, const float *shape, int levels)
{
    (void)shape;
    return (double)i / (levels - 1);
}

/* 255 * 256 where 255 is a multiple of levels - 1, a little less elsewhere. */
static int top(int levels)
{
    return levels > 256 ? VQ_CODEBOOK_TOP / (levels - 1) * (levels - 1) : 256 * (255 / (levels - 1)) * (levels - 1);
}

const vq_codebook_family vq_codebook_uniform_family = {
    .name = "uniform", .about = "even steps from zero", .level = level, .value = value, .top = top};
