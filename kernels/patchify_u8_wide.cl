/* patchify_u8 for CPUs: one work-item per row of out. With three channels, 16 pixels at a time are taken apart by
 * shuffles. Grid: (rows), work-groups of one. */

#include "channels_u8.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void patchify_u8(__global const uchar *image,
                                                                         __global uchar *out, int rows, int height,
                                                                         int width, int chans, int patch, int ld_out)
{
    const int row = (int)get_group_id(0), across = width / patch, down = height / patch;
    const int b = row / (across * down), py = row / across % down, px = row % across, area = patch * patch;
    __global uchar *const to = out + (size_t)row * ld_out;
    for (int y = 0; y < patch; y++) {
        __global const uchar *const from = image + (((size_t)b * height + py * patch + y) * width + px * patch) * chans;
        __global uchar *const line = to + y * patch;
        int x = 0;
        if (chans == 3) {
            for (; x + 16 <= patch; x += 16) {
                const channels at = channels_of(from + 3 * x);
                STORE_AT(uchar16, line + x) = at.c0;
                STORE_AT(uchar16, line + area + x) = at.c1;
                STORE_AT(uchar16, line + 2 * area + x) = at.c2;
            }
        }
        for (; x < patch; x++)
            for (int c = 0; c < chans; c++) line[c * area + x] = from[x * chans + c];
    }
    for (int col = chans * area; col < ld_out; col++) to[col] = 0;
}
