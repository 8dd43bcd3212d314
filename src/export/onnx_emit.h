/* A graph and its quantizers as nodes of an ONNX file. The real values that reach a node's product are those of the
 * fake-quant forward (src/run/float_run.c), to the bit for equal inputs; sums may be in another order, which shows unless
 * products are of whole numbers and norms and softmax in double. */
#ifndef VQ_SRC_EXPORT_ONNX_EMIT_H
#define VQ_SRC_EXPORT_ONNX_EMIT_H

#include "export/onnx_file.h"
#include "quant/whole.h"
#include "vitq/export.h"

typedef struct vq_emit {
    vq_onnx_file *file;
    const vq_graph *graph;
    const vq_qmodel *model; /* NULL: FP32 */
    const vq_whole_product *products; /* NULL: of the values; else [num_nodes], those that have one take that form, and
                                         norms, softmax and GELU the reproducible ones of ops/ops_f32.h */
    bool int4, u8_input;
    vq_onnx_info *info;
    const vq_node *node;  /* being emitted; its values are called "/NODE/ROLE" */
    const char **values;  /* [graph->num_values] what they are called; [batch][rows][cols], or [batch][heads][T][T]
                             for scores and probabilities. Attention within windows has [batch * windows] in front */
    const char **parts;   /* [graph->num_values][3] Q, K and V of a value, NULL where it is not split */
} vq_emit;

/* One node of the file. Returns its output's name. */
const char *vq_emit_op(vq_emit *e, const char *op, const char *role, const char *in0, const char *in1,
                       const char *in2);
/* Constants called "NODE.ROLE"; data is copied. */
const char *vq_emit_floats(vq_emit *e, const char *role, vq_shape shape, const float *data);
const char *vq_emit_ints(vq_emit *e, const char *role, vq_shape shape, const int32_t *data);
const char *vq_emit_dims(vq_emit *e, const char *role, int count, const int64_t *data); /* a shape or a list of axes */

/* The product of whole numbers that the node being emitted is; NULL: none, or not asked for. */
const vq_whole_product *vq_emit_whole(const vq_emit *e);

/* x of that rank as q makes it; x itself where q is NULL or quantizes nothing. Groups lie along axis. Where it ends in
 * DequantizeLinear is for vq_emit_is_qdq to say. For a product of whole numbers it comes without its scale, and of a
 * codebook that has low bytes these as *low (which may be NULL), else *low is left alone. */
const char *vq_emit_quantizer(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis, int rank,
                              const char **low);

bool vq_emit_is_qdq(const vq_emit *e, const vq_quantizer *q);

/* The weight of the node as floats of that shape: [N][K] or, where transposed, [K][N]; quantized ones from integer codes
 * and a scale per output channel, by DequantizeLinear. Where scale is not NULL the floats are whole numbers, and *scale
 * [N] has to be applied to the product; NULL if there is none. For a product of whole numbers they are that in any case. */
const char *vq_emit_weight(vq_emit *e, vq_shape shape, bool transposed, const char **scale);

/* All nodes, from the graph's input to its output. */
vq_status vq_emit_graph(vq_emit *e);

#endif
