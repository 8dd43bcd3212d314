/* What every architecture needs to read a config.json: named fields with limits, preprocessing, labels. Messages name
 * the file and the field. Nothing here knows a model. */
#ifndef VQ_SRC_GRAPH_CONFIG_H
#define VQ_SRC_GRAPH_CONFIG_H

#include "base/json.h"
#include "vitq/image.h"

/* Limits of the integer kernels (base/int_ops.h) and of what anyone runs. */
enum {
    VQ_MAX_DIM = 4095,
    VQ_MAX_TOKENS = 4095,
    VQ_MAX_DEPTH = 256,
    VQ_MAX_HIDDEN = 32768,
    VQ_MAX_SIDE = 8192,
    VQ_MAX_CLASSES = 1 << 20
};

/* The files of a model, parsed: timm's config.json (as the hub has it, or as a .vitq.safetensors file keeps it), or the two
 * of Hugging Face transformers. */
typedef struct vq_config_doc {
    const char *path;     /* of config.json, for messages */
    const cJSON *root;    /* an object */
    const char *name;     /* of the architecture: timm's `architecture`, the class of transformers */
    bool hf;              /* transformers' files and names */
    const char *pre_path; /* of preprocessor_config.json; only transformers has it */
    const cJSON *pre;     /* an object */
} vq_config_doc;

/* What all architectures share; an architecture's own config begins with one. */
typedef struct vq_config {
    char architecture[64];
    int img_height, img_width, chans, num_classes;
    float ln_eps;
    vq_preprocess pre;
    char **labels; /* [num_classes] or NULL, owned */
} vq_config;
void vq_config_clear(vq_config *config);

/* ---- fields --------------------------------------------------------------------------------------------------------
 * `section` is the path in front of the key in messages ("model_args"), "" at the top. All of these leave *out where the
 * key is absent or null. */

const cJSON *vq_config_member(const cJSON *object, const char *key);
bool vq_config_is_set(const cJSON *item); /* there and not null */
vq_status vq_config_int(int *out, const cJSON *object, const char *path, const char *section, const char *key, int min,
                        int max);
/* An integer 1..max, or a pair [height, width] of them. */
vq_status vq_config_pair(int out[2], const cJSON *object, const char *path, const char *section, const char *key,
                         int max);
vq_status vq_config_number(double *out, const cJSON *object, const char *path, const char *section, const char *key,
                           double min, double max);
vq_status vq_config_bool(bool *out, const cJSON *object, const char *path, const char *section, const char *key);

/* A key that only matters in training, or whose accepted values change nothing. */
typedef struct vq_neutral_arg {
    const char *key;
    const char *accepted; /* JSON texts, separated by spaces; NULL: anything */
} vq_neutral_arg;

/* Fails for any key of args (an object, or absent) that is neither one of known (NULL at its end) nor neutral with an
 * accepted value (key NULL at the end): a model that is silently another one is worse than none. */
vq_status vq_config_check_args(const cJSON *args, const char *path, const char *section, const char *const *known,
                               const vq_neutral_arg *neutral);

/* The same for the keys in neutral alone; all others are passed over. */
vq_status vq_config_refuse(const cJSON *object, const char *path, const vq_neutral_arg *neutral);

/* mean or std: one number per channel. */
vq_status vq_config_stats(float out[3], const cJSON *cfg, const char *path, const char *section, const char *key, int chans,
                          bool positive);

/* ---- timm ----------------------------------------------------------------------------------------------------------
 */

/* The object that holds the preprocessing: pretrained_cfg, or the root (timm before 0.9). */
const cJSON *vq_config_pretrained(const vq_config_doc *doc);
/* model_args, or NULL; fails where it is not an object. */
vq_status vq_config_args(const cJSON **out, const vq_config_doc *doc);
/* Number of classes, image size, channels and LayerNorm's epsilon: config's values are the defaults. */
vq_status vq_config_common(vq_config *config, const vq_config_doc *doc);
/* Checks the channels, reads preprocessing and labels; img_height, img_width, chans, num_classes are known by now. */
vq_status vq_config_finish(vq_config *config, const vq_config_doc *doc);

/* The same in the other direction, for files of quantized models: sets img_size, in_chans in a model_args object. */
void vq_config_put_common(cJSON *args, const vq_config *config);

/* ---- transformers (config_hf.c) ------------------------------------------------------------------------------------
 */

/* Image size, channels, number of classes: config's values are the defaults. */
vq_status vq_config_hf_common(vq_config *config, const vq_config_doc *doc);
/* For models that take images of any size: the image size that the preprocessor gives. */
vq_status vq_config_hf_input_size(vq_config *config, const vq_config_doc *doc);
/* Checks the channels, reads preprocessing and labels. */
vq_status vq_config_hf_finish(vq_config *config, const vq_config_doc *doc);

#endif
