/* The element-wise arithmetic of attention_u8 on vectors of 16, as 8 even and 8 odd 64-bit lanes where products need
 * them; the shapes are those that compilers turn into one vpmuldq or vpmuludq a product. Variants with 512-bit vectors
 * name the instructions: where the compiler loses sight of the upper halves, vpmullq takes several times as long. */
#ifndef ATTENTION_U8_MATH_H
#define ATTENTION_U8_MATH_H

#define LANE_INDEX (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define LOW_HALF   0xffffffffUL
#define HIGH_HALF  0xffffffff00000000UL

/* Exponentials by products of 16 bits, which takes less than by those of 32, if more than by vpmadd52huq. */
#define WORD_PRODUCTS (VQ_P3 != 0 && !IFMA)
#if VQ_P2 == 16
typedef uint16 uintv;
#else
typedef uint8 uintv;
#endif

static long8 even_lanes(int16 x)
{
    return (as_long8(x) << 32) >> 32;
}

static long8 odd_lanes(int16 x)
{
    return as_long8(x) >> 32;
}

/* Products of the lanes' low halves. */
#if VQ_P3 != 0 && VQ_P2 == 16
static ulong8 mul_u32(ulong8 a, ulong8 b)
{
    ulong8 product;
    __asm__("vpmuludq %2, %1, %0" : "=v"(product) : "v"(a), "v"(b));
    return product;
}

static long8 mul_s32(long8 a, long8 b)
{
    long8 product;
    __asm__("vpmuldq %2, %1, %0" : "=v"(product) : "v"(a), "v"(b));
    return product;
}

/* x >> count, 0 from 32 on. */
static uint16 shift_right(uint16 x, uint16 count)
{
    uint16 out;
    __asm__("vpsrlvd %2, %1, %0" : "=v"(out) : "v"(x), "v"(count));
    return out;
}
#else
static ulong8 mul_u32(ulong8 a, ulong8 b)
{
    return (a & LOW_HALF) * (b & LOW_HALF);
}

static long8 mul_s32(long8 a, long8 b)
{
    return ((a << 32) >> 32) * ((b << 32) >> 32);
}

static uint16 shift_right(uint16 x, uint16 count)
{
    return (x >> (count & 31u)) & as_uint16(count < 32u);
}
#endif

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

/* clip(requant(x, mult, shift), -2^30, 2^30). limit is the smallest sum that comes to 2^30 or more, at most 2^31 - 1. */
static int16 requant_score(int16 x, int mult, int shift, int limit)
{
    const long round = 1L << (shift - 1);
#if SMALL_SCORES || CLAMP_SUMS
    /* |result| < 2^31 and shift <= 32, so that bits shift .. shift+31 are all of it. With SMALL_SCORES it is less than 2^29.
     * Else clamped sums see to it: -limit comes to -2^30 or less, and as mult < 2^31 and shift >= 3, one more or less
     * changes the result by no more than 2^28 + 1. */
    const int16 sums = SMALL_SCORES ? x : clamp(x, ~limit, limit);
    const long8 m = (long8)((long)mult), pe = mul_s32(as_long8(sums), m), po = mul_s32(odd_lanes(sums), m);
    const ulong8 e = as_ulong8(pe + round) >> (ulong)shift, o = as_ulong8(po + round) << (ulong)(32 - shift);
    const int16 y = as_int16((e & LOW_HALF) | (o & HIGH_HALF));
    return SMALL_SCORES ? y : clamp(y, -(1 << 30), 1 << 30);
#else
    const long8 m = (long8)((long)mult), pe = mul_s32(as_long8(x), m), po = mul_s32(odd_lanes(x), m);
    const long8 e = clamp((pe + round) >> (long)shift, -(1L << 30), 1L << 30);
    const long8 o = clamp((po + round) >> (long)shift, -(1L << 30), 1L << 30);
    return as_int16((as_ulong8(e) & LOW_HALF) | as_ulong8(o) << 32);
#endif
}

/* vq_requant in every lane. */
static int16 requant16(int16 x, int16 mult, int16 shift)
{
    const long8 es = even_lanes(shift), os = odd_lanes(shift), one = 1;
    const long8 e = (mul_s32(as_long8(x), as_long8(mult)) + (one << (es - 1L))) >> es;
    const long8 o = (mul_s32(odd_lanes(x), odd_lanes(mult)) + (one << (os - 1L))) >> os;
    const long8 e32 = clamp(e, -2147483648L, 2147483647L), o32 = clamp(o, -2147483648L, 2147483647L);
    return as_int16((as_ulong8(e32) & LOW_HALF) | as_ulong8(o32) << 32);
}

/* The upper halves of 64-bit lanes, even ones first. */
static int16 high_halves(long8 even, long8 odd)
{
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
    return __builtin_shufflevector(as_int16(even), as_int16(odd), 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#endif
#endif
    return as_int16((as_ulong8(odd) & HIGH_HALF) | as_ulong8(even) >> 32);
}

/* vq_requant_hi in every lane, with term = 2^(shift-33) and rest = shift - 32. */
static int16 requant_hi16(int16 x, int16 mult, int16 term, int16 rest)
{
    return (high_halves(mul_s32(as_long8(x), as_long8(mult)), mul_s32(odd_lanes(x), odd_lanes(mult))) + term) >> rest;
}

/* vq_exp2_neg in every lane. In the end, ((p >> 1) + 2^(9+k)) >> (10+k), the shift's last step is done after the rounding.
 * The constants add up to less than 2^31 and p is less than that: from k = 21 on, nothing is left. */
#if WORD_PRODUCTS
/* c + mul_hi(x, r << 16), where both halves of rr are r and x < 2^31: with x = a * 2^16 + b that is a * r + (b * r >> 16), so
 * the upper halves of both products as they lie, and the lower half of a * r. */
static uintv step(uint c, uintv x, uintv rr)
{
    uintv high, low;
    __asm__("vpmulhuw %2, %1, %0" : "=v"(high) : "v"(x), "v"(rr));
    __asm__("vpmullw %2, %1, %0" : "=v"(low) : "v"(x), "v"(rr));
    return high + c + (low >> 16u);
}

static uintv exp2_neg_v(uintv t)
{
    const uintv r = 0u - t, rr = r << 16u | (r & 0xffffu);
    uintv p = step(55846889u, (uintv)(14532198u), rr);
    p = step(259247181u, p, rr);
    p = step(744107202u, p, rr);
    p = step(1073744609u, p, rr);
    /* g = 2^32 - 1 where the fraction is 0: each of the products is less than its x by 1, but r is 0 here */
    p += __builtin_astype(rr == 0u, uintv) & (14532198u + 55846889u + 259247181u + 744107202u - 4u);
    uintv out;
    __asm__("vpsrlvd %2, %1, %0" : "=v"(out) : "v"(p), "v"((t >> 16u) + 10u));
    return (out + 1u) >> 1u;
}

static uint16 exp2_neg16(uint16 t)
{
#if VQ_P2 == 16
    return exp2_neg_v(t);
#else
    return (uint16)(exp2_neg_v(t.lo), exp2_neg_v(t.hi));
#endif
}
#else
/* mul_hi(x, g) + c with x and c in the lanes' low halves, where results below 2^32 end up too. */
#if IFMA
#define FACTOR_EVEN(g) ((g) << 20) /* the instruction reads 52 bits */
#define FACTOR_ODD(g)  (((g) >> 12) & ~0xfffffUL)
static ulong8 step(ulong8 c, ulong8 x, ulong8 g)
{
    __asm__("vpmadd52huq %2, %1, %0" : "+v"(c) : "v"(x), "v"(g));
    return c;
}
#else
#define FACTOR_EVEN(g) (g)
#define FACTOR_ODD(g)  ((g) >> 32)
static ulong8 step(ulong8 c, ulong8 x, ulong8 g)
{
    return (mul_u32(x, g) >> 32) + c;
}
#endif

static uint16 exp2_neg16(uint16 t)
{
    const uint16 g = 0u - max(t << 16u, 1u); /* the largest number where the fraction is 0 */
    const ulong8 ge = FACTOR_EVEN(as_ulong8(g)), go = FACTOR_ODD(as_ulong8(g));
    ulong8 e = 14532198UL, o = 14532198UL;
#define HORNER(c)                 \
    e = step((ulong8)(c), e, ge); \
    o = step((ulong8)(c), o, go);
    HORNER(55846889UL)
    HORNER(259247181UL)
    HORNER(744107202UL)
    HORNER(1073744609UL)
#undef HORNER
    return (shift_right(as_uint16(e | o << 32), (t >> 16u) + 10u) + 1u) >> 1u;
}
#endif

/* vq_log2_q16 in every lane. */
static int16 log2_q16(uint16 s)
{
    const uint16 zeros = clz(s), m = s << zeros;
    ulong8 e = as_ulong8(m), o = as_ulong8(m) >> 32;
    uint16 bits = 0;
    for (int i = 0; i < 16; i++) {
        e = mul_u32(e, e) >> 31;
        o = mul_u32(o, o) >> 31;
        const ulong8 be = e >> 32, bo = o >> 32;
        e >>= be;
        o >>= bo;
        bits = bits << 1u | as_uint16(be | bo << 32);
    }
    return (as_int16(31u - zeros) - 20) * 65536 + as_int16(bits);
}

#endif
