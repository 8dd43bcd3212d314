/* A recipe is a list of parts; calibrate.c knows the parts, not the recipes. The built-in ones are written in the same
 * JSON as a user's (docs/recipes.md) and read by the same code. */
#ifndef VQ_SRC_RECIPE_H
#define VQ_SRC_RECIPE_H

#include "quant/codebook.h"
#include "vitq/calib.h"

/* How the range of a quantizer is found. */
typedef enum vq_search {
    VQ_SEARCH_MINMAX,     /* the smallest and the largest element */
    VQ_SEARCH_PERCENTILE, /* the best of three percentile ranges (RepQ-ViT's official code) */
    VQ_SEARCH_FULL,       /* every pair of a fine grid of scales and zero points */
    VQ_SEARCH_FPCS        /* the same space by fast progressive combining search (AdaLog, section 3.4) */
} vq_search;

/* What a search makes small. */
typedef enum vq_objective {
    VQ_OBJECTIVE_TENSOR, /* squared error of the tensor itself */
    VQ_OBJECTIVE_OUTPUT, /* squared error of the layer's output */
    VQ_OBJECTIVE_COSINE  /* 1 - the cosine between the layer's output, all of it as one vector, and the one wanted; of
                            weights that of every output channel */
} vq_objective;

typedef enum vq_reparam {
    VQ_REPARAM_NONE,
    VQ_REPARAM_MEAN, /* the mean of the channels' scales (RepQ-ViT, section 3.2) */
    VQ_REPARAM_MOSF, /* their median (DopQ-ViT) */
    VQ_REPARAM_BEST  /* of both the one with the smaller error of the layer's output */
} vq_reparam;

typedef enum vq_flow {
    VQ_FLOW_SEQUENTIAL, /* every layer sees what the quantized layers before it give */
    VQ_FLOW_PARALLEL    /* every layer sees what the float model gives */
} vq_flow;

typedef enum vq_rounding {
    VQ_ROUNDING_NEAREST,
    VQ_ROUNDING_GPTQ /* each weight's error is made up for by the later ones (arXiv 2210.17323) */
} vq_rounding;

/* One kind of tensor. */
typedef struct vq_part {
    const vq_codebook_family *quantizer; /* SOFTMAX, GELU; NULL: uniform with a zero point */
    vq_search search;
    vq_objective objective;
    vq_granularity per;
} vq_part;

typedef struct vq_recipe {
    char name[64], about[128];
    vq_flow flow;
    int rounds; /* times that weights and inputs of a layer are searched anew, each with the other's result */
    int rows;   /* of a layer's output that count in a search by output, evenly spaced; 0: all */
    vq_part weight; /* one quantizer per row */
    vq_part input;  /* of linear layers, but for those below */
    vq_part norm;   /* output of a LayerNorm, per channel, before reparameterization */
    vq_part qk, value, softmax, gelu;
    vq_reparam reparam;
    vq_rounding rounding;
    int rounding_ranges;   /* of every row of weights that GPTQ tries */
    int rounding_sweeps;   /* of coordinate descent behind GPTQ */
    double prefix_weight;  /* rows of the Gram matrix that a class token's counts as, for GPTQ */
    double damping;        /* of the Gram matrix in GPTQ, as a share of its mean diagonal */
    bool bias_correction;  /* the mean of every output is what it was before the layer itself was quantized */
    bool migrate_value;    /* the scales of V's channels become those of the channels that proj reads */
    bool rotate_value;     /* V is rotated within each head, proj back: exact, and evens out its channels */
} vq_recipe;

/* name is that of a built-in recipe, NULL for the default, or the path of a JSON file (it ends in ".json"). parts may be
 * NULL or change single parts: "softmax.quantizer=tanq,reparam=mosf". Unknown names, keys and values fail with a line
 * that lists those there are. */
vq_status vq_recipe_read(vq_recipe *out, const char *name, const char *parts);
/* Turns every full and fpcs search of the recipe into the one named; NULL changes nothing. */
vq_status vq_recipe_set_search(vq_recipe *r, const char *search);

#endif
