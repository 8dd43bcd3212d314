/* Witness of gemm_s8: one output at a time, as the formula in base/int_ops.h reads. */
#include "ref/ref_int.h"

static int32_t dot(const vq_gemm_s8_weights *weights, const uint8_t *a, int n)
{
    const int8_t *const w = weights->w + (size_t)n * (size_t)weights->k;
    const int64_t w_zero = weights->w_zero ? weights->w_zero[n] : 0;
    int64_t sum = weights->bias[n];
    for (int k = 0; k < weights->k; k++) sum += a[k] * (w[k] + w_zero);
    return (int32_t)sum; /* |sum| < 2^31 by contract */
}

static uint8_t to_code(const vq_gemm_s8_weights *weights, int n, int32_t value)
{
    const int64_t last = (weights->epilogue == VQ_GEMM_TABLE ? weights->table_len : 1 << weights->bits) - 1;
    const int64_t shifted = (int64_t)value + weights->zero[n];
    const int64_t i = shifted < 0 ? 0 : shifted > last ? last : shifted;
    return weights->epilogue == VQ_GEMM_TABLE ? weights->table[i] : (uint8_t)i;
}

static int32_t add_saturated(int32_t x, int32_t y)
{
    const int64_t sum = (int64_t)x + y;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

void vq_ref_gemm_s8(const vq_gemm_s8_weights *weights, const uint8_t *a, int lda, void *c, int ldc, int m, int rows_in,
                    int rows_out, int row_first)
{
    const bool adds = weights->epilogue == VQ_GEMM_ADD, sets = weights->epilogue == VQ_GEMM_SET;
    for (int i = 0; i < m; i++) {
        const int row = (adds || sets) && rows_in ? i / rows_in * rows_out + i % rows_in + row_first : i;
        for (int n = 0; n < weights->n; n++) {
            const int32_t acc = dot(weights, a + (size_t)i * (size_t)lda, n);
            const int32_t value = vq_ref_requant(acc, weights->mult[n], weights->shift[n]);
            const size_t at = (size_t)row * (size_t)ldc + (size_t)n;
            if (sets)
                ((int32_t *)c)[at] = value;
            else if (adds)
                ((int32_t *)c)[at] = add_saturated(((int32_t *)c)[at], value);
            else
                ((uint8_t *)c)[at] = to_code(weights, n, value);
        }
    }
}
