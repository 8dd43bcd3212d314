/* Shares the images of a batch among the lanes of a device (cl/cl.h). */
#ifndef VQ_SRC_LANES_H
#define VQ_SRC_LANES_H

#include "cl/cl.h"

typedef struct vq_lane_share {
    int first, count; /* images */
} vq_lane_share;

/* Of lane 0..lanes-1; shares differ by one image at most, and none is larger than lane 0's. */
vq_lane_share vq_lane_share_of(int lane, int lanes, int batch);

typedef enum vq_lane_stage { VQ_LANE_INPUT, VQ_LANE_RUN, VQ_LANE_OUTPUT } vq_lane_stage;
typedef vq_status (*vq_lane_fn)(void *user, vq_lane_stage stage, int lane, vq_lane_share share);

/* How many lanes share batches on the device where `wanted` are asked for; 0: as many as it has. */
int vq_lanes_of(const vq_device *dev, int wanted);

/* Calls fn inside every lane that has images: INPUT for all lanes, then RUN, which only enqueues, then OUTPUT. After a
 * failure nothing is left running. */
vq_status vq_lanes_run(vq_device *dev, int lanes, int batch, vq_lane_fn fn, void *user);

#endif
