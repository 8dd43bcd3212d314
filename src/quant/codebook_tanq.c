/* TanQ, the tangent-family quantizer with searched parameters: DopQ-ViT (arXiv 2408.03291) maps probabilities through
 * the tangent and quantizes evenly there; its own parametrization was not available, so this is the two-parameter
 * family that contains every reading of the published description: T(u) = tan(alpha (u - c)),  q = rint((L-1) (T(u) -
 * T(0)) / (T(1) - T(0))) c = 1/2 is fine at both ends, c = 0 finest near 1 ... of u, alpha -> 0 uniform. 0 and 1 are
 * reached exactly. shape[0] is alpha as a share of its bound (pi/2) / max(c, 1-c), shape[1] is c. */
#include <math.h>

#include "quant/codebook.h"

typedef struct tangent {
    double alpha, c, low, width;
} tangent;

static tangent tangent_of(const float *shape)
{
    const double c = shape[1], bound = 1.57079632679489661923 / fmax(c, 1 - c), alpha = shape[0] * bound;
    const double low = tan(-alpha * c);
    return (tangent){alpha, c, low, tan(alpha * (1 - c)) - low};
}

static int level(float u, const float *shape, int levels)
{
    const tangent t = tangent_of(shape);
    const double q = rint((levels - 1) * (tan(t.alpha * (fmin((double)u, 1) - t.c)) - t.low) / t.width);
    return q < levels - 1 ? (int)fmax(q, 0) : levels - 1;
}

static double value(int i, const float *shape, int levels)
{
    const tangent t = tangent_of(shape);
    if (i == levels - 1) return 1;
    return fmin(fmax(t.c + atan(t.low + (double)i / (levels - 1) * t.width) / t.alpha, 0), 1);
}

const vq_codebook_family vq_codebook_tanq_family = {
    .name = "tanq",
    .about = "even steps of a searched tangent (DopQ-ViT)",
    .level = level,
    .value = value,
    .axis = {{"alpha", 0.03f, 0.999f, 32, false}, {"c", 0, 1, 9, false}}};
