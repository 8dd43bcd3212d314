/* Plain-C witnesses of the integer ops, written to be read; they share no code with kernels/. Semantics, shapes and
 * parameter structs are in base/int_ops.h. Row strides as there. Thread-safe. */
#ifndef VQ_SRC_REF_INT_H
#define VQ_SRC_REF_INT_H

#include "base/int_ops.h"

int32_t vq_ref_requant(int32_t x, int32_t mult, int shift);
uint32_t vq_ref_exp2_neg(int32_t t);   /* t >= 0 octaves, 16 fraction bits; result 20 fraction bits */
int32_t vq_ref_log2_q16(uint32_t s);   /* log2(s / 2^20) with 16 fraction bits, s >= 1 */
uint64_t vq_ref_isqrt(uint64_t v);     /* floor of the square root */

/* c is u8 for CODES and TABLE, s32 for ADD and SET. The second plane of A, or of C, starts that many columns after the
 * first; not read where there is none. */
void vq_ref_gemm_s8_planes(const vq_gemm_s8_weights *weights, const uint8_t *a, int lda, int a_plane_pitch, void *c,
                           int ldc, int c_plane_pitch, int m, int rows_in, int rows_out, int row_first);
/* The same for one plane on both sides. */
void vq_ref_gemm_s8(const vq_gemm_s8_weights *weights, const uint8_t *a, int lda, void *c, int ldc, int m, int rows_in,
                    int rows_out, int row_first);
/* out is u8, s32 with weights.set. */
void vq_ref_layernorm_s32(const vq_layernorm_s32_weights *weights, const int32_t *x, int ldx, void *out, int ld_out,
                          int m);
/* out is u8, s32 with weights.set; image b's row starts b * ld_out elements behind it. */
void vq_ref_pool_s32(const vq_pool_s32_weights *weights, const int32_t *x, void *out, int ld_out, int batch);
/* Fails only for memory. */
vq_status vq_ref_attention_u8(const vq_attention_u8_weights *weights, const uint8_t *qkv, int ld_qkv, uint8_t *out,
                              int ld_out, int batch, int tokens);
void vq_ref_patchify_u8(const vq_patchify_shape *shape, const uint8_t *image, uint8_t *out, int ld_out);
void vq_ref_tokens_s32(const int32_t *init, int count, int32_t *out, int batch);

#endif
