/* The layer being calibrated, linear or patch embedding: what layer.c and layer_weights.c share. */
#ifndef VQ_SRC_LAYER_H
#define VQ_SRC_LAYER_H

#include "calib/calibration.h"

typedef struct vq_layer {
    vq_calibration *c;
    const vq_node *n;
    int node, in, out, rows; /* columns of input and output; rows of both in all samples */
    vq_qnode *qn;
    vq_groups weights; /* a group per row */
    vq_rows x;         /* its input, f32 [rows][in] */
    vq_rows y;         /* its output with float weights and input [rows][out], where something is judged by it */
    vq_temp quantized; /* its input as it multiplies it [rows][in] */
    vq_buf *weight;    /* f32 [out][in] */
    vq_rows weight_rows;
    vq_buf *quantized_weight;
    vq_buf *codes; /* u8 [out][in] of quantized_weight */
} vq_layer;

/* Rows of a part of data that is taken part by part, as wide as the wider of input and output: a multiple of unit. */
int vq_layer_rows_at_once(const vq_layer *l, size_t unit);
/* A buffer of rows first .. first + count of a tensor that is `cols` wide. */
vq_status vq_layer_load_rows(const vq_buf **out, vq_rows *r, int first, int count, int cols);
/* Fewer rows than weights in a row say nothing about most directions of the input, and their mean is that of a few
 * photos: what is fitted to them is the photos. That is the head, which sees one row per photo. */
bool vq_layer_has_many_rows(const vq_layer *l);
/* out = Y - (X W' + bias) of rows first .. first + rows, which x begins with: what the layer with these weights lacks
 * of the output wanted. */
vq_status vq_layer_residual(vq_layer *l, const vq_buf *x, int first, int rows, const vq_buf *weight, const vq_buf *out);

/* The weights' quantizers by the error of the weights themselves; by that of the output, with the input as it is quantized;
 * and, with the codes, by whatever the recipe has, x being what the layer multiplies. */
vq_status vq_layer_search_weight(vq_layer *l);
vq_status vq_layer_search_weight_by_output(vq_layer *l);
vq_status vq_layer_quantize_weight(vq_layer *l, vq_rows *x);
/* codes and quantized_weight by the quantizers there are. */
vq_status vq_layer_round_nearest(vq_layer *l);
/* codes to the model. */
vq_status vq_layer_keep_codes(vq_layer *l);

#endif
