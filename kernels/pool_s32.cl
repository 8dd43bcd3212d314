/* pool_s32: one work-item per column. Grid: (C / VQ_P0, images, parts). */
#include "pool_s32.h"

static int mean_at(__global const int *x, int rows, int c, int first, int count, int column)
{
    __global const int *const from = x + ((size_t)get_group_id(1) * rows + first) * c + column;
    int high = 0;
    uint low = 0;
    for (int r = 0; r < count; r++) {
        const int v = from[(size_t)r * c];
        high += v >> 16;
        low += (uint)v & 0xffff;
    }
    return mean_of(high, low, count);
}

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void
#define COLUMN()                                                   \
    const int column = (int)get_global_id(0);                      \
    const int part = (int)get_group_id(2);                         \
    const size_t to = get_group_id(1) * (size_t)ld_out + part * (size_t)c + column; \
    if (column >= c) return;                                       \
    const int mean = mean_at(x, rows, c, part ? first1 : first0, part ? count1 : count0, column)

OP pool_s32_set(POOL_ARGS(int))
{
    COLUMN();
    out[to] = mean;
}

OP pool_s32_codes(POOL_ARGS(uchar), int mult, int shift, int zero, int code_max)
{
    COLUMN();
    out[to] = code_of(mean, mult, shift, zero, code_max);
}
