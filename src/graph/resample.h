/* Resizing a position embedding when a model takes images of another size than it was trained with. */
#ifndef VQ_SRC_GRAPH_RESAMPLE_H
#define VQ_SRC_GRAPH_RESAMPLE_H

#include "base/base.h"

/* in [side][side][dim] to out [height][width][dim] by bicubic interpolation, as torch.nn.functional.interpolate does with
 * align_corners=False: with antialias (what timm asks for) Keys' kernel with a = -0.5, stretched where it shrinks; without (what
 * transformers asks for) a = -0.75 on four points, with repeated borders. */
vq_status vq_resample_embedding(float *out, const float *in, int side, int dim, int height, int width, bool antialias);

#endif
