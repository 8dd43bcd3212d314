/* output_error for any device: a work-group scores a panel of TILE rows. For every candidate it goes over all columns in
 * blocks of TILE; codes are made while a block of x is loaded into local memory, EACH x EACH sums per item, and a sum ends
 * as a squared error in its item. Grid: (row panels, batch).
 * error_s8: w s8 [k_pad/4][n_pad][4] per batch, zero beyond n and k. error_f32: w f32 [k][n_pad] per batch, zero beyond n.
 *
 * VQ_P0 items of a work-group, VQ_P1 EACH, VQ_P2 SIDE: SIDE * SIDE = VQ_P0. */
#include "output_error.h"
#include "sum_of_group.h"

#define EACH   VQ_P1
#define SIDE   VQ_P2
#define TILE   (SIDE * EACH)
#define K_STEP 8 /* fours of codes, or floats */
#define GROUP  __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

static int dot4(uint a, uint w, int acc)
{
    const uchar4 p = as_uchar4(a);
    const char4 q = as_char4(w);
    return acc + p.s0 * q.s0 + p.s1 * q.s1 + p.s2 * q.s2 + p.s3 * q.s3;
}

/* A code, or the integer value of a codebook. */
static uint integer_of(float x, const candidate *c, __global const float *thresholds, __global const int *values,
                       int levels, int codebook)
{
    if (codebook) return (uint)values[codebook_code(x, thresholds, levels - 1)];
    return (uint)(int)uniform_code(x, c->scale, c->zero, (float)(levels - 1));
}

GROUP error_s8(ERROR_ARGS(char))
{
    __local uint low_tile[K_STEP * TILE], high_tile[K_STEP * TILE], w_tile[K_STEP * TILE];
    __local float part[VQ_P0];
    const uint item = (uint)get_local_id(0);
    const int m0 = (int)get_group_id(0) * TILE, col = (int)(item % SIDE), row = (int)(item / SIDE), fours = (k + 3) / 4;
    TO_BATCH
    TO_CONSTS
    for (int j = 0; j < num; j++) {
        const candidate c = candidates[j];
        __global const float *const t = thresholds + (size_t)j * (levels - 1);
        __global const int *const v = values + (size_t)j * levels;
        float error = 0.0f, along = 0.0f, size = 0.0f;
        for (int n0 = 0; n0 < n_pad; n0 += TILE) {
            int low[EACH][EACH], high[EACH][EACH], low_sum[EACH], high_sum[EACH];
            for (int i = 0; i < EACH; i++) {
                low_sum[i] = high_sum[i] = 0;
                for (int l = 0; l < EACH; l++) low[i][l] = high[i][l] = 0;
            }
            for (int k0 = 0; k0 < fours; k0 += K_STEP) {
                for (uint at = item; at < K_STEP * TILE; at += VQ_P0) {
                    const int ka = (int)(at % K_STEP), i = (int)(at / K_STEP), kw = (int)(at / TILE),
                              l = (int)(at % TILE), first = 4 * (k0 + ka), last = min(k - first, 4);
                    __global const float *const in = x + min(m0 + i, m - 1) * x_row + first;
                    uint low_four = 0, high_four = 0;
                    for (int e = 0; e < last; e++) {
                        const uint integer = integer_of(in[e], &c, t, v, levels, codebook);
                        low_four |= (integer & 255u) << (8 * e);
                        high_four |= (integer >> 8) << (8 * e);
                    }
                    low_tile[ka * TILE + i] = low_four;
                    high_tile[ka * TILE + i] = high_four;
                    w_tile[kw * TILE + l] =
                        k0 + kw < fours ? ((__global const uint *)w)[(size_t)(k0 + kw) * n_pad + n0 + l] : 0;
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                for (int kk = 0; kk < K_STEP; kk++)
                    for (int i = 0; i < EACH; i++) {
                        const uint a = low_tile[kk * TILE + row + i * SIDE], b = high_tile[kk * TILE + row + i * SIDE];
                        if (W_ZERO) low_sum[i] = dot4(a, 0x01010101u, low_sum[i]);
                        if (W_ZERO) high_sum[i] = dot4(b, 0x01010101u, high_sum[i]);
                        for (int l = 0; l < EACH; l++) {
                            const uint four = w_tile[kk * TILE + col + l * SIDE];
                            low[i][l] = dot4(a, four, low[i][l]);
                            if (c.planes == 2) high[i][l] = dot4(b, four, high[i][l]);
                        }
                    }
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            for (int i = 0; i < EACH; i++)
                for (int l = 0; l < EACH; l++) {
                    const int r = m0 + row + i * SIDE, at = n0 + col + l * SIDE;
                    if (r >= m || at >= n) continue;
                    const int w_zero = W_ZERO ? consts[FIELD_W_ZERO * n_pad + at] : 0;
                    const int sum = consts[FIELD_SUM * n_pad + at];
                    const float unit = c.unit * as_float(consts[FIELD_SCALE * n_pad + at]);
                    float total = (float)(low[i][l] + w_zero * low_sum[i] - c.z_low * sum);
                    if (c.planes == 2)
                        total = fma(256.0f, (float)(high[i][l] + w_zero * high_sum[i] - c.z_high * sum), total);
                    const float d = fma(-unit, total, y[r * y_row + at] - bias[at]), p = unit * total;
                    error = fma(d, d, error);
                    if (COSINE) along = fma(d, p, along);
                    if (COSINE) size = fma(p, p, size);
                }
        }
        error = sum_of_group(part, error);
        if (COSINE) along = sum_of_group(part, along);
        if (COSINE) size = sum_of_group(part, size);
        if (item == 0) partial[PARTIAL_AT(j)] = error;
        if (COSINE && item == 0) partial[PARTIAL_AT(j) + 1] = along;
        if (COSINE && item == 0) partial[PARTIAL_AT(j) + 2] = size;
    }
}

GROUP error_f32(ERROR_ARGS(float))
{
    __local float a_tile[K_STEP * TILE], w_tile[K_STEP * TILE], part[VQ_P0];
    const uint item = (uint)get_local_id(0);
    const int m0 = (int)get_group_id(0) * TILE, col = (int)(item % SIDE), row = (int)(item / SIDE);
    TO_BATCH
    for (int j = 0; j < num; j++) {
        const candidate c = candidates[j];
        __global const float *const t = thresholds + (size_t)j * (levels - 1);
        __global const float *const v = (__global const float *)values + (size_t)j * levels;
        float error = 0.0f, along = 0.0f, size = 0.0f;
        for (int n0 = 0; n0 < n_pad; n0 += TILE) {
            float sum[EACH][EACH];
            for (int i = 0; i < EACH; i++)
                for (int l = 0; l < EACH; l++) sum[i][l] = 0.0f;
            for (int k0 = 0; k0 < k; k0 += K_STEP) {
                for (uint at = item; at < K_STEP * TILE; at += VQ_P0) {
                    const int ka = (int)(at % K_STEP), i = (int)(at / K_STEP), kw = (int)(at / TILE),
                              l = (int)(at % TILE);
                    const float in = k0 + ka < k ? x[min(m0 + i, m - 1) * x_row + k0 + ka] : 0.0f;
                    a_tile[ka * TILE + i] = codebook ? v[codebook_code(in, t, levels - 1)]
                                                     : uniform_value(in, c.scale, c.zero, (float)(levels - 1));
                    w_tile[kw * TILE + l] = k0 + kw < k ? w[(size_t)(k0 + kw) * n_pad + n0 + l] : 0.0f;
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                for (int kk = 0; kk < K_STEP; kk++)
                    for (int i = 0; i < EACH; i++)
                        for (int l = 0; l < EACH; l++)
                            sum[i][l] =
                                fma(a_tile[kk * TILE + row + i * SIDE], w_tile[kk * TILE + col + l * SIDE], sum[i][l]);
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            for (int i = 0; i < EACH; i++)
                for (int l = 0; l < EACH; l++) {
                    const int r = m0 + row + i * SIDE, at = n0 + col + l * SIDE;
                    if (r >= m || at >= n) continue;
                    const float d = y[r * y_row + at] - bias[at] - sum[i][l], p = sum[i][l];
                    error = fma(d, d, error);
                    if (COSINE) along = fma(d, p, along);
                    if (COSINE) size = fma(p, p, size);
                }
        }
        error = sum_of_group(part, error);
        if (COSINE) along = sum_of_group(part, along);
        if (COSINE) size = sum_of_group(part, size);
        if (item == 0) partial[PARTIAL_AT(j)] = error;
        if (COSINE && item == 0) partial[PARTIAL_AT(j) + 1] = along;
        if (COSINE && item == 0) partial[PARTIAL_AT(j) + 2] = size;
    }
}

/* b of every batch, element (n, k) at n * b_n + k * b_k, as [k][n_pad]. Grid: (n_pad / VQ_P0, k, batch). */
GROUP error_pack(__global const float *b, __global float *w, int n, int k, int n_pad, int inner, long b_offset,
                 long b_outer, long b_inner, long b_n, long b_k)
{
    const long z = (long)get_group_id(2), z_outer = (int)z / inner;
    const long at = (long)get_global_id(0), row = (long)get_group_id(1);
    if (at >= n_pad) return;
    b += b_offset + z * b_inner + z_outer * (b_outer - inner * b_inner);
    w[((size_t)z * k + row) * n_pad + at] = at < n ? b[at * b_n + row * b_k] : 0.0f;
}
