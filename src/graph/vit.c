/* ViT and DeiT with a class token (arXiv 2010.11929, 2012.12877), in timm's names. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/architecture.h"
#include "graph/vit.h"

enum { PREFIX = 1 }; /* the class token */

static vq_node *linear(vq_build *b, const char *name, int in, int rows, int n, int k)
{
    char text[VQ_NAME_MAX];
    const int weight = vq_build_read(b, vq_join_name(text, name, ".weight"), vq_shape2(n, k));
    const int bias = vq_build_read(b, vq_join_name(text, name, ".bias"), vq_shape1(n));
    vq_node *const node = vq_build_node(b, VQ_NODE_LINEAR, name, in, -1, rows, n);
    node->weight = weight;
    node->bias = bias;
    return node;
}

static int layernorm(vq_build *b, const char *name, int in, int rows, int cols, float eps)
{
    char text[VQ_NAME_MAX];
    const int gamma = vq_build_read(b, vq_join_name(text, name, ".weight"), vq_shape1(cols));
    const int beta = vq_build_read(b, vq_join_name(text, name, ".bias"), vq_shape1(cols));
    vq_node *const node = vq_build_node(b, VQ_NODE_LAYERNORM, name, in, -1, rows, cols);
    node->weight = gamma;
    node->bias = beta;
    node->eps = eps;
    return node->out;
}

/* Image to the start of the residual stream. */
static int embedding(vq_build *b, const vq_vit_config *c, int image, int tokens)
{
    const int k = c->base.chans * c->patch * c->patch, dim = c->embed_dim;
    const int weight = vq_build_param(b, "patch_embed.proj.weight", vq_shape2(dim, k));
    vq_build_source(b, "patch_embed.proj.weight", vq_shape4(dim, c->base.chans, c->patch, c->patch), weight, 0);
    const int bias = vq_build_read(b, "patch_embed.proj.bias", vq_shape1(dim));
    vq_node *node = vq_build_node(b, VQ_NODE_PATCH_EMBED, "patch_embed.proj", image, -1, tokens - PREFIX, dim);
    const int patches = node->out;
    node->weight = weight;
    node->bias = bias;
    node->patch = c->patch;
    const int init = vq_build_param(b, "pos_embed", vq_shape2(tokens, dim));
    vq_build_source(b, "pos_embed", vq_shape3(1, tokens, dim), init, 0);
    vq_build_source(b, "cls_token", vq_shape3(1, PREFIX, dim), init, 0);
    node = vq_build_node(b, VQ_NODE_TOKENS, "pos_embed", patches, -1, tokens, dim);
    node->weight = init;
    node->prefix = PREFIX;
    return node->out;
}

static int attention(vq_build *b, const vq_vit_config *c, const char *prefix, int x, int tokens)
{
    char text[VQ_NAME_MAX];
    const int dim = c->embed_dim, head_dim = dim / c->heads, rows = c->heads * tokens;
    const int qkv = linear(b, vq_join_name(text, prefix, ".attn.qkv"), x, tokens, 3 * dim, dim)->out;
    vq_node *node =
        vq_build_node(b, VQ_NODE_SCORES, vq_join_name(text, prefix, ".attn.scores"), qkv, qkv, rows, tokens);
    node->heads = c->heads;
    node->head_dim = head_dim;
    node->scale = (float)(1.0 / sqrt((double)head_dim));
    int v = node->out;
    v = vq_build_node(b, VQ_NODE_SOFTMAX, vq_join_name(text, prefix, ".attn.softmax"), v, -1, rows, tokens)->out;
    node = vq_build_node(b, VQ_NODE_CONTEXT, vq_join_name(text, prefix, ".attn.context"), v, qkv, tokens, dim);
    node->heads = c->heads;
    node->head_dim = head_dim;
    v = node->out;
    return linear(b, vq_join_name(text, prefix, ".attn.proj"), v, tokens, dim, dim)->out;
}

static int mlp(vq_build *b, const vq_vit_config *c, const char *prefix, int x, int tokens)
{
    char text[VQ_NAME_MAX];
    const int dim = c->embed_dim, hidden = c->mlp_dim;
    int v = linear(b, vq_join_name(text, prefix, ".mlp.fc1"), x, tokens, hidden, dim)->out;
    v = vq_build_node(b, VQ_NODE_GELU, vq_join_name(text, prefix, ".mlp.act"), v, -1, tokens, hidden)->out;
    return linear(b, vq_join_name(text, prefix, ".mlp.fc2"), v, tokens, dim, hidden)->out;
}

static int block(vq_build *b, const vq_vit_config *c, int index, int x, int tokens)
{
    char prefix[VQ_NAME_MAX], text[VQ_NAME_MAX];
    const int dim = c->embed_dim;
    snprintf(prefix, sizeof prefix, "blocks.%d", index);
    int v = layernorm(b, vq_join_name(text, prefix, ".norm1"), x, tokens, dim, c->base.ln_eps);
    v = attention(b, c, prefix, v, tokens);
    x = vq_build_node(b, VQ_NODE_ADD, vq_join_name(text, prefix, ".add1"), x, v, tokens, dim)->out;
    v = layernorm(b, vq_join_name(text, prefix, ".norm2"), x, tokens, dim, c->base.ln_eps);
    v = mlp(b, c, prefix, v, tokens);
    return vq_build_node(b, VQ_NODE_ADD, vq_join_name(text, prefix, ".add2"), x, v, tokens, dim)->out;
}

/* The arguments that make this graph again. */
static void describe(vq_build *b, const vq_vit_config *c)
{
    cJSON *const args = cJSON_CreateObject();
    vq_config_put_common(args, &c->base);
    cJSON_AddNumberToObject(args, "patch_size", c->patch);
    cJSON_AddNumberToObject(args, "embed_dim", c->embed_dim);
    cJSON_AddNumberToObject(args, "depth", c->depth);
    cJSON_AddNumberToObject(args, "num_heads", c->heads);
    /* times embed_dim, cut: hidden again */
    cJSON_AddNumberToObject(args, "mlp_ratio", (c->mlp_dim + 0.5) / c->embed_dim);
    vq_build_args(b, args);
}

vq_status vq_vit_build(vq_graph **out, const vq_vit_config *c)
{
    const int tokens = (c->base.img_height / c->patch) * (c->base.img_width / c->patch) + PREFIX;
    vq_build b;
    *out = NULL;
    VQ_TRY(vq_build_begin(&b));
    vq_graph *const g = b.graph;
    g->embed_dim = c->embed_dim;
    g->depth = c->depth;
    g->heads = c->heads;
    g->patch = c->patch;
    g->tokens = tokens;
    vq_build_about(&b, &c->base);
    describe(&b, c);
    int x = embedding(&b, c, vq_build_value(&b, c->base.img_height * c->base.img_width, c->base.chans), tokens);
    for (int i = 0; i < c->depth; i++) x = block(&b, c, i, x, tokens);
    x = layernorm(&b, "norm", x, tokens, c->embed_dim, c->base.ln_eps);
    x = vq_build_node(&b, VQ_NODE_POOL, "pool", x, -1, 1, c->embed_dim)->out; /* row 0: the class token */
    linear(&b, "head", x, 1, c->base.num_classes, c->embed_dim);
    return vq_build_finish(out, &b);
}

static vq_status build(vq_graph **out, const vq_config_doc *doc)
{
    vq_vit_config config;
    VQ_TRY(vq_vit_config_read(&config, doc));
    const vq_status status = vq_vit_build(out, &config);
    vq_config_clear(&config.base);
    return status;
}

const vq_architecture vq_vit_architecture = {
    .known = "vit_{tiny,small,base,large}_patch{8,14,16,32}_SIZE, deit_{tiny,small,base}_patch16_SIZE",
    .matches = vq_vit_matches,
    .build = build,
};
