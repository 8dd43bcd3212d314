/* Any bytes as a model's config.json: what is accepted is a whole graph. */
#include "fuzz.h"
#include "graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_graph *graph;
    fuzz_quiet();
    if (vq_graph_from_config(&graph, "input", (const char *)data, bytes) != VQ_OK) return 0;
    fuzz_require(graph->num_nodes > 0 && graph->num_sources > 0 &&
                 graph->values[graph->nodes[graph->num_nodes - 1].out].cols == graph->num_classes);
    vq_graph_destroy(&graph);
    return 0;
}
