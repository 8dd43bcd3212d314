/* The table of architectures: config.json to a graph without weights. Adding one is one file of data (src/graph/vit.c is
 * the pattern) and one row in architecture.c. */
#ifndef VQ_SRC_GRAPH_ARCHITECTURE_H
#define VQ_SRC_GRAPH_ARCHITECTURE_H

#include "graph/build.h"
#include "graph/config.h"

typedef struct vq_architecture {
    const char *known; /* the names that it accepts, as the message of an unknown one lists them */
    /* Does it go by that name? */
    bool (*matches)(const char *name);
    /* Reads the rest of the config and emits the graph, with its sources and args (graph.h). */
    vq_status (*build)(vq_graph **out, const vq_config_doc *doc);
} vq_architecture;

extern const vq_architecture vq_vit_architecture;
extern const vq_architecture vq_swin_architecture;

#endif
