/* layernorm_f32 for CPUs: one work-item per rows_per_item rows, 16 columns at a time. Grid: (m / rows_per_item),
 * work-groups of one. */
#include "vq_part.h"
#include "vq_vector.h"

static float lanes(float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 d = b.lo + b.hi;
    return d.x + d.y;
}

/* As in layernorm_f32.cl: the mean of the differences corrects the mean. */
static void row(__global const float *in, __global const float *gamma, __global const float *beta, float eps,
                __global float *out, int c)
{
    const int whole = c & ~15;
    float16 sum = 0.0f, squares = 0.0f, differences = 0.0f;
    float tail = 0.0f, tail_squares = 0.0f;
    for (int i = 0; i < whole; i += 16) sum += LOAD_AT(float16, in + i);
    for (int i = whole; i < c; i++) tail += in[i];
    const float mean = (lanes(sum) + tail) / c;
    tail = 0.0f;
    for (int i = 0; i < whole; i += 16) {
        const float16 d = LOAD_AT(float16, in + i) - mean;
        squares = fma(d, d, squares);
        differences += d;
    }
    for (int i = whole; i < c; i++) {
        const float d = in[i] - mean;
        tail_squares = fma(d, d, tail_squares);
        tail += d;
    }
    const float rest = (lanes(differences) + tail) / c;
    const float scale = 1.0f / sqrt(max((lanes(squares) + tail_squares) / c - rest * rest, 0.0f) + eps);
    for (int i = 0; i < whole; i += 16)
        STORE_AT(float16, out + i) =
            fma((LOAD_AT(float16, in + i) - mean - rest) * scale, LOAD_AT(float16, gamma + i), LOAD_AT(float16, beta + i));
    for (int i = whole; i < c; i++) out[i] = fma((in[i] - mean - rest) * scale, gamma[i], beta[i]);
}

VQ_ONE_ITEM_KERNEL void layernorm_f32(__global const float *x, int ldx, __global const float *gamma,
                                      __global const float *beta, float eps, __global float *y, int m, int c,
                                      int rows_per_item)
{
    const int first = VQ_FIRST_ROW(get_group_id(0), rows_per_item, m);
    const int end = VQ_FIRST_ROW(get_group_id(0) + 1, rows_per_item, m);
    for (int r = first; r < end; r++) row(x + (size_t)r * ldx, gamma, beta, eps, y + (size_t)r * c, c);
}
