/* Witness of gemm_f32 and of the Gram matrices made with it: every element is one dot product in double. */
#include "ref/ref_f32.h"

static void gemm_one(const vq_gemm_f32_shape *s, const float *a, const float *b, const float *bias, float *c)
{
    const double alpha = s->alpha == 0.0f ? 1.0 : (double)s->alpha;
    for (int m = 0; m < s->m; m++) {
        const int row = s->rows_in ? m / s->rows_in * s->rows_out + m % s->rows_in + s->row_first : m;
        for (int n = 0; n < s->n; n++) {
            double sum = 0.0;
            for (int k = 0; k < s->k; k++) {
                const size_t at =
                    s->trans_b ? (size_t)n * (size_t)s->ldb + (size_t)k : (size_t)k * (size_t)s->ldb + (size_t)n;
                const size_t from =
                    s->trans_a ? (size_t)k * (size_t)s->lda + (size_t)m : (size_t)m * (size_t)s->lda + (size_t)k;
                sum += (double)a[from] * (double)b[at];
            }
            float *const out = &c[(size_t)row * (size_t)s->ldc + (size_t)n];
            *out = (float)(alpha * sum + (bias ? (double)bias[n] : 0.0) + (s->accumulate ? (double)*out : 0.0));
        }
    }
}

void vq_ref_gemm_f32(const vq_gemm_f32_shape *shape, const float *a, const float *b, const float *bias, float *c)
{
    const size_t outer = shape->outer ? (size_t)shape->outer : 1, inner = shape->inner ? (size_t)shape->inner : 1;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++)
            gemm_one(shape, a + shape->a_offset + o * shape->a_outer + i * shape->a_inner,
                     b + shape->b_offset + o * shape->b_outer + i * shape->b_inner, bias,
                     c + shape->c_offset + o * shape->c_outer + i * shape->c_inner);
}

void vq_ref_gram_f32(const float *x, const float *y, int m, int kx, int ky, double *out)
{
    for (int i = 0; i < kx; i++)
        for (int j = 0; j < ky; j++) {
            double sum = 0.0;
            for (size_t row = 0; row < (size_t)m; row++)
                sum += (double)x[row * (size_t)kx + (size_t)i] * (double)y[row * (size_t)ky + (size_t)j];
            out[(size_t)i * (size_t)ky + (size_t)j] = sum;
        }
}
