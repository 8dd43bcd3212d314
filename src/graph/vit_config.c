/* config.json of a ViT as timm publishes it on its hub: `architecture` names the defaults, `model_args` override them,
 * `pretrained_cfg` holds the preprocessing. Whatever would change the network and is not known here is refused by name:
 * a model that is silently another one is worse than none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/graph.h"

/* Limits of the integer kernels (base/int_ops.h) and of what anyone runs. */
enum { MAX_DIM = 4095, MAX_TOKENS = 4095, MAX_DEPTH = 256, MAX_HIDDEN = 32768, MAX_SIDE = 8192, MAX_CLASSES = 1 << 20 };

typedef struct vit_size {
    const char *name;
    int embed_dim, depth, heads;
} vit_size;

static const vit_size sizes[] = {
    {"vit_tiny", 192, 12, 3},  {"vit_small", 384, 12, 6},  {"vit_base", 768, 12, 12},  {"vit_large", 1024, 24, 16},
    {"deit_tiny", 192, 12, 3}, {"deit_small", 384, 12, 6}, {"deit_base", 768, 12, 12},
};

/* model_args that only matter in training, or whose one accepted value changes nothing. */
typedef struct neutral_arg {
    const char *key;
    const char *accepted; /* JSON texts, separated by spaces; NULL: anything */
} neutral_arg;

static const neutral_arg neutral_args[] = {
    {"drop_rate", NULL},           {"pos_drop_rate", NULL},
    {"patch_drop_rate", NULL},     {"proj_drop_rate", NULL},
    {"attn_drop_rate", NULL},      {"drop_path_rate", NULL},
    {"weight_init", NULL},         {"fix_init", NULL},
    {"class_token", "true"},       {"global_pool", "\"token\" null"},
    {"qkv_bias", "true"},          {"qk_norm", "false"},
    {"proj_bias", "true"},         {"init_values", "null"},
    {"pos_embed", "\"learn\""},    {"no_embed_class", "false"},
    {"reg_tokens", "0"},           {"pre_norm", "false"},
    {"final_norm", "true"},        {"fc_norm", "false null"},
    {"norm_layer", "null"},        {"act_layer", "\"gelu\" null"},
    {"embed_layer", "null"},       {"block_fn", "null"},
    {"dynamic_img_size", "false"}, {"dynamic_img_pad", "false"},
    {"scale_attn_norm", "false"},  {"scale_mlp_norm", "false"},
};

static const char *const known_args[] = {"embed_dim", "depth",      "num_heads", "mlp_ratio",
                                         "img_size",  "patch_size", "in_chans",  "num_classes"};

static bool is_set(const cJSON *item)
{
    return item && !cJSON_IsNull(item);
}

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static vq_status to_int(int *out, const cJSON *item, const char *path, const char *field, int min, int max)
{
    if (!cJSON_IsNumber(item))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is not a number, must be an integer %d to %d", path, field, min, max);
    const double v = item->valuedouble;
    if (!(v >= min && v <= max) || v != floor(v))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is %g, must be an integer %d to %d", path, field, v, min, max);
    *out = (int)v;
    return VQ_OK;
}

/* Leaves *out where the key is absent. */
static vq_status get_int(int *out, const cJSON *object, const char *path, const char *section, const char *key, int min,
                         int max)
{
    char field[80];
    const cJSON *const item = member(object, key);
    if (!is_set(item)) return VQ_OK;
    snprintf(field, sizeof field, "%s%s%s", section, section[0] ? "." : "", key);
    return to_int(out, item, path, field, min, max);
}

/* An integer, or a pair [height, width]. */
static vq_status get_pair(int out[2], const cJSON *object, const char *path, const char *key, int max)
{
    char field[80];
    const cJSON *const item = member(object, key);
    if (!is_set(item)) return VQ_OK;
    snprintf(field, sizeof field, "model_args.%s", key);
    if (!cJSON_IsArray(item)) {
        VQ_TRY(to_int(&out[0], item, path, field, 1, max));
        out[1] = out[0];
        return VQ_OK;
    }
    if (cJSON_GetArraySize(item) != 2)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s has %d entries, must be one number or two", path, field,
                       cJSON_GetArraySize(item));
    for (int i = 0; i < 2; i++) VQ_TRY(to_int(&out[i], cJSON_GetArrayItem(item, i), path, field, 1, max));
    return VQ_OK;
}

/* ---- architecture --------------------------------------------------------------------------------------------------
 */

static vq_status unknown_architecture(const char *path, const char *name)
{
    return vq_fail(
        VQ_ERR_UNSUPPORTED,
        "%s: architecture \"%.60s\" is not known; known: vit_{tiny,small,base,large}_patch{8,14,16,32}_SIZE, "
        "deit_{tiny,small,base}_patch16_SIZE",
        path, name);
}

static bool is_patch(int patch, bool deit)
{
    return patch == 16 || (!deit && (patch == 8 || patch == 14 || patch == 32));
}

/* "vit_tiny_patch16_224", with an optional ".tag". */
static vq_status architecture_defaults(vq_vit_config *c, const char *path, const char *name)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        const size_t length = strlen(sizes[i].name);
        int patch = 0, side = 0, used = 0;
        if (strncmp(name, sizes[i].name, length) != 0) continue;
        if (sscanf(name + length, "_patch%2d_%4d%n", &patch, &side, &used) != 2) continue;
        const char *const rest = name + length + used;
        if ((*rest && *rest != '.') || !is_patch(patch, name[0] == 'd') || side < patch || side > MAX_SIDE) continue;
        snprintf(c->architecture, sizeof c->architecture, "%.*s", (int)(rest - name), name);
        c->patch = patch;
        c->img_height = c->img_width = side;
        c->embed_dim = sizes[i].embed_dim;
        c->depth = sizes[i].depth;
        c->heads = sizes[i].heads;
        return VQ_OK;
    }
    return unknown_architecture(path, name);
}

static bool is_known_arg(const char *key)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(known_args); i++)
        if (strcmp(key, known_args[i]) == 0) return true;
    return false;
}

/* True where text is one of the words of list. */
static bool in_list(const char *list, const char *text)
{
    const size_t length = strlen(text);
    for (const char *at = strstr(list, text); at; at = strstr(at + 1, text))
        if ((at == list || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return true;
    return false;
}

static vq_status check_arg(const cJSON *arg, const char *path)
{
    const char *const key = arg->string;
    if (is_known_arg(key)) return VQ_OK;
    for (size_t i = 0; i < VQ_ARRAY_LEN(neutral_args); i++) {
        if (strcmp(key, neutral_args[i].key) != 0) continue;
        if (!neutral_args[i].accepted) return VQ_OK;
        char *const text = cJSON_PrintUnformatted(arg);
        if (!text) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", path);
        const bool accepted = text[0] && in_list(neutral_args[i].accepted, text);
        vq_status status = VQ_OK;
        if (!accepted)
            status = vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.%s is %.40s; only %s is supported", path, key, text,
                             neutral_args[i].accepted);
        free(text);
        return status;
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.%.60s is not supported", path, key);
}

static vq_status read_args(vq_vit_config *c, const cJSON *args, const char *path, double *mlp_ratio)
{
    int img[2] = {c->img_height, c->img_width}, patch[2] = {c->patch, c->patch};
    if (!is_set(args)) return VQ_OK;
    if (!cJSON_IsObject(args)) return vq_fail(VQ_ERR_FORMAT, "%s: model_args is not an object", path);
    for (const cJSON *arg = args->child; arg; arg = arg->next) VQ_TRY(check_arg(arg, path));
    VQ_TRY(get_int(&c->embed_dim, args, path, "model_args", "embed_dim", 1, MAX_DIM));
    VQ_TRY(get_int(&c->depth, args, path, "model_args", "depth", 1, MAX_DEPTH));
    VQ_TRY(get_int(&c->heads, args, path, "model_args", "num_heads", 1, MAX_DIM));
    VQ_TRY(get_int(&c->chans, args, path, "model_args", "in_chans", 1, 3));
    VQ_TRY(get_int(&c->num_classes, args, path, "model_args", "num_classes", 1, MAX_CLASSES));
    VQ_TRY(get_pair(img, args, path, "img_size", MAX_SIDE));
    VQ_TRY(get_pair(patch, args, path, "patch_size", MAX_SIDE));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.patch_size is %d x %d, must be square", path, patch[0],
                       patch[1]);
    c->img_height = img[0];
    c->img_width = img[1];
    c->patch = patch[0];
    const cJSON *const ratio = member(args, "mlp_ratio");
    if (is_set(ratio) && !cJSON_IsNumber(ratio))
        return vq_fail(VQ_ERR_FORMAT, "%s: model_args.mlp_ratio is not a number", path);
    if (is_set(ratio)) *mlp_ratio = ratio->valuedouble;
    return VQ_OK;
}

/* Everything that kernels and allocations rely on. */
static vq_status check_sizes(vq_vit_config *c, const char *path, double mlp_ratio)
{
    const double hidden = (double)c->embed_dim * mlp_ratio;
    if (!(hidden >= 1 && hidden < MAX_HIDDEN + 1))
        return vq_fail(VQ_ERR_FORMAT, "%s: mlp_ratio %g makes %g hidden channels, must be 1 to %d", path, mlp_ratio,
                       hidden, MAX_HIDDEN);
    c->mlp_dim = (int)hidden;
    if (c->embed_dim % c->heads)
        return vq_fail(VQ_ERR_FORMAT, "%s: embed_dim %d is not a multiple of num_heads %d", path, c->embed_dim,
                       c->heads);
    if (c->chans != 1 && c->chans != 3)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: in_chans is %d, must be 1 or 3", path, c->chans);
    if (c->img_height % c->patch || c->img_width % c->patch)
        return vq_fail(VQ_ERR_FORMAT, "%s: img_size %d x %d is not a multiple of patch_size %d", path, c->img_height,
                       c->img_width, c->patch);
    const int tokens = (c->img_height / c->patch) * (c->img_width / c->patch) + 1;
    if (tokens > MAX_TOKENS)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: img_size %d x %d with patch_size %d makes %d tokens, at most %d", path,
                       c->img_height, c->img_width, c->patch, tokens, MAX_TOKENS);
    if (c->chans * c->patch * c->patch > MAX_HIDDEN)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: patch_size %d makes %d inputs per patch, at most %d", path, c->patch,
                       c->chans * c->patch * c->patch, MAX_HIDDEN);
    return VQ_OK;
}

/* ---- preprocessing -------------------------------------------------------------------------------------------------
 */

/* mean or std: one number per channel. */
static vq_status read_stats(float out[3], const cJSON *cfg, const char *path, const char *key, int chans, bool positive)
{
    const cJSON *const list = member(cfg, key);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != chans)
        return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.%s has %d entries, must have %d", path, key,
                       cJSON_GetArraySize(list), chans);
    for (int i = 0; i < chans; i++) {
        const cJSON *const item = cJSON_GetArrayItem(list, i);
        const double v = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        if (!(fabs(v) <= 1e3) || (positive && v < 1e-6))
            return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.%s[%d] is not a sensible number", path, key, i);
        out[i] = (float)v;
    }
    return VQ_OK;
}

/* Index of the string of a key in names; default_index where it is absent. */
static vq_status read_choice(int *out, const cJSON *cfg, const char *path, const char *key, const char *const *names,
                             int count, int default_index)
{
    const cJSON *const item = member(cfg, key);
    *out = default_index;
    if (!is_set(item)) return VQ_OK;
    for (int i = 0; cJSON_IsString(item) && i < count; i++)
        if (strcmp(item->valuestring, names[i]) == 0) {
            *out = i;
            return VQ_OK;
        }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: pretrained_cfg.%s is \"%.40s\", known: %s, %s%s%s", path, key,
                   cJSON_IsString(item) ? item->valuestring : "?", names[0], names[1], count > 2 ? ", " : "",
                   count > 2 ? names[2] : "");
}

static vq_status check_input_size(const vq_vit_config *c, const cJSON *cfg, const char *path)
{
    const cJSON *const size = member(cfg, "input_size");
    const int want[3] = {c->chans, c->img_height, c->img_width};
    int got[3] = {0};
    if (!is_set(size)) return VQ_OK;
    if (!cJSON_IsArray(size) || cJSON_GetArraySize(size) != 3)
        return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.input_size must be [channels, height, width]", path);
    for (int i = 0; i < 3; i++)
        VQ_TRY(to_int(&got[i], cJSON_GetArrayItem(size, i), path, "pretrained_cfg.input_size", 1, MAX_SIDE));
    if (memcmp(got, want, sizeof got) != 0)
        return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.input_size is [%d, %d, %d], the model takes [%d, %d, %d]",
                       path, got[0], got[1], got[2], want[0], want[1], want[2]);
    return VQ_OK;
}

static vq_status read_preprocess(vq_vit_config *c, const cJSON *cfg, const char *path)
{
    static const char *const resamples[] = {"bicubic", "bilinear"};
    static const char *const crops[] = {"center", "squash", "border"};
    vq_preprocess *const pre = &c->pre;
    int resample, crop;
    if (!cJSON_IsObject(cfg)) return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg is missing or not an object", path);
    VQ_TRY(check_input_size(c, cfg, path));
    VQ_TRY(read_choice(&resample, cfg, path, "interpolation", resamples, 2, VQ_RESAMPLE_BICUBIC));
    VQ_TRY(read_choice(&crop, cfg, path, "crop_mode", crops, 3, VQ_CROP_CENTER));
    *pre = (vq_preprocess){.chans = c->chans,
                           .height = c->img_height,
                           .width = c->img_width,
                           .crop_pct = 0.875f,
                           .resample = (vq_resample)resample,
                           .crop_mode = (vq_crop_mode)crop};
    const cJSON *const pct = member(cfg, "crop_pct");
    if (is_set(pct)) {
        const double v = cJSON_IsNumber(pct) ? pct->valuedouble : NAN;
        if (!(v >= 0.01 && v <= 1))
            return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.crop_pct is %g, must be in 0.01 to 1", path, v);
        pre->crop_pct = (float)v;
    }
    VQ_TRY(read_stats(pre->mean, cfg, path, "mean", c->chans, false));
    return read_stats(pre->std, cfg, path, "std", c->chans, true);
}

/* ---- labels --------------------------------------------------------------------------------------------------------
 */

static vq_status read_labels(vq_vit_config *c, const cJSON *root, const char *path)
{
    const cJSON *const names = member(root, "label_names"), *const about = member(root, "label_descriptions");
    const cJSON *name;
    int i = 0;
    if (!is_set(names)) return VQ_OK;
    if (!cJSON_IsArray(names) || cJSON_GetArraySize(names) != c->num_classes)
        return vq_fail(VQ_ERR_FORMAT, "%s: label_names has %d entries, the model has %d classes", path,
                       cJSON_GetArraySize(names), c->num_classes);
    VQ_TRY(vq_alloc(&c->labels, (size_t)c->num_classes, sizeof *c->labels, "labels"));
    cJSON_ArrayForEach(name, names)
    {
        if (!cJSON_IsString(name)) return vq_fail(VQ_ERR_FORMAT, "%s: label_names[%d] is not a string", path, i);
        const cJSON *const text = cJSON_IsObject(about) ? member(about, name->valuestring) : NULL;
        VQ_TRY(vq_strdup(&c->labels[i++], cJSON_IsString(text) ? text->valuestring : name->valuestring));
    }
    return VQ_OK;
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

static vq_status read_root(vq_vit_config *c, const cJSON *root, const char *path)
{
    const cJSON *const name = member(root, "architecture"), *cfg = member(root, "pretrained_cfg");
    double mlp_ratio = 4;
    if (!is_set(name) && (member(root, "model_type") || member(root, "architectures")))
        return vq_fail(VQ_ERR_UNSUPPORTED,
                       "%s: a Hugging Face transformers config; only timm's (with \"architecture\") is supported",
                       path);
    if (!cJSON_IsString(name)) return vq_fail(VQ_ERR_FORMAT, "%s: \"architecture\" is missing", path);
    *c = (vq_vit_config){.chans = 3, .num_classes = 1000, .ln_eps = 1e-6f};
    VQ_TRY(architecture_defaults(c, path, name->valuestring));
    if (!is_set(cfg)) cfg = root; /* timm before 0.9 wrote the preprocessing beside the architecture */
    VQ_TRY(get_int(&c->num_classes, cfg, path, cfg == root ? "" : "pretrained_cfg", "num_classes", 1, MAX_CLASSES));
    VQ_TRY(read_args(c, member(root, "model_args"), path, &mlp_ratio));
    VQ_TRY(get_int(&c->num_classes, root, path, "", "num_classes", 1, MAX_CLASSES));
    const cJSON *const pool = member(root, "global_pool");
    if (is_set(pool) && (!cJSON_IsString(pool) || strcmp(pool->valuestring, "token") != 0))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: global_pool is \"%.40s\"; only \"token\" is supported", path,
                       cJSON_IsString(pool) ? pool->valuestring : "?");
    VQ_TRY(check_sizes(c, path, mlp_ratio));
    VQ_TRY(read_preprocess(c, cfg, path));
    return read_labels(c, root, path);
}

vq_status vq_vit_config_parse(vq_vit_config *out, const char *path, const char *json, size_t bytes)
{
    *out = (vq_vit_config){0};
    cJSON *root = NULL;
    VQ_TRY(vq_json_parse(&root, path, json, bytes));
    vq_status status = VQ_OK;
    if (cJSON_IsObject(root))
        status = read_root(out, root, path);
    else
        status = vq_fail(VQ_ERR_FORMAT, "%s: not a JSON object", path);
    cJSON_Delete(root);
    if (status != VQ_OK) vq_vit_config_clear(out);
    return status;
}

void vq_vit_config_clear(vq_vit_config *config)
{
    for (int i = 0; config->labels && i < config->num_classes; i++) free(config->labels[i]);
    free(config->labels);
    *config = (vq_vit_config){0};
}
