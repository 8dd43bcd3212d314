/* Stages of a batch, lane by lane. */
#include "run/lanes.h"

vq_lane_share vq_lane_share_of(int lane, int lanes, int batch)
{
    const int first = VQ_CEIL_DIV(lane * batch, lanes);
    return (vq_lane_share){first, VQ_CEIL_DIV((lane + 1) * batch, lanes) - first};
}

int vq_lanes_of(const vq_device *dev, int wanted)
{
    const int all = vq_device_lanes(dev);
    return wanted ? VQ_MIN(wanted, all) : all;
}

static vq_status run_stages(vq_device *dev, int lanes, int batch, vq_lane_fn fn, void *user)
{
    for (int stage = VQ_LANE_INPUT; stage <= VQ_LANE_OUTPUT; stage++)
        for (int l = 0; l < lanes; l++) {
            const vq_lane_share share = vq_lane_share_of(l, lanes, batch);
            if (!share.count) continue;
            vq_lane_enter(dev, l);
            VQ_TRY(fn(user, (vq_lane_stage)stage, l, share));
        }
    return VQ_OK;
}

vq_status vq_lanes_run(vq_device *dev, int lanes, int batch, vq_lane_fn fn, void *user)
{
    const vq_status status = run_stages(dev, lanes, batch, fn, user);
    vq_lane_enter(dev, 0);
    if (status != VQ_OK) vq_device_finish(dev);
    return status;
}
