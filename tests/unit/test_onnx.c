/* ONNX export: the file, read back and run by a small interpreter of the specification, gives the fake-quant logits of
 * the model it came from. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "onnx_run.h"
#include "quant/codebook.h"
#include "run/model.h"
#include "tiny_model.h"
#include "vitq.h"

enum { CLASSES = 7, IMAGES = 6 };

typedef struct setting {
    tiny_options options;
    bool gelu_codebook, far_zero, int4, u8_input;
} setting;

/* ---- models --------------------------------------------------------------------------------------------------------
 */

static int find_node(const vq_graph *g, const char *name)
{
    for (int i = 0; i < g->num_nodes; i++)
        if (strcmp(g->nodes[i].name, name) == 0) return i;
    fail_msg("no node %s", name);
    return 0;
}

/* fc2 of both blocks behind a codebook with an offset, as AdaLog has it after GELU. */
static void set_gelu_codebooks(vq_qmodel *m, int bits)
{
    static const float shape[VQ_SHAPE_MAX] = {20};
    static const char *const names[] = {"blocks.0.mlp.fc2", "blocks.1.mlp.fc2"};
    for (int i = 0; i < 2; i++) {
        vq_quantizer *const q = &m->nodes[find_node(m->graph, names[i])].in[0];
        vq_quantizer_clear(q);
        unit_ok(vq_codebook_create(q, &vq_codebook_adalog_family, bits, false, 2.5f, 0.16997f, shape));
    }
}

/* A range far from zero: its zero point lies outside of u8. */
static void set_far_zero(vq_qmodel *m)
{
    vq_quantizer *const q = &m->nodes[find_node(m->graph, "blocks.1.attn.proj")].in[0];
    q->scale[0] *= 0.5f;
    q->zero[0] = -3;
}

static vq_model *make_model(const setting *s)
{
    vq_graph *g = tiny_graph(s->options.chans, s->options.seed);
    vq_qmodel *m = tiny_qmodel(g, &s->options);
    vq_model *model = NULL;
    if (s->gelu_codebook) set_gelu_codebooks(m, s->options.a_bits);
    if (s->far_zero) set_far_zero(m);
    unit_ok(vq_model_from_qmodel(&model, &m));
    vq_graph_destroy(&g);
    return model;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------
 */

/* The image as the file's input wants it. */
static void fill_input(double *out, const vq_graph *g, const uint8_t *pixels, bool u8)
{
    const int chans = g->pre.chans, area = g->pre.height * g->pre.width;
    for (int i = 0; i < area; i++)
        for (int c = 0; c < chans; c++) {
            const uint8_t p = pixels[i * chans + c];
            if (u8)
                out[i * chans + c] = p;
            else
                out[c * area + i] = (p / 255.0f - g->pre.mean[c]) / g->pre.std[c];
        }
}

/* ---- devices -------------------------------------------------------------------------------------------------------
 */

static vq_device *dev;

/* What the device's fake-quant makes of the pixels of `images` images. */
static void run_fake(float *logits, const vq_model *model, const uint8_t *pixels, int images)
{
    const vq_session_params params = {.mode = VQ_MODE_FAKE, .max_batch = images};
    vq_session *session = NULL;
    unit_ok(vq_session_create(&session, dev, model, &params));
    unit_ok(vq_session_run(session, pixels, images, logits));
    vq_session_destroy(&session);
}

/* The exact form, run by the interpreter, gives the device's logits to the bit. */
static void check_exact(const vq_model *model, const uint8_t *pixels, int images, const vq_onnx_params *params)
{
    enum { MOST = 8 * 16 };
    const char *const path = unit_path("exact.onnx");
    const vq_graph *const g = vq_model_graph(model);
    const size_t bytes = (size_t)g->pre.height * (size_t)g->pre.width * (size_t)g->pre.chans;
    const int count = images * g->num_classes;
    float want[MOST];
    double *const input = calloc((size_t)images * bytes, sizeof *input);
    onnx_run run;
    assert_true(input && count <= MOST);
    for (size_t i = 0; i < (size_t)images; i++) fill_input(input + i * bytes, g, pixels + i * bytes, params->u8_input);
    run_fake(want, model, pixels, images);
    unit_ok(vq_export_onnx(NULL, model, path, params));
    onnx_open(&run, path);
    const onnx_tensor *const got = onnx_forward(&run, input, images);
    assert_int_equal(got->count, count);
    for (int i = 0; i < count; i++)
        if ((float)got->v[i] != want[i])
            fail_msg("%s: logit %d is %.9g, the device's %.9g", g->architecture, i, got->v[i], (double)want[i]);
    assert_int_equal(onnx_count(&run, "Erf"), 0);
    onnx_close(&run);
    free(input);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------
 */

static double range_of(const float *v, int n)
{
    float lo = v[0], hi = v[0];
    for (int i = 1; i < n; i++) {
        lo = fminf(lo, v[i]);
        hi = fmaxf(hi, v[i]);
    }
    return hi - lo;
}

/* Images whose logits differ by more than the last bits of sums: a value that lies on a rounding boundary may fall to
 * either side, and then everything behind it moves a little. */
static int count_different(onnx_run *run, const vq_graph *g, const vq_qmodel *m, bool u8)
{
    const size_t bytes = tiny_pixels(g);
    double *const input = calloc(IMAGES * bytes, sizeof *input);
    uint8_t *const pixels = malloc(bytes);
    float want[IMAGES][CLASSES];
    int different = 0;
    for (uint64_t i = 0; i < IMAGES; i++) {
        tiny_image(g, 100 + i, pixels);
        tiny_forward(g, m, pixels, want[i], NULL);
        fill_input(input + i * bytes, g, pixels, u8);
    }
    const onnx_tensor *const got = onnx_forward(run, input, IMAGES); /* as one batch */
    assert_int_equal(got->rank, 2);
    assert_int_equal(got->dims[0], IMAGES);
    assert_int_equal(got->dims[1], CLASSES);
    for (int i = 0; i < IMAGES; i++) {
        double worst = 0;
        for (int c = 0; c < CLASSES; c++) worst = fmax(worst, fabs(got->v[i * CLASSES + c] - (double)want[i][c]));
        different += worst > 1e-4 * range_of(want[i], CLASSES);
        assert_true(worst < range_of(want[i], CLASSES)); /* never another model */
    }
    free(input);
    free(pixels);
    return different;
}

static void check_setting(const setting *s)
{
    const char *const path = unit_path("model.onnx");
    const vq_onnx_params params = {.int4 = s->int4, .u8_input = s->u8_input};
    vq_model *model = make_model(s);
    vq_onnx_info info;
    onnx_run run;
    unit_ok(vq_export_onnx(&info, model, path, &params));
    onnx_open(&run, path);
    assert_int_equal(info.nodes, run.model->graph->n_node);
    assert_int_equal(run.model->opset_import[0]->version, info.opset);
    assert_int_equal(info.weights_f32, 0);
    assert_int_equal(info.weights_s8 + info.weights_s4, 10);
    assert_int_equal(s->int4 ? info.weights_s4 : info.weights_s8, 10);
    assert_int_equal(info.codebooks, s->gelu_codebook ? 4 : 2);
    assert_int_equal(info.in_floats, s->far_zero ? 1 : 0);
    /* pixels, 9 linear inputs, Q K V of 2 blocks */
    assert_int_equal(info.qdq, 1 + 9 + 6 - (s->gelu_codebook ? 2 : 0) - info.in_floats);
    assert_int_equal(onnx_count(&run, "QuantizeLinear"), info.qdq - (s->u8_input ? 1 : 0));
    /* a weight for a product of integers, the others are scaled behind it */
    assert_int_equal(onnx_count(&run, "DequantizeLinear"), info.qdq + 10 - (s->gelu_codebook ? 2 : 0) - info.in_floats);
    const int different = count_different(&run, model->qmodel->graph, model->qmodel, s->u8_input);
    if (different > 1) fail_msg("%d of %d images differ", different, IMAGES);
    onnx_close(&run);
    vq_model_destroy(&model);
}

/* chans, bits of weights and activations, granularity of Q and K, uniform softmax, seed, softmax per head */
static const tiny_options options[] = {
    {3, 8, 8, VQ_PER_TENSOR, false, 1, false}, {3, 4, 4, VQ_PER_HEAD, false, 2, true},
    {1, 6, 5, VQ_PER_TENSOR, true, 3, false},  {3, 2, 3, VQ_PER_HEAD, true, 4, true},
    {1, 3, 8, VQ_PER_HEAD, false, 5, false},   {3, 8, 2, VQ_PER_TENSOR, false, 6, true}};
enum { NUM_OPTIONS = sizeof options / sizeof options[0] };

static void test_onnx__computes_fake_quant(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_OPTIONS; i++) check_setting(&(setting){.options = options[i]});
}

static void test_onnx__codebooks_with_an_offset(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_OPTIONS; i++) check_setting(&(setting){.options = options[i], .gelu_codebook = true});
}

static void test_onnx__zero_points_outside_of_u8(void **state)
{
    (void)state;
    check_setting(&(setting){.options = options[0], .far_zero = true});
    check_setting(&(setting){.options = options[1], .far_zero = true, .gelu_codebook = true});
}

static void test_onnx__int4(void **state)
{
    (void)state;
    check_setting(&(setting){.options = options[1], .int4 = true});
    check_setting(&(setting){.options = options[3], .int4 = true, .u8_input = true});
}

static void test_onnx__u8_input(void **state)
{
    (void)state;
    for (int i = 0; i < NUM_OPTIONS; i++) check_setting(&(setting){.options = options[i], .u8_input = true});
}

/* Weights as integers and scales are the model's to the bit. */
static void test_onnx__weights(void **state)
{
    static const char *const layer = "blocks.1.mlp.fc1";
    (void)state;
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const char *const path = unit_path("model.onnx");
        vq_model *model = make_model(&(setting){.options = options[i]});
        onnx_run run;
        unit_ok(vq_export_onnx(NULL, model, path, NULL));
        onnx_open(&run, path);
        const vq_qmodel *const m = model->qmodel;
        const int node = find_node(m->graph, layer);
        const onnx_tensor *const codes = onnx_find(&run, "blocks.1.mlp.fc1.weight"),
                                 *const scale = onnx_find(&run, "blocks.1.mlp.fc1.weight.scale"),
                                 *const zero = onnx_find(&run, "blocks.1.mlp.fc1.weight.zero");
        const size_t n = 40, k = 24;
        float *const want = calloc(n * k, sizeof *want);
        vq_qmodel_weight_f32(want, m, node);
        assert_int_equal(codes->dims[0], k);
        assert_int_equal(codes->dims[1], n);
        for (size_t j = 0; j < n * k; j++) {
            const size_t row = j % n;
            assert_true((float)(codes->v[j] - zero->v[row]) * (float)scale->v[row] == want[row * k + j / n]);
        }
        free(want);
        onnx_close(&run);
        vq_model_destroy(&model);
    }
}

/* Every codebook of the file at its thresholds, a float below them, and elsewhere: the same value as counting gives. */
static void check_codebook(int bits, const vq_codebook_family *family, float offset, float shape0)
{
    const float shape[VQ_SHAPE_MAX] = {shape0, 0.5f};
    const setting s = {.options = {1, 8, bits, VQ_PER_TENSOR, false, 9, false}, .gelu_codebook = true};
    const char *const path = unit_path("model.onnx");
    vq_model *model = make_model(&s);
    vq_quantizer *const q = &model->qmodel->nodes[find_node(model->qmodel->graph, "blocks.0.mlp.fc2")].in[0];
    onnx_run run;
    vq_quantizer_clear(q);
    unit_ok(vq_codebook_create(q, family, bits, false, 3.0f, offset, shape));
    unit_ok(vq_export_onnx(NULL, model, path, NULL));
    onnx_open(&run, path);
    /* only the look-ups of that quantizer, on an input of our own */
    Onnx__GraphProto *const g = run.model->graph;
    size_t first = 0, count = 0;
    for (size_t i = 0; i < g->n_node; i++) {
        if (strncmp(g->node[i]->name, "/blocks.0.mlp.fc2/input.", 24) != 0) continue;
        if (!count++) first = i;
    }
    assert_true(count > 2);
    double x[8 * 96] = {0};
    const int batch = 8;
    for (int i = 0; i < batch * 96; i++) {
        const float t = q->thresholds[i / 3 % (q->levels - 1)];
        const float near[3] = {t, nextafterf(t, -INFINITY), 3.3f * (float)i / (float)(batch * 96) - 0.2f};
        x[i] = isfinite(near[i % 3]) ? near[i % 3] : 0;
    }
    Onnx__NodeProto **const nodes = g->node;
    const size_t num_nodes = g->n_node;
    char *const old_input = g->input[0]->name, *const old_output = g->output[0]->name;
    g->node = nodes + first;
    g->n_node = count;
    g->input[0]->name = nodes[first]->input[0];
    g->output[0]->name = nodes[first + count - 1]->output[0];
    const onnx_tensor *const y = onnx_forward(&run, x, batch);
    for (size_t i = 0; i < y->count; i++) {
        int code = 0;
        while (code < q->levels - 1 && (double)q->thresholds[code] <= x[i]) code++;
        assert_true((float)y->v[i] == ((float)q->values[code] - q->zero[0]) * q->scale[0]);
    }
    g->node = nodes;
    g->n_node = num_nodes;
    g->input[0]->name = old_input;
    g->output[0]->name = old_output;
    onnx_close(&run);
    vq_model_destroy(&model);
}

static void test_onnx__look_ups_are_exact(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 8; bits++) {
        check_codebook(bits, &vq_codebook_log_sqrt2_family, 0, 0);
        check_codebook(bits, &vq_codebook_adalog_family, 0.16997f, 25);
        check_codebook(bits, &vq_codebook_tanq_family, 0.16997f, 0.7f);
        check_codebook(bits, &vq_codebook_uniform_family, 0, 0);
    }
}

static void test_onnx__metadata(void **state)
{
    vq_model *model = make_model(&(setting){.options = options[0]});
    const char *const path = unit_path("model.onnx");
    onnx_run run;
    (void)state;
    unit_ok(vq_export_onnx(NULL, model, path, NULL));
    onnx_open(&run, path);
    assert_string_equal(run.model->producer_name, "vitq");
    assert_string_equal(run.model->producer_version, vq_version());
    assert_string_equal(onnx_metadata(&run, "vitq.recipe"), "test");
    assert_string_equal(onnx_metadata(&run, "vitq.architecture"), "vit_tiny_patch16_224");
    assert_non_null(strstr(onnx_metadata(&run, "vitq.preprocess"), "\"mean\""));
    onnx_close(&run);
    vq_model_destroy(&model);
}

static void test_onnx__fp32(void **state)
{
    const char *const path = unit_path("model.onnx");
    vq_model model = {.graph = tiny_graph(3, 11)};
    vq_onnx_info info;
    onnx_run run;
    (void)state;
    for (int u8 = 0; u8 < 2; u8++) {
        unit_ok(vq_strdup(&model.path, ""));
        unit_ok(vq_export_onnx(&info, &model, path, &(vq_onnx_params){.u8_input = u8 != 0}));
        assert_int_equal(info.weights_f32, 10);
        assert_int_equal(info.qdq + info.codebooks + info.in_floats, 0);
        onnx_open(&run, path);
        assert_int_equal(onnx_count(&run, "QuantizeLinear") + onnx_count(&run, "DequantizeLinear"), 0);
        assert_int_equal(count_different(&run, model.graph, NULL, u8 != 0), 0);
        onnx_close(&run);
        free(model.path);
    }
    vq_graph_destroy(&model.graph);
}

/* The small models of tests/golden, FP32: the logits that timm and transformers give. Windows, shifted or not, padding
 * in either order, merging of odd grids, no bias of qkv. */
static void check_swin(const char *name, vq_dataset *images)
{
    enum { GOLDEN_IMAGES = 4, GOLDEN_CLASSES = 5, GOLDEN_LOGITS = GOLDEN_IMAGES * GOLDEN_CLASSES };
    const char *const path = unit_path("swin.onnx");
    char file[512];
    float want[GOLDEN_LOGITS];
    vq_model *model = NULL;
    vq_safetensors *golden = NULL;
    onnx_run run;
    snprintf(file, sizeof file, VQ_SOURCE_DIR "/tests/golden/models/%s", name);
    unit_ok(vq_model_load(&model, file));
    strncat(file, "/logits.safetensors", sizeof file - strlen(file) - 1);
    unit_ok(vq_safetensors_open(&golden, file));
    unit_ok(vq_st_to_f32(want, GOLDEN_LOGITS, golden, vq_safetensors_find(golden, "logits")));
    const vq_graph *const g = vq_model_graph(model);
    const size_t bytes = (size_t)g->pre.height * (size_t)g->pre.width * (size_t)g->pre.chans;
    double *const input = calloc(GOLDEN_IMAGES * bytes, sizeof *input);
    uint8_t *const pixels = malloc(bytes);
    assert_true(input && pixels);
    for (size_t i = 0; i < GOLDEN_IMAGES; i++) {
        unit_ok(vq_dataset_load(images, i, &g->pre, pixels));
        fill_input(input + i * bytes, g, pixels, false);
    }
    unit_ok(vq_export_onnx(NULL, model, path, NULL));
    onnx_open(&run, path);
    const onnx_tensor *const got = onnx_forward(&run, input, GOLDEN_IMAGES);
    assert_int_equal(got->count, GOLDEN_LOGITS);
    double worst = 0;
    for (int i = 0; i < GOLDEN_LOGITS; i++) worst = fmax(worst, fabs(got->v[i] - (double)want[i]));
    if (!(worst < 1e-3 * range_of(want, GOLDEN_LOGITS))) fail_msg("%s: logits are off by %g", name, worst);
    onnx_close(&run);
    free(input);
    free(pixels);
    vq_safetensors_destroy(&golden);
    vq_model_destroy(&model);
}

static void test_onnx__swin(void **state)
{
    static const char *const names[] = {"swin",     "swin_hf",   "swin_window7", "swin_clamped",
                                        "swin_pad", "swin_bare", "swin_hf_pad"};
    vq_dataset *images = NULL;
    (void)state;
    unit_ok(vq_dataset_open(&images, VQ_SOURCE_DIR "/tests/golden/models/images", NULL, 0));
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++) check_swin(names[i], images);
    vq_dataset_destroy(&images);
}

static void check_exact_setting(const setting *s)
{
    vq_model *model = make_model(s);
    const vq_onnx_params params = {.exact = true, .int4 = s->int4, .u8_input = s->u8_input};
    const vq_graph *const g = vq_model_graph(model);
    const size_t bytes = tiny_pixels(g);
    uint8_t *const pixels = malloc(IMAGES * bytes);
    assert_non_null(pixels);
    for (uint64_t i = 0; i < IMAGES; i++) tiny_image(g, 100 + i, pixels + i * bytes);
    check_exact(model, pixels, IMAGES, &params);
    free(pixels);
    vq_model_destroy(&model);
}

static void test_onnx__exact(void **state)
{
    (void)state;
    if (!dev) skip();
    for (int i = 0; i < NUM_OPTIONS; i++) {
        check_exact_setting(&(setting){.options = options[i]});
        check_exact_setting(&(setting){.options = options[i], .gelu_codebook = true, .u8_input = true});
    }
    check_exact_setting(&(setting){.options = options[1], .int4 = true});
    check_exact_setting(&(setting){.options = options[0], .far_zero = true});
}

/* Windows, pooled tokens, a distillation token, registers: as calibrated. */
static void test_onnx__exact_models(void **state)
{
    enum { GOLDEN_IMAGES = 4 };
    static const char *const names[] = {"swin",           "swin_pad", "swin_window7", "vit_avg",
                                        "deit_distilled", "deit3",    "dinov2_reg4",  "vit_patch32_grey"};
    static const char *const recipes[] = {"repq", "best"};
    vq_dataset *images = NULL;
    (void)state;
    if (!dev) skip();
    unit_ok(vq_dataset_open(&images, VQ_SOURCE_DIR "/tests/golden/models/images", NULL, 0));
    for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(names); i++) {
        const int bits = i % 2 ? 4 : 8;
        const vq_calib_params params = {.recipe = recipes[i % 2], .w_bits = bits, .a_bits = bits};
        char file[512];
        vq_model *fp32 = NULL, *model = NULL;
        snprintf(file, sizeof file, VQ_SOURCE_DIR "/tests/golden/models/%s", names[i / 2]);
        unit_ok(vq_model_load(&fp32, file));
        unit_ok(vq_calibrate(&model, dev, fp32, images, &params));
        const vq_preprocess *const pre = vq_model_preprocess(model);
        const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
        uint8_t *const pixels = malloc(GOLDEN_IMAGES * bytes);
        assert_non_null(pixels);
        for (size_t k = 0; k < GOLDEN_IMAGES; k++) unit_ok(vq_dataset_load(images, k, pre, pixels + k * bytes));
        check_exact(model, pixels, GOLDEN_IMAGES, &(const vq_onnx_params){.exact = true});
        free(pixels);
        vq_model_destroy(&model);
        vq_model_destroy(&fp32);
    }
    vq_dataset_destroy(&images);
}

static void test_onnx__refuses(void **state)
{
    vq_model *model = make_model(&(setting){.options = options[0]});
    vq_graph *const g = model->qmodel->graph;
    vq_onnx_info info = {.nodes = 5};
    const char *const path = unit_path("refused.onnx");
    (void)state;
    unit_fails(vq_export_onnx(&info, NULL, path, NULL), VQ_ERR_INVALID_ARG, "NULL");
    assert_int_equal(info.nodes, 0);
    unit_fails(vq_export_onnx(NULL, model, "/nowhere/at/all.onnx", NULL), VQ_ERR_IO, "/nowhere/at/all.onnx");
    const int last = find_node(g, "blocks.1.add2");
    g->nodes[last].op = VQ_NODE_OP_COUNT;
    unit_fails(vq_export_onnx(NULL, model, path, NULL), VQ_ERR_UNSUPPORTED, "blocks.1.add2");
    g->nodes[last].op = VQ_NODE_ADD;
    vq_quantizer *const image = &model->qmodel->nodes[find_node(g, "patch_embed.proj")].in[0];
    unit_ok(vq_quantizer_uniform(image, VQ_PER_TENSOR, 1, 8));
    unit_fails(vq_export_onnx(NULL, model, path, NULL), VQ_ERR_UNSUPPORTED, "patch_embed.proj");
    assert_int_not_equal(access(path, F_OK), 0);
    vq_model_destroy(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onnx__computes_fake_quant),
        cmocka_unit_test(test_onnx__codebooks_with_an_offset),
        cmocka_unit_test(test_onnx__zero_points_outside_of_u8),
        cmocka_unit_test(test_onnx__int4),
        cmocka_unit_test(test_onnx__u8_input),
        cmocka_unit_test(test_onnx__weights),
        cmocka_unit_test(test_onnx__look_ups_are_exact),
        cmocka_unit_test(test_onnx__metadata),
        cmocka_unit_test(test_onnx__fp32),
        cmocka_unit_test(test_onnx__swin),
        cmocka_unit_test(test_onnx__exact),
        cmocka_unit_test(test_onnx__exact_models),
        cmocka_unit_test(test_onnx__refuses),
    };
    if (vq_device_open(&dev, NULL) != VQ_OK) dev = NULL; /* the exact tests are skipped then */
    unit_catch_log();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vq_device_destroy(&dev);
    return failed;
}
