/* Swin Transformers (arXiv 2103.14030): their config and their graph, under the names of timm and of Hugging Face
 * transformers. */
#ifndef VQ_SRC_GRAPH_SWIN_H
#define VQ_SRC_GRAPH_SWIN_H

#include "graph/config.h"
#include "graph/graph.h"

enum { VQ_SWIN_MAX_STAGES = 8 };

/* What the files say, checked: architecture defaults overridden by model_args. Every bad field is named. */
typedef struct vq_swin_config {
    vq_config base; /* ln_eps: of the blocks and the last norm; the norms of embedding and merging have torch's default */
    int patch, embed_dim, stages;
    int depths[VQ_SWIN_MAX_STAGES], heads[VQ_SWIN_MAX_STAGES];
    int window[2];    /* height, width; clamped to smaller grids */
    double mlp_ratio;
    bool no_qkv_bias;
    bool hf;          /* names and habits of transformers: padding comes before the shift, odd grids are merged */
} vq_swin_config;

/* Grid of a stage's blocks. */
void vq_swin_grid(const vq_swin_config *config, int stage, int grid[2]);
/* Windows of a stage's blocks, of the even or the odd (shifted) ones. */
vq_windows vq_swin_windows(const vq_swin_config *config, int stage, bool shifted);

/* Everything that kernels and allocations rely on; field names are those of the world the config is from. */
vq_status vq_swin_check(const vq_swin_config *config, const char *path);

/* `depths` and `num_heads`, which must have an entry per stage each. */
vq_status vq_swin_stages(vq_swin_config *config, const cJSON *object, const char *path, const char *section);

bool vq_swin_matches(const char *name); /* of timm, or the class of transformers */
vq_status vq_swin_config_read(vq_swin_config *out, const vq_config_doc *doc);
bool vq_swin_hf_matches(const char *name);
vq_status vq_swin_hf_config_read(vq_swin_config *out, const vq_config_doc *doc);

/* Values and nodes with parameters of the right shapes and no data, and where in a weights file the data is. */
vq_status vq_swin_build(vq_graph **out, const vq_swin_config *config);

#endif
