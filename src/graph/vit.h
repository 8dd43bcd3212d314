/* ViT and DeiT (arXiv 2010.11929, 2012.12877): their config and their graph. */
#ifndef VQ_SRC_GRAPH_VIT_H
#define VQ_SRC_GRAPH_VIT_H

#include "graph/config.h"
#include "graph/graph.h"

/* What config.json says, checked: architecture defaults overridden by model_args. Every bad field is named. */
typedef struct vq_vit_config {
    vq_config base;
    int patch, embed_dim, depth, heads, mlp_dim;
} vq_vit_config;

bool vq_vit_matches(const char *name);
vq_status vq_vit_config_read(vq_vit_config *out, const vq_config_doc *doc);

/* Values and nodes with parameters of the right shapes and no data (params[i].data NULL), and where in a weights file
 * the data is. */
vq_status vq_vit_build(vq_graph **out, const vq_vit_config *config);

#endif
