/* gram_error_f32 (src/ops/ops_f32.h). A lane is one candidate; a work-group goes through pairs of a row and a block of 16
 * candidates, slot after slot, with the rounding errors d of one pair in its own part of scratch. G is symmetric, so
 * d'Gd = sum_k d_k (G_kk d_k + 2 sum_{l<k} G_kl d_l).
 * With TERMS the three sums come apart, 16 of each: d'Gd, d'c and d'p, p = G w of the row (with `diagonal`, its diagonal
 * alone). */
#include "lanes_f32.h"

#define ROWS 8 /* of G at a time: every d_l loaded is used that often */

LANES_OP gram_error(__global const float *w, __global const float *gram, __global const float *cross,
                    __global const float *scale, __global const float *zero, __global float *scratch,
                    __global float *error, int n, int k, int blocks, int levels, int diagonal
#ifdef TERMS
                    ,
                    __global const float *along
#endif
)
{
    __global float *const d = scratch + (size_t)get_group_id(0) * k * 16;
    const float top = (float)(levels - 1);
    const int slots = (int)get_num_groups(0), pairs = n * blocks;
    for (int pair = (int)get_group_id(0); pair < pairs; pair += slots) {
        const int row = pair / blocks;
        __global const float *const x = w + (size_t)row * k, *const c = cross + (size_t)row * k;
        const lane_t s = LANE_LOAD(scale + (size_t)pair * 16), z = LANE_LOAD(zero + (size_t)pair * 16);
        lane_t sum = 0.0f;
#ifdef TERMS
        __global const float *const p = along + (size_t)row * k;
        lane_t cross_sum = 0.0f, along_sum = 0.0f;
#endif
        for (int i = 0; i < k; i++) LANE_STORE(d + i * 16, (LANE_CODE((lane_t)x[i], s, z, top) - z) * s - x[i]);
        for (int k0 = 0; k0 < k; k0 += ROWS) {
            const int rows = min(ROWS, k - k0);
            lane_t acc[ROWS];
            for (int r = 0; r < ROWS; r++) acc[r] = 0.0f;
            if (!diagonal && rows == ROWS) {
                __global const float *const g = gram + (size_t)k0 * k;
                for (int l = 0; l < k0; l++) {
                    const lane_t dl = LANE_LOAD(d + l * 16);
#pragma unroll
                    for (int r = 0; r < ROWS; r++) acc[r] = fma((lane_t)g[(size_t)r * k + l], dl, acc[r]);
                }
            } else if (!diagonal) {
                for (int r = 0; r < rows; r++)
                    for (int l = 0; l < k0; l++)
                        acc[r] = fma((lane_t)gram[(size_t)(k0 + r) * k + l], LANE_LOAD(d + l * 16), acc[r]);
            }
            for (int r = 0; r < rows; r++) {
                __global const float *const g = gram + (size_t)(k0 + r) * k;
                const lane_t dk = LANE_LOAD(d + (k0 + r) * 16);
                lane_t t = acc[r];
                for (int l = k0; !diagonal && l < k0 + r; l++) t = fma((lane_t)g[l], LANE_LOAD(d + l * 16), t);
#ifdef TERMS
                sum += dk * (2.0f * t + g[k0 + r] * dk);
                cross_sum = fma(dk, (lane_t)c[k0 + r], cross_sum);
                along_sum = fma(dk, (lane_t)p[k0 + r], along_sum);
#else
                sum += dk * (2.0f * (t - c[k0 + r]) + g[k0 + r] * dk);
#endif
            }
        }
#ifdef TERMS
        LANE_STORE(error + (size_t)pair * 48, sum);
        LANE_STORE(error + (size_t)pair * 48 + 16, cross_sum);
        LANE_STORE(error + (size_t)pair * 48 + 32, along_sum);
#else
        LANE_STORE(error + (size_t)pair * 16, sum);
#endif
    }
}
