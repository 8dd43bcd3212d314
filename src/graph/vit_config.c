/* config.json of a ViT as timm publishes it on its hub: `architecture` names the defaults, `model_args` override them.
 * Whatever would change the network and is not known here is refused by name. */
#include <stdio.h>
#include <string.h>

#include "graph/vit.h"

typedef struct vit_size {
    const char *name;
    int embed_dim, depth, heads;
} vit_size;

static const vit_size sizes[] = {
    {"vit_tiny", 192, 12, 3},  {"vit_small", 384, 12, 6},  {"vit_base", 768, 12, 12},  {"vit_large", 1024, 24, 16},
    {"deit_tiny", 192, 12, 3}, {"deit_small", 384, 12, 6}, {"deit_base", 768, 12, 12},
};

static const vq_neutral_arg neutral_args[] = {
    {"drop_rate", NULL},
    {"pos_drop_rate", NULL},
    {"patch_drop_rate", NULL},
    {"proj_drop_rate", NULL},
    {"attn_drop_rate", NULL},
    {"drop_path_rate", NULL},
    {"weight_init", NULL},
    {"fix_init", NULL},
    {"class_token", "true"},
    {"global_pool", "\"token\" null"},
    {"qkv_bias", "true"},
    {"qk_norm", "false"},
    {"proj_bias", "true"},
    {"init_values", "null"},
    {"pos_embed", "\"learn\""},
    {"no_embed_class", "false"},
    {"reg_tokens", "0"},
    {"pre_norm", "false"},
    {"final_norm", "true"},
    {"fc_norm", "false null"},
    {"norm_layer", "null"},
    {"act_layer", "\"gelu\" null"},
    {"embed_layer", "null"},
    {"block_fn", "null"},
    {"dynamic_img_size", "false"},
    {"dynamic_img_pad", "false"},
    {"scale_attn_norm", "false"},
    {"scale_mlp_norm", "false"},
    {NULL, NULL},
};

static const char *const known_args[] = {"embed_dim",  "depth",    "num_heads",   "mlp_ratio", "img_size",
                                         "patch_size", "in_chans", "num_classes", NULL};

/* ---- architecture --------------------------------------------------------------------------------------------------
 */

static bool is_patch(int patch, bool deit)
{
    return patch == 16 || (!deit && (patch == 8 || patch == 14 || patch == 32));
}

/* "vit_tiny_patch16_224", with an optional ".tag". */
static bool read_name(vq_vit_config *c, const char *name)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        const size_t length = strlen(sizes[i].name);
        int patch = 0, side = 0, used = 0;
        if (strncmp(name, sizes[i].name, length) != 0) continue;
        if (sscanf(name + length, "_patch%2d_%4d%n", &patch, &side, &used) != 2) continue;
        const char *const rest = name + length + used;
        if ((*rest && *rest != '.') || !is_patch(patch, name[0] == 'd') || side < patch || side > VQ_MAX_SIDE) continue;
        snprintf(c->base.architecture, sizeof c->base.architecture, "%.*s", (int)(rest - name), name);
        c->patch = patch;
        c->base.img_height = c->base.img_width = side;
        c->embed_dim = sizes[i].embed_dim;
        c->depth = sizes[i].depth;
        c->heads = sizes[i].heads;
        return true;
    }
    return false;
}

bool vq_vit_matches(const char *name)
{
    vq_vit_config c;
    return read_name(&c, name);
}

static vq_status read_args(vq_vit_config *c, const vq_config_doc *doc, double *mlp_ratio)
{
    const cJSON *args;
    const char *const path = doc->path;
    int patch[2] = {c->patch, c->patch};
    VQ_TRY(vq_config_args(&args, doc));
    VQ_TRY(vq_config_check_args(args, path, "model_args", known_args, neutral_args));
    VQ_TRY(vq_config_int(&c->embed_dim, args, path, "model_args", "embed_dim", 1, VQ_MAX_DIM));
    VQ_TRY(vq_config_int(&c->depth, args, path, "model_args", "depth", 1, VQ_MAX_DEPTH));
    VQ_TRY(vq_config_int(&c->heads, args, path, "model_args", "num_heads", 1, VQ_MAX_DIM));
    VQ_TRY(vq_config_pair(patch, args, path, "model_args", "patch_size", VQ_MAX_SIDE));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.patch_size is %d x %d, must be square", path, patch[0],
                       patch[1]);
    c->patch = patch[0];
    return vq_config_number(mlp_ratio, args, path, "model_args", "mlp_ratio", -1e300, 1e300);
}

/* Everything that kernels and allocations rely on. */
static vq_status check_sizes(vq_vit_config *c, const char *path, double mlp_ratio)
{
    const vq_config *const b = &c->base;
    const double hidden = (double)c->embed_dim * mlp_ratio;
    if (!(hidden >= 1 && hidden < VQ_MAX_HIDDEN + 1))
        return vq_fail(VQ_ERR_FORMAT, "%s: mlp_ratio %g makes %g hidden channels, must be 1 to %d", path, mlp_ratio,
                       hidden, VQ_MAX_HIDDEN);
    c->mlp_dim = (int)hidden;
    if (c->embed_dim % c->heads)
        return vq_fail(VQ_ERR_FORMAT, "%s: embed_dim %d is not a multiple of num_heads %d", path, c->embed_dim,
                       c->heads);
    if (b->img_height % c->patch || b->img_width % c->patch)
        return vq_fail(VQ_ERR_FORMAT, "%s: img_size %d x %d is not a multiple of patch_size %d", path, b->img_height,
                       b->img_width, c->patch);
    const int tokens = (b->img_height / c->patch) * (b->img_width / c->patch) + 1;
    if (tokens > VQ_MAX_TOKENS)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: img_size %d x %d with patch_size %d makes %d tokens, at most %d", path,
                       b->img_height, b->img_width, c->patch, tokens, VQ_MAX_TOKENS);
    if (b->chans * c->patch * c->patch > VQ_MAX_HIDDEN)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: patch_size %d makes %d inputs per patch, at most %d", path, c->patch,
                       b->chans * c->patch * c->patch, VQ_MAX_HIDDEN);
    return VQ_OK;
}

static vq_status check_pool(const vq_config_doc *doc)
{
    const cJSON *const pool = vq_config_member(doc->root, "global_pool");
    if (!vq_config_is_set(pool) || (cJSON_IsString(pool) && strcmp(pool->valuestring, "token") == 0)) return VQ_OK;
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: global_pool is \"%.40s\"; only \"token\" is supported", doc->path,
                   cJSON_IsString(pool) ? pool->valuestring : "?");
}

static vq_status read_config(vq_vit_config *c, const vq_config_doc *doc)
{
    double mlp_ratio = 4;
    if (!read_name(c, doc->name))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: \"%.60s\" is not a ViT", doc->path, doc->name);
    VQ_TRY(read_args(c, doc, &mlp_ratio));
    VQ_TRY(vq_config_common(&c->base, doc));
    VQ_TRY(check_pool(doc));
    VQ_TRY(check_sizes(c, doc->path, mlp_ratio));
    return vq_config_finish(&c->base, doc);
}

vq_status vq_vit_config_read(vq_vit_config *out, const vq_config_doc *doc)
{
    *out = (vq_vit_config){.base = {.chans = 3, .num_classes = 1000, .ln_eps = 1e-6f}};
    const vq_status status = read_config(out, doc);
    if (status != VQ_OK) vq_config_clear(&out->base);
    return status;
}
