/* What softmax needs of 16 lanes, for CPUs. */
#ifndef EXP_F32_H
#define EXP_F32_H

/* e^x for x <= 0: 2^n * e^r with |r| <= ln(2)/2, Taylor's polynomial of degree 7 (off by 2^-28), below e^-87 zero. */
static float16 exp_neg(float16 x)
{
    const float16 n = rint(x * 1.44269504f);
    const float16 r = fma(n, (float16)-1.42860677e-6f, fma(n, (float16)-0.693145752f, x));
    float16 p = 1.0f / 5040;
    p = fma(p, r, (float16)(1.0f / 720));
    p = fma(p, r, (float16)(1.0f / 120));
    p = fma(p, r, (float16)(1.0f / 24));
    p = fma(p, r, (float16)(1.0f / 6));
    p = fma(p, r, (float16)0.5f);
    p = fma(p, r, (float16)1.0f);
    p = fma(p, r, (float16)1.0f);
    const float16 scale = as_float16((__builtin_convertvector(max(n, (float16)-126.0f), int16) + 127) << 23);
    return select(p * scale, (float16)0.0f, x < -87.0f);
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
