/* The graph of a ViT and where its parameters are. Nodes and parameters carry timm's names, whatever the file calls
 * them. What a file keeps apart and the graph does not is put together here: class token and position embedding, q, k
 * and v, LayerScale and the linear in front of it, the two heads of a distilled DeiT. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/architecture.h"
#include "graph/vit.h"

static const vq_vit_names timm_names = {
    .cls = "cls_token",
    .dist = "dist_token",
    .reg = "reg_token",
    .pos = "pos_embed",
    .patch = "patch_embed.proj",
    .norm_pre = "norm_pre",
    .block = "blocks.%d.",
    .norm1 = "norm1",
    .qkv = "attn.qkv",
    .proj = "attn.proj",
    .scale1 = "ls1.gamma",
    .norm2 = "norm2",
    .fc1 = "mlp.fc1",
    .fc2 = "mlp.fc2",
    .scale2 = "ls2.gamma",
    .norm = "norm",
    .fc_norm = "fc_norm",
    .head = "head",
    .head_dist = "head_dist",
    .unused = {"mask_token"},
};

/* The graph being built. */
typedef struct vit {
    vq_build b;
    const vq_vit_config *c;
    const vq_vit_names *names;
    int prefix, tokens;
} vit;

/* ---- parts ---------------------------------------------------------------------------------------------------------
 */

/* A tensor "module.what" of the file. */
static vq_source *source(vit *v, const char *module, const char *what, vq_shape shape, int param, size_t offset)
{
    char name[VQ_NAME_MAX];
    return vq_build_source(&v->b, vq_join_name(name, module, what), shape, param, offset);
}

/* Parameters without data; sources are the caller's. */
static vq_node *bare_linear(vit *v, const char *name, int in, int rows, int n, int k)
{
    char text[VQ_NAME_MAX];
    const int weight = vq_build_param(&v->b, vq_join_name(text, name, ".weight"), vq_shape2(n, k));
    const int bias = vq_build_param(&v->b, vq_join_name(text, name, ".bias"), vq_shape1(n));
    vq_node *const node = vq_build_node(&v->b, VQ_NODE_LINEAR, name, in, -1, rows, n);
    node->weight = weight;
    node->bias = bias;
    return node;
}

/* Adds a whole module [n][k] with its bias at row `first` of the linear. */
static void linear_sources(vit *v, const vq_node *node, const char *module, int n, int k, int first, bool bias)
{
    const int weight_param = node->weight, bias_param = node->bias;
    source(v, module, ".weight", vq_shape2(n, k), weight_param, (size_t)first * (size_t)k);
    if (bias) source(v, module, ".bias", vq_shape1(n), bias_param, (size_t)first);
}

/* LayerScale: diag(gamma) (W x + b) = (diag(gamma) W) x + gamma b. */
static void scale_source(vit *v, const vq_node *node, const char *block, const char *what, int n)
{
    const int params[2] = {node->weight, node->bias};
    if (!v->c->layer_scale) return;
    for (int i = 0; i < 2; i++) source(v, block, what, vq_shape1(n), params[i], 0)->how = VQ_SOURCE_SCALE_ROWS;
}

static int layernorm(vit *v, const char *name, const char *module, int in, int rows)
{
    char text[VQ_NAME_MAX];
    const int cols = v->c->embed_dim;
    const int gamma = vq_build_param(&v->b, vq_join_name(text, name, ".weight"), vq_shape1(cols));
    const int beta = vq_build_param(&v->b, vq_join_name(text, name, ".bias"), vq_shape1(cols));
    source(v, module, ".weight", vq_shape1(cols), gamma, 0);
    source(v, module, ".bias", vq_shape1(cols), beta, 0);
    vq_node *const node = vq_build_node(&v->b, VQ_NODE_LAYERNORM, name, in, -1, rows, cols);
    node->weight = gamma;
    node->bias = beta;
    node->eps = v->c->base.ln_eps;
    return node->out;
}

/* ---- embedding -----------------------------------------------------------------------------------------------------
 */

static void token_sources(vit *v, int init)
{
    const vq_vit_config *const c = v->c;
    const int dim = c->embed_dim, height = c->base.img_height / c->patch, width = c->base.img_width / c->patch;
    const int covered = c->no_embed_class ? 0 : v->prefix;
    vq_source *const pos = source(
        v, v->names->pos, "", vq_shape3(1, covered + (c->pos_side ? c->pos_side * c->pos_side : height * width), dim),
        init, (size_t)(v->prefix - covered) * (size_t)dim);
    pos->grid[0] = height;
    pos->grid[1] = width;
    pos->grid_prefix = covered;
    pos->grid_side = c->pos_side;
    pos->grid_antialias = c->pos_antialias;
    if (c->pos_side == height && c->pos_side == width) pos->grid[0] = 0; /* as it is */
    size_t at = 0;
    if (!c->no_class_token) {
        source(v, v->names->cls, "", vq_shape3(1, 1, dim), init, at);
        at += (size_t)dim;
    }
    if (c->dist_token) {
        source(v, v->names->dist, "", vq_shape3(1, 1, dim), init, at);
        at += (size_t)dim;
    }
    if (c->reg_tokens && v->names->reg) source(v, v->names->reg, "", vq_shape3(1, c->reg_tokens, dim), init, at);
}

/* Image to the start of the residual stream. */
static int embedding(vit *v, int image)
{
    const vq_vit_config *const c = v->c;
    const int k = c->base.chans * c->patch * c->patch, dim = c->embed_dim;
    const int weight = vq_build_param(&v->b, "patch_embed.proj.weight", vq_shape2(dim, k));
    const int bias = vq_build_param(&v->b, "patch_embed.proj.bias", vq_shape1(dim));
    source(v, v->names->patch, ".weight", vq_shape4(dim, c->base.chans, c->patch, c->patch), weight, 0);
    if (!c->no_patch_bias) source(v, v->names->patch, ".bias", vq_shape1(dim), bias, 0);
    vq_node *node =
        vq_build_node(&v->b, VQ_NODE_PATCH_EMBED, "patch_embed.proj", image, -1, v->tokens - v->prefix, dim);
    const int patches = node->out;
    node->weight = weight;
    node->bias = bias;
    node->patch = c->patch;
    const int init = vq_build_param(&v->b, "pos_embed", vq_shape2(v->tokens, dim));
    token_sources(v, init);
    node = vq_build_node(&v->b, VQ_NODE_TOKENS, "pos_embed", patches, -1, v->tokens, dim);
    node->weight = init;
    node->prefix = v->prefix;
    const int out = node->out;
    return c->pre_norm ? layernorm(v, "norm_pre", v->names->norm_pre, out, v->tokens) : out;
}

/* ---- blocks --------------------------------------------------------------------------------------------------------
 */

/* Names of one block: ours ("blocks.3.") and the file's. */
typedef struct block_names {
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
} block_names;

static int block_layernorm(vit *v, const block_names *n, const char *name, const char *module, int x)
{
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
    return layernorm(v, vq_join_name(ours, n->ours, name), vq_join_name(theirs, n->theirs, module), x, v->tokens);
}

/* A linear that is one module in the file, with a LayerScale behind it unless scale is NULL. */
static int block_linear(vit *v, const block_names *n, const char *name, const char *module, const char *scale, int x,
                        int out, int in)
{
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
    const vq_node node = *bare_linear(v, vq_join_name(ours, n->ours, name), x, v->tokens, out, in);
    linear_sources(v, &node, vq_join_name(theirs, n->theirs, module), out, in, 0, true);
    if (scale) scale_source(v, &node, n->theirs, scale, out);
    return node.out;
}

static int qkv_linear(vit *v, const block_names *n, int x)
{
    const int dim = v->c->embed_dim;
    const bool bias = !v->c->no_qkv_bias;
    const char *const parts[3] = {v->names->q, v->names->k, v->names->v};
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
    const vq_node node = *bare_linear(v, vq_join_name(ours, n->ours, "attn.qkv"), x, v->tokens, 3 * dim, dim);
    if (v->names->qkv) {
        linear_sources(v, &node, vq_join_name(theirs, n->theirs, v->names->qkv), 3 * dim, dim, 0, bias);
        return node.out;
    }
    for (int i = 0; i < 3; i++)
        linear_sources(v, &node, vq_join_name(theirs, n->theirs, parts[i]), dim, dim, i * dim, bias);
    return node.out;
}

static int attention(vit *v, const block_names *n, int x)
{
    char text[VQ_NAME_MAX];
    const int dim = v->c->embed_dim, heads = v->c->heads, head_dim = dim / heads, tokens = v->tokens;
    const int rows = heads * tokens, qkv = qkv_linear(v, n, x);
    vq_node *node =
        vq_build_node(&v->b, VQ_NODE_SCORES, vq_join_name(text, n->ours, "attn.scores"), qkv, qkv, rows, tokens);
    node->heads = heads;
    node->head_dim = head_dim;
    node->scale = (float)(1.0 / sqrt((double)head_dim));
    int y = node->out;
    y = vq_build_node(&v->b, VQ_NODE_SOFTMAX, vq_join_name(text, n->ours, "attn.softmax"), y, -1, rows, tokens)->out;
    node = vq_build_node(&v->b, VQ_NODE_CONTEXT, vq_join_name(text, n->ours, "attn.context"), y, qkv, tokens, dim);
    node->heads = heads;
    node->head_dim = head_dim;
    return block_linear(v, n, "attn.proj", v->names->proj, v->names->scale1, node->out, dim, dim);
}

static int mlp(vit *v, const block_names *n, int x)
{
    char text[VQ_NAME_MAX];
    const int dim = v->c->embed_dim, hidden = v->c->mlp_dim;
    int y = block_linear(v, n, "mlp.fc1", v->names->fc1, NULL, x, hidden, dim);
    y = vq_build_node(&v->b, VQ_NODE_GELU, vq_join_name(text, n->ours, "mlp.act"), y, -1, v->tokens, hidden)->out;
    return block_linear(v, n, "mlp.fc2", v->names->fc2, v->names->scale2, y, dim, hidden);
}

/* Replaces the %d of "blocks.%d." */
static void block_name(char out[VQ_NAME_MAX], const char *pattern, int index)
{
    const char *at = pattern;
    size_t used = 0;
    for (; *at && used + 12 < VQ_NAME_MAX; at++) {
        if (at[0] != '%') {
            out[used++] = *at;
            continue;
        }
        used += (size_t)snprintf(out + used, 12, "%d", index);
        at++; /* the d */
    }
    out[used] = 0;
}

static int block(vit *v, int index, int x)
{
    block_names n;
    char text[VQ_NAME_MAX];
    const int dim = v->c->embed_dim;
    block_name(n.ours, timm_names.block, index);
    block_name(n.theirs, v->names->block, index);
    int y = block_layernorm(v, &n, "norm1", v->names->norm1, x);
    y = attention(v, &n, y);
    x = vq_build_node(&v->b, VQ_NODE_ADD, vq_join_name(text, n.ours, "add1"), x, y, v->tokens, dim)->out;
    y = block_layernorm(v, &n, "norm2", v->names->norm2, x);
    y = mlp(v, &n, y);
    return vq_build_node(&v->b, VQ_NODE_ADD, vq_join_name(text, n.ours, "add2"), x, y, v->tokens, dim)->out;
}

/* ---- head ----------------------------------------------------------------------------------------------------------
 */

static int pool(vit *v, int x)
{
    const vq_vit_pool how = v->c->pool;
    const int parts = how == VQ_VIT_TOKEN_MEAN || how == VQ_VIT_TWO_HEADS ? 2 : 1, patches = v->tokens - v->prefix;
    vq_node *const node = vq_build_node(&v->b, VQ_NODE_POOL, "pool", x, -1, 1, parts * v->c->embed_dim);
    node->num_pools = parts;
    node->pools[0].count = node->pools[1].count = 1; /* class token, distillation token */
    node->pools[1].first = 1;
    if (how == VQ_VIT_AVG || how == VQ_VIT_TOKEN_MEAN) {
        node->pools[parts - 1].first = v->prefix;
        node->pools[parts - 1].count = patches;
    }
    return node->out;
}

/* (W1 x1 + b1 + W2 x2 + b2) / 2 as one product with x1 and x2 side by side; halving is exact. */
static void two_heads(vit *v, const vq_node *node)
{
    const char *const modules[2] = {v->names->head, v->names->head_dist};
    const int n = v->c->base.num_classes, dim = v->c->embed_dim, weight = node->weight, bias = node->bias;
    for (int i = 0; i < 2 && modules[i]; i++) {
        vq_source *const s = source(v, modules[i], ".weight", vq_shape2(n, dim), weight, (size_t)(i * dim));
        s->row = dim;
        s->stride = 2 * dim;
        s->factor = 0.5f;
        source(v, modules[i], ".bias", vq_shape1(n), bias, 0)->factor = 0.5f;
    }
}

static void head(vit *v, int x)
{
    const vq_vit_config *const c = v->c;
    if (!c->fc_norm) x = layernorm(v, "norm", v->names->norm, x, v->tokens);
    x = pool(v, x);
    if (c->fc_norm) x = layernorm(v, "fc_norm", v->names->fc_norm, x, 1);
    const int k = c->embed_dim * (c->pool == VQ_VIT_TOKEN_MEAN || c->pool == VQ_VIT_TWO_HEADS ? 2 : 1);
    const vq_node node = *bare_linear(v, "head", x, 1, c->base.num_classes, k);
    if (c->pool == VQ_VIT_TWO_HEADS)
        two_heads(v, &node);
    else
        linear_sources(v, &node, v->names->head, c->base.num_classes, k, 0, true);
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

/* The arguments that make this graph again, with all that is folded left out. */
static void describe(vit *v)
{
    static const char *const pools[VQ_VIT_POOLS] = {"token", "avg", "token_mean", "two_heads"};
    const vq_vit_config *const c = v->c;
    cJSON *const args = cJSON_CreateObject();
    vq_config_put_common(args, &c->base);
    cJSON_AddNumberToObject(args, "patch_size", c->patch);
    cJSON_AddNumberToObject(args, "embed_dim", c->embed_dim);
    cJSON_AddNumberToObject(args, "depth", c->depth);
    cJSON_AddNumberToObject(args, "num_heads", c->heads);
    /* times embed_dim, cut: hidden again */
    cJSON_AddNumberToObject(args, "mlp_ratio", (c->mlp_dim + 0.5) / c->embed_dim);
    cJSON_AddBoolToObject(args, "class_token", !c->no_class_token);
    cJSON_AddBoolToObject(args, "dist_token", c->dist_token);
    cJSON_AddNumberToObject(args, "reg_tokens", c->reg_tokens);
    cJSON_AddBoolToObject(args, "pre_norm", c->pre_norm);
    cJSON_AddBoolToObject(args, "fc_norm", c->fc_norm);
    cJSON_AddStringToObject(args, "global_pool", pools[c->pool]);
    vq_build_args(&v->b, args);
}

static void unused_sources(vit *v)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(v->names->unused) && v->names->unused[i]; i++)
        source(v, v->names->unused[i], "", vq_shape1(1), 0, 0)->how = VQ_SOURCE_UNUSED;
}

vq_status vq_vit_build(vq_graph **out, const vq_vit_config *c)
{
    const int prefix = vq_vit_prefix(c);
    vit v = {.c = c, .names = c->names ? c->names : &timm_names, .prefix = prefix};
    v.tokens = (c->base.img_height / c->patch) * (c->base.img_width / c->patch) + prefix;
    *out = NULL;
    VQ_TRY(vq_build_begin(&v.b));
    vq_graph *const g = v.b.graph;
    g->embed_dim = c->embed_dim;
    g->depth = c->depth;
    g->heads = c->heads;
    g->patch = c->patch;
    g->tokens = v.tokens;
    vq_build_about(&v.b, &c->base);
    describe(&v);
    int x = embedding(&v, vq_build_value(&v.b, c->base.img_height * c->base.img_width, c->base.chans));
    for (int i = 0; i < c->depth; i++) x = block(&v, i, x);
    head(&v, x);
    unused_sources(&v);
    return vq_build_finish(out, &v.b);
}

static vq_status build(vq_graph **out, const vq_config_doc *doc)
{
    vq_vit_config config;
    VQ_TRY(doc->hf ? vq_vit_hf_config_read(&config, doc) : vq_vit_config_read(&config, doc));
    const vq_status status = vq_vit_build(out, &config);
    vq_config_clear(&config.base);
    return status;
}

const vq_architecture vq_vit_architecture = {
    .known =
        "vit_{tiny,small,medium,base,large,huge}_patch{8,14,16,32}[_regN][_clip][_gap]_SIZE, "
        "vit_*_patch14_[reg4_]dinov2, "
        "deit_{tiny,small,base}[_distilled]_patch16_SIZE, deit3_{small,medium,base,large,huge}_patch{14,16}_SIZE; of "
        "transformers ViTForImageClassification, DeiTForImageClassification[WithTeacher], "
        "Dinov2ForImageClassification",
    .matches = vq_vit_matches,
    .build = build,
};
