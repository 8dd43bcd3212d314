/* Any bytes as a photo, through both ways of preprocessing. */
#include "fuzz.h"
#include "vitq/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const vq_preprocess ways[] = {
        {.chans = 3, .height = 16, .width = 16, .crop_pct = 0.875f},
        {.chans = 1,
         .height = 8,
         .width = 12,
         .crop_pct = 1,
         .resample = VQ_RESAMPLE_BILINEAR,
         .crop_mode = VQ_CROP_BORDER},
    };
    uint8_t pixels[16 * 16 * 3];
    fuzz_quiet();
    for (int i = 0; i < 2; i++)
        if (vq_image_decode(pixels, &ways[i], "input", data, bytes) == VQ_OK)
            fuzz_touch(pixels, (size_t)(ways[i].height * ways[i].width * ways[i].chans));
    return 0;
}
