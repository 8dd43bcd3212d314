/* What a search makes small: the error of candidate quantizers, computed on the device. */
#ifndef VQ_SRC_SCORE_H
#define VQ_SRC_SCORE_H

#include "calib/recipe.h"
#include "calib/store.h"
#include "quant/quant.h"

/* A tensor and how its error counts. errors are comparable between candidates of one score only. */
typedef struct vq_score vq_score;
struct vq_score {
    vq_device *dev;
    vq_groups groups; /* of the tensor: each has its own candidates and its own errors */
    vq_rows *x;
    vq_groups all; /* x, of whose groups the ones from `first` on are those of the score */
    int first;
    /* error [groups][num] of uniform candidates, host arrays scale and zero [groups][num] */
    vq_status (*uniform)(const vq_score *s, const float *scale, const float *zero, int num, int levels, double *error);
    /* error [num] of codebooks with the same number of levels; groups.groups == 1 */
    vq_status (*codebook)(const vq_score *s, const vq_quantizer *candidates, int num, double *error);
    bool cosine; /* codebooks' errors are no quadratic function of their values */
    void *layer; /* of scores by a layer's output */
};

/* Mean squared error of the tensor itself. */
vq_score vq_score_of_tensor(vq_device *dev, const vq_groups *groups, vq_rows *x);
/* A tensor that lies in one buffer. */
static inline vq_rows vq_rows_of(vq_device *dev, const vq_buf *whole)
{
    return (vq_rows){.dev = dev, .whole = whole};
}

/* A fresh buffer with evenly spaced rows of x f32 [rows][cols], as many as keep the scoring of a codebook of so many
 * levels, which costs elements x levels, within bounds (2^24 per candidate, but at least 64 rows); *out_rows of them.
 * Searches among hundreds of codebooks need no more of a tensor of millions of elements. */
vq_status vq_sample_rows(vq_buf **out, int *out_rows, vq_device *dev, const vq_rows *x, int rows, int cols, int levels);

#endif
