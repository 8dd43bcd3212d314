/* What the integer ops share: checks of arguments. */
#ifndef VQ_SRC_ARGS_INT_H
#define VQ_SRC_ARGS_INT_H

#include "cl/cl.h"

/* The buffer holds at least `bytes`. */
static inline vq_status vq_need_bytes(const char *op, const char *what, const vq_buf *buf, size_t bytes)
{
    if (buf && buf->bytes >= bytes) return VQ_OK;
    return vq_fail(VQ_ERR_SHAPE, "%s: %s needs %zu bytes, its buffer has %zu", op, what, bytes, buf ? buf->bytes : 0);
}

/* Bytes of rows that start `ld` elements apart, of which the last has `cols`. */
static inline size_t vq_rows_bytes(size_t rows, int ld, int cols, size_t element)
{
    return ((rows - 1) * (size_t)ld + (size_t)cols) * element;
}

#endif
