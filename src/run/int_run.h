/* Executes an integer graph: on a device, or in plain C as the witness of it. Both give the same bits. */
#ifndef VQ_SRC_INT_RUN_H
#define VQ_SRC_INT_RUN_H

#include "cl/cl.h"
#include "ops/ops_int.h"
#include "quant/quant.h"

/* Device state: op objects with packed constants, values in an arena per lane of the device by a static plan; the lanes
 * share the images of a batch (run/lanes.h). One thread at a time. */
typedef struct vq_int_run vq_int_run;
typedef struct vq_int_run_params {
    int max_batch;   /* 0: the largest of 1..most_batch whose activations fit memory */
    int most_batch;
    size_t memory;
    vq_storage storage; /* of weights */
    int lanes;          /* that share a batch; 0: as many as the device has */
    int chain_saves;    /* launches that a kind of chain (ops/row_chain.h) must save to be worth its compilation, some seconds
                           when it is first seen; 0: as many as two blocks' */
} vq_int_run_params;
vq_status vq_int_run_create(vq_int_run **out, vq_device *dev, const vq_int_graph *graph,
                            const vq_int_run_params *params);
void vq_int_run_destroy(vq_int_run **run);
/* pixels u8 [batch][height*width*chans] to logits s32 [batch][num_classes]; one chain of launches a lane. */
vq_status vq_int_run_logits(vq_int_run *run, const uint8_t *pixels, int batch, int32_t *logits);
/* Enqueues node i, and those that it leads (run/int_plan.h), for the first batch images of a lane, whose pixels and values of
 * earlier nodes are there. Nothing for those that are led. */
vq_status vq_int_run_node(vq_int_run *run, int lane, int i, int batch);
bool vq_int_run_is_part(const vq_int_run *run, int i); /* of an earlier node's launch */
int vq_int_run_lanes(const vq_int_run *run);
size_t vq_int_run_constant_bytes(const vq_int_run *run, int node);           /* on the device */
size_t vq_int_run_scratch_bytes(const vq_int_run *run, int node, int batch); /* that its kernels pass on among them */
int vq_int_run_max_batch(const vq_int_run *run);
size_t vq_int_run_model_bytes(const vq_int_run *run);      /* constants of the ops on the device */
size_t vq_int_run_activation_bytes(const vq_int_run *run); /* pixels, values and scratch of max_batch images */

/* The same by src/ref alone; slow. Thread-safe. Fails only for memory. */
vq_status vq_int_witness_logits(const vq_int_graph *graph, const uint8_t *pixels, int batch, int32_t *logits);

/* Bytes of one image's value v. */
size_t vq_int_value_bytes(const vq_int_value *value);

#endif
