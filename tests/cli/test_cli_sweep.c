/* vitq sweep from end to end: grids, going on after Ctrl-C and kill -9, two processes at once, tables.
 * Needs what test_cli needs; exits with 77 without. */
#include "program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A sweep over the bundled model, quick ones by few images. */
#define SWEEP(db, ...)                                                                                              \
    "sweep", model_path, "--images", train_images, "--val", test_images, "--labels", test_labels, "--samples", "8", \
        "--limit", "64", "--batch", "32", "--db", (db), __VA_ARGS__

/* The results of --show --json, by state. */
typedef struct states {
    int total, done, failed, running, pending;
} states;

static states show(const char *db)
{
    cJSON *const o = json("sweep", "--db", db, "--show");
    states s = {0};
    const cJSON *row;
    cJSON_ArrayForEach(row, at(o, "results"))
    {
        const char *const state = str(row, "state");
        s.total++;
        s.done += strcmp(state, "done") == 0;
        s.failed += strcmp(state, "failed") == 0;
        s.running += strcmp(state, "running") == 0;
        s.pending += strcmp(state, "pending") == 0;
    }
    assert_int_equal(s.total, s.done + s.failed + s.running + s.pending);
    cJSON_Delete(o);
    return s;
}

/* Waits until so many results are done. A sweep has made its database only after a while. */
static void wait_for_done(const char *db, int wanted)
{
    for (int i = 0; i < 1200; i++) {
        if (exists(db)) {
            const run_result *const r = vitq("sweep", "--db", db, "--show", "--csv");
            if (r->code == 0 && times(r->out, ",done,") >= wanted) return;
        }
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    fail_msg("%s: no %d results after a minute", db, wanted);
}

static void test_grid(void **state)
{
    const char *const db = scratch("grid.db");
    (void)state;
    cJSON *o = json(SWEEP(db, "--recipes", "repq,minmax", "--bits", "w8a8,w4a4", "--seeds", "first,3"));
    assert_true(num(o, "total") == 17 && num(o, "done") == 17 && num(o, "made") == 17 && num(o, "failed") == 0);
    const cJSON *row;
    int fp32 = 0, of_four_bits = 0;
    cJSON_ArrayForEach(row, at(o, "results"))
    {
        assert_string_equal(str(row, "state"), "done");
        assert_true(num(row, "n") == 64 && num(row, "top1") > 40 && num(row, "top5") >= num(row, "top1"));
        fp32 += strcmp(str(row, "mode"), "fp32") == 0;
        of_four_bits += strcmp(str(row, "bits"), "w4a4") == 0;
    }
    assert_int_equal(fp32, 1);
    assert_int_equal(of_four_bits, 8);
    cJSON_Delete(o);
    o = json(SWEEP(db, "--recipes", "minmax", "--seeds", "3,4", "--modes", "int")); /* of 3 results 2 are there */
    assert_true(num(o, "total") == 3 && num(o, "made") == 1 && num(o, "done") == 3);
    cJSON_Delete(o);
    assert_int_equal(show(db).done, 18);
    assert_string_equal(ok(SWEEP(db, "--quiet")), "");
}

/* A sweep's numbers are those of calibrate and eval. */
static void test_same_as_by_hand(void **state)
{
    const char *const db = scratch("hand.db"), *const made = scratch("hand.vitq.safetensors");
    (void)state;
    cJSON *const o = json(SWEEP(db, "--seeds", "5", "--bits", "w5a4"));
    ok("calibrate", model_path, "--images", train_images, "--samples", "8", "--seed", "5", "--bits", "w5a4", "-o", made,
       "-q");
    for (int i = 1; i < 3; i++) {
        const cJSON *const row = cJSON_GetArrayItem(at(o, "results"), i);
        cJSON *const e = json("eval", made, "--images", test_images, "--labels", test_labels, "--limit", "64",
                              "--batch", "32", "--mode", str(row, "mode"));
        assert_true(num(row, "top1") == num(e, "top1") && num(row, "top5") == num(e, "top5"));
        cJSON_Delete(e);
    }
    cJSON_Delete(o);
}

static void test_tables(void **state)
{
    const char *const db = scratch("tables.db"), *const parts = "reparam=none,softmax.quantizer=uniform";
    (void)state;
    const char *const made = ok(SWEEP(db, "--modes", "int", "--parts", "none;reparam=none,softmax.quantizer=uniform"));
    const char *const table = ok("sweep", "--db", db, "--show");
    assert_string_equal(made, table);
    matches(table, "\nrecipe +bits +samples +seed +parts +mode +state +right +top-1");
    has(table, parts);
    assert_int_equal(times(table, " %  "), 6);
    const char *const csv = ok("sweep", "--db", db, "--show", "--csv");
    assert_int_equal(times(csv, "\n"), 4);
    matches(csv, "^recipe,bits,samples,seed,parts,search,mode,state,n,top1,top5,");
    matches(csv, "\n,,,,,,fp32,done,64,[0-9]+,[0-9]+,,[0-9.]+,");
    matches(csv, "\nrepq,w4a4,8,first,\"reparam=none,softmax.quantizer=uniform\",,int,done,64,[0-9]+,[0-9]+,[0-9.]+,");
}

static void test_interrupted(void **state)
{
    const char *const db = scratch("interrupted.db");
    (void)state;
    process p = start(SWEEP(db, "--seeds", "0..7"));
    wait_for_done(db, 3);
    kill(p.pid, SIGINT);
    check_fails(finish(&p), 130, "results are recorded");
    const states s = show(db);
    assert_int_equal(s.running, 0); /* given back */
    assert_true(s.done >= 3 && s.pending > 0);
    cJSON *const o = json(SWEEP(db, "--seeds", "0..7"));
    assert_true(num(o, "done") == 17 && num(o, "made") == 17 - s.done);
    cJSON_Delete(o);
}

static void test_killed(void **state)
{
    const char *const db = scratch("killed.db");
    (void)state;
    process p = start(SWEEP(db, "--seeds", "0..7"));
    wait_for_done(db, 3);
    kill(p.pid, SIGKILL);
    assert_int_equal(finish(&p)->code, -SIGKILL);
    const states s = show(db);
    assert_true(s.done >= 3 && s.done < 17 && s.running <= 2);
    cJSON *const o = json(SWEEP(db, "--seeds", "0..7"));
    assert_true(num(o, "done") == 17 && num(o, "made") == 17 - s.done);
    cJSON_Delete(o);
}

static void test_two_processes(void **state)
{
    const char *const db = scratch("two.db");
    double made = 0;
    (void)state;
    process a = start(SWEEP(db, "--seeds", "0..7", "--json", "--quiet"));
    process b = start(SWEEP(db, "--seeds", "0..7", "--json", "--quiet"));
    for (int i = 0; i < 2; i++) {
        cJSON *const o = parse_json(check_ok(finish(i ? &b : &a)));
        assert_true(num(o, "total") == 17 && num(o, "failed") == 0);
        made += num(o, "made");
        cJSON_Delete(o);
    }
    assert_true(made == 17); /* each result once */
    assert_int_equal(show(db).done, 17);
}

static void test_failed_points(void **state)
{
    const char *const db = scratch("failed.db"), *const folder = scratch("calib");
    (void)state;
    make_folder(folder);
    write_text(scratch("calib/a.png"), "no photo"); /* the FP32 model is judged, no point can be calibrated */
    const run_result *r = vitq("sweep", model_path, "--images", folder, "--val", test_images, "--labels", test_labels,
                               "--limit", "32", "--db", db, "--seeds", "0..1", "--quiet");
    check_fails(r, VQ_ERR_FORMAT, "4 of 5 results failed");
    has(r->err, "a.png");
    const states s = show(db);
    assert_true(s.done == 1 && s.failed == 4);
    has(ok("sweep", "--db", db, "--show"), "failed: ");
}

static void test_words(void **state)
{
    const char *const db = scratch("words.db");
    (void)state;
    fails(USAGE, "--db", "sweep", model_path);
    fails(USAGE, "--images", "sweep", model_path, "--db", db);
    fails(USAGE, "--val", "sweep", model_path, "--db", db, "--images", train_images);
    fails(USAGE, "--labels", "sweep", model_path, "--db", db, "--images", train_images, "--val", test_images);
    fails(USAGE, "MODEL", "sweep", "--db", db, "--images", train_images, "--val", test_images, "--labels", test_labels);
    fails(USAGE, "--show", "sweep", model_path, "--db", db, "--csv");
    fails(USAGE, "takes no MODEL", "sweep", model_path, "--db", db, "--show");
    fails(VQ_ERR_INVALID_ARG, "reqp", SWEEP(db, "--recipes", "repq,reqp"));
    fails(VQ_ERR_INVALID_ARG, "w9a4", SWEEP(db, "--bits", "w4a4,w9a4"));
    fails(USAGE, "empty", SWEEP(db, "--bits", "w4a4,"));
    fails(VQ_ERR_INVALID_ARG, "range", SWEEP(db, "--seeds", "5..2"));
    fails(VQ_ERR_INVALID_ARG, "seed", SWEEP(db, "--seeds", "1..x"));
    fails(USAGE, "fp32", SWEEP(db, "--modes", "fp32"));
    fails(VQ_ERR_INVALID_ARG, "softmax", SWEEP(db, "--parts", "softmax.quantizer=none"));
    fails(VQ_ERR_IO, "none.json", SWEEP(db, "--recipes", scratch("none.json")));
    assert_false(exists(db)); /* nothing was begun */
}

static void test_bad_databases(void **state)
{
    const char *const text = scratch("text.db"), *const copy = scratch("copy.db");
    (void)state;
    fails(VQ_ERR_IO, "none", "sweep", "--show", "--db", scratch("none.db"));
    fails(VQ_ERR_IO, "folder", SWEEP(scratch("none/x.db"), "-q"));
    fails(VQ_ERR_IO, "folder", SWEEP("/tmp", "-q"));
    write_text(text, "A text that is long enough to be no empty database, whatever the size of a header might be, or "
                     "of a page; in short, something that nobody wants to lose.");
    copy_file(text, copy);
    fails(VQ_ERR_FORMAT, "text.db", SWEEP(text, "-q"));
    fails(VQ_ERR_FORMAT, "text.db", "sweep", "--show", "--db", text, "--csv");
    assert_true(same_files(text, copy));
}

static void test_progress_line(void **state)
{
    (void)state;
    const char *const text = in_terminal(WORDS(vitq_path, SWEEP(scratch("progress.db"), "--seeds", "1..2")));
    matches(text, "\r\033\\[Ksweep  repq w4a4 8 seed 2  [0-9]/5");
    matches(text, "\r\033\\[Kmodel ");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),          cmocka_unit_test(test_same_as_by_hand),
        cmocka_unit_test(test_tables),        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_killed),        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_failed_points), cmocka_unit_test(test_words),
        cmocka_unit_test(test_bad_databases), cmocka_unit_test(test_progress_line),
    };
    if (!find_files(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
