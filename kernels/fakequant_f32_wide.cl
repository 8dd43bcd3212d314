/* fakequant_f32 for CPUs: a work-item walks VQ_P0 elements in runs of one group (or, for channels, in runs of a row,
 * where the parameters are vectors too), 16 at a time. Grid: (count / VQ_P0), work-groups of one. */
#include "quantizer_f32.h"

#define OP __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void

/* Exactly one of y and codes is there. unit: what a step of the code is in y. */
static void put(__global float *y, __global uchar *codes, size_t i, float code, float unit, float zero)
{
    if (y)
        y[i] = (code - zero) * unit;
    else
        codes[i] = convert_uchar(code);
}

static void put16(__global float *y, __global uchar *codes, size_t i, float16 code, float16 unit, float16 zero)
{
    if (y)
        vstore16((code - zero) * unit, 0, y + i);
    else
        vstore16(convert_uchar16(code), 0, codes + i);
}

/* With `whole`, a step is 1 in y, else the scale. */
static void uniform(__global const float *x, __global const float *scale, __global const float *zero, __global float *y,
                    __global uchar *codes, int whole, int inner, int groups, int levels, int count)
{
    const float top = (float)(levels - 1);
    const uint first = (uint)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, (uint)count);
    for (uint at = first, run_end; at < end; at = run_end) {
        uint i = at;
        if (inner == 1) {
            const uint c = at % (uint)groups;
            __global const float *const s = scale + c - at, *const z = zero + c - at;
            run_end = min(at + (uint)groups - c, end);
            for (; i + 16 <= run_end; i += 16) {
                const float16 s16 = vload16(0, s + i), z16 = vload16(0, z + i);
                put16(y, codes, i, uniform_code16(vload16(0, x + i), s16, z16, top), whole ? (float16)1.0f : s16, z16);
            }
            for (; i < run_end; i++)
                put(y, codes, i, uniform_code(x[i], s[i], z[i], top), whole ? 1.0f : s[i], z[i]);
        } else {
            const uint g = at / (uint)inner % (uint)groups;
            run_end = min(at + (uint)inner - at % (uint)inner, end);
            const float unit = whole ? 1.0f : scale[g];
            for (; i + 16 <= run_end; i += 16)
                put16(y, codes, i, uniform_code16(vload16(0, x + i), scale[g], zero[g], top), unit, zero[g]);
            for (; i < run_end; i++) put(y, codes, i, uniform_code(x[i], scale[g], zero[g], top), unit, zero[g]);
        }
    }
}

OP fakequant_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                     __global float *y, int inner, int groups, int levels, int count)
{
    uniform(x, scale, zero, y, 0, 0, inner, groups, levels, count);
}

OP whole_uniform(__global const float *x, __global const float *scale, __global const float *zero, __global float *y,
                 int inner, int groups, int levels, int count)
{
    uniform(x, scale, zero, y, 0, 1, inner, groups, levels, count);
}

OP quantize_uniform(__global const float *x, __global const float *scale, __global const float *zero,
                    __global uchar *codes, int inner, int groups, int levels, int count)
{
    uniform(x, scale, zero, 0, codes, 0, inner, groups, levels, count);
}

OP fakequant_codebook(__global const float *x, __global const float *thresholds, __global const float *values,
                      __global float *y, int inner, int groups, int levels, int count)
{
    const uint first = (uint)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, (uint)count);
    for (uint at = first, run_end; at < end; at = run_end) {
        const uint g = at / (uint)inner % (uint)groups;
        __global const float *const t = thresholds + g * (size_t)(levels - 1), *const v = values + g * (size_t)levels;
        uint i = at;
        run_end = min(at + (uint)inner - at % (uint)inner, end);
        for (; i + 16 <= run_end; i += 16) vstore16(codebook_value16(vload16(0, x + i), t, v, levels), 0, y + i);
        for (; i < run_end; i++) y[i] = v[codebook_code(x[i], t, levels - 1)];
    }
}
