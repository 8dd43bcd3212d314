/* The safetensors container: 8 bytes of header length, a JSON header, tensor data. Reading is strict: every byte range
 * lies inside the file, ranges do not overlap, and dtype x shape equals the range. Hostile headers end in VQ_ERR_FORMAT
 * with a line that names the file, the tensor and the problem. */
#ifndef VQ_SRC_SAFETENSORS_H
#define VQ_SRC_SAFETENSORS_H

#include "base/tensor.h"

typedef struct vq_st_tensor {
    const char *name;
    vq_dtype dtype;
    vq_shape shape;
    const uint8_t *data; /* little-endian, row-major, inside the mapping; may be unaligned */
    size_t bytes;
} vq_st_tensor;

typedef struct vq_safetensors vq_safetensors;

vq_status vq_safetensors_open(vq_safetensors **out, const char *path);
/* The same over bytes in memory, which must outlive the result; name is used in messages. For tests and fuzzing. */
vq_status vq_safetensors_parse(vq_safetensors **out, const char *name, const uint8_t *data, size_t bytes);
void vq_safetensors_destroy(vq_safetensors **st);

int vq_safetensors_count(const vq_safetensors *st);
const vq_st_tensor *vq_safetensors_at(const vq_safetensors *st, int i); /* 0 <= i < count, in the order of the header */
const vq_st_tensor *vq_safetensors_find(const vq_safetensors *st, const char *name); /* NULL where absent */
const char *vq_safetensors_meta(const vq_safetensors *st,
                                const char *key); /* a __metadata__ string, NULL where absent */
const char *vq_safetensors_path(const vq_safetensors *st);

/* Copies a F32, F16 or BF16 tensor into count floats; fails where dtype or count do not fit, naming the tensor. */
vq_status vq_st_to_f32(float *out, size_t count, const vq_safetensors *st, const vq_st_tensor *t);

/* Writing: list tensors (data is borrowed until finish), add metadata strings, finish. The file is written atomically
 * (base/file.h), tensors of wider elements first so that each is aligned to its element; the same content gives the
 * same bytes. */
typedef struct vq_st_writer vq_st_writer;
vq_status vq_st_writer_create(vq_st_writer **out);
vq_status vq_st_writer_add(vq_st_writer *w, const char *name, vq_dtype dtype, vq_shape shape, const void *data);
vq_status vq_st_writer_meta(vq_st_writer *w, const char *key, const char *value);
/* Bytes of the file that finish would write now. */
vq_status vq_st_writer_bytes(double *bytes, const vq_st_writer *w);
vq_status vq_st_writer_finish(vq_st_writer *w, const char *path);
void vq_st_writer_destroy(vq_st_writer **w);

#endif
