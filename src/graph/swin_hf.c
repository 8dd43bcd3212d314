/* Swin Transformers as Hugging Face transformers writes them. */
#include <stdio.h>
#include <string.h>

#include "graph/swin.h"

bool vq_swin_hf_matches(const char *name)
{
    return strcmp(name, "SwinForImageClassification") == 0;
}

static const vq_neutral_arg refused[] = {
    {"hidden_act", "\"gelu\""}, {"use_absolute_embeddings", "false"}, {NULL, NULL}};

static vq_status read_config(vq_swin_config *c, const vq_config_doc *doc)
{
    const cJSON *const root = doc->root;
    const char *const path = doc->path;
    bool qkv_bias = true;
    double eps = 1e-5;
    int patch[2] = {4, 4};
    snprintf(c->base.architecture, sizeof c->base.architecture, "%.63s", doc->name);
    VQ_TRY(vq_config_refuse(root, path, refused));
    VQ_TRY(vq_config_int(&c->embed_dim, root, path, "", "embed_dim", 1, VQ_MAX_DIM));
    VQ_TRY(vq_swin_stages(c, root, path, ""));
    VQ_TRY(vq_config_pair(patch, root, path, "", "patch_size", 64));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: patch_size is %d x %d, must be square", path, patch[0], patch[1]);
    c->patch = patch[0];
    VQ_TRY(vq_config_int(&c->window[0], root, path, "", "window_size", 1, VQ_MAX_SIDE));
    c->window[1] = c->window[0];
    VQ_TRY(vq_config_number(&c->mlp_ratio, root, path, "", "mlp_ratio", -1e300, 1e300));
    VQ_TRY(vq_config_bool(&qkv_bias, root, path, "", "qkv_bias"));
    VQ_TRY(vq_config_number(&eps, root, path, "", "layer_norm_eps", 1e-30, 0.1));
    c->no_qkv_bias = !qkv_bias;
    c->base.ln_eps = (float)eps;
    VQ_TRY(vq_config_hf_common(&c->base, doc));
    VQ_TRY(vq_swin_check(c, path));
    return vq_config_hf_finish(&c->base, doc);
}

vq_status vq_swin_hf_config_read(vq_swin_config *out, const vq_config_doc *doc)
{
    *out = (vq_swin_config){.base = {.chans = 3, .num_classes = 2, .img_height = 224, .img_width = 224},
                            .embed_dim = 96,
                            .stages = 4,
                            .depths = {2, 2, 6, 2},
                            .heads = {3, 6, 12, 24},
                            .window = {7, 7},
                            .mlp_ratio = 4,
                            .hf = true};
    const vq_status status = read_config(out, doc);
    if (status != VQ_OK) vq_config_clear(&out->base);
    return status;
}
