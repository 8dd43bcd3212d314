/* Searches for quantizer parameters. Order statistics and errors are computed on the device; the host sees a few numbers
 * per group and candidate. */
#ifndef VQ_SRC_SEARCH_H
#define VQ_SRC_SEARCH_H

#include "calib/score.h"

/* Uniform quantizer of every group of s->x; q has granularity, groups and levels set (vq_quantizer_uniform), its scale
 * and zero are filled.
 * minmax: from the smallest to the largest element.
 * percentile (RepQ-ViT's official code): for p in .999, .9999, .99999 the range from quantile 1 - p to quantile p (linear
 * interpolation at rank p (n - 1), float32 arithmetic), the first with the smallest error.
 * fpcs (AdaLog, section 3.4): 128 pairs of a scale from (q90 - q10) to (max - min), over levels - 1, and a whole zero
 * point; of the 16 best, eight finer scales each, five times over. Unlike the official code's, the best pair of an
 * earlier round is never lost, and from 5 bits on, where 16 zero points cannot cover all, they lie about those of the
 * data instead of the middle.
 * full: the same zero points with 128 scales each. */
vq_status vq_search_uniform(const vq_score *s, vq_search how, bool weights, vq_quantizer *q);

/* What a codebook is searched for. */
typedef struct vq_codebook_task {
    const vq_codebook_family *family;
    vq_search search;
    int bits;
    bool extra_level; /* imitate official code: 2^bits + 1 levels, the lowest an exact zero */
    bool probability; /* values are 0..1, as softmax gives */
    float offset;     /* added before encoding, so that no value is negative */
} vq_codebook_task;

/* Codebook for s->x, one group; out is created.
 * The largest value is 1 for probabilities (AdaLog), of others one of 16 between the quantiles .9 and 1 of the positive
 * ones (AdaLog, section 3.3); percentile searches take one of RepQ-ViT's three instead, minmax the largest, full all of
 * these. Shape parameters are tried on their grid; full tries every pair with every top, fpcs as AdaLog's official code
 * does (shapes with the last top but one, the best 8 with every top, then finer tops about the best 32).
 * Where the family's lowest level is what is left over, it stands for the mean of what it holds. */
vq_status vq_search_codebook(const vq_score *s, const vq_codebook_task *task, vq_quantizer *out);

#endif
