#include "graph/build.h"

#include <stdlib.h>
#include <string.h>

vq_status vq_build_begin(vq_build *b)
{
    *b = (vq_build){.status = VQ_OK};
    b->status = vq_alloc(&b->graph, 1, sizeof *b->graph, "graph");
    return b->status;
}

/* Makes room for one more element of size bytes. */
static bool grow(vq_build *b, void *array_ptr, int count, int *cap, size_t size)
{
    void *array, *bigger = NULL;
    if (b->status != VQ_OK) return false;
    if (count < *cap) return true;
    const int wanted = *cap ? 2 * *cap : 64;
    b->status = vq_alloc(&bigger, (size_t)wanted, size, "graph");
    if (b->status != VQ_OK) return false;
    memcpy(&array, array_ptr, sizeof array);
    if (count) memcpy(bigger, array, (size_t)count * size);
    memcpy(array_ptr, &bigger, sizeof bigger);
    free(array);
    *cap = wanted;
    return true;
}

int vq_build_value(vq_build *b, int rows, int cols)
{
    if (!grow(b, &b->graph->values, b->graph->num_values, &b->cap_values, sizeof(vq_value))) return 0;
    b->graph->values[b->graph->num_values] = (vq_value){rows, cols};
    return b->graph->num_values++;
}

int vq_build_param(vq_build *b, const char *name, vq_shape shape)
{
    if (!grow(b, &b->graph->params, b->graph->num_params, &b->cap_params, sizeof(vq_param))) return 0;
    vq_param *const p = &b->graph->params[b->graph->num_params];
    *p = (vq_param){.shape = shape};
    b->status = vq_strdup(&p->name, name);
    return b->status == VQ_OK ? b->graph->num_params++ : 0;
}

vq_source *vq_build_source(vq_build *b, const char *name, vq_shape shape, int param, size_t offset)
{
    vq_source *s = &b->scratch_source;
    if (grow(b, &b->graph->sources, b->graph->num_sources, &b->cap_sources, sizeof(vq_source)))
        s = &b->graph->sources[b->graph->num_sources++];
    *s = (vq_source){.shape = shape, .param = param, .offset = offset};
    vq_join_name(s->name, name, "");
    return s;
}

int vq_build_read(vq_build *b, const char *name, vq_shape shape)
{
    const int param = vq_build_param(b, name, shape);
    vq_build_source(b, name, shape, param, 0);
    return param;
}

void vq_build_about(vq_build *b, const vq_config *config)
{
    vq_graph *const g = b->graph;
    if (b->status != VQ_OK) return;
    g->pre = config->pre;
    g->num_classes = config->num_classes;
    g->ln_eps = config->ln_eps;
    b->status = vq_strdup(&g->architecture, config->architecture);
    if (b->status != VQ_OK || !config->labels) return;
    b->status = vq_alloc(&g->labels, (size_t)config->num_classes, sizeof *g->labels, "labels");
    for (int i = 0; i < config->num_classes && b->status == VQ_OK; i++)
        if (config->labels[i]) b->status = vq_strdup(&g->labels[i], config->labels[i]);
}

void vq_build_args(vq_build *b, cJSON *args)
{
    char *const text = args ? cJSON_PrintUnformatted(args) : NULL;
    cJSON_Delete(args);
    if (b->status == VQ_OK && !text) b->status = vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the graph");
    if (b->status == VQ_OK) b->status = vq_strdup(&b->graph->args, text);
    free(text);
}

vq_node *vq_build_node(vq_build *b, vq_node_op op, const char *name, int in0, int in1, int rows, int cols)
{
    if (b->status == VQ_OK) {
        const int out = vq_build_value(b, rows, cols);
        if (grow(b, &b->graph->nodes, b->graph->num_nodes, &b->cap_nodes, sizeof(vq_node))) {
            vq_node *const n = &b->graph->nodes[b->graph->num_nodes];
            *n = (vq_node){.op = op, .in = {in0, in1}, .out = out, .weight = -1, .bias = -1};
            b->status = vq_strdup(&n->name, name);
            if (b->status == VQ_OK) {
                b->graph->num_nodes++;
                return n;
            }
        }
    }
    b->scratch_node = (vq_node){.op = op};
    return &b->scratch_node;
}

const char *vq_join_name(char out[VQ_NAME_MAX], const char *prefix, const char *suffix)
{
    const size_t a = VQ_MIN(strlen(prefix), (size_t)VQ_NAME_MAX - 1);
    const size_t c = VQ_MIN(strlen(suffix), (size_t)VQ_NAME_MAX - 1 - a);
    memcpy(out, prefix, a);
    memcpy(out + a, suffix, c);
    out[a + c] = 0;
    return out;
}

vq_status vq_build_finish(vq_graph **out, vq_build *b)
{
    *out = NULL;
    if (b->status != VQ_OK) {
        vq_graph_destroy(&b->graph);
        return b->status;
    }
    *out = b->graph;
    b->graph = NULL;
    return VQ_OK;
}
