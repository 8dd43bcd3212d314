/* Which nodes of an integer graph one launch does, how long values then live, and that a model whose chains are refused
 * runs without them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/int_plan.h"
#include "run/int_run.h"
#include "run/model.h"
#include "tiny_model.h"
#include "unit.h"
#include "vitq/session.h"

enum { IMAGES = 3, CLASSES = 7 };

static vq_device *dev;

static vq_int_node product(int in, int out, int rows, int step)
{
    vq_int_node n = {.op = VQ_INT_GEMM, .in = in, .out = out};
    n.u.gemm.rows = rows;
    n.u.gemm.row_step = step;
    return n;
}

static vq_int_node norm(int in, int out, int rows, int step)
{
    vq_int_node n = {.op = VQ_INT_LAYERNORM, .in = in, .out = out};
    n.u.layernorm.rows = rows;
    n.u.layernorm.row_step = step;
    return n;
}

enum { MOST = 8 };

typedef struct graph_case {
    int count, most;
    vq_int_node nodes[MOST];
    int leaders[MOST];
} graph_case;

static void test_leaders(void **state)
{
    const vq_int_node attention = {.op = VQ_INT_ATTENTION, .in = 2, .out = 3};
    vq_int_node mapped = product(1, 2, 5, 1), merged = norm(1, 2, 5, 1);
    (void)state;
    mapped.u.gemm.rows_in = 5;
    merged.u.layernorm.w.merge_h = merged.u.layernorm.w.merge_w = 2;
    const graph_case cases[] = {
        /* a block, between the attentions */
        {7,
         8,
         {norm(1, 4, 5, 1), product(4, 2, 5, 1), attention, product(3, 1, 5, 1), norm(1, 4, 5, 1), product(4, 5, 5, 1),
          product(5, 1, 5, 1)},
         {0, 0, 2, 3, 3, 3, 3}},
        /* no more than may be */
        {4, 2, {norm(1, 2, 5, 1), product(2, 3, 5, 1), product(3, 4, 5, 1), product(4, 5, 5, 1)}, {0, 0, 2, 2}},
        {3, 1, {norm(1, 2, 5, 1), product(2, 3, 5, 1), product(3, 4, 5, 1)}, {0, 1, 2}},
        /* rows that move, merge or are others */
        {3, 8, {norm(1, 3, 5, 1), mapped, norm(2, 4, 5, 1)}, {0, 1, 2}},
        {3, 8, {norm(1, 3, 5, 1), merged, norm(2, 4, 5, 1)}, {0, 1, 2}},
        {2, 8, {product(1, 2, 5, 1), product(2, 3, 4, 1)}, {0, 1}},
        /* every 5th row, of what another launch has made, of what this one makes, and of what it overwrites later */
        {2, 8, {norm(1, 2, 1, 5), product(2, 3, 1, 1)}, {0, 0}},
        {3, 8, {product(1, 2, 1, 1), product(1, 3, 1, 1), norm(2, 4, 1, 5)}, {0, 0, 2}},
        {2, 8, {norm(1, 2, 1, 5), product(2, 1, 1, 1)}, {0, 1}}};
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        vq_int_node nodes[MOST];
        int leaders[MOST];
        memcpy(nodes, cases[i].nodes, sizeof nodes);
        const vq_int_graph g = {.num_values = 6, .num_nodes = cases[i].count, .nodes = nodes};
        vq_int_leaders(leaders, &g, cases[i].most);
        for (int n = 0; n < g.num_nodes; n++)
            if (leaders[n] != cases[i].leaders[n])
                fail_msg("case %zu: node %d is led by %d, not %d", i, n, leaders[n], cases[i].leaders[n]);
    }
}

/* Work-groups do the nodes of a chain at different times: what any of them touches is alive as long as all of it. */
static void test_lifetimes(void **state)
{
    vq_int_node nodes[] = {norm(1, 2, 5, 1), product(2, 3, 5, 1), product(3, 4, 5, 1), product(4, 5, 5, 1)};
    const vq_int_graph g = {.num_values = 6, .num_nodes = 4, .nodes = nodes};
    const int apart[] = {0, 1, 2, 3}, together[] = {0, 1, 1, 3};
    int first[6], last[6];
    (void)state;
    vq_int_lifetimes(&g, apart, first, last);
    assert_true(first[2] == 0 && last[2] == 1 && first[3] == 1 && last[3] == 2 && first[4] == 2 && last[4] == 3);
    vq_int_lifetimes(&g, together, first, last);
    assert_true(first[2] == 0 && last[2] == 2 && first[3] == 1 && last[3] == 2 && first[4] == 1 && last[4] == 3);
}

/* Logits of some images, and how many nodes are parts of others' launches. */
static int run_model(int32_t *logits, const vq_int_graph *ints, const uint8_t *pixels)
{
    const vq_int_run_params params = {.max_batch = IMAGES, .chain_saves = 1};
    vq_int_run *run = NULL;
    int parts = 0;
    unit_ok(vq_int_run_create(&run, dev, ints, &params));
    unit_ok(vq_int_run_logits(run, pixels, IMAGES, logits));
    for (int i = 0; i < ints->num_nodes; i++) parts += vq_int_run_is_part(run, i);
    vq_int_run_destroy(&run);
    return parts;
}

/* A device for which no kernel compiles as a part of a chain. */
static vq_device *open_refusing(void)
{
    vq_device *refusing = NULL;
    char folder[512];
    snprintf(folder, sizeof folder, "%s",
             unit_write_text("vq_part.h", "#ifdef VQ_PART\n#error no chains\n#endif\n"
                                          "#define VQ_ONE_ITEM_KERNEL __kernel\n"
                                          "#define VQ_FIRST_ROW(group, rows, m) min((int)(group) * (rows), (m))\n"));
    *strrchr(folder, '/') = '\0';
    setenv("VITQ_KERNEL_DIR", folder, 1);
    unit_ok(vq_device_open(&refusing, NULL));
    return refusing;
}

static void close_refusing(vq_device *refusing)
{
    vq_device_destroy(&refusing);
    unsetenv("VITQ_KERNEL_DIR");
}

static void test_refused(void **state)
{
    const tiny_options options = {.chans = 3, .w_bits = 6, .a_bits = 8, .qkv = VQ_PER_HEAD, .seed = 3};
    vq_graph *g = tiny_graph(3, 3);
    vq_qmodel *m = tiny_qmodel(g, &options);
    const size_t bytes = tiny_pixels(g);
    uint8_t *const pixels = malloc(IMAGES * bytes);
    int32_t want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    (void)state;
    unit_ok(vq_lower(&m->ints, m));
    for (int i = 0; i < IMAGES; i++) tiny_image(g, (uint64_t)i, pixels + (size_t)i * bytes);
    unit_ok(vq_int_witness_logits(m->ints, pixels, IMAGES, want));
    const int parts = run_model(got, m->ints, pixels);
    assert_memory_equal(got, want, sizeof got);
    print_message("%d of %d nodes run in others' launches\n", parts, m->ints->num_nodes);
    if (parts > 0) {
        vq_device *const usual = dev;
        dev = open_refusing();
        memset(got, 0, sizeof got);
        assert_int_equal(run_model(got, m->ints, pixels), 0);
        assert_memory_equal(got, want, sizeof got);
        close_refusing(dev);
        dev = usual;
    }
    free(pixels);
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
}

static void run_floats(float *logits, vq_device *on, const vq_model *model, const uint8_t *pixels)
{
    const vq_session_params params = {.mode = VQ_MODE_FP32, .max_batch = IMAGES};
    vq_session *session = NULL;
    unit_ok(vq_session_create(&session, on, model, &params));
    unit_ok(vq_session_run(session, pixels, IMAGES, logits));
    vq_session_destroy(&session);
}

/* FP32 runs as well, against plain C. */
static void test_floats(void **state)
{
    vq_model model = {.path = "tiny", .graph = tiny_graph(3, 5)};
    const size_t bytes = tiny_pixels(model.graph);
    uint8_t *const pixels = malloc(IMAGES * bytes);
    float want[IMAGES * CLASSES], got[IMAGES * CLASSES];
    (void)state;
    for (int i = 0; i < IMAGES; i++) {
        tiny_image(model.graph, (uint64_t)i, pixels + (size_t)i * bytes);
        tiny_forward(model.graph, NULL, pixels + (size_t)i * bytes, want + i * CLASSES, NULL);
    }
    run_floats(got, dev, &model, pixels);
    assert_true(tiny_rms(got, want, IMAGES * CLASSES) < 1e-5);
    vq_device *const refusing = open_refusing();
    run_floats(got, refusing, &model, pixels);
    assert_true(tiny_rms(got, want, IMAGES * CLASSES) < 1e-5);
    close_refusing(refusing);
    free(pixels);
    vq_graph_destroy(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leaders), cmocka_unit_test(test_lifetimes),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_floats)};
    unit_catch_log();
    if (vq_device_open(&dev, NULL) != VQ_OK) {
        printf("test_row_chain: skipped, there is no OpenCL device\n");
        return 77;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vq_device_destroy(&dev);
    return failed ? 1 : 0;
}
