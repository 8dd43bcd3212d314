/* ViT and DeiT with a class token (arXiv 2010.11929, 2012.12877), in timm's names. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/build.h"

enum { PREFIX = 1 }; /* the class token */

static vq_node *linear(vq_build *b, const char *name, int in, int rows, int n, int k)
{
    char text[VQ_NAME_MAX];
    const int weight = vq_build_param(b, vq_join_name(text, name, ".weight"), vq_shape2(n, k));
    const int bias = vq_build_param(b, vq_join_name(text, name, ".bias"), vq_shape1(n));
    vq_node *const node = vq_build_node(b, VQ_NODE_LINEAR, name, in, -1, rows, n);
    node->weight = weight;
    node->bias = bias;
    return node;
}

static int layernorm(vq_build *b, const char *name, int in, int rows, int cols, float eps)
{
    char text[VQ_NAME_MAX];
    const int gamma = vq_build_param(b, vq_join_name(text, name, ".weight"), vq_shape1(cols));
    const int beta = vq_build_param(b, vq_join_name(text, name, ".bias"), vq_shape1(cols));
    vq_node *const node = vq_build_node(b, VQ_NODE_LAYERNORM, name, in, -1, rows, cols);
    node->weight = gamma;
    node->bias = beta;
    node->eps = eps;
    return node->out;
}

/* Image to the start of the residual stream. */
static int embedding(vq_build *b, const vq_vit_config *c, int image, int tokens)
{
    const int k = c->chans * c->patch * c->patch, dim = c->embed_dim;
    const int weight = vq_build_param(b, "patch_embed.proj.weight", vq_shape2(dim, k));
    const int bias = vq_build_param(b, "patch_embed.proj.bias", vq_shape1(dim));
    vq_node *node = vq_build_node(b, VQ_NODE_PATCH_EMBED, "patch_embed.proj", image, -1, tokens - PREFIX, dim);
    const int patches = node->out;
    node->weight = weight;
    node->bias = bias;
    node->patch = c->patch;
    const int init = vq_build_param(b, "pos_embed", vq_shape2(tokens, dim));
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
    int v = layernorm(b, vq_join_name(text, prefix, ".norm1"), x, tokens, dim, c->ln_eps);
    v = attention(b, c, prefix, v, tokens);
    x = vq_build_node(b, VQ_NODE_ADD, vq_join_name(text, prefix, ".add1"), x, v, tokens, dim)->out;
    v = layernorm(b, vq_join_name(text, prefix, ".norm2"), x, tokens, dim, c->ln_eps);
    v = mlp(b, c, prefix, v, tokens);
    return vq_build_node(b, VQ_NODE_ADD, vq_join_name(text, prefix, ".add2"), x, v, tokens, dim)->out;
}

static void copy_labels(vq_build *b, const vq_vit_config *c)
{
    vq_graph *const g = b->graph;
    if (b->status != VQ_OK || !c->labels) return;
    b->status = vq_alloc(&g->labels, (size_t)c->num_classes, sizeof *g->labels, "labels");
    for (int i = 0; i < c->num_classes && b->status == VQ_OK; i++)
        if (c->labels[i]) b->status = vq_strdup(&g->labels[i], c->labels[i]);
}

vq_status vq_vit_build(vq_graph **out, const vq_vit_config *c)
{
    const int tokens = (c->img_height / c->patch) * (c->img_width / c->patch) + PREFIX;
    vq_build b;
    *out = NULL;
    VQ_TRY(vq_build_begin(&b));
    vq_graph *const g = b.graph;
    g->pre = c->pre;
    g->num_classes = c->num_classes;
    g->embed_dim = c->embed_dim;
    g->depth = c->depth;
    g->heads = c->heads;
    g->patch = c->patch;
    g->tokens = tokens;
    b.status = vq_strdup(&g->architecture, c->architecture);
    copy_labels(&b, c);
    int x = embedding(&b, c, vq_build_value(&b, c->img_height * c->img_width, c->chans), tokens);
    for (int i = 0; i < c->depth; i++) x = block(&b, c, i, x, tokens);
    x = layernorm(&b, "norm", x, tokens, c->embed_dim, c->ln_eps);
    x = vq_build_node(&b, VQ_NODE_POOL, "pool", x, -1, 1, c->embed_dim)->out; /* row 0: the class token */
    linear(&b, "head", x, 1, c->num_classes, c->embed_dim);
    return vq_build_finish(out, &b);
}

/* Parameters carry the names of the file, but for the two that are more than one tensor or another shape. */
vq_status vq_vit_sources(vq_source **out, int *count, const vq_graph *g)
{
    *count = 0;
    VQ_TRY(vq_alloc(out, (size_t)g->num_params + 1, sizeof **out, "list of tensors"));
    int used = 0;
    for (int i = 0; i < g->num_params; i++) {
        vq_source *const s = &(*out)[used++];
        *s = (vq_source){.shape = g->params[i].shape, .param = i};
        vq_join_name(s->name, g->params[i].name, "");
    }
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        const int dim = g->embed_dim;
        if (n->op == VQ_NODE_PATCH_EMBED) (*out)[n->weight].shape = vq_shape4(dim, g->pre.chans, n->patch, n->patch);
        if (n->op == VQ_NODE_TOKENS) {
            (*out)[n->weight].shape = vq_shape3(1, g->tokens, dim);
            (*out)[used] = (vq_source){.shape = vq_shape3(1, n->prefix, dim), .param = n->weight};
            vq_join_name((*out)[used++].name, "cls_token", "");
        }
    }
    *count = used;
    return VQ_OK;
}
