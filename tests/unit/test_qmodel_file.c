/* Quantized model files: what is read equals what was written, and nothing that is damaged gets through to a kernel. */
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

#include "base/file.h"
#include "quant/lower.h"
#include "tiny_model.h"

enum { CLASSES = 7 };

static char dir[64], last_error[512];

static void keep_error(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level == VQ_LOG_ERROR) snprintf(last_error, sizeof last_error, "%s", text);
}

static const char *path_of(const char *name)
{
    static char path[2][128];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static vq_qmodel *make_model(int w_bits, vq_granularity qkv, uint64_t seed)
{
    const tiny_options o = {3, w_bits, 4, qkv, seed % 2 == 0, seed, seed >= 3}; /* softmax per head from 3 on */
    vq_graph *g = tiny_graph(3, seed);
    /* a row that the lowering replaces by its bias */
    for (int i = 0; i < g->num_nodes; i++)
        if (strcmp(g->nodes[i].name, "blocks.1.mlp.fc2") == 0)
            for (int k = 0; k < 40; k++) g->params[g->nodes[i].weight].data[40 * 3 + k] *= 1e-12f;
    vq_qmodel *const m = tiny_qmodel(g, &o);
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    assert_int_equal(vq_alloc(&m->graph->labels, CLASSES, sizeof(char *), "labels"), VQ_OK);
    for (int i = 0; i < CLASSES; i++) assert_int_equal(vq_format(&m->graph->labels[i], "label \"%d\"", i), VQ_OK);
    vq_graph_destroy(&g);
    return m;
}

static void read_bytes(char **data, size_t *bytes, const char *path)
{
    assert_int_equal(vq_file_read(data, bytes, path, 1 << 28), VQ_OK);
}

static void write_bytes(const char *path, const char *data, size_t bytes)
{
    FILE *const f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static void compare_quantizer(const vq_quantizer *a, const vq_quantizer *b)
{
    assert_int_equal(a->kind, b->kind);
    if (a->kind == VQ_QUANTIZER_NONE) return;
    assert_int_equal(a->granularity, b->granularity);
    assert_int_equal(a->bits, b->bits);
    assert_int_equal(a->levels, b->levels);
    assert_int_equal(a->groups, b->groups);
    assert_string_equal(a->method, b->method);
    assert_memory_equal(a->scale, b->scale, (size_t)a->groups * sizeof(float));
    if (a->zero) assert_memory_equal(a->zero, b->zero, (size_t)a->groups * sizeof(float));
}

/* Field by field: the bytes between fields may be anything. */
static void compare_preprocessing(const vq_preprocess *a, const vq_preprocess *b)
{
    assert_int_equal(a->chans, b->chans);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_memory_equal(&a->crop_pct, &b->crop_pct, sizeof a->crop_pct);
    assert_int_equal(a->resample, b->resample);
    assert_int_equal(a->crop_mode, b->crop_mode);
    assert_int_equal(a->crop_floor, b->crop_floor);
    assert_memory_equal(a->mean, b->mean, sizeof a->mean);
    assert_memory_equal(a->std, b->std, sizeof a->std);
}

static void compare_models(const vq_qmodel *a, const vq_qmodel *b)
{
    const vq_graph *const g = a->graph, *const h = b->graph;
    assert_int_equal(g->num_nodes, h->num_nodes);
    compare_preprocessing(&g->pre, &h->pre);
    assert_string_equal(g->source_hash, h->source_hash);
    for (int i = 0; i < CLASSES; i++) assert_string_equal(g->labels[i], h->labels[i]);
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        assert_string_equal(n->name, h->nodes[i].name);
        assert_int_equal(g->values[n->out].cols, h->values[n->out].cols);
        for (int s = 0; s < 2; s++) compare_quantizer(&a->nodes[i].in[s], &b->nodes[i].in[s]);
        compare_quantizer(&a->nodes[i].weight, &b->nodes[i].weight);
        if (a->nodes[i].codes)
            assert_memory_equal(a->nodes[i].codes, b->nodes[i].codes, vq_shape_count(&g->params[n->weight].shape));
    }
    for (int p = 0; p < g->num_params; p++)
        if (g->params[p].data)
            assert_memory_equal(g->params[p].data, h->params[p].data,
                                vq_shape_count(&g->params[p].shape) * sizeof(float));
}

static void compare_tables(const vq_qmodel *a, const vq_qmodel *b, bool per_head)
{
    for (int i = 0; i < a->ints->num_nodes; i++) {
        const vq_attention_u8_weights *const w = &a->ints->nodes[i].u.attention.w, *const x =
                                                                                       &b->ints->nodes[i].u.attention.w;
        if (a->ints->nodes[i].op != VQ_INT_ATTENTION) continue;
        assert_int_equal(w->prob_tables, per_head ? w->heads : 1);
        assert_int_equal(x->prob_tables, w->prob_tables);
        assert_int_equal(x->prob_len, w->prob_len);
        assert_memory_equal(x->prob, w->prob, (size_t)(w->prob_tables * w->prob_len) * sizeof *w->prob);
    }
}

static void test_qmodel_file__reads_what_was_written(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++) {
        static const int bits[7] = {4, 8, 3, 5, 2, 6, 7};
        double expected;
        vq_qmodel *m = make_model(bits[i], i % 2 ? VQ_PER_HEAD : VQ_PER_TENSOR, (uint64_t)i + 1), *back = NULL;
        float want[CLASSES], got[CLASSES];
        char *first, *second;
        size_t first_bytes, second_bytes;
        assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
        assert_int_equal(vq_qmodel_load(&back, path_of("a.vitq.safetensors")), VQ_OK);
        compare_models(m, back);
        compare_tables(m, back, i >= 2);
        uint8_t *const pixels = malloc(tiny_pixels(m->graph));
        for (uint64_t image = 0; image < 4; image++) {
            tiny_image(m->graph, image, pixels);
            tiny_int_logits(m->ints, pixels, want);
            tiny_int_logits(back->ints, pixels, got);
            assert_memory_equal(got, want, sizeof want);
            tiny_forward(m->graph, m, pixels, want, NULL);
            tiny_forward(m->graph, back, pixels, got, NULL);
            assert_memory_equal(got, want, sizeof want);
        }
        assert_int_equal(vq_qmodel_save(back, path_of("b.vitq.safetensors")), VQ_OK);
        read_bytes(&first, &first_bytes, path_of("a.vitq.safetensors"));
        assert_int_equal(vq_qmodel_file_bytes(&expected, m), VQ_OK);
        assert_true(expected == (double)first_bytes);
        read_bytes(&second, &second_bytes, path_of("b.vitq.safetensors"));
        assert_int_equal(first_bytes, second_bytes);
        assert_memory_equal(first, second, first_bytes);
        free(first);
        free(second);
        free(pixels);
        vq_qmodel_destroy(&m);
        vq_qmodel_destroy(&back);
    }
}

/* The integers come from the file, not from what this host would compute: a changed one shows. */
static void test_qmodel_file__integers_are_the_files(void **state)
{
    vq_qmodel *m = make_model(4, VQ_PER_TENSOR, 1), *back = NULL;
    (void)state;
    const vq_int_node *const head = &m->ints->nodes[m->ints->num_nodes - 1];
    const int32_t *const bias = head->u.gemm.w.bias;
    ((int32_t *)(uintptr_t)bias)[2] += 5;
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    assert_int_equal(vq_qmodel_load(&back, path_of("a.vitq.safetensors")), VQ_OK);
    assert_int_equal(back->ints->nodes[back->ints->num_nodes - 1].u.gemm.w.bias[2], bias[2]);
    vq_qmodel_destroy(&m);
    vq_qmodel_destroy(&back);
}

static void test_qmodel_file__fake_only(void **state)
{
    vq_qmodel *m = make_model(4, VQ_PER_TENSOR, 1), *back = NULL;
    (void)state;
    vq_int_graph_destroy(&m->ints);
    for (int i = 0; i < m->graph->num_nodes; i++) /* fractional zero points, as the official code has */
        if (m->graph->nodes[i].op == VQ_NODE_LINEAR) m->nodes[i].in[0].zero[0] += 0.25f;
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    assert_int_equal(vq_qmodel_load(&back, path_of("a.vitq.safetensors")), VQ_OK);
    assert_null(back->ints);
    compare_models(m, back);
    vq_qmodel_destroy(&m);
    vq_qmodel_destroy(&back);
}

/* Loads a changed copy of the file with one text replaced by another of the same length. */
static vq_status load_replaced(const char *from, const char *to)
{
    char *data, *at = NULL;
    size_t bytes;
    vq_qmodel *m = NULL;
    read_bytes(&data, &bytes, path_of("a.vitq.safetensors"));
    for (size_t i = 0; i + strlen(from) <= bytes && !at; i++)
        if (memcmp(data + i, from, strlen(from)) == 0) at = data + i;
    if (!at) fail_msg("the file does not hold %s", from);
    memcpy(at, to, strlen(to));
    write_bytes(path_of("c.vitq.safetensors"), data, bytes);
    free(data);
    last_error[0] = 0;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    const vq_status status = vq_qmodel_load(&m, path_of("c.vitq.safetensors"));
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    vq_qmodel_destroy(&m);
    return status;
}

static void test_qmodel_file__names_what_is_wrong(void **state)
{
    static const struct {
        const char *from, *to, *want;
        vq_status status;
    } cases[] = {
        {"\\\"format\\\":1", "\\\"format\\\":2", "file format 2", VQ_ERR_VERSION},
        {"\\\"dense\\\"", "\\\"dEnse\\\"", "codes are packed", VQ_ERR_VERSION},
        {"\\\"embed_dim\\\":24", "\\\"embed_dim\\\":25", "embed_dim 25", VQ_ERR_FORMAT},
        {"\\\"depth\\\":2", "\\\"depth\\\":3", "blocks.2.attn.qkv", VQ_ERR_FORMAT},
        {"\\\"kind\\\":\\\"uniform\\\"", "\\\"kind\\\":\\\"uniForm\\\"", "not known", VQ_ERR_FORMAT},
        {"\\\"groups\\\":1", "\\\"groups\\\":7", "groups", VQ_ERR_FORMAT},
        {"int.blocks.0.add1.bias", "int.blocks.0.add1.bIas", "int.blocks.0.add1.bias", VQ_ERR_FORMAT},
        {"\"blocks.0.norm1.bias", "\"blocks.0.nOrm1.bias", "blocks.0.norm1.bias", VQ_ERR_FORMAT},
    };
    vq_qmodel *m = make_model(4, VQ_PER_TENSOR, 1);
    (void)state;
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        const vq_status status = load_replaced(cases[i].from, cases[i].to);
        if (status != cases[i].status || !strstr(last_error, cases[i].want))
            fail_msg("%s: status %d, message \"%s\"", cases[i].to, status, last_error);
    }
    vq_qmodel_destroy(&m);
}

/* Of 4 and 8 bits nothing has changed; other widths took half a byte or a whole one. */
static void test_qmodel_file__codes_of_older_files(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits++) {
        vq_qmodel *m = make_model(bits, VQ_PER_TENSOR, 1);
        assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
        assert_int_equal(load_replaced("\\\"codes\\\"", "\\\"cOdes\\\""),
                         bits == 4 || bits == 8 ? VQ_OK : VQ_ERR_FORMAT);
        vq_qmodel_destroy(&m);
    }
}

/* Changes one tensor of the file and expects the load to fail with its name. */
static void expect_refused(const char *tensor, size_t offset, const void *bytes, size_t count)
{
    vq_safetensors *st = NULL;
    char *data;
    size_t size;
    vq_qmodel *m = NULL;
    read_bytes(&data, &size, path_of("a.vitq.safetensors"));
    assert_int_equal(vq_safetensors_parse(&st, "copy", (const uint8_t *)data, size), VQ_OK);
    const vq_st_tensor *const t = vq_safetensors_find(st, tensor);
    assert_non_null(t);
    assert_true(offset + count <= t->bytes);
    memcpy((uint8_t *)(uintptr_t)t->data + offset, bytes, count);
    write_bytes(path_of("c.vitq.safetensors"), data, size);
    vq_safetensors_destroy(&st);
    free(data);
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    const vq_status status = vq_qmodel_load(&m, path_of("c.vitq.safetensors"));
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    if (status == VQ_OK) fail_msg("%s with a bad element was accepted", tensor);
    assert_null(m);
}

static void test_qmodel_file__proves_the_bounds_again(void **state)
{
    const int32_t big = INT32_MAX, small_mult = 5;
    const uint8_t no_shift = 0, long_shift = 63, bad_code = 200;
    const uint16_t high = 65535;
    const float nan = NAN, half = 0.5f, none = 0;
    const int64_t wide = (int64_t)1 << 62;
    vq_qmodel *m = make_model(4, VQ_PER_TENSOR, 1);
    (void)state;
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    expect_refused("int.blocks.0.attn.qkv.bias", 4, &big, 4);
    expect_refused("int.blocks.0.attn.qkv.mult", 4, &small_mult, 4);
    expect_refused("int.blocks.0.attn.qkv.zero", 4, &big, 4);
    expect_refused("int.blocks.0.attn.qkv.shift", 4, &no_shift, 1);
    expect_refused("int.head.shift", 4, &long_shift, 1);
    expect_refused("int.blocks.0.mlp.act.table", 7, &bad_code, 1);
    expect_refused("int.blocks.0.norm1.bias", 8, &wide, 8);
    expect_refused("int.blocks.0.norm1.shift", 1, &long_shift, 1);
    expect_refused("int.blocks.0.attn.context.prob", 4000, &high, 2);
    expect_refused("int.blocks.0.attn.context.prob_shift", 0, &big, 4);
    expect_refused("int.blocks.0.attn.context.v_zero", 0, &big, 4);
    expect_refused("int.blocks.0.attn.context.q_zero", 0, &big, 4);
    expect_refused("int.blocks.1.add2.constant_rows", 0, &big, 4);
    expect_refused("blocks.0.attn.qkv.input.zero", 0, &half, 4);
    expect_refused("blocks.0.attn.qkv.input.zero", 0, &nan, 4);
    expect_refused("blocks.0.attn.qkv.input.scale", 0, &none, 4);
    vq_qmodel_destroy(&m);
    m = make_model(4, VQ_PER_TENSOR, 3); /* a table per head, the second rises */
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    int i = 0;
    while (m->ints->nodes[i].op != VQ_INT_ATTENTION) i++;
    const size_t second = (size_t)m->ints->nodes[i].u.attention.w.prob_len * sizeof high;
    expect_refused("int.blocks.0.attn.context.prob", second + 4000, &high, 2);
    vq_qmodel_destroy(&m);
}

/* Random damage: whatever loads must still run without leaving any bound (a sanitizer build sees that). */
static void test_qmodel_file__random_damage(void **state)
{
    vq_qmodel *m = make_model(4, VQ_PER_HEAD, 3);
    char *data;
    size_t bytes;
    vq_rng rng;
    int loaded = 0;
    float logits[CLASSES];
    uint8_t *const pixels = malloc(tiny_pixels(m->graph));
    (void)state;
    assert_int_equal(vq_qmodel_save(m, path_of("a.vitq.safetensors")), VQ_OK);
    read_bytes(&data, &bytes, path_of("a.vitq.safetensors"));
    uint64_t header;
    memcpy(&header, data, 8);
    header += 8;
    tiny_image(m->graph, 1, pixels);
    vq_rng_seed(&rng, 7);
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    for (int i = 0; i < 300; i++) {
        char *const copy = malloc(bytes);
        vq_qmodel *back = NULL;
        memcpy(copy, data, bytes);
        for (int j = 0; j < 1 + i % 2; j++) {
            /* every third file in its header, the others in the tensors */
            const uint32_t first = i % 3 ? (uint32_t)header : 0, end = i % 3 ? (uint32_t)bytes : (uint32_t)header;
            copy[first + vq_rng_below(&rng, end - first)] = (char)vq_rng_below(&rng, 256);
        }
        write_bytes(path_of("c.vitq.safetensors"), copy, bytes - (i % 10 == 0 ? vq_rng_below(&rng, 4000) : 0));
        if (vq_qmodel_load(&back, path_of("c.vitq.safetensors")) == VQ_OK) {
            loaded++;
            if (back->ints && back->graph->num_classes == CLASSES && tiny_pixels(back->graph) == tiny_pixels(m->graph))
                tiny_int_logits(back->ints, pixels, logits);
        }
        vq_qmodel_destroy(&back);
        free(copy);
    }
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    print_message("%d of 300 damaged files could still be read\n", loaded);
    free(data);
    free(pixels);
    vq_qmodel_destroy(&m);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/vitq_test_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"a.vitq.safetensors", "b.vitq.safetensors", "c.vitq.safetensors"};
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++) unlink(path_of(names[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qmodel_file__reads_what_was_written),
        cmocka_unit_test(test_qmodel_file__integers_are_the_files),
        cmocka_unit_test(test_qmodel_file__fake_only),
        cmocka_unit_test(test_qmodel_file__names_what_is_wrong),
        cmocka_unit_test(test_qmodel_file__codes_of_older_files),
        cmocka_unit_test(test_qmodel_file__proves_the_bounds_again),
        cmocka_unit_test(test_qmodel_file__random_damage),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir) ? 1 : 0;
}
