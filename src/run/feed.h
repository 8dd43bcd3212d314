/* Images ahead of the device: threads decode the next batches while one is being run. */
#ifndef VQ_SRC_RUN_FEED_H
#define VQ_SRC_RUN_FEED_H

#include <stdbool.h>

#include "vitq/image.h"

typedef struct vq_feed_batch {
    uint8_t *pixels;      /* [count][height][width][chans] */
    const size_t *images; /* [count] their numbers in the data set */
    int count;            /* may be 0 where every image was skipped */
} vq_feed_batch;

typedef struct vq_feed_params {
    const vq_dataset *set;
    const vq_preprocess *pre;
    size_t count; /* the first so many images */
    int batch;
    bool skip_bad; /* leave unreadable images out, with a warning */
    bool apart;    /* never decode while the caller works on a batch: for devices that need the same cores */
} vq_feed_params;

typedef struct vq_feed vq_feed;

/* Starts the threads. set and pre must outlive the feed. */
vq_status vq_feed_create(vq_feed **out, const vq_feed_params *params);
void vq_feed_destroy(vq_feed **feed); /* waits for the images being decoded */

/* The next batch, *out NULL at the end; valid until the next call. An unreadable image fails with a line naming it. */
vq_status vq_feed_next(vq_feed *feed, const vq_feed_batch **out);

size_t vq_feed_skipped(const vq_feed *feed);

#endif
