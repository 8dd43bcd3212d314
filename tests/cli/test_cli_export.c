/* vitq export from end to end: words, outputs, bad models, a full disk. */
#include "program.h"

#include <stdlib.h>

static const char *w4a4;

static int prepare(void **state)
{
    (void)state;
    w4a4 = scratch("w4a4.vitq.safetensors");
    ok("calibrate", model_path, "--images", train_images, "--recipe", "best", "--bits", "w4a4", "-o", w4a4, "--quiet");
    return 0;
}

static void test_words(void **state)
{
    const char *const out = scratch("never.onnx");
    (void)state;
    has(ok("--help"), "\n  export ");
    assert_string_equal(ok("export", "--help"), ok("help", "export"));
    has(ok("export", "--help"), "Examples:");
    has(ok("export", "--help"), "--int4");
    has(ok("export", "--help"), "--exact");
    fails(USAGE, "'export'", "exprot");
    fails(USAGE, "MODEL", "export");
    fails(USAGE, "-o", "export", w4a4);
    fails(USAGE, "nchw", "export", w4a4, "-o", out, "--input", "nchw");
    fails(USAGE, "takes no --images", "export", w4a4, "-o", out, "--images", "x");
    assert_false(exists(out));
}

static void test_writes(void **state)
{
    const char *const out = scratch("model.onnx"), *const again = scratch("again.onnx");
    size_t bytes;
    (void)state;
    cJSON *o = json("export", w4a4, "-o", out);
    free(read_file(&bytes, out));
    assert_true(num(o, "bytes") == (double)bytes && num(o, "opset") == 17);
    assert_true(num(o, "weights_int8") == 26 && num(o, "weights_int4") == 0 && num(o, "weights_float32") == 0);
    assert_true(num(o, "quantizers_codebook") == 12);
    cJSON_Delete(o);
    has(ok("export", w4a4, "-o", again), "26 int8 weights");
    assert_true(same_files(out, again));
    assert_string_equal(ok("export", w4a4, "-o", again, "--quiet"), "");
    const double eight = (double)bytes;
    o = json("export", w4a4, "-o", out, "--int4", "--input", "u8");
    assert_true(num(o, "opset") == 21 && num(o, "weights_int4") == 26);
    assert_true(num(o, "bytes") < 0.7 * eight);
    assert_string_equal(str(o, "input"), "u8");
    cJSON_Delete(o);
    o = json("export", w4a4, "-o", out, "--exact");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "exact")) && num(o, "weights_int8") == 26);
    cJSON_Delete(o);
    o = json("export", model_path, "-o", out); /* FP32 */
    assert_true(num(o, "weights_float32") == 26 && num(o, "quantizers_qdq") == 0);
    cJSON_Delete(o);
}

static void test_bad_models(void **state)
{
    const char *const out = scratch("never.onnx"), *const bad = scratch("bad.vitq.safetensors");
    (void)state;
    write_text(bad, "not a model");
    fails(VQ_ERR_FORMAT, "bad.vitq.safetensors", "export", bad, "-o", out);
    fails(VQ_ERR_IO, "No such", "export", scratch("none"), "-o", out);
    fails(VQ_ERR_UNSUPPORTED, "--int4", "export", model_path, "-o", out, "--int4");
    fails(VQ_ERR_UNSUPPORTED, "--exact", "export", model_path, "-o", out, "--exact");
    assert_false(exists(out));
}

static void test_bad_outputs(void **state)
{
    const run_how small = {.file_limit = 1 << 18}; /* as a full disk */
    const char *const empty = scratch("empty");
    (void)state;
    make_folder(empty);
    fails(VQ_ERR_IO, "none", "export", w4a4, "-o", scratch("none/x"));
    fails(VQ_ERR_IO, "folder", "export", w4a4, "-o", empty);
    fails(VQ_ERR_INVALID_ARG, "overwrite", "export", w4a4, "-o", w4a4);
    fails_with(&small, VQ_ERR_IO, "x", "export", w4a4, "-o", scratch("empty/x"));
    assert_int_equal(entries(empty), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_bad_outputs),
    };
    if (!find_files(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, prepare, NULL) ? 1 : 0;
}
