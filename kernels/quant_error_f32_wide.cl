/* quant_error_f32 for CPUs: as quant_error_f32.cl, 16 elements at a time. A chunk stays in the first-level cache while
 * the candidates go over it one after the other. Work-groups of one. */
#include "quantizer_f32.h"

#define OP __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void

static float lanes(float16 v)
{
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 d = b.lo + b.hi;
    return d.x + d.y;
}

/* Grid: (chunks of chunk_len elements, groups). */
OP error_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                 __global float *partial, int inner, int groups, int n, int chunk_len, int num, int levels)
{
    const uint g = (uint)get_group_id(1), first = (uint)get_group_id(0) * chunk_len;
    const uint end = min(first + chunk_len, (uint)n);
    const float top = (float)(levels - 1);
    for (int j = 0; j < num; j++) {
        const float s = scale[j * groups + g], z = zero[j * groups + g];
        float16 sum = 0.0f;
        float rest = 0.0f;
        for (uint e = first, run; e < end; e += run) {
            __global const float *const in = x + ((size_t)(e / inner) * groups + g) * inner + e % inner;
            uint i = 0;
            run = min(inner - e % inner, end - e);
            for (; i + 16 <= run; i += 16) {
                const float16 v = vload16(0, in + i), d = v - uniform_value16(v, s, z, top);
                sum = fma(d, d, sum);
            }
            for (; i < run; i++) {
                const float d = in[i] - uniform_value(in[i], s, z, top);
                rest = fma(d, d, rest);
            }
        }
        partial[(get_group_id(0) * groups + g) * num + j] = lanes(sum) + rest;
    }
}

/* Grid: (groups / 16, chunks of rows). */
OP error_uniform_channels(__global const float *x, __global const float *scale, __global const float *zero,
                          __global float *partial, int groups, int rows, int chunk_len, int num, int levels)
{
    const int c0 = (int)get_group_id(0) * 16, first = (int)get_group_id(1) * chunk_len;
    const int end = min(first + chunk_len, rows), cols = min(16, groups - c0);
    const float top = (float)(levels - 1);
    __global float *const out = partial + (get_group_id(1) * groups + c0) * num;
    for (int j = 0; j < num; j++) {
        __global const float *const s = scale + (size_t)j * groups + c0, *const z = zero + (size_t)j * groups + c0;
        if (cols == 16) {
            const float16 s16 = vload16(0, s), z16 = vload16(0, z);
            float16 sum = 0.0f;
            float lane[16];
            for (int r = first; r < end; r++) {
                const float16 v = vload16(0, x + (size_t)r * groups + c0), d = v - uniform_value16(v, s16, z16, top);
                sum = fma(d, d, sum);
            }
            vstore16(sum, 0, lane);
            for (int c = 0; c < 16; c++) out[c * num + j] = lane[c];
            continue;
        }
        for (int c = 0; c < cols; c++) {
            float sum = 0.0f;
            for (int r = first; r < end; r++) {
                const float v = x[(size_t)r * groups + c0 + c], d = v - uniform_value(v, s[c], z[c], top);
                sum = fma(d, d, sum);
            }
            out[c * num + j] = sum;
        }
    }
}

/* For vitq-bench: the most that the arithmetic of error_uniform, or with codebook that of error_codebook, could do on
 * registers alone. out s32 [groups][2]: elements per step of an item; the sums, so that they are not left out. */
OP error_peak(__global int *out, __global const float *thresholds, __global const float *values, int steps, int levels,
              int codebook)
{
    __global int *const mine = out + 2 * get_group_id(0);
    const float s = values[0], z = values[1], top = (float)(levels - 1);
    float16 x[4], sum[4]; /* enough to hide the latency of selections that follow each other */
    for (int c = 0; c < 4; c++) {
        x[c] = (float16)(mine[0]) + c * s;
        sum[c] = 0.0f;
    }
    for (int i = 0; i < steps; i++) {
        float16 v[4];
        if (codebook) {
            for (int c = 0; c < 4; c++) v[c] = values[0];
            for (int l = 1; l < levels; l++)
#pragma unroll
                for (int c = 0; c < 4; c++) v[c] = thresholds[l - 1] <= x[c] ? (float16)values[l] : v[c];
        } else {
#pragma unroll
            for (int c = 0; c < 4; c++) v[c] = uniform_value16(x[c], s, z, top);
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const float16 d = x[c] - v[c];
            sum[c] = fma(d, d, sum[c]);
            x[c] += s;
        }
    }
    mine[0] = 64;
    mine[1] = as_int(lanes(sum[0] + sum[1] + sum[2] + sum[3]));
}

/* For vitq-bench: reads n floats, a multiple of 64. Grid: (n / chunk_len). */
OP error_read(__global const float *x, __global float *out, int n, int chunk_len)
{
    const int first = (int)get_group_id(0) * chunk_len, end = min(first + chunk_len, n);
    float16 a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (int i = first; i < end; i += 64) {
        a += vload16(0, x + i);
        b += vload16(0, x + i + 16);
        c += vload16(0, x + i + 32);
        d += vload16(0, x + i + 48);
    }
    out[get_group_id(0)] = lanes(a + b + c + d);
}

OP error_codebook(__global const float *x, __global const float *thresholds, __global const float *values,
                  __global float *partial, int inner, int groups, int n, int chunk_len, int num, int levels)
{
    const uint g = (uint)get_group_id(1), first = (uint)get_group_id(0) * chunk_len;
    const uint end = min(first + chunk_len, (uint)n);
    for (int j = 0; j < num; j++) {
        __global const float *const t = thresholds + (g * (size_t)num + j) * (levels - 1);
        __global const float *const u = values + (g * (size_t)num + j) * levels;
        float16 sum = 0.0f;
        float rest = 0.0f;
        for (uint e = first, run; e < end; e += run) {
            __global const float *const in = x + ((size_t)(e / inner) * groups + g) * inner + e % inner;
            uint i = 0;
            run = min(inner - e % inner, end - e);
            for (; i + 64 <= run; i += 64) { /* four vectors share the loads of thresholds and values */
                const float16 x0 = vload16(0, in + i), x1 = vload16(0, in + i + 16), x2 = vload16(0, in + i + 32),
                              x3 = vload16(0, in + i + 48);
                float16 v0 = u[0], v1 = v0, v2 = v0, v3 = v0;
                for (int l = 1; l < levels; l++) {
                    const float16 passed = t[l - 1], value = u[l];
                    v0 = passed <= x0 ? value : v0;
                    v1 = passed <= x1 ? value : v1;
                    v2 = passed <= x2 ? value : v2;
                    v3 = passed <= x3 ? value : v3;
                }
                sum = fma(x0 - v0, x0 - v0, sum);
                sum = fma(x1 - v1, x1 - v1, sum);
                sum = fma(x2 - v2, x2 - v2, sum);
                sum = fma(x3 - v3, x3 - v3, sum);
            }
            for (; i + 16 <= run; i += 16) {
                const float16 v = vload16(0, in + i), d = v - codebook_value16(v, t, u, levels);
                sum = fma(d, d, sum);
            }
            for (; i < run; i++) {
                const float d = in[i] - u[codebook_code(in[i], t, levels - 1)];
                rest = fma(d, d, rest);
            }
        }
        partial[(get_group_id(0) * groups + g) * num + j] = lanes(sum) + rest;
    }
}
