/* The sum over a work-group of VQ_P0 (a power of two) work-items, by a tree of fixed shape. SUM_TYPE: of what, float
 * unless defined before. */
#ifndef SUM_OF_GROUP_H
#define SUM_OF_GROUP_H

#include "vq_local.h"

#ifndef SUM_TYPE
#define SUM_TYPE float
#endif

/* value of every item, added up; every item gets the sum. part: [VQ_P0], free again on return. */
VQ_LOCAL_FUNCTION SUM_TYPE sum_of_group(__local SUM_TYPE *part, SUM_TYPE value)
{
    const int item = (int)get_local_id(0);
    part[item] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int half_size = VQ_P0 / 2; half_size; half_size /= 2) {
        if (item < half_size) part[item] += part[item + half_size];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const SUM_TYPE sum = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

#endif
