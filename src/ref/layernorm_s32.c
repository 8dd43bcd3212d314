/* Witness of layernorm_s32: the steps of base/int_ops.h in their order. */
#include "ref/ref_int.h"

uint64_t vq_ref_isqrt(uint64_t v)
{
    /* bisection: low^2 <= v < high^2 */
    uint64_t low = 0, high = (uint64_t)1 << 32;
    while (high - low > 1) {
        const uint64_t middle = (low + high) / 2;
        if (middle * middle <= v)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Towards minus infinity; b > 0. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t clip(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static int32_t mean_of(const int32_t *x, int c)
{
    int64_t sum = 0;
    for (int i = 0; i < c; i++) sum += x[i];
    return (int32_t)floor_div(2 * sum + c, 2 * (int64_t)c);
}

static int64_t deviation(int32_t x, int32_t mean)
{
    const int64_t limit = ((int64_t)1 << 26) - 1;
    return clip((int64_t)x - mean, -limit, limit);
}

static void row(const vq_layernorm_s32_weights *weights, const int32_t *x, void *out, size_t first)
{
    const int c = weights->c;
    const int32_t mean = mean_of(x, c);
    uint64_t v = (uint64_t)c * weights->eps;
    for (int i = 0; i < c; i++) {
        const int64_t d = deviation(x[i], mean);
        v += (uint64_t)(d * d);
    }
    int s = 0;
    while (v << s < (uint64_t)1 << 62) s += 2;
    const uint64_t r = vq_ref_isqrt(v << s);
    const uint64_t root = vq_ref_isqrt((uint64_t)c << 46);
    const int64_t gain = (int64_t)((root << 33) / r);
    const int h = 40 - s / 2;
    for (int i = 0; i < c; i++) {
        const int64_t half = (int64_t)1 << (h - 1), unit = (int64_t)1 << h;
        const int64_t y = floor_div(deviation(x[i], mean) * gain + half, unit);
        const int64_t sum = y * weights->mult[i] + weights->bias[i] + ((int64_t)1 << (weights->shift[i] - 1));
        const int64_t result = floor_div(sum, (int64_t)1 << weights->shift[i]);
        if (weights->set)
            ((int32_t *)out)[first + (size_t)i] = (int32_t)clip(result, INT32_MIN, INT32_MAX);
        else
            ((uint8_t *)out)[first + (size_t)i] = (uint8_t)clip(result, 0, (1 << weights->bits) - 1);
    }
}

/* Row i of merged ones into x [c]. */
static void gather(const vq_layernorm_s32_weights *w, const int32_t *from, int ldx, int i, int32_t *x)
{
    const int across = (w->merge_w + 1) / 2, rows = (w->merge_h + 1) / 2 * across, quarter = w->c / 4;
    for (int part = 0; part < 4; part++) {
        const int up = 2 * (i % rows / across) + (part & 1), left = 2 * (i % rows % across) + part / 2;
        const size_t row = (size_t)(i / rows) * (size_t)(w->merge_h * w->merge_w) + (size_t)(up * w->merge_w + left);
        for (int c = 0; c < quarter; c++)
            x[part * quarter + c] = up < w->merge_h && left < w->merge_w ? from[row * (size_t)ldx + (size_t)c] : 0;
    }
}

void vq_ref_layernorm_s32(const vq_layernorm_s32_weights *weights, const int32_t *x, int ldx, void *out, int ld_out,
                          int m)
{
    int32_t merged[4096];
    for (int i = 0; i < m; i++) {
        if (weights->merge_h) gather(weights, x, ldx, i, merged);
        row(weights, weights->merge_h ? merged : x + (size_t)i * (size_t)ldx, out, (size_t)i * (size_t)ld_out);
    }
}
