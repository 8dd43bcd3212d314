/* Any bytes as a model's config.json: what is accepted can be built. */
#include "fuzz.h"
#include "graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_vit_config config;
    vq_graph *graph;
    fuzz_quiet();
    if (vq_vit_config_parse(&config, "input", (const char *)data, bytes) != VQ_OK) return 0;
    if (vq_vit_build(&graph, &config) == VQ_OK) {
        fuzz_require(graph->num_nodes > 0 &&
                     graph->values[graph->nodes[graph->num_nodes - 1].out].cols == config.num_classes);
        vq_graph_destroy(&graph);
    }
    vq_vit_config_clear(&config);
    return 0;
}
