/* vitq tier 3: calibration, from an FP32 model and some photos to a quantized model. */
#ifndef VITQ_CALIB_H
#define VITQ_CALIB_H

#include "vitq/device.h"
#include "vitq/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a calibration takes, in bytes of the process. */
typedef struct vq_calib_memory {
    size_t planned;     /* at most, as estimated before it began */
    size_t file_bytes;  /* of the temporary file; 0: everything was in memory */
    int images_at_once; /* on the device */
} vq_calib_memory;

typedef struct vq_calib_params {
    const char *recipe;  /* NULL: "repq"; a name of vq_recipe_name, or the path of a recipe file (docs/recipes.md), which
                            ends in ".json" */
    const char *parts;   /* NULL, or single parts of the recipe changed: "softmax.quantizer=tanq,reparam=mosf" */
    const char *search;  /* NULL, or "full" or "fpcs": what the recipe's full and fpcs searches become */
    int w_bits, a_bits;  /* 2..8; 0: 4. Weights, activations. The image itself always has 8 bits */
    int samples;         /* images used; 0: 32 (or all, where there are fewer) */
    bool shuffle;        /* draw them at random with seed; false: the first ones in the order of the data set */
    uint64_t seed;
    bool skip_bad;       /* leave unreadable images out, with a warning, instead of failing */
    bool official_levels;/* one level more than 2^bits after softmax, fractional zero points, and the image quantized once
                            more, as in the official RepQ-ViT code; such a model runs as fake-quant only. To compare with
                            published numbers */
    size_t memory;       /* bytes that the process may take, device memory included; 0: 1.5e9 or, for models that need
                            more, the least that works. Where not everything fits, a temporary file in $TMPDIR (or /tmp)
                            holds what lies between the layers, and the images are calibrated with a few at a time; the
                            result is the same (docs/recipes.md). Less than what is needed fails with VQ_ERR_NO_MEMORY
                            and a line that says how much that is */
    vq_calib_memory *memory_taken; /* filled where not NULL */
    vq_progress_fn progress; /* may be NULL */
    void *progress_user;
} vq_calib_params;

/* Calibrates on the device. The result shares nothing with fp32. Device work has a fixed order: the same images on the
 * same device give the same model. */
vq_status vq_calibrate(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                       const vq_calib_params *params);

/* Names of the built-in recipes, one line on each, and its parts as a recipe file would have them; NULL past the last. */
const char *vq_recipe_name(int i);
const char *vq_recipe_about(int i);
const char *vq_recipe_json(int i);

#ifdef __cplusplus
}
#endif
#endif
