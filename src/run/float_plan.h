/* What a float run (run/float_run.h) fuses and how much memory it takes, from the graph and the device alone. */
#ifndef VQ_SRC_FLOAT_PLAN_H
#define VQ_SRC_FLOAT_PLAN_H

#include "cl/cl.h"
#include "graph/plan.h"
#include "quant/whole.h"

/* Whether FP32 runs of all nodes fuse some of them on this device. */
bool vq_float_can_fuse(vq_device *dev);

/* The nodes that a fused run does together with others: leaders [num_nodes]; leaders[i] is the node whose kernel does node i,
 * mostly i itself. chains [num_nodes]: the leader that begins the launch which kernels of successive leaders share
 * (ops/row_chain.h), LINEARs and LayerNorms of the same rows; leaders[i] where they share none. */
typedef struct vq_float_fusion {
    int *leaders, *chains;
} vq_float_fusion;
vq_status vq_float_fusion_create(vq_float_fusion *out, vq_device *dev, const vq_graph *g);
void vq_float_fusion_clear(vq_float_fusion *f);

/* Places of the values of `batch` images in an arena of *total bytes; items [num_values]. fusion: NULL unless fused; what
 * lies between nodes that one kernel does has no place and 0 bytes. */
vq_status vq_float_plan_values(vq_plan_item *items, size_t *total, const vq_graph *g, const vq_float_fusion *fusion,
                               int batch);

/* Floats per image beside the values. The patch rows in front of PATCH_EMBED's product go through scratch, and unless
 * fused the quantized inputs of linears. In front of products of low bytes, scratch holds the operand beside what both
 * bytes are taken from, and `low` is the largest such product. */
typedef struct vq_float_room {
    size_t scratch, low;
} vq_float_room;

/* products [num_nodes], NULL: of FP32. */
vq_float_room vq_float_room_of(const vq_graph *g, const vq_whole_product *products, bool fused);

/* The largest batch of 1..most whose activations fit memory on the device; of a quantized model's float form where
 * model is not NULL, else of a fused run; so many lanes share the images. */
vq_status vq_float_run_fit(int *batch, vq_device *dev, const vq_graph *graph, const vq_qmodel *model, int lanes,
                           int most, size_t memory);

#endif
