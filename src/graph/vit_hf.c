/* ViT, DeiT and DINOv2 as Hugging Face transformers writes them. */
#include <stdio.h>
#include <string.h>

#include "graph/vit.h"

static const vq_vit_names vit_names = {
    .cls = "vit.embeddings.cls_token",
    .pos = "vit.embeddings.position_embeddings",
    .patch = "vit.embeddings.patch_embeddings.projection",
    .block = "vit.encoder.layer.%d.",
    .norm1 = "layernorm_before",
    .q = "attention.attention.query",
    .k = "attention.attention.key",
    .v = "attention.attention.value",
    .proj = "attention.output.dense",
    .norm2 = "layernorm_after",
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .norm = "vit.layernorm",
    .head = "classifier",
    .unused = {"vit.embeddings.mask_token", "vit.pooler.dense.weight", "vit.pooler.dense.bias"},
};

#define DEIT_BODY                                                                                             \
    .cls = "deit.embeddings.cls_token", .dist = "deit.embeddings.distillation_token",                         \
    .pos = "deit.embeddings.position_embeddings", .patch = "deit.embeddings.patch_embeddings.projection",     \
    .block = "deit.encoder.layer.%d.", .norm1 = "layernorm_before", .q = "attention.attention.query",         \
    .k = "attention.attention.key", .v = "attention.attention.value", .proj = "attention.output.dense",       \
    .norm2 = "layernorm_after", .fc1 = "intermediate.dense", .fc2 = "output.dense", .norm = "deit.layernorm", \
    .unused = {"deit.embeddings.mask_token", "deit.pooler.dense.weight", "deit.pooler.dense.bias"}

static const vq_vit_names deit_names = {DEIT_BODY, .head = "classifier"};
static const vq_vit_names deit_teacher_names = {DEIT_BODY, .head = "cls_classifier",
                                                .head_dist = "distillation_classifier"};

static const vq_vit_names dinov2_names = {
    .cls = "dinov2.embeddings.cls_token",
    .pos = "dinov2.embeddings.position_embeddings",
    .patch = "dinov2.embeddings.patch_embeddings.projection",
    .block = "dinov2.encoder.layer.%d.",
    .norm1 = "norm1",
    .q = "attention.attention.query",
    .k = "attention.attention.key",
    .v = "attention.attention.value",
    .proj = "attention.output.dense",
    .scale1 = "layer_scale1.lambda1",
    .norm2 = "norm2",
    .fc1 = "mlp.fc1",
    .fc2 = "mlp.fc2",
    .scale2 = "layer_scale2.lambda1",
    .norm = "dinov2.layernorm",
    .head = "classifier",
    .unused = {"dinov2.embeddings.mask_token"},
};

/* One row per class of transformers. */
typedef struct hf_class {
    const char *name;
    const vq_vit_names *names;
    bool dist_token, layer_scale;
    vq_vit_pool pool;
    double ln_eps;
    bool any_size; /* resizes its position embedding to the images, without antialiasing */
} hf_class;

static const hf_class classes[] = {
    {"ViTForImageClassification", &vit_names, false, false, VQ_VIT_TOKEN, 1e-12, false},
    {"DeiTForImageClassification", &deit_names, true, false, VQ_VIT_TOKEN, 1e-12, false},
    {"DeiTForImageClassificationWithTeacher", &deit_teacher_names, true, false, VQ_VIT_TWO_HEADS, 1e-12, false},
    {"Dinov2ForImageClassification", &dinov2_names, false, true, VQ_VIT_TOKEN_MEAN, 1e-6, true},
};

static const hf_class *find_class(const char *name)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(classes); i++)
        if (strcmp(name, classes[i].name) == 0) return &classes[i];
    return NULL;
}

bool vq_vit_hf_matches(const char *name)
{
    return find_class(name) != NULL;
}

static const vq_neutral_arg refused[] = {
    {"hidden_act", "\"gelu\""}, {"use_swiglu_ffn", "false"}, {"qk_norm", "false"}, {NULL, NULL}};

/* intermediate_size, or mlp_ratio times hidden_size where a class has that instead. */
static vq_status read_mlp(vq_vit_config *c, const vq_config_doc *doc)
{
    double ratio = 4;
    if (!vq_config_is_set(vq_config_member(doc->root, "intermediate_size"))) {
        VQ_TRY(vq_config_number(&ratio, doc->root, doc->path, "", "mlp_ratio", -1e300, 1e300));
        return vq_vit_mlp(c, doc->path, ratio);
    }
    return vq_config_int(&c->mlp_dim, doc->root, doc->path, "", "intermediate_size", 1, VQ_MAX_HIDDEN);
}

static vq_status read_config(vq_vit_config *c, const vq_config_doc *doc, const hf_class *class)
{
    const char *const path = doc->path;
    bool qkv_bias = true;
    double eps = class->ln_eps;
    int patch[2] = {16, 16};
    snprintf(c->base.architecture, sizeof c->base.architecture, "%s", class->name);
    VQ_TRY(vq_config_refuse(doc->root, path, refused));
    VQ_TRY(vq_config_int(&c->embed_dim, doc->root, path, "", "hidden_size", 1, VQ_MAX_DIM));
    VQ_TRY(vq_config_int(&c->depth, doc->root, path, "", "num_hidden_layers", 1, VQ_MAX_DEPTH));
    VQ_TRY(vq_config_int(&c->heads, doc->root, path, "", "num_attention_heads", 1, VQ_MAX_DIM));
    VQ_TRY(vq_config_pair(patch, doc->root, path, "", "patch_size", VQ_MAX_SIDE));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: patch_size is %d x %d, must be square", path, patch[0], patch[1]);
    c->patch = patch[0];
    VQ_TRY(vq_config_bool(&qkv_bias, doc->root, path, "", "qkv_bias"));
    VQ_TRY(vq_config_number(&eps, doc->root, path, "", "layer_norm_eps", 1e-30, 0.1));
    c->no_qkv_bias = !qkv_bias;
    c->base.ln_eps = (float)eps;
    VQ_TRY(read_mlp(c, doc));
    VQ_TRY(vq_config_hf_common(&c->base, doc));
    VQ_TRY(vq_vit_check(c, path)); /* of the size that config.json names */
    if (class->any_size) {
        if (c->base.img_height != c->base.img_width)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: image_size is %d x %d, must be square", path, c->base.img_height,
                           c->base.img_width);
        c->pos_side = c->base.img_height / c->patch;
        VQ_TRY(vq_config_hf_input_size(&c->base, doc));
        VQ_TRY(vq_vit_check(c, doc->pre_path));
    }
    return vq_config_hf_finish(&c->base, doc);
}

vq_status vq_vit_hf_config_read(vq_vit_config *out, const vq_config_doc *doc)
{
    const hf_class *const class = find_class(doc->name);
    *out = (vq_vit_config){.base = {.chans = 3, .num_classes = 2, .img_height = 224, .img_width = 224},
                           .embed_dim = 768,
                           .depth = 12,
                           .heads = 12};
    out->names = class->names;
    out->dist_token = class->dist_token;
    out->layer_scale = class->layer_scale;
    out->pool = class->pool;
    const vq_status status = read_config(out, doc, class);
    if (status != VQ_OK) vq_config_clear(&out->base);
    return status;
}
