/* Exact rewrites of the float model that make it easier to quantize. */
#ifndef VQ_SRC_TRANSFORM_H
#define VQ_SRC_TRANSFORM_H

#include "calib/calibration.h"

/* The graph of c->source with what its recipe asks for, NULL where that is nothing:
 *   rotate_value: V of every head times an orthogonal matrix, the weights of the linear behind the attention times its
 *     inverse. Every channel then is a mixture of all: none stands out.
 *   migrate_value: every channel of V divided by its share r_c = s_c / mean s of the scales that the output of the
 *     attention needs channel by channel, the weights behind times r_c: one scale fits all. The scales are searched on
 *     the samples, in a run of the float model.
 * Attention is linear in V, so both change nothing but roundings. */
vq_status vq_rewrite_graph(vq_graph **out, const vq_calibration *c);

#endif
