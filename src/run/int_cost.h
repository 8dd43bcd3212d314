/* What the nodes of an integer graph must at least compute, read and write. Counted, not measured. */
#ifndef VQ_SRC_INT_COST_H
#define VQ_SRC_INT_COST_H

#include "quant/quant.h"

typedef struct vq_int_cost {
    double launches, operations, bytes; /* operations of the products, two a multiply-add; bytes read and written, each
                                           once, but for the constants */
} vq_int_cost;

/* Of a node as its kernel does it, for `batch` images; launches is not set. */
vq_int_cost vq_int_cost_fused(const vq_int_graph *g, int node, int batch);
/* The same work by kernels that each do one thing and leave their result in memory: products (s32), requantization,
 * look-ups of GELU, residual sums, normalization, scores, biases of windows, softmax, quantization of probabilities,
 * context, sums of planes and of rows, and the transposes that bring heads together and apart. */
vq_int_cost vq_int_cost_apart(const vq_int_graph *g, int node, int batch);

#endif
