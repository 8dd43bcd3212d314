/* vitq tier 2: models, FP32 as downloaded or quantized by vitq. */
#ifndef VITQ_MODEL_H
#define VITQ_MODEL_H

#include "vitq/base.h"
#include "vitq/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model in memory. Read-only after loading: any number of sessions and threads may share it; it must outlive them. */
typedef struct vq_model vq_model;

/* Loads
 * - a folder with model.safetensors and config.json, as timm's hub has it, or with preprocessor_config.json too, as Hugging Face
 *   transformers saves it (docs/models.md: which models); the weights may be shards with a model.safetensors.index.json.
 *   Or the .safetensors file or the index in such a folder;
 * - a .vitq.safetensors file written by vq_model_save.
 * A missing or malformed file, an unknown architecture, or a tensor that is missing or of the wrong shape fails with a
 * line that names it and what was expected. */
vq_status vq_model_load(vq_model **out, const char *path);
void vq_model_destroy(vq_model **model);

/* Writes a quantized model atomically; fails with VQ_ERR_UNSUPPORTED for an FP32 one. */
vq_status vq_model_save(const vq_model *model, const char *path);

bool vq_model_is_quantized(const vq_model *model);
int vq_model_num_classes(const vq_model *model);
const vq_preprocess *vq_model_preprocess(const vq_model *model);
/* Name of a class, "" where the model has none; 0 <= i < num_classes. */
const char *vq_model_label(const vq_model *model, int i);

/* Everything about the model as one JSON object: architecture, sizes, parameters, preprocessing, and for a quantized model
 * bits and quantizers of every layer and the manifest (recipe, seed, hashes, version, device). free() releases *json. */
vq_status vq_model_describe(char **json, const vq_model *model);

#ifdef __cplusplus
}
#endif
#endif
