/* config.json of a ViT as timm publishes it on its hub: `architecture` names the defaults, `model_args` override them.
 * Whatever would change the network and is not known here is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/vit.h"

typedef struct vit_size {
    const char *family, *name;
    int embed_dim, depth, heads;
} vit_size;

static const vit_size sizes[] = {
    {"vit", "tiny", 192, 12, 3},      {"vit", "small", 384, 12, 6},    {"vit", "medium", 512, 12, 8},
    {"vit", "base", 768, 12, 12},     {"vit", "large", 1024, 24, 16},  {"vit", "huge", 1280, 32, 16},
    {"deit", "tiny", 192, 12, 3},     {"deit", "small", 384, 12, 6},   {"deit", "base", 768, 12, 12},
    {"deit3", "small", 384, 12, 6},   {"deit3", "medium", 512, 12, 8}, {"deit3", "base", 768, 12, 12},
    {"deit3", "large", 1024, 24, 16}, {"deit3", "huge", 1280, 32, 16},
};

static const vq_neutral_arg neutral_args[] = {
    {"drop_rate", NULL},          {"pos_drop_rate", NULL},
    {"patch_drop_rate", NULL},    {"proj_drop_rate", NULL},
    {"attn_drop_rate", NULL},     {"drop_path_rate", NULL},
    {"weight_init", NULL},        {"fix_init", NULL},
    {"qk_norm", "false"},         {"proj_bias", "true"},
    {"pos_embed", "\"learn\""},   {"final_norm", "true"},
    {"norm_layer", "null"},       {"act_layer", "\"gelu\" null"},
    {"embed_layer", "null"},      {"block_fn", "null"},
    {"mlp_layer", "null"},        {"dynamic_img_size", "false"},
    {"dynamic_img_pad", "false"}, {"scale_attn_norm", "false"},
    {"scale_mlp_norm", "false"},  {NULL, NULL},
};

static const char *const known_args[] = {"embed_dim",  "depth",       "num_heads",   "mlp_ratio",   "img_size",
                                         "patch_size", "in_chans",    "num_classes", "class_token", "global_pool",
                                         "qkv_bias",   "init_values", "pre_norm",    "reg_tokens",  "no_embed_class",
                                         "fc_norm",    "dist_token",  NULL};

/* The last two, and the argument dist_token, are ours: how files of quantized models write what timm has no argument
 * for. */
static const char *const pools[VQ_VIT_POOLS] = {"token", "avg", "token_mean", "two_heads"};

/* ---- architecture --------------------------------------------------------------------------------------------------
 */

/* The next word of "vit_tiny_patch16_224", up to a '_'; false at the end. */
static bool next_word(char word[24], const char **at)
{
    size_t length = strcspn(*at, "_.");
    if (length == 0 || length > 23) return false;
    memcpy(word, *at, length);
    word[length] = 0;
    *at += length;
    if (**at == '_') ++*at;
    return true;
}

static bool read_size(vq_vit_config *c, const char *family, const char *size)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        if (strcmp(family, sizes[i].family) != 0 || strcmp(size, sizes[i].name) != 0) continue;
        c->embed_dim = sizes[i].embed_dim;
        c->depth = sizes[i].depth;
        c->heads = sizes[i].heads;
        return true;
    }
    return false;
}

static bool is_number(int *out, const char *text, int max)
{
    char *end;
    if (*text < '1' || *text > '9') return false;
    const long v = strtol(text, &end, 10);
    *out = (int)v;
    return *end == 0 && v <= max;
}

/* A word behind the size. */
static bool read_word(vq_vit_config *c, const char *family, const char *word)
{
    const bool vit = strcmp(family, "vit") == 0;
    if (strncmp(word, "patch", 5) == 0) return is_number(&c->patch, word + 5, 32);
    if (is_number(&c->base.img_height, word, VQ_MAX_SIDE)) {
        c->base.img_width = c->base.img_height;
        return true;
    }
    if (strcmp(word, "distilled") == 0 && strcmp(family, "deit") == 0) {
        c->dist_token = true;
        c->pool = VQ_VIT_TWO_HEADS;
        return true;
    }
    if (!vit) return false;
    if (strncmp(word, "reg", 3) == 0) {
        c->no_embed_class = true;
        return is_number(&c->reg_tokens, word + 3, 64);
    }
    if (strcmp(word, "dinov2") == 0) {
        c->base.img_height = c->base.img_width = 518;
        return c->layer_scale = true;
    }
    if (strcmp(word, "clip") == 0) {
        c->base.ln_eps = 1e-5f;
        return c->pre_norm = c->no_patch_bias = true;
    }
    if (strcmp(word, "gap") == 0) {
        c->pool = VQ_VIT_AVG;
        if (c->embed_dim == 512) c->no_qkv_bias = c->layer_scale = true; /* vit_medium_patch16_gap_SIZE */
        return c->no_class_token = true;
    }
    if (strcmp(word, "miil") == 0) return c->no_qkv_bias = true;
    return false;
}

static bool is_patch(int patch, const char *family)
{
    const bool vit = strcmp(family, "vit") == 0;
    return patch == 16 || (patch == 14 && strcmp(family, "deit") != 0) || (vit && (patch == 8 || patch == 32));
}

/* "vit_tiny_patch16_224", with an optional ".tag". */
static bool read_name(vq_vit_config *c, const char *name)
{
    char family[24], word[24];
    const char *at = name;
    if (!next_word(family, &at) || !next_word(word, &at) || !read_size(c, family, word)) return false;
    if (strcmp(family, "deit3") == 0) c->no_embed_class = c->layer_scale = true;
    while (*at && *at != '.')
        if (!next_word(word, &at) || !read_word(c, family, word)) return false;
    if (!is_patch(c->patch, family) || c->base.img_height < c->patch) return false;
    snprintf(c->base.architecture, sizeof c->base.architecture, "%.*s", (int)(at - name), name);
    return (size_t)(at - name) < sizeof c->base.architecture;
}

bool vq_vit_matches(const char *name)
{
    vq_vit_config c = {0};
    return read_name(&c, name) || vq_vit_hf_matches(name);
}

/* ---- arguments -----------------------------------------------------------------------------------------------------
 */

static vq_status read_pool(vq_vit_config *c, const cJSON *object, const char *path, const char *section)
{
    const cJSON *const item = vq_config_member(object, "global_pool");
    if (!vq_config_is_set(item)) return VQ_OK;
    for (int i = 0; cJSON_IsString(item) && i < VQ_VIT_POOLS; i++)
        if (strcmp(item->valuestring, pools[i]) == 0) {
            /* timm has no word for two heads: "token" leaves them as they are */
            if (i != VQ_VIT_TOKEN || c->pool != VQ_VIT_TWO_HEADS) c->pool = (vq_vit_pool)i;
            return VQ_OK;
        }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %sglobal_pool is \"%.40s\"; only \"token\" and \"avg\" are supported", path,
                   section, cJSON_IsString(item) ? item->valuestring : "?");
}

/* A flag that the config stores the other way round. */
static vq_status read_negated(bool *out, const cJSON *args, const char *path, const char *key)
{
    bool value = !*out;
    VQ_TRY(vq_config_bool(&value, args, path, "model_args", key));
    *out = !value;
    return VQ_OK;
}

static vq_status read_pools(vq_vit_config *c, const vq_config_doc *doc, const cJSON *args)
{
    const bool named = c->no_class_token; /* the *_gap_* ones keep the LayerNorm where it is */
    VQ_TRY(read_pool(c, vq_config_pretrained(doc), doc->path, ""));
    VQ_TRY(read_pool(c, doc->root, doc->path, ""));
    VQ_TRY(read_pool(c, args, doc->path, "model_args."));
    c->fc_norm = c->pool == VQ_VIT_AVG && !named;
    VQ_TRY(vq_config_bool(&c->fc_norm, args, doc->path, "model_args", "fc_norm"));
    VQ_TRY(read_negated(&c->no_class_token, args, doc->path, "class_token"));
    if (c->pool == VQ_VIT_TWO_HEADS && !c->dist_token)
        return vq_fail(VQ_ERR_FORMAT, "%s: global_pool is \"two_heads\" and dist_token false", doc->path);
    if (c->no_class_token && c->pool != VQ_VIT_AVG)
        return vq_fail(VQ_ERR_FORMAT, "%s: global_pool is \"%s\" and class_token false", doc->path, pools[c->pool]);
    return VQ_OK;
}

static vq_status read_init_values(vq_vit_config *c, const cJSON *args, const char *path)
{
    const cJSON *const item = vq_config_member(args, "init_values");
    double value = 0;
    if (!item) return VQ_OK;
    VQ_TRY(vq_config_number(&value, args, path, "model_args", "init_values", -1e6, 1e6));
    c->layer_scale = vq_config_is_set(item) && value != 0;
    return VQ_OK;
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
    VQ_TRY(vq_config_int(&c->reg_tokens, args, path, "model_args", "reg_tokens", 0, 64));
    VQ_TRY(vq_config_pair(patch, args, path, "model_args", "patch_size", VQ_MAX_SIDE));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.patch_size is %d x %d, must be square", path, patch[0],
                       patch[1]);
    c->patch = patch[0];
    VQ_TRY(read_negated(&c->no_qkv_bias, args, path, "qkv_bias"));
    VQ_TRY(vq_config_bool(&c->no_embed_class, args, path, "model_args", "no_embed_class"));
    VQ_TRY(vq_config_bool(&c->dist_token, args, path, "model_args", "dist_token"));
    VQ_TRY(vq_config_bool(&c->pre_norm, args, path, "model_args", "pre_norm"));
    c->no_patch_bias = c->pre_norm;
    VQ_TRY(read_init_values(c, args, path));
    VQ_TRY(read_pools(c, doc, args));
    return vq_config_number(mlp_ratio, args, path, "model_args", "mlp_ratio", -1e300, 1e300);
}

/* ---- checks --------------------------------------------------------------------------------------------------------
 */

int vq_vit_prefix(const vq_vit_config *c)
{
    return (c->no_class_token ? 0 : 1) + (c->dist_token ? 1 : 0) + c->reg_tokens;
}

vq_status vq_vit_mlp(vq_vit_config *c, const char *path, double mlp_ratio)
{
    const double hidden = (double)c->embed_dim * mlp_ratio;
    if (!(hidden >= 1 && hidden < VQ_MAX_HIDDEN + 1))
        return vq_fail(VQ_ERR_FORMAT, "%s: mlp_ratio %g makes %g hidden channels, must be 1 to %d", path, mlp_ratio,
                       hidden, VQ_MAX_HIDDEN);
    c->mlp_dim = (int)hidden;
    return VQ_OK;
}

vq_status vq_vit_check(const vq_vit_config *c, const char *path)
{
    const vq_config *const b = &c->base;
    const bool hf = c->names != NULL;
    const char *const dim = hf ? "hidden_size" : "embed_dim", *const heads = hf ? "num_attention_heads" : "num_heads";
    const char *const size = hf ? "image_size" : "img_size";
    if (c->embed_dim % c->heads)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s %d is not a multiple of %s %d", path, dim, c->embed_dim, heads, c->heads);
    if (b->img_height < c->patch || b->img_width < c->patch)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s %d x %d is smaller than patch_size %d", path, size, b->img_height,
                       b->img_width, c->patch);
    if (b->img_height % c->patch || b->img_width % c->patch)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s %d x %d is not a multiple of patch_size %d", path, size, b->img_height,
                       b->img_width, c->patch);
    const int tokens = (b->img_height / c->patch) * (b->img_width / c->patch) + vq_vit_prefix(c);
    if (tokens > VQ_MAX_TOKENS)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s %d x %d with patch_size %d makes %d tokens, at most %d", path, size,
                       b->img_height, b->img_width, c->patch, tokens, VQ_MAX_TOKENS);
    if (b->chans * c->patch * c->patch > VQ_MAX_HIDDEN)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: patch_size %d makes %d inputs per patch, at most %d", path, c->patch,
                       b->chans * c->patch * c->patch, VQ_MAX_HIDDEN);
    return VQ_OK;
}

static vq_status read_config(vq_vit_config *c, const vq_config_doc *doc)
{
    double mlp_ratio = 4;
    if (!read_name(c, doc->name)) {
        /* the class of a transformers model, as files of quantized models keep it; model_args say all the rest */
        snprintf(c->base.architecture, sizeof c->base.architecture, "%.63s", doc->name);
        c->embed_dim = 768;
        c->depth = c->heads = 12;
        c->patch = 16;
        c->base.img_height = c->base.img_width = 224;
    }
    VQ_TRY(read_args(c, doc, &mlp_ratio));
    VQ_TRY(vq_config_common(&c->base, doc));
    VQ_TRY(vq_vit_mlp(c, doc->path, mlp_ratio));
    VQ_TRY(vq_vit_check(c, doc->path));
    return vq_config_finish(&c->base, doc);
}

vq_status vq_vit_config_read(vq_vit_config *out, const vq_config_doc *doc)
{
    *out = (vq_vit_config){.base = {.chans = 3, .num_classes = 1000, .ln_eps = 1e-6f}, .pos_antialias = true};
    const vq_status status = read_config(out, doc);
    if (status != VQ_OK) vq_config_clear(&out->base);
    return status;
}
