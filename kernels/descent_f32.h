/* descent_f32 (src/ops/ops_f32.h). A lane is one row of the weights; a work-group has 16 of them in its part of scratch:
 * the weights, their errors e = w - w^ and r = G e, by columns. */
#include "lanes_f32.h"

#ifdef LANES_WIDE
#define ALL_ZERO(x) all((x) == (lane_t)(0))
#else
#define ALL_ZERO(x) ((x) == 0)
#endif

/* r += d G_i */
static void add_column(__global float *r, __global const float *gram, lane_t d, int k)
{
    if (ALL_ZERO(d)) return;
    for (int l = 0; l < k; l++) LANE_STORE(r + l * 16, fma(d, (lane_t)gram[l], LANE_LOAD(r + l * 16)));
}

LANES_OP descent(__global const float *weight, __global const float *gram, __global const float *scale,
                 __global const float *zero, __global float *scratch, __global uchar *codes, __global float *values,
                 __global float *error, int n, int k, int levels)
{
    const int first = (int)get_group_id(0) * 16;
    __global float *const w = scratch + (size_t)first * 3 * k, *const e = w + 16 * k, *const r = e + 16 * k;
    const lane_t s = LANE_LOAD(scale + first), z = LANE_LOAD(zero + first);
    const float top = (float)(levels - 1);
    lane_t sum = (lane_t)(0);
    for (int i = 0; i < k; i++) {
        FOR_LANES(lane)
        {
            const size_t at = (size_t)(first + lane) * k + i;
            const bool real = first + lane < n;
            w[i * 16 + lane] = real ? weight[at] : 0.0f;
            e[i * 16 + lane] = real ? (float)codes[at] : 0.0f;
        }
        const lane_t v = LANE_LOAD(w + i * 16), c = LANE_LOAD(e + i * 16);
        LANE_STORE(e + i * 16, v - (c - z) * s);
        LANE_STORE(r + i * 16, (lane_t)(0));
    }
    for (int i = 0; i < k; i++) add_column(r, gram + (size_t)i * k, LANE_LOAD(e + i * 16), k);
    for (int i = 0; i < k; i++) {
        const lane_t v = LANE_LOAD(w + i * 16), old = LANE_LOAD(e + i * 16), slope = LANE_LOAD(r + i * 16);
        const lane_t best = v - old + slope / gram[(size_t)i * k + i];
        const lane_t code = LANE_CODE(best, s, z, top), rounded = (code - z) * s, now = v - rounded;
        LANE_STORE(e + i * 16, now);
        add_column(r, gram + (size_t)i * k, now - old, k);
        FOR_LANES(lane) if (first + lane < n)
        {
            codes[(size_t)(first + lane) * k + i] = (uchar)LANE_AT(code, lane);
            values[(size_t)(first + lane) * k + i] = LANE_AT(rounded, lane);
        }
    }
    for (int i = 0; i < k; i++) sum = fma(LANE_LOAD(e + i * 16), LANE_LOAD(r + i * 16), sum);
    FOR_LANES(lane) if (first + lane < n) error[first + lane] = LANE_AT(sum, lane);
}
