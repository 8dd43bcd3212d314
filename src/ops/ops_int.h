/* Device side of the integer ops. base/int_ops.h says what each computes; ref/ref_int.h is the plain-C witness. An op
 * object holds constants on the device, packed for the variant chosen when it was created; it may run from one thread at
 * a time. Runs are enqueued, not waited for. */
#ifndef VQ_SRC_OPS_INT_H
#define VQ_SRC_OPS_INT_H

#include "base/int_ops.h"

#include "cl/cl.h"

/* Constants on the device, packed for the variant that was chosen at creation. Where every row's weights are among 16
 * evenly spaced values (all of up to 4 bits), PACKED keeps two of them in a byte and the kernel unpacks them on their way
 * to its registers; layers and variants without that take BYTES. DEFAULT is PACKED. */
typedef enum vq_storage { VQ_STORAGE_DEFAULT, VQ_STORAGE_BYTES, VQ_STORAGE_PACKED } vq_storage;
typedef struct vq_gemm_s8 vq_gemm_s8;
vq_status vq_gemm_s8_create(vq_gemm_s8 **out, vq_device *dev, const vq_gemm_s8_weights *weights, vq_storage storage);
bool vq_gemm_s8_is_packed(const vq_gemm_s8 *op);
size_t vq_gemm_s8_device_bytes(const vq_gemm_s8 *op); /* of its constants; also below */
void vq_gemm_s8_destroy(vq_gemm_s8 **op);
/* a u8 [M][lda], lda a multiple of VQ_CODE_PITCH and >= k (columns k.. may hold anything); c as the epilogue says with
 * row stride ldc (for u8 a multiple of VQ_CODE_PITCH; columns n.. are not written, but for the second plane).
 * a_plane_pitch, c_plane_pitch: columns from the first plane to the second, multiples of VQ_CODE_PITCH, >= k and n, with
 * lda >= a_plane_pitch + k and ldc >= c_plane_pitch + n; looked at only where weights.a_planes is 2 and where
 * weights.table_low is given.
 * scratch: at least vq_gemm_s8_scratch_bytes, may be NULL when that is 0. */
typedef struct vq_gemm_s8_io {
    const vq_buf *a, *c, *scratch;
    int m, lda, ldc, rows_in, rows_out, row_first;
    int a_plane_pitch, c_plane_pitch;
} vq_gemm_s8_io;
size_t vq_gemm_s8_scratch_bytes(const vq_gemm_s8 *op, int m);
vq_status vq_gemm_s8_run(vq_device *dev, const vq_gemm_s8 *op, const vq_gemm_s8_io *io);

typedef struct vq_layernorm_s32 vq_layernorm_s32;
vq_status vq_layernorm_s32_create(vq_layernorm_s32 **out, vq_device *dev, const vq_layernorm_s32_weights *weights);
void vq_layernorm_s32_destroy(vq_layernorm_s32 **op);
size_t vq_layernorm_s32_device_bytes(const vq_layernorm_s32 *op);
/* codes: u8, or s32 with weights.set; ld_codes in elements. */
typedef struct vq_layernorm_s32_io {
    const vq_buf *x, *codes;
    int m, ldx, ld_codes;
} vq_layernorm_s32_io;
vq_status vq_layernorm_s32_run(vq_device *dev, const vq_layernorm_s32 *op, const vq_layernorm_s32_io *io);

typedef struct vq_attention_u8 vq_attention_u8;
vq_status vq_attention_u8_create(vq_attention_u8 **out, vq_device *dev, const vq_attention_u8_weights *weights);
void vq_attention_u8_destroy(vq_attention_u8 **op);
size_t vq_attention_u8_device_bytes(const vq_attention_u8 *op);
size_t vq_attention_u8_scratch_bytes(const vq_attention_u8 *op, int batch, int tokens);
vq_status vq_attention_u8_run(vq_device *dev, const vq_attention_u8 *op, const vq_buf *qkv, int ld_qkv, const vq_buf *out,
                              int ld_out, const vq_buf *scratch, int batch, int tokens);

vq_status vq_patchify_u8_run(vq_device *dev, const vq_patchify_shape *shape, const vq_buf *image, const vq_buf *out,
                             int ld_out);
/* out as vq_ref_pool_s32 says. */
vq_status vq_pool_s32_run(vq_device *dev, const vq_pool_s32_weights *weights, const vq_buf *x, const vq_buf *out, int ld_out,
                          int batch);
vq_status vq_tokens_s32_run(vq_device *dev, const vq_buf *init, int count, const vq_buf *out, int batch);

#endif
