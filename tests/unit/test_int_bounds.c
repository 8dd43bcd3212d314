/* The error bounds of the integer nonlinear ops against double, on their witnesses (tests/check proves the kernels
 * equal to those bit for bit):
 *
 * - exp2: |2^-20 exp2_neg(t) - 2^-t| <= 2^-21 + 3e-6 * 2^-t
 *
 * - log2: log2_q16 is the floor of the exact value, or 1 unit of 2^-16 less
 *
 * - softmax: |u + log2(probability)| <= 2 * 2^-16 + log2(e) * (3e-6 + T * 2^-21) octaves: two truncations to 2^-16, the
 *   polynomial, and the rounding of each of T exponentials against a sum of at least 1
 *
 * - layernorm: |y - exact| <= 2^-16 * (1/2 + 1/(2 s) + |y 2^16| (2^-22 + 2^-35 / s^2)), s the row's deviation in real
 *   units: rounding of y, of the mean, of the gain, and the mean's effect on the variance. Below 2^-15 * max(1, 1/s),
 * as |y| <= sqrt(C) < 64 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ref/ref_int.h"

static int failures;

static void fail(const char *what, double at, double error, double bound)
{
    if (failures++ < 10) printf("%s at %.17g: error %.6g, bound %.6g\n", what, at, error, bound);
}

static void test_exp2(void)
{
    for (int64_t t = 0; t <= INT32_MAX; t += t < 23 << 16 ? 1 : 1299709) {
        const double want = exp2(-(double)t / 65536), got = vq_ref_exp2_neg((int32_t)t) / 1048576.0;
        const double bound = 0x1p-21 + 3e-6 * want;
        if (fabs(got - want) > bound) fail("exp2", (double)t, got - want, bound);
    }
}

static void check_log2(uint32_t s)
{
    const double want = floor(log2(s / 1048576.0) * 65536), got = vq_ref_log2_q16(s);
    if (got != want && got != want - 1) fail("log2", s, got - want, 1);
}

static void test_log2(vq_rng *rng)
{
    for (uint32_t s = 1; s < 200000; s++) check_log2(s);
    for (int i = 0; i < 200000; i++) check_log2(vq_rng_u32(rng) >> vq_rng_below(rng, 32) | 1);
    check_log2(UINT32_MAX);
}

static void test_isqrt(vq_rng *rng)
{
    for (int i = 0; i < 100000; i++) {
        const uint64_t v = ((uint64_t)vq_rng_u32(rng) << 32 | vq_rng_u32(rng)) >> vq_rng_below(rng, 64);
        const uint64_t r = vq_ref_isqrt(v);
        if (r * r > v || (r < UINT32_MAX && (r + 1) * (r + 1) <= v)) fail("isqrt", (double)v, (double)r, 0);
    }
}

enum { MAX_TOKENS = 4095, MAX_CHANNELS = 4095 };

/* A row of t = (largest score - score): octaves below the largest, up to `spread` of them. */
static void check_softmax(vq_rng *rng, int tokens, double spread)
{
    static int32_t t[MAX_TOKENS];
    uint32_t sum = 0;
    double exact = 0;
    const double bound = 2 * 0x1p-16 + 1.4426950408889634 * (3e-6 + tokens * 0x1p-21);
    for (int j = 0; j < tokens; j++) {
        t[j] = j ? (int32_t)(65536 * spread * vq_rng_uniform(rng)) : 0;
        sum += vq_ref_exp2_neg(t[j]);
        exact += exp2(-t[j] / 65536.0);
    }
    for (int j = 0; j < tokens; j++) {
        const int64_t log_p = (int64_t)t[j] + vq_ref_log2_q16(sum), u = log_p < 0 ? 0 : log_p;
        const double want = t[j] / 65536.0 + log2(exact), error = (double)u / 65536 - want;
        if (fabs(error) > bound) fail("softmax", tokens, error, bound);
    }
}

static void test_softmax(vq_rng *rng)
{
    static const int tokens[] = {1, 2, 17, 50, 197, 577, 1025, 4095};
    static const double spreads[] = {0, 0.01, 1, 4, 12, 22, 40, 5000};
    for (size_t i = 0; i < VQ_ARRAY_LEN(tokens); i++)
        for (size_t k = 0; k < VQ_ARRAY_LEN(spreads); k++)
            for (int r = 0; r < 20; r++) check_softmax(rng, tokens[i], spreads[k]);
}

/* The exact row: y in units of 2^-16, and the deviation in real units. */
static double exact_row(const int32_t *x, int c, uint64_t eps, double *y)
{
    double mean = 0, var = 0;
    for (int i = 0; i < c; i++) mean += x[i];
    mean /= c;
    for (int i = 0; i < c; i++) var += (x[i] - mean) * (x[i] - mean);
    const double deviation = sqrt(var / c + (double)eps); /* x has 16 fraction bits, eps 32 */
    for (int i = 0; i < c; i++) y[i] = (x[i] - mean) / deviation * 65536;
    return deviation / 65536;
}

/* With mult 2 and shift 1, and a bias of 128 - (rounded exact y) for each channel, codes are 128 + the error of y. */
static void check_layernorm(vq_rng *rng, int c, double deviation, uint64_t eps)
{
    static int32_t x[MAX_CHANNELS], mult[MAX_CHANNELS];
    static int64_t bias[MAX_CHANNELS];
    static uint8_t shift[MAX_CHANNELS], codes[MAX_CHANNELS];
    static double y[MAX_CHANNELS];
    const int32_t offset = (int32_t)(65536 * 20 * (vq_rng_uniform(rng) - 0.5F));
    for (int i = 0; i < c; i++) x[i] = offset + (int32_t)lrint(65536 * deviation * (double)vq_rng_normal(rng));
    if (c > 20) x[c / 2] += (int32_t)(65536 * deviation * 30); /* an outlier channel */
    const double s = exact_row(x, c, eps, y);
    for (int i = 0; i < c; i++) {
        mult[i] = 2;
        shift[i] = 1;
        bias[i] = 2 * (128 - (int64_t)floor(y[i]));
    }
    const vq_layernorm_s32_weights w = {c, eps, mult, shift, bias, 8, false, 0, 0};
    vq_ref_layernorm_s32(&w, x, c, codes, c, 1);
    for (int i = 0; i < c; i++) {
        const double error = codes[i] - 128 - (y[i] - floor(y[i]));
        const double bound = 0.5 + 0.5 / s + fabs(y[i]) * (0x1p-22 + 0x1p-35 / (s * s)) + 1e-6;
        if (fabs(error) > bound) fail("layernorm", y[i], error, bound);
        if (fabs(error) > 2 * fmax(1, 1 / s)) fail("layernorm, as stated", y[i], error, 2 * fmax(1, 1 / s));
    }
}

static void test_layernorm(vq_rng *rng)
{
    static const int channels[] = {1, 2, 3, 17, 96, 192, 768, 1024, 4095};
    static const double deviations[] = {0, 0.01, 0.1, 1, 3, 20};
    static const uint64_t epsilons[] = {4295, 42950, 1 << 20};
    for (size_t i = 0; i < VQ_ARRAY_LEN(channels); i++)
        for (size_t k = 0; k < VQ_ARRAY_LEN(deviations); k++)
            for (size_t e = 0; e < VQ_ARRAY_LEN(epsilons); e++)
                for (int r = 0; r < 10; r++) check_layernorm(rng, channels[i], deviations[k], epsilons[e]);
}

int main(void)
{
    vq_rng rng;
    vq_rng_seed(&rng, 42);
    test_exp2();
    test_log2(&rng);
    test_isqrt(&rng);
    test_softmax(&rng);
    test_layernorm(&rng);
    printf("test_int_bounds: %d failures\n", failures);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
