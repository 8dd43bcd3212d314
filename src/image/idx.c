/* IDX files (the format of MNIST and its relatives): 0, 0, type, rank, then big-endian sizes and the data. */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "image/pixels.h"

enum { TYPE_U8 = 8, MAX_BYTES = 1 << 30 };

static size_t big_endian(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

vq_status vq_idx_parse(vq_idx *out, const char *name, const uint8_t *data, size_t bytes)
{
    size_t count = 1;
    *out = (vq_idx){0};
    if (bytes < 4 || data[0] || data[1] || data[2] != TYPE_U8 || (data[3] != 1 && data[3] != 3))
        return vq_fail(VQ_ERR_FORMAT, "%s: not an IDX file of unsigned bytes with 1 or 3 dimensions", name);
    out->num_dims = data[3];
    const size_t header = 4 + 4 * (size_t)out->num_dims;
    if (bytes < header) return vq_fail(VQ_ERR_FORMAT, "%s: truncated in its header", name);
    for (int i = 0; i < out->num_dims; i++) {
        out->dims[i] = big_endian(data + 4 + 4 * i);
        if (out->dims[i] == 0 || out->dims[i] > MAX_BYTES / count)
            return vq_fail(VQ_ERR_FORMAT, "%s: impossible size %zu in its header", name, out->dims[i]);
        count *= out->dims[i];
    }
    if (bytes - header != count)
        return vq_fail(VQ_ERR_FORMAT, "%s: %zu bytes of data, its header says %zu", name, bytes - header, count);
    VQ_TRY(vq_alloc(&out->data, count, 1, name));
    memcpy(out->data, data + header, count);
    return VQ_OK;
}

/* The whole file, decompressed where it is gzip. */
static vq_status read_all(uint8_t **data, size_t *bytes, const char *path)
{
    size_t capacity = 1 << 20;
    vq_status status = VQ_OK;
    gzFile file = gzopen(path, "rb");
    *data = NULL;
    *bytes = 0;
    if (!file) return vq_fail(VQ_ERR_IO, "%s: cannot open", path);
    VQ_GO(vq_alloc(data, capacity, 1, path));
    for (;;) {
        const int n = gzread(file, *data + *bytes, (unsigned)(capacity - *bytes));
        int error = Z_OK;
        if (n < 0) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: damaged gzip data: %s", path, gzerror(file, &error)));
        *bytes += (size_t)n;
        if (*bytes < capacity) break;
        if (capacity > MAX_BYTES) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: more than %d bytes", path, MAX_BYTES));
        uint8_t *const grown = realloc(*data, 2 * capacity);
        if (!grown) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", path));
        *data = grown;
        capacity *= 2;
    }
done:
    if (gzclose(file) != Z_OK && status == VQ_OK) status = vq_fail(VQ_ERR_FORMAT, "%s: truncated gzip data", path);
    if (status != VQ_OK) {
        free(*data);
        *data = NULL;
    }
    return status;
}

vq_status vq_idx_read(vq_idx *out, const char *path)
{
    uint8_t *data = NULL;
    size_t bytes = 0;
    *out = (vq_idx){0};
    VQ_TRY(read_all(&data, &bytes, path));
    const vq_status status = vq_idx_parse(out, path, data, bytes);
    free(data);
    return status;
}

bool vq_idx_is(const char *path)
{
    uint8_t head[4] = {1};
    gzFile file = gzopen(path, "rb");
    if (!file) return false;
    const int n = gzread(file, head, sizeof head);
    gzclose(file);
    return n == (int)sizeof head && !head[0] && !head[1] && head[2] == TYPE_U8;
}
