/* softmax_f32 for CPUs: one work-item per VQ_P0 rows, 16 columns at a time. x and y may be the same memory.
 * Grid: (rows / VQ_P0), work-groups of one. */

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
    const float16 scale = as_float16((convert_int16(max(n, (float16)-126.0f)) + 127) << 23);
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

static void row(__global const float *in, __global float *out, int t)
{
    const int whole = t & ~15, rest = t - whole;
    float tail[16];
    for (int i = 0; i < 16; i++) tail[i] = i < rest ? in[whole + i] : -INFINITY;
    const float16 last = vload16(0, tail);
    float16 top = last, sum;
    for (int i = 0; i < whole; i += 16) {
        const float16 v = vload16(0, in + i);
        top = select(top, v, v > top);
    }
    const float row_top = lanes_max(top);
    const float16 e_last = exp_neg(last - row_top);
    sum = rest ? e_last : 0.0f;
    for (int i = 0; i < whole; i += 16) {
        const float16 e = exp_neg(vload16(0, in + i) - row_top);
        vstore16(e, 0, out + i);
        sum += e;
    }
    const float row_sum = lanes_sum(sum);
    for (int i = 0; i < whole; i += 16) vstore16(vload16(0, out + i) / row_sum, 0, out + i);
    vstore16(e_last / row_sum, 0, tail);
    for (int i = 0; i < rest; i++) out[whole + i] = tail[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_f32(__global const float *x, __global float *y,
                                                                         int rows, int t)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, rows);
    for (int r = first; r < end; r++) row(x + (size_t)r * t, y + (size_t)r * t, t);
}
