/* pool_s32 for CPUs: one work-item takes VQ_P0 columns, 16 at a time. Grid: (C / VQ_P0, images, parts), work-groups of
 * one. */
#include "pool_s32.h"
#include "vq_vector.h"

/* Means of 16 columns, or of the last `left` ones. */
static void means(int *mean, __global const int *from, int c, int count, int left)
{
    int high[16] __attribute__((aligned(64)));
    uint low[16] __attribute__((aligned(64)));
    int16 h = 0, l = 0;
    if (left >= 16) {
        for (int r = 0; r < count; r++) {
            const int16 v = LOAD_AT(int16, from + (size_t)r * c);
            h += v >> 16;
            l += v & 0xffff;
        }
        *(int16 *)high = h;
        *(uint16 *)low = as_uint16(l);
    } else {
        for (int i = 0; i < left; i++) {
            high[i] = 0;
            low[i] = 0;
            for (int r = 0; r < count; r++) {
                const int v = from[(size_t)r * c + i];
                high[i] += v >> 16;
                low[i] += (uint)v & 0xffff;
            }
        }
    }
    for (int i = 0; i < min(left, 16); i++) mean[i] = mean_of(high[i], low[i], count);
}

#define OP __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
#define FOR_COLUMNS(STORE)                                                                                    \
    const int part = (int)get_group_id(2), first = part ? first1 : first0, count = part ? count1 : count0;   \
    const int begin = (int)get_group_id(0) * VQ_P0, end = min(begin + VQ_P0, c);                              \
    const size_t row = get_group_id(1) * (size_t)ld_out + part * (size_t)c;                                   \
    for (int i = begin; i < end; i += 16) {                                                                   \
        int mean[16];                                                                                         \
        means(mean, x + (get_group_id(1) * (size_t)rows + first) * c + i, c, count, end - i);                 \
        for (int j = 0; j < min(end - i, 16); j++) out[row + i + j] = STORE;                                  \
    }

OP pool_s32_set(POOL_ARGS(int))
{
    FOR_COLUMNS(mean[j])
}

OP pool_s32_codes(POOL_ARGS(uchar), int mult, int shift, int zero, int code_max)
{
    FOR_COLUMNS(code_of(mean[j], mult, shift, zero, code_max))
}
