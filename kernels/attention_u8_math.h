/* The element-wise arithmetic of attention_u8 on vectors of 16, as 8 even and 8 odd 64-bit lanes where products need
 * them; the shapes are those that compilers turn into one vpmuldq or vpmuludq a product. */
#ifndef ATTENTION_U8_MATH_H
#define ATTENTION_U8_MATH_H

#define LANE_INDEX (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define LOW_HALF   0xffffffffUL
#define HIGH_HALF  0xffffffff00000000UL

static long8 even_lanes(int16 x)
{
    return (as_long8(x) << 32) >> 32;
}

static long8 odd_lanes(int16 x)
{
    return as_long8(x) >> 32;
}

static int max_lanes(int16 x)
{
    const int8 a = max(x.lo, x.hi);
    const int4 b = max(a.lo, a.hi);
    const int2 c = max(b.lo, b.hi);
    return max(c.x, c.y);
}

static uint sum_lanes(uint16 x)
{
    const uint8 a = x.lo + x.hi;
    const uint4 b = a.lo + a.hi;
    const uint2 c = b.lo + b.hi;
    return c.x + c.y;
}

/* clip(requant(x, mult, shift), -2^30, 2^30) */
static int16 requant_score(int16 x, int mult, int shift)
{
    const long round = 1L << (shift - 1);
    const long8 e = clamp((even_lanes(x) * (long)mult + round) >> (long)shift, -(1L << 30), 1L << 30);
    const long8 o = clamp((odd_lanes(x) * (long)mult + round) >> (long)shift, -(1L << 30), 1L << 30);
    return as_int16((as_ulong8(e) & LOW_HALF) | as_ulong8(o) << 32);
}

/* vq_requant in every lane. */
static int16 requant16(int16 x, int16 mult, int16 shift)
{
    const long8 es = even_lanes(shift), os = odd_lanes(shift), one = 1;
    const long8 e = (even_lanes(x) * even_lanes(mult) + (one << (es - 1L))) >> es;
    const long8 o = (odd_lanes(x) * odd_lanes(mult) + (one << (os - 1L))) >> os;
    const long8 e32 = clamp(e, -2147483648L, 2147483647L), o32 = clamp(o, -2147483648L, 2147483647L);
    return as_int16((as_ulong8(e32) & LOW_HALF) | as_ulong8(o32) << 32);
}

/* vq_exp2_neg in every lane, t < 2^31. */
static uint16 exp2_neg16(uint16 t)
{
    const uint16 k = t >> 16u, h = -(t << 16u), g = h | as_uint16(h == 0u);
    const ulong8 ge = as_ulong8(g) & LOW_HALF, go = as_ulong8(g) >> 32;
    ulong8 e = 14532198UL, o = 14532198UL;
#define HORNER(c)                                       \
    e = ((((e & LOW_HALF) * ge) >> 32) + c) & LOW_HALF; \
    o = ((((o & LOW_HALF) * go) >> 32) + c) & LOW_HALF;
    HORNER(55846889UL)
    HORNER(259247181UL)
    HORNER(744107202UL)
#undef HORNER
    const uint16 p = as_uint16(((e * ge) >> 32) | ((o * go) & HIGH_HALF)) + 1073744609u;
    /* ((p >> 1) + 2^(9+k)) >> (10+k), the shift's last step done after the rounding */
    return (((p >> (k + 10u)) + 1u) >> 1u) & as_uint16(k <= 20u);
}

/* vq_log2_q16 in every lane. */
static int16 log2_q16(uint16 s)
{
    const uint16 zeros = clz(s), m = s << zeros;
    ulong8 e = as_ulong8(m) & LOW_HALF, o = as_ulong8(m) >> 32;
    uint16 bits = 0;
    for (int i = 0; i < 16; i++) {
        e = (e * e) >> 31;
        o = (o * o) >> 31;
        const ulong8 be = e >> 32, bo = o >> 32;
        e = (e >> be) & LOW_HALF;
        o = (o >> bo) & LOW_HALF;
        bits = bits << 1u | as_uint16(be | bo << 32);
    }
    return (as_int16(31u - zeros) - 20) * 65536 + as_int16(bits);
}

#endif
