/* Families of non-uniform quantizers. Each gives levels over u = x / top >= 0; everything else (thresholds, integer
 * decode values, offsets) is made from that by codebook.c, so a device never sees anything but a codebook. */
#ifndef VQ_SRC_QUANT_CODEBOOK_H
#define VQ_SRC_QUANT_CODEBOOK_H

#include "quant/quant.h"

enum { VQ_SHAPE_MAX = 2, VQ_CODEBOOK_TOP = 65535 };

/* A shape parameter as searches try it: count values from lo to hi, evenly spaced. */
typedef struct vq_codebook_axis {
    const char *name; /* NULL: the family has no such parameter */
    float lo, hi;
    int count;
    bool whole; /* only integers have a meaning */
} vq_codebook_axis;

typedef struct vq_codebook_family {
    const char *name, *about;
    /* Level 0 .. levels-1 of u, never falling as u grows; levels-1 for u >= 1. */
    int (*level)(float u, const float shape[VQ_SHAPE_MAX], int levels);
    /* What the level stands for, 0..1, never falling; 1 for the last. */
    double (*value)(int level, const float shape[VQ_SHAPE_MAX], int levels);
    /* The integer that 1 decodes to, at most VQ_CODEBOOK_TOP; NULL: that. */
    int (*top)(int levels);
    vq_codebook_axis axis[VQ_SHAPE_MAX];
    /* The lowest level takes everything down to zero and value() makes it an exact zero: searches may fit it to what it
     * holds instead. */
    bool lowest_is_rest;
} vq_codebook_family;

/* NULL where no family has this name. */
const vq_codebook_family *vq_codebook_find(const char *name);
/* The i-th family, NULL past the last. */
const vq_codebook_family *vq_codebook_family_at(int i);

#define VQ_CODEBOOK(name) extern const vq_codebook_family vq_codebook_##name##_family;
#include "quant/codebooks.def"
#undef VQ_CODEBOOK

/* The quantizer of one group with 2^bits levels (one more where extra_level: imitations of official code) for values
 * x >= -offset: level and value are those of u = (x + offset) / top. top > 0 and offset >= 0 finite. */
vq_status vq_codebook_create(vq_quantizer *out, const vq_codebook_family *family, int bits, bool extra_level, float top,
                             float offset, const float shape[VQ_SHAPE_MAX]);

#endif
