/* Executes a graph in float on a device, node by node: FP32, or fake-quant where quantizers are set. Sessions run all
 * nodes, FP32 ones fused; calibration looks at the values between them. One thread at a time. */
#ifndef VQ_SRC_FLOAT_RUN_H
#define VQ_SRC_FLOAT_RUN_H

#include "cl/cl.h"
#include "ops/ops_f32.h"
#include "ops/row_chain.h"
#include "quant/whole.h"
#include "run/float_plan.h"

/* A quantizer's parameters on the device. */
typedef struct vq_dev_quantizer {
    vq_quantizer_kind kind; /* NONE: nothing is quantized */
    bool whole;             /* uniform: gives code - zero, without the scale */
    int levels, groups;
    size_t inner;         /* as in vq_groups */
    vq_buf *scale, *zero; /* uniform */
    vq_buf *thresholds, *values;
} vq_dev_quantizer;

/* A product of whole numbers (quant/whole.h): its operands come without their scales, which follow it. */
typedef struct vq_dev_whole {
    vq_buf *scale;         /* NULL: the product is of the values themselves */
    vq_dev_quantizer low;  /* of in[0] too, giving low bytes; `in` gives the high ones then */
} vq_dev_whole;

void vq_dev_quantizer_clear(vq_dev_quantizer *d);
void vq_dev_whole_clear(vq_dev_whole *w);
/* y = x, count elements, quantized; x == y allowed. */
vq_status vq_dev_quantizer_run(vq_device *dev, const vq_dev_quantizer *d, const vq_buf *x, size_t count, const vq_buf *y);

typedef struct vq_float_run {
    vq_device *dev;
    const vq_graph *graph; /* borrowed */
    int max_batch;
    vq_buf *pixels; /* u8 [batch][height][width][chans] */
    vq_buf *arena, *scratch;
    vq_buf **values; /* [num_values] views into the arena; [0] is NULL. A view is valid from its producer to its
                        last use: the plan lets later values take its place; NULL where a fused run does not make it */
    vq_buf **params; /* [num_params] NULL where the graph has no data for them (yet) */
    vq_buf **maps;   /* [num_nodes] ROWS: which row each is; SCORES within windows: regions of tokens */
    vq_buf **extra;  /* [num_nodes] ROWS: zeros where there is no padding parameter; SCORES: bias [heads][T][T] */
    vq_dev_quantizer
        *in; /* [num_nodes]: LINEAR, PATCH_EMBED: of in[0]; SCORES: of its whole qkv value; CONTEXT: of P */
    vq_dev_whole *whole; /* [num_nodes] */
    vq_buf *low;         /* products of low bytes; NULL where there are none */
    bool reproducible;   /* norms, softmax and GELU in the forms that do so, too */
    size_t model_bytes;  /* parameters on the device */
    vq_float_fusion fusion; /* fused; or NULLs */
    vq_row_chain **chains;  /* [num_nodes] fused: of the nodes that begin a shared launch; or NULL */
    vq_linear_f32 **linears; /* [num_nodes] fused: weights of LINEAR and PATCH_EMBED, which are not in params; or NULL */
    int num_lanes;           /* fused: that share the images of a batch (run/lanes.h); else 0 */
    struct vq_float_run *lanes[VQ_MAX_LANES]; /* fused: this run, and those of the other lanes, which have all from it but
                                                 pixels, arena, scratch and values; or NULL */
} vq_float_run;

/* Uploads the parameters that have data and plans memory for max_batch images. */
vq_status vq_float_run_create(vq_float_run **out, vq_device *dev, const vq_graph *graph, int max_batch);
/* The same for FP32 runs of all nodes in order: linears have their weights packed, GELU and residual sums are done with
 * the product before them, attention without windows in one. No quantizers may be set. Where the device's products cannot
 * do that, a plain run. `lanes` of the device, 1 or more, share the images of a batch. */
vq_status vq_float_run_create_fused(vq_float_run **out, vq_device *dev, const vq_graph *graph, int max_batch,
                                    int lanes);
/* Whether node i is done with one before it: running it does nothing. */
bool vq_float_run_is_part(const vq_float_run *run, int i);
void vq_float_run_destroy(vq_float_run **run);
size_t vq_float_run_activation_bytes(const vq_float_run *run); /* of all lanes */

/* Uploads the whole of a quantized model's float form: weights and every activation quantizer. Products are of whole
 * numbers where they can be (quant/whole.h), norms, softmax and GELU reproducible: on devices with doubles the logits
 * depend on no kernel variant and no batch, but for a last bit about once in 10^8 values. */
vq_status vq_float_run_quantized(vq_float_run *run, const vq_qmodel *model);

/* Replaces parameter p on the device by count floats from the host. */
vq_status vq_float_run_set_param(vq_float_run *run, int p, const float *data, size_t count);
/* Sets the quantizer of in[0] of a LINEAR or CONTEXT, or of a PATCH_EMBED (there uniform, one group, over the
 * normalized image: only imitations of official code have one, for u8 pixels are exact); NULL takes it away. */
vq_status vq_float_run_set_quantizer(vq_float_run *run, int node, const vq_quantizer *q);
/* Replaces pixel value u of channel c by map[c * 256 + u] in front of a PATCH_EMBED node; set_quantizer undoes it. */
vq_status vq_float_run_set_pixel_map(vq_float_run *run, int node, const float *map);
/* y = x, count elements shaped like in[0] of the node, quantized as set there (copied where nothing is); x == y allowed.
 */
vq_status vq_float_run_fakequant(vq_float_run *run, int node, const vq_buf *x, size_t count, const vq_buf *y);
/* The rows of patches f32 [batch * P][K] that a PATCH_EMBED node multiplies, valid until the next node runs. */
vq_status vq_float_run_patches(vq_float_run *run, int node, int batch, const vq_buf **patches);
/* Sets those of Q, K (SCORES node) and V (the CONTEXT node that reads the same value); applied at the SCORES node. */
vq_status vq_float_run_set_qkv(vq_float_run *run, int scores_node, const vq_quantizer *q, const vq_quantizer *k,
                               const vq_quantizer *v);

vq_status vq_float_run_input(vq_float_run *run, const uint8_t *pixels, int batch);
/* Enqueues node i for the first batch images, its inputs quantized as set. */
vq_status vq_float_run_node(vq_float_run *run, int i, int batch);
/* All nodes, then the logits [batch][num_classes]. */
vq_status vq_float_run_logits(vq_float_run *run, const uint8_t *pixels, int batch, float *logits);

#endif
