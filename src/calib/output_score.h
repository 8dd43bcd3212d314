/* Scores by the output of the product that a tensor enters. */
#ifndef VQ_SRC_OUTPUT_SCORE_H
#define VQ_SRC_OUTPUT_SCORE_H

#include "calib/score.h"

/* A matrix of every item of a batch, inside a larger tensor: elements offset + item * stride + row * ld + column. */
typedef struct vq_matrix {
    const vq_buf *buf;
    size_t offset, stride;
    int ld;
} vq_matrix;

/* Y = X W' + bias for a batch of items: x [m][k] is what candidates quantize, y [m][n] what should come out. The weights
 * are either floats, [n][k] per item, or the codes u8 [n][k] of a quantizer per row, the same for all items; then the
 * products are integers. Rows 0, row_step, 2 row_step ... count. */
typedef struct vq_output_layer {
    vq_objective objective;
    int batch, m, n, k, row_step;
    vq_matrix x, y, w;
    const vq_buf *codes;           /* NULL: w */
    const vq_quantizer *quantizer; /* of the codes */
    const float *bias;             /* [n] host, or NULL */
} vq_output_layer;

/* Scores by the layer's output, one group. groups and x of the score are what order statistics are taken of. layer must
 * outlive the score. */
vq_score vq_score_of_output(vq_device *dev, const vq_groups *groups, const vq_buf *x, const vq_output_layer *layer);

#endif
