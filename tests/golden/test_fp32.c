/* The FP32 forward against logits and activations of timm: every photo, and the values between the layers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/safetensors.h"
#include "golden.h"
#include "run/float_run.h"
#include "run/model.h"

static golden g;

static float *read_f32(vq_safetensors **st, const char *file, const char *name, size_t *count)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", g.goldens, file);
    assert_int_equal(vq_safetensors_open(st, path), VQ_OK);
    const vq_st_tensor *const t = vq_safetensors_find(*st, name);
    assert_non_null(t);
    *count = vq_shape_count(&t->shape);
    float *const data = malloc(*count * sizeof *data);
    assert_non_null(data);
    assert_int_equal(vq_st_to_f32(data, *count, *st, t), VQ_OK);
    return data;
}

static void check_set(const char *images, const char *labels, const char *file, int top1)
{
    vq_model *model = NULL;
    vq_dataset *set = NULL;
    vq_safetensors *st = NULL;
    size_t count = 0;
    float worst = 0;
    assert_int_equal(vq_model_load(&model, g.model), VQ_OK);
    assert_int_equal(vq_dataset_open(&set, images, labels, vq_model_num_classes(model)), VQ_OK);
    float *const want = read_f32(&st, file, "logits", &count);
    float *const got = golden_logits(&g, model, set, VQ_MODE_FP32, 16);
    assert_int_equal(count, vq_dataset_count(set) * 1000);
    for (size_t i = 0; i < count; i++) worst = fmaxf(worst, fabsf(want[i] - got[i]));
    printf("%s: largest difference of a logit %g\n", file, (double)worst);
    assert_true(worst <= 2e-3f);
    assert_int_equal(golden_top1(set, got, 1000, VQ_MODE_FP32), top1);
    free(want);
    free(got);
    vq_safetensors_destroy(&st);
    vq_dataset_destroy(&set);
    vq_model_destroy(&model);
}

static void test_fp32__calib_logits(void **state)
{
    (void)state;
    check_set(g.calib, g.calib_labels, "calib/logits.safetensors", 52);
}

static void test_fp32__val_logits(void **state)
{
    (void)state;
    check_set(g.val, g.val_labels, "val/logits.safetensors", 294);
}

/* Golden tensor name, and the node of ours whose output it is. */
static const char *const taps[][2] = {
    {"patch_embed", "patch_embed.proj"},        {"blocks.0.norm1", "blocks.0.norm1"},
    {"blocks.0.attn.qkv", "blocks.0.attn.qkv"}, {"blocks.0.attn", "blocks.0.attn.proj"},
    {"blocks.0.mlp.act", "blocks.0.mlp.act"},
};

static void check_value(const vq_float_run *run, int node, const char *name)
{
    vq_safetensors *st = NULL;
    size_t count = 0;
    double error = 0, power = 0;
    float *const want = read_f32(&st, "calib/tensors.safetensors", name, &count);
    float *const got = malloc(count * sizeof *got);
    assert_non_null(got);
    assert_int_equal(vq_buf_read(g.dev, run->values[run->graph->nodes[node].out], 0, got, count * sizeof *got), VQ_OK);
    for (size_t i = 0; i < count; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        power += (double)want[i] * want[i];
    }
    printf("%s: normalized mean square error %.2g\n", name, error / power);
    assert_true(error <= 1e-9 * power);
    free(want);
    free(got);
    vq_safetensors_destroy(&st);
}

static void test_fp32__activations(void **state)
{
    (void)state;
    vq_graph *graph = NULL;
    vq_dataset *set = NULL;
    vq_float_run *run = NULL;
    size_t seen = 0;
    assert_int_equal(vq_graph_load(&graph, g.model), VQ_OK);
    assert_int_equal(vq_dataset_open(&set, g.calib, g.calib_labels, 1000), VQ_OK);
    assert_int_equal(vq_float_run_create(&run, g.dev, graph, 2), VQ_OK);
    uint8_t *const pixels = golden_pixels(set, &graph->pre, 0, 2);
    assert_int_equal(vq_float_run_input(run, pixels, 2), VQ_OK);
    for (int i = 0; i < graph->num_nodes; i++) {
        assert_int_equal(vq_float_run_node(run, i, 2), VQ_OK);
        for (size_t t = 0; t < sizeof taps / sizeof taps[0]; t++)
            if (strcmp(graph->nodes[i].name, taps[t][1]) == 0) {
                check_value(run, i, taps[t][0]);
                seen++;
            }
    }
    assert_int_equal(seen, sizeof taps / sizeof taps[0]);
    free(pixels);
    vq_float_run_destroy(&run);
    vq_dataset_destroy(&set);
    vq_graph_destroy(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32__activations),
        cmocka_unit_test(test_fp32__calib_logits),
        cmocka_unit_test(test_fp32__val_logits),
    };
    const int cannot = golden_open(&g);
    if (cannot) return cannot;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    golden_close(&g);
    return failed;
}
