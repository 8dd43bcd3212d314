/* Configs, graphs and weights files: the good ones as they must come out, the bad ones by the line that names the
 * fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graph/build.h"
#include "graph/plan.h"
#include "graph/vit.h"
#include "base/file.h"

static char dir[64], last_error[512];

static void keep_error(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level == VQ_LOG_ERROR) snprintf(last_error, sizeof last_error, "%s", text);
}

static void listen(void)
{
    last_error[0] = 0;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
}

#define PRE                                                                                          \
    "\"pretrained_cfg\":{\"input_size\":[3,224,224],\"interpolation\":\"bicubic\",\"crop_pct\":0.9," \
    "\"crop_mode\":\"center\",\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]}"
#define TINY "{\"architecture\":\"vit_tiny_patch16_224\",\"num_classes\":1000,"

static vq_status parse(vq_graph **g, const char *json)
{
    listen();
    const vq_status status = vq_graph_from_config(g, "config.json", json, strlen(json));
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    return status;
}

/* The first value that an operation of that kind makes. */
static const vq_value *first_out(const vq_graph *g, vq_node_op op)
{
    for (int i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].op == op) return &g->values[g->nodes[i].out];
    return NULL;
}

static void test_graph__config_defaults(void **state)
{
    static const struct {
        const char *name;
        int dim, depth, heads, patch, side;
    } cases[] = {
        {"vit_tiny_patch16_224", 192, 12, 3, 16, 224},          {"vit_small_patch32_384", 384, 12, 6, 32, 384},
        {"vit_base_patch8_224.augreg", 768, 12, 12, 8, 224},    {"vit_large_patch14_224", 1024, 24, 16, 14, 224},
        {"deit_tiny_patch16_224.fb_in1k", 192, 12, 3, 16, 224}, {"deit_base_patch16_384", 768, 12, 12, 16, 384},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        char json[512];
        vq_graph *g;
        snprintf(json, sizeof json,
                 "{\"architecture\":\"%s\",\"pretrained_cfg\":{\"input_size\":[3,%d,%d],\"mean\":[0,0,0],"
                 "\"std\":[1,1,1]}}",
                 cases[i].name, cases[i].side, cases[i].side);
        assert_int_equal(parse(&g, json), VQ_OK);
        assert_int_equal(g->embed_dim, cases[i].dim);
        assert_int_equal(g->depth, cases[i].depth);
        assert_int_equal(g->heads, cases[i].heads);
        assert_int_equal(g->patch, cases[i].patch);
        assert_int_equal(g->pre.width, cases[i].side);
        assert_int_equal(first_out(g, VQ_NODE_GELU)->cols, 4 * cases[i].dim);
        assert_int_equal(g->num_classes, 1000);
        vq_graph_destroy(&g);
    }
}

/* What the words of a name mean: tokens, those in front of the patches, columns that the head reads. */
static void test_graph__config_names(void **state)
{
    static const struct {
        const char *name;
        int tokens, prefix, head;
        bool pre_norm, layer_scale, qkv_bias;
    } cases[] = {
        {"vit_huge_patch14_224", 257, 1, 1280, false, false, true},
        {"vit_medium_patch16_gap_256", 256, 0, 512, false, true, false},
        {"vit_base_patch16_gap_224", 196, 0, 768, false, false, true},
        {"vit_base_patch16_224_miil", 197, 1, 768, false, false, false},
        {"vit_large_patch14_clip_336.openai_ft_in12k_in1k", 577, 1, 1024, true, false, true},
        {"vit_small_patch14_dinov2", 1370, 1, 384, false, true, true},
        {"vit_base_patch14_reg4_dinov2.lvd142m", 1374, 5, 768, false, true, true},
        {"deit_tiny_distilled_patch16_224.fb_in1k", 198, 2, 384, false, false, true},
        {"deit_base_distilled_patch16_384", 578, 2, 1536, false, false, true},
        {"deit3_huge_patch14_224", 257, 1, 1280, false, true, true},
        {"deit3_medium_patch16_224.fb_in22k_ft_in1k", 197, 1, 512, false, true, true},
    };
    static const char *const refused[] = {"vit_base_patch32_clip_quickgelu_224",
                                          "vit_giant_patch14_dinov2",
                                          "vit_base_patch16_rpn_224",
                                          "deit3_tiny_patch16_224",
                                          "vit_small_patch16",
                                          "vit_small_224",
                                          "vit_base_patch16_siglip_224",
                                          "deit_small_patch16_gap_224",
                                          "vit_base_patch0_224",
                                          "vit_base_patch16_99999",
                                          "vit",
                                          "vit_",
                                          "",
                                          "vit_base_patch16_224__",
                                          "vit_base_patch16_-224",
                                          "deit_small_patch32_224"};
    char json[512];
    vq_graph *g;
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        snprintf(json, sizeof json, "{\"architecture\":\"%s\",\"mean\":[0,0,0],\"std\":[1,1,1]}", cases[i].name);
        if (parse(&g, json) != VQ_OK) fail_msg("%s: %s", cases[i].name, last_error);
        assert_int_equal(g->tokens, cases[i].tokens);
        assert_int_equal(g->nodes[1].prefix, cases[i].prefix);
        assert_int_equal(g->values[g->nodes[g->num_nodes - 1].in[0]].cols, cases[i].head);
        bool pre_norm = false, layer_scale = false, qkv_bias = false;
        for (int s = 0; s < g->num_sources; s++) {
            pre_norm |= strncmp(g->sources[s].name, "norm_pre.", 9) == 0;
            layer_scale |= strcmp(g->sources[s].name, "blocks.0.ls2.gamma") == 0;
            qkv_bias |= strcmp(g->sources[s].name, "blocks.0.attn.qkv.bias") == 0;
        }
        assert_true(pre_norm == cases[i].pre_norm && layer_scale == cases[i].layer_scale);
        assert_true(qkv_bias == cases[i].qkv_bias);
        vq_graph_destroy(&g);
    }
    for (size_t i = 0; i < VQ_ARRAY_LEN(refused); i++) {
        snprintf(json, sizeof json, "{\"architecture\":\"%s\",\"mean\":[0,0,0],\"std\":[1,1,1]}", refused[i]);
        if (parse(&g, json) == VQ_OK || !strstr(last_error, "is not known; known: "))
            fail_msg("%s: %s", refused[i], last_error);
    }
}

static void test_graph__config_overrides(void **state)
{
    vq_graph *g;
    (void)state;
    assert_int_equal(
        parse(&g, "{\"architecture\":\"vit_tiny_patch16_224\",\"num_classes\":2,\"global_pool\":\"token\","
                  "\"model_args\":{\"embed_dim\":128,\"depth\":6,\"num_heads\":4,\"img_size\":[28,56],"
                  "\"patch_size\":4,\"in_chans\":1,\"mlp_ratio\":3,\"qkv_bias\":true,\"drop_rate\":0.1,"
                  "\"init_values\":null},"
                  "\"pretrained_cfg\":{\"input_size\":[1,28,56],\"interpolation\":\"bilinear\",\"crop_pct\":1.0,"
                  "\"crop_mode\":\"squash\",\"mean\":[0.25],\"std\":[0.5],\"num_classes\":1000},"
                  "\"label_names\":[\"n1\",\"n2\"],\"label_descriptions\":{\"n1\":\"tench\"}}"),
        VQ_OK);
    assert_int_equal(g->pre.height, 28);
    assert_int_equal(g->pre.width, 56);
    assert_int_equal(first_out(g, VQ_NODE_GELU)->cols, 384);
    assert_int_equal(g->num_classes, 2);
    assert_int_equal(g->pre.chans, 1);
    assert_int_equal(g->pre.resample, VQ_RESAMPLE_BILINEAR);
    assert_int_equal(g->pre.crop_mode, VQ_CROP_SQUASH);
    assert_float_equal(g->pre.mean[0], 0.25, 0);
    assert_string_equal(g->labels[0], "tench");
    assert_string_equal(g->labels[1], "n2");
    vq_graph_destroy(&g);
}

static void test_graph__config_names_the_fault(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"", "not JSON"},
        {"[1]", "not a JSON object"},
        {"{}", "\"architecture\" is missing"},
        {"{\"model_type\":\"vit\",\"architectures\":[\"ViTForImageClassification\"]}", "preprocessor_config.json"},
        {"{\"architecture\":\"resnet50\"}", "\"resnet50\" is not known"},
        {"{\"architecture\":\"vit_tiny_patch16_224_in21k\"}", "is not known"},
        {"{\"architecture\":\"deit_tiny_distilled_patch14_224\"}", "is not known"},
        {"{\"architecture\":\"vit_tiny_patch99_224\"}", "is not known"},
        {TINY "\"model_args\":{\"embed_dim\":-192}," PRE "}", "model_args.embed_dim is -192"},
        {TINY "\"model_args\":{\"embed_dim\":1e30}," PRE "}", "model_args.embed_dim is 1e+30"},
        {TINY "\"model_args\":{\"depth\":1000000}," PRE "}", "model_args.depth is 1e+06, must be an integer 1 to 256"},
        {TINY "\"model_args\":{\"depth\":2.5}," PRE "}", "model_args.depth is 2.5"},
        {TINY "\"model_args\":{\"depth\":\"12\"}," PRE "}", "model_args.depth is not a number"},
        {TINY "\"model_args\":{\"num_heads\":5}," PRE "}", "embed_dim 192 is not a multiple of num_heads 5"},
        {TINY "\"model_args\":{\"patch_size\":15}," PRE "}", "not a multiple of patch_size 15"},
        {TINY "\"model_args\":{\"patch_size\":1,\"img_size\":224}," PRE "}", "tokens"},
        {TINY "\"model_args\":{\"patch_size\":0}," PRE "}", "model_args.patch_size is 0"},
        {TINY "\"model_args\":{\"img_size\":[224]}," PRE "}", "model_args.img_size has 1 entries"},
        {TINY "\"model_args\":{\"in_chans\":2}," PRE "}", "in_chans is 2"},
        {TINY "\"model_args\":{\"mlp_ratio\":1e9}," PRE "}", "mlp_ratio 1e+09"},
        {TINY "\"model_args\":{\"reg_tokens\":-4}," PRE "}", "model_args.reg_tokens is -4"},
        {TINY "\"model_args\":{\"qkv_bias\":0}," PRE "}", "model_args.qkv_bias is not true or false"},
        {TINY "\"model_args\":{\"init_values\":\"1\"}," PRE "}", "model_args.init_values is not a number"},
        {TINY "\"model_args\":{\"class_token\":false}," PRE "}", "global_pool is \"token\" and class_token false"},
        {TINY "\"model_args\":{\"act_layer\":\"quick_gelu\"}," PRE "}", "model_args.act_layer is \"quick_gelu\""},
        {TINY "\"model_args\":{\"surprise\":1}," PRE "}", "model_args.surprise is not supported"},
        {TINY "\"global_pool\":\"map\"," PRE "}", "global_pool is \"map\""},
        {TINY "\"num_classes\":1}", "pretrained_cfg.mean has 0 entries"},
        {TINY "\"pretrained_cfg\":{\"mean\":[0,0],\"std\":[1,1,1]}}", "pretrained_cfg.mean has 2 entries, must have 3"},
        {TINY "\"pretrained_cfg\":{\"mean\":[0,0,0],\"std\":[1,0,1]}}", "pretrained_cfg.std[1]"},
        {TINY "\"pretrained_cfg\":{\"input_size\":[3,385,384]}}", "img_size 385 x 384 is not a multiple"},
        {TINY "\"pretrained_cfg\":{\"interpolation\":\"lanczos\"}}", "interpolation is \"lanczos\""},
        {TINY "\"pretrained_cfg\":{\"crop_pct\":7}}", "crop_pct is 7"},
        {TINY "\"label_names\":[\"a\"]," PRE "}", "label_names has 1 entries, the model has 1000"},
        {"{\"architecture\":\"vit_tiny_patch16_224\",\"num_classes\":0," PRE "}", "num_classes is 0"},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        vq_graph *g;
        const vq_status status = parse(&g, cases[i].json);
        if (status == VQ_OK || !strstr(last_error, cases[i].want))
            fail_msg("%s: status %d, message \"%s\", expected \"%s\"", cases[i].json, status, last_error,
                     cases[i].want);
        assert_null(g);
    }
}

/* ---- graphs --------------------------------------------------------------------------------------------------------
 */

static vq_vit_config small_config(void)
{
    return (vq_vit_config){.base = {.architecture = "vit_tiny_patch16_224",
                                    .img_height = 8,
                                    .img_width = 12,
                                    .chans = 3,
                                    .num_classes = 5,
                                    .ln_eps = 1e-6f,
                                    .pre = {.chans = 3,
                                            .height = 8,
                                            .width = 12,
                                            .crop_pct = 1,
                                            .mean = {0.5f, 0.25f, 0.125f},
                                            .std = {0.5f, 0.25f, 2}}},
                           .patch = 4,
                           .embed_dim = 6,
                           .depth = 2,
                           .heads = 2,
                           .mlp_dim = 10};
}

static void test_graph__nodes_fit_together(void **state)
{
    const vq_vit_config c = small_config();
    vq_graph *g, *copy;
    (void)state;
    assert_int_equal(vq_vit_build(&g, &c), VQ_OK);
    assert_int_equal(g->tokens, 7);
    assert_int_equal(g->num_nodes, 2 + 2 * 12 + 3);
    assert_int_equal(g->num_values, g->num_nodes + 1);
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        assert_int_equal(n->out, i + 1);
        assert_true(n->in[0] >= 0 && n->in[0] < n->out && n->in[1] < n->out);
        assert_int_equal(vq_graph_producer(g, n->out), i);
        if (n->op != VQ_NODE_LINEAR) continue;
        assert_int_equal(g->params[n->weight].shape.dims[0], g->values[n->out].cols);
        assert_int_equal(g->params[n->weight].shape.dims[1], g->values[n->in[0]].cols);
    }
    assert_int_equal(vq_graph_producer(g, 0), -1);
    assert_string_equal(g->nodes[vq_graph_last_use(g, 2)].name, "blocks.0.add1"); /* the residual stream */
    assert_string_equal(g->nodes[g->num_nodes - 1].name, "head");
    assert_int_equal(g->values[g->num_values - 1].cols, 5);
    assert_int_equal(vq_graph_clone(&copy, g), VQ_OK);
    assert_string_equal(copy->nodes[5].name, g->nodes[5].name);
    assert_ptr_not_equal(copy->nodes[5].name, g->nodes[5].name);
    vq_graph_destroy(&g);
    vq_graph_destroy(&copy);
    assert_null(g);
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

typedef enum fault { NONE, MISSING, SHAPE, EXTRA, TYPE, NOT_FINITE } fault;

static float value_at(int tensor, size_t i)
{
    return (float)((int)((i * 7 + (size_t)tensor * 13) % 31) - 15) / 16.0f;
}

/* Writes model.safetensors for the small config with made-up values, and one fault. */
static void write_weights(const vq_graph *g, fault f)
{
    const vq_source *const sources = g->sources;
    const int count = g->num_sources;
    vq_st_writer *w;
    char path[128];
    float *data[64] = {0};
    assert_int_equal(vq_st_writer_create(&w), VQ_OK);
    assert_true(count < 63);
    for (int t = 0; t < count; t++) {
        vq_shape shape = sources[t].shape;
        const size_t n = vq_shape_count(&shape);
        const bool here = strcmp(sources[t].name, "blocks.1.attn.qkv.weight") == 0;
        data[t] = malloc(n * sizeof(float));
        for (size_t i = 0; i < n; i++) data[t][i] = value_at(t, i);
        if (here && f == MISSING) continue;
        if (here && f == SHAPE) shape = vq_shape2(shape.dims[1], shape.dims[0]);
        if (here && f == NOT_FINITE) data[t][5] = INFINITY;
        assert_int_equal(
            vq_st_writer_add(w, sources[t].name, here && f == TYPE ? VQ_DTYPE_S32 : VQ_DTYPE_F32, shape, data[t]),
            VQ_OK);
    }
    if (f == EXTRA) assert_int_equal(vq_st_writer_add(w, "head_dist.bias", VQ_DTYPE_F32, vq_shape1(1), data[0]), VQ_OK);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(vq_st_writer_finish(w, path), VQ_OK);
    vq_st_writer_destroy(&w);
    for (int t = 0; t < count; t++) free(data[t]);
}

static void write_config(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"architecture\":\"vit_tiny_patch16_224\",\"num_classes\":5,\"model_args\":{\"img_size\":[8,12],"
          "\"patch_size\":4,\"embed_dim\":6,\"depth\":2,\"num_heads\":2,\"mlp_ratio\":1.7},\"pretrained_cfg\":{"
          "\"input_size\":[3,8,12],\"mean\":[0.5,0.25,0.125],\"std\":[0.5,0.25,2],\"crop_pct\":1}}",
          f);
    assert_int_equal(fclose(f), 0);
}

static int source_index(const vq_graph *g, const char *name)
{
    int found = -1;
    for (int i = 0; i < g->num_sources; i++)
        if (strcmp(g->sources[i].name, name) == 0) found = i;
    assert_true(found >= 0);
    return found;
}

static void test_graph__loads_and_folds(void **state)
{
    const vq_vit_config c = small_config();
    vq_graph *plain, *g;
    (void)state;
    assert_int_equal(vq_vit_build(&plain, &c), VQ_OK);
    write_config();
    write_weights(plain, NONE);
    assert_int_equal(vq_graph_load(&g, dir), VQ_OK);
    const vq_node *const patch = &g->nodes[0], *const tokens = &g->nodes[1];
    const float *const w = g->params[patch->weight].data, *const b = g->params[patch->bias].data;
    const int wt = source_index(plain, "patch_embed.proj.weight"), bt = source_index(plain, "patch_embed.proj.bias");
    for (int o = 0; o < 6; o++) { /* on pixels, the folded weights give what normalization and the plain ones give */
        double want = value_at(bt, (size_t)o), got = b[o];
        for (int i = 0; i < 48; i++) {
            const int ch = i / 16, u8 = (i * 37 + o) % 256;
            want += (u8 / 255.0 - c.base.pre.mean[ch]) / c.base.pre.std[ch] * value_at(wt, (size_t)(o * 48 + i));
            got += (double)w[o * 48 + i] * u8;
        }
        assert_float_equal(got, want, 2e-5);
    }
    const int pos = source_index(plain, "pos_embed"), cls = source_index(plain, "cls_token");
    const float *const init = g->params[tokens->weight].data;
    for (size_t i = 0; i < 7 * 6; i++)
        assert_float_equal(init[i], value_at(pos, i) + (i < 6 ? value_at(cls, i) : 0), 1e-6);
    assert_int_equal(strlen(g->source_hash), 32);
    vq_graph_destroy(&g);
    vq_graph_destroy(&plain);
}

static void test_graph__weights_name_the_fault(void **state)
{
    static const struct {
        fault f;
        const char *want;
    } cases[] = {
        {MISSING, "tensor blocks.1.attn.qkv.weight is missing, expected with shape [18, 6]"},
        {SHAPE, "blocks.1.attn.qkv.weight has shape [6, 18], expected [18, 6]"},
        {EXTRA, "tensor head_dist.bias does not belong"},
        {TYPE, "blocks.1.attn.qkv.weight has type I32"},
        {NOT_FINITE, "blocks.1.attn.qkv.weight[5] is not finite"},
    };
    const vq_vit_config c = small_config();
    vq_graph *plain, *g;
    (void)state;
    assert_int_equal(vq_vit_build(&plain, &c), VQ_OK);
    write_config();
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        write_weights(plain, cases[i].f);
        listen();
        const vq_status status = vq_graph_load(&g, dir);
        vq_log_set(NULL, NULL, VQ_LOG_WARN);
        if (status == VQ_OK || !strstr(last_error, cases[i].want))
            fail_msg("status %d, message \"%s\", expected \"%s\"", status, last_error, cases[i].want);
        assert_null(g);
    }
    listen();
    assert_int_equal(vq_graph_load(&g, "/nowhere/at/all"), VQ_ERR_IO);
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    assert_non_null(strstr(last_error, "/nowhere/at/all"));
    vq_graph_destroy(&plain);
}

/* The real ViT-Ti, where it is at hand. */
static void test_graph__real_model(void **state)
{
    const char *const root = getenv("VITQ_TEST_DATA");
    char path[512];
    vq_graph *g;
    (void)state;
    snprintf(path, sizeof path, "%s/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
             root ? root : VQ_SOURCE_DIR "/../shared/data");
    if (!vq_is_dir(path)) {
        print_message("%s is not there: skipped\n", path);
        skip();
    }
    assert_int_equal(vq_graph_load(&g, path), VQ_OK);
    size_t count = 0;
    for (int i = 0; i < g->num_params; i++) count += vq_shape_count(&g->params[i].shape);
    assert_int_equal(count, 5717416 - 192); /* the class token is in pos_embed */
    assert_int_equal(g->tokens, 197);
    assert_string_equal(g->labels[1], "goldfish, Carassius auratus");
    assert_float_equal(g->pre.crop_pct, 0.9f, 0);
    vq_graph_destroy(&g);
}

/* ---- memory plan ---------------------------------------------------------------------------------------------------
 */

static void test_graph__plan_never_overlaps(void **state)
{
    enum { ITEMS = 60 };
    vq_rng rng;
    (void)state;
    vq_rng_seed(&rng, 3);
    for (int round = 0; round < 20; round++) {
        vq_plan_item items[ITEMS];
        size_t total, most = 0;
        for (int i = 0; i < ITEMS; i++) {
            const int first = (int)vq_rng_below(&rng, 40);
            items[i] = (vq_plan_item){
                .bytes = vq_rng_below(&rng, 1000), .first = first, .last = first + (int)vq_rng_below(&rng, 8)};
            most = VQ_MAX(most, items[i].bytes);
        }
        assert_int_equal(vq_plan_memory(items, ITEMS, 64, &total), VQ_OK);
        assert_true(total >= most && total < ITEMS * 1064);
        for (int i = 0; i < ITEMS; i++) {
            assert_int_equal(items[i].offset % 64, 0);
            assert_true(items[i].offset + items[i].bytes <= total);
            for (int j = 0; j < i; j++) {
                const bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
                const bool apart = items[i].offset + items[i].bytes <= items[j].offset ||
                                   items[j].offset + items[j].bytes <= items[i].offset;
                assert_true(!together || apart || !items[i].bytes || !items[j].bytes);
            }
        }
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
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph__config_defaults),        cmocka_unit_test(test_graph__config_names),
        cmocka_unit_test(test_graph__config_overrides),       cmocka_unit_test(test_graph__config_names_the_fault),
        cmocka_unit_test(test_graph__nodes_fit_together),     cmocka_unit_test(test_graph__loads_and_folds),
        cmocka_unit_test(test_graph__weights_name_the_fault), cmocka_unit_test(test_graph__real_model),
        cmocka_unit_test(test_graph__plan_never_overlaps),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir) ? 1 : 0;
}
