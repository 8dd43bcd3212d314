/* A calibration on its way through the graph: what its parts (layer*.c, attention.c) share. */
#ifndef VQ_SRC_CALIBRATION_H
#define VQ_SRC_CALIBRATION_H

#include "calib/score.h"
#include "calib/walk.h"

typedef struct vq_calibration {
    const vq_recipe *recipe;
    vq_calib_params params; /* with the defaults filled in */
    const vq_bits *bits;    /* [num_nodes] */
    vq_device *dev;
    const vq_graph *source; /* FP32, after the exact rewrites of the recipe */
    vq_walk *walk;
    vq_float_run *run;      /* the walk's. Sequential: every node behind the walk is quantized; parallel: none is */
    vq_qmodel *model;       /* being made */
    vq_temp qkv;            /* where has_qkv: Q, K and V before they were quantized, between the two products of one attention */
    bool has_qkv;
    vq_samples photos;
    int samples; /* of them */
} vq_calibration;

/* Every how many of so many rows counts in a search by output. */
static inline int vq_row_step(const vq_calibration *c, int rows)
{
    return c->recipe->rows ? VQ_MAX(1, rows / c->recipe->rows) : 1;
}

/* True where what a part searches for counts by the layer's output. */
static inline bool vq_part_by_output(const vq_part *p)
{
    return p->objective != VQ_OBJECTIVE_TENSOR;
}

/* Calibrates one node: quantizers and codes go to the model, and the node's value in run is what the flow wants it to
 * be. The output that searches aim at is the node's own with float weights and inputs, as run has them: of a quantized
 * model upstream in a sequential flow. (Aiming at the float model's there makes every layer also undo the errors of those
 * before, which it cannot; measured, the ranges shrink and accuracy is lost.) */
vq_status vq_calibrate_patch_embed(vq_calibration *c, int node);
vq_status vq_calibrate_linear(vq_calibration *c, int node);
vq_status vq_calibrate_scores(vq_calibration *c, int node);
vq_status vq_calibrate_context(vq_calibration *c, int node);

/* What vq_calibrate has no words for. */
typedef struct vq_calib_extra {
    const vq_bits *bits; /* [num_nodes], or NULL: those of the params everywhere */
    bool parallel;       /* every layer sees what the float model gives, whatever the recipe has */
    /* NULL, or called at the end. Parallel: the run then holds the float model as the recipe has rewritten it, without
     * quantizers. pixels are those of the c->samples images. */
    vq_status (*measure)(void *user, const vq_calibration *c);
    void *user;
} vq_calib_extra;

/* vq_calibrate with these (NULL: none); without the integers where out is NULL. */
vq_status vq_calibrate_extra(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *images,
                             const vq_calib_params *params, const vq_calib_extra *extra);

#endif
