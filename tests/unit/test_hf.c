/* Models in the form of transformers, and weights in several files: what is read, and the line that names each fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph/build.h"
#include "graph/weights.h"

static char dir[64], last_error[VQ_LOG_LINE];

static void expect_fault(vq_status status, const char *input, const char *want)
{
    if (status == VQ_OK || !strstr(last_error, want))
        fail_msg("%s: status %d, message \"%s\", expected \"%s\"", input, status, last_error, want);
    assert_null(strchr(last_error, '\n'));
}

/* ---- configs -------------------------------------------------------------------------------------------------------
 */

#define BODY  "\"hidden_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"image_size\":32,\"patch_size\":8"
#define VIT   "\"architectures\":[\"ViTForImageClassification\"],"
#define DINO  "\"architectures\":[\"Dinov2ForImageClassification\"],"
#define STATS "\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.25,0.5]"
#define PRE   "{\"image_processor_type\":\"ViTImageProcessor\",\"size\":{\"height\":32,\"width\":32}," STATS "}"
#define BIT \
    "{\"image_processor_type\":\"BitImageProcessor\",\"size\":{\"shortest_edge\":40},\"crop_size\":32," STATS "}"

static vq_status parse(vq_graph **g, const char *config, const char *pre)
{
    last_error[0] = 0;
    vq_log_capture(last_error);
    const vq_status status = vq_graph_from_configs(g, "config.json", config, strlen(config), "preprocessor_config.json",
                                                   pre, pre ? strlen(pre) : 0);
    vq_log_capture(NULL);
    return status;
}

static void test_hf__config(void **state)
{
    vq_graph *g;
    (void)state;
    assert_int_equal(parse(&g, "{" VIT BODY ",\"id2label\":{\"1\":\"dog\",\"0\":\"cat\"},\"layer_norm_eps\":1e-5}",
                           "{\"size\":32," STATS ",\"resample\":3,\"rescale_factor\":0.00392156862745098}"),
                     VQ_OK);
    assert_string_equal(g->architecture, "ViTForImageClassification");
    assert_int_equal(g->num_classes, 2);
    assert_string_equal(g->labels[0], "cat");
    assert_string_equal(g->labels[1], "dog");
    assert_int_equal(g->tokens, 17);
    assert_int_equal(g->pre.resample, VQ_RESAMPLE_BICUBIC);
    assert_int_equal(g->pre.crop_mode, VQ_CROP_SQUASH);
    assert_float_equal(g->pre.crop_pct, 1, 0);
    assert_float_equal(g->pre.std[1], 0.25, 0);
    assert_float_equal(g->ln_eps, 1e-5f, 0);
    vq_graph_destroy(&g);
    /* another size than the model's is no fault where the position embedding is resized */
    assert_int_equal(parse(&g, "{" DINO BODY ",\"num_labels\":3}",
                           "{\"size\":{\"shortest_edge\":28},\"crop_size\":{\"height\":24,\"width\":24},"
                           "\"do_rescale\":false," STATS "}"),
                     VQ_OK);
    assert_int_equal(g->tokens, 10);
    assert_int_equal(g->pre.height, 24);
    assert_true(g->pre.crop_floor);
    assert_float_equal(g->pre.mean[0], 0.5 / 255, 1e-9);
    assert_int_equal(g->values[g->num_values - 2].cols, 48); /* class token and mean */
    vq_graph_destroy(&g);
}

static void test_hf__config_names_the_fault(void **state)
{
    static const struct {
        const char *config, *pre, *want;
    } cases[] = {
        {"{" VIT BODY "}", NULL, "preprocessor_config.json beside it is missing"},
        {"{" VIT BODY "}", "[]", "not an object"},
        {"{" VIT BODY "}", "{", "preprocessor_config.json: not JSON"},
        {"{\"model_type\":\"vit\"}", PRE, "architectures must be a list of one class"},
        {"{\"architectures\":[\"ViTModel\"]}", PRE, "\"ViTModel\" is not known"},
        {"{\"architectures\":[\"BeitForImageClassification\"]}", PRE, "ViTForImageClassification"},
        {"{\"architectures\":[7]}", PRE, "architectures must be a list"},
        {"{" VIT "\"hidden_size\":-24}", PRE, "hidden_size is -24"},
        {"{" VIT "\"hidden_size\":1e99}", PRE, "hidden_size is 1e+99"},
        {"{" VIT "\"num_hidden_layers\":1000000}", PRE, "num_hidden_layers is 1e+06"},
        {"{" VIT "\"num_attention_heads\":7}", PRE, "hidden_size 768 is not a multiple of num_attention_heads 7"},
        {"{" VIT "\"num_attention_heads\":0}", PRE, "num_attention_heads is 0"},
        {"{" VIT "\"intermediate_size\":99999}", PRE, "intermediate_size is 99999"},
        {"{" VIT "\"patch_size\":[8,4]}", PRE, "patch_size is 8 x 4, must be square"},
        {"{" VIT "\"patch_size\":9999}", PRE, "patch_size is 9999"},
        {"{" VIT "\"image_size\":\"x\"}", PRE, "image_size is not a number"},
        {"{" VIT "\"image_size\":4}", PRE, "image_size 4 x 4 is smaller than patch_size 16"},
        {"{" VIT "\"image_size\":8192,\"patch_size\":8}", PRE, "tokens"},
        {"{" VIT BODY ",\"num_channels\":2}", PRE, "num_channels is 2"},
        {"{" VIT BODY ",\"layer_norm_eps\":0}", PRE, "layer_norm_eps is 0"},
        {"{" VIT BODY ",\"hidden_act\":\"quick_gelu\"}", PRE, "hidden_act is \"quick_gelu\""},
        {"{" VIT BODY ",\"qkv_bias\":\"no\"}", PRE, "qkv_bias is not true or false"},
        {"{" DINO BODY ",\"use_swiglu_ffn\":true}", BIT, "use_swiglu_ffn is true"},
        {"{" DINO BODY ",\"mlp_ratio\":-1}", BIT, "mlp_ratio -1"},
        {"{" VIT BODY ",\"id2label\":{}}", PRE, "id2label has 0 entries"},
        {"{" VIT BODY ",\"id2label\":[\"a\"]}", PRE, "id2label has 1 entries, must be an object"},
        {"{" VIT BODY ",\"id2label\":{\"0\":\"a\",\"2\":\"b\"}}", PRE, "id2label has the key \"2\""},
        {"{" VIT BODY ",\"id2label\":{\"0\":\"a\",\"0\":\"b\"}}", PRE, "id2label has the key \"0\""},
        {"{" VIT BODY ",\"id2label\":{\"0\":\"a\",\"1\":2}}", PRE, "id2label[1] is not a string"},
        {"{" VIT BODY "}", "{\"size\":48," STATS "}", "images come out as 48 x 48, image_size is 32 x 32"},
        {"{" VIT BODY "}", "{" STATS "}", "size must have"},
        {"{" VIT BODY "}", "{\"size\":{\"height\":32}," STATS "}", "size must have"},
        {"{" VIT BODY "}", "{\"size\":{\"height\":-1,\"width\":3}," STATS "}", "size.height is -1"},
        {"{" VIT BODY "}", "{\"size\":{\"shortest_edge\":32}," STATS "}", "images of many sizes"},
        {"{" VIT BODY "}", "{\"size\":32,\"resample\":1," STATS "}", "resample is 1"},
        {"{" VIT BODY "}", "{\"size\":32,\"do_resize\":false," STATS "}", "do_resize is false"},
        {"{" VIT BODY "}", "{\"size\":32}", "image_mean has 0 entries"},
        {"{" VIT BODY "}", "{\"size\":32,\"image_mean\":[0,0,0],\"image_std\":[1,0,1]}", "image_std[1]"},
        {"{" VIT BODY "}", "{\"size\":32,\"rescale_factor\":0," STATS "}", "rescale_factor is 0"},
        {"{" VIT BODY "}", "{\"size\":32,\"image_processor_type\":\"Pix2StructImageProcessor\"," STATS "}",
         "image_processor_type is \"Pix2Struct"},
        {"{" VIT BODY "}", "{\"image_processor_type\":\"CLIPImageProcessor\",\"size\":24,\"crop_size\":32," STATS "}",
         "crop_size 32 x 32 is larger than size"},
        {"{" VIT BODY "}",
         "{\"image_processor_type\":\"DeiTImageProcessor\",\"size\":{\"height\":40,\"width\":64},\"crop_size\":"
         "32," STATS "}",
         "has another shape than crop_size"},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        vq_graph *g;
        expect_fault(parse(&g, cases[i].config, cases[i].pre), cases[i].config, cases[i].want);
        assert_null(g);
    }
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static void write_file(const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *const f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void write_shard(const char *name, const char *const *tensors)
{
    static const float data[4] = {1, 2, 3, 4};
    char path[160];
    vq_st_writer *w;
    assert_int_equal(vq_st_writer_create(&w), VQ_OK);
    for (; *tensors; tensors++)
        assert_int_equal(vq_st_writer_add(w, *tensors, VQ_DTYPE_F32, vq_shape1(4), data), VQ_OK);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(vq_st_writer_finish(w, path), VQ_OK);
    vq_st_writer_destroy(&w);
}

static void remove_file(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

#define INDEX "model.safetensors.index.json"

static vq_status open_index(vq_weights **w, const char *json)
{
    char path[160];
    write_file(INDEX, json);
    snprintf(path, sizeof path, "%s/" INDEX, dir);
    last_error[0] = 0;
    vq_log_capture(last_error);
    const vq_status status = vq_weights_open(w, path);
    vq_log_capture(NULL);
    return status;
}

static void test_hf__shards(void **state)
{
    vq_weights *w;
    const vq_safetensors *st = NULL;
    char hash[33];
    (void)state;
    write_shard("a.safetensors", (const char *const[]){"x", "y", NULL});
    write_shard("b.safetensors", (const char *const[]){"z", NULL});
    assert_int_equal(open_index(&w, "{\"metadata\":{\"total_size\":48},\"weight_map\":{\"z\":\"b.safetensors\","
                                    "\"x\":\"a.safetensors\",\"y\":\"a.safetensors\"}}"),
                     VQ_OK);
    assert_int_equal(vq_weights_count(w), 3);
    assert_string_equal(vq_weights_at(w, 2, &st)->name, "z");
    assert_non_null(vq_weights_find(w, "y", &st));
    assert_non_null(strstr(vq_safetensors_path(st), "a.safetensors"));
    assert_null(vq_weights_find(w, "w", NULL));
    assert_int_equal(vq_weights_hash(hash, w), VQ_OK);
    assert_int_equal(strlen(hash), 32);
    vq_weights_destroy(&w);
}

static void test_hf__shards_name_the_fault(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"", "not JSON"},
        {"[]", "\"weight_map\" is not an object"},
        {"{\"weight_map\":{}}", "at least one tensor"},
        {"{\"weight_map\":{\"x\":1}}", "weight_map of x is \"?\""},
        {"{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "\"../a.safetensors\", must be the name of"},
        {"{\"weight_map\":{\"x\":\"/etc/a.safetensors\"}}", "must be the name of"},
        {"{\"weight_map\":{\"x\":\"a\\\\b.safetensors\"}}", "must be the name of"},
        {"{\"weight_map\":{\"x\":\"a\\u0007.safetensors\"}}", "must be the name of"},
        {"{\"weight_map\":{\"x\":\".safetensors\"}}", "must be the name of"},
        {"{\"weight_map\":{\"x\":\"/dev/zero\"}}", "must be the name of"},
        {"{\"weight_map\":{\"x\":\"c.safetensors\"}}", "shard c.safetensors is missing"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"x\":\"a.safetensors\"}}", "lists x twice"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\"}}", "tensor y is in a.safetensors, and weight_map does not list it"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"z\":\"b.safetensors\"}}",
         "tensor y is not in b.safetensors"},
        {"{\"weight_map\":{\"q\":\"a.safetensors\",\"x\":\"a.safetensors\",\"y\":\"a.safetensors\"}}",
         "tensor q is not in a.safetensors"},
    };
    vq_weights *w;
    (void)state;
    write_shard("a.safetensors", (const char *const[]){"x", "y", NULL});
    write_shard("b.safetensors", (const char *const[]){"z", NULL});
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        expect_fault(open_index(&w, cases[i].json), cases[i].json, cases[i].want);
        assert_null(w);
    }
    write_shard("b.safetensors", (const char *const[]){"z", "x", NULL});
    expect_fault(open_index(&w, "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"a.safetensors\",\"z\":"
                                "\"b.safetensors\"}}"),
                 "two copies", "tensor x is in b.safetensors, and weight_map has it elsewhere");
    write_file("b.safetensors", "short");
    expect_fault(open_index(&w, "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"a.safetensors\",\"z\":"
                                "\"b.safetensors\"}}"),
                 "broken shard", "b.safetensors");
}

static void test_hf__pickle_is_refused(void **state)
{
    char path[160];
    vq_graph *g;
    (void)state;
    remove_file(INDEX);
    write_file("pytorch_model.bin", "PK");
    write_file("config.json", "{}");
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s%s", dir, i ? "/pytorch_model.bin" : "");
        last_error[0] = 0;
        vq_log_capture(last_error);
        const vq_status status = vq_graph_load(&g, path);
        vq_log_capture(NULL);
        expect_fault(status, path, "model.safetensors')\"");
        assert_non_null(strstr(last_error, "python3 -c"));
        assert_int_equal(status, VQ_ERR_UNSUPPORTED);
    }
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/vitq_test_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"a.safetensors", "b.safetensors", INDEX, "pytorch_model.bin", "config.json"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++) remove_file(names[i]);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hf__config),
        cmocka_unit_test(test_hf__config_names_the_fault),
        cmocka_unit_test(test_hf__shards),
        cmocka_unit_test(test_hf__shards_name_the_fault),
        cmocka_unit_test(test_hf__pickle_is_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir) ? 1 : 0;
}
