/* Parameters of integer nodes: fresh, or from a file; quantizers that integers can have. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/lower.h"

void vq_int_tensor_name(char out[VQ_TENSOR_NAME_MAX], const char *node, const char *what)
{
    snprintf(out, VQ_TENSOR_NAME_MAX, "int.%s.%s", node, what);
}

static vq_status find_tensor(const vq_st_tensor **out, const vq_lowering *l, const char *node, const char *what,
                             vq_dtype dtype)
{
    char name[VQ_TENSOR_NAME_MAX];
    vq_int_tensor_name(name, node, what);
    *out = vq_safetensors_find(l->st, name);
    if (!*out) return vq_fail(VQ_ERR_FORMAT, "%s: tensor %s is missing", vq_safetensors_path(l->st), name);
    if ((*out)->dtype != dtype)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s has type %s, expected %s", vq_safetensors_path(l->st), name,
                       vq_dtype_name((*out)->dtype), vq_dtype_name(dtype));
    return VQ_OK;
}

static vq_status copy_tensor(void *out_ptr, const vq_st_tensor *t)
{
    void *data = NULL;
    VQ_TRY(vq_alloc(&data, t->bytes, 1, t->name));
    if (t->bytes) memcpy(data, t->data, t->bytes);
    memcpy(out_ptr, &data, sizeof data);
    return VQ_OK;
}

vq_status vq_lower_array(const vq_lowering *l, void *out_ptr, const char *node, const char *what, vq_dtype dtype,
                         vq_shape shape)
{
    const vq_st_tensor *t;
    char got[96], want[96];
    if (!l->st) return vq_alloc(out_ptr, vq_shape_count(&shape), vq_dtype_size(dtype), node);
    VQ_TRY(find_tensor(&t, l, node, what, dtype));
    if (vq_shape_equal(&t->shape, &shape)) return copy_tensor(out_ptr, t);
    vq_shape_text(got, sizeof got, &t->shape);
    vq_shape_text(want, sizeof want, &shape);
    return vq_fail(VQ_ERR_FORMAT, "%s: %s has shape %s, expected %s", vq_safetensors_path(l->st), t->name, got, want);
}

vq_status vq_lower_read_lists(const vq_lowering *l, void *out_ptr, int *num_lists, int *count, const char *node,
                              const char *what, vq_dtype dtype, int lists, int min, int max)
{
    const vq_st_tensor *t;
    VQ_TRY(find_tensor(&t, l, node, what, dtype));
    const int dims = t->shape.num_dims;
    const bool many = dims == 2 && lists > 1 && t->shape.dims[0] == lists;
    if ((dims != 1 && !many) || t->shape.dims[dims - 1] < min || t->shape.dims[dims - 1] > max)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s must be a list of %d to %d elements%s", vq_safetensors_path(l->st),
                       t->name, min, max, lists > 1 ? ", or one per head" : "");
    *num_lists = many ? lists : 1;
    *count = (int)t->shape.dims[dims - 1];
    return copy_tensor(out_ptr, t);
}

vq_status vq_lower_read_list(const vq_lowering *l, void *out_ptr, int *count, const char *node, const char *what,
                             vq_dtype dtype, int min, int max)
{
    int one;
    return vq_lower_read_lists(l, out_ptr, &one, count, node, what, dtype, 1, min, max);
}

vq_status vq_lower_check_uniform(const vq_quantizer *q, const char *node, const char *what)
{
    if (q->kind != VQ_QUANTIZER_UNIFORM)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has no uniform quantizer, which integers need", node, what);
    if (q->bits < 2 || q->bits > 8 || q->levels != 1 << q->bits)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has %d levels for %d bits, integers need 2^bits and 2..8 bits", node,
                       what, q->levels, q->bits);
    for (int i = 0; i < q->groups; i++) {
        if (!(q->scale[i] > 0) || !isfinite(q->scale[i]))
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has scale %g in group %d", node, what, (double)q->scale[i], i);
        if (!(fabsf(q->zero[i]) <= 0x1p31f) || q->zero[i] != rintf(q->zero[i]))
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has zero point %g in group %d, integers need a whole one", node,
                           what, (double)q->zero[i], i);
    }
    return VQ_OK;
}

int64_t vq_lower_zero(const vq_quantizer *q, int group)
{
    return (int64_t)q->zero[group];
}
