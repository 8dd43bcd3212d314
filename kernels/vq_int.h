/* Integer arithmetic that every integer kernel shares; src/base/int_ops.h is its specification. OpenCL C 1.2 without
 * extensions; tests/unit/test_vq_int.c compiles the scalar part as host C and compares it with 128-bit arithmetic.
 * src/ref does not use this file: a witness that shared it would agree with its mistakes. */
#ifndef VQ_INT_H
#define VQ_INT_H

/* saturate_s32((x * mult + 2^(shift-1)) >> shift), ties towards +infinity; mult in [2^30, 2^31) or 0, shift 1..62.
 * |x * mult| < 2^62 and 2^(shift-1) <= 2^61: the sum fits s64. */
static int vq_requant(int x, int mult, int shift)
{
    const long r = ((long)x * mult + (1L << (shift - 1))) >> shift;
    return (int)(r > 2147483647L ? 2147483647L : r < -2147483648L ? -2147483648L : r);
}

/* The same for shift >= 33, in 32 bits: the rounding term is a multiple of 2^32, so the product's low half cannot carry
 * into the result. |mul_hi| <= 2^30 and the term is at most 2^29, so nothing overflows or saturates. */
static int vq_requant_hi(int x, int mult, int shift)
{
    return (mul_hi(x, mult) + (int)((1u << (shift - 33)))) >> (shift - 32);
}

/* 2^-t for t >= 0 octaves with 16 fraction bits; 20 fraction bits, 0 from 21 octaves on. A polynomial of degree 4 gives
 * 2^(1-f) with 30 fraction bits, off by less than 3e-6. */
static uint vq_exp2_neg(int t)
{
    const int k = t >> 16;
    if (k > 20) return 0;
    const uint f = (uint)t & 0xffffu;
    const uint g = f == 0 ? 0xffffffffu : (0x10000u - f) << 16;
    uint p = 14532198u;
    p = 55846889u + mul_hi(p, g);
    p = 259247181u + mul_hi(p, g);
    p = 744107202u + mul_hi(p, g);
    p = 1073744609u + mul_hi(p, g);
    return ((p >> 1) + (1u << (9 + k))) >> (10 + k);
}

/* floor(log2(s / 2^20) * 2^16) for s >= 1, at most 1 unit low: squares the mantissa 16 times, each time one bit. */
static int vq_log2_q16(uint s)
{
    const int e = 31 - (int)clz(s);
    ulong m = (ulong)s << (31 - e);
    int bits = 0;
    for (int i = 0; i < 16; i++) {
        m = (m * m) >> 31;
        const int bit = (int)(m >> 32);
        m >>= bit;
        bits = bits << 1 | bit;
    }
    return (e - 20) * 65536 + bits;
}

/* floor(sqrt(v)), one result bit a step. */
static ulong vq_isqrt(ulong v)
{
    ulong root = 0;
    for (ulong bit = (ulong)1 << 62; bit; bit >>= 2) {
        const ulong trial = root + bit;
        root >>= 1;
        if (v >= trial) {
            v -= trial;
            root += bit;
        }
    }
    return root;
}

#ifdef __OPENCL_VERSION__
/* vq_requant on vectors, each lane with its own mult and shift. */
static int8 vq_requant8(int8 x, int8 mult, int8 shift)
{
    const long8 s = convert_long8(shift);
    const long8 r = (convert_long8(x) * convert_long8(mult) + ((long8)(1) << (s - 1L))) >> s;
    return convert_int8(clamp(r, -2147483648L, 2147483647L));
}

static int16 vq_requant16(int16 x, int16 mult, int16 shift)
{
    return (int16)(vq_requant8(x.lo, mult.lo, shift.lo), vq_requant8(x.hi, mult.hi, shift.hi));
}
#endif

#endif
