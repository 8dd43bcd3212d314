/* A tiny random ViT, its float forward in plain C, and a min-max calibration of it: enough to test lowering and files
 * without a device. Everything here is test code; nothing is shared with the library but its types. */
#ifndef VQ_TESTS_TINY_MODEL_H
#define VQ_TESTS_TINY_MODEL_H

#include "quant/quant.h"

typedef struct tiny_options {
    int chans, w_bits, a_bits;
    vq_granularity qkv; /* of Q, K; V is per channel when this is per head */
    bool uniform_softmax;
    uint64_t seed;
    bool softmax_per_head; /* a codebook per head, odd heads of the other kind, with other ranges */
} tiny_options;

/* A graph with random weights: 8 x 12 pixels, patches of 4, 24 channels, 3 heads, 2 blocks, 40 hidden, 7 classes. */
vq_graph *tiny_graph(int chans, uint64_t seed);

/* Logits of one image. With m, weights and activations are fake-quantized by it (its graph may lack weight data);
 * ranges, where not NULL, receives the smallest and largest element of in[0] and in[1] of every node, as
 * [num_nodes][2][2], for Q, K, V, P too. */
void tiny_forward(const vq_graph *g, const vq_qmodel *m, const uint8_t *pixels, float *logits, float *ranges);

/* Min-max calibration over random images; the result is not lowered. */
vq_qmodel *tiny_qmodel(const vq_graph *g, const tiny_options *options);

/* One node of an integer graph by the witnesses, for batch images; values as [num_values] buffers. */
void tiny_int_node(const vq_int_graph *ints, const vq_int_node *n, void *const *values, int batch);
/* Logits of one image in real units. */
void tiny_int_logits(const vq_int_graph *ints, const uint8_t *pixels, float *logits);

size_t tiny_pixels(const vq_graph *g); /* bytes of an image */
void tiny_image(const vq_graph *g, uint64_t seed, uint8_t *pixels);

/* Root mean square of a - b. */
double tiny_rms(const float *a, const float *b, int n);

#endif
