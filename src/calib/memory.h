/* What a calibration will take, known before it begins: everything in memory, or a few images at a time. */
#ifndef VQ_SRC_CALIB_MEMORY_H
#define VQ_SRC_CALIB_MEMORY_H

#include "calib/recipe.h"
#include "cl/cl.h"
#include "graph/graph.h"

typedef struct vq_memory_plan {
    size_t planned; /* bytes of the process, at most */
    bool whole;     /* everything is in memory */
    int at_once;    /* images on the device */
    size_t part;    /* elements of a tensor on the device, where not everything is */
} vq_memory_plan;

/* bound in bytes, 0: 1.5 GB or, for models that need more, the least that works. Fails with VQ_ERR_NO_MEMORY and the least
 * that works where bound is below it. */
vq_status vq_memory_plan_make(vq_memory_plan *out, const vq_device *dev, const vq_graph *g, const vq_recipe *r,
                              int samples, size_t bound);

#endif
