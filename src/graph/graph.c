#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

static const char *const op_names[VQ_NODE_OP_COUNT] = {
    [VQ_NODE_PATCH_EMBED] = "patch_embed",
    [VQ_NODE_TOKENS] = "tokens",
    [VQ_NODE_LAYERNORM] = "layernorm",
    [VQ_NODE_LINEAR] = "linear",
    [VQ_NODE_SCORES] = "scores",
    [VQ_NODE_SOFTMAX] = "softmax",
    [VQ_NODE_CONTEXT] = "context",
    [VQ_NODE_GELU] = "gelu",
    [VQ_NODE_ADD] = "add",
    [VQ_NODE_POOL] = "pool",
    [VQ_NODE_ROWS] = "rows",
};

const char *vq_node_op_name(vq_node_op op)
{
    return (int)op >= 0 && op < VQ_NODE_OP_COUNT ? op_names[op] : "unknown";
}

void vq_graph_destroy(vq_graph **graph)
{
    if (!graph || !*graph) return;
    vq_graph *const g = *graph;
    for (int i = 0; i < g->num_nodes; i++) free(g->nodes[i].name);
    for (int i = 0; i < g->num_params; i++) {
        free(g->params[i].name);
        free(g->params[i].data);
    }
    for (int i = 0; g->labels && i < g->num_classes; i++) free(g->labels[i]);
    free(g->labels);
    free(g->values);
    free(g->nodes);
    free(g->params);
    free(g->architecture);
    free(g->args);
    free(g->sources);
    free(g);
    *graph = NULL;
}

static vq_status clone_param(vq_param *out, const vq_param *from)
{
    *out = (vq_param){.shape = from->shape};
    VQ_TRY(vq_strdup(&out->name, from->name));
    if (!from->data) return VQ_OK;
    const size_t count = vq_shape_count(&from->shape);
    VQ_TRY(vq_alloc(&out->data, count, sizeof *out->data, from->name));
    memcpy(out->data, from->data, count * sizeof *out->data);
    return VQ_OK;
}

/* Counts grow with what is complete, so that a failure frees exactly that. */
static vq_status clone_parts(vq_graph *g, const vq_graph *from)
{
    VQ_TRY(vq_strdup(&g->architecture, from->architecture));
    if (from->args) VQ_TRY(vq_strdup(&g->args, from->args));
    VQ_TRY(vq_alloc(&g->values, (size_t)from->num_values, sizeof *g->values, "graph"));
    VQ_TRY(vq_alloc(&g->nodes, (size_t)from->num_nodes, sizeof *g->nodes, "graph"));
    VQ_TRY(vq_alloc(&g->params, (size_t)from->num_params, sizeof *g->params, "graph"));
    if (from->num_values) memcpy(g->values, from->values, (size_t)from->num_values * sizeof *g->values);
    g->num_values = from->num_values;
    for (int i = 0; i < from->num_nodes; i++) {
        g->nodes[i] = from->nodes[i];
        g->nodes[i].name = NULL;
        g->num_nodes = i + 1;
        VQ_TRY(vq_strdup(&g->nodes[i].name, from->nodes[i].name));
    }
    for (int i = 0; i < from->num_params; i++) {
        g->num_params = i + 1;
        VQ_TRY(clone_param(&g->params[i], &from->params[i]));
    }
    if (!from->labels) return VQ_OK;
    VQ_TRY(vq_alloc(&g->labels, (size_t)from->num_classes, sizeof *g->labels, "labels"));
    for (int i = 0; i < from->num_classes; i++)
        if (from->labels[i]) VQ_TRY(vq_strdup(&g->labels[i], from->labels[i]));
    return VQ_OK;
}

vq_status vq_graph_clone(vq_graph **out, const vq_graph *graph)
{
    vq_graph *g = NULL;
    *out = NULL;
    VQ_TRY(vq_alloc(&g, 1, sizeof *g, "graph"));
    *g = *graph;
    g->architecture = NULL;
    g->args = NULL;
    g->sources = NULL;
    g->num_sources = 0;
    g->labels = NULL;
    g->values = NULL;
    g->nodes = NULL;
    g->params = NULL;
    g->num_values = g->num_nodes = g->num_params = 0;
    const vq_status status = clone_parts(g, graph);
    if (status == VQ_OK)
        *out = g;
    else
        vq_graph_destroy(&g);
    return status;
}

int vq_graph_producer(const vq_graph *graph, int value)
{
    for (int i = 0; i < graph->num_nodes; i++)
        if (graph->nodes[i].out == value) return i;
    return -1;
}

int vq_graph_last_use(const vq_graph *graph, int value)
{
    for (int i = graph->num_nodes - 1; i >= 0; i--)
        if (graph->nodes[i].in[0] == value || graph->nodes[i].in[1] == value) return i;
    return vq_graph_producer(graph, value);
}
