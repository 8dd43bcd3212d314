/* vitq tier 4: how many bits each tensor needs, and models whose tensors have different ones.
 *
 * A tensor here is what has one width of its own: the weights of a linear layer (or of the patch embedding), its input,
 * Q, K and V of an attention together, or its probabilities. The image always has 8 bits. */
#ifndef VITQ_MIXED_H
#define VITQ_MIXED_H

#include "vitq/calib.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { VQ_MIN_BITS = 2, VQ_MAX_BITS = 8 };

typedef struct vq_tensor_errors {
    const char *layer;   /* "blocks.0.attn.qkv" */
    const char *operand; /* "weight", "input", "qkv" or "probabilities" */
    bool is_weight;
    size_t elements;                /* weights; of activations: values of one image */
    double error[VQ_MAX_BITS + 1];  /* [bits]: the model's error with only this tensor quantized, at so many bits; NAN
                                       outside the range that was asked for */
    double bytes[VQ_MAX_BITS + 1];  /* [bits]: weights in the model's file; 0 for activations */
} vq_tensor_errors;

/* Errors of a model are squared: the sum over images and classes of (logit - float logit)^2, over that of the float
 * logits' squares, both after the mean of an image's logits was taken away (softmax does not see it). 0 is the float
 * model, 1 about what a model that says nothing has. */

typedef struct vq_sensitivity_params {
    int min_bits, max_bits; /* 2..8; 0: 2 and 8 */
    bool every_width;       /* run the whole model at every width; see vq_sensitivity_measure */
} vq_sensitivity_params;

/* Sensitivities of every tensor. Read-only. */
typedef struct vq_sensitivity vq_sensitivity;

/* Measures them on the device with the calibration's images and recipe. At every width the float model is calibrated,
 * every layer on what the float model gives (weights take their widths, and inputs theirs, alone). Then each tensor in
 * turn is quantized while all others stay float, and the images (the first 32, where there are more) are run from there
 * on to the logits.
 * Without every_width the logits are computed at 2, 4 and 6 bits only. At the others the run ends where the
 * tensor's error enters the residual stream, and the squared error there counts as much as it does at the widths next to
 * it.
 * params as for vq_calibrate: bits are ignored, official_levels is refused. stages of progress: "load", "calibrate N
 * bits", "measure N bits". */
vq_status vq_sensitivity_measure(vq_sensitivity **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                                 const vq_calib_params *params, const vq_sensitivity_params *what);
void vq_sensitivity_destroy(vq_sensitivity **s);

int vq_sensitivity_count(const vq_sensitivity *s);
const vq_tensor_errors *vq_sensitivity_tensor(const vq_sensitivity *s, int i); /* in the model's order; borrowed */
int vq_sensitivity_samples(const vq_sensitivity *s); /* images the errors are of, at most 32 */

/* Sensitivities of this model as a JSON object, the form in which vq_sensitivity_load reads them; free() releases it.
 * loading fails where the file is of other tensors or of another model, or lacks an error. fp32 must outlive the result.
 */
vq_status vq_sensitivity_json(char **json, const vq_sensitivity *s);
vq_status vq_sensitivity_load(vq_sensitivity **out, const vq_model *fp32, const char *path);

/* What a model may cost. Means are weighted: of weights by their number, of activations by the values one image has
 * there; the image itself, always of 8 bits, does not count. */
typedef struct vq_budget {
    double weight_bits;     /* mean over all weights, 2..8; 0 where bytes is set */
    double bytes;           /* of the model's file, instead; 0 where weight_bits is set */
    double activation_bits; /* mean over all activations, 2..8; 0: all have the a_bits of the params */
} vq_budget;

/* Reads "4.5" (mean bits of weights and of activations), "4.5/5" (of weights / of activations), "3.2MB" (10^6 bytes of
 * file) or "3.2MB/5". Fails with VQ_ERR_FORMAT where text is of no such form, with VQ_ERR_INVALID_ARG where a number is
 * out of range. */
vq_status vq_budget_parse(vq_budget *out, const char *text);

typedef struct vq_budget_result {
    bool mixed;                             /* false: the uniform model had the smaller error and was kept */
    double weight_bits, activation_bits;    /* means of the model made */
    double bytes;                           /* of its file */
    double mixed_error, uniform_error;      /* INFINITY where no mixed file could be made as small as the uniform one; of the logits (see above), computed as integers on the calibration images */
    int uniform_weight_bits, uniform_activation_bits; /* the largest uniform ones within the budget */
    double expected;                        /* sum of the sensitivities of the widths chosen for the mixed one */
    double bound;                           /* no choice within the budget has a smaller sum */
} vq_budget_result;

/* Calibrates twice: with the widths that the budget allows and whose sensitivities have the least sum, and with the
 * largest uniform widths within the budget; the one with the smaller error of the logits on the calibration images is
 * the result. The manifest says which one, and both errors.
 * s: measured for this model by the same recipe, or NULL to measure here. Bits of the params are ignored, but for a_bits
 * where budget->activation_bits is 0; official_levels is refused. Fails with VQ_ERR_INVALID_ARG where no widths are
 * within the budget. result may be NULL. */
vq_status vq_calibrate_budget(vq_model **out, vq_budget_result *result, vq_device *dev, const vq_model *fp32,
                              const vq_dataset *images, const vq_calib_params *params, const vq_budget *budget,
                              const vq_sensitivity *s);

#ifdef __cplusplus
}
#endif
#endif
