/* kernels/vq_int.h as host C against 128-bit arithmetic and long double. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* OpenCL C's types and built-ins that vq_int.h uses; its long is 64 bits, as long is on the hosts that run this test.
 */
typedef uint32_t vq_uint;
typedef uint64_t vq_ulong;
#define uint         vq_uint
#define ulong        vq_ulong
#define clz(x)       __builtin_clz(x)
#define mul_hi(a, b) _Generic((a), int : mul_hi_s32, uint : mul_hi_u32)(a, b)

static int mul_hi_s32(int a, int b)
{
    return (int)(((int64_t)a * b) >> 32);
}

static uint mul_hi_u32(uint a, uint b)
{
    return (uint)(((uint64_t)a * b) >> 32);
}

#include "vq_int.h"

_Static_assert(sizeof(long) == 8, "vq_int.h needs a 64-bit long");
__extension__ typedef __int128 wide_int;
__extension__ typedef unsigned __int128 wide_uint;

static uint64_t seed = 42;
static int failures;

static uint64_t rnd(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    const uint64_t x = seed ^ seed >> 29;
    return x * 0x9e3779b97f4a7c15u ^ x >> 32;
}

static void fail(const char *what, int64_t a, int64_t b, int64_t c, int64_t got, int64_t want)
{
    if (failures++ < 10)
        printf("%s(%lld, %lld, %lld): got %lld, want %lld\n", what, (long long)a, (long long)b, (long long)c,
               (long long)got, (long long)want);
}

/* floor(x*mult / 2^shift + 1/2) by division in 128 bits. */
static int requant_want(int x, int mult, int shift)
{
    const wide_int one = 1, two = one << (shift + 1);
    const wide_int num = 2 * (wide_int)x * mult + (one << shift);
    wide_int q = num / two;
    if (num % two < 0) q--;
    return (int)(q > INT32_MAX ? INT32_MAX : q < INT32_MIN ? INT32_MIN : q);
}

static void check_requant(int x, int mult, int shift)
{
    const int want = requant_want(x, mult, shift), got = vq_requant(x, mult, shift);
    if (got != want) fail("vq_requant", x, mult, shift, got, want);
    if (shift < 33) return;
    const int hi = vq_requant_hi(x, mult, shift);
    if (hi != want) fail("vq_requant_hi", x, mult, shift, hi, want);
}

static void test_requant(void)
{
    static const int xs[] = {0, 1, -1, 2, -2, 3, -3, 255, -256, INT32_MAX, INT32_MIN, INT32_MAX - 1, INT32_MIN + 1};
    static const int mults[] = {0, 1 << 30, (1 << 30) + 1, INT32_MAX, INT32_MAX - 1, 3 << 29};
    for (int shift = 1; shift <= 62; shift++) {
        for (size_t i = 0; i < sizeof xs / sizeof *xs; i++)
            for (size_t j = 0; j < sizeof mults / sizeof *mults; j++) check_requant(xs[i], mults[j], shift);
        /* exact ties: x * 2^30 with an odd multiple of half a unit */
        for (int x = -9; x <= 9; x++)
            if (shift > 30 && shift < 62) check_requant((int)((uint)x << (shift - 31)), 1 << 30, shift);
        for (int i = 0; i < 20000; i++)
            check_requant((int)(rnd() >> (32 + i % 32)), (1 << 30) + (int)(rnd() >> 34), shift);
    }
}

static void test_exp2(void)
{
    double worst = 0;
    for (int64_t t = 0; t <= INT32_MAX; t += t < 22 << 16 ? 1 : 9999991) {
        const double want = exp2(-(double)t / 65536) * 1048576, got = vq_exp2_neg((int)t);
        /* half a unit of rounding, and 3e-6 of the value */
        const double excess = fabs(got - want) - 0.5 - 3e-6 * want;
        if (excess > 1e-6) fail("vq_exp2_neg", t, 0, 0, (int64_t)got, (int64_t)want);
        if (fabs(got - want) > worst) worst = fabs(got - want);
    }
    if (vq_exp2_neg(INT32_MAX) != 0) fail("vq_exp2_neg", INT32_MAX, 0, 0, vq_exp2_neg(INT32_MAX), 0);
    printf("exp2_neg: largest error %.2f units of 2^-20\n", worst);
}

static void check_log2(uint s)
{
    const int want = (int)floorl(log2l((long double)s / 1048576) * 65536), got = vq_log2_q16(s);
    if (got != want && got != want - 1) fail("vq_log2_q16", s, 0, 0, got, want);
}

static void test_log2(void)
{
    for (uint s = 1; s < 100000; s++) check_log2(s);
    for (int e = 0; e < 32; e++) {
        if (vq_log2_q16(1u << e) != (e - 20) * 65536) fail("vq_log2_q16", 1 << e, 0, 0, vq_log2_q16(1u << e), e - 20);
        for (int i = 0; i < 3000; i++) check_log2((uint)(rnd() >> 32) >> e | 1);
    }
    check_log2(UINT32_MAX);
}

static void check_isqrt(uint64_t v)
{
    const wide_uint r = vq_isqrt(v);
    if (r * r > v || (r + 1) * (r + 1) <= v) fail("vq_isqrt", (int64_t)v, 0, 0, (int64_t)r, 0);
}

static void test_isqrt(void)
{
    for (uint64_t v = 0; v < 70000; v++) check_isqrt(v);
    for (int i = 0; i < 200000; i++) check_isqrt(rnd() >> i % 64);
    for (int i = 0; i < 200000; i++) { /* around squares */
        const uint64_t r = rnd() >> (32 + i % 31);
        check_isqrt(r * r);
        if (r) check_isqrt(r * r - 1);
    }
    check_isqrt(UINT64_MAX);
}

int main(void)
{
    test_requant();
    test_exp2();
    test_log2();
    test_isqrt();
    printf("test_vq_int: %d failures\n", failures);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
