/* Reading the safetensors container. */
#include "base/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_HEADER_BYTES = 100000000, MAX_TENSORS = 100000 }; /* as the format's own library */

struct vq_safetensors {
    char *path;
    vq_file_map map; /* empty when parsed from memory */
    cJSON *header;   /* owns the names */
    const cJSON *meta;
    vq_st_tensor *tensors; /* in the order of the header */
    int *by_name;          /* indices sorted by name */
    int count;
};

void vq_safetensors_destroy(vq_safetensors **st)
{
    if (!*st) return;
    cJSON_Delete((*st)->header);
    vq_file_map_close(&(*st)->map);
    free((*st)->by_name);
    free((*st)->tensors);
    free((*st)->path);
    free(*st);
    *st = NULL;
}

static vq_status read_dtype(vq_dtype *out, const cJSON *item, const char *path, const char *name)
{
    for (int d = 0; cJSON_IsString(item) && d < VQ_DTYPE_COUNT; d++)
        if (strcmp(item->valuestring, vq_dtype_name((vq_dtype)d)) == 0) {
            *out = (vq_dtype)d;
            return VQ_OK;
        }
    return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s has unknown dtype %.20s", path, name,
                   cJSON_IsString(item) ? item->valuestring : "(none)");
}

/* A non-negative integer that a double holds exactly. */
static bool to_size(size_t *out, const cJSON *item)
{
    const double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(v >= 0 && v <= 0x1p53)) return false;
    *out = (size_t)v;
    return (double)*out == v;
}

static vq_status read_shape(vq_shape *out, size_t *bytes, vq_dtype dtype, const cJSON *list, const char *path,
                            const char *name)
{
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n > VQ_MAX_DIMS)
        return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s has a shape that is no list of at most %d sizes", path, name,
                       VQ_MAX_DIMS);
    *bytes = vq_dtype_size(dtype);
    out->num_dims = n;
    for (int i = 0; i < n; i++) {
        size_t dim;
        if (!to_size(&dim, cJSON_GetArrayItem(list, i)) || (dim && *bytes > ((size_t)1 << 53) / dim))
            return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s has an impossible size in its shape", path, name);
        out->dims[i] = (int64_t)dim;
        *bytes *= dim;
    }
    return VQ_OK;
}

static vq_status read_tensor(vq_st_tensor *t, const cJSON *item, const char *path, const uint8_t *data,
                             size_t data_bytes)
{
    const cJSON *const range = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    size_t begin = 0, end = 0, bytes = 0;
    t->name = item->string;
    VQ_TRY(read_dtype(&t->dtype, cJSON_GetObjectItemCaseSensitive(item, "dtype"), path, t->name));
    VQ_TRY(read_shape(&t->shape, &bytes, t->dtype, cJSON_GetObjectItemCaseSensitive(item, "shape"), path, t->name));
    if (cJSON_GetArraySize(range) != 2 || !to_size(&begin, cJSON_GetArrayItem(range, 0)) ||
        !to_size(&end, cJSON_GetArrayItem(range, 1)) || begin > end)
        return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s has malformed data_offsets", path, t->name);
    if (end > data_bytes)
        return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s ends at byte %zu of %zu; the file is truncated or hostile",
                       path, t->name, end, data_bytes);
    if (end - begin != bytes)
        return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s has %zu bytes, its shape and dtype need %zu", path, t->name,
                       end - begin, bytes);
    t->data = data + begin;
    t->bytes = bytes;
    return VQ_OK;
}

typedef struct sort_key {
    const vq_st_tensor *tensor;
    int index;
} sort_key;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const sort_key *)a)->tensor->name, ((const sort_key *)b)->tensor->name);
}

static int by_data(const void *a, const void *b)
{
    const vq_st_tensor *const x = ((const sort_key *)a)->tensor, *const y = ((const sort_key *)b)->tensor;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* No name twice, no byte in two tensors. */
static vq_status check_tensors(vq_safetensors *st)
{
    sort_key *keys = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&keys, (size_t)st->count, sizeof *keys, st->path));
    VQ_GO(vq_alloc(&st->by_name, (size_t)st->count, sizeof *st->by_name, st->path));
    for (int i = 0; i < st->count; i++) keys[i] = (sort_key){&st->tensors[i], i};
    qsort(keys, (size_t)st->count, sizeof *keys, by_data);
    for (int i = 1; i < st->count; i++) {
        const vq_st_tensor *const a = keys[i - 1].tensor, *const b = keys[i].tensor;
        if (b->bytes && a->data + a->bytes > b->data)
            VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: tensors %.80s and %.80s overlap", st->path, a->name, b->name));
    }
    qsort(keys, (size_t)st->count, sizeof *keys, by_name);
    for (int i = 0; i < st->count; i++) {
        st->by_name[i] = keys[i].index;
        if (i && strcmp(keys[i - 1].tensor->name, keys[i].tensor->name) == 0)
            VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s appears twice", st->path, keys[i].tensor->name));
    }
done:
    free(keys);
    return status;
}

static vq_status parse_header(vq_safetensors *st, const uint8_t *file, size_t bytes)
{
    uint64_t header_bytes = 0;
    const cJSON *item;
    int n = 0;
    if (bytes < 8) return vq_fail(VQ_ERR_FORMAT, "%s: %zu bytes, too short for a safetensors file", st->path, bytes);
    for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | file[i];
    if (header_bytes > MAX_HEADER_BYTES || header_bytes > bytes - 8)
        return vq_fail(VQ_ERR_FORMAT, "%s: header of %llu bytes in a file of %zu; not a safetensors file, or truncated",
                       st->path, (unsigned long long)header_bytes, bytes);
    VQ_TRY(vq_json_parse(&st->header, st->path, (const char *)file + 8, (size_t)header_bytes));
    if (!cJSON_IsObject(st->header)) return vq_fail(VQ_ERR_FORMAT, "%s: the header is no JSON object", st->path);
    const int members = cJSON_GetArraySize(st->header);
    if (members > MAX_TENSORS) return vq_fail(VQ_ERR_FORMAT, "%s: more than %d tensors", st->path, MAX_TENSORS);
    VQ_TRY(vq_alloc(&st->tensors, (size_t)members, sizeof *st->tensors, st->path));
    cJSON_ArrayForEach(item, st->header)
    {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (!cJSON_IsObject(item)) return vq_fail(VQ_ERR_FORMAT, "%s: __metadata__ is no JSON object", st->path);
            st->meta = item;
            continue;
        }
        VQ_TRY(
            read_tensor(&st->tensors[n++], item, st->path, file + 8 + header_bytes, bytes - 8 - (size_t)header_bytes));
    }
    st->count = n;
    return check_tensors(st);
}

vq_status vq_safetensors_parse(vq_safetensors **out, const char *name, const uint8_t *data, size_t bytes)
{
    vq_safetensors *st = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_alloc(&st, 1, sizeof *st, name));
    VQ_GO(vq_strdup(&st->path, name));
    VQ_GO(parse_header(st, data, bytes));
    *out = st;
    st = NULL;
done:
    vq_safetensors_destroy(&st);
    return status;
}

vq_status vq_safetensors_open(vq_safetensors **out, const char *path)
{
    vq_file_map map;
    *out = NULL;
    VQ_TRY(vq_file_map_open(&map, path));
    const vq_status status = vq_safetensors_parse(out, path, map.data, map.bytes);
    if (status == VQ_OK)
        (*out)->map = map;
    else
        vq_file_map_close(&map);
    return status;
}

int vq_safetensors_count(const vq_safetensors *st)
{
    return st->count;
}

const vq_st_tensor *vq_safetensors_at(const vq_safetensors *st, int i)
{
    return &st->tensors[i];
}

const vq_st_tensor *vq_safetensors_find(const vq_safetensors *st, const char *name)
{
    int low = 0, high = st->count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const vq_st_tensor *const t = &st->tensors[st->by_name[middle]];
        const int order = strcmp(name, t->name);
        if (order == 0) return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *vq_safetensors_meta(const vq_safetensors *st, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(st->meta, key));
}

const char *vq_safetensors_path(const vq_safetensors *st)
{
    return st->path;
}

vq_status vq_st_to_f32(float *out, size_t count, const vq_safetensors *st, const vq_st_tensor *t)
{
    if (vq_shape_count(&t->shape) != count)
        return vq_fail(VQ_ERR_SHAPE, "%s: tensor %.80s has %zu elements, expected %zu", st->path, t->name,
                       vq_shape_count(&t->shape), count);
    if (t->dtype == VQ_DTYPE_F32) {
        if (count) memcpy(out, t->data, count * sizeof *out);
        return VQ_OK;
    }
    if (t->dtype != VQ_DTYPE_F16 && t->dtype != VQ_DTYPE_BF16)
        return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s is %s, expected F32, F16 or BF16", st->path, t->name,
                       vq_dtype_name(t->dtype));
    for (size_t i = 0; i < count; i++) {
        const uint16_t h = (uint16_t)(t->data[2 * i] | t->data[2 * i + 1] << 8);
        out[i] = t->dtype == VQ_DTYPE_F16 ? vq_f16_to_f32(h) : vq_bf16_to_f32(h);
    }
    return VQ_OK;
}
