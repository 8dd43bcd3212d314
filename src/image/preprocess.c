/* Resize and crop as timm's evaluation transform, with torchvision's rounding. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "image/pixels.h"

enum { MAX_INPUT_SIDE = 8192 }; /* of a model */

/* torchvision.Resize(size): the shorter side becomes size, the longer int(size * long / short). */
static void resize_shorter(int64_t *height, int64_t *width, const vq_pixels *p, int64_t size)
{
    if (p->width <= p->height) {
        *width = size;
        *height = (int64_t)((double)(size * p->height) / p->width);
    } else {
        *height = size;
        *width = (int64_t)((double)(size * p->width) / p->height);
    }
}

/* timm's ResizeKeepRatio: one ratio for both sides, so that the image covers (or, whole, fits into) height x width. */
static void resize_keep_ratio(int64_t *height, int64_t *width, const vq_pixels *p, bool whole)
{
    const double h = p->height / (double)*height, w = p->width / (double)*width;
    const double ratio = whole ? fmax(h, w) : fmin(h, w);
    *height = (int64_t)rint(p->height / ratio);
    *width = (int64_t)rint(p->width / ratio);
}

/* floor(size / crop_pct) for the decimal number that the config spells: 0.8f lies above 0.8 and would give one less. */
static int64_t scaled_size(int size, float crop_pct)
{
    const double decimal = rint((double)crop_pct * 1e6) / 1e6;
    return (int64_t)floor(size / ((float)decimal == crop_pct ? decimal : (double)crop_pct));
}

static void resized_size(int64_t *height, int64_t *width, const vq_preprocess *pre, const vq_pixels *p)
{
    *height = scaled_size(pre->height, pre->crop_pct);
    *width = scaled_size(pre->width, pre->crop_pct);
    if (pre->crop_mode == VQ_CROP_SQUASH) return;
    if (pre->crop_mode == VQ_CROP_CENTER && *height == *width)
        resize_shorter(height, width, p, *height);
    else
        resize_keep_ratio(height, width, p, pre->crop_mode == VQ_CROP_BORDER);
    *height = VQ_MAX(*height, 1);
    *width = VQ_MAX(*width, 1);
}

/* The centred window of a side after resizing from in to out pixels: where it is longer, from int(round((out -
 * window)/2.0)) on in Python's rounding (ties to even) or rounded down; where it is shorter, all of it behind (window -
 * out) / 2 pixels of padding. */
static vq_side center_window(int *padding, int in, int64_t out, int window, bool down)
{
    vq_side side = {.in = in, .out = out, .count = (int)VQ_MIN(out, (int64_t)window)};
    *padding = (window - side.count) / 2;
    if (out > window) side.first = down ? (out - window) / 2 : (int64_t)rint((double)(out - window) / 2.0);
    return side;
}

/* What lies outside the image is the mean colour in border mode, black else. */
static void fill_padding(uint8_t *out, const vq_preprocess *pre)
{
    const size_t count = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    uint8_t color[3] = {0};
    for (int c = 0; c < pre->chans && pre->crop_mode == VQ_CROP_BORDER; c++)
        color[c] = (uint8_t)fmin(fmax(rint(255.0 * pre->mean[c]), 0), 255);
    for (size_t i = 0; i < count; i++) out[i] = color[i % (size_t)pre->chans];
}

static vq_status check_preprocess(const vq_preprocess *pre)
{
    if ((pre->chans != 1 && pre->chans != 3) || pre->height < 1 || pre->width < 1 || pre->height > MAX_INPUT_SIDE ||
        pre->width > MAX_INPUT_SIDE || !(pre->crop_pct >= 0.01f && pre->crop_pct <= 1.0f))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "preprocessing to %d x %d pixels of %d channels with crop_pct %g: needs sides 1 to %d, 1 or 3 "
                       "channels, crop_pct 0.01 to 1",
                       pre->width, pre->height, pre->chans, (double)pre->crop_pct, MAX_INPUT_SIDE);
    return VQ_OK;
}

vq_status vq_preprocess_pixels(uint8_t *out, const vq_preprocess *pre, vq_pixels *p, const char *name)
{
    vq_pixels resized = {0};
    int64_t height, width;
    int above, left;
    vq_status status = VQ_OK;
    VQ_GO(check_preprocess(pre));
    if (pre->chans == 1)
        vq_pixels_to_grey(p);
    else
        VQ_GO(vq_pixels_to_rgb(p, name));
    resized_size(&height, &width, pre, p);
    const vq_side rows = center_window(&above, p->height, height, pre->height, pre->crop_floor);
    const vq_side columns = center_window(&left, p->width, width, pre->width, pre->crop_floor);
    VQ_GO(vq_resize(&resized, p, &rows, &columns, pre->resample));
    fill_padding(out, pre);
    const size_t chans = (size_t)pre->chans, bytes = (size_t)resized.width * chans;
    for (int y = 0; y < resized.height; y++)
        memcpy(out + ((size_t)(above + y) * (size_t)pre->width + (size_t)left) * chans,
               resized.data + (size_t)y * bytes, bytes);
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
