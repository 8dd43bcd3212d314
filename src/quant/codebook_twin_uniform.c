/* Two uniform ranges: PTQ4ViT (arXiv 2111.12293), section 4.1. Half of the levels divide [0, split] evenly, the other
 * half (split, 1], split = 2^-shape[0]. PTQ4ViT's upper range starts at zero and so repeats values of the lower one;
 * here no level is spent twice. */
#include <math.h>

#include "quant/codebook.h"

static int level(float u, const float *shape, int levels)
{
    const double split = exp2(-(double)shape[0]);
    const int half = levels / 2;
    if (u <= split) return (int)rint(u / split * (half - 1));
    const double k = rint((u - split) / (1 - split) * (levels - half));
    return half - 1 + (k < levels - half ? (int)k : levels - half);
}

static double value(int i, const float *shape, int levels)
{
    const double split = exp2(-(double)shape[0]);
    const int half = levels / 2;
    if (i < half) return split * i / (half - 1);
    return i == levels - 1 ? 1 : split + (1 - split) * (i - half + 1) / (levels - half);
}

const vq_codebook_family vq_codebook_twin_uniform_family = {.name = "twin_uniform",
                                                            .about = "two uniform ranges (PTQ4ViT)",
                                                            .level = level,
                                                            .value = value,
                                                            .axis = {{"split", 1, 10, 10, true}}};
