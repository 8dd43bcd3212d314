/* Witness of patchify_u8. */
#include "ref/ref_int.h"

#include <string.h>

void vq_ref_patchify_u8(const vq_patchify_shape *shape, const uint8_t *image, uint8_t *out, int ld_out)
{
    const size_t h = (size_t)shape->height, w = (size_t)shape->width, chans = (size_t)shape->chans;
    const size_t patch = (size_t)shape->patch;
    uint8_t *row = out;
    for (size_t b = 0; b < (size_t)shape->batch; b++)
        for (size_t py = 0; py < h; py += patch)
            for (size_t px = 0; px < w; px += patch) {
                uint8_t *code = row;
                memset(row, 0, (size_t)ld_out);
                for (size_t c = 0; c < chans; c++)
                    for (size_t y = py; y < py + patch; y++)
                        for (size_t x = px; x < px + patch; x++) *code++ = image[((b * h + y) * w + x) * chans + c];
                row += ld_out;
            }
}
