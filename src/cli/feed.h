/* Images ahead of the device: threads decode the next batches while one is being run. */
#ifndef VQ_SRC_CLI_FEED_H
#define VQ_SRC_CLI_FEED_H

#include <stdbool.h>

#include "vitq/image.h"

typedef struct cli_batch {
    uint8_t *pixels;      /* [count][height][width][chans] */
    const size_t *images; /* [count] their numbers in the data set */
    int count;            /* may be 0 where every image was skipped */
} cli_batch;

typedef struct cli_feed_params {
    const vq_dataset *set;
    const vq_preprocess *pre;
    size_t count; /* the first so many images */
    int batch;
    bool skip_bad; /* leave unreadable images out, with a warning */
    bool apart;    /* never decode while the caller works on a batch: for devices that need the same cores */
} cli_feed_params;

typedef struct cli_feed cli_feed;

/* Starts the threads. One line on stderr for any failure. set and pre must outlive the feed. */
vq_status cli_feed_create(cli_feed **out, const cli_feed_params *params);
void cli_feed_destroy(cli_feed **feed); /* waits for the images being decoded */

/* The next batch, *out NULL at the end; valid until the next call. An unreadable image fails with a line naming it. */
vq_status cli_feed_next(cli_feed *feed, const cli_batch **out);

size_t cli_feed_skipped(const cli_feed *feed);

#endif
