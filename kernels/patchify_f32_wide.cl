/* patchify_f32 for CPUs: one work-item per row of out. With three channels, 16 pixels at a time are taken apart by
 * shuffles. Grid: (1, patches, images), work-groups of one. */
#include "channels_u8.h"

#define FLOATS(v) __builtin_convertvector(v, float16)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void patchify_f32(__global const uchar *image,
                                                                          __global float *out, int height, int width,
                                                                          int chans, int patch)
{
    const int across = width / patch, area = patch * patch, at = (int)get_group_id(1);
    const int py = at / across, px = at % across;
    const size_t b = get_group_id(2), row = b * get_num_groups(1) + at;
    __global float *const to = out + row * chans * area;
    for (int y = 0; y < patch; y++) {
        __global const uchar *const from = image + ((b * height + py * patch + y) * width + px * patch) * chans;
        __global float *const line = to + y * patch;
        int x = 0;
        if (chans == 3) {
            for (; x + 16 <= patch; x += 16) {
                const channels pixel = channels_of(from + 3 * x);
                STORE_AT(float16, line + x) = FLOATS(pixel.c0);
                STORE_AT(float16, line + area + x) = FLOATS(pixel.c1);
                STORE_AT(float16, line + 2 * area + x) = FLOATS(pixel.c2);
            }
        }
        for (; x < patch; x++)
            for (int c = 0; c < chans; c++) line[c * area + x] = from[x * chans + c];
    }
}
