/* Plain-C witnesses of the float ops (sums in double), written to be read; those of layernorm and softmax are the f64 ops'
 * too. Semantics in ops/ops_f32.h and
 * base/float_ops.h; names and parameters follow the device functions. Thread-safe. */
#ifndef VQ_SRC_REF_F32_H
#define VQ_SRC_REF_F32_H

#include "base/float_ops.h"

void vq_ref_gemm_f32(const vq_gemm_f32_shape *shape, const float *a, const float *b, const float *bias, float *c);
/* bias may be NULL; other [m][n], which y may be, is read with VQ_LINEAR_ADD only. */
void vq_ref_linear_f32(int m, int n, int k, const float *x, const float *w, const float *bias,
                       vq_linear_epilogue epilogue, const float *other, float *y);
void vq_ref_gram_f32(const float *x, const float *y, int m, int kx, int ky, double *out);
void vq_ref_layernorm_f32(const float *x, int ldx, const float *gamma, const float *beta, float eps, float *y, int m,
                          int c);
void vq_ref_softmax_f32(const float *x, float *y, size_t rows, int t);
/* Fails only for memory. */
vq_status vq_ref_attention_f32(const float *qkv, int t, int heads, int d, float scale, float *out, int batch);
void vq_ref_gelu_f32(const float *x, float *y, size_t count);
void vq_ref_gelu_rational_f32(const float *x, float *y, size_t count);
void vq_ref_fakequant_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int levels,
                              float *y);
void vq_ref_quantize_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int levels,
                             uint8_t *codes);
void vq_ref_fakequant_codebook(const vq_groups *g, const float *x, const float *thresholds, const float *values,
                               int levels, float *y);
/* Sorts; fails only for memory. */
vq_status vq_ref_quantile_f32(const vq_groups *g, const float *x, const size_t *ranks, int num_ranks, float *out);
void vq_ref_quant_error_uniform(const vq_groups *g, const float *x, const float *scale, const float *zero, int num,
                                int levels, double *error);
void vq_ref_quant_error_codebook(const vq_groups *g, const float *x, const float *thresholds, const float *values,
                                 int num, int levels, double *error);
void vq_ref_gram_error(const float *w, const float *gram, const float *cross, const float *scale, const float *zero,
                       int n, int k, int num, int levels, bool diagonal, double *error);
/* along [n][k]; terms [n][num][3]. */
void vq_ref_gram_terms(const float *w, const float *gram, const float *cross, const float *along, const float *scale,
                       const float *zero, int n, int k, int num, int levels, bool diagonal, double *terms);
/* *furthest: the largest distance, in codes, of any of the codes given from the value that is rounded there when all
 * before it are as given; at most 1/2 (and what float arithmetic adds) where they are right. Fails only for memory. */
vq_status vq_ref_gptq(const float *w, const float *factor, const int32_t *order, const float *scale, const float *zero,
                      int n, int k, int levels, const uint8_t *codes, double *furthest);

/* The same for one sweep of descent from the codes before to those after; error [n] = d' G d of the rows after it. Fails
 * only for memory. */
vq_status vq_ref_descent(const float *w, const float *gram, const float *scale, const float *zero, int n, int k, int levels,
                         const uint8_t *before, const uint8_t *after, double *error, double *furthest);

/* weights: w^ of every batch, or of one that all share, as doubles [batches][n][k]. bias may be NULL. Fails only for
 * memory. */
vq_status vq_ref_output_error(const vq_output_error_shape *shape, int n, int k, int batches, const double *weights,
                              const float *bias, const float *x, const float *y, const vq_candidates *candidates,
                              double *error);

#endif
