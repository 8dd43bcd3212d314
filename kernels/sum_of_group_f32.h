/* The sum over a work-group of VQ_P0 (a power of two) work-items, by a tree of fixed shape. */
#ifndef SUM_OF_GROUP_F32_H
#define SUM_OF_GROUP_F32_H

#include "vq_local.h"

/* value of every item, added up; every item gets the sum. part: [VQ_P0], free again on return. */
VQ_LOCAL_FUNCTION float sum_of_group(__local float *part, float value)
{
    const int item = (int)get_local_id(0);
    part[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = VQ_P0 / 2; half_size; half_size /= 2) {
        if (item < half_size) part[item] += part[item + half_size];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float sum = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

#endif
