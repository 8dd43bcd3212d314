/* Pixels between decoding and the model, inside src/image. */
#ifndef VQ_SRC_PIXELS_H
#define VQ_SRC_PIXELS_H

#include "base/base.h"
#include "vitq/image.h"

/* u8, rows dense, channels interleaved. data is owned: free() releases it. */
typedef struct vq_pixels {
    int height, width, chans;
    uint8_t *data;
} vq_pixels;

/* Of one image; refused before anything is allocated. */
#define VQ_MAX_PIXELS ((size_t)1 << 28)
#define VQ_MAX_SIDE   ((size_t)1 << 18)

/* PNG or JPEG to RGB as Pillow's convert("RGB"): alpha dropped, palettes and grey expanded, the high byte of 16 bits,
 * CMYK through Pillow's formula. A file whose size cannot hold its pixels is refused before they are allocated. */
vq_status vq_decode(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes);
vq_status vq_decode_png(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes);
vq_status vq_decode_jpeg(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes);

/* RGB to one channel as Pillow's convert("L"), in place; nothing to do for one channel. */
void vq_pixels_to_grey(vq_pixels *p);
/* One channel to three equal ones. */
vq_status vq_pixels_to_rgb(vq_pixels *p, const char *name);

/* One side of a resize: `in` pixels become `out`, of which `count` from `first` on are wanted. Needs in, out, count >=
 * 1, first >= 0, first + count <= out. */
typedef struct vq_side {
    int in, count;
    int64_t out, first;
} vq_side;

/* The wanted part of Pillow's antialiased resize, equal to the bit; a side that does not change is not filtered. */
vq_status vq_resize(vq_pixels *out, const vq_pixels *in, const vq_side *rows, const vq_side *columns,
                    vq_resample filter);

/* Resize and crop of decoded pixels as the config asks, into u8 [height][width][chans]. p is used up. */
vq_status vq_preprocess_pixels(uint8_t *out, const vq_preprocess *pre, vq_pixels *p, const char *name);

/* An IDX file of u8, plain or gzip, whole in memory. */
typedef struct vq_idx {
    int num_dims;
    size_t dims[3]; /* count, and for images height and width */
    uint8_t *data;
} vq_idx;
vq_status vq_idx_read(vq_idx *out, const char *path);
/* The same from memory (not gzip), for tests and fuzzing. */
vq_status vq_idx_parse(vq_idx *out, const char *name, const uint8_t *data, size_t bytes);
/* Whether a file starts like an IDX file of u8 (gzip looked through). */
bool vq_idx_is(const char *path);

#endif
