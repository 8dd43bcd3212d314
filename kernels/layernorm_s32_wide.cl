/* layernorm_s32 for CPUs: one work-item per VQ_P0 rows, 16 channels at a time, as 8 even and 8 odd 64-bit lanes. Grid:
 * (m / VQ_P0), work-groups of one. */
#include "layernorm_s32.h"
#include "vq_vector.h"

#define MAX_C 4096

/* Even and odd 32-bit lanes, sign-extended. */
static long8 even(int16 x)
{
    return (as_long8(x) << 32) >> 32;
}

static long8 odd(int16 x)
{
    return as_long8(x) >> 32;
}

static long add_lanes(long8 v)
{
    const long4 a = v.lo + v.hi;
    const long2 b = a.lo + a.hi;
    return b.x + b.y;
}

/* x to d [c rounded up to 16], zeros beyond c; returns their sum. */
static long load_row(__global const int *x, int *d, int c)
{
    const int whole = c & ~15;
    long8 sum = 0;
    for (int i = 0; i < whole; i += 16) {
        const int16 v = LOAD_AT(int16, x + i);
        *(int16 *)(d + i) = v;
        sum += even(v) + odd(v);
    }
    if (whole < c) {
        *(int16 *)(d + whole) = (int16)(0);
        for (int i = whole; i < c; i++) d[i] = x[i];
        const int16 v = *(int16 *)(d + whole);
        sum += even(v) + odd(v);
    }
    return add_lanes(sum);
}

/* d from values to deviations; returns the sum of their squares. */
static ulong center_row(int *d, int mean, int c)
{
    const int16 low = (int16)((int)max((long)mean - LIMIT, -2147483648L));
    const int16 high = (int16)((int)min((long)mean + LIMIT, 2147483647L));
    long8 squares = 0;
    for (int i = c; i < ((c + 15) & ~15); i++) d[i] = mean;
    for (int i = 0; i < c; i += 16) {
        const int16 v = clamp(*(int16 *)(d + i), low, high) - (int16)(mean);
        const long8 e = even(v), o = odd(v);
        *(int16 *)(d + i) = v;
        squares += e * e + o * o;
    }
    return (ulong)add_lanes(squares);
}

/* 8 results before the shift from 8 deviations. */
static long8 sum8(long8 d, long8 mult, __global const long *bias, long gain, long round, long h)
{
    /* gain < 2^31: both factors are s32 */
    const long8 y = (d * ((gain << 32) >> 32) + round) >> h;
    return ((y << 32) >> 32) * mult + LOAD_AT(long8, bias); /* |y| < 2^23 */
}

#ifdef LAYERNORM_SET
typedef int16 results;

static void store(__global int *out, results r)
{
    STORE_AT(int16, out) = r;
}

static ulong8 finish8(long8 sum, __global const ulong *shift, int code_max)
{
    const long8 result = sum >> LOAD_AT(long8, shift);
    return as_ulong8(min(max(result, (long8)(OUT_MIN)), (long8)(OUT_MAX))) & 0xffffffffUL;
}
#else
typedef uchar16 results;

static void store(__global uchar *out, results r)
{
    STORE_AT(uchar16, out) = r;
}

/* A negative sum has code 0, so the shift may be a logical one. */
static ulong8 finish8(long8 sum, __global const ulong *shift, int code_max)
{
    return min(as_ulong8(max(sum, (long8)(0))) >> as_ulong8(LOAD_AT(long8, shift)), (ulong8)((ulong)code_max));
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void layernorm_s32(LAYERNORM_ARGS)
{
    int d[MAX_C] __attribute__((aligned(64)));
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, m);
    for (int row = first; row < end; row++) {
        __global OUT *const out = codes + (size_t)row * ld_codes;
        const int mean = mean_of(load_row(x + (size_t)row * ldx, d, c), c);
        const ulong v = center_row(d, mean, c) + c_eps;
        uint gain;
        const int h = gain_of(v, root, &gain);
        const long round = 1L << (h - 1);
        for (int i = 0; i < c; i += 16) {
            const int16 di = *(int16 *)(d + i), mi = LOAD_AT(int16, mult + i);
            const ulong8 e = finish8(sum8(even(di), even(mi), bias + i, gain, round, h), shift + i, code_max);
            const ulong8 o = finish8(sum8(odd(di), odd(mi), bias + i + 8, gain, round, h), shift + i + 8, code_max);
            const results code = __builtin_convertvector(as_int16(e | o << 32), results);
            if (i + 16 <= c) {
                store(out + i, code);
            } else {
                OUT rest[16];
                vstore16(code, 0, rest);
                for (int j = i; j < c; j++) out[j] = rest[j - i];
            }
        }
    }
}
