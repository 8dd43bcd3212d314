/* Finding real data for the golden tests: $VITQ_TEST_DATA, else ../shared/data beside the source tree. Tests skip (77) with
 * one line where it is absent. */
#ifndef VQ_TESTS_GOLDEN_H
#define VQ_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "vitq.h"

/* Where things are, and an open device. */
typedef struct golden {
    char model[512], calib[512], val[512], calib_labels[600], val_labels[600], goldens[512];
    vq_device *dev;
} golden;

/* 0, or the exit code of a test that cannot run (77: no data or no device). */
int golden_open(golden *g);
void golden_close(golden *g);

/* Pixels of images first .. first+count-1 of a data set; free() releases them. Fails the test on error. */
uint8_t *golden_pixels(const vq_dataset *set, const vq_preprocess *pre, size_t first, size_t count);

/* Logits of a whole data set, [count][classes] of the mode's type; free() releases them. */
void *golden_logits(golden *g, const vq_model *model, const vq_dataset *set, vq_mode mode, int batch);
/* How many images have their label on top. */
int golden_top1(const vq_dataset *set, const void *logits, int classes, vq_mode mode);

#endif
