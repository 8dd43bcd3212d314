/* Resize and crop as timm's evaluation transform, with torchvision's rounding. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "image/pixels.h"

/* torchvision.Resize(size): the shorter side becomes size, the longer int(size * long / short). */
static void resize_shorter(int *height, int *width, const vq_pixels *p, int size)
{
    if (p->width <= p->height) {
        *width = size;
        *height = (int)((double)size * p->height / p->width);
    } else {
        *height = size;
        *width = (int)((double)size * p->width / p->height);
    }
}

/* timm's ResizeKeepRatio: one ratio for both sides, so that the image covers (or, whole, fits into) height x width. */
static void resize_keep_ratio(int *height, int *width, const vq_pixels *p, bool whole)
{
    const double h = (double)p->height / *height, w = (double)p->width / *width;
    const double ratio = whole ? fmax(h, w) : fmin(h, w);
    *height = (int)rint(p->height / ratio);
    *width = (int)rint(p->width / ratio);
}

static void resized_size(int *height, int *width, const vq_preprocess *pre, const vq_pixels *p)
{
    *height = (int)floor(pre->height / (double)pre->crop_pct);
    *width = (int)floor(pre->width / (double)pre->crop_pct);
    if (pre->crop_mode == VQ_CROP_SQUASH) return;
    if (pre->crop_mode == VQ_CROP_CENTER && *height == *width)
        resize_shorter(height, width, p, *height);
    else
        resize_keep_ratio(height, width, p, pre->crop_mode == VQ_CROP_BORDER);
    *height = VQ_MAX(*height, 1);
    *width = VQ_MAX(*width, 1);
}

/* Offset of a centred window, int(round((size - window) / 2.0)) in Python: ties to even; negative where padding is due.
 */
static int center_offset(int size, int window)
{
    return (int)rint((size - window) / 2.0);
}

/* What lies outside the image is the mean colour in border mode, black else. */
static void crop_center(uint8_t *out, const vq_preprocess *pre, const vq_pixels *p)
{
    const int top = center_offset(p->height, pre->height), left = center_offset(p->width, pre->width);
    for (int y = 0; y < pre->height; y++)
        for (int x = 0; x < pre->width; x++)
            for (int c = 0; c < pre->chans; c++) {
                const int sy = y + top, sx = x + left;
                const bool inside = sy >= 0 && sy < p->height && sx >= 0 && sx < p->width;
                const uint8_t fill =
                    pre->crop_mode == VQ_CROP_BORDER ? (uint8_t)fmin(fmax(rint(255.0 * pre->mean[c]), 0), 255) : 0;
                *out++ = inside ? p->data[((size_t)sy * (size_t)p->width + (size_t)sx) * (size_t)p->chans + (size_t)c]
                                : fill;
            }
}

vq_status vq_preprocess_pixels(uint8_t *out, const vq_preprocess *pre, vq_pixels *p, const char *name)
{
    vq_pixels resized = {0};
    int height, width;
    vq_status status = VQ_OK;
    if (pre->chans == 1)
        vq_pixels_to_grey(p);
    else
        VQ_GO(vq_pixels_to_rgb(p, name));
    resized_size(&height, &width, pre, p);
    if ((size_t)height > VQ_MAX_PIXELS / (size_t)width)
        VQ_GO(vq_fail(VQ_ERR_UNSUPPORTED, "%s: %d x %d pixels are too far from square to resize", name, p->width,
                      p->height));
    VQ_GO(vq_resize(&resized, p, height, width, pre->resample));
    crop_center(out, pre, &resized);
done:
    free(resized.data);
    free(p->data);
    *p = (vq_pixels){0};
    return status;
}

vq_status vq_image_decode(uint8_t *pixels, const vq_preprocess *pre, const char *name, const void *data, size_t bytes)
{
    vq_pixels p;
    if (!pixels || !pre || !name || (!data && bytes))
        return vq_fail(VQ_ERR_INVALID_ARG, "vq_image_decode: NULL argument");
    VQ_TRY(vq_decode(&p, name, data, bytes));
    return vq_preprocess_pixels(pixels, pre, &p, name);
}

vq_status vq_image_load(uint8_t *pixels, const vq_preprocess *pre, const char *path)
{
    vq_file_map map;
    if (!pixels || !pre || !path) return vq_fail(VQ_ERR_INVALID_ARG, "vq_image_load: NULL argument");
    VQ_TRY(vq_file_map_open(&map, path));
    const vq_status status = vq_image_decode(pixels, pre, path, map.data, map.bytes);
    vq_file_map_close(&map);
    return status;
}
