#include "calib/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"

/* Written as the official code has them: 1 - p is taken in double, then rounded to float. */
static const double percentiles[] = {0.999, 0.9999, 0.99999};
enum { NUM_PERCENTILES = VQ_ARRAY_LEN(percentiles) };

/* A quantile as a pair of neighbouring order statistics and the weight between them. */
typedef struct quantile {
    size_t below, above;
    float weight;
} quantile;

/* torch.quantile: the rank is a float32 product; beyond 2^24 elements, where torch refuses and the official code falls
 * back to numpy, it is a double. */
static quantile quantile_at(double p, size_t n)
{
    const double rank = n <= ((size_t)1 << 24) ? (double)((float)p * (float)(n - 1)) : p * (double)(n - 1);
    const double below = floor(rank);
    quantile q = {(size_t)below, (size_t)ceil(rank), (float)(rank - below)};
    q.below = VQ_MIN(q.below, n - 1);
    q.above = VQ_MIN(q.above, n - 1);
    return q;
}

/* torch.lerp, which is exact at both ends. */
static float interpolate(float below, float above, float weight)
{
    return weight < 0.5f ? below + weight * (above - below) : above - (above - below) * (1.0f - weight);
}

/* values[group][i] = quantile i of the group. */
static vq_status quantiles(vq_device *dev, const vq_groups *g, const vq_buf *x, const double *p, int num, float *values)
{
    const size_t n = g->count / (size_t)g->groups;
    quantile q[VQ_MAX_RANKS / 2];
    size_t ranks[VQ_MAX_RANKS];
    float *stats = NULL;
    vq_status status = VQ_OK;
    for (int i = 0; i < num; i++) {
        q[i] = quantile_at(p[i], n);
        ranks[2 * i] = q[i].below;
        ranks[2 * i + 1] = q[i].above;
    }
    VQ_GO(vq_alloc(&stats, (size_t)g->groups * (size_t)num * 2, sizeof *stats, "order statistics"));
    VQ_GO(vq_quantile_f32_run(dev, g, x, ranks, 2 * num, stats));
    for (int i = 0; i < g->groups * num; i++)
        values[i] = interpolate(stats[2 * i], stats[2 * i + 1], q[i % num].weight);
done:
    free(stats);
    return status;
}

static vq_status search_minmax(vq_device *dev, const vq_groups *g, const vq_buf *x, vq_quantizer *q)
{
    static const double ends[] = {0.0, 1.0};
    float *range = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&range, (size_t)g->groups * 2, sizeof *range, "ranges"));
    VQ_GO(quantiles(dev, g, x, ends, 2, range));
    for (int i = 0; i < g->groups; i++)
        vq_uniform_from_range(&q->scale[i], &q->zero[i], range[2 * i], range[2 * i + 1], q->levels);
done:
    free(range);
    return status;
}

/* The first candidate with the smallest error. */
static int best_of(const double *error, int num)
{
    int best = 0;
    for (int i = 1; i < num; i++)
        if (error[i] < error[best]) best = i;
    return best;
}

static vq_status search_percentile(vq_device *dev, const vq_groups *g, const vq_buf *x, vq_quantizer *q)
{
    const size_t candidates = (size_t)g->groups * NUM_PERCENTILES;
    double p[2 * NUM_PERCENTILES];
    float *range = NULL, *scale = NULL, *zero = NULL;
    double *error = NULL;
    vq_status status = VQ_OK;
    for (int i = 0; i < NUM_PERCENTILES; i++) {
        p[2 * i] = 1.0 - percentiles[i];
        p[2 * i + 1] = percentiles[i];
    }
    VQ_GO(vq_alloc(&range, 2 * candidates, sizeof *range, "ranges"));
    VQ_GO(vq_alloc(&scale, candidates, sizeof *scale, "candidates"));
    VQ_GO(vq_alloc(&zero, candidates, sizeof *zero, "candidates"));
    VQ_GO(vq_alloc(&error, candidates, sizeof *error, "candidates"));
    VQ_GO(quantiles(dev, g, x, p, 2 * NUM_PERCENTILES, range));
    for (size_t i = 0; i < candidates; i++)
        vq_uniform_from_range(&scale[i], &zero[i], range[2 * i], range[2 * i + 1], q->levels);
    VQ_GO(vq_quant_error_uniform_run(dev, g, x, scale, zero, NUM_PERCENTILES, q->levels, error));
    for (int i = 0; i < g->groups; i++) {
        const int best = i * NUM_PERCENTILES + best_of(&error[i * NUM_PERCENTILES], NUM_PERCENTILES);
        q->scale[i] = scale[best];
        q->zero[i] = zero[best];
    }
done:
    free(range);
    free(scale);
    free(zero);
    free(error);
    return status;
}

vq_status vq_search_uniform(vq_device *dev, vq_range_search how, const vq_groups *g, const vq_buf *x, vq_quantizer *q)
{
    return how == VQ_RANGE_MINMAX ? search_minmax(dev, g, x, q) : search_percentile(dev, g, x, q);
}

enum { LOW_VALUES = 3 };

/* Three codebooks that differ in the lowest level only: it stands for 0, h and 2h, h half the level above. */
static void fill_candidates(const vq_quantizer *q, float *thresholds, float *values)
{
    const float h = 0.5f * (float)q->values[1];
    for (int k = 0; k < LOW_VALUES; k++) {
        memcpy(thresholds + k * (q->levels - 1), q->thresholds, sizeof *thresholds * (size_t)(q->levels - 1));
        for (int l = 0; l < q->levels; l++)
            values[k * q->levels + l] = (l ? (float)q->values[l] : (float)k * h) * q->scale[0];
    }
}

/* The error is a quadratic function of the lowest level's value, whose minimum, the mean of what the level holds, three
 * points give. Sets that value and returns the error there. */
static double fit_lowest_value(vq_quantizer *q, const double error[LOW_VALUES])
{
    const double a = 0.5 * (error[2] - 2 * error[1] + error[0]), b = error[1] - error[0] - a, top = 2.0;
    const double best = a > 0 ? fmin(fmax(-b / (2 * a), 0), top) : 0;
    q->values[0] = (uint16_t)rint(best * 0.5 * q->values[1]);
    return error[0] + best * (b + a * best);
}

/* With 2^bits levels in all, the exact zero of the official code costs the smallest nonzero level. At 4 bits most
 * probabilities of a ViT lie there (1/197 is near delta * 2^-7.5), so that the level stands for the mean of what it
 * holds; at 6 bits and more that is zero again. The official form keeps its additional zero. */
static vq_status search_log_sqrt2(vq_device *dev, const vq_groups *g, const vq_buf *x, int bits, bool official,
                                  vq_quantizer *out)
{
    vq_quantizer candidate[NUM_PERCENTILES] = {{0}};
    float delta[NUM_PERCENTILES], *thresholds = NULL, *values = NULL;
    double error[NUM_PERCENTILES * LOW_VALUES], fitted[NUM_PERCENTILES];
    vq_status status = VQ_OK;
    VQ_GO(quantiles(dev, g, x, percentiles, NUM_PERCENTILES, delta));
    for (int i = 0; i < NUM_PERCENTILES; i++) {
        /* a softmax never gives all zeros, but its upper quantile may underflow on a hostile model */
        VQ_GO(vq_codebook_log_sqrt2(&candidate[i], fmaxf(delta[i], 0x1p-100f), bits, !official));
    }
    const int levels = candidate[0].levels, num = NUM_PERCENTILES * LOW_VALUES;
    VQ_GO(vq_alloc(&thresholds, (size_t)(num * (levels - 1)), sizeof *thresholds, "candidates"));
    VQ_GO(vq_alloc(&values, (size_t)(num * levels), sizeof *values, "candidates"));
    for (int i = 0; i < NUM_PERCENTILES; i++)
        fill_candidates(&candidate[i], thresholds + i * LOW_VALUES * (levels - 1), values + i * LOW_VALUES * levels);
    VQ_GO(vq_quant_error_codebook_run(dev, g, x, thresholds, values, num, levels, error));
    for (int i = 0; i < NUM_PERCENTILES; i++)
        fitted[i] = official ? error[i * LOW_VALUES] : fit_lowest_value(&candidate[i], &error[i * LOW_VALUES]);
    VQ_GO(vq_quantizer_clone(out, &candidate[best_of(fitted, NUM_PERCENTILES)]));
done:
    for (int i = 0; i < NUM_PERCENTILES; i++) vq_quantizer_clear(&candidate[i]);
    free(thresholds);
    free(values);
    return status;
}

vq_status vq_search_softmax(vq_device *dev, vq_softmax_quantizer kind, vq_range_search how, size_t count,
                            const vq_buf *x, int bits, bool official, vq_quantizer *out)
{
    const vq_groups g = {count, count, 1};
    if (kind == VQ_SOFTMAX_LOG_SQRT2) return search_log_sqrt2(dev, &g, x, bits, official, out);
    const double p = how == VQ_RANGE_MINMAX ? 1.0 : percentiles[NUM_PERCENTILES - 1];
    float top = 0;
    VQ_TRY(quantiles(dev, &g, x, &p, 1, &top));
    return vq_codebook_uniform(out, fmaxf(top, 0x1p-100f) / (float)((1 << bits) - 1), bits);
}
