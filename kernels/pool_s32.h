/* What the variants of pool_s32 share. */
#ifndef POOL_S32_H
#define POOL_S32_H

#include "vq_int.h"

/* first, count: rows of the first part, of the second. */
#define POOL_ARGS(T)                                                                                               \
    __global const int *x, int rows, int c, int first0, int count0, int first1, int count1, __global T *out, int ld_out

/* Sums of the low and of the high halves (both fit: at most 4095 rows) to the mean. */
static int mean_of(int high, uint low, int count)
{
    const long a = 2 * ((long)high * 65536 + low) + count, b = 2L * count, q = a / b;
    return (int)(q - (a - q * b < 0));
}

static uchar code_of(int mean, int mult, int shift, int zero, int code_max)
{
    return (uchar)clamp((long)vq_requant(mean, mult, shift) + zero, 0L, (long)code_max);
}

#endif
