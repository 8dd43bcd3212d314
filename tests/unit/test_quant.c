/* Quantizers: scale arithmetic, ranges, and codebooks against a direct evaluation of what they stand for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"

static void test_quant__mult_shift_is_close(void **state)
{
    vq_rng rng;
    (void)state;
    vq_rng_seed(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        const double factor = ldexp(1 + vq_rng_uniform(&rng), (int)vq_rng_below(&rng, 60) - 31);
        int32_t mult;
        uint8_t shift;
        assert_true(vq_mult_shift(&mult, &shift, factor));
        assert_true(mult >= 1 << 30 && shift >= 1 && shift <= 62);
        assert_true(fabs(ldexp(mult, -shift) / factor - 1) <= 0x1p-31);
    }
}

static void test_quant__mult_shift_limits(void **state)
{
    int32_t mult;
    uint8_t shift;
    (void)state;
    assert_true(vq_mult_shift(&mult, &shift, 0));
    assert_int_equal(mult, 0);
    assert_true(vq_mult_shift(&mult, &shift, 1.0));
    assert_int_equal(mult, 1 << 30);
    assert_int_equal(shift, 30);
    assert_true(vq_mult_shift(&mult, &shift, 1 - 0x1p-40)); /* rounds up to the next power of two */
    assert_int_equal(mult, 1 << 30);
    assert_int_equal(shift, 30);
    assert_true(vq_mult_shift(&mult, &shift, 0x1p-32));
    assert_int_equal(shift, 62);
    assert_false(vq_mult_shift(&mult, &shift, 0x1p-34));
    assert_true(vq_mult_shift(&mult, &shift, 0x1p30 - 1));
    assert_false(vq_mult_shift(&mult, &shift, 0x1p30));
    assert_false(vq_mult_shift(&mult, &shift, -1));
    assert_false(vq_mult_shift(&mult, &shift, NAN));
    assert_false(vq_mult_shift(&mult, &shift, INFINITY));
}

static void test_quant__uniform_from_range(void **state)
{
    static const float ranges[][2] = {{-1, 2}, {0.5f, 4}, {-3, -1}, {0, 1e-30f}, {-FLT_MAX, FLT_MAX}};
    static const float constants[] = {0, 3.25f, -7, 1e-44f, -FLT_MAX};
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(ranges); i++) {
        float scale, zero;
        const float lo = ranges[i][0], hi = ranges[i][1];
        vq_uniform_from_range(&scale, &zero, lo, hi, 16);
        assert_true(scale > 0 && isfinite(scale) && zero == rintf(zero));
        assert_true(fabs((0 - (double)zero) * scale - lo) <= 0.5001 * scale);
        assert_true(fabs((15 - (double)zero) * scale - hi) <= 0.5001 * scale);
    }
    for (size_t i = 0; i < VQ_ARRAY_LEN(constants); i++) {
        float scale, zero;
        const float c = constants[i];
        vq_uniform_from_range(&scale, &zero, c, c, 16);
        const float q = fminf(fmaxf(rintf(c / scale) + zero, 0), 15);
        assert_true(fabsf((q - zero) * scale - c) < FLT_MIN * 16);
    }
    float scale, zero;
    vq_uniform_from_range(&scale, &zero, NAN, 1, 16);
    assert_true(scale > 0 && zero == 0);
    vq_uniform_from_range(&scale, &zero, -INFINITY, 1, 16);
    assert_true(scale > 0 && isfinite(scale) && zero == 0);
}

static int code_of(const vq_quantizer *q, float x)
{
    int code = 0;
    while (code < q->levels - 1 && q->thresholds[code] <= x) code++;
    return code;
}

/* The value RepQ-ViT's quantizer gives x, in units of delta: 2^(-k/2), or 0 past the last of `levels` powers. */
static double log_sqrt2(float x, float delta, int levels)
{
    const float k = rintf(-log2f(x / delta) * 2.0f);
    if (!(k < (float)levels)) return 0;
    return k > 0 ? pow(2, -0.5 * (double)k) : 1;
}

static vq_status make_log_sqrt2(vq_quantizer *q, float delta, int bits, bool strict)
{
    return vq_codebook_create(q, &vq_codebook_log_sqrt2_family, bits, !strict, delta, 0, NULL);
}

static void check_log_sqrt2(int bits, bool strict, float delta, uint64_t seed)
{
    vq_quantizer q;
    vq_rng rng;
    vq_rng_seed(&rng, seed);
    assert_int_equal(make_log_sqrt2(&q, delta, bits, strict), VQ_OK);
    assert_int_equal(q.levels, (1 << bits) + !strict);
    assert_int_equal(q.values[0], 0);
    assert_int_equal(q.values[q.levels - 1], 65535);
    for (int i = 0; i < 40000; i++) {
        const float x = i == 0 ? 0.0f : i == 1 ? FLT_MAX : delta * exp2f(-70.0f * vq_rng_uniform(&rng) + 1);
        const double want = log_sqrt2(x, delta, q.levels - 1);
        assert_true(fabs(q.values[code_of(&q, x)] - want * 65535) <= 0.51);
        assert_true(want == 0 || code_of(&q, x) > 0);
    }
    for (int i = 0; i + 1 < q.levels; i++) { /* on the edges and one float below */
        const float t = q.thresholds[i], below = nextafterf(t, 0);
        assert_int_equal(code_of(&q, t), i + 1);
        assert_int_equal(code_of(&q, below), i);
        assert_true(i == 0 || t > q.thresholds[i - 1]);
        assert_true(log_sqrt2(t, delta, q.levels - 1) != log_sqrt2(below, delta, q.levels - 1));
    }
    vq_quantizer_clear(&q);
}

static void test_quant__log_sqrt2_equals_its_definition(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 6; bits++) {
        check_log_sqrt2(bits, true, 1.0f, 1);
        check_log_sqrt2(bits, false, 0.37f, 2);
        check_log_sqrt2(bits, true, 3e-3f, 3);
    }
    vq_quantizer q;
    assert_int_equal(make_log_sqrt2(&q, 0.5f, 8, true), VQ_OK); /* its smallest levels are no 16-bit values */
    assert_true(q.thresholds[0] > 0);
    vq_quantizer_clear(&q);
}

/* Where zero begins: 2^-(levels - 1/2)/2 of delta with `levels` powers. Known from the published 3-bit and 4-bit
 * tables. */
static void test_quant__log_sqrt2_zero_thresholds(void **state)
{
    vq_quantizer q;
    (void)state;
    assert_int_equal(make_log_sqrt2(&q, 1, 3, false), VQ_OK);
    assert_float_equal(q.thresholds[0], 0.0743, 5e-5);
    vq_quantizer_clear(&q);
    assert_int_equal(make_log_sqrt2(&q, 1, 4, false), VQ_OK);
    assert_float_equal(q.thresholds[0], 0.004645, 5e-7);
    vq_quantizer_clear(&q);
    vq_log_set(NULL, NULL, VQ_LOG_ERROR);
    assert_int_equal(make_log_sqrt2(&q, 0, 4, true), VQ_ERR_INVALID_ARG);
    assert_int_equal(make_log_sqrt2(&q, NAN, 4, true), VQ_ERR_INVALID_ARG);
}

static void test_quant__uniform_codebook(void **state)
{
    vq_rng rng;
    (void)state;
    vq_rng_seed(&rng, 4);
    for (int bits = 2; bits <= 8; bits++) {
        const float scale = 0.9f / (float)((1 << bits) - 1);
        vq_quantizer q;
        assert_int_equal(
            vq_codebook_create(&q, &vq_codebook_uniform_family, bits, false, scale * (float)((1 << bits) - 1), 0, NULL),
            VQ_OK);
        for (int i = 0; i < q.levels; i++) {
            assert_int_equal(q.values[i] & 255, 0);
            assert_float_equal(q.values[i] * q.scale[0], (float)i * scale, 1e-6);
        }
        for (int i = 0; i < 20000; i++) {
            const float x = vq_rng_uniform(&rng);
            assert_int_equal(code_of(&q, x), (int)fminf(rintf(x / scale), (float)(q.levels - 1)));
        }
        vq_quantizer_clear(&q);
    }
}

/* Every family at every number of bits: values ascend, codes are those of the family's own levels, and a value is where
 * its code says, up to 16 bits. */
static void test_quant__families(void **state)
{
    (void)state;
    for (int f = 0; vq_codebook_family_at(f); f++)
        for (int bits = 2; bits <= 8; bits++)
            for (int at = 0; at < 3; at++) {
                const vq_codebook_family *const family = vq_codebook_family_at(f);
                const float top = 0.83f, offset = at == 1 ? 0.17f : 0;
                float shape[VQ_SHAPE_MAX];
                vq_quantizer q;
                for (int k = 0; k < VQ_SHAPE_MAX; k++) {
                    const vq_codebook_axis *const a = &family->axis[k];
                    shape[k] = a->lo + (a->hi - a->lo) * 0.5f * (float)at;
                    if (a->whole) shape[k] = rintf(shape[k]);
                }
                assert_int_equal(vq_codebook_create(&q, family, bits, false, top, offset, shape), VQ_OK);
                assert_string_equal(q.method, family->name);
                for (int i = 1; i < q.levels; i++) {
                    assert_true(q.values[i] >= q.values[i - 1]);
                    if (i > 1) assert_true(q.thresholds[i - 1] >= q.thresholds[i - 2]);
                }
                for (int i = 0; i < 2000; i++) {
                    const float u = (float)i / 1900, x = u * top - offset;
                    const int code = code_of(&q, x);
                    /* one float more or less may lie on the other side of an edge */
                    const int low = family->level(fmaxf(u * (1 - 1e-5f) - 1e-6f, 0), shape, q.levels);
                    const int high = family->level(u * (1 + 1e-5f) + 1e-6f, shape, q.levels);
                    assert_in_range(code, low, high);
                    const double value = ((double)q.values[code] - (double)q.zero[0]) * (double)q.scale[0];
                    assert_true(fabs(value - (family->value(code, shape, q.levels) * (double)top - (double)offset)) <
                                2e-5);
                }
                vq_quantizer_clear(&q);
            }
}

/* Decode tables of the published AdaLog code at 4 and 3 bits (mantissa and shift of code 0, 1, ...). */
static void test_quant__adalog_tables(void **state)
{
    static const int mant[16] = {30, 21, 29, 21, 29, 20, 28, 20, 28, 19, 27, 19, 27, 19, 26, 18};
    const float shape[VQ_SHAPE_MAX] = {19, 0};
    vq_quantizer q;
    (void)state;
    assert_int_equal(vq_codebook_create(&q, &vq_codebook_adalog_family, 4, false, 1, 0, shape), VQ_OK);
    for (int i = 0; i < 15; i++) {
        const double want = mant[i] / 30.0 / (1 << i / 2);
        assert_true(fabs(q.values[15 - i] / 65535.0 - want) < 1e-5);
    }
    assert_int_equal(q.values[0], 0);
    vq_quantizer_clear(&q);
}

/* The levels of TanQ at c = 1/2, alpha = 3: fine at both ends. */
static void test_quant__tanq_levels(void **state)
{
    static const double want[16] = {0,     .0036, .0085, .0156, .0267, .0463, .09,   .2485,
                                    .7515, .91,   .9537, .9733, .9844, .9915, .9964, 1};
    const float shape[VQ_SHAPE_MAX] = {(float)(3.0 / 3.14159265358979), 0.5f};
    vq_quantizer q;
    (void)state;
    assert_int_equal(vq_codebook_create(&q, &vq_codebook_tanq_family, 4, false, 1, 0, shape), VQ_OK);
    for (int i = 0; i < 16; i++) assert_true(fabs(q.values[i] / 65535.0 - want[i]) < 1e-4);
    vq_quantizer_clear(&q);
}

static void test_quant__clone_is_deep(void **state)
{
    vq_quantizer q, copy;
    (void)state;
    assert_int_equal(make_log_sqrt2(&q, 0.5f, 4, true), VQ_OK);
    assert_int_equal(vq_quantizer_clone(&copy, &q), VQ_OK);
    assert_memory_equal(copy.thresholds, q.thresholds, 15 * sizeof(float));
    assert_memory_equal(copy.values, q.values, 16 * sizeof(uint16_t));
    assert_ptr_not_equal(copy.thresholds, q.thresholds);
    assert_string_equal(copy.method, "log_sqrt2");
    vq_quantizer_clear(&q);
    vq_quantizer_clear(&copy);
    assert_int_equal(copy.kind, VQ_QUANTIZER_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant__mult_shift_is_close),
        cmocka_unit_test(test_quant__mult_shift_limits),
        cmocka_unit_test(test_quant__uniform_from_range),
        cmocka_unit_test(test_quant__log_sqrt2_equals_its_definition),
        cmocka_unit_test(test_quant__log_sqrt2_zero_thresholds),
        cmocka_unit_test(test_quant__uniform_codebook),
        cmocka_unit_test(test_quant__families),
        cmocka_unit_test(test_quant__adalog_tables),
        cmocka_unit_test(test_quant__tanq_levels),
        cmocka_unit_test(test_quant__clone_is_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
