/* Powers of the root of two: RepQ-ViT (arXiv 2212.08254), eq. 6-8, in the float32 arithmetic of the official code. Its
 * 2^bits codes and the exact zero besides are 2^bits + 1 levels; with 2^bits the smallest power is missing. */
#include <math.h>

#include "quant/codebook.h"

/* k = rint(-2 log2 u) counts down from the top level; all k at or past the last go to level 0. */
static int level(float u, const float *shape, int levels)
{
    const float k = rintf(-1.0f * log2f(u) * 2.0f), last = (float)(levels - 1);
    (void)shape;
    if (!(k < last)) return 0; /* also u == 0, where k is infinite */
    return levels - 1 - (k > 0 ? (int)k : 0);
}

static double value(int i, const float *shape, int levels)
{
    (void)shape;
    return i ? exp2(-0.5 * (double)(levels - 1 - i)) : 0;
}

const vq_codebook_family vq_codebook_log_sqrt2_family = {.name = "log_sqrt2",
                                                         .about = "powers of the root of two (RepQ-ViT)",
                                                         .level = level,
                                                         .value = value,
                                                         .lowest_is_rest = true};
