/* Powers of an adaptive base 2^(q/37): AdaLog (arXiv 2407.12951), section 3.2, with the decode table of the official
 * code: a shift and a mantissa of bits + 1 bits. shape[0] = q. The official code has an exact zero besides its 2^bits
 * powers; here it is one of the 2^bits levels. */
#include <math.h>

#include "quant/codebook.h"

enum { R = 37 }; /* prime, so that q / R is a whole number only for its multiples */

static int level(float u, const float *shape, int levels)
{
    const float k = rintf(-1.0f * log2f(fmaxf(u, 1e-15f)) * (float)R / shape[0]), last = (float)(levels - 1);
    if (!(k < last)) return 0;
    return levels - 1 - (k > 0 ? (int)k : 0);
}

static double value(int i, const float *shape, int levels)
{
    const int q = (int)shape[0], power = (levels - 1 - i) * q, d = 2 * levels - 2;
    if (i == 0) return 0;
    return ldexp(rint(exp2(-(double)(power % R) / R) * d) / d, -(power / R));
}

const vq_codebook_family vq_codebook_adalog_family = {.name = "adalog",
                                                      .about = "powers of a searched base 2^(q/37) (AdaLog)",
                                                      .level = level,
                                                      .value = value,
                                                      .axis = {{"q", 10, 137, 128, true}},
                                                      .lowest_is_rest = true};
