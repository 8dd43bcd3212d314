/* Every architecture, small and with random weights (tests/golden/models, made by tools/make_golden_models.py): FP32
 * logits against those of timm and transformers, from images of odd sizes on; the same weights under two names give the
 * same bits; calibrated, the integers are the witness's on every variant class and after a round trip through a file.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/safetensors.h"
#include "vitq.h"

enum { IMAGES = 4, CLASSES = 5, MAX_MODELS = 64 };

static const char *const classes[] = {"portable", "wide", ""};
enum { NUM_CLASSES_OF_KERNELS = 3 };

static struct {
    char name[64], twin[64]; /* twin: "-", or who has the same weights */
} list[MAX_MODELS];
static int num_models;
static int num_hashes; /* goldens that say what the pixels are */
static vq_device *devices[NUM_CLASSES_OF_KERNELS];
static vq_dataset *images;

typedef union logits {
    float f32[IMAGES * CLASSES];
    int32_t s32[IMAGES * CLASSES];
} logits;

static vq_model *load(const char *name)
{
    char path[512];
    vq_model *model = NULL;
    snprintf(path, sizeof path, VQ_SOURCE_DIR "/tests/golden/models/%s", name);
    if (vq_model_load(&model, path) != VQ_OK) fail_msg("%s could not be loaded", name);
    assert_int_equal(vq_model_num_classes(model), CLASSES);
    return model;
}

static uint8_t *load_pixels(const vq_model *model)
{
    const vq_preprocess *const pre = vq_model_preprocess(model);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    uint8_t *const pixels = malloc(bytes * IMAGES);
    assert_non_null(pixels);
    for (size_t i = 0; i < IMAGES; i++) assert_int_equal(vq_dataset_load(images, i, pre, pixels + i * bytes), VQ_OK);
    return pixels;
}

static void run(logits *out, vq_device *dev, const vq_model *model, const uint8_t *pixels, vq_mode mode, int batch)
{
    const vq_session_params params = {.mode = mode, .max_batch = batch, .witness = !dev};
    const vq_preprocess *const pre = vq_model_preprocess(model);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    vq_session *session = NULL;
    assert_int_equal(vq_session_create(&session, dev, model, &params), VQ_OK);
    for (int i = 0; i < IMAGES; i += batch) {
        const int n = IMAGES - i < batch ? IMAGES - i : batch;
        assert_int_equal(vq_session_run(session, pixels + (size_t)i * bytes, n, out->s32 + i * CLASSES), VQ_OK);
    }
    vq_session_destroy(&session);
}

/* The logits, and whether the pixels are those that they were made from. */
static bool read_golden(float *out, const char *name, const uint8_t *pixels, size_t bytes)
{
    char hash[33];
    char path[512];
    vq_safetensors *st = NULL;
    snprintf(path, sizeof path, VQ_SOURCE_DIR "/tests/golden/models/%s/logits.safetensors", name);
    assert_int_equal(vq_safetensors_open(&st, path), VQ_OK);
    assert_int_equal(vq_st_to_f32(out, IMAGES * CLASSES, st, vq_safetensors_find(st, "logits")), VQ_OK);
    vq_hash_hex(hash, pixels, bytes);
    const char *const want = vq_safetensors_meta(st, "pixels_xxh3");
    const bool same = !want || strcmp(hash, want) == 0;
    num_hashes += want != NULL;
    vq_safetensors_destroy(&st);
    return same;
}

/* Root mean square of a - b in units of that of b. */
static double difference(const float *a, const float *b)
{
    double error = 0, power = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        error += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        power += (double)b[i] * b[i];
    }
    return sqrt(error / power);
}

static void test_models__fp32(void **state)
{
    int bad = 0;
    (void)state;
    for (int m = 0; m < num_models; m++) {
        vq_model *model = load(list[m].name);
        uint8_t *const pixels = load_pixels(model);
        const vq_preprocess *const pre = vq_model_preprocess(model);
        const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans * IMAGES;
        float want[IMAGES * CLASSES], most = 0;
        if (!read_golden(want, list[m].name, pixels, bytes)) {
            print_message("%s: other pixels than Pillow's\n", list[m].name);
            bad++;
        }
        for (int i = 0; i < IMAGES * CLASSES; i++) most = fmaxf(most, fabsf(want[i]));
        for (int d = 0; d < NUM_CLASSES_OF_KERNELS; d++) {
            logits got;
            float worst = 0;
            run(&got, devices[d], model, pixels, VQ_MODE_FP32, 3);
            for (int i = 0; i < IMAGES * CLASSES; i++) worst = fmaxf(worst, fabsf(got.f32[i] - want[i]));
            if (worst <= 1e-3f * most) continue;
            print_message("%s on \"%s\": a logit differs by %g, the largest is %g\n", list[m].name, classes[d],
                          (double)worst, (double)most);
            bad++;
        }
        free(pixels);
        vq_model_destroy(&model);
    }
    assert_int_equal(bad, 0);
    assert_true(num_hashes >= 20);
}

/* Pixels of one of them; preprocessing may differ, weights and normalization do not. */
static void test_models__two_names_one_model(void **state)
{
    int pairs = 0;
    (void)state;
    for (int m = 0; m < num_models; m++) {
        logits a, b;
        if (strcmp(list[m].twin, "-") == 0) continue;
        vq_model *model = load(list[m].name), *twin = load(list[m].twin);
        uint8_t *const pixels = load_pixels(model);
        run(&a, devices[0], model, pixels, VQ_MODE_FP32, IMAGES);
        run(&b, devices[0], twin, pixels, VQ_MODE_FP32, IMAGES);
        assert_memory_equal(&a, &b, sizeof a);
        free(pixels);
        vq_model_destroy(&model);
        vq_model_destroy(&twin);
        pairs++;
    }
    assert_true(pairs >= 3);
}

static void check_integers(const char *name, const vq_calib_params *params, double fake_limit)
{
    const char *const path = "test_models.vitq.safetensors";
    vq_model *fp32 = load(name);
    vq_model *model = NULL, *again = NULL;
    uint8_t *const pixels = load_pixels(fp32);
    logits want, got, fake;
    float real[IMAGES * CLASSES];
    if (vq_calibrate(&model, devices[2], fp32, images, params) != VQ_OK) fail_msg("%s: not calibrated", name);
    run(&want, NULL, model, pixels, VQ_MODE_INT, IMAGES);
    for (int d = 0; d < NUM_CLASSES_OF_KERNELS; d++) {
        run(&got, devices[d], model, pixels, VQ_MODE_INT, d + 1);
        if (memcmp(&got, &want, sizeof got) != 0) fail_msg("%s on \"%s\" is not the witness", name, classes[d]);
    }
    assert_int_equal(vq_model_save(model, path), VQ_OK);
    if (vq_model_load(&again, path) != VQ_OK) fail_msg("%s: the quantized file cannot be read", name);
    run(&got, devices[2], again, pixels, VQ_MODE_INT, IMAGES);
    if (memcmp(&got, &want, sizeof got) != 0) fail_msg("%s: the file gives other bits", name);
    unlink(path);
    for (int i = 0; i < IMAGES * CLASSES; i++) real[i] = (float)ldexp(want.s32[i], -16);
    run(&fake, devices[2], model, pixels, VQ_MODE_FAKE, IMAGES);
    for (int d = 0; d < NUM_CLASSES_OF_KERNELS; d++) {
        run(&got, devices[d], model, pixels, VQ_MODE_FAKE, d + 1);
        if (memcmp(&got, &fake, sizeof got) != 0) fail_msg("%s on \"%s\": other bits of fake-quant", name, classes[d]);
    }
    const double far = difference(real, fake.f32);
    if (!(far <= fake_limit)) fail_msg("%s: integers are %g from fake-quant", name, far);
    run(&fake, devices[2], fp32, pixels, VQ_MODE_FP32, IMAGES);
    print_message("%-20s W%dA%d: integers %.4f from fake-quant, %.4f from FP32\n", name, params->w_bits, params->a_bits,
                  far, difference(real, fake.f32));
    free(pixels);
    vq_model_destroy(&again);
    vq_model_destroy(&model);
    vq_model_destroy(&fp32);
}

static void test_models__repq_w8a8(void **state)
{
    (void)state;
    for (int m = 0; m < num_models; m++)
        if (strcmp(list[m].twin, "-") == 0)
            check_integers(list[m].name, &(vq_calib_params){.recipe = "repq", .w_bits = 8, .a_bits = 8}, 0.05);
}

static void test_models__minmax_w4a4(void **state)
{
    (void)state;
    for (int m = 0; m < num_models; m++)
        if (strcmp(list[m].twin, "-") == 0)
            check_integers(list[m].name, &(vq_calib_params){.recipe = "minmax", .w_bits = 4, .a_bits = 4}, 0.5);
}

/* Searches by the output of attention within windows, shifted and padded. */
static void test_models__best_w4a4_within_windows(void **state)
{
    (void)state;
    check_integers("swin", &(vq_calib_params){.recipe = "best", .w_bits = 4, .a_bits = 4}, 0.5);
    check_integers("swin_pad", &(vq_calib_params){.recipe = "best", .w_bits = 4, .a_bits = 4}, 0.5);
}

static bool read_list(void)
{
    FILE *const f = fopen(VQ_SOURCE_DIR "/tests/golden/models/list.txt", "r");
    if (!f) return false;
    while (num_models < MAX_MODELS && fscanf(f, "%63s %63s", list[num_models].name, list[num_models].twin) == 2)
        num_models++;
    fclose(f);
    return num_models > 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models__fp32),
        cmocka_unit_test(test_models__two_names_one_model),
        cmocka_unit_test(test_models__repq_w8a8),
        cmocka_unit_test(test_models__minmax_w4a4),
        cmocka_unit_test(test_models__best_w4a4_within_windows),
    };
    for (int d = 0; d < NUM_CLASSES_OF_KERNELS; d++)
        if (vq_device_open(&devices[d], &(vq_device_params){.kernels = classes[d]}) != VQ_OK) {
            printf("skipped: no OpenCL device\n");
            return 77;
        }
    if (!read_list() || vq_dataset_open(&images, VQ_SOURCE_DIR "/tests/golden/models/images", NULL, 0) != VQ_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vq_dataset_destroy(&images);
    for (int d = 0; d < NUM_CLASSES_OF_KERNELS; d++) vq_device_destroy(&devices[d]);
    return failed;
}
