/* ViT, DeiT, DeiT III, DINOv2 (arXiv 2010.11929, 2012.12877, 2204.07118, 2304.07193): their config and their graph, under
 * the names of timm and of Hugging Face transformers. */
#ifndef VQ_SRC_GRAPH_VIT_H
#define VQ_SRC_GRAPH_VIT_H

#include "graph/config.h"
#include "graph/graph.h"

/* Names of modules and tensors in a weights file; NULL where that world has no such part. */
typedef struct vq_vit_names {
    const char *cls, *dist, *reg, *pos, *patch, *norm_pre;
    const char *block; /* with one %d */
    const char *norm1, *qkv /* packed, or NULL */, *q, *k, *v, *proj, *scale1, *norm2, *fc1, *fc2, *scale2;
    const char *norm, *fc_norm, *head, *head_dist;
    const char *unused[3]; /* tensors that may be there and are not read */
} vq_vit_names;

/* What the head reads. */
typedef enum vq_vit_pool {
    VQ_VIT_TOKEN,      /* the class token */
    VQ_VIT_AVG,        /* the mean of the patches */
    VQ_VIT_TOKEN_MEAN, /* both, side by side (DINOv2 in transformers) */
    VQ_VIT_TWO_HEADS,  /* class and distillation token, a head each, logits averaged */
    VQ_VIT_POOLS
} vq_vit_pool;

/* What the files say, checked: architecture defaults overridden by model_args. Every bad field is named. */
typedef struct vq_vit_config {
    vq_config base;
    int patch, embed_dim, depth, heads, mlp_dim;
    bool no_class_token, dist_token; /* the tokens in front of the patches: class, distillation, then registers */
    int reg_tokens;
    bool no_embed_class; /* the position embedding covers the patches alone */
    bool no_qkv_bias, no_patch_bias, layer_scale;
    bool pre_norm;       /* a LayerNorm behind the embedding */
    bool fc_norm;        /* the last LayerNorm behind the pool instead of in front */
    vq_vit_pool pool;
    int pos_side;        /* the position embedding in the file is a square of that side, 0: as many as are needed */
    bool pos_antialias;  /* how it is resized where it has another size */
    const vq_vit_names *names; /* NULL: timm's */
} vq_vit_config;

/* Everything that kernels and allocations rely on; mlp_dim is set before, field names as timm's. */
vq_status vq_vit_check(const vq_vit_config *config, const char *path);
/* mlp_dim from a ratio. */
vq_status vq_vit_mlp(vq_vit_config *config, const char *path, double mlp_ratio);
int vq_vit_prefix(const vq_vit_config *config); /* tokens in front of the patches */

bool vq_vit_matches(const char *name); /* of timm, or the class of transformers */
/* timm's config.json. */
vq_status vq_vit_config_read(vq_vit_config *out, const vq_config_doc *doc);
/* config.json and preprocessor_config.json of transformers. */
bool vq_vit_hf_matches(const char *name);
vq_status vq_vit_hf_config_read(vq_vit_config *out, const vq_config_doc *doc);

/* Values and nodes with parameters of the right shapes and no data (params[i].data NULL), and where in a weights file
 * the data is. */
vq_status vq_vit_build(vq_graph **out, const vq_vit_config *config);

#endif
