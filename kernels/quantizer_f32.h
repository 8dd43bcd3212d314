/* The quantizers, one element or 16 at a time. Codes must equal PyTorch's in float32, so nothing may be contracted and
 * the division is a true one: an element divided, rounded to even, shifted, clipped.
 * A clip by comparison instead of fmin/fmax is one instruction on a vector; a NaN becomes code 0. */
#pragma OPENCL FP_CONTRACT OFF

static inline float uniform_code(float x, float scale, float zero, float top)
{
    float q = rint(x / scale) + zero;
    q = q > 0.0f ? q : 0.0f;
    return q < top ? q : top;
}

static inline float uniform_value(float x, float scale, float zero, float top)
{
    return (uniform_code(x, scale, zero, top) - zero) * scale;
}

/* The number of thresholds <= x among n ascending ones. */
static inline int codebook_code(float x, __global const float *thresholds, int n)
{
    int code = 0;
    while (n > 0) {
        const int middle = n / 2;
        if (thresholds[code + middle] <= x) {
            code += middle + 1;
            n -= middle + 1;
        } else {
            n = middle;
        }
    }
    return code;
}

static inline float16 uniform_code16(float16 x, float16 scale, float16 zero, float16 top)
{
    float16 q = rint(x / scale) + zero;
    q = q > 0.0f ? q : (float16)0.0f;
    return q < top ? q : top;
}

static inline float16 uniform_value16(float16 x, float16 scale, float16 zero, float16 top)
{
    return (uniform_code16(x, scale, zero, top) - zero) * scale;
}

/* Every threshold passed moves on to its value: no gather, and no branch to mispredict. */
static inline float16 codebook_value16(float16 x, __global const float *thresholds, __global const float *values,
                                       int levels)
{
    float16 v = values[0];
    for (int i = 1; i < levels; i++) v = thresholds[i - 1] <= x ? (float16)values[i] : v;
    return v;
}
