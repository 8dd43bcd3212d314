/* The graph of a Swin Transformer and where its parameters are. Nodes carry timm's names. Tokens stay in raster order;
 * windows and merging are ROWS nodes, which say how the nodes around them are addressed. */
#include "graph/swin.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/architecture.h"

/* torch's default, which neither world lets a config change for the norms of embedding and merging. */
static const float fixed_eps = 1e-5f;

/* Names of modules in a weights file. */
typedef struct swin_names {
    const char *patch, *patch_norm, *layer; /* layer: with one %d, and a '.' at its end */
    int merge_layer;                        /* added to the stage whose blocks follow: where its merging is kept */
    const char *norm1, *attn, *qkv /* packed, or NULL */, *q, *k, *v, *proj, *norm2, *fc1, *fc2, *norm, *head;
    const char *unused; /* of a block: may be there and is not read */
} swin_names;

static const swin_names timm_names = {
    .patch = "patch_embed.proj",
    .patch_norm = "patch_embed.norm",
    .layer = "layers.%d.",
    .norm1 = "norm1",
    .attn = "attn.",
    .qkv = "attn.qkv",
    .proj = "attn.proj",
    .norm2 = "norm2",
    .fc1 = "mlp.fc1",
    .fc2 = "mlp.fc2",
    .norm = "norm",
    .head = "head.fc",
    .unused = "attn.relative_position_index",
};

static const swin_names hf_names = {
    .patch = "swin.embeddings.patch_embeddings.projection",
    .patch_norm = "swin.embeddings.norm",
    .layer = "swin.encoder.layers.%d.",
    .merge_layer = -1, /* at the end of the stage before */
    .norm1 = "layernorm_before",
    .attn = "attention.self.",
    .q = "attention.self.query",
    .k = "attention.self.key",
    .v = "attention.self.value",
    .proj = "attention.output.dense",
    .norm2 = "layernorm_after",
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
    .norm = "swin.layernorm",
    .head = "classifier",
    .unused = "attention.self.relative_position_index",
};

/* The graph being built. */
typedef struct swin {
    vq_build b;
    const vq_swin_config *c;
    const swin_names *names;
    int stage, dim, rows; /* of the stage being built */
} swin;

/* Where a module is in our graph and in the file: both end in '.', or are empty. */
typedef struct place {
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
} place;

/* ---- parts ---------------------------------------------------------------------------------------------------------
 */

static vq_source *source(swin *s, const char *module, const char *what, vq_shape shape, int param, size_t offset)
{
    char name[VQ_NAME_MAX];
    return vq_build_source(&s->b, vq_join_name(name, module, what), shape, param, offset);
}

/* Parameters without data; sources are the caller's. */
static vq_node bare_linear(swin *s, const char *name, int in, int rows, int n, int k)
{
    char text[VQ_NAME_MAX];
    const int weight = vq_build_param(&s->b, vq_join_name(text, name, ".weight"), vq_shape2(n, k));
    const int bias = vq_build_param(&s->b, vq_join_name(text, name, ".bias"), vq_shape1(n));
    vq_node *const node = vq_build_node(&s->b, VQ_NODE_LINEAR, name, in, -1, rows, n);
    node->weight = weight;
    node->bias = bias;
    return *node;
}

static int linear(swin *s, const place *at, const char *name, const char *module, int in, int rows, int n, int k,
                  bool bias)
{
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
    const vq_node node = bare_linear(s, vq_join_name(ours, at->ours, name), in, rows, n, k);
    vq_join_name(theirs, at->theirs, module);
    source(s, theirs, ".weight", vq_shape2(n, k), node.weight, 0);
    if (bias) source(s, theirs, ".bias", vq_shape1(n), node.bias, 0);
    return node.out;
}

static int layernorm(swin *s, const place *at, const char *name, const char *module, int in, int rows, int cols,
                     float eps)
{
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX], text[VQ_NAME_MAX];
    vq_join_name(ours, at->ours, name);
    vq_join_name(theirs, at->theirs, module);
    const int gamma = vq_build_param(&s->b, vq_join_name(text, ours, ".weight"), vq_shape1(cols));
    const int beta = vq_build_param(&s->b, vq_join_name(text, ours, ".bias"), vq_shape1(cols));
    source(s, theirs, ".weight", vq_shape1(cols), gamma, 0);
    source(s, theirs, ".bias", vq_shape1(cols), beta, 0);
    vq_node *const node = vq_build_node(&s->b, VQ_NODE_LAYERNORM, ours, in, -1, rows, cols);
    node->weight = gamma;
    node->bias = beta;
    node->eps = eps;
    return node->out;
}

static int simple(swin *s, vq_node_op op, const place *at, const char *name, int in0, int in1, int rows, int cols)
{
    char ours[VQ_NAME_MAX];
    return vq_build_node(&s->b, op, vq_join_name(ours, at->ours, name), in0, in1, rows, cols)->out;
}

/* "layers.%d." with its number. */
static place layer_place(const swin *s, int stage, int offset)
{
    place p;
    const char *const mark = strchr(s->names->layer, '%');
    snprintf(p.ours, sizeof p.ours, "layers.%d.", stage);
    snprintf(p.theirs, sizeof p.theirs, "%.*s%d.", (int)(mark - s->names->layer), s->names->layer, stage + offset);
    return p;
}

/* ---- embedding and merging -----------------------------------------------------------------------------------------
 */

static int embedding(swin *s, int image)
{
    static const place top = {"", ""};
    const vq_swin_config *const c = s->c;
    const int k = c->base.chans * c->patch * c->patch;
    const int weight = vq_build_param(&s->b, "patch_embed.proj.weight", vq_shape2(s->dim, k));
    const int bias = vq_build_param(&s->b, "patch_embed.proj.bias", vq_shape1(s->dim));
    source(s, s->names->patch, ".weight", vq_shape4(s->dim, c->base.chans, c->patch, c->patch), weight, 0);
    source(s, s->names->patch, ".bias", vq_shape1(s->dim), bias, 0);
    vq_node *const node = vq_build_node(&s->b, VQ_NODE_PATCH_EMBED, "patch_embed.proj", image, -1, s->rows, s->dim);
    node->weight = weight;
    node->bias = bias;
    node->patch = c->patch;
    return layernorm(s, &top, "patch_embed.norm", s->names->patch_norm, node->out, s->rows, s->dim, fixed_eps);
}

/* From the grid of the stage before to that of this one; s->rows and s->dim become this one's. */
static int merging(swin *s, int x)
{
    const place at = layer_place(s, s->stage, s->names->merge_layer);
    const int wide = 4 * s->dim;
    int before[2], grid[2];
    char ours[VQ_NAME_MAX];
    vq_swin_grid(s->c, s->stage - 1, before);
    vq_swin_grid(s->c, s->stage, grid);
    s->rows = grid[0] * grid[1];
    vq_node *const rows =
        vq_build_node(&s->b, VQ_NODE_ROWS, vq_join_name(ours, at.ours, "downsample.merge"), x, -1, s->rows, wide);
    rows->order = VQ_ROWS_MERGE;
    rows->windows = (vq_windows){.height = before[0], .width = before[1], .window_h = 1, .window_w = 1};
    x = layernorm(s, &at, "downsample.norm", "downsample.norm", rows->out, s->rows, wide, fixed_eps);
    x = linear(s, &at, "downsample.reduction", "downsample.reduction", x, s->rows, 2 * s->dim, wide, false);
    s->dim *= 2;
    return x;
}

/* ---- blocks --------------------------------------------------------------------------------------------------------
 */

/* The bias of q, k and v also is what they are for padding, which is zero in front of them; there it stays the model's
 * own, whatever a reparameterization does to the linear. */
static void bias_sources(swin *s, const place *at, int param)
{
    const char *const parts[3] = {s->names->q, s->names->k, s->names->v};
    char theirs[VQ_NAME_MAX];
    if (s->c->no_qkv_bias) return;
    if (s->names->qkv) {
        source(s, vq_join_name(theirs, at->theirs, s->names->qkv), ".bias", vq_shape1(3 * s->dim), param, 0);
        return;
    }
    for (int i = 0; i < 3; i++)
        source(s, vq_join_name(theirs, at->theirs, parts[i]), ".bias", vq_shape1(s->dim), param, (size_t)(i * s->dim));
}

static int qkv_linear(swin *s, const place *at, int x)
{
    const char *const parts[3] = {s->names->q, s->names->k, s->names->v};
    const int dim = s->dim;
    char ours[VQ_NAME_MAX], theirs[VQ_NAME_MAX];
    const vq_node node = bare_linear(s, vq_join_name(ours, at->ours, "attn.qkv"), x, s->rows, 3 * dim, dim);
    bias_sources(s, at, node.bias);
    if (s->names->qkv)
        source(s, vq_join_name(theirs, at->theirs, s->names->qkv), ".weight", vq_shape2(3 * dim, dim), node.weight, 0);
    for (int i = 0; i < 3 && !s->names->qkv; i++)
        source(s, vq_join_name(theirs, at->theirs, parts[i]), ".weight", vq_shape2(dim, dim), node.weight,
               (size_t)(i * dim) * (size_t)dim);
    return node.out;
}

static int to_windows(swin *s, const place *at, const vq_windows *w, int qkv)
{
    const int tokens = vq_windows_count(w) * vq_windows_tokens(w);
    char ours[VQ_NAME_MAX];
    int pad = -1;
    if (vq_windows_padded(w)) {
        pad = vq_build_param(&s->b, vq_join_name(ours, at->ours, "attn.pad"), vq_shape1(3 * s->dim));
        bias_sources(s, at, pad);
    }
    vq_node *const node =
        vq_build_node(&s->b, VQ_NODE_ROWS, vq_join_name(ours, at->ours, "attn.windows"), qkv, -1, tokens, 3 * s->dim);
    node->order = VQ_ROWS_TO_WINDOWS;
    node->windows = *w;
    node->weight = pad;
    return node->out;
}

static vq_node *attention_node(swin *s, vq_node_op op, const place *at, const char *name, const vq_windows *w, int in0,
                               int in1, int rows, int cols)
{
    char ours[VQ_NAME_MAX];
    vq_node *const n = vq_build_node(&s->b, op, vq_join_name(ours, at->ours, name), in0, in1, rows, cols);
    n->heads = s->c->heads[s->stage];
    n->head_dim = s->dim / n->heads;
    n->windows = *w;
    return n;
}

static int attention(swin *s, const place *at, const vq_windows *w, int x)
{
    const int heads = s->c->heads[s->stage], t = vq_windows_tokens(w), windows = vq_windows_count(w);
    const int entries = (2 * w->window_h - 1) * (2 * w->window_w - 1);
    char text[VQ_NAME_MAX], ours[VQ_NAME_MAX];
    const int qkv = to_windows(s, at, w, qkv_linear(s, at, x));
    const int table = vq_build_param(&s->b, vq_join_name(ours, at->ours, "attn.relative_position_bias_table"),
                                     vq_shape2(entries, heads));
    vq_join_name(text, at->theirs, s->names->attn);
    source(s, text, "relative_position_bias_table", vq_shape2(entries, heads), table, 0);
    source(s, at->theirs, s->names->unused, vq_shape1(1), 0, 0)->how = VQ_SOURCE_UNUSED;
    source(s, at->theirs, "attn_mask", vq_shape1(1), 0, 0)->how = VQ_SOURCE_UNUSED;
    vq_node *n = attention_node(s, VQ_NODE_SCORES, at, "attn.scores", w, qkv, qkv, windows * heads * t, t);
    n->scale = (float)(1.0 / sqrt((double)n->head_dim));
    n->weight = table;
    n = attention_node(s, VQ_NODE_SOFTMAX, at, "attn.softmax", w, n->out, -1, windows * heads * t, t);
    n = attention_node(s, VQ_NODE_CONTEXT, at, "attn.context", w, n->out, qkv, windows * t, s->dim);
    n = vq_build_node(&s->b, VQ_NODE_ROWS, vq_join_name(ours, at->ours, "attn.raster"), n->out, -1, s->rows, s->dim);
    n->order = VQ_ROWS_FROM_WINDOWS;
    n->windows = *w;
    return linear(s, at, "attn.proj", s->names->proj, n->out, s->rows, s->dim, s->dim, true);
}

static int mlp(swin *s, const place *at, int x)
{
    const int hidden = (int)(s->dim * s->c->mlp_ratio);
    int y = linear(s, at, "mlp.fc1", s->names->fc1, x, s->rows, hidden, s->dim, true);
    y = simple(s, VQ_NODE_GELU, at, "mlp.act", y, -1, s->rows, hidden);
    return linear(s, at, "mlp.fc2", s->names->fc2, y, s->rows, s->dim, hidden, true);
}

static int block(swin *s, int index, int x)
{
    const vq_windows w = vq_swin_windows(s->c, s->stage, index % 2 != 0);
    const float eps = s->c->base.ln_eps;
    const place layer = layer_place(s, s->stage, 0);
    char name[32];
    place at;
    snprintf(name, sizeof name, "blocks.%d.", index);
    vq_join_name(at.ours, layer.ours, name);
    vq_join_name(at.theirs, layer.theirs, name);
    int y = layernorm(s, &at, "norm1", s->names->norm1, x, s->rows, s->dim, eps);
    y = attention(s, &at, &w, y);
    x = simple(s, VQ_NODE_ADD, &at, "add1", x, y, s->rows, s->dim);
    y = layernorm(s, &at, "norm2", s->names->norm2, x, s->rows, s->dim, eps);
    y = mlp(s, &at, y);
    return simple(s, VQ_NODE_ADD, &at, "add2", x, y, s->rows, s->dim);
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

static void describe(swin *s)
{
    const vq_swin_config *const c = s->c;
    cJSON *const args = cJSON_CreateObject();
    vq_config_put_common(args, &c->base);
    cJSON_AddNumberToObject(args, "patch_size", c->patch);
    cJSON_AddNumberToObject(args, "embed_dim", c->embed_dim);
    cJSON_AddItemToObject(args, "depths", cJSON_CreateIntArray(c->depths, c->stages));
    cJSON_AddItemToObject(args, "num_heads", cJSON_CreateIntArray(c->heads, c->stages));
    cJSON_AddItemToObject(args, "window_size", cJSON_CreateIntArray(c->window, 2));
    cJSON_AddNumberToObject(args, "mlp_ratio", c->mlp_ratio);
    cJSON_AddBoolToObject(args, "pad_first", c->hf);
    vq_build_args(&s->b, args);
}

static void head(swin *s, int x)
{
    static const place top = {"", ""};
    x = layernorm(s, &top, "norm", s->names->norm, x, s->rows, s->dim, s->c->base.ln_eps);
    vq_node *const pool = vq_build_node(&s->b, VQ_NODE_POOL, "pool", x, -1, 1, s->dim);
    pool->num_pools = 1;
    pool->pools[0].count = s->rows;
    linear(s, &top, "head", s->names->head, pool->out, 1, s->c->base.num_classes, s->dim, true);
}

vq_status vq_swin_build(vq_graph **out, const vq_swin_config *c)
{
    swin s = {.c = c, .names = c->hf ? &hf_names : &timm_names, .dim = c->embed_dim};
    int grid[2];
    *out = NULL;
    VQ_TRY(vq_build_begin(&s.b));
    vq_swin_grid(c, 0, grid);
    s.rows = grid[0] * grid[1];
    vq_graph *const g = s.b.graph;
    g->embed_dim = c->embed_dim;
    for (int i = 0; i < c->stages; i++) g->depth += c->depths[i];
    g->heads = c->heads[0];
    g->patch = c->patch;
    g->tokens = s.rows;
    vq_build_about(&s.b, &c->base);
    describe(&s);
    int x = embedding(&s, vq_build_value(&s.b, c->base.img_height * c->base.img_width, c->base.chans));
    for (s.stage = 0; s.stage < c->stages; s.stage++) {
        if (s.stage) x = merging(&s, x);
        for (int i = 0; i < c->depths[s.stage]; i++) x = block(&s, i, x);
    }
    head(&s, x);
    return vq_build_finish(out, &s.b);
}

static vq_status build(vq_graph **out, const vq_config_doc *doc)
{
    vq_swin_config config;
    VQ_TRY(doc->hf ? vq_swin_hf_config_read(&config, doc) : vq_swin_config_read(&config, doc));
    const vq_status status = vq_swin_build(out, &config);
    vq_config_clear(&config.base);
    return status;
}

const vq_architecture vq_swin_architecture = {
    .known = "swin_{tiny,small,base,large}_patch4_window{7,12}_{224,384}; of transformers SwinForImageClassification",
    .matches = vq_swin_matches,
    .build = build,
};
