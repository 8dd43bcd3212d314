/* Lists of images: folders, CSV labels, IDX files. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "base/file.h"
#include "image/csv.h"
#include "image/pixels.h"

static void make_dir(const char *name)
{
    assert_int_equal(mkdir(unit_path(name), 0777), 0);
}

static void put_photo(const char *name)
{
    vq_file_map map;
    unit_ok(vq_file_map_open(&map, unit_source("tests/fuzz/corpus/image/rgb8.png")));
    unit_write(name, map.data, map.bytes);
    vq_file_map_close(&map);
}

static void check_name(const vq_dataset *set, size_t i, const char *end)
{
    const char *const name = vq_dataset_name(set, i);
    assert_true(strlen(name) >= strlen(end));
    assert_string_equal(name + strlen(name) - strlen(end), end);
}

static int make_photos(void **state)
{
    (void)state;
    make_dir("set");
    make_dir("set/images");
    make_dir("set/images/sub");
    make_dir("set/other");
    put_photo("set/images/b.png");
    put_photo("set/images/a.PNG");
    put_photo("set/images/sub/c.jpeg");
    put_photo("set/other/mask.png");
    unit_write_text("set/images/.hidden.png", "x");
    unit_write_text("set/images/readme.txt", "x");
    make_dir("none");
    return 0;
}

static void test_folder__sorted_and_searched(void **state)
{
    (void)state;
    vq_dataset *set;
    unit_ok(vq_dataset_open(&set, unit_path("set"), NULL, 0));
    assert_int_equal(vq_dataset_count(set), 3); /* "images" only, as the folder has no photos of its own */
    check_name(set, 0, "set/images/a.PNG");
    check_name(set, 1, "set/images/b.png");
    check_name(set, 2, "set/images/sub/c.jpeg");
    assert_int_equal(vq_dataset_label(set, 0), -1);
    vq_dataset_destroy(&set);
    assert_null(set);
    vq_dataset_destroy(&set);
    unit_ok(vq_dataset_open(&set, unit_path("set/other"), NULL, 0));
    assert_int_equal(vq_dataset_count(set), 1);
    vq_dataset_destroy(&set);
}

static void test_folder__one_photo(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3, .height = 8, .width = 8, .crop_pct = 1};
    uint8_t a[192], b[192];
    vq_dataset *set;
    const char *const path = unit_path("set/images/b.png");
    unit_ok(vq_dataset_open(&set, path, NULL, 0));
    assert_int_equal(vq_dataset_count(set), 1);
    unit_ok(vq_dataset_load(set, 0, &pre, a));
    unit_ok(vq_image_load(b, &pre, path));
    assert_memory_equal(a, b, sizeof a);
    unit_fails(vq_dataset_load(set, 1, &pre, a), VQ_ERR_INVALID_ARG, "vq_dataset_load");
    vq_dataset_destroy(&set);
}

static void test_folder__refuses(void **state)
{
    (void)state;
    vq_dataset *set;
    unit_fails(vq_dataset_open(&set, unit_path("none"), NULL, 0), VQ_ERR_IO, "none: holds no .png");
    unit_fails(vq_dataset_open(&set, unit_path("missing"), NULL, 0), VQ_ERR_IO, "missing: no such file or folder");
    unit_fails(vq_dataset_open(&set, NULL, NULL, 0), VQ_ERR_INVALID_ARG, "NULL");
    unit_fails(vq_dataset_open(&set, unit_path("set/images/b.png"), unit_write_text("l", "x"), 0), VQ_ERR_INVALID_ARG,
               "labels need a folder");
    assert_null(set);
}

static void test_keep__first_images_from_memory(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3, .height = 8, .width = 8, .crop_pct = 1};
    vq_preprocess other = pre;
    uint8_t first[192], again[192];
    vq_dataset *set;
    make_dir("kept");
    put_photo("kept/a.png");
    put_photo("kept/b.png");
    unit_ok(vq_dataset_open(&set, unit_path("kept"), NULL, 0));
    unit_ok(vq_dataset_keep(set, &pre, 383)); /* one image fits */
    for (size_t i = 0; i < 2; i++) unit_ok(vq_dataset_load(set, i, &pre, first));
    unit_write_text("kept/a.png", "gone");
    unit_write_text("kept/b.png", "gone");
    unit_ok(vq_dataset_load(set, 0, &pre, again));
    assert_memory_equal(first, again, sizeof first);
    unit_fails(vq_dataset_load(set, 1, &pre, again), VQ_ERR_FORMAT, "b.png");
    other.crop_pct = 0.5f;
    unit_fails(vq_dataset_load(set, 0, &other, again), VQ_ERR_FORMAT, "a.png");
    unit_ok(vq_dataset_keep(set, &pre, 1000)); /* changes nothing */
    unit_fails(vq_dataset_load(set, 1, &pre, again), VQ_ERR_FORMAT, "b.png");
    vq_dataset_destroy(&set);
}

static void test_keep__not_what_failed(void **state)
{
    (void)state;
    const vq_preprocess pre = {.chans = 3, .height = 8, .width = 8, .crop_pct = 1};
    uint8_t pixels[192];
    vq_dataset *set;
    make_dir("late");
    unit_write_text("late/a.png", "not yet");
    unit_ok(vq_dataset_open(&set, unit_path("late"), NULL, 0));
    unit_ok(vq_dataset_keep(set, &pre, 1000));
    unit_fails(vq_dataset_load(set, 0, &pre, pixels), VQ_ERR_FORMAT, "a.png");
    put_photo("late/a.png");
    unit_ok(vq_dataset_load(set, 0, &pre, pixels));
    vq_dataset_destroy(&set);
}

static void test_labels__decide_order(void **state)
{
    (void)state;
    vq_dataset *set;
    const char *const csv = unit_write_text(
        "labels.csv",
        "\xef\xbb\xbf"
        "class_index,\"note, long\",file\r\n3,\"a \"\"b\"\"\r\nc\",\"sub/c.jpeg\"\r\n\r\n0,,b.png\r\n3,,images/b.png");
    unit_ok(vq_dataset_open(&set, unit_path("set"), csv, 4));
    assert_int_equal(vq_dataset_count(set), 3);
    check_name(set, 0, "set/images/sub/c.jpeg");
    check_name(set, 1, "set/images/b.png");
    check_name(set, 2, "set/images/b.png");
    assert_int_equal(vq_dataset_label(set, 0), 3);
    assert_int_equal(vq_dataset_label(set, 1), 0);
    vq_dataset_destroy(&set);
}

static void test_labels__refuses(void **state)
{
    (void)state;
    static const struct {
        const char *csv;
        vq_status status;
        const char *text;
    } bad[] = {
        {"", VQ_ERR_FORMAT, "must name the columns file and class_index"},
        {"file,label\nb.png,1\n", VQ_ERR_FORMAT, "must name the columns"},
        {"file,class_index\n", VQ_ERR_FORMAT, "has no rows"},
        {"file,class_index\nb.png,1\nz.png,1\n", VQ_ERR_IO, "bad.csv: row 3 names z.png, which is not in"},
        {"file,class_index\nb.png,4\n", VQ_ERR_FORMAT, "row 2: class_index 4, the model has classes 0 to 3"},
        {"file,class_index\nb.png,-1\n", VQ_ERR_FORMAT, "row 2: class_index \"-1\" is not a class number"},
        {"file,class_index\nb.png,1x\n", VQ_ERR_FORMAT, "\"1x\" is not a class number"},
        {"file,class_index\nb.png,99999999999999999999\n", VQ_ERR_FORMAT, "is not a class number"},
        {"file,class_index\nb.png\n", VQ_ERR_FORMAT, "\"\" is not a class number"},
        {"file,class_index\n\"b.png,1\n", VQ_ERR_FORMAT, "row 2: a quote is not closed"},
        {"file,class_index\n,1\n", VQ_ERR_IO, "row 2 names"},
    };
    vq_dataset *set;
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++) {
        const char *const csv = unit_write_text("bad.csv", bad[i].csv);
        unit_fails(vq_dataset_open(&set, unit_path("set"), csv, 4), bad[i].status, bad[i].text);
        assert_null(set);
    }
    const char *const zeros = unit_write("bad.csv", "file\0class_index", 16);
    unit_fails(vq_dataset_open(&set, unit_path("set"), zeros, 4), VQ_ERR_FORMAT, "bad.csv: not text");
    unit_fails(vq_dataset_open(&set, unit_path("set"), unit_path("gone.csv"), 4), VQ_ERR_IO, "gone.csv: cannot open");
}

static const uint8_t idx_images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0,  0,  0,  2,  0,  0,
                                     0, 3, 1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60};
static const uint8_t idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 9, 0};

static const char *write_gzip(const char *name, const uint8_t *data, size_t bytes)
{
    const char *const path = unit_path(name);
    gzFile file = gzopen(path, "wb");
    assert_true(file && gzwrite(file, data, (unsigned)bytes) == (int)bytes && gzclose(file) == Z_OK);
    return path;
}

static void test_idx__images_and_labels(void **state)
{
    (void)state;
    const vq_preprocess grey = {.chans = 1, .height = 2, .width = 3, .crop_pct = 0.5f};
    const vq_preprocess rgb = {.chans = 3, .height = 2, .width = 3, .crop_pct = 1};
    uint8_t pixels[18];
    for (int gzip = 0; gzip < 2; gzip++) {
        vq_dataset *set;
        const char *const images = gzip ? write_gzip("i.gz", idx_images, sizeof idx_images)
                                        : unit_write("i.idx", idx_images, sizeof idx_images);
        const char *const labels = gzip ? write_gzip("l.gz", idx_labels, sizeof idx_labels)
                                        : unit_write("l.idx", idx_labels, sizeof idx_labels);
        unit_ok(vq_dataset_open(&set, images, labels, 10));
        assert_int_equal(vq_dataset_count(set), 2);
        check_name(set, 1, gzip ? "i.gz[1]" : "i.idx[1]");
        assert_int_equal(vq_dataset_label(set, 0), 9);
        unit_ok(vq_dataset_load(set, 1, &grey, pixels)); /* of the model's size: never resized */
        assert_memory_equal(pixels, idx_images + 22, 6);
        unit_ok(vq_dataset_load(set, 0, &rgb, pixels));
        for (int i = 0; i < 18; i++) assert_int_equal(pixels[i], 1 + i / 3);
        vq_dataset_destroy(&set);
        unit_fails(vq_dataset_open(&set, images, labels, 9), VQ_ERR_FORMAT,
                   "label 0 is 9, the model has classes 0 to 8");
        unit_fails(vq_dataset_open(&set, labels, NULL, 9), VQ_ERR_FORMAT, "an IDX file of labels, images are needed");
        unit_fails(vq_dataset_open(&set, images, images, 9), VQ_ERR_FORMAT, "labels for 2 images");
    }
}

static void test_idx__refuses(void **state)
{
    (void)state;
    uint8_t copy[sizeof idx_images];
    vq_idx idx;
    for (size_t n = 0; n < sizeof idx_images; n++)
        unit_fails(vq_idx_parse(&idx, "x.idx", idx_images, n), VQ_ERR_FORMAT, "x.idx");
    memcpy(copy, idx_images, sizeof copy);
    memset(copy + 4, 0xff, 12);
    unit_fails(vq_idx_parse(&idx, "x.idx", copy, sizeof copy), VQ_ERR_FORMAT, "impossible size 4294967295");
    memset(copy + 4, 0, 12);
    unit_fails(vq_idx_parse(&idx, "x.idx", copy, sizeof copy), VQ_ERR_FORMAT, "impossible size 0");
    copy[2] = 13; /* floats */
    unit_fails(vq_idx_parse(&idx, "x.idx", copy, sizeof copy), VQ_ERR_FORMAT, "not an IDX file of unsigned bytes");
    char *gz;
    size_t bytes;
    unit_ok(vq_file_read(&gz, &bytes, write_gzip("cut.gz", idx_images, sizeof idx_images), 1000));
    unit_fails(vq_idx_read(&idx, unit_write("cut.gz", gz, bytes - 9)), VQ_ERR_FORMAT, "cut.gz");
    gz[bytes / 2] = (char)(gz[bytes / 2] ^ 0x55);
    unit_fails(vq_idx_read(&idx, unit_write("cut.gz", gz, bytes)), VQ_ERR_FORMAT, "cut.gz");
    free(gz);
    unit_fails(vq_idx_read(&idx, unit_path("gone.idx")), VQ_ERR_IO, "gone.idx");
}

/* Debian's dataset-fashion-mnist. */
static void test_idx__fashion_mnist(void **state)
{
    (void)state;
    static const char images[] = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
    static const char labels[] = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz";
    const vq_preprocess pre = {.chans = 1, .height = 28, .width = 28, .crop_pct = 1};
    uint8_t pixels[784];
    vq_dataset *set;
    int counts[10] = {0};
    if (!vq_is_file(images)) {
        print_message("no %s (package dataset-fashion-mnist)\n", images);
        skip();
    }
    unit_ok(vq_dataset_open(&set, images, labels, 10));
    assert_int_equal(vq_dataset_count(set), 10000);
    for (size_t i = 0; i < 10000; i++) counts[vq_dataset_label(set, i)]++;
    for (int c = 0; c < 10; c++) assert_int_equal(counts[c], 1000);
    unit_ok(vq_dataset_load(set, 9999, &pre, pixels));
    vq_dataset_destroy(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder__sorted_and_searched),
        cmocka_unit_test(test_folder__one_photo),
        cmocka_unit_test(test_folder__refuses),
        cmocka_unit_test(test_keep__first_images_from_memory),
        cmocka_unit_test(test_keep__not_what_failed),
        cmocka_unit_test(test_labels__decide_order),
        cmocka_unit_test(test_labels__refuses),
        cmocka_unit_test(test_idx__images_and_labels),
        cmocka_unit_test(test_idx__refuses),
        cmocka_unit_test(test_idx__fashion_mnist),
    };
    unit_catch_log();
    return cmocka_run_group_tests(tests, make_photos, NULL) ? 1 : 0;
}
