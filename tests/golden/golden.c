#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

int golden_open(golden *g)
{
    const char *const env = getenv("VITQ_TEST_DATA");
    const char *const root = env ? env : VQ_SOURCE_DIR "/../shared/data";
    struct stat st;
    *g = (golden){.dev = NULL};
    snprintf(g->model, sizeof g->model, "%s/vit_tiny_patch16_224.augreg_in21k_ft_in1k", root);
    snprintf(g->calib, sizeof g->calib, "%s/photos/calib", root);
    snprintf(g->val, sizeof g->val, "%s/photos/val", root);
    snprintf(g->calib_labels, sizeof g->calib_labels, "%s/labels.csv", g->calib);
    snprintf(g->val_labels, sizeof g->val_labels, "%s/labels.csv", g->val);
    snprintf(g->goldens, sizeof g->goldens, "%s/golden", root);
    if (stat(g->model, &st) != 0) {
        printf("skipped: no model and photos under %s (set VITQ_TEST_DATA)\n", root);
        return 77;
    }
    if (vq_device_open(&g->dev, NULL) != VQ_OK) {
        printf("skipped: no OpenCL device\n");
        return 77;
    }
    return 0;
}

void golden_close(golden *g)
{
    vq_device_destroy(&g->dev);
}

uint8_t *golden_pixels(const vq_dataset *set, const vq_preprocess *pre, size_t first, size_t count)
{
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    uint8_t *const pixels = malloc(bytes * count);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(vq_dataset_load(set, first + i, pre, pixels + i * bytes), VQ_OK);
    return pixels;
}

void *golden_logits(golden *g, const vq_model *model, const vq_dataset *set, vq_mode mode, int batch)
{
    const size_t count = vq_dataset_count(set), row = (size_t)vq_model_num_classes(model) * 4;
    const vq_session_params params = {.mode = mode, .max_batch = batch};
    vq_session *session = NULL;
    uint8_t *const logits = malloc(count * row);
    assert_non_null(logits);
    assert_int_equal(vq_session_create(&session, g->dev, model, &params), VQ_OK);
    for (size_t i = 0; i < count; i += (size_t)batch) {
        const size_t n = count - i < (size_t)batch ? count - i : (size_t)batch;
        uint8_t *const pixels = golden_pixels(set, vq_model_preprocess(model), i, n);
        assert_int_equal(vq_session_run(session, pixels, (int)n, logits + i * row), VQ_OK);
        free(pixels);
    }
    vq_session_destroy(&session);
    return logits;
}

int golden_top1(const vq_dataset *set, const void *logits, int classes, vq_mode mode)
{
    int right = 0;
    for (size_t i = 0; i < vq_dataset_count(set); i++) {
        int top = -1;
        vq_topk(&top, NULL, 1, (const uint8_t *)logits + i * (size_t)classes * 4, classes, mode);
        right += top == vq_dataset_label(set, i);
    }
    return right;
}
