/* LayerNorm scale reparameterization, RepQ-ViT (arXiv 2212.08254) section 3.2. */
#ifndef VQ_SRC_REPARAM_H
#define VQ_SRC_REPARAM_H

#include "calib/recipe.h"
#include "cl/cl.h"
#include "quant/quant.h"

/* Turns the channel-wise quantizer (s_c, z_c) of a LayerNorm's output into one per-tensor quantizer (s~, z~) without
 * changing the float model:
 *     s~ = mean s_c, z~ = mean z_c (rounded to an integer unless fractional), r1 = s / s~, r2 = z - z~
 * or with the medians of both, DopQ-ViT's median optimal scaling factor (arXiv 2408.03291), where how is MOSF (of an even
 * number the mean of the two in the middle).
 *     gamma~ = gamma / r1,  beta~ = (beta + s r2) / r1,  W~[o][c] = W[o][c] r1[c],  b~[o] = b[o] - sum_c W[o][c] s_c
 * r2_c channelwise: groups == width, replaced by the per-tensor quantizer. gamma, beta [width] and bias [n] are changed
 * in place on the host, weight f32 [n][width] in place on the device. */
vq_status vq_reparam_layernorm(vq_device *dev, vq_reparam how, vq_quantizer *channelwise, bool fractional, float *gamma,
                               float *beta, const vq_buf *weight, float *bias, int n, int width);

/* out[o] = sum_c W[o][c] v[c] for a device matrix f32 [n][width] and host vectors v [width], out [n]. Blocks. */
vq_status vq_matrix_vector(vq_device *dev, const vq_buf *weight, const float *v, float *out, int n, int width);

#endif
