/* Element types and shapes of tensors in memory and in files. */
#ifndef VQ_SRC_TENSOR_H
#define VQ_SRC_TENSOR_H

#include "base/base.h"

#define VQ_MAX_DIMS 8

typedef enum vq_dtype {
    VQ_DTYPE_F32, VQ_DTYPE_F16, VQ_DTYPE_BF16, VQ_DTYPE_F64,
    VQ_DTYPE_U8, VQ_DTYPE_S8, VQ_DTYPE_U16, VQ_DTYPE_S16, VQ_DTYPE_S32, VQ_DTYPE_U32, VQ_DTYPE_S64, VQ_DTYPE_BOOL,
    VQ_DTYPE_COUNT
} vq_dtype;

size_t vq_dtype_size(vq_dtype dtype);       /* bytes of one element */
const char *vq_dtype_name(vq_dtype dtype);  /* as safetensors spells it: "F32", "I8", ... */

typedef struct vq_shape {
    int num_dims;            /* 0: a scalar */
    int64_t dims[VQ_MAX_DIMS];
} vq_shape;

#define vq_shape1(a)          ((vq_shape){1, {(a)}})
#define vq_shape2(a, b)       ((vq_shape){2, {(a), (b)}})
#define vq_shape3(a, b, c)    ((vq_shape){3, {(a), (b), (c)}})
#define vq_shape4(a, b, c, d) ((vq_shape){4, {(a), (b), (c), (d)}})

bool vq_shape_equal(const vq_shape *a, const vq_shape *b);
/* Product of the dimensions, 1 for a scalar. The dimensions are known to be non-negative and the product to fit. */
size_t vq_shape_count(const vq_shape *shape);
/* "[3, 224, 224]" into text (truncated to size). */
void vq_shape_text(char *text, size_t size, const vq_shape *shape);

/* Exact conversions. */
float vq_f16_to_f32(uint16_t h);
float vq_bf16_to_f32(uint16_t h);

#endif
