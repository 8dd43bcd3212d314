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

static vq_status search_log_sqrt2(vq_device *dev, const vq_groups *g, const vq_buf *x, int bits, bool official,
                                  vq_quantizer *out)
{
    vq_quantizer candidate[NUM_PERCENTILES] = {{0}};
    float delta[NUM_PERCENTILES], *thresholds = NULL, *values = NULL;
    double error[NUM_PERCENTILES];
    vq_status status = VQ_OK;
    VQ_GO(quantiles(dev, g, x, percentiles, NUM_PERCENTILES, delta));
    for (int i = 0; i < NUM_PERCENTILES; i++) {
        /* a softmax never gives all zeros, but its upper quantile may underflow on a hostile model */
        VQ_GO(vq_codebook_log_sqrt2(&candidate[i], fmaxf(delta[i], 0x1p-100f), bits, !official));
    }
    const int levels = candidate[0].levels;
    VQ_GO(vq_alloc(&thresholds, (size_t)(NUM_PERCENTILES * (levels - 1)), sizeof *thresholds, "candidates"));
    VQ_GO(vq_alloc(&values, (size_t)(NUM_PERCENTILES * levels), sizeof *values, "candidates"));
    for (int i = 0; i < NUM_PERCENTILES; i++) {
        memcpy(&thresholds[i * (levels - 1)], candidate[i].thresholds, sizeof *thresholds * (size_t)(levels - 1));
        for (int l = 0; l < levels; l++) values[i * levels + l] = (float)candidate[i].values[l] * candidate[i].scale[0];
    }
    VQ_GO(vq_quant_error_codebook_run(dev, g, x, thresholds, values, NUM_PERCENTILES, levels, error));
    VQ_GO(vq_quantizer_clone(out, &candidate[best_of(error, NUM_PERCENTILES)]));
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
