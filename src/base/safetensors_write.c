/* Writing the safetensors container. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"

enum { ALIGN = 64 };

typedef struct entry {
    char *name;
    vq_dtype dtype;
    vq_shape shape;
    const void *data;
    size_t bytes;
} entry;

struct vq_st_writer {
    entry *entries;
    size_t count, capacity;
    cJSON *meta;
};

vq_status vq_st_writer_create(vq_st_writer **out)
{
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "safetensors writer"));
    (*out)->meta = cJSON_CreateObject();
    if ((*out)->meta) return VQ_OK;
    vq_st_writer_destroy(out);
    return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a safetensors header");
}

void vq_st_writer_destroy(vq_st_writer **w)
{
    if (!*w) return;
    for (size_t i = 0; i < (*w)->count; i++) free((*w)->entries[i].name);
    cJSON_Delete((*w)->meta);
    free((*w)->entries);
    free(*w);
    *w = NULL;
}

vq_status vq_st_writer_add(vq_st_writer *w, const char *name, vq_dtype dtype, vq_shape shape, const void *data)
{
    if (w->count == w->capacity) {
        const size_t capacity = w->capacity ? 2 * w->capacity : 64;
        entry *const grown = realloc(w->entries, capacity * sizeof *grown);
        if (!grown) return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a list of %zu tensors", capacity);
        w->entries = grown;
        w->capacity = capacity;
    }
    entry *const e = &w->entries[w->count];
    *e = (entry){.dtype = dtype, .shape = shape, .data = data};
    e->bytes = vq_shape_count(&shape) * vq_dtype_size(dtype);
    VQ_TRY(vq_strdup(&e->name, name));
    w->count++;
    return VQ_OK;
}

vq_status vq_st_writer_meta(vq_st_writer *w, const char *key, const char *value)
{
    if (cJSON_AddStringToObject(w->meta, key, value)) return VQ_OK;
    return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a safetensors header");
}

static cJSON *number_list(size_t n, const double *values)
{
    cJSON *const list = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber(values[i]));
    return list;
}

/* The header's JSON. The format leaves no holes between tensors, so alignment comes from their order and sizes: each
 * one's offset is where the one before ends, and tensors are written with the wider elements first. */
static char *header_text(const vq_st_writer *w, const entry *const *order)
{
    cJSON *const root = cJSON_CreateObject();
    size_t offset = 0;
    if (cJSON_GetArraySize(w->meta)) cJSON_AddItemReferenceToObject(root, "__metadata__", w->meta);
    for (size_t i = 0; i < w->count; i++) {
        const entry *const e = order[i];
        double dims[VQ_MAX_DIMS];
        const double range[2] = {(double)offset, (double)(offset + e->bytes)};
        cJSON *const item = cJSON_AddObjectToObject(root, e->name);
        for (int d = 0; d < e->shape.num_dims; d++) dims[d] = (double)e->shape.dims[d];
        cJSON_AddStringToObject(item, "dtype", vq_dtype_name(e->dtype));
        cJSON_AddItemToObject(item, "shape", number_list((size_t)e->shape.num_dims, dims));
        cJSON_AddItemToObject(item, "data_offsets", number_list(2, range));
        offset += e->bytes;
    }
    char *const text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static int wider_first(const void *a, const void *b)
{
    const entry *const x = *(const entry *const *)a, *const y = *(const entry *const *)b;
    const size_t sx = vq_dtype_size(x->dtype), sy = vq_dtype_size(y->dtype);
    if (sx != sy) return sx < sy ? 1 : -1;
    return x < y ? -1 : x > y;
}

/* Length, JSON, and spaces up to the alignment. */
static vq_status write_header(vq_file_writer *file, const char *text)
{
    static const char spaces[ALIGN + 1] = "                                                                ";
    const size_t length = strlen(text), padded = VQ_ROUND_UP(8 + length, (size_t)ALIGN) - 8;
    uint8_t head[8];
    for (int i = 0; i < 8; i++) head[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    VQ_TRY(vq_file_append(file, head, sizeof head));
    VQ_TRY(vq_file_append(file, text, length));
    return vq_file_append(file, spaces, padded - length);
}

vq_status vq_st_writer_bytes(double *bytes, const vq_st_writer *w)
{
    const entry **order = NULL;
    char *text = NULL;
    vq_status status = VQ_OK;
    *bytes = 0;
    VQ_GO(vq_alloc(&order, w->count, sizeof *order, "safetensors header"));
    for (size_t i = 0; i < w->count; i++) order[i] = &w->entries[i];
    qsort(order, w->count, sizeof *order, wider_first);
    text = header_text(w, order);
    if (!text) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a safetensors header"));
    *bytes = (double)VQ_ROUND_UP(8 + strlen(text), (size_t)ALIGN);
    for (size_t i = 0; i < w->count; i++) *bytes += (double)w->entries[i].bytes;
done:
    free(text);
    free(order);
    return status;
}

vq_status vq_st_writer_finish(vq_st_writer *w, const char *path)
{
    const entry **order = NULL;
    vq_file_writer *file = NULL;
    char *text = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&order, w->count, sizeof *order, path));
    for (size_t i = 0; i < w->count; i++) order[i] = &w->entries[i];
    qsort(order, w->count, sizeof *order, wider_first);
    text = header_text(w, order);
    if (!text) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory for its header", path));
    VQ_GO(vq_file_begin(&file, path));
    VQ_GO(write_header(file, text));
    for (size_t i = 0; i < w->count; i++) VQ_GO(vq_file_append(file, order[i]->data, order[i]->bytes));
    VQ_GO(vq_file_commit(&file));
done:
    vq_file_abort(&file);
    free(text);
    free(order);
    return status;
}
