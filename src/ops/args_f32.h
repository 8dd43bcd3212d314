/* Argument checks the float ops share. */
#ifndef VQ_SRC_ARGS_F32_H
#define VQ_SRC_ARGS_F32_H

#include <stdlib.h>
#include <string.h>

#include "base/float_ops.h"
#include "cl/cl.h"

/* The buffer holds at least count elements of size bytes, and count fits the kernels' 32-bit indices. */
static inline vq_status vq_need(const char *op, const char *what, const vq_buf *buf, size_t count, size_t size)
{
    if (count > INT32_MAX)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has %zu elements, at most %d", op, what, count, INT32_MAX);
    if (!buf || buf->bytes / size < count)
        return vq_fail(VQ_ERR_SHAPE, "%s: %s needs %zu elements of %zu bytes, its buffer has %zu bytes", op, what,
                       count, size, buf ? buf->bytes : 0);
    return VQ_OK;
}

static inline vq_status vq_need_groups(const char *op, const vq_groups *g)
{
    if (!g->count || !g->inner || g->groups < 1 || g->count % g->inner || g->count / g->inner % (size_t)g->groups)
        return vq_fail(VQ_ERR_SHAPE, "%s: %zu elements do not divide into %d groups of runs of %zu", op, g->count,
                       g->groups, g->inner);
    return VQ_OK;
}

/* Work-groups of `local` items that cover count items. */
static inline vq_grid vq_grid_over(size_t count, size_t local)
{
    return (vq_grid){{VQ_CEIL_DIV(count, local)}, {local}};
}

/* n floats and as many ones as fill the last block of `lanes`. */
static inline vq_status vq_upload_lanes(vq_buf **out, vq_device *dev, const float *x, int n, int lanes)
{
    const int padded = VQ_ROUND_UP(n, lanes);
    float *all = NULL;
    VQ_TRY(vq_alloc(&all, (size_t)padded, sizeof *all, "quantizers"));
    memcpy(all, x, (size_t)n * sizeof *x);
    for (int i = n; i < padded; i++) all[i] = 1;
    const vq_status status = vq_buf_create_from(out, dev, all, (size_t)padded * sizeof *all);
    free(all);
    return status;
}

#endif
