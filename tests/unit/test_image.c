/* Decoding, resizing and cropping against Pillow's results (image_expected.h), and against timm's on real photos. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "image/pixels.h"
#include "image_expected.h"

static const vq_preprocess tiny = {.chans = 3, .height = 8, .width = 8, .crop_pct = 1};

static void load(vq_file_map *map, const char *file)
{
    char name[128];
    snprintf(name, sizeof name, "tests/fuzz/corpus/image/%s", file);
    unit_ok(vq_file_map_open(map, unit_source(name)));
}

static void test_decode__equals_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(decoded); i++) {
        vq_file_map map;
        vq_pixels p;
        load(&map, decoded[i].file);
        unit_ok(vq_decode(&p, decoded[i].file, map.data, map.bytes));
        assert_int_equal(p.width, 19);
        assert_int_equal(p.height, 13);
        if (unit_hash(p.data, 3 * 13 * 19) != decoded[i].rgb) fail_msg("%s: RGB differs from Pillow", decoded[i].file);
        vq_pixels_to_grey(&p);
        if (unit_hash(p.data, 13 * 19) != decoded[i].grey) fail_msg("%s: L differs from Pillow", decoded[i].file);
        free(p.data);
        vq_file_map_close(&map);
    }
}

static void fill_noise(uint8_t *data, size_t count, uint32_t s)
{
    for (size_t i = 0; i < count; i++) {
        s = s * 1664525u + 1013904223u;
        data[i] = (uint8_t)(s >> 24);
    }
}

static void test_resize__equals_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(resized); i++) {
        const int h = resized[i].height, w = resized[i].width, c = resized[i].chans;
        const int oh = resized[i].out_height, ow = resized[i].out_width;
        const vq_side rows = {.in = h, .out = oh, .count = oh}, columns = {.in = w, .out = ow, .count = ow};
        vq_pixels in = {h, w, c, malloc((size_t)h * (size_t)w * (size_t)c)}, out;
        assert_non_null(in.data);
        fill_noise(in.data, (size_t)h * (size_t)w * (size_t)c, resized[i].seed);
        unit_ok(vq_resize(&out, &in, &rows, &columns, (vq_resample)resized[i].filter));
        if (unit_hash(out.data, (size_t)oh * (size_t)ow * (size_t)c) != resized[i].hash)
            fail_msg("%d x %d to %d x %d, filter %d, differs from Pillow", w, h, ow, oh, resized[i].filter);
        free(in.data);
        free(out.data);
    }
}

/* Every window of a resize is that part of the whole. */
static void test_resize__window(void **state)
{
    (void)state;
    enum { H = 37, W = 53, OH = 29, OW = 71 };
    uint8_t data[H * W * 3];
    fill_noise(data, sizeof data, 3);
    const vq_pixels in = {H, W, 3, data};
    const vq_side all_rows = {.in = H, .out = OH, .count = OH}, all_columns = {.in = W, .out = OW, .count = OW};
    const vq_side rows = {.in = H, .out = OH, .first = 7, .count = 11};
    const vq_side columns = {.in = W, .out = OW, .first = 20, .count = 50};
    vq_pixels whole, part;
    unit_ok(vq_resize(&whole, &in, &all_rows, &all_columns, VQ_RESAMPLE_BICUBIC));
    unit_ok(vq_resize(&part, &in, &rows, &columns, VQ_RESAMPLE_BICUBIC));
    for (int y = 0; y < 11; y++)
        assert_memory_equal(part.data + y * 50 * 3, whole.data + ((y + 7) * OW + 20) * 3, 50 * 3);
    free(whole.data);
    free(part.data);
}

/* A picture whose pixels tell where they came from: red = x, green = y. */
static vq_pixels ruler(int height, int width)
{
    vq_pixels p = {height, width, 3, calloc((size_t)height * (size_t)width, 3)};
    assert_non_null(p.data);
    for (int i = 0; i < height * width; i++) {
        p.data[3 * i] = (uint8_t)(i % width);
        p.data[3 * i + 1] = (uint8_t)(i / width);
    }
    return p;
}

static void check_corner(const vq_preprocess *pre, int height, int width, int x, int y)
{
    uint8_t out[64 * 64 * 3];
    vq_pixels p = ruler(height, width);
    unit_ok(vq_preprocess_pixels(out, pre, &p, "ruler"));
    assert_null(p.data);
    assert_int_equal(out[0], x);
    assert_int_equal(out[1], y);
}

static void test_preprocess__crop_rounds_ties_to_even(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3, .height = 8, .width = 8, .crop_pct = 1};
    check_corner(&pre, 8, 11, 2, 0); /* 1.5 */
    check_corner(&pre, 8, 13, 2, 0); /* 2.5 */
    check_corner(&pre, 15, 8, 0, 4); /* 3.5 */
    check_corner(&pre, 17, 8, 0, 4); /* 4.5 */
}

static void test_preprocess__crop_pct_is_a_decimal(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3, .height = 8, .width = 8, .crop_pct = 0.8f};
    check_corner(&pre, 10, 10, 1, 1); /* 8 / 0.8 is 10, so nothing is resized */
}

static void test_preprocess__border_pads_with_the_mean(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3,
                               .height = 8,
                               .width = 8,
                               .crop_pct = 1,
                               .crop_mode = VQ_CROP_BORDER,
                               .mean = {0.485f, 0.5f, 0.406f}};
    uint8_t out[8 * 8 * 3];
    vq_pixels p = ruler(5, 8);
    unit_ok(vq_preprocess_pixels(out, &pre, &p, "ruler"));
    for (int y = 0; y < 8; y++) { /* one row above, two below */
        const bool inside = y >= 1 && y < 6;
        assert_int_equal(out[y * 24 + 3 * 7], inside ? 7 : 124);
        assert_int_equal(out[y * 24 + 3 * 7 + 1], inside ? y - 1 : 128);
        assert_int_equal(out[y * 24 + 3 * 7 + 2], inside ? 0 : 104);
    }
}

static void test_preprocess__extreme_sides(void **state)
{
    (void)state;
    const vq_crop_mode modes[] = {VQ_CROP_CENTER, VQ_CROP_SQUASH, VQ_CROP_BORDER};
    uint8_t out[64 * 64];
    for (int m = 0; m < 3; m++)
        for (int turn = 0; turn < 2; turn++) {
            const vq_preprocess pre = {.chans = 1, .height = 64, .width = 64, .crop_pct = 1, .crop_mode = modes[m]};
            vq_pixels p = {turn ? 1 : 1 << 18, turn ? 1 << 18 : 1, 1, calloc(1 << 18, 1)};
            assert_non_null(p.data);
            memset(p.data, 77, 1 << 18);
            unit_ok(vq_preprocess_pixels(out, &pre, &p, "line"));
            assert_int_equal(out[31 * 64 + 31], 77);
            assert_int_equal(out[40 * 64 + 40], m == 2 ? 0 : 77); /* a line of one pixel */
        }
}

static void test_preprocess__refuses_nonsense(void **state)
{
    (void)state;
    static const vq_preprocess bad[] = {{.chans = 2, .height = 8, .width = 8, .crop_pct = 1},
                                        {.chans = 3, .height = 0, .width = 8, .crop_pct = 1},
                                        {.chans = 3, .height = 8, .width = 1 << 20, .crop_pct = 1},
                                        {.chans = 3, .height = 8, .width = 8, .crop_pct = 0},
                                        {.chans = 3, .height = 8, .width = 8, .crop_pct = NAN}};
    vq_file_map map;
    uint8_t out[8 * 8 * 3];
    load(&map, "rgb8.png");
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++)
        unit_fails(vq_image_decode(out, &bad[i], "x", map.data, map.bytes), VQ_ERR_INVALID_ARG, "preprocessing");
    unit_fails(vq_image_decode(out, NULL, "x", map.data, map.bytes), VQ_ERR_INVALID_ARG, "NULL");
    vq_file_map_close(&map);
}

/* Cut anywhere, a file is refused with one line. */
static void test_decode__refuses_truncated_files(void **state)
{
    (void)state;
    static const char *const files[] = {"rgb8.png", "rgb_interlaced.png", "yuv420.jpg", "progressive.jpg"};
    uint8_t out[8 * 8 * 3];
    for (size_t i = 0; i < VQ_ARRAY_LEN(files); i++) {
        vq_file_map map;
        load(&map, files[i]);
        unit_ok(vq_image_decode(out, &tiny, files[i], map.data, map.bytes));
        const size_t unread = i < 2 ? 4 : 0; /* the checksum of a PNG's end mark */
        for (size_t n = 0; n < map.bytes - unread; n++)
            unit_fails(vq_image_decode(out, &tiny, files[i], map.data, n), VQ_ERR_FORMAT, files[i]);
        vq_file_map_close(&map);
    }
}

static void put_32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t crc_32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void test_decode__refuses_hostile_sizes(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {
        {0, 5}, {1u << 19, 1}, {1u << 16, 1u << 16}, {20000, 10000}, {0x7fffffff, 0x7fffffff}};
    uint8_t out[8 * 8 * 3], copy[4096];
    vq_file_map map;
    load(&map, "rgb8.png");
    assert_true(map.bytes <= sizeof copy);
    memcpy(copy, map.data, map.bytes);
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        put_32(copy + 16, sizes[i][0]);
        put_32(copy + 20, sizes[i][1]);
        put_32(copy + 29, crc_32(copy + 12, 17));
        unit_fails(vq_image_decode(out, &tiny, "big.png", copy, map.bytes), VQ_ERR_FORMAT, "big.png");
    }
    vq_file_map_close(&map);
    load(&map, "yuv444.jpg");
    memcpy(copy, map.data, map.bytes);
    size_t sof = 0;
    while (copy[sof] != 0xff || copy[sof + 1] != 0xc0) sof++;
    memset(copy + sof + 5, 0x7f, 4); /* 32639 x 32639 */
    unit_fails(vq_image_decode(out, &tiny, "big.jpg", copy, map.bytes), VQ_ERR_FORMAT, "cannot hold 32639 x 32639");
    vq_file_map_close(&map);
}

static void test_decode__refuses_other_files(void **state)
{
    (void)state;
    uint8_t out[8 * 8 * 3];
    unit_fails(vq_image_decode(out, &tiny, "a.png", "", 0), VQ_ERR_FORMAT, "a.png: empty file");
    unit_fails(vq_image_decode(out, &tiny, "a.png", "GIF89a", 6), VQ_ERR_FORMAT, "a.png: neither a PNG nor a JPEG");
    unit_fails(vq_image_load(out, &tiny, unit_path("missing.png")), VQ_ERR_IO, "missing.png: cannot open");
    unit_fails(vq_image_load(out, &tiny, unit_source("tests")), VQ_ERR_IO, "tests: not a regular file");
    unit_fails(vq_image_load(out, &tiny, unit_write("none.jpg", "", 0)), VQ_ERR_FORMAT, "none.jpg: empty file");
}

/* The first four photos as timm, torchvision and Pillow prepared them. */
static void test_golden__equals_timm(void **state)
{
    (void)state;
    const char *const env = getenv("VITQ_TEST_DATA");
    char root[512], path[640], images[640], labels[640];
    snprintf(root, sizeof root, "%s", env ? env : VQ_SOURCE_DIR "/../shared/data");
    snprintf(path, sizeof path, "%s/golden/calib/tensors.safetensors", root);
    snprintf(images, sizeof images, "%s/photos/calib", root);
    snprintf(labels, sizeof labels, "%s/photos/calib/labels.csv", root);
    if (!vq_is_file(path) || !vq_is_file(labels)) {
        print_message("no photos under %s (set VITQ_TEST_DATA)\n", root);
        skip();
    }
    enum { SIDE = 224, COUNT = SIDE * SIDE };
    const vq_preprocess pre = {.chans = 3, .height = SIDE, .width = SIDE, .crop_pct = 0.9f};
    vq_safetensors *st;
    vq_dataset *set;
    unit_ok(vq_safetensors_open(&st, path));
    unit_ok(vq_dataset_open(&set, images, labels, 1000));
    const vq_st_tensor *const t = vq_safetensors_find(st, "input");
    assert_non_null(t);
    float *const want = malloc(4 * 3 * COUNT * sizeof *want);
    uint8_t *const got = malloc(3 * COUNT);
    assert_true(want && got);
    unit_ok(vq_st_to_f32(want, 4 * 3 * COUNT, st, t));
    for (int i = 0; i < 4; i++) {
        unit_ok(vq_dataset_load(set, (size_t)i, &pre, got));
        for (int j = 0; j < 3 * COUNT; j++) {
            const float x = want[(i * 3 + j % 3) * COUNT + j / 3];
            assert_int_equal(got[j], (int)rintf((x * 0.5f + 0.5f) * 255.0f));
        }
    }
    free(want);
    free(got);
    vq_dataset_destroy(&set);
    vq_safetensors_destroy(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode__equals_pillow),
        cmocka_unit_test(test_resize__equals_pillow),
        cmocka_unit_test(test_resize__window),
        cmocka_unit_test(test_preprocess__crop_rounds_ties_to_even),
        cmocka_unit_test(test_preprocess__crop_pct_is_a_decimal),
        cmocka_unit_test(test_preprocess__border_pads_with_the_mean),
        cmocka_unit_test(test_preprocess__extreme_sides),
        cmocka_unit_test(test_preprocess__refuses_nonsense),
        cmocka_unit_test(test_decode__refuses_truncated_files),
        cmocka_unit_test(test_decode__refuses_hostile_sizes),
        cmocka_unit_test(test_decode__refuses_other_files),
        cmocka_unit_test(test_golden__equals_timm),
    };
    unit_catch_log();
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
