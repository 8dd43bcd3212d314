/* layernorm_s32 for CPUs: one work-item per rows_per_item rows, VQ_P0 of them together and 16 channels at a time, as 8 even
 * and 8 odd 64-bit lanes. Grid: (m / rows_per_item), work-groups of one. */
#include "layernorm_s32.h"
#include "vq_part.h"
#include "vq_vector.h"

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

/* ---- once a row -------------------------------------------------------------------------------------------------- */

#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
/* As in layernorm_s32.h, by doubles instead of divisions of 64 bits, which take several times as long: quotients and
 * roots are one off at most, and what they leave over tells. */
static int row_mean(long sum, int c)
{
    const long a = 2 * sum + c, b = 2L * c; /* exact in 53 bits */
    long q = (long)floor((double)a / (double)b);
    const long left = a - q * b;
    q += (left >= b) - (left < 0);
    return (int)q;
}

static uint row_root(ulong v)
{
    ulong r = min((ulong)sqrt((double)v), 0xffffffffUL);
    r -= r * r > v;
    return (uint)(r + (v - r * r > 2 * r));
}

static int row_gain(ulong v, uint root, uint *gain)
{
    const int s = (int)clz(v) & ~1;
    const uint r = row_root(v << s);
    const ulong a = (ulong)root << 33, q = (ulong)((double)a / (double)r);
    *gain = (uint)(q - (q * r > a));
    return 40 - s / 2;
}
#else
#define row_mean mean_of
#define row_gain gain_of
#endif

/* Rows are read where they are; merged ones are brought together first. */
#ifdef LAYERNORM_MERGE
#define SPACE
#else
#define SPACE __global
#endif
#define LOAD_ROW(p) (((SPACE const vq_at_int16 *)(p))->v)

/* ---- sums of a row ----------------------------------------------------------------------------------------------- */

/* Rows of a block together: where all values are small, no deviation reaches LIMIT, lanes of s32 hold their sums, and
 * one pass is enough, for sum (x - mean)^2 = sum x^2 - mean * (2 * sum x - c * mean), of which every part fits 64 bits.
 */
static uint small_values(int c)
{
    return min(1u << 25, (1u << 31) / (uint)((c + 15) / 16));
}

static long8 square8(long8 d)
{
    return ((d << 32) >> 32) * ((d << 32) >> 32);
}

/* Sum and sum of squares of a row of small values; size gathers the bits of values, those of -1 - x where x < 0. */
static void sum_small(SPACE const int *x, int c, long *sum, ulong *squares, uint16 *size)
{
    int16 sums = 0;
    long8 even_squares = 0, odd_squares = 0;
    long rest = 0, rest_squares = 0;
    int i = 0;
    for (; i + 16 <= c; i += 16) {
        const int16 v = LOAD_ROW(x + i);
        sums += v;
        *size |= as_uint16(v ^ (v >> 31));
        even_squares += square8(as_long8(v));
        odd_squares += square8(odd(v));
    }
    for (; i < c; i++) {
        rest += x[i];
        rest_squares += (long)x[i] * x[i];
        (*size).s0 |= (uint)(x[i] ^ (x[i] >> 31));
    }
    *sum = add_lanes(even(sums) + odd(sums)) + rest;
    *squares = (ulong)(add_lanes(even_squares + odd_squares) + rest_squares);
}

static bool is_small(uint16 size, int c)
{
    const uint8 a = size.lo | size.hi;
    const uint4 b = a.lo | a.hi;
    return (b.x | b.y | b.z | b.w) < small_values(c);
}

/* Sum of a row. */
static long sum_row(SPACE const int *x, int c)
{
    long8 sum = 0;
    long rest = 0;
    int i = 0;
    for (; i + 16 <= c; i += 16) {
        const int16 v = LOAD_ROW(x + i);
        sum += even(v) + odd(v);
    }
    for (; i < c; i++) rest += x[i];
    return add_lanes(sum) + rest;
}

/* A row's mean and the values that deviate from it by LIMIT. */
typedef struct center {
    int mean, low, high;
} center;

static center center_of(long sum, int c)
{
    const int mean = row_mean(sum, c);
    return (center){mean, (int)max((long)mean - LIMIT, -2147483648L), (int)min((long)mean + LIMIT, 2147483647L)};
}

/* Deviations of 16 values from column i, 0 from column c on. */
static int16 deviations(SPACE const int *x, int i, int c, const center *m)
{
    int16 v;
    if (i + 16 <= c) {
        v = LOAD_ROW(x + i);
    } else {
        int rest[16] __attribute__((aligned(64)));
        for (int j = 0; j < 16; j++) rest[j] = i + j < c ? x[i + j] : m->mean;
        v = *(int16 *)rest;
    }
    return clamp(v, (int16)(m->low), (int16)(m->high)) - (int16)(m->mean);
}

static ulong sum_of_squares(SPACE const int *x, int c, const center *m)
{
    long8 squares = 0;
    for (int i = 0; i < c; i += 16) {
        const int16 d = deviations(x, i, c, m);
        const long8 e = even(d), o = odd(d);
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

/* 16 results from their deviations; `left` of them are stored. */
static void put16(__global OUT *out, int16 d, int left, __global const int *mult, __global const long *bias,
                  __global const ulong *shift, long gain, long round, long h, int code_max)
{
    const int16 mi = LOAD_AT(int16, mult);
    const ulong8 e = finish8(sum8(even(d), even(mi), bias, gain, round, h), shift, code_max);
    const ulong8 o = finish8(sum8(odd(d), odd(mi), bias + 8, gain, round, h), shift + 8, code_max);
    const results code = __builtin_convertvector(as_int16(e | o << 32), results);
    if (left >= 16) {
        store(out, code);
    } else {
        OUT rest[16];
        vstore16(code, 0, rest);
        for (int j = 0; j < left; j++) out[j] = rest[j];
    }
}

/* Row by row, each step would wait for the one before it; step by step, the rows' instructions overlap. */
static void normalize(SPACE const int *from, int ldx, int rows, __global OUT *codes, int ld_codes,
                      __global const int *mult, __global const long *bias, __global const ulong *shift, int c,
                      ulong c_eps, uint root, int code_max)
{
    long sums[VQ_P0];
    center centers[VQ_P0];
    ulong squares[VQ_P0];
    uint gains[VQ_P0];
    int shifts[VQ_P0];
    uint16 size = 0;
    for (int r = 0; r < rows; r++) sum_small(from + (size_t)r * ldx, c, &sums[r], &squares[r], &size);
    const bool small = is_small(size, c);
    if (!small)
        for (int r = 0; r < rows; r++) sums[r] = sum_row(from + (size_t)r * ldx, c);
    for (int r = 0; r < rows; r++) centers[r] = center_of(sums[r], c);
    for (int r = 0; r < rows; r++) {
        const long mean = centers[r].mean;
        squares[r] = c_eps + (small ? squares[r] - (ulong)(mean * (2 * sums[r] - c * mean))
                                    : sum_of_squares(from + (size_t)r * ldx, c, &centers[r]));
    }
    for (int r = 0; r < rows; r++) shifts[r] = row_gain(squares[r], root, &gains[r]);
    for (int r = 0; r < rows; r++) {
        SPACE const int *const row = from + (size_t)r * ldx;
        __global OUT *const out = codes + (size_t)r * ld_codes;
        const long round = 1L << (shifts[r] - 1);
        int i = 0;
        if (small)
            for (; i + 16 <= c; i += 16)
                put16(out + i, LOAD_ROW(row + i) - (int16)(centers[r].mean), 16, mult + i, bias + i, shift + i,
                      gains[r], round, shifts[r], code_max);
        for (; i < c; i += 16)
            put16(out + i, deviations(row, i, c, &centers[r]), c - i, mult + i, bias + i, shift + i, gains[r], round,
                  shifts[r], code_max);
    }
}

VQ_ONE_ITEM_KERNEL void layernorm_s32(LAYERNORM_ARGS)
{
    const int from = VQ_FIRST_ROW(get_group_id(0), rows_per_item, m);
    const int end = VQ_FIRST_ROW(get_group_id(0) + 1, rows_per_item, m);
#ifdef LAYERNORM_MERGE
    int row[4096] __attribute__((aligned(64)));
    const int quarter = c / 4;
    for (int r = from; r < end; r++) {
        for (int p = 0; p < 4; p++) {
            __global const int *const part = part_of(x, ldx, r, p, merge_h, merge_w);
            for (int i = 0; i < quarter; i++) row[p * quarter + i] = part ? part[i] : 0;
        }
        normalize(row, 0, 1, codes + (size_t)r * ld_codes, ld_codes, mult, bias, shift, c, c_eps, root, code_max);
    }
#else
    for (int r = from; r < end; r += VQ_P0)
        normalize(x + (size_t)r * ldx, ldx, min(VQ_P0, end - r), codes + (size_t)r * ld_codes, ld_codes, mult, bias,
                  shift, c, c_eps, root, code_max);
#endif
}
