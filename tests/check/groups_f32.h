/* How quantizers' groups lie in tensors, for the checks of the quantization ops: one group, rows of a weight, channels,
 * heads inside a row, heads of scores; with and without whole vectors. */
#ifndef VQ_CHECK_GROUPS_F32_H
#define VQ_CHECK_GROUPS_F32_H

#include "base/float_ops.h"

static const vq_groups check_groups[] = {
    {1, 1, 1},
    {17, 17, 1},
    {4096 + 19, 4096 + 19, 1},
    {5 * 193, 193, 5},
    {3 * 64 * 7, 64, 3},
    {2 * 3 * 17 * 17, 17 * 17, 3},
    {13 * 16, 1, 16},
    {300 * 19, 1, 19},
    {2 * 37, 1, 37},
    {3 * 5 * 2 * 4, 2, 5},
    {768 * 192, 192, 768},
    {1576 * 192, 1, 192},
    {3 * 197 * 197, 3 * 197 * 197, 1},
};

#endif
