/* Products of whole numbers. What a quantizer gives is a whole number (code - zero, or a codebook's 16-bit value - zero)
 * times a scale, so that a product of two quantized operands is a sum of whole numbers, times a scale per output. Such a
 * sum is exact in floats, in any order, while it stays below 2^24: of 8-bit operands over K = 768 it may reach 2.5e7 and
 * is some 1e6. 16-bit values are two operands, high and low bytes:
 *     product = (256 * sum of (high * w) + sum of (low * w)) * scale + bias,     each operation rounded to float.
 * where no value has a low byte, high bytes alone times a scale that is 256 times as large.
 * The fake-quant forward and exported graphs take this form, and so agree to the bit. */
#ifndef VQ_SRC_WHOLE_H
#define VQ_SRC_WHOLE_H

#include "quant/quant.h"

typedef struct vq_whole_product {
    int count;    /* 0: the node has no such product */
    float *scale; /* [count] owned. PATCH_EMBED, LINEAR: output channels; SCORES: heads, the factor of the scores
                     included; CONTEXT: columns of the output */
    bool low;     /* some value of in[0]'s codebook has a low byte */
} vq_whole_product;

/* Of every node of the model, out [num_nodes]. A product is left out (count 0) where an operand is not quantized, has a
 * fractional zero point or groups along the sum; SCORES and CONTEXT of one attention only together, for they share Q, K
 * and V. Fails only for memory. */
vq_status vq_whole_products(vq_whole_product **out, const vq_qmodel *m);
void vq_whole_products_destroy(vq_whole_product **products, int num_nodes);

/* value - zero of a level of a codebook: 256 * high + low, low in 0..255. */
void vq_whole_value(const vq_quantizer *q, int group, int level, int *high, int *low);

/* The node whose in[0] is the Q, K, V value of a SCORES node's and whose in[1] it is for V; -1: none. */
int vq_context_of(const vq_graph *g, int scores);

#endif
