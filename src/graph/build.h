/* What architectures need to emit a graph, and to say where its parameters are in a weights file. */
#ifndef VQ_SRC_GRAPH_BUILD_H
#define VQ_SRC_GRAPH_BUILD_H

#include "graph/config.h"
#include "graph/graph.h"

#define VQ_NAME_MAX 96


typedef enum vq_source_how {
    VQ_SOURCE_ADD,        /* its elements are added to the parameter's, so that several tensors may cover one element */
    VQ_SOURCE_SCALE_ROWS, /* [N]: row n of the parameter is multiplied by element n */
    VQ_SOURCE_UNUSED      /* may be there, of any shape, and is not read */
} vq_source_how;

/* A tensor of a weights file and the part of a parameter that it makes. Sources are worked off in order. */
typedef struct vq_source {
    char name[VQ_NAME_MAX];
    vq_shape shape;     /* expected in the file */
    int param;
    vq_source_how how;
    size_t offset;      /* ADD: in the parameter, in elements */
    float factor;       /* ADD: times this; 0 counts as 1 */
    int row, stride;    /* ADD: pieces of `row` elements, `stride` apart in the parameter; 0: one piece */
    /* ADD, a position embedding [1][grid_prefix + side * side][C]: resampled to [grid[0]][grid[1]] behind the prefix where
     * shape has another number of rows; grid[0] 0: no position embedding. grid_side > 0: side must be that. */
    int grid[2], grid_prefix, grid_side;
    bool grid_antialias;
} vq_source;

/* Grows a graph. The first failure sticks: later calls do nothing, vq_build_finish reports it. */
typedef struct vq_build {
    vq_graph *graph;
    vq_status status;
    int cap_values, cap_nodes, cap_params, cap_sources;
    vq_node scratch_node; /* what vq_build_node and vq_build_source return after a failure */
    vq_source scratch_source;
} vq_build;

vq_status vq_build_begin(vq_build *b);
/* A parameter without data; its index. The name is copied. */
int vq_build_param(vq_build *b, const char *name, vq_shape shape);
/* The same, and the tensor of that name in the file is its data. */
int vq_build_read(vq_build *b, const char *name, vq_shape shape);
/* A tensor of the file that is added to a parameter from that offset on, and what else vq_source can say. The pointer is
 * valid until the next call. */
vq_source *vq_build_source(vq_build *b, const char *name, vq_shape shape, int param, size_t offset);
/* Architecture, preprocessing, classes and labels. */
void vq_build_about(vq_build *b, const vq_config *config);
/* Sets graph->args; takes over args, which may be NULL where memory ran out. */
void vq_build_args(vq_build *b, cJSON *args);
/* A value that no node makes: the image. */
int vq_build_value(vq_build *b, int rows, int cols);
/* A node with a new out value [rows][cols]; in[1] may be -1. weight and bias start as -1. The pointer is valid until
 * the next call. */
vq_node *vq_build_node(vq_build *b, vq_node_op op, const char *name, int in0, int in1, int rows, int cols);
/* "prefix" + "suffix" in a buffer of the builder's caller, cut to its size. */
const char *vq_join_name(char out[VQ_NAME_MAX], const char *prefix, const char *suffix);
/* Gives the graph to *out, or frees it and returns what went wrong. */
vq_status vq_build_finish(vq_graph **out, vq_build *b);

#endif
