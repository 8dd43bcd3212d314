/* Lanes: how they share a batch, and that the logits of an image do not depend on its batch or on its lane. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/lanes.h"
#include "run/model.h"
#include "tiny_model.h"
#include "vitq/session.h"

enum { IMAGES = 9, CLASSES = 7 };

static vq_device *dev;

static void test_shares(void **state)
{
    (void)state;
    for (int lanes = 1; lanes <= 8; lanes++)
        for (int batch = 0; batch <= 40; batch++) {
            const int most = vq_lane_share_of(0, lanes, batch).count;
            int next = 0;
            for (int l = 0; l < lanes; l++) {
                const vq_lane_share share = vq_lane_share_of(l, lanes, batch);
                assert_int_equal(share.first, next);
                assert_true(share.count == most || share.count == most - 1);
                next += share.count;
            }
            assert_int_equal(next, batch);
        }
}

typedef struct calls {
    int at, stages[3 * VQ_MAX_LANES], fail_at;
    int images[3];
} calls;

static vq_status note(void *user, vq_lane_stage stage, int lane, vq_lane_share share)
{
    calls *const c = user;
    assert_true(lane < vq_device_lanes(dev) && share.count > 0);
    c->images[stage] += share.count;
    c->stages[c->at] = (int)stage;
    return ++c->at == c->fail_at ? vq_fail(VQ_ERR_IO, "call %d", c->at) : VQ_OK;
}

static void test_stages(void **state)
{
    (void)state;
    for (int batch = 1; batch <= 3; batch++) {
        calls c = {0}, failing = {.fail_at = 2};
        unit_ok(vq_lanes_run(dev, vq_device_lanes(dev), batch, note, &c));
        for (int i = 1; i < c.at; i++) assert_true(c.stages[i - 1] <= c.stages[i]);
        for (int s = 0; s < 3; s++) assert_int_equal(c.images[s], batch);
        unit_fails(vq_lanes_run(dev, vq_device_lanes(dev), batch, note, &failing), VQ_ERR_IO, "call 2");
        assert_int_equal(failing.at, 2);
    }
}

/* Logits of IMAGES images, each alone and in batches of every size, in one lane and in as many as there are. FP32's may
 * differ in their last bits. */
static void check_batches(const vq_model *model, vq_mode mode)
{
    const vq_graph *const g = vq_model_graph(model);
    const size_t bytes = tiny_pixels(g);
    uint8_t *const pixels = malloc(IMAGES * bytes);
    float alone[IMAGES * CLASSES], together[IMAGES * CLASSES];
    assert_non_null(pixels);
    for (int i = 0; i < IMAGES; i++) tiny_image(g, (uint64_t)i, pixels + (size_t)i * bytes);
    for (int i = 0; i < 2 * IMAGES; i++) {
        const int batch = i / 2 + 1;
        const vq_session_params params = {.mode = mode, .max_batch = batch, .lanes = i % 2};
        vq_session *session = NULL;
        unit_ok(vq_session_create(&session, dev, model, &params));
        memset(together, 0, sizeof together);
        for (int first = 0; first < IMAGES; first += batch)
            unit_ok(vq_session_run(session, pixels + (size_t)first * bytes, VQ_MIN(batch, IMAGES - first),
                                   together + (size_t)first * CLASSES));
        if (i == 0) memcpy(alone, together, sizeof alone);
        if (mode == VQ_MODE_INT)
            assert_memory_equal(alone, together, sizeof alone);
        else
            assert_true(tiny_rms(alone, together, IMAGES * CLASSES) < 1e-5);
        vq_session_destroy(&session);
    }
    free(pixels);
}

static void test_integers(void **state)
{
    const tiny_options options = {.chans = 3, .w_bits = 6, .a_bits = 8, .qkv = VQ_PER_HEAD, .seed = 3};
    vq_graph *g = tiny_graph(3, 3);
    vq_qmodel *m = tiny_qmodel(g, &options);
    vq_model *model = NULL;
    (void)state;
    unit_ok(vq_lower(&m->ints, m));
    unit_ok(vq_model_from_qmodel(&model, &m));
    check_batches(model, VQ_MODE_INT);
    vq_model_destroy(&model);
    vq_graph_destroy(&g);
}

static void test_floats(void **state)
{
    vq_model model = {.path = "tiny", .graph = tiny_graph(1, 5)};
    (void)state;
    check_batches(&model, VQ_MODE_FP32);
    vq_graph_destroy(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares), cmocka_unit_test(test_stages),
                                       cmocka_unit_test(test_integers), cmocka_unit_test(test_floats)};
    unit_catch_log();
    if (vq_device_open(&dev, NULL) != VQ_OK) {
        printf("test_lanes: skipped, there is no OpenCL device\n");
        return 77;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vq_device_destroy(&dev);
    return failed ? 1 : 0;
}
