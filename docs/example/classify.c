/* Classifies one photo with a model that 'vitq calibrate' made:
 *     classify tiny.vitq.safetensors cat.jpg
 * Every function logs its own failure on stderr, so a program only has to stop. */
#include <stdio.h>
#include <stdlib.h>

#include "vitq.h"

enum { TOP = 3 };

static vq_status classify(vq_session *session, const vq_model *model, const char *photo)
{
    const vq_preprocess *const pre = vq_model_preprocess(model);
    const int num_classes = vq_model_num_classes(model), k = num_classes < TOP ? num_classes : TOP;
    uint8_t *const pixels = malloc((size_t)pre->height * (size_t)pre->width * (size_t)pre->chans);
    int32_t *const logits = malloc((size_t)num_classes * sizeof *logits); /* 32 bits in every mode */
    int classes[TOP];
    float probs[TOP];
    vq_status status = pixels && logits ? VQ_OK : VQ_ERR_NO_MEMORY;

    if (status == VQ_OK) status = vq_image_load(pixels, pre, photo);
    if (status == VQ_OK) status = vq_session_run(session, pixels, 1, logits);
    if (status == VQ_OK) {
        vq_topk(classes, probs, k, logits, num_classes, vq_session_mode(session));
        for (int i = 0; i < k; i++) printf("%5.1f %%  %s\n", 100 * (double)probs[i], vq_model_label(model, classes[i]));
    }
    free(pixels);
    free(logits);
    return status;
}

int main(int argc, char **argv)
{
    vq_device *device = NULL;
    vq_model *model = NULL;
    vq_session *session = NULL;
    vq_status status;

    if (argc != 3) {
        fprintf(stderr, "usage: classify MODEL PHOTO\n");
        return 1;
    }
    status = vq_device_open(&device, NULL); /* the first device; compiled kernels are kept on disk */
    if (status == VQ_OK) status = vq_model_load(&model, argv[1]);
    if (status == VQ_OK) status = vq_session_create(&session, device, model, NULL);
    if (status == VQ_OK) status = classify(session, model, argv[2]);
    vq_session_destroy(&session);
    vq_model_destroy(&model);
    vq_device_destroy(&device);
    return (int)status;
}
