/* vitq tier 1: photos and IDX files to pixels, preprocessed as the model's config asks. */
#ifndef VITQ_IMAGE_H
#define VITQ_IMAGE_H

#include "vitq/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vq_resample { VQ_RESAMPLE_BICUBIC, VQ_RESAMPLE_BILINEAR } vq_resample;
typedef enum vq_crop_mode { VQ_CROP_CENTER, VQ_CROP_SQUASH, VQ_CROP_BORDER } vq_crop_mode;

/* How a photo becomes the model's input: decoded as Pillow's convert("RGB") (or "L" for chans 1), the shorter side resized
 * to floor(size / crop_pct) with Pillow's antialiased filter, centre crop, all on u8 and equal to Pillow to the bit:
 * the horizontal pass first, as every Pillow before 13 (which takes the vertical pass first for some tall images).
 * crop_mode: CENTER as above; SQUASH resizes each side to floor(side / crop_pct), whatever the aspect ratio; BORDER makes
 * the whole image fit and pads with the mean colour. EXIF orientation, gamma and colour profiles are not applied.
 * Normalization, (u8/255 - mean) / std, is part of the model, not of the pixels. */
typedef struct vq_preprocess {
    int chans;          /* 1 or 3 */
    int height, width;  /* of the model's input */
    float crop_pct;     /* (0, 1] */
    vq_resample resample;
    vq_crop_mode crop_mode;
    bool crop_floor;    /* where the crop begins when the surplus is odd: rounded down, as transformers does; else to even,
                           as torchvision */
    float mean[3], std[3];
} vq_preprocess;

/* Decodes a PNG or JPEG in memory and preprocesses it into pixels u8 [height][width][chans]. name is used in messages.
 * Fails with VQ_ERR_FORMAT for anything that is not a whole PNG or JPEG. Thread-safe. */
vq_status vq_image_decode(uint8_t *pixels, const vq_preprocess *pre, const char *name, const void *data, size_t bytes);
/* The same for a file. */
vq_status vq_image_load(uint8_t *pixels, const vq_preprocess *pre, const char *path);

/* A list of images with optional labels. Thread-safe for reading after opening. */
typedef struct vq_dataset vq_dataset;

/* images: a folder (its .png .jpg .jpeg files, searched in sub-folders too, sorted by path in byte order; a folder that
 *         holds "images/" and no photos of its own is taken as that), one photo, or an IDX file of u8 images, plain or
 *         gzip.
 * labels: NULL; a CSV file with a header row naming the columns `file` and `class_index` (others are ignored; quoted
 *         fields understood), which then decides which files there are and their order, each file taken relative to
 *         images; or an IDX file of u8 labels for IDX images.
 * A label that names no file, is not a number or is outside 0..num_classes-1 (when num_classes > 0) fails with a line
 * that names the labels file and the row. Only the existence of photos is checked here, not their contents. */
vq_status vq_dataset_open(vq_dataset **out, const char *images, const char *labels, int num_classes);
void vq_dataset_destroy(vq_dataset **set);

size_t vq_dataset_count(const vq_dataset *set);
const char *vq_dataset_name(const vq_dataset *set, size_t i);  /* path, or "FILE[i]" for IDX; borrowed */
int vq_dataset_label(const vq_dataset *set, size_t i);         /* -1 where there are no labels */
/* Loads and preprocesses image i into pixels as vq_image_load. Thread-safe. IDX images of the model's size are not resized. */
vq_status vq_dataset_load(const vq_dataset *set, size_t i, const vq_preprocess *pre, uint8_t *pixels);
/* For data sets that are gone through many times: from here on vq_dataset_load keeps the pixels of the first images as it
 * decodes them, as many as fit in max_bytes, and copies them when it is asked again with an equal pre. Before
 * other threads load; of several calls the first one counts. */
vq_status vq_dataset_keep(vq_dataset *set, const vq_preprocess *pre, size_t max_bytes);

#ifdef __cplusplus
}
#endif
#endif
