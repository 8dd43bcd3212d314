/* What is behind the public vq_model: an FP32 graph or a quantized model, never both. */
#ifndef VQ_SRC_RUN_MODEL_H
#define VQ_SRC_RUN_MODEL_H

#include "quant/quant.h"
#include "vitq/model.h"

struct vq_model {
    vq_graph *graph;   /* FP32, NULL for a quantized one */
    vq_qmodel *qmodel; /* quantized, NULL for an FP32 one */
    char *path;        /* where it was read from, "" where it was not */
};

/* Takes over qmodel, which is destroyed on failure too. */
vq_status vq_model_from_qmodel(vq_model **out, vq_qmodel **qmodel);
/* Graph of either kind. */
const vq_graph *vq_model_graph(const vq_model *model);

#endif
