/* Searches for quantizer parameters by the error of the tensor itself. Order statistics and errors are computed on the
 * device; the host sees a few numbers per group. */
#ifndef VQ_SRC_SEARCH_H
#define VQ_SRC_SEARCH_H

#include "calib/recipe.h"
#include "cl/cl.h"
#include "quant/quant.h"

/* Uniform quantizer of every group of x; q has granularity, groups and levels set (vq_quantizer_uniform), its scale and
 * zero are filled. Percentile search as RepQ-ViT's official code: for p in .999, .9999, .99999 the range from quantile
 * 1 - p to quantile p (linear interpolation at rank p (n - 1), float32 arithmetic), the first with the smallest squared
 * error. */
vq_status vq_search_uniform(vq_device *dev, vq_range_search how, const vq_groups *g, const vq_buf *x, vq_quantizer *q);

/* Quantizer for softmax output x of count elements, one group; out is created as a codebook. For log-sqrt2 its delta is
 * the quantile of the three with the smallest squared error, and its lowest level stands for the mean of what it holds
 * (exactly zero where that is nothing); official: 2^bits + 1 levels, the lowest an exact zero. */
vq_status vq_search_softmax(vq_device *dev, vq_softmax_quantizer kind, vq_range_search how, size_t count,
                            const vq_buf *x, int bits, bool official, vq_quantizer *out);

#endif
