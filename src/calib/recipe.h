/* A recipe is a list of parts; calibrate.c knows the parts, not the recipes. */
#ifndef VQ_SRC_RECIPE_H
#define VQ_SRC_RECIPE_H

#include "vitq/calib.h"

typedef enum vq_range_search {
    VQ_RANGE_MINMAX,    /* the smallest and the largest element */
    VQ_RANGE_PERCENTILE /* the best by squared error of three percentile ranges (RepQ-ViT's official code) */
} vq_range_search;

typedef enum vq_softmax_quantizer {
    VQ_SOFTMAX_UNIFORM,  /* 0 to the largest probability */
    VQ_SOFTMAX_LOG_SQRT2 /* RepQ-ViT, section 3.3 */
} vq_softmax_quantizer;

typedef struct vq_recipe {
    const char *name, *about;
    vq_range_search range;
    vq_softmax_quantizer softmax;
    bool reparam; /* LayerNorm scale reparameterization, RepQ-ViT, section 3.2 */
} vq_recipe;

/* NULL name finds the default; an unknown one fails and lists those there are. */
vq_status vq_recipe_find(const vq_recipe **out, const char *name);

#endif
