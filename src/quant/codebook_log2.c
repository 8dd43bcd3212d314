/* Powers of two: FQ-ViT (arXiv 2111.13824), section 3.3. Codes at or past the last are the lowest level. */
#include <math.h>

#include "quant/codebook.h"

static int level(float u, const float *shape, int levels)
{
    const float k = rintf(-1.0f * log2f(u)), last = (float)(levels - 1);
    (void)shape;
    if (!(k < last)) return 0; /* also u == 0, where k is infinite */
    return levels - 1 - (k > 0 ? (int)k : 0);
}

static double value(int i, const float *shape, int levels)
{
    (void)shape;
    return i ? exp2(-(double)(levels - 1 - i)) : 0;
}

const vq_codebook_family vq_codebook_log2_family = {
    .name = "log2", .about = "powers of two (FQ-ViT)", .level = level, .value = value, .lowest_is_rest = true};
