/* src/base: log, allocation, hashing, random numbers, files, JSON, tensors. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/tensor.h"

static void test_log__levels_and_one_line(void **state)
{
    (void)state;
    unit_fails(vq_fail(VQ_ERR_SHAPE, "a\nb\tc%c%d", 7, 5), VQ_ERR_SHAPE, "a b c 5");
    unit_num_errors = 0;
    vq_log(VQ_LOG_WARN, "not an error");
    assert_int_equal(unit_num_errors, 0);
}

static void test_log__long_text_is_cut(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    unit_fails(vq_fail(VQ_ERR_IO, "%s", text), VQ_ERR_IO, "xxx");
}

static void test_log__captured(void **state)
{
    (void)state;
    char outer[VQ_LOG_LINE] = "", inner[VQ_LOG_LINE] = "before";
    unit_num_errors = 0;
    assert_null(vq_log_capture(outer));
    vq_fail(VQ_ERR_IO, "one");
    assert_ptr_equal(vq_log_capture(inner), outer);
    assert_string_equal(inner, "before");
    vq_fail(VQ_ERR_IO, "two");
    vq_fail(VQ_ERR_IO, "three");
    vq_log_capture(outer);
    assert_ptr_equal(vq_log_capture(NULL), outer);
    assert_string_equal(outer, "one");
    assert_string_equal(inner, "three");
    assert_int_equal(unit_num_errors, 0);
    vq_fail(VQ_ERR_IO, "four");
    assert_int_equal(unit_num_errors, 1);
}

static void test_status__names(void **state)
{
    (void)state;
    for (int s = 0; s < VQ_STATUS_COUNT; s++) assert_true(strlen(vq_status_name((vq_status)s)) > 0);
    assert_string_equal(vq_status_name((vq_status)99), "unknown");
    assert_string_equal(vq_version(), VQ_VERSION_STRING);
}

static void test_alloc__zeroed_and_checked(void **state)
{
    (void)state;
    int *p;
    unit_ok(vq_alloc(&p, 100, sizeof *p, "ints"));
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    free(p);
    unit_ok(vq_alloc(&p, 0, sizeof *p, "none"));
    assert_non_null(p);
    free(p);
    volatile size_t huge = SIZE_MAX / 2; /* the compiler need not know */
    unit_fails(vq_alloc(&p, huge, 4, "huge"), VQ_ERR_NO_MEMORY, "huge: out of memory");
    assert_null(p);
}

static void test_text__copies(void **state)
{
    (void)state;
    char *a, *b;
    unit_ok(vq_strdup(&a, "copy"));
    unit_ok(vq_format(&b, "%s-%04d", a, 7));
    assert_string_equal(b, "copy-0007");
    free(a);
    free(b);
}

/* XXH3's own test vector for no bytes, and that every byte counts. */
static void test_hash__is_xxh3(void **state)
{
    (void)state;
    char a[33], b[33];
    uint8_t data[300];
    vq_hash_hex(a, "", 0);
    assert_string_equal(a, "99aa06d3014798d86001c324468d497f");
    memset(data, 1, sizeof data);
    vq_hash_hex(a, data, sizeof data);
    data[299] ^= 1;
    vq_hash_hex(b, data, sizeof data);
    assert_string_not_equal(a, b);
}

static void test_rng__repeats_and_is_even(void **state)
{
    (void)state;
    vq_rng a, b;
    int seen[10] = {0};
    double sum = 0, squares = 0;
    vq_rng_seed(&a, 42);
    vq_rng_seed(&b, 42);
    for (int i = 0; i < 100; i++) assert_int_equal(vq_rng_u32(&a), vq_rng_u32(&b));
    vq_rng_seed(&b, 43);
    assert_int_not_equal(vq_rng_u32(&a), vq_rng_u32(&b));
    for (int i = 0; i < 100000; i++) {
        const uint32_t v = vq_rng_below(&a, 10);
        assert_true(v < 10);
        seen[v]++;
        const float u = vq_rng_uniform(&a), n = vq_rng_normal(&a);
        assert_true(u >= 0 && u < 1 && isfinite(n));
        sum += n;
        squares += (double)n * n;
    }
    for (int i = 0; i < 10; i++) assert_true(seen[i] > 9500 && seen[i] < 10500); /* 5 deviations */
    assert_true(fabs(sum / 1e5) < 0.02 && fabs(squares / 1e5 - 1) < 0.03);
    assert_int_equal(vq_rng_below(&a, 1), 0);
}

static void test_file__maps_and_reads(void **state)
{
    (void)state;
    vq_file_map map;
    char *text;
    size_t bytes;
    const char *const path = unit_write_text("a.txt", "hello");
    unit_ok(vq_file_map_open(&map, path));
    assert_int_equal(map.bytes, 5);
    assert_memory_equal(map.data, "hello", 5);
    vq_file_map_close(&map);
    vq_file_map_close(&map);
    unit_ok(vq_file_read(&text, &bytes, path, 5));
    assert_string_equal(text, "hello");
    free(text);
    unit_fails(vq_file_read(&text, &bytes, path, 4), VQ_ERR_FORMAT, "a.txt: 5 bytes, at most 4 expected");
    assert_null(text);
    unit_ok(vq_file_map_open(&map, unit_write("empty", "", 0)));
    assert_int_equal(map.bytes, 0);
    vq_file_map_close(&map);
    unit_fails(vq_file_map_open(&map, unit_path("missing")), VQ_ERR_IO, "missing: cannot open");
    unit_fails(vq_file_map_open(&map, unit_source("src")), VQ_ERR_IO, "src: not a regular file");
    unit_fails(vq_file_read(&text, &bytes, unit_source("src"), 100), VQ_ERR_IO, "src: not a regular file");
    assert_true(vq_is_file(path) && !vq_is_dir(path) && vq_is_dir(unit_source("src")) &&
                !vq_is_file(unit_source("src")));
}

static void test_file__written_whole_or_not_at_all(void **state)
{
    (void)state;
    vq_file_writer *w;
    char *text, tmp[600];
    size_t bytes;
    const char *const path = unit_write_text("out.bin", "old");
    snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid());
    unit_ok(vq_file_begin(&w, path));
    unit_ok(vq_file_append(w, "new text", 8));
    assert_true(vq_is_file(tmp));
    unit_ok(vq_file_read(&text, &bytes, path, 100));
    assert_string_equal(text, "old");
    free(text);
    vq_file_abort(&w);
    assert_null(w);
    vq_file_abort(&w);
    assert_false(vq_is_file(tmp));
    unit_ok(vq_file_begin(&w, path));
    unit_ok(vq_file_append(w, "new ", 4));
    unit_ok(vq_file_append(w, "text", 4));
    unit_ok(vq_file_commit(&w));
    assert_null(w);
    assert_false(vq_is_file(tmp));
    unit_ok(vq_file_read(&text, &bytes, path, 100));
    assert_string_equal(text, "new text");
    free(text);
    unit_fails(vq_file_begin(&w, unit_path("no/such/folder")), VQ_ERR_IO, "no/such/folder: cannot write");
    unit_fails(vq_file_begin(&w, unit_source("src")), VQ_ERR_IO, "src: is a folder");
    assert_null(w);
}

static void test_path__join(void **state)
{
    (void)state;
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        char *path;
        unit_ok(vq_path_join(&path, cases[i][0], cases[i][1]));
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void parse(cJSON **out, const char *text)
{
    unit_ok(vq_json_parse(out, "x.json", text, strlen(text)));
}

static void test_json__typed_members(void **state)
{
    (void)state;
    cJSON *json;
    const cJSON *child;
    const char *text;
    double number;
    int n;
    parse(&json, " {\"i\": 7, \"f\": 0.5, \"s\": \"txt\", \"l\": [1], \"o\": {}, \"big\": 1e400} \n");
    unit_ok(vq_json_int(&n, json, "i", 0, 7, "x.json"));
    assert_int_equal(n, 7);
    unit_ok(vq_json_number(&number, json, "f", "x.json"));
    assert_true(number == 0.5);
    unit_ok(vq_json_string(&text, json, "s", "x.json"));
    assert_string_equal(text, "txt");
    unit_ok(vq_json_array(&child, json, "l", "x.json"));
    unit_ok(vq_json_object(&child, json, "o", "x.json"));
    unit_fails(vq_json_int(&n, json, "i", 0, 6, "x.json"), VQ_ERR_FORMAT,
               "x.json: \"i\" is 7, must be an integer from 0 to 6");
    unit_fails(vq_json_int(&n, json, "f", 0, 6, "x.json"), VQ_ERR_FORMAT, "\"f\" is 0.5");
    unit_fails(vq_json_int(&n, json, "s", 0, 6, "x.json"), VQ_ERR_FORMAT, "\"s\" is not a number");
    unit_fails(vq_json_number(&number, json, "big", "x.json"), VQ_ERR_FORMAT, "\"big\" is not a number");
    unit_fails(vq_json_int(&n, json, "none", 0, 6, "x.json"), VQ_ERR_FORMAT, "\"none\" is missing");
    unit_fails(vq_json_string(&text, json, "i", "x.json"), VQ_ERR_FORMAT, "\"i\" is not a string");
    unit_fails(vq_json_array(&child, json, "o", "x.json"), VQ_ERR_FORMAT, "\"o\" is not a list");
    unit_fails(vq_json_object(&child, json, "l", "x.json"), VQ_ERR_FORMAT, "\"l\" is not an object");
    cJSON_Delete(json);
}

static void test_json__refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "{\"a\":}", "{} x", "[1,]", "nul", "\"open", "{\"a\" 1}"};
    cJSON *json;
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++) {
        unit_fails(vq_json_parse(&json, "x.json", bad[i], strlen(bad[i])), VQ_ERR_FORMAT, "x.json: not JSON");
        assert_null(json);
    }
    char deep[100000];
    memset(deep, '[', sizeof deep);
    unit_fails(vq_json_parse(&json, "x.json", deep, sizeof deep), VQ_ERR_FORMAT, "x.json: not JSON");
}

static void test_tensor__half_floats(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } halves[] = {{0x0000, 0.0f},     {0x3c00, 1.0f},     {0xc000, -2.0f},
                  {0x7bff, 65504.0f}, {0x0001, 0x1p-24f}, {0x83ff, -1023 * 0x1p-24f},
                  {0x0400, 0x1p-14f}, {0x7c00, INFINITY}};
    for (size_t i = 0; i < VQ_ARRAY_LEN(halves); i++) assert_true(vq_f16_to_f32(halves[i].bits) == halves[i].value);
    assert_true(isnan(vq_f16_to_f32(0x7e00)) && signbit(vq_f16_to_f32(0x8000)));
    assert_true(vq_bf16_to_f32(0x3f80) == 1.0f && vq_bf16_to_f32(0xc040) == -3.0f && isinf(vq_bf16_to_f32(0x7f80)));
}

static void test_tensor__shapes(void **state)
{
    (void)state;
    char text[40];
    const vq_shape a = vq_shape3(3, 224, 224), b = vq_shape2(3, 224), scalar = {0};
    vq_shape_text(text, sizeof text, &a);
    assert_string_equal(text, "[3, 224, 224]");
    vq_shape_text(text, sizeof text, &scalar);
    assert_string_equal(text, "[]");
    vq_shape_text(text, 6, &a);
    assert_string_equal(text, "[3, 2");
    assert_true(vq_shape_equal(&a, &a) && !vq_shape_equal(&a, &b));
    assert_int_equal(vq_shape_count(&a), 3 * 224 * 224);
    assert_int_equal(vq_shape_count(&scalar), 1);
    for (int d = 0; d < VQ_DTYPE_COUNT; d++) assert_true(vq_dtype_size((vq_dtype)d) && vq_dtype_name((vq_dtype)d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__levels_and_one_line),
        cmocka_unit_test(test_log__long_text_is_cut),
        cmocka_unit_test(test_log__captured),
        cmocka_unit_test(test_status__names),
        cmocka_unit_test(test_alloc__zeroed_and_checked),
        cmocka_unit_test(test_text__copies),
        cmocka_unit_test(test_hash__is_xxh3),
        cmocka_unit_test(test_rng__repeats_and_is_even),
        cmocka_unit_test(test_file__maps_and_reads),
        cmocka_unit_test(test_file__written_whole_or_not_at_all),
        cmocka_unit_test(test_path__join),
        cmocka_unit_test(test_json__typed_members),
        cmocka_unit_test(test_json__refuses),
        cmocka_unit_test(test_tensor__half_floats),
        cmocka_unit_test(test_tensor__shapes),
    };
    unit_catch_log();
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
