/* A vision transformer as data: values, nodes, weights. An architecture (src/graph/vit.c ...) emits them from its config;
 * everything behind it (recipes, lowering, runtime) knows nodes, not models. No device. */
#ifndef VQ_SRC_GRAPH_H
#define VQ_SRC_GRAPH_H

#include "base/safetensors.h"
#include "base/windows.h"
#include "vitq/image.h"

typedef enum vq_node_op {
    VQ_NODE_PATCH_EMBED, /* pixels u8 (as floats 0..255) -> [P][C]: weight [C][chans*patch*patch], bias [C]; mean and std
                            of the preprocessing are folded into both when the graph is made */
    VQ_NODE_TOKENS,      /* [P][C] -> [T][C]: row 0.. the prefix tokens, then the patches; weight is init [T][C] (class
                            token + position embedding), added */
    VQ_NODE_LAYERNORM,   /* over cols; weight gamma [C], bias beta [C], eps */
    VQ_NODE_LINEAR,      /* weight [N][K], bias [N] or -1 */
    VQ_NODE_SCORES,      /* Q K^T * scale per head; in[0] = in[1] = the qkv value [T][3C], columns q | k | v, each
                            [heads][head_dim]; out [heads*T][T]. With windows, qkv [W*T][3C] holds the T tokens of W
                            windows and out is [W*heads*T][T]; the weight is then a table of relative positions
                            [(2 window_h - 1) * (2 window_w - 1)][heads] that is added to the scores, and
                            VQ_WINDOW_MASK where the two tokens' regions differ (base/windows.h) */
    VQ_NODE_SOFTMAX,     /* along cols */
    VQ_NODE_CONTEXT,     /* P V per head; in[0] = P [heads*T][T], in[1] = the qkv value; out [T][C]; with windows
                            [W*heads*T][T] and [W*T][C] */
    VQ_NODE_GELU,        /* exact erf */
    VQ_NODE_ADD,         /* in[0] + in[1] */
    VQ_NODE_POOL,        /* means of rows, side by side: [T][C] -> [1][num_pools * C], part p the mean of the rows
                            pools[p].first .. first + count - 1 */
    VQ_NODE_ROWS,        /* rows of in[0] in another order, no arithmetic: `order` says which; an addressing of the nodes
                            around it wherever they can (lowering folds it away) */
    VQ_NODE_OP_COUNT
} vq_node_op;

/* What ROWS does: */
typedef enum vq_row_order {
    VQ_ROWS_TO_WINDOWS,   /* raster [H*W][C] to windows [W*T][C]; padding is the weight [C], or zeros where it is -1 */
    VQ_ROWS_FROM_WINDOWS, /* and back, without the padding */
    VQ_ROWS_MERGE         /* 2 x 2 neighbours side by side: [H*W][C] to [ceil(H/2)*ceil(W/2)][4C] (vq_merge_map) */
} vq_row_order;

/* Added to the score of two tokens that came together by the cyclic shift alone. */
#define VQ_WINDOW_MASK (-100.0f)

const char *vq_node_op_name(vq_node_op op);

/* A value of one image: [rows][cols] f32 (value 0, the pixels, is u8 [height*width][chans]). */
typedef struct vq_value {
    int rows, cols;
} vq_value;

typedef struct vq_node {
    vq_node_op op;
    char *name;      /* module path of timm: "blocks.0.attn.qkv"; attention's own nodes "blocks.0.attn.scores" ... */
    int in[2];       /* values, -1 unused */
    int out;
    int weight, bias; /* indices of tensors, -1 unused */
    int heads, head_dim;
    float scale;     /* SCORES: head_dim^-0.5 */
    float eps;       /* LAYERNORM */
    struct { int first, count; } pools[2]; /* POOL */
    int num_pools;
    int prefix;      /* TOKENS: rows in front of the patches */
    int patch;       /* PATCH_EMBED */
    vq_row_order order; /* ROWS */
    vq_windows windows; /* ROWS; SCORES, SOFTMAX and CONTEXT within windows. MERGE knows its height and width alone */
} vq_node;

/* A parameter. data is owned by the graph, f32, row-major. */
typedef struct vq_param {
    char *name;      /* timm's tensor name; for folded ones the main part's ("patch_embed.proj.weight", "pos_embed") */
    vq_shape shape;
    float *data;
} vq_param;

typedef struct vq_graph {
    char *architecture; /* "vit_tiny_patch16_224" */
    vq_preprocess pre;
    int num_classes;
    char **labels;      /* [num_classes], or NULL */
    int embed_dim, depth, heads, patch, tokens;
    int num_values, num_nodes, num_params;
    vq_value *values;   /* value 0 is the image; every other value is the out of exactly one node, in node order */
    vq_node *nodes;     /* in execution order; the last one's out is the logits [1][num_classes] */
    vq_param *params;
    char *args;         /* model_args that make this graph again, a JSON object; kept in files of quantized models */
    float ln_eps;       /* of those, which has no place in model_args */
    struct vq_source *sources; /* [num_sources] graph/build.h; NULL once the weights are there */
    int num_sources;
    char source_hash[33]; /* XXH3 of the weights file */
} vq_graph;

/* Reads a model folder, or the .safetensors file inside it (config.json beside it). */
vq_status vq_graph_load(vq_graph **out, const char *path);
void vq_graph_destroy(vq_graph **graph);
/* Deep copy. */
vq_status vq_graph_clone(vq_graph **out, const vq_graph *graph);

/* A graph from the text of config.json alone (path is used in messages, json need not be NUL-terminated): parameters
 * have shapes and no data (params[i].data NULL), sources say where in a weights file it is. Every bad field is named. */
vq_status vq_graph_from_config(vq_graph **out, const char *path, const char *json, size_t bytes);
/* The same with transformers' preprocessor_config.json, which may be absent (pre NULL). */
vq_status vq_graph_from_configs(vq_graph **out, const char *path, const char *json, size_t bytes, const char *pre_path,
                                const char *pre, size_t pre_bytes);

/* Last node that reads value v (its own producer where none does). */
int vq_graph_last_use(const vq_graph *graph, int value);
/* The node whose out is value v, -1 for the image. */
int vq_graph_producer(const vq_graph *graph, int value);

/* Elements of one image's value. */
static inline size_t vq_value_count(const vq_graph *g, int v)
{
    return (size_t)g->values[v].rows * (size_t)g->values[v].cols;
}

#endif
