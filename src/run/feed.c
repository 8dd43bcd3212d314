#include "run/feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

enum { NUM_SLOTS = 2, MAX_THREADS = 8 };

/* Batch b lives in slot b % NUM_SLOTS from when batch b - NUM_SLOTS was given back. */
typedef struct slot {
    uint8_t *pixels; /* [batch][image_bytes] */
    size_t *images;  /* [batch] */
    bool *bad;       /* [batch] */
    size_t left;     /* images not decoded yet */
} slot;

struct vq_feed {
    vq_feed_params p;
    size_t image_bytes, num_batches;
    slot slots[NUM_SLOTS];
    pthread_t threads[MAX_THREADS];
    int num_threads;
    pthread_mutex_t lock;
    pthread_cond_t work, done; /* something to decode; something decoded */
    size_t next;               /* image to decode */
    size_t taken, returned;    /* batches */
    int active;                /* images being decoded */
    bool open, stop;
    vq_status failed;
    size_t failed_image;
    char message[VQ_LOG_LINE];
    size_t skipped;
    vq_feed_batch batch; /* the one the caller holds */
};

static size_t images_in(const vq_feed *f, size_t batch)
{
    const size_t n = (size_t)f->p.batch, before = batch * n;
    return f->p.count - before < n ? f->p.count - before : n;
}

static bool can_decode(const vq_feed *f)
{
    return f->open && f->failed == VQ_OK && f->next < f->p.count &&
           f->next / (size_t)f->p.batch < f->returned + NUM_SLOTS;
}

/* With the lock held; of several unreadable images the first in order is reported. */
static void note_bad(vq_feed *f, size_t image, vq_status status, const char *message)
{
    if (f->p.skip_bad) {
        vq_log(VQ_LOG_WARN, "skipped: %s", message);
        f->skipped++;
    } else if (f->failed == VQ_OK || image < f->failed_image) {
        f->failed = status;
        f->failed_image = image;
        memcpy(f->message, message, sizeof f->message);
    }
}

/* One image, with the lock held before and after. */
static void decode_next(vq_feed *f, char *message)
{
    const size_t image = f->next++, at = image % (size_t)f->p.batch;
    slot *const s = &f->slots[image / (size_t)f->p.batch % NUM_SLOTS];
    f->active++;
    pthread_mutex_unlock(&f->lock);
    message[0] = 0;
    const vq_status status = vq_dataset_load(f->p.set, image, f->p.pre, s->pixels + at * f->image_bytes);
    pthread_mutex_lock(&f->lock);
    s->images[at] = image;
    s->bad[at] = status != VQ_OK;
    if (status != VQ_OK) note_bad(f, image, status, message);
    s->left--;
    f->active--;
    pthread_cond_broadcast(&f->done);
}

static void *decode_all(void *user)
{
    vq_feed *const f = user;
    char message[VQ_LOG_LINE];
    vq_log_capture(message);
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (can_decode(f))
            decode_next(f, message);
        else
            pthread_cond_wait(&f->work, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static bool create_slots(vq_feed *f)
{
    const size_t n = (size_t)f->p.batch;
    for (int i = 0; i < NUM_SLOTS; i++) {
        slot *const s = &f->slots[i];
        if (f->image_bytes && n > SIZE_MAX / f->image_bytes) return false;
        s->pixels = malloc(n * f->image_bytes);
        s->images = calloc(n, sizeof *s->images);
        s->bad = calloc(n, sizeof *s->bad);
        if (!s->pixels || !s->images || !s->bad) return false;
        s->left = (size_t)i < f->num_batches ? images_in(f, (size_t)i) : 0;
    }
    return true;
}

vq_status vq_feed_create(vq_feed **out, const vq_feed_params *params)
{
    const vq_preprocess *const pre = params->pre;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int wanted = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (int)cores;
    vq_feed *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f) return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for images");
    f->p = *params;
    f->image_bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    f->num_batches = (params->count + (size_t)params->batch - 1) / (size_t)params->batch;
    f->open = !params->apart;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    pthread_cond_init(&f->done, NULL);
    if (!create_slots(f)) {
        vq_fail(VQ_ERR_NO_MEMORY, "out of memory for batches of %d images of %zu bytes", params->batch, f->image_bytes);
        vq_feed_destroy(&f);
        return VQ_ERR_NO_MEMORY;
    }
    while (f->num_threads < wanted && pthread_create(&f->threads[f->num_threads], NULL, decode_all, f) == 0)
        f->num_threads++;
    if (f->num_threads == 0) {
        vq_fail(VQ_ERR_NO_MEMORY, "no thread could be started to decode images");
        vq_feed_destroy(&f);
        return VQ_ERR_NO_MEMORY;
    }
    *out = f;
    return VQ_OK;
}

void vq_feed_destroy(vq_feed **feed)
{
    vq_feed *const f = *feed;
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->num_threads; i++) pthread_join(f->threads[i], NULL);
    for (int i = 0; i < NUM_SLOTS; i++) {
        free(f->slots[i].pixels);
        free(f->slots[i].images);
        free(f->slots[i].bad);
    }
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->work);
    pthread_cond_destroy(&f->done);
    free(f);
    *feed = NULL;
}

/* Gives the slot of the batch before back to the decoders. */
static void give_back(vq_feed *f)
{
    if (f->returned == f->taken) return;
    const size_t later = f->returned + NUM_SLOTS;
    f->slots[f->returned % NUM_SLOTS].left = later < f->num_batches ? images_in(f, later) : 0;
    f->returned++;
}

/* Closes the gaps that skipped images left. */
static void fill_batch(vq_feed *f, slot *s, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (s->bad[i]) continue;
        if (kept != i) memcpy(s->pixels + kept * f->image_bytes, s->pixels + i * f->image_bytes, f->image_bytes);
        s->images[kept++] = s->images[i];
    }
    f->batch = (vq_feed_batch){s->pixels, s->images, (int)kept};
}

vq_status vq_feed_next(vq_feed *f, const vq_feed_batch **out)
{
    *out = NULL;
    pthread_mutex_lock(&f->lock);
    give_back(f);
    if (f->taken < f->num_batches) {
        slot *const s = &f->slots[f->taken % NUM_SLOTS];
        f->open = true;
        pthread_cond_broadcast(&f->work);
        while (s->left > 0 && f->failed == VQ_OK) pthread_cond_wait(&f->done, &f->lock);
        f->open = !f->p.apart;
        while ((f->p.apart || f->failed != VQ_OK) && f->active > 0) pthread_cond_wait(&f->done, &f->lock);
        if (f->failed == VQ_OK) {
            fill_batch(f, s, images_in(f, f->taken));
            f->taken++;
            *out = &f->batch;
        }
    }
    const vq_status status = f->failed;
    pthread_mutex_unlock(&f->lock);
    if (status != VQ_OK) vq_fail(status, "%s", f->message);
    return status;
}

size_t vq_feed_skipped(const vq_feed *feed)
{
    return feed->skipped;
}
