#include "base/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[VQ_DTYPE_COUNT] = {
    [VQ_DTYPE_F32] = {"F32", 4}, [VQ_DTYPE_F16] = {"F16", 2}, [VQ_DTYPE_BF16] = {"BF16", 2},
    [VQ_DTYPE_F64] = {"F64", 8}, [VQ_DTYPE_U8] = {"U8", 1},   [VQ_DTYPE_S8] = {"I8", 1},
    [VQ_DTYPE_U16] = {"U16", 2}, [VQ_DTYPE_S16] = {"I16", 2}, [VQ_DTYPE_S32] = {"I32", 4},
    [VQ_DTYPE_U32] = {"U32", 4}, [VQ_DTYPE_S64] = {"I64", 8}, [VQ_DTYPE_BOOL] = {"BOOL", 1},
};

size_t vq_dtype_size(vq_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *vq_dtype_name(vq_dtype dtype)
{
    return dtypes[dtype].name;
}

bool vq_shape_equal(const vq_shape *a, const vq_shape *b)
{
    return a->num_dims == b->num_dims && memcmp(a->dims, b->dims, (size_t)a->num_dims * sizeof a->dims[0]) == 0;
}

size_t vq_shape_count(const vq_shape *shape)
{
    size_t count = 1;
    for (int i = 0; i < shape->num_dims; i++) count *= (size_t)shape->dims[i];
    return count;
}

void vq_shape_text(char *text, size_t size, const vq_shape *shape)
{
    size_t used = 0;
    if (size == 0) return;
    text[0] = 0;
    for (int i = 0; i <= shape->num_dims && used < size; i++) {
        const char *const open = i == 0 ? "[" : "";
        const int n = i < shape->num_dims ? snprintf(text + used, size - used, "%s%s%lld", open, i ? ", " : "",
                                                     (long long)shape->dims[i])
                                          : snprintf(text + used, size - used, "%s]", open);
        used += (size_t)n;
    }
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float vq_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

float vq_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}
