/* Witness of gemm_s8: one output at a time, as the formula in base/int_ops.h reads. */
#include "ref/ref_int.h"

static int32_t dot(const vq_gemm_s8_weights *weights, const uint8_t *a, int plane_pitch, int n)
{
    const int8_t *const w = weights->w + (size_t)n * (size_t)weights->k;
    const int64_t w_zero = weights->w_zero ? weights->w_zero[n] : 0;
    int64_t sum = weights->bias[n];
    for (int k = 0; k < weights->k; k++) {
        const int value = weights->a_planes == 2 ? 256 * a[k] + a[plane_pitch + k] : a[k];
        sum += value * (w[k] + w_zero);
    }
    return (int32_t)sum; /* |sum| < 2^31 by contract */
}

/* The output code, or for TABLE the entry that holds it. */
static int to_index(const vq_gemm_s8_weights *weights, int n, int32_t value)
{
    const int64_t last = (weights->epilogue == VQ_GEMM_TABLE ? weights->table_len : 1 << weights->bits) - 1;
    const int64_t shifted = (int64_t)value + weights->zero[n];
    return (int)(shifted < 0 ? 0 : shifted > last ? last : shifted);
}

static int32_t add_saturated(int32_t x, int32_t y)
{
    const int64_t sum = (int64_t)x + y;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

static void put_codes(const vq_gemm_s8_weights *weights, uint8_t *c, int plane_pitch, int n, int32_t value)
{
    const int i = to_index(weights, n, value);
    c[0] = weights->epilogue == VQ_GEMM_TABLE ? weights->table[i] : (uint8_t)i;
    if (weights->table_low) c[plane_pitch] = weights->table_low[i];
}

void vq_ref_gemm_s8_planes(const vq_gemm_s8_weights *weights, const uint8_t *a, int lda, int a_plane_pitch, void *c,
                           int ldc, int c_plane_pitch, int m, int rows_in, int rows_out, int row_first)
{
    const bool adds = weights->epilogue == VQ_GEMM_ADD, sets = weights->epilogue == VQ_GEMM_SET;
    for (int i = 0; i < m; i++) {
        const int row = (adds || sets) && rows_in ? i / rows_in * rows_out + i % rows_in + row_first : i;
        for (int n = 0; n < weights->n; n++) {
            const int32_t acc = dot(weights, a + (size_t)i * (size_t)lda, a_plane_pitch, n);
            const int32_t value = vq_ref_requant(acc, weights->mult[n], weights->shift[n]);
            const size_t at = (size_t)row * (size_t)ldc + (size_t)n;
            if (sets)
                ((int32_t *)c)[at] = value;
            else if (adds)
                ((int32_t *)c)[at] = add_saturated(((int32_t *)c)[at], value);
            else
                put_codes(weights, (uint8_t *)c + at, c_plane_pitch, n, value);
        }
    }
}

void vq_ref_gemm_s8(const vq_gemm_s8_weights *weights, const uint8_t *a, int lda, void *c, int ldc, int m, int rows_in,
                    int rows_out, int row_first)
{
    vq_ref_gemm_s8_planes(weights, a, lda, 0, c, ldc, 0, m, rows_in, rows_out, row_first);
}
