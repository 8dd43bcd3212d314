/* Any bytes as a model's config.json, timm's or, where a NUL parts them, transformers' with its
 * preprocessor_config.json: what is accepted is a whole graph that its own arguments make again. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "graph/graph.h"

/* As a .vitq.safetensors file keeps it. */
static void check_args(const vq_graph *graph)
{
    vq_graph *again;
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "architecture", graph->architecture);
    cJSON_AddNumberToObject(root, "num_classes", graph->num_classes);
    cJSON_AddNumberToObject(root, "ln_eps", graph->ln_eps);
    cJSON_AddItemToObject(root, "model_args", cJSON_Parse(graph->args));
    cJSON *const cfg = cJSON_AddObjectToObject(root, "pretrained_cfg");
    cJSON_AddItemToObject(cfg, "mean", cJSON_CreateFloatArray(graph->pre.mean, graph->pre.chans));
    cJSON_AddItemToObject(cfg, "std", cJSON_CreateFloatArray(graph->pre.std, graph->pre.chans));
    char *const text = cJSON_PrintUnformatted(root);
    fuzz_require(text != NULL);
    fuzz_require(vq_graph_from_config(&again, "again", text, strlen(text)) == VQ_OK);
    fuzz_require(again->num_nodes == graph->num_nodes && again->num_params == graph->num_params);
    for (int i = 0; i < again->num_values; i++)
        fuzz_require(memcmp(&again->values[i], &graph->values[i], sizeof(vq_value)) == 0);
    for (int i = 0; i < again->num_params; i++) fuzz_require(strcmp(again->params[i].name, graph->params[i].name) == 0);
    vq_graph_destroy(&again);
    cJSON_free(text);
    cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_graph *graph;
    const char *const text = (const char *)data, *const part = bytes ? memchr(data, 0, bytes) : NULL;
    const size_t first = part ? (size_t)(part - text) : bytes;
    fuzz_quiet();
    if (vq_graph_from_configs(&graph, "input", text, first, "pre", part ? part + 1 : NULL,
                              part ? bytes - first - 1 : 0) != VQ_OK)
        return 0;
    fuzz_require(graph->num_nodes > 0 && graph->num_sources > 0 &&
                 graph->values[graph->nodes[graph->num_nodes - 1].out].cols == graph->num_classes);
    check_args(graph);
    vq_graph_destroy(&graph);
    return 0;
}
