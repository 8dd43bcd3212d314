/* vitq tier 3: models for other programs. */
#ifndef VITQ_EXPORT_H
#define VITQ_EXPORT_H

#include "vitq/base.h"
#include "vitq/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vq_onnx_params {
    bool int4;     /* weights of 2 to 4 bits as INT4, two to a byte (operator set 21), not as INT8 (operator set 17) */
    bool exact;    /* the same codes as VQ_MODE_FAKE in any runtime: products of whole numbers with the scales behind them,
                      norms and softmax in double, GELU in elementary steps. Slower; not for FP32 models */
    bool u8_input; /* the input is the pixels, not the normalized image */
} vq_onnx_params;

/* What an ONNX file holds. */
typedef struct vq_onnx_info {
    int opset;                             /* of the standard operators */
    size_t nodes, bytes;
    int qdq;                               /* quantizers as QuantizeLinear + DequantizeLinear, the pixels' included */
    int in_floats;                         /* uniform ones that u8 cannot hold, in elementary operators */
    int codebooks;                         /* as table look-ups */
    int weights_s8, weights_s4, weights_f32;
} vq_onnx_info;

/* Writes a model as ONNX, atomically, with standard operators only.
 *
 * Input:  "pixel_values" f32 [batch][chans][height][width], normalized by the model's mean and std, as image processors
 *         of timm and Hugging Face give it; or with u8_input "pixels" u8 [batch][height][width][chans], as
 *         vq_dataset_load gives it. The batch is any.
 * Output: "logits" f32 [batch][num_classes].
 *
 * A quantized model computes what VQ_MODE_FAKE computes: the same codes and decoded values for equal inputs of every
 * quantizer; sums of floats may be in another order, which `exact` rules out. It takes its input as 8-bit pixels:
 * normalized values are rounded to the nearest. An FP32 model is written in floats. docs/export.md has the forms.
 * info may be NULL. Fails with VQ_ERR_UNSUPPORTED, naming the node, for what has no ONNX form, and for 2 GiB and more. */
vq_status vq_export_onnx(vq_onnx_info *info, const vq_model *model, const char *path, const vq_onnx_params *params);

#ifdef __cplusplus
}
#endif
#endif
