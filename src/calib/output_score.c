#include "calib/output_score.h"

vq_score vq_score_of_output(vq_device *dev, const vq_groups *groups, const vq_buf *x, const vq_output_layer *layer)
{
    vq_score s = vq_score_of_tensor(dev, groups, x);
    s.layer = layer;
    return s;
}
