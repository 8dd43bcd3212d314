/* config.json of a Swin Transformer as timm publishes it: `architecture` names the defaults, `model_args` override
 * them. */
#include <stdio.h>
#include <string.h>

#include "graph/swin.h"

typedef struct swin_size {
    const char *name;
    int embed_dim, depths[4], heads[4];
} swin_size;

static const swin_size sizes[] = {
    {"tiny", 96, {2, 2, 6, 2}, {3, 6, 12, 24}},
    {"small", 96, {2, 2, 18, 2}, {3, 6, 12, 24}},
    {"base", 128, {2, 2, 18, 2}, {4, 8, 16, 32}},
    {"large", 192, {2, 2, 18, 2}, {6, 12, 24, 48}},
};

static const vq_neutral_arg neutral_args[] = {
    {"drop_rate", NULL},
    {"proj_drop_rate", NULL},
    {"attn_drop_rate", NULL},
    {"drop_path_rate", NULL},
    {"weight_init", NULL},
    {"head_dim", "null"},
    {"embed_layer", "null"},
    {"norm_layer", "null"},
    {"global_pool", "\"avg\""},
    {"strict_img_size", "true"},
    {NULL, NULL},
};

static const char *const known_args[] = {"embed_dim",   "depths",     "num_heads",   "mlp_ratio",
                                         "img_size",    "patch_size", "window_size", "in_chans",
                                         "num_classes", "qkv_bias",   "pad_first",   NULL};

/* "swin_tiny_patch4_window7_224", with an optional ".tag". */
static bool read_name(vq_swin_config *c, const char *name)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        const swin_size *const s = &sizes[i];
        const size_t length = strlen(s->name);
        int used = 0, side = 0;
        if (strncmp(name, "swin_", 5) != 0 || strncmp(name + 5, s->name, length) != 0) continue;
        if (sscanf(name + 5 + length, "_patch%2d_window%2d_%4d%n", &c->patch, &c->window[0], &side, &used) != 3)
            return false;
        const char *const rest = name + 5 + length + used;
        if ((*rest && *rest != '.') || c->patch != 4 || c->window[0] < 1 || side < 1) return false;
        c->window[1] = c->window[0];
        c->base.img_height = c->base.img_width = side;
        c->embed_dim = s->embed_dim;
        c->stages = 4;
        memcpy(c->depths, s->depths, sizeof s->depths);
        memcpy(c->heads, s->heads, sizeof s->heads);
        snprintf(c->base.architecture, sizeof c->base.architecture, "%.*s", (int)(rest - name), name);
        return (size_t)(rest - name) < sizeof c->base.architecture;
    }
    return false;
}

bool vq_swin_matches(const char *name)
{
    vq_swin_config c = {0};
    return read_name(&c, name) || vq_swin_hf_matches(name);
}

/* Merging in transformers takes odd grids. */
static int half(const vq_swin_config *c, int size)
{
    return c->hf ? VQ_CEIL_DIV(size, 2) : size / 2;
}

void vq_swin_grid(const vq_swin_config *c, int stage, int grid[2])
{
    grid[0] = c->base.img_height / c->patch;
    grid[1] = c->base.img_width / c->patch;
    for (int i = 0; i < stage; i++) {
        grid[0] = half(c, grid[0]);
        grid[1] = half(c, grid[1]);
    }
}

/* timm looks at each side apart; a grid that one window covers is not shifted. Transformers looks at the smaller. */
vq_windows vq_swin_windows(const vq_swin_config *c, int stage, bool shifted)
{
    int grid[2];
    vq_swin_grid(c, stage, grid);
    const int least = VQ_MIN(grid[0], grid[1]), fits_h = c->hf ? least : grid[0], fits_w = c->hf ? least : grid[1];
    vq_windows w = {.height = grid[0], .width = grid[1], .pad_first = c->hf};
    w.window_h = VQ_MIN(c->window[0], fits_h);
    w.window_w = VQ_MIN(c->window[1], fits_w);
    w.shift_h = shifted && fits_h > w.window_h ? c->window[0] / 2 : 0;
    w.shift_w = shifted && fits_w > w.window_w ? c->window[1] / 2 : 0;
    return w;
}

/* ---- checks --------------------------------------------------------------------------------------------------------
 */

static vq_status check_stage(const vq_swin_config *c, const char *path, int stage)
{
    const long dim = (long)c->embed_dim << stage;
    const double hidden = (double)dim * c->mlp_ratio;
    int grid[2], before[2];
    vq_swin_grid(c, stage, grid);
    if (dim > VQ_MAX_DIM || (stage + 1 < c->stages && 4 * dim > VQ_MAX_DIM))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: embed_dim %d makes %ld channels in stage %d, at most %d", path,
                       c->embed_dim, stage + 1 < c->stages ? 4 * dim : dim, stage, VQ_MAX_DIM);
    if (dim % c->heads[stage])
        return vq_fail(VQ_ERR_FORMAT, "%s: num_heads[%d] is %d and does not divide the stage's %ld channels", path,
                       stage, c->heads[stage], dim);
    if (!(hidden >= 1 && hidden < VQ_MAX_HIDDEN + 1))
        return vq_fail(VQ_ERR_FORMAT, "%s: mlp_ratio %g makes %g hidden channels, must be 1 to %d", path, c->mlp_ratio,
                       hidden, VQ_MAX_HIDDEN);
    if (grid[0] < 1 || grid[1] < 1)
        return vq_fail(VQ_ERR_FORMAT, "%s: img_size %d x %d with patch_size %d leaves no tokens in stage %d", path,
                       c->base.img_height, c->base.img_width, c->patch, stage);
    /* the largest values of an image: scores, and what the MLP has inside */
    const vq_windows w = vq_swin_windows(c, stage, false);
    const double padded = (double)vq_windows_count(&w) * vq_windows_tokens(&w);
    if (padded * c->heads[stage] * vq_windows_tokens(&w) > INT32_MAX || padded * VQ_MAX(hidden, 4.0 * dim) > INT32_MAX)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: img_size %d x %d makes %.0f tokens in stage %d, too many for its width",
                       path, c->base.img_height, c->base.img_width, padded, stage);
    if (stage == 0) return VQ_OK;
    vq_swin_grid(c, stage - 1, before);
    if (!c->hf && (before[0] % 2 || before[1] % 2))
        return vq_fail(VQ_ERR_FORMAT, "%s: img_size %d x %d makes a grid of %d x %d in stage %d, which must be even",
                       path, c->base.img_height, c->base.img_width, before[0], before[1], stage - 1);
    return VQ_OK;
}

vq_status vq_swin_check(const vq_swin_config *c, const char *path)
{
    const vq_config *const b = &c->base;
    const char *const img = c->hf ? "image_size" : "img_size";
    if (b->img_height % c->patch || b->img_width % c->patch)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s %d x %d is not a multiple of patch_size %d", path, img, b->img_height,
                       b->img_width, c->patch);
    for (int i = 0; i < c->stages; i++) {
        VQ_TRY(check_stage(c, path, i));
        const vq_windows w = vq_swin_windows(c, i, false);
        if (vq_windows_tokens(&w) > VQ_MAX_TOKENS)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: window_size %d x %d makes %d tokens, at most %d", path, w.window_h,
                           w.window_w, vq_windows_tokens(&w), VQ_MAX_TOKENS);
        /* transformers makes the table of such a window and then cannot use it */
        if (c->hf && w.window_h < c->window[0])
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: window_size %d does not fit the grid of %d x %d in stage %d", path,
                           c->window[0], w.height, w.width, i);
    }
    return VQ_OK;
}

/* ---- stages --------------------------------------------------------------------------------------------------------
 */

/* A list of 1 to VQ_SWIN_MAX_STAGES integers; *count stays where the key is absent. */
static vq_status read_list(int out[VQ_SWIN_MAX_STAGES], int *count, const cJSON *object, const char *path,
                           const char *section, const char *key, int max)
{
    const cJSON *const list = vq_config_member(object, key);
    const char *const dot = section[0] ? "." : "";
    const int entries = cJSON_GetArraySize(list);
    if (!vq_config_is_set(list)) return VQ_OK;
    if (!cJSON_IsArray(list) || entries < 1 || entries > VQ_SWIN_MAX_STAGES)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s%s%s has %d entries, must be a list of 1 to %d", path, section, dot, key,
                       entries, VQ_SWIN_MAX_STAGES);
    for (int i = 0; i < entries; i++) {
        const cJSON *const item = cJSON_GetArrayItem(list, i);
        const double v = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(v >= 1 && v <= max) || v != (int)v)
            return vq_fail(VQ_ERR_FORMAT, "%s: %s%s%s[%d] is %g, must be an integer 1 to %d", path, section, dot, key,
                           i, v, max);
        out[i] = (int)v;
    }
    *count = entries;
    return VQ_OK;
}

vq_status vq_swin_stages(vq_swin_config *c, const cJSON *object, const char *path, const char *section)
{
    int depths = c->stages, heads = c->stages;
    VQ_TRY(read_list(c->depths, &depths, object, path, section, "depths", VQ_MAX_DEPTH));
    VQ_TRY(read_list(c->heads, &heads, object, path, section, "num_heads", VQ_MAX_DIM));
    if (depths != heads)
        return vq_fail(VQ_ERR_FORMAT, "%s: depths has %d entries and num_heads %d, must be one per stage", path, depths,
                       heads);
    c->stages = depths;
    int blocks = 0;
    for (int i = 0; i < depths; i++) blocks += c->depths[i];
    if (blocks > VQ_MAX_DEPTH)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: depths has %d blocks, at most %d", path, blocks, VQ_MAX_DEPTH);
    return VQ_OK;
}

/* ---- arguments -----------------------------------------------------------------------------------------------------
 */

static vq_status read_args(vq_swin_config *c, const vq_config_doc *doc)
{
    const cJSON *args;
    const char *const path = doc->path;
    int patch[2] = {c->patch, c->patch};
    bool qkv_bias = true;
    VQ_TRY(vq_config_args(&args, doc));
    VQ_TRY(vq_config_check_args(args, path, "model_args", known_args, neutral_args));
    VQ_TRY(vq_config_int(&c->embed_dim, args, path, "model_args", "embed_dim", 1, VQ_MAX_DIM));
    VQ_TRY(vq_swin_stages(c, args, path, "model_args"));
    VQ_TRY(vq_config_pair(patch, args, path, "model_args", "patch_size", 64));
    if (patch[0] != patch[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: model_args.patch_size is %d x %d, must be square", path, patch[0],
                       patch[1]);
    c->patch = patch[0];
    VQ_TRY(vq_config_pair(c->window, args, path, "model_args", "window_size", VQ_MAX_SIDE));
    VQ_TRY(vq_config_number(&c->mlp_ratio, args, path, "model_args", "mlp_ratio", -1e300, 1e300));
    VQ_TRY(vq_config_bool(&qkv_bias, args, path, "model_args", "qkv_bias"));
    c->no_qkv_bias = !qkv_bias;
    /* ours: files of quantized models say with it that their graph came from transformers */
    return vq_config_bool(&c->hf, args, path, "model_args", "pad_first");
}

static vq_status read_config(vq_swin_config *c, const vq_config_doc *doc)
{
    if (!read_name(c, doc->name)) {
        /* the class of a transformers model, as files of quantized models keep it; model_args say all the rest */
        read_name(c, "swin_tiny_patch4_window7_224");
        snprintf(c->base.architecture, sizeof c->base.architecture, "%.63s", doc->name);
    }
    VQ_TRY(read_args(c, doc));
    VQ_TRY(vq_config_common(&c->base, doc));
    VQ_TRY(vq_swin_check(c, doc->path));
    return vq_config_finish(&c->base, doc);
}

vq_status vq_swin_config_read(vq_swin_config *out, const vq_config_doc *doc)
{
    *out = (vq_swin_config){.base = {.chans = 3, .num_classes = 1000, .ln_eps = 1e-5f}, .mlp_ratio = 4};
    const vq_status status = read_config(out, doc);
    if (status != VQ_OK) vq_config_clear(&out->base);
    return status;
}
