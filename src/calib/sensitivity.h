/* Inside of vq_sensitivity: tensors by node. */
#ifndef VQ_SRC_SENSITIVITY_H
#define VQ_SRC_SENSITIVITY_H

#include "calib/calibration.h"
#include "vitq/mixed.h"

typedef enum vq_operand { VQ_OPERAND_WEIGHT, VQ_OPERAND_INPUT, VQ_OPERAND_QKV, VQ_OPERAND_PROBABILITIES } vq_operand;

/* Where a tensor's width is set: bits[node].weight of WEIGHT, bits[node].input of others. */
typedef struct vq_tensor_place {
    vq_operand operand;
    int node;
} vq_tensor_place;

struct vq_sensitivity {
    const vq_graph *graph; /* borrowed: names */
    int count, samples, min_bits, max_bits;
    vq_tensor_errors *tensors;
    vq_tensor_place *places;
};

/* Sensitivities of a model without any errors in them yet. */
vq_status vq_sensitivity_create(vq_sensitivity **out, const vq_graph *graph, int min_bits, int max_bits);

/* The model's error as mixed.h defines it; logits float [images][classes]. */
double vq_logits_error(const float *logits, const float *wanted, int images, int classes);

#endif
