/* Scores by the output of the product that a tensor enters. */
#ifndef VQ_SRC_OUTPUT_SCORE_H
#define VQ_SRC_OUTPUT_SCORE_H

#include "calib/score.h"
#include "ops/ops_f32.h"

/* A matrix of every item of a batch, inside a larger tensor: elements offset + item * stride + row * ld + column. */
typedef struct vq_matrix {
    const vq_buf *buf;
    size_t offset, stride;
    int ld;
} vq_matrix;

/* Y = X W' + bias for a batch of items: x [m][k] is what candidates quantize, y [m][n] what should come out; rows 0,
 * row_step, 2 row_step ... of every item count.
 * Where memory holds only `at_once` of the items (or, by_rows, of the rows that count), load brings items first .. first +
 * count: x, y, and op where every item has its own weights. They stay what they are until the next call. */
typedef struct vq_output_layer vq_output_layer;
struct vq_output_layer {
    int batch, m, row_step;
    bool cosine; /* what counts is the cosine, not the squared error */
    vq_matrix x, y;
    vq_output_error *op; /* the weights */
    int at_once;
    bool by_rows; /* parts are rows that count, of a batch of one */
    vq_status (*load)(vq_output_layer *l, int first, int count);
    void *user;
    int loaded_first, loaded_count;
};

/* Weights as the codes u8 [n][k] (host) of a quantizer per row, the same for all items, and bias [n] (host, may be NULL):
 * products are integers. */
vq_status vq_output_layer_codes(vq_output_layer *l, vq_device *dev, const uint8_t *codes, const vq_quantizer *q, int n,
                                int k, const float *bias);
/* Weights as floats [n][k] of each of `items` items. */
vq_status vq_output_layer_floats(vq_output_layer *l, vq_device *dev, const vq_matrix *w, int items, int n, int k);
void vq_output_layer_end(vq_output_layer *l);

/* Scores by the layer's output, one group: order statistics are those of group `group` of x. layer must outlive the
 * score. */
vq_score vq_score_of_output(vq_device *dev, const vq_groups *all, int group, vq_rows *x, vq_output_layer *layer);

#endif
