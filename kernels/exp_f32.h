/* What softmax needs of 16 lanes, for CPUs. */
#ifndef EXP_F32_H
#define EXP_F32_H

/* e^r for |r| <= ln(2)/2: Taylor's polynomial of degree 7, off by 2^-28. */
static float16 exp_polynomial(float16 r)
{
    float16 p = 1.0f / 5040;
    p = fma(p, r, (float16)(1.0f / 720));
    p = fma(p, r, (float16)(1.0f / 120));
    p = fma(p, r, (float16)(1.0f / 24));
    p = fma(p, r, (float16)(1.0f / 6));
    p = fma(p, r, (float16)0.5f);
    p = fma(p, r, (float16)1.0f);
    return fma(p, r, (float16)1.0f);
}

/* e^x for x <= 0: 2^n * e^r; below e^-87 what that is, which no sum with a 1 in it notices. n is rounded by
 * adding 1.5 * 2^23, whose last bits are then those of n. */
static float16 exp_neg(float16 x)
{
    const float16 least = -87.0f;
    x = x < least ? least : x;
    const float16 shifted = fma(x, (float16)1.44269504f, (float16)12582912.0f), n = shifted - 12582912.0f;
    const float16 r = fma(n, (float16)-1.42860677e-6f, fma(n, (float16)-0.693145752f, x));
    return exp_polynomial(r) * as_float16((as_int16(shifted) + 127) << 23);
}

static float lanes_sum(float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 d = b.lo + b.hi;
    return d.x + d.y;
}

static float lanes_max(float16 v)
{
    const float8 a = fmax(v.lo, v.hi);
    const float4 b = fmax(a.lo, a.hi);
    const float2 d = fmax(b.lo, b.hi);
    return fmax(d.x, d.y);
}

#endif
