/* A float run over all calibration images: in one piece, or a few images at a time with the values in a store. */
#ifndef VQ_SRC_WALK_H
#define VQ_SRC_WALK_H

#include "calib/store.h"
#include "run/float_run.h"

/* The images' pixels, and how much of everything memory has room for. */
typedef struct vq_samples {
    int count;
    uint8_t *pixels; /* [count] images; NULL where they are in the store */
    vq_store *store; /* NULL: everything is in memory */
    size_t offset;   /* of the pixels */
    int at_once;     /* images on the device; count where everything is in memory */
    size_t part;     /* elements of a tensor on the device */
} vq_samples;

typedef struct vq_walk {
    vq_device *dev;
    const vq_graph *graph;     /* borrowed */
    const vq_samples *samples; /* borrowed */
    vq_float_run *run;         /* for samples->at_once images */
    uint8_t *pixels;           /* of as many */
    size_t values;             /* where the store has the values */
    size_t *offsets;           /* [num_values] from there */
} vq_walk;

vq_status vq_walk_create(vq_walk **out, vq_device *dev, const vq_graph *graph, const vq_samples *samples);
void vq_walk_destroy(vq_walk **walk);

/* Nodes first .. last for all images, their inputs quantized as set in run. What nodes behind last need is kept. */
vq_status vq_walk_nodes(vq_walk *w, int first, int last);
static inline vq_status vq_walk_node(vq_walk *w, int node)
{
    return vq_walk_nodes(w, node, node);
}
/* The pixels of images first .. first + count, at most samples->at_once, become those of run. */
vq_status vq_walk_input(vq_walk *w, int first, int count);
/* The rows of patches that a PATCH_EMBED node multiplies, of all images. */
vq_status vq_walk_patches(vq_walk *w, int node, vq_rows *to);

/* A value of all images; vq_rows_close when done. Valid as long as it is in run. */
vq_rows vq_walk_value(const vq_walk *w, int value);

/* Room for a tensor of all images that is no value. */
typedef struct vq_temp {
    vq_rows rows;
    vq_buf *buf;
} vq_temp;
vq_status vq_temp_create(vq_temp *out, const vq_walk *w, size_t count);
void vq_temp_destroy(vq_temp *t); /* accepts zeros */

#endif
