/* The safetensors container: what is written reads back, and malformed files are refused with one line. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"

static void test_write__reads_back(void **state)
{
    (void)state;
    const float f[6] = {1, -2, 3.5f, 0, INFINITY, 1e-40f};
    const uint8_t u[3] = {1, 2, 255};
    const int64_t one = -5;
    vq_st_writer *w;
    vq_safetensors *st;
    float got[6];
    const char *const path = unit_path("a.safetensors");
    unit_ok(vq_st_writer_create(&w));
    unit_ok(vq_st_writer_add(w, "codes", VQ_DTYPE_U8, vq_shape1(3), u));
    unit_ok(vq_st_writer_add(w, "w \"x\" \xc3\xa4", VQ_DTYPE_F32, vq_shape2(2, 3), f));
    unit_ok(vq_st_writer_add(w, "none", VQ_DTYPE_F32, vq_shape2(0, 3), NULL));
    unit_ok(vq_st_writer_add(w, "scalar", VQ_DTYPE_S64, (vq_shape){0}, &one));
    unit_ok(vq_st_writer_meta(w, "vitq", "{\"a\": \"b\\n\"}"));
    unit_ok(vq_st_writer_finish(w, path));
    vq_st_writer_destroy(&w);
    assert_null(w);

    unit_ok(vq_safetensors_open(&st, path));
    assert_int_equal(vq_safetensors_count(st), 4);
    assert_string_equal(vq_safetensors_meta(st, "vitq"), "{\"a\": \"b\\n\"}");
    assert_null(vq_safetensors_meta(st, "other"));
    assert_null(vq_safetensors_find(st, "other"));
    assert_string_equal(vq_safetensors_path(st), path);
    for (int i = 0; i < 4; i++) { /* aligned to the element */
        const vq_st_tensor *const t = vq_safetensors_at(st, i);
        assert_int_equal((uintptr_t)t->data % vq_dtype_size(t->dtype), 0);
    }
    const vq_st_tensor *const t = vq_safetensors_find(st, "w \"x\" \xc3\xa4");
    assert_non_null(t);
    assert_true(t->dtype == VQ_DTYPE_F32 && t->shape.num_dims == 2 && t->shape.dims[1] == 3);
    unit_ok(vq_st_to_f32(got, 6, st, t));
    assert_memory_equal(got, f, sizeof f);
    assert_memory_equal(vq_safetensors_find(st, "codes")->data, u, 3);
    assert_memory_equal(vq_safetensors_find(st, "scalar")->data, &one, 8);
    unit_fails(vq_st_to_f32(got, 5, st, t), VQ_ERR_SHAPE, "has 6 elements, expected 5");
    unit_fails(vq_st_to_f32(got, 3, st, vq_safetensors_find(st, "codes")), VQ_ERR_FORMAT, "codes is U8, expected F32");
    vq_safetensors_destroy(&st);
    assert_null(st);
    vq_safetensors_destroy(&st);
}

static void test_write__same_content_same_bytes(void **state)
{
    (void)state;
    static const float f[100];
    char hash[2][33];
    for (int i = 0; i < 2; i++) {
        vq_st_writer *w;
        vq_file_map map;
        const char *const path = unit_path(i ? "one" : "two");
        unit_ok(vq_st_writer_create(&w));
        unit_ok(vq_st_writer_add(w, "f", VQ_DTYPE_F32, vq_shape1(100), f));
        unit_ok(vq_st_writer_meta(w, "k", "v"));
        unit_ok(vq_st_writer_finish(w, path));
        vq_st_writer_destroy(&w);
        unit_ok(vq_file_map_open(&map, path));
        vq_hash_hex(hash[i], map.data, map.bytes);
        vq_file_map_close(&map);
    }
    assert_string_equal(hash[0], hash[1]);
}

static void test_write__fails_where_it_cannot(void **state)
{
    (void)state;
    vq_st_writer *w;
    unit_ok(vq_st_writer_create(&w));
    unit_fails(vq_st_writer_finish(w, unit_path("no/folder.safetensors")), VQ_ERR_IO,
               "no/folder.safetensors: cannot write");
    vq_st_writer_destroy(&w);
}

/* A file of this header and so many bytes of data; returns its size. */
static size_t make(uint8_t *file, const char *header, size_t data)
{
    const size_t n = strlen(header);
    memset(file, 0, 8 + n + data);
    file[0] = (uint8_t)n;
    file[1] = (uint8_t)(n >> 8);
    memcpy(file + 8, header, n);
    return 8 + n + data;
}

static void test_read__refuses_malformed_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *text;
    } bad[] = {
        {"", 0, "f: not JSON"},
        {"{", 0, "f: not JSON"},
        {"[]", 0, "f: the header is no JSON object"},
        {"{\"__metadata__\":3}", 0, "__metadata__"},
        {"{\"a\":3}", 0, "tensor a has unknown dtype (none)"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "tensor a has unknown dtype F99"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "tensor a has a shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "impossible size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "impossible size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, "impossible size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "list of at most 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "malformed data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "malformed data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "tensor a ends at byte 4 of 3"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e300]}}", 4, "malformed data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
         "tensor a has 4 bytes, its shape and dtype need 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
         "offsets\":[3,5]}}",
         5, "tensors a and b overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
         "offsets\":[1,2]}}",
         2, "tensor a appears twice"},
    };
    uint8_t file[400];
    vq_safetensors *st;
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++) {
        const size_t bytes = make(file, bad[i].header, bad[i].data);
        unit_fails(vq_safetensors_parse(&st, "f", file, bytes), VQ_ERR_FORMAT, bad[i].text);
        assert_null(st);
    }
}

static void test_read__refuses_other_files(void **state)
{
    (void)state;
    vq_safetensors *st;
    unit_fails(vq_safetensors_open(&st, unit_write("empty", "", 0)), VQ_ERR_FORMAT, "empty: 0 bytes, too short");
    unit_fails(vq_safetensors_open(&st, unit_write("long", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)), VQ_ERR_FORMAT,
               "header of 18446744073709551615 bytes in a file of 10");
    unit_fails(vq_safetensors_open(&st, unit_path("missing")), VQ_ERR_IO, "missing: cannot open");
    unit_fails(vq_safetensors_open(&st, unit_source("src")), VQ_ERR_IO, "not a regular file");
    assert_null(st);
}

/* Cut anywhere, a file is refused. */
static void test_read__refuses_truncated_files(void **state)
{
    (void)state;
    vq_file_map map;
    vq_safetensors *st;
    unit_ok(vq_file_map_open(&map, unit_source("tests/fuzz/corpus/safetensors/small.safetensors")));
    unit_ok(vq_safetensors_parse(&st, "small", map.data, map.bytes));
    assert_int_equal(vq_safetensors_count(st), 2);
    vq_safetensors_destroy(&st);
    for (size_t n = 0; n < map.bytes; n++)
        unit_fails(vq_safetensors_parse(&st, "small", map.data, n), VQ_ERR_FORMAT, "small");
    vq_file_map_close(&map);
}

static void test_read__half_floats(void **state)
{
    (void)state;
    static const float want[6] = {0, 1, -2, 65504, 0x1p-24f, INFINITY};
    float got[6];
    vq_safetensors *st;
    unit_ok(vq_safetensors_open(&st, unit_source("tests/fuzz/corpus/safetensors/kinds.safetensors")));
    unit_ok(vq_st_to_f32(got, 6, st, vq_safetensors_find(st, "h")));
    assert_memory_equal(got, want, sizeof want);
    unit_ok(vq_st_to_f32(got, 2, st, vq_safetensors_find(st, "bf")));
    assert_true(got[0] == 1 && got[1] == -1);
    vq_safetensors_destroy(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write__reads_back),
        cmocka_unit_test(test_write__same_content_same_bytes),
        cmocka_unit_test(test_write__fails_where_it_cannot),
        cmocka_unit_test(test_read__refuses_malformed_headers),
        cmocka_unit_test(test_read__refuses_other_files),
        cmocka_unit_test(test_read__refuses_truncated_files),
        cmocka_unit_test(test_read__half_floats),
    };
    unit_catch_log();
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
