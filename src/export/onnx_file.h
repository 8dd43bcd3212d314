/* An ONNX file in the making: nodes, constants, inputs and outputs. The first failure sticks: later calls do nothing
 * and give back harmless values, so that a graph is written down without a check behind every node. */
#ifndef VQ_SRC_EXPORT_ONNX_FILE_H
#define VQ_SRC_EXPORT_ONNX_FILE_H

#include "base/tensor.h"

typedef enum vq_onnx_type { /* numbers of ONNX */
    VQ_ONNX_F32 = 1,
    VQ_ONNX_U8 = 2,
    VQ_ONNX_S8 = 3,
    VQ_ONNX_S32 = 6,
    VQ_ONNX_S64 = 7,
    VQ_ONNX_F64 = 11,
    VQ_ONNX_S4 = 22 /* two to a byte, the first in the low half; an odd last one alone */
} vq_onnx_type;

typedef struct vq_onnx_file vq_onnx_file;

vq_status vq_onnx_create(vq_onnx_file **out, const char *graph_name, const char *about, int opset, int ir_version);
void vq_onnx_destroy(vq_onnx_file **file);
vq_status vq_onnx_status(const vq_onnx_file *file);
/* What failed first stays; returns it. */
vq_status vq_onnx_fail(vq_onnx_file *file, vq_status status);

/* Texts and memory that live as long as the file. "" and NULL after a failure. */
const char *vq_onnx_text(vq_onnx_file *file, const char *fmt, ...) VQ_PRINTF(2, 3);
void *vq_onnx_memory(vq_onnx_file *file, size_t bytes);

/* A constant of that name; data, in row-major order, must live as long as the file. Returns name. */
const char *vq_onnx_constant(vq_onnx_file *file, const char *name, vq_onnx_type type, vq_shape shape, const void *data);

/* A node of a standard operator with one output, named like it; the inputs end at the first NULL. Returns out. */
const char *vq_onnx_node(vq_onnx_file *file, const char *op, const char *out, const char *in0, const char *in1,
                         const char *in2);
/* One more output of the newest node. Returns out. */
const char *vq_onnx_output_too(vq_onnx_file *file, const char *out);
/* Attributes of the newest node, at most VQ_ONNX_MAX_ATTRIBUTES. */
enum { VQ_ONNX_MAX_ATTRIBUTES = 4 };
void vq_onnx_int(vq_onnx_file *file, const char *name, int64_t value);
void vq_onnx_ints(vq_onnx_file *file, const char *name, int count, const int64_t *values);
void vq_onnx_float(vq_onnx_file *file, const char *name, float value);

/* Inputs and outputs of the graph. A dimension of 0 is the batch, of any size. */
void vq_onnx_graph_input(vq_onnx_file *file, const char *name, vq_onnx_type type, vq_shape shape);
void vq_onnx_graph_output(vq_onnx_file *file, const char *name, vq_onnx_type type, vq_shape shape);

void vq_onnx_metadata(vq_onnx_file *file, const char *key, const char *value);

size_t vq_onnx_num_nodes(const vq_onnx_file *file);

/* Writes it atomically. bytes may be NULL. VQ_ERR_UNSUPPORTED at 2 GiB and above, which no reader takes. */
vq_status vq_onnx_write(const vq_onnx_file *file, const char *path, size_t *bytes);

#endif
