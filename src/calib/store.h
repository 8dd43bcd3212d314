/* Tensors f32 of all calibration images: whole on the device, or in a temporary file, of which parts come to the device.
 * Where memory is not bounded a tensor has one part, all of it. */
#ifndef VQ_SRC_STORE_H
#define VQ_SRC_STORE_H

#include "base/float_ops.h"
#include "cl/cl.h"

/* A temporary file in $TMPDIR (or /tmp) without a name: it is gone with the process, however that ends. */
typedef struct vq_store vq_store;
vq_status vq_store_create(vq_store **out);
void vq_store_destroy(vq_store **store);
/* The most that was reserved. */
size_t vq_store_bytes(const vq_store *s);
/* Room for so many bytes, at *offset. What is given back is used again once everything above it is given back too. */
vq_status vq_store_reserve(vq_store *s, size_t bytes, size_t *offset);
void vq_store_give_back(vq_store *s, size_t offset);
vq_status vq_store_write(vq_store *s, size_t offset, const void *data, size_t bytes);
vq_status vq_store_read(vq_store *s, size_t offset, void *data, size_t bytes);

typedef struct vq_rows {
    vq_device *dev;
    const vq_buf *whole; /* borrowed; NULL: in the store */
    vq_store *store;
    size_t offset; /* bytes in the store */
    size_t part;   /* elements of a part that memory has room for */
    vq_buf *here;  /* the part that is on the device */
} vq_rows;

/* Elements of a part of a tensor of `total`: a multiple of unit (at least one), or all of it. */
size_t vq_rows_step(const vq_rows *r, size_t total, size_t unit);
/* A buffer that begins with elements first .. first + count; valid until the next call for r. */
vq_status vq_rows_load(const vq_buf **out, vq_rows *r, size_t first, size_t count);
/* A buffer for these elements, to be filled and then kept. */
vq_status vq_rows_open(const vq_buf **out, vq_rows *r, size_t first, size_t count);
vq_status vq_rows_keep(vq_rows *r, size_t first, size_t count);
/* Elements of r from and to elements of a buffer. */
vq_status vq_rows_read(const vq_rows *r, size_t first, size_t count, const vq_buf *to, size_t to_first);
vq_status vq_rows_write(const vq_rows *r, size_t first, size_t count, const vq_buf *from, size_t from_first);
/* Some runs of elements, each `step` behind the one before it, side by side to a buffer. */
typedef struct vq_runs {
    size_t first, step, length, count;
} vq_runs;
vq_status vq_rows_read_runs(const vq_rows *r, const vq_runs *runs, const vq_buf *to, size_t to_first);
/* Frees the part on the device. */
void vq_rows_close(vq_rows *r);

/* Order statistics as vq_quantile_f32_some gives them. */
vq_status vq_rows_quantile(vq_rows *r, const vq_groups *g, int first, int count, const size_t *ranks, int num_ranks,
                           float *out);

#endif
