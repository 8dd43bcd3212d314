/* Sweeps of a tiny random model: results are those of calibrating and judging by hand, and outlive interruptions. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/model.h"
#include "tiny_model.h"
#include "vitq/sweep.h"

enum { IMAGES = 40, HEIGHT = 8, WIDTH = 12, CLASSES = 7 };

static vq_device *dev;
static vq_model model = {.path = "tiny"};

static void put32(uint8_t *at, unsigned v)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Random images with the labels that the float model gives them, but for every fourth, as IDX files. */
static vq_dataset *open_set(bool labelled)
{
    static uint8_t images[16 + IMAGES * HEIGHT * WIDTH] = {0, 0, 8, 3}, labels[8 + IMAGES] = {0, 0, 8, 1};
    vq_dataset *set = NULL;
    put32(images + 4, IMAGES);
    put32(images + 8, HEIGHT);
    put32(images + 12, WIDTH);
    put32(labels + 4, IMAGES);
    for (int i = 0; i < IMAGES; i++) {
        uint8_t *const pixels = images + 16 + i * HEIGHT * WIDTH;
        float logits[CLASSES];
        tiny_image(model.graph, (uint64_t)i, pixels);
        tiny_forward(model.graph, NULL, pixels, logits, NULL);
        int best;
        vq_topk(&best, NULL, 1, logits, CLASSES, VQ_MODE_FP32);
        labels[8 + i] = (uint8_t)(i % 4 ? best : (best + 1) % CLASSES);
    }
    unit_write("images", images, sizeof images);
    unit_write("labels", labels, sizeof labels);
    unit_ok(vq_dataset_open(&set, unit_path("images"), labelled ? unit_path("labels") : NULL, CLASSES));
    return set;
}

static bool setup(void)
{
    unit_catch_log();
    if (vq_device_open(&dev, NULL) != VQ_OK) return false;
    model.graph = tiny_graph(1, 1);
    strcpy(model.graph->source_hash, "tiny");
    return true;
}

static void test_evaluate(void **state)
{
    const vq_session_params params = {.mode = VQ_MODE_FP32, .max_batch = 7};
    vq_dataset *set = open_set(true), *unlabelled = open_set(false);
    vq_session *session = NULL;
    vq_eval_result r;
    float logits[IMAGES][CLASSES];
    (void)state;
    unit_ok(vq_session_create(&session, dev, &model, &params));
    unit_ok(vq_evaluate(&r, session, set, NULL));
    assert_int_equal(r.n, IMAGES);
    assert_int_equal(r.top1, IMAGES - IMAGES / 4);
    assert_true(r.top5 >= r.top1 && r.top5 <= IMAGES && r.skipped == 0);
    assert_int_equal(r.run_images, IMAGES - 7);
    assert_true(r.total_seconds >= r.run_seconds && r.run_seconds > 0);
    unit_ok(vq_evaluate(&r, session, set, &(vq_eval_params){.limit = 10, .logits = logits}));
    assert_int_equal(r.n, 10);
    assert_int_equal(r.top1, 7);
    for (int i = 0; i < 10; i++) {
        int best;
        vq_topk(&best, NULL, 1, logits[i], CLASSES, VQ_MODE_FP32);
        assert_int_equal(best == vq_dataset_label(set, (size_t)i), i % 4 != 0);
    }
    unit_fails(vq_evaluate(&r, session, unlabelled, NULL), VQ_ERR_INVALID_ARG, "no label");
    vq_session_destroy(&session);
    vq_dataset_destroy(&set);
    vq_dataset_destroy(&unlabelled);
}

/* ---- sweeps --------------------------------------------------------------------------------------------------------
 */

static const char *const two_seeds[] = {"1", "2"}, *const minmax[] = {"minmax"}, *const few[] = {"8"};
static const vq_sweep_axis axes[] = {{"seed", two_seeds, 2}, {"recipe", minmax, 1}, {"samples", few, 1}};

static vq_sweep_params tiny_params(void)
{
    return (vq_sweep_params){.axes = axes, .num_axes = 3, .batch = 16};
}

static vq_status sweep(vq_sweep_result *out, const char *db, const vq_sweep_params *params)
{
    vq_dataset *calib = open_set(false), *val = open_set(true);
    const vq_status status = vq_sweep_run(out, db, dev, &model, calib, val, params);
    vq_dataset_destroy(&calib);
    vq_dataset_destroy(&val);
    return status;
}

/* A path that outlives eight others. */
static const char *db_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", unit_path(name));
    return path;
}

typedef struct table {
    int rows;
    struct {
        char mode[8], state[8], seed[24], recipe[200], error[200];
        size_t n, top1, top5;
        double calib_seconds;
    } row[16];
} table;

static bool keep_row(void *user, const vq_sweep_row *row)
{
    table *const t = user;
    assert_in_range(t->rows, 0, 15);
    snprintf(t->row[t->rows].mode, 8, "%s", row->mode);
    snprintf(t->row[t->rows].state, 8, "%s", row->state);
    snprintf(t->row[t->rows].recipe, 200, "%s", row->axes[0]);
    snprintf(t->row[t->rows].seed, 24, "%s", row->axes[3]);
    snprintf(t->row[t->rows].error, 200, "%s", row->error);
    t->row[t->rows].n = row->n;
    t->row[t->rows].top1 = row->top1;
    t->row[t->rows].top5 = row->top5;
    t->row[t->rows++].calib_seconds = row->calib_seconds;
    return true;
}

static table read_table(const char *db)
{
    table t = {0};
    unit_ok(vq_sweep_read(db, keep_row, &t));
    return t;
}

static void judge_by_hand(vq_eval_result *out, uint64_t seed, vq_mode mode)
{
    const vq_calib_params params = {.recipe = "minmax", .samples = 8, .shuffle = true, .seed = seed};
    vq_dataset *calib = open_set(false), *val = open_set(true);
    vq_model *made = NULL;
    vq_session *session = NULL;
    unit_ok(vq_calibrate(&made, dev, &model, calib, &params));
    unit_ok(vq_session_create(&session, dev, made, &(vq_session_params){.mode = mode}));
    unit_ok(vq_evaluate(out, session, val, NULL));
    vq_session_destroy(&session);
    vq_model_destroy(&made);
    vq_dataset_destroy(&calib);
    vq_dataset_destroy(&val);
}

static void test_results(void **state)
{
    const char *const db = db_path("results.db");
    const vq_sweep_params params = tiny_params();
    vq_sweep_result r;
    (void)state;
    unit_ok(sweep(&r, db, &params));
    assert_true(r.total == 5 && r.done == 5 && r.made == 5 && r.failed == 0 && r.elsewhere == 0);
    const table t = read_table(db);
    assert_int_equal(t.rows, 5);
    assert_string_equal(t.row[0].mode, "fp32");
    assert_int_equal(t.row[0].top1, IMAGES - IMAGES / 4);
    for (int i = 1; i < 5; i++) {
        vq_eval_result by_hand;
        const bool fake = strcmp(t.row[i].mode, "fake") == 0;
        judge_by_hand(&by_hand, strtoull(t.row[i].seed, NULL, 10), fake ? VQ_MODE_FAKE : VQ_MODE_INT);
        assert_int_equal(t.row[i].n, IMAGES);
        assert_int_equal(t.row[i].top1, by_hand.top1);
        assert_int_equal(t.row[i].top5, by_hand.top5);
        assert_true(t.row[i].calib_seconds > 0);
    }
    unit_ok(sweep(&r, db, &params));
    assert_true(r.total == 5 && r.done == 5 && r.made == 0);
}

/* Asks to stop in the middle of the second point. */
static bool stop_later(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    int *const calls = user;
    (void)item;
    (void)total;
    if (strcmp(stage, "sweep") == 0 && done == 3) (*calls)++;
    return *calls < 5;
}

static void test_interrupted(void **state)
{
    const char *const db = db_path("interrupted.db");
    vq_sweep_params params = tiny_params();
    vq_sweep_result r;
    int calls = 0;
    (void)state;
    params.progress = stop_later;
    params.progress_user = &calls;
    assert_int_equal(sweep(&r, db, &params), VQ_ERR_CANCELLED);
    assert_int_equal(r.total, 0);
    table t = read_table(db);
    int done = 0, pending = 0;
    for (int i = 0; i < t.rows; i++) {
        done += strcmp(t.row[i].state, "done") == 0;
        pending += strcmp(t.row[i].state, "pending") == 0;
    }
    assert_int_equal(done, 3);
    assert_int_equal(pending, 2);
    params.progress = NULL;
    unit_ok(sweep(&r, db, &params));
    assert_true(r.done == 5 && r.made == 2);
}

/* Takes the recipe file away after the grid was checked. */
static bool remove_recipe(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    (void)item;
    (void)done;
    (void)total;
    if (strcmp(stage, "read") == 0) unlink(user);
    return true;
}

static const char *write_recipe(void)
{
    return unit_write_text("mine.json", vq_recipe_json(1));
}

static void test_failed_point(void **state)
{
    char file[512];
    snprintf(file, sizeof file, "%s", write_recipe());
    const char *const db = db_path("failed.db"), *const recipes[] = {file, "minmax"};
    const vq_sweep_axis both[] = {{"recipe", recipes, 2}, {"samples", few, 1}};
    const vq_mode only_int = VQ_MODE_INT;
    vq_sweep_params params = {.axes = both,
                              .num_axes = 2,
                              .modes = &only_int,
                              .num_modes = 1,
                              .progress = remove_recipe,
                              .progress_user = file};
    vq_sweep_result r;
    (void)state;
    unit_num_errors = 0;
    unit_ok(sweep(&r, db, &params));
    assert_int_equal(unit_num_errors, 0); /* recorded, not told as the sweep's own failure */
    assert_true(r.total == 3 && r.done == 2 && r.failed == 1 && r.made == 3);
    assert_int_equal(r.first_failure, VQ_ERR_IO);
    assert_non_null(strstr(r.first_failure_text, "mine.json"));
    const table t = read_table(db);
    assert_string_equal(t.row[1].state, "failed");
    assert_non_null(strstr(t.row[1].error, "mine.json"));
    assert_string_equal(t.row[2].state, "done");
    write_recipe();
    params.progress = NULL;
    unit_ok(sweep(&r, db, &params)); /* not tried again by itself */
    assert_true(r.failed == 1 && r.made == 0);
    params.retry = true;
    unit_ok(sweep(&r, db, &params));
    assert_true(r.done == 3 && r.failed == 0 && r.made == 1);
    assert_int_equal(r.first_failure, VQ_OK);
}

/* What decides is what is in a recipe file, not its name. */
static void test_recipe_files(void **state)
{
    char first[512], second[512];
    snprintf(first, sizeof first, "%s", unit_write_text("a.json", vq_recipe_json(1)));
    snprintf(second, sizeof second, "%s", unit_write_text("b.json", vq_recipe_json(1)));
    const char *const db = db_path("files.db"), *names[] = {first, second};
    const vq_sweep_axis files[] = {{"recipe", names, 2}, {"samples", few, 1}};
    const vq_mode fake = VQ_MODE_FAKE;
    const vq_sweep_params params = {.axes = files, .num_axes = 2, .modes = &fake, .num_modes = 1};
    vq_sweep_result r;
    (void)state;
    unit_ok(sweep(&r, db, &params));
    assert_int_equal(r.total, 2);
    assert_int_equal(r.made, 2);
    unit_write_text("b.json", vq_recipe_json(0));
    unit_ok(sweep(&r, db, &params));
    assert_int_equal(r.total, 3);
    assert_int_equal(r.made, 1);
}

static void test_bad_grids(void **state)
{
    static const char *const bad_bits[] = {"w4a4", "w9a4"}, *const bad_recipe[] = {"reqp"},
                             *const bad_parts[] = {"x=y"};
    const struct {
        vq_sweep_axis axis;
        const char *says;
    } bad[] = {{{"bits", bad_bits, 2}, "w9a4"},
               {{"recipe", bad_recipe, 1}, "reqp"},
               {{"parts", bad_parts, 1}, "x"},
               {{"colour", bad_recipe, 1}, "colour"},
               {{"seed", two_seeds, 0}, "empty"}};
    const char *const db = db_path("never.db");
    vq_sweep_params params = {.num_axes = 1};
    vq_sweep_result r;
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++) {
        params.axes = &bad[i].axis;
        unit_fails(sweep(&r, db, &params), VQ_ERR_INVALID_ARG, bad[i].says);
    }
    const vq_mode fp32 = VQ_MODE_FP32;
    params = (vq_sweep_params){.modes = &fp32, .num_modes = 1};
    unit_fails(sweep(&r, db, &params), VQ_ERR_INVALID_ARG, "fp32");
    assert_int_equal(access(db, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate),     cmocka_unit_test(test_results),      cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_failed_point), cmocka_unit_test(test_recipe_files), cmocka_unit_test(test_bad_grids),
    };
    if (!setup()) {
        printf("test_sweep: skipped, there is no OpenCL device\n");
        return 77;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vq_graph_destroy(&model.graph);
    vq_device_destroy(&dev);
    return failed ? 1 : 0;
}
