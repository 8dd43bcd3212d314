/* What a device can do at most: multiply-adds on registers alone, copies, launches (kernels/peak.cl). */
#ifndef VQ_SRC_OPS_PEAK_H
#define VQ_SRC_OPS_PEAK_H

#include "cl/cl.h"

enum { VQ_PEAK_MAX_STEPS = 8192 };

typedef enum vq_peak_kind {
    VQ_PEAK_S8, /* u8 x s8 to s32 */
    VQ_PEAK_F32 /* fused float multiply-adds */
} vq_peak_kind;

/* Work-items of a launch that keeps the chosen variant's device busy, each of which stores an s32 in out. */
size_t vq_peak_items(vq_device *dev);
/* Multiply-adds of one work-item in one step. */
int vq_peak_products(vq_device *dev, vq_peak_kind kind);
/* out s32 [vq_peak_items]: products * steps * passes, modulo 2^32. 1 <= steps <= VQ_PEAK_MAX_STEPS. */
vq_status vq_peak_run(vq_device *dev, vq_peak_kind kind, const vq_buf *out, int steps, int passes);
/* The first `bytes` of x to y, a multiple of 16, below 2^34. */
vq_status vq_peak_copy_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t bytes);
vq_status vq_peak_nothing_run(vq_device *dev);

#endif
