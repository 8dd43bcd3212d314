/* The promise of integer inference: the same bits from the plain-C witness, from the device at every batch size, with
 * every variant class, and after a round trip through a file. On real photos. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "golden.h"

enum { PHOTOS = 11, CLASSES = 1000 };

static golden g;
static vq_dataset *photos;
static uint8_t *pixels;
static size_t image_bytes;

static void run_all(int32_t *logits, vq_device *dev, const vq_model *model, int batch, bool witness)
{
    const vq_session_params params = {.mode = VQ_MODE_INT, .max_batch = batch, .witness = witness};
    vq_session *session = NULL;
    assert_int_equal(vq_session_create(&session, dev, model, &params), VQ_OK);
    for (int i = 0; i < PHOTOS; i += batch) {
        const int n = PHOTOS - i < batch ? PHOTOS - i : batch;
        assert_int_equal(vq_session_run(session, pixels + (size_t)i * image_bytes, n, logits + i * CLASSES), VQ_OK);
    }
    vq_session_destroy(&session);
}

static void check_bits(const vq_calib_params *params)
{
    static const char *const classes[] = {"portable", "wide", ""};
    static const int batches[] = {1, 4, PHOTOS};
    static int32_t want[PHOTOS * CLASSES], got[PHOTOS * CLASSES];
    const char *const path = "test_exact.vitq.safetensors";
    vq_model *fp32 = NULL, *model = NULL, *again = NULL;
    assert_int_equal(vq_model_load(&fp32, g.model), VQ_OK);
    assert_int_equal(vq_calibrate(&model, g.dev, fp32, photos, params), VQ_OK);
    run_all(want, NULL, model, PHOTOS, true);

    for (size_t c = 0; c < sizeof classes / sizeof classes[0]; c++) {
        vq_device *dev = NULL;
        const vq_device_params device = {.kernels = classes[c]};
        assert_int_equal(vq_device_open(&dev, &device), VQ_OK);
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            memset(got, 0, sizeof got);
            run_all(got, dev, model, batches[b], false);
            assert_memory_equal(got, want, sizeof want);
        }
        vq_device_destroy(&dev);
    }

    assert_int_equal(vq_model_save(model, path), VQ_OK);
    assert_int_equal(vq_model_load(&again, path), VQ_OK);
    run_all(got, g.dev, again, 4, false);
    assert_memory_equal(got, want, sizeof want);
    unlink(path);
    vq_model_destroy(&again);
    vq_model_destroy(&model);
    vq_model_destroy(&fp32);
}

static void test_exact__repq_w8a8(void **state)
{
    (void)state;
    check_bits(&(vq_calib_params){.w_bits = 8, .a_bits = 8, .samples = 4});
}

static void test_exact__repq_w4a4(void **state)
{
    (void)state;
    check_bits(&(vq_calib_params){.w_bits = 4, .a_bits = 4, .samples = 4});
}

static void test_exact__minmax_w3a6(void **state)
{
    (void)state;
    check_bits(&(vq_calib_params){.recipe = "minmax", .w_bits = 3, .a_bits = 6, .samples = 4});
}

static void test_exact__repq_w2a2(void **state)
{
    (void)state;
    check_bits(&(vq_calib_params){.w_bits = 2, .a_bits = 2, .samples = 4});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact__repq_w8a8),
        cmocka_unit_test(test_exact__repq_w4a4),
        cmocka_unit_test(test_exact__minmax_w3a6),
        cmocka_unit_test(test_exact__repq_w2a2),
    };
    const int cannot = golden_open(&g);
    vq_model *model = NULL;
    if (cannot) return cannot;
    if (vq_model_load(&model, g.model) != VQ_OK || vq_dataset_open(&photos, g.calib, g.calib_labels, CLASSES) != VQ_OK)
        return 1;
    const vq_preprocess pre = *vq_model_preprocess(model);
    image_bytes = (size_t)pre.height * (size_t)pre.width * (size_t)pre.chans;
    pixels = malloc(PHOTOS * image_bytes);
    for (size_t i = 0; i < PHOTOS; i++)
        if (!pixels || vq_dataset_load(photos, i, &pre, pixels + i * image_bytes) != VQ_OK) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(pixels);
    vq_dataset_destroy(&photos);
    vq_model_destroy(&model);
    golden_close(&g);
    return failed;
}
