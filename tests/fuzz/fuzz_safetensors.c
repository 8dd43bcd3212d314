/* Any bytes as a safetensors file: tensors that are accepted lie inside it and convert. */
#include <stdlib.h>

#include "base/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_safetensors *st;
    fuzz_quiet();
    if (vq_safetensors_parse(&st, "input", data, bytes) != VQ_OK) {
        fuzz_require(st == NULL);
        return 0;
    }
    for (int i = 0; i < vq_safetensors_count(st); i++) {
        const vq_st_tensor *const t = vq_safetensors_at(st, i);
        fuzz_require(vq_safetensors_find(st, t->name) == t);
        fuzz_require(vq_shape_count(&t->shape) * vq_dtype_size(t->dtype) == t->bytes);
        fuzz_require(t->data >= data && t->data + t->bytes <= data + bytes);
        fuzz_touch(t->data, t->bytes);
        const size_t count = vq_shape_count(&t->shape);
        float *const f = malloc((count + 1) * sizeof *f);
        fuzz_require(f != NULL);
        if (vq_st_to_f32(f, count, st, t) == VQ_OK) fuzz_touch(f, count * sizeof *f);
        free(f);
    }
    const char *const meta = vq_safetensors_meta(st, "format");
    if (meta) fuzz_touch(meta, 1);
    vq_safetensors_destroy(&st);
    fuzz_require(st == NULL);
    return 0;
}
