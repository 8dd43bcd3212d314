/* vq_model_describe: everything a person or a script wants to know about a model, as JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "run/model.h"

static const char *const granularity_names[] = {"tensor", "head", "channel", "row"};

static size_t count_params(const vq_graph *g)
{
    size_t total = 0;
    for (int p = 0; p < g->num_params; p++) total += vq_shape_count(&g->params[p].shape);
    return total;
}

static cJSON *describe_preprocess(const vq_preprocess *pre)
{
    static const char *const crop_names[] = {"center", "squash", "border"};
    cJSON *const o = cJSON_CreateObject(), *const mean = cJSON_CreateArray(), *const std = cJSON_CreateArray();
    cJSON_AddNumberToObject(o, "channels", pre->chans);
    cJSON_AddNumberToObject(o, "height", pre->height);
    cJSON_AddNumberToObject(o, "width", pre->width);
    cJSON_AddStringToObject(o, "interpolation", pre->resample == VQ_RESAMPLE_BICUBIC ? "bicubic" : "bilinear");
    cJSON_AddNumberToObject(o, "crop_pct", pre->crop_pct);
    cJSON_AddStringToObject(o, "crop_mode", crop_names[pre->crop_mode]);
    for (int c = 0; c < pre->chans; c++) {
        cJSON_AddItemToArray(mean, cJSON_CreateNumber(pre->mean[c]));
        cJSON_AddItemToArray(std, cJSON_CreateNumber(pre->std[c]));
    }
    cJSON_AddItemToObject(o, "mean", mean);
    cJSON_AddItemToObject(o, "std", std);
    return o;
}

/* A quantizer in a line; its numbers only where it has one group, else they would fill the screen. */
static cJSON *describe_quantizer(const vq_quantizer *q)
{
    cJSON *const o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "method", q->method);
    cJSON_AddNumberToObject(o, "bits", q->bits);
    cJSON_AddNumberToObject(o, "levels", q->levels);
    cJSON_AddStringToObject(o, "per", granularity_names[q->granularity]);
    cJSON_AddNumberToObject(o, "groups", q->groups);
    if (q->groups == 1) {
        /* the largest value a codebook stands for says more than its fixed-point unit */
        const double unit = q->scale[0];
        if (q->kind == VQ_QUANTIZER_UNIFORM) {
            cJSON_AddNumberToObject(o, "scale", unit);
            cJSON_AddNumberToObject(o, "zero", q->zero[0]);
        } else {
            cJSON_AddNumberToObject(o, "max", unit * q->values[q->levels - 1]);
        }
    }
    return o;
}

static void add_quantizer(cJSON *layer, const char *name, const vq_quantizer *q)
{
    if (q->kind != VQ_QUANTIZER_NONE) cJSON_AddItemToObject(layer, name, describe_quantizer(q));
}

static cJSON *describe_layers(const vq_qmodel *m)
{
    cJSON *const layers = cJSON_CreateArray();
    for (int i = 0; i < m->graph->num_nodes; i++) {
        const vq_node *const n = &m->graph->nodes[i];
        const vq_qnode *const qn = &m->nodes[i];
        if (qn->in[0].kind == VQ_QUANTIZER_NONE && qn->weight.kind == VQ_QUANTIZER_NONE) continue;
        cJSON *const layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "name", n->name);
        cJSON_AddStringToObject(layer, "op", vq_node_op_name(n->op));
        const bool scores = n->op == VQ_NODE_SCORES, context = n->op == VQ_NODE_CONTEXT;
        add_quantizer(layer, scores ? "q" : context ? "probabilities" : "input", &qn->in[0]);
        add_quantizer(layer, scores ? "k" : "v", &qn->in[1]);
        add_quantizer(layer, "weight", &qn->weight);
        cJSON_AddItemToArray(layers, layer);
    }
    return layers;
}

/* What the head reads: "token", "mean", two of them as "token+mean", "token+token". */
static void add_readout(cJSON *o, const vq_graph *g)
{
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        char text[16] = "";
        if (n->op == VQ_NODE_TOKENS) cJSON_AddNumberToObject(o, "prefix_tokens", n->prefix);
        if (n->op != VQ_NODE_POOL) continue;
        for (int p = 0; p < n->num_pools; p++) {
            if (p) strcat(text, "+");
            strcat(text, n->pools[p].count == 1 ? "token" : "mean");
        }
        cJSON_AddStringToObject(o, "readout", text);
    }
}

vq_status vq_model_describe(char **json, const vq_model *model)
{
    if (json) *json = NULL;
    if (!json || !model) return vq_fail(VQ_ERR_INVALID_ARG, "vq_model_describe: NULL argument");
    const vq_graph *const g = vq_model_graph(model);
    cJSON *const o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "path", model->path);
    cJSON_AddStringToObject(o, "architecture", g->architecture);
    cJSON_AddBoolToObject(o, "quantized", model->qmodel != NULL);
    cJSON_AddNumberToObject(o, "parameters", (double)count_params(g));
    cJSON_AddNumberToObject(o, "embed_dim", g->embed_dim);
    cJSON_AddNumberToObject(o, "depth", g->depth);
    cJSON_AddNumberToObject(o, "heads", g->heads);
    cJSON_AddNumberToObject(o, "patch", g->patch);
    cJSON_AddNumberToObject(o, "tokens", g->tokens);
    add_readout(o, g);
    cJSON_AddNumberToObject(o, "num_classes", g->num_classes);
    cJSON_AddStringToObject(o, "weights_xxh3", g->source_hash);
    cJSON_AddItemToObject(o, "preprocess", describe_preprocess(&g->pre));
    if (model->qmodel) {
        cJSON_AddBoolToObject(o, "integer", model->qmodel->ints != NULL);
        cJSON_AddItemToObject(o, "manifest", cJSON_Parse(model->qmodel->manifest));
        cJSON_AddItemToObject(o, "layers", describe_layers(model->qmodel));
    }
    *json = cJSON_Print(o);
    cJSON_Delete(o);
    return *json ? VQ_OK : vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the description");
}
