/* Rounding of weights by what it costs at the layer's output, through the Gram matrix of its inputs. */
#ifndef VQ_SRC_ROUNDING_H
#define VQ_SRC_ROUNDING_H

#include "cl/cl.h"
#include "quant/quant.h"

typedef struct vq_rounding_task {
    const vq_buf *weight; /* f32 [n][k] */
    const double *gram;   /* [k][k] */
    int n, k;
    double damping; /* of the Gram matrix, as a share of its mean diagonal */
    int ranges;     /* tried for every row, by its error after rounding; 1: the one given */
    int sweeps;     /* of coordinate descent behind GPTQ */
} vq_rounding_task;

/* GPTQ (arXiv 2210.17323), most energetic inputs first, then `sweeps` sweeps of coordinate descent on d' H d, d = w - w^
 * and H the damped Gram matrix. With ranges > 1 all of that is done for scales 1.05, 1, 0.95, ... times those of q, and
 * for the zero points beside the best, and every row keeps what gave it the smallest d' H d: what to clip shows only when
 * rounding has spread its errors. q: uniform, a group per row, the ranges to start from; receives those kept. codes u8
 * [n][k] and values f32 [n][k] are written. Deterministic. */
vq_status vq_round_gptq(vq_device *dev, const vq_rounding_task *task, vq_quantizer *q, const vq_buf *codes,
                        const vq_buf *values);

#endif
