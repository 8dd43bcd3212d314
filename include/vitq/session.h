/* vitq tier 3: running a model. */
#ifndef VITQ_SESSION_H
#define VITQ_SESSION_H

#include "vitq/device.h"
#include "vitq/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vq_mode {
    VQ_MODE_DEFAULT, /* INT for a quantized model, FP32 for another */
    VQ_MODE_FP32,    /* float model; not for a quantized file, which does not keep the float weights */
    VQ_MODE_FAKE,    /* quantized values computed in float: what calibration papers report */
    VQ_MODE_INT      /* integers only, from pixels to logits; the same bits on every device */
} vq_mode;

const char *vq_mode_name(vq_mode mode); /* "fp32", "fake", "int" */

/* How integer weights of up to 4 bits lie on the device: the logits are the same. */
typedef enum vq_weights {
    VQ_WEIGHTS_DEFAULT, /* PACKED */
    VQ_WEIGHTS_BYTES,   /* one in a byte */
    VQ_WEIGHTS_PACKED   /* two in a byte, where the layer's weights have at most 16 values a row (all of up to 4 bits)
                           and the kernel variant can unpack them; else BYTES */
} vq_weights;

typedef struct vq_session_params {
    vq_mode mode;
    int max_batch;  /* images per run at most, 1..4096; 0: the largest up to 32 whose activations fit `memory` */
    int images;     /* that are to be run: max_batch 0 then chooses no more; 0: any number */
    size_t memory;  /* bytes for that choice; 0: a quarter of the device's memory or, of a CPU device, of what the
                       system has free */
    vq_weights weights; /* INT */
    int lanes;     /* INT, FP32: queues that share the images of a batch, side by side; 0: as many as the device has use for,
                      2 on a CPU of several cores, else 1; more count as that many */
    bool witness;  /* INT only: run the plain-C reference instead of the device (slow); the device may then be NULL, and
                      max_batch 0 is 8 */
} vq_session_params;

/* A model prepared on a device: weights uploaded and packed, memory planned. One thread at a time; several sessions may
 * share a device and a model, which must outlive it. */
typedef struct vq_session vq_session;
vq_status vq_session_create(vq_session **out, vq_device *dev, const vq_model *model, const vq_session_params *params);
void vq_session_destroy(vq_session **session);

vq_mode vq_session_mode(const vq_session *session);       /* never VQ_MODE_DEFAULT */
int vq_session_max_batch(const vq_session *session);
size_t vq_session_model_bytes(const vq_session *session);      /* on the device: weights, constants and tables */
size_t vq_session_activation_bytes(const vq_session *session); /* pixels, activations and scratch of max_batch images */
size_t vq_session_device_bytes(const vq_session *session);     /* both */

/* pixels u8 [batch][height][width][chans] as vq_dataset_load makes them, 1 <= batch <= max_batch.
 * logits [batch][num_classes]: float for FP32 and FAKE; int32 in units of 2^-16 for INT. Blocks until done. */
vq_status vq_session_run(vq_session *session, const uint8_t *pixels, int batch, void *logits);

/* The k classes with the largest logits, largest first, ties to the lower index; classes[k], and where probs is not NULL
 * their softmax probabilities. logits is one row of vq_session_run in the given mode; 1 <= k <= n. */
void vq_topk(int *classes, float *probs, int k, const void *logits, int n, vq_mode mode);

/* Writes a safetensors file atomically with one tensor `logits` [rows][num_classes] of the mode's type. */
vq_status vq_logits_save(const char *path, const void *logits, size_t rows, int num_classes, vq_mode mode);

#ifdef __cplusplus
}
#endif
#endif
