/* The database of sweeps: claims by one, two and many connections, owners that die, files that are not ours. */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calib/sweep_db.h"

enum { STALE = 600 };

static const char *const repq[VQ_NUM_AXES] = {"repq", "w4a4", "32", "first", "", ""};
static const vq_db_context some_context = {"m", "c", "v", 336, "dev", "drv", "0.1", "model/", "calib/", "val/"};

static vq_sweep_db *open_db(const char *path)
{
    vq_sweep_db *db = NULL;
    unit_ok(vq_sweep_db_open(&db, path, STALE));
    return db;
}

/* Enters a grid: the FP32 model, then keys k1 ... with modes fake and int. */
static void enter(vq_sweep_db *db, int keys, bool retry)
{
    vq_db_point *const points = calloc((size_t)(1 + 2 * keys), sizeof *points);
    char(*const names)[16] = calloc((size_t)keys, sizeof *names);
    int64_t context;
    assert_true(points && names);
    points[0] = (vq_db_point){.key = "", .mode = "fp32"};
    for (int i = 0; i < keys; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i + 1);
        points[1 + 2 * i] = (vq_db_point){names[i], "fake", repq, "hash", i + 1};
        points[2 + 2 * i] = (vq_db_point){names[i], "int", repq, "hash", i + 1};
    }
    unit_ok(vq_sweep_db_context(&context, db, &some_context));
    unit_ok(vq_sweep_db_grid(db, context, points, (size_t)(1 + 2 * keys), retry));
    free(points);
    free(names);
}

static vq_db_claim claim(vq_sweep_db *db)
{
    vq_db_claim c;
    unit_ok(vq_sweep_db_claim(&c, db));
    return c;
}

static void record(vq_sweep_db *db, const vq_db_claim *c, vq_status result)
{
    const vq_db_outcome outcome = {.status = result,
                                   .error = "it broke",
                                   .n = 336,
                                   .top1 = 300,
                                   .top5 = 330,
                                   .calib_seconds = 2.5,
                                   .eval_seconds = 1.5,
                                   .samples_hash = c->tag ? "s" : NULL};
    for (int i = 0; i < c->count; i++) unit_ok(vq_sweep_db_record(db, c->results[i].id, &outcome));
}

static vq_db_counts counts(vq_sweep_db *db)
{
    vq_db_counts c;
    unit_ok(vq_sweep_db_counts(&c, db));
    return c;
}

/* Behind the back of every connection. */
static void tamper(const char *path, const char *text)
{
    sqlite3 *sql = NULL;
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(sql), SQLITE_OK);
}

/* ---- one connection ------------------------------------------------------------------------------------------------
 */

static void test_claims_follow_the_grid(void **state)
{
    vq_sweep_db *db = open_db(unit_path("order.db"));
    (void)state;
    enter(db, 2, false);
    vq_db_claim c = claim(db);
    assert_int_equal(c.tag, 0);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.results[0].mode, VQ_MODE_FP32);
    record(db, &c, VQ_OK);
    c = claim(db); /* both modes of a point together: it is calibrated once */
    assert_int_equal(c.tag, 1);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.results[0].mode, VQ_MODE_FAKE);
    assert_int_equal(c.results[1].mode, VQ_MODE_INT);
    const vq_db_counts during = counts(db);
    assert_int_equal(during.total, 5);
    assert_int_equal(during.done, 1);
    assert_int_equal(during.running, 2);
    record(db, &c, VQ_OK);
    c = claim(db);
    assert_int_equal(c.tag, 2);
    record(db, &c, VQ_OK);
    assert_int_equal(claim(db).count, 0);
    assert_int_equal(counts(db).done, 5);
    vq_sweep_db_close(&db);
    assert_null(db);
}

static void test_results_are_kept(void **state)
{
    const char *const path = unit_path("kept.db");
    vq_sweep_db *db = open_db(path);
    (void)state;
    enter(db, 1, false);
    vq_db_claim c = claim(db);
    record(db, &c, VQ_OK);
    vq_sweep_db_close(&db);
    db = open_db(path);
    enter(db, 3, false); /* a larger grid adds to what is there */
    assert_int_equal(counts(db).total, 7);
    assert_int_equal(counts(db).done, 1);
    assert_int_equal(claim(db).tag, 1);
    vq_sweep_db_close(&db);
}

static void test_contexts_apart(void **state)
{
    const char *const path = unit_path("contexts.db");
    vq_sweep_db *db = open_db(path);
    vq_db_context other = some_context;
    int64_t a, b, c;
    (void)state;
    unit_ok(vq_sweep_db_context(&a, db, &some_context));
    other.model_name = "elsewhere/"; /* only a name */
    unit_ok(vq_sweep_db_context(&b, db, &other));
    assert_true(a == b);
    other.val_hash = "other pixels";
    unit_ok(vq_sweep_db_context(&b, db, &other));
    assert_true(a != b);
    other.val_images = 100;
    unit_ok(vq_sweep_db_context(&c, db, &other));
    assert_true(c != b);
    vq_sweep_db_close(&db);
}

static void test_failures(void **state)
{
    const char *const path = unit_path("failures.db");
    vq_sweep_db *db = open_db(path);
    vq_status failure;
    char text[256];
    (void)state;
    enter(db, 2, false);
    unit_ok(vq_sweep_db_first_failure(&failure, text, sizeof text, db));
    assert_int_equal(failure, VQ_OK);
    vq_db_claim c = claim(db);
    record(db, &c, VQ_OK);
    c = claim(db);
    record(db, &c, VQ_ERR_UNSUPPORTED);
    unit_ok(vq_sweep_db_first_failure(&failure, text, sizeof text, db));
    assert_int_equal(failure, VQ_ERR_UNSUPPORTED);
    assert_string_equal(text, "k1 fake: it broke");
    assert_int_equal(claim(db).tag, 2); /* the sweep goes on */
    unit_ok(vq_sweep_db_release(db));
    enter(db, 2, false);
    assert_int_equal(counts(db).failed, 2);
    assert_int_equal(claim(db).tag, 2);
    unit_ok(vq_sweep_db_release(db));
    enter(db, 2, true);
    assert_int_equal(counts(db).failed, 0);
    c = claim(db);
    assert_int_equal(c.tag, 1);
    record(db, &c, VQ_OK); /* leaves no trace of the failure */
    unit_ok(vq_sweep_db_first_failure(&failure, text, sizeof text, db));
    assert_int_equal(failure, VQ_OK);
    vq_sweep_db_close(&db);
}

typedef struct seen {
    int rows, done, failed;
    vq_sweep_row last;
    char words[64];
} seen;

static bool see(void *user, const vq_sweep_row *row)
{
    seen *const s = user;
    s->rows++;
    s->done += strcmp(row->state, "done") == 0;
    s->failed += strcmp(row->state, "failed") == 0;
    s->last = *row;
    snprintf(s->words, sizeof s->words, "%s %s %s %s %s", row->mode, row->axes[0], row->axes[1], row->axes[2],
             row->axes[3]);
    return true;
}

static bool see_one(void *user, const vq_sweep_row *row)
{
    see(user, row);
    return false;
}

static void test_reading(void **state)
{
    const char *const path = unit_path("reading.db");
    vq_sweep_db *db = open_db(path);
    seen s = {0};
    (void)state;
    enter(db, 1, false);
    unit_ok(vq_sweep_read(path, see_one, &s)); /* while another connection is open */
    assert_int_equal(s.rows, 1);
    assert_string_equal(s.words, "fp32    ");
    vq_db_claim c = claim(db);
    record(db, &c, VQ_OK);
    c = claim(db);
    s = (seen){0};
    unit_ok(vq_sweep_read(path, see, &s)); /* and has claims */
    assert_int_equal(s.rows, 3);
    assert_int_equal(s.done, 1);
    record(db, &c, VQ_ERR_DEVICE);
    vq_sweep_db_close(&db);
    s = (seen){0};
    unit_ok(vq_sweep_read(path, see, &s));
    assert_int_equal(s.done, 1);
    assert_int_equal(s.failed, 2);
    assert_string_equal(s.words, "int repq w4a4 32 first");
    assert_int_equal(s.last.error_status, VQ_ERR_DEVICE);
    assert_int_equal(s.last.n, 0); /* a failure has no counts */
    assert_int_equal(s.last.val_images, 336);
    assert_true(s.last.finished >= s.last.started && s.last.started > 1e9);
    assert_int_equal(s.last.pid, getpid());
    assert_int_equal(access(unit_path("reading.db-wal"), F_OK), -1); /* nothing is left beside the file */
}

/* ---- several owners ------------------------------------------------------------------------------------------------
 */

static void test_two_connections(void **state)
{
    const char *const path = unit_path("two.db");
    vq_sweep_db *a = open_db(path), *b = open_db(path);
    (void)state;
    enter(a, 2, false);
    enter(b, 2, false);
    const vq_db_claim first = claim(a);
    assert_int_equal(first.tag, 0);
    const vq_db_claim second = claim(b);
    assert_int_equal(second.tag, 1);
    record(a, &first, VQ_OK);
    const vq_db_claim third = claim(a);
    assert_int_equal(third.tag, 2);
    record(b, &second, VQ_OK);
    assert_int_equal(claim(b).count, 0); /* the other one works on it */
    assert_int_equal(counts(b).running, 2);
    unit_ok(vq_sweep_db_release(b)); /* only its own, of which there are none */
    assert_int_equal(counts(b).running, 2);
    unit_ok(vq_sweep_db_release(a));
    assert_int_equal(claim(b).tag, 2);
    vq_sweep_db_close(&a);
    vq_sweep_db_close(&b);
}

enum { RACERS = 4, RACE_KEYS = 60 };

typedef struct racer {
    const char *path;
    int taken[RACE_KEYS + 1];
} racer;

static void *race(void *user)
{
    racer *const r = user;
    vq_sweep_db *db = open_db(r->path); /* all create it at once, too */
    enter(db, RACE_KEYS, false);
    for (vq_db_claim c = claim(db); c.count && r->taken[c.tag] < 2; c = claim(db)) {
        r->taken[c.tag]++;
        record(db, &c, VQ_OK);
    }
    vq_sweep_db_close(&db);
    return NULL;
}

static void test_race(void **state)
{
    pthread_t threads[RACERS];
    racer racers[RACERS] = {{0}};
    const char *const path = unit_path("race.db");
    (void)state;
    for (int i = 0; i < RACERS; i++) {
        racers[i].path = path;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) pthread_join(threads[i], NULL);
    for (int k = 0; k <= RACE_KEYS; k++) {
        int taken = 0;
        for (int i = 0; i < RACERS; i++) taken += racers[i].taken[k];
        assert_int_equal(taken, 1);
    }
    vq_sweep_db *db = open_db(path);
    enter(db, RACE_KEYS, false);
    assert_int_equal(counts(db).done, 1 + 2 * RACE_KEYS);
    vq_sweep_db_close(&db);
}

/* Waits for the start, opens, and ends the process: with 0 where all went well. */
static void open_at(const char *path, int start)
{
    char byte;
    vq_sweep_db *db = NULL;
    seen s = {0};
    alarm(60);
    if (read(start, &byte, 1) != 0) _exit(2); /* the end of it is the start */
    vq_status status = vq_sweep_db_open(&db, path, STALE);
    if (status == VQ_OK) enter(db, 1, false);
    vq_sweep_db_close(&db);
    if (status == VQ_OK) status = vq_sweep_read(path, see, &s);
    if (status != VQ_OK) print_error("%s\n", unit_error);
    _exit(status == VQ_OK && s.rows == 3 ? 0 : 1);
}

/* Processes that make the same database at the same moment. */
static void test_made_at_once(void **state)
{
    enum { ROUNDS = 60, OPENERS = 6 };
    (void)state;
    for (int r = 0; r < ROUNDS; r++) {
        char name[32], path[512];
        int start[2], code;
        pid_t pids[OPENERS];
        snprintf(name, sizeof name, "once%d.db", r);
        snprintf(path, sizeof path, "%s", unit_path(name));
        assert_int_equal(pipe(start), 0);
        for (int i = 0; i < OPENERS; i++) {
            fflush(NULL);
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0) {
                close(start[1]);
                open_at(path, start[0]);
            }
        }
        close(start[0]);
        close(start[1]); /* go */
        for (int i = 0; i < OPENERS; i++) {
            assert_int_equal(waitpid(pids[i], &code, 0), pids[i]);
            assert_true(WIFEXITED(code));
            assert_int_equal(WEXITSTATUS(code), 0);
        }
    }
}

/* A process that claims the first point and then waits until it is killed. */
static pid_t start_owner(const char *path)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vq_sweep_db *db = NULL;
        vq_db_claim c;
        alarm(60); /* where the test fails before it kills */
        if (vq_sweep_db_open(&db, path, STALE) != VQ_OK) _exit(1);
        enter(db, 2, false);
        if (vq_sweep_db_claim(&c, db) != VQ_OK || c.tag != 0 || write(ready[1], "", 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void test_killed_owner(void **state)
{
    const char *const path = unit_path("killed.db");
    const pid_t pid = start_owner(path);
    vq_sweep_db *db = open_db(path);
    (void)state;
    enter(db, 2, false);
    const vq_db_claim other = claim(db); /* as long as it lives its point is left alone */
    assert_int_equal(other.tag, 1);
    record(db, &other, VQ_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* ended, but still listed */
    assert_int_equal(claim(db).tag, access("/proc/self/stat", R_OK) == 0 ? 0 : 2);
    unit_ok(vq_sweep_db_release(db));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(claim(db).tag, 0);
    vq_sweep_db_close(&db);
}

static void test_other_process_of_that_number(void **state)
{
    const char *const path = unit_path("number.db");
    vq_sweep_db *a = open_db(path), *b = open_db(path);
    (void)state;
    enter(a, 1, false);
    enter(b, 1, false);
    assert_int_equal(claim(a).tag, 0);
    tamper(path, "UPDATE points SET pid_started = pid_started + 1 WHERE state = 'running'");
    if (access("/proc/self/stat", R_OK) == 0) assert_int_equal(claim(b).tag, 0);
    vq_sweep_db_close(&a);
    vq_sweep_db_close(&b);
}

static void test_silent_machine(void **state)
{
    const char *const path = unit_path("silent.db");
    vq_sweep_db *a = open_db(path), *b = open_db(path);
    (void)state;
    enter(a, 1, false);
    enter(b, 1, false);
    const vq_db_claim lost = claim(a);
    tamper(path, "UPDATE points SET host = 'elsewhere', pid = 1 WHERE state = 'running'");
    assert_int_equal(claim(b).tag, 1); /* its heartbeat is young */
    tamper(path, "UPDATE points SET heartbeat = heartbeat - 1000 WHERE host = 'elsewhere'");
    unit_ok(vq_sweep_db_beat(a));
    unit_ok(vq_sweep_db_release(b));
    assert_int_equal(claim(b).tag, 1); /* and is young again */
    unit_ok(vq_sweep_db_release(b));
    tamper(path, "UPDATE points SET heartbeat = heartbeat - 1000 WHERE host = 'elsewhere'");
    const vq_db_claim taken = claim(b);
    assert_int_equal(taken.tag, 0);
    assert_true(taken.results[0].id == lost.results[0].id);
    record(a, &lost, VQ_ERR_DEVICE); /* comes too late */
    assert_int_equal(counts(a).failed, 0);
    record(b, &taken, VQ_OK);
    assert_int_equal(counts(a).done, 1);
    vq_sweep_db_close(&a);
    vq_sweep_db_close(&b);
}

/* ---- bad files -----------------------------------------------------------------------------------------------------
 */

static uint64_t file_hash(const char *path)
{
    static char data[1 << 20];
    FILE *const f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    return unit_hash(data, n);
}

/* Neither a sweep nor a reader takes it, and it stays as it was. */
static void refused(const char *path, vq_status status, const char *says)
{
    const uint64_t before = file_hash(path);
    vq_sweep_db *db = (void *)&db;
    seen s = {0};
    unit_fails(vq_sweep_db_open(&db, path, STALE), status, says);
    assert_null(db);
    unit_fails(vq_sweep_read(path, see, &s), status, says);
    assert_int_equal(s.rows, 0);
    assert_true(file_hash(path) == before);
}

static const char *finished_db(const char *name)
{
    const char *const path = unit_path(name);
    vq_sweep_db *db = open_db(path);
    enter(db, 200, false);
    vq_sweep_db_close(&db);
    return path;
}

static void test_files_of_others(void **state)
{
    (void)state;
    refused(unit_write_text("text.db", "file,class_index\ncat.png,3\nand more text, long enough for a header of SQLite"
                                       "................................................................"),
            VQ_ERR_FORMAT, "not a database");
    const char *path = unit_path("other.db");
    tamper(path, "CREATE TABLE points (id INTEGER PRIMARY KEY, mine TEXT)");
    refused(path, VQ_ERR_FORMAT, "another program");
    path = unit_path("marked.db");
    tamper(path, "PRAGMA application_id = 77; CREATE TABLE t (x)");
    refused(path, VQ_ERR_FORMAT, "another program");
    path = finished_db("newer.db");
    tamper(path, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 2");
    refused(path, VQ_ERR_VERSION, "version 2");
}

static void test_damage(void **state)
{
    const char *const path = finished_db("damaged.db");
    (void)state;
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    assert_true(size > 16384);
    for (long at = 4096; at + 4096 <= size; at += 4096) { /* the header of every page but the first */
        fseek(f, at, SEEK_SET);
        assert_int_equal(fwrite("\x0d\xff\xff\xff\xff\xff\xff\xff", 1, 8, f), 8);
    }
    fclose(f);
    vq_sweep_db *db = NULL;
    unit_fails(vq_sweep_db_open(&db, path, STALE), VQ_ERR_FORMAT, "damaged");
    assert_null(db);
    const char *const half = finished_db("half.db");
    assert_int_equal(truncate(half, size / 2), 0);
    unit_fails(vq_sweep_db_open(&db, half, STALE), VQ_ERR_FORMAT, "half.db");
}

static void test_places(void **state)
{
    vq_sweep_db *db = NULL;
    seen s = {0};
    (void)state;
    unit_path("here");
    unit_fails(vq_sweep_db_open(&db, unit_path("none/x.db"), STALE), VQ_ERR_IO, "none/x.db");
    unit_fails(vq_sweep_db_open(&db, unit_path(""), STALE), VQ_ERR_IO, "not a file");
    unit_fails(vq_sweep_db_open(&db, "/dev/null", STALE), VQ_ERR_IO, "not a file");
    unit_fails(vq_sweep_read(unit_path("none.db"), see, &s), VQ_ERR_IO, "none.db");
    assert_int_equal(access(unit_path("none.db"), F_OK), -1); /* reading makes no file */
    db = open_db(unit_write_text("empty.db", ""));            /* as mktemp leaves it */
    vq_sweep_db_close(&db);
}

static void test_read_only(void **state)
{
    (void)state;
    if (geteuid() == 0) skip(); /* rights do not bind root */
    const char *const path = finished_db("only.db");
    vq_sweep_db *db = NULL;
    seen s = {0};
    assert_int_equal(chmod(path, 0444), 0);
    unit_fails(vq_sweep_db_open(&db, path, STALE), VQ_ERR_IO, "read-only");
    unit_ok(vq_sweep_read(path, see, &s));
    assert_int_equal(s.rows, 401);

    const char *const folder = unit_path("sealed"), *const inner = unit_path("sealed/x.db");
    assert_int_equal(mkdir(folder, 0777), 0);
    db = open_db(inner);
    enter(db, 1, false);
    vq_sweep_db_close(&db);
    assert_int_equal(chmod(folder, 0555), 0);
    s = (seen){0};
    unit_ok(vq_sweep_read(inner, see, &s)); /* though no log can be made there */
    assert_int_equal(s.rows, 3);
    unit_fails(vq_sweep_db_open(&db, inner, STALE), VQ_ERR_IO, "read-only");
    assert_int_equal(chmod(folder, 0777), 0);
}

/* What a full disk does to writers, in a process of its own: writes beyond the limit fail. */
static void test_full_disk(void **state)
{
    const char *const path = unit_path("full.db");
    vq_sweep_db *db = open_db(path);
    int code = 0;
    (void)state;
    enter(db, 3, false);
    const vq_db_claim c = claim(db);
    record(db, &c, VQ_OK);
    vq_sweep_db_close(&db);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        static vq_db_point points[20000];
        static char names[20000][16];
        int64_t context;
        const struct rlimit limit = {300000, 300000};
        for (int i = 0; i < 20000; i++) {
            snprintf(names[i], sizeof names[i], "long key %d", i);
            points[i] = (vq_db_point){names[i], "int", repq, "hash", i};
        }
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        unit_num_errors = 0;
        if (vq_sweep_db_open(&db, path, STALE) != VQ_OK) _exit(1);
        if (vq_sweep_db_context(&context, db, &some_context) != VQ_OK) _exit(2);
        if (vq_sweep_db_grid(db, context, points, 20000, false) != VQ_ERR_IO) _exit(3);
        if (unit_num_errors != 1 || !strstr(unit_error, "full.db")) _exit(4);
        vq_sweep_db_close(&db);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_true(WIFEXITED(code));
    assert_int_equal(WEXITSTATUS(code), 0);
    db = open_db(path); /* all of it or nothing: nothing */
    enter(db, 3, false);
    assert_int_equal(counts(db).done, 1);
    seen s = {0};
    unit_ok(vq_sweep_read(path, see, &s));
    assert_int_equal(s.rows, 7);
    vq_sweep_db_close(&db);
}

/* ---- axes ----------------------------------------------------------------------------------------------------------
 */

static void normal(const char *axis, const char *text, const char *form)
{
    char *out = NULL;
    unit_ok(vq_axes[vq_axis_find(axis)].normalize(&out, text));
    assert_string_equal(out, form);
    free(out);
}

static void abnormal(const char *axis, const char *text)
{
    char *out = NULL;
    unit_fails(vq_axes[vq_axis_find(axis)].normalize(&out, text), VQ_ERR_INVALID_ARG, axis);
    assert_null(out);
}

static void test_axes(void **state)
{
    vq_calib_params params = {0};
    (void)state;
    assert_int_equal(vq_axis_find("nothing"), -1);
    assert_null(vq_sweep_axis_name(VQ_NUM_AXES));
    normal("bits", "W4A8", "w4a8");
    normal("samples", "032", "32");
    normal("seed", "18446744073709551615", "18446744073709551615");
    normal("seed", "first", "first");
    normal("parts", "none", "");
    normal("parts", "reparam=mosf", "reparam=mosf");
    for (size_t i = 0; i < VQ_ARRAY_LEN(vq_axes); i++) normal(vq_axes[i].name, vq_axes[i].usual, vq_axes[i].usual);
    const char *const bits[] = {"", "w4", "w1a4", "w4a9", "4", "w4a4x"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(bits); i++) abnormal("bits", bits[i]);
    const char *const samples[] = {"", "0", "-1", "65537", "3x", " 3"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(samples); i++) abnormal("samples", samples[i]);
    const char *const seeds[] = {"", "-1", "18446744073709551616", "x", "1 "};
    for (size_t i = 0; i < VQ_ARRAY_LEN(seeds); i++) abnormal("seed", seeds[i]);
    abnormal("recipe", "");
    for (int i = 0; i < VQ_NUM_AXES; i++) vq_axes[i].apply(&params, vq_axes[i].usual);
    assert_string_equal(params.recipe, "repq");
    assert_true(params.w_bits == 4 && params.a_bits == 4 && params.samples == 32 && !params.shuffle);
    assert_true(!params.parts && !params.search);
    vq_axes[vq_axis_find("seed")].apply(&params, "0");
    assert_true(params.shuffle && params.seed == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_follow_the_grid),
        cmocka_unit_test(test_results_are_kept),
        cmocka_unit_test(test_contexts_apart),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_two_connections),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_made_at_once),
        cmocka_unit_test(test_killed_owner),
        cmocka_unit_test(test_other_process_of_that_number),
        cmocka_unit_test(test_silent_machine),
        cmocka_unit_test(test_files_of_others),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_axes),
    };
    unit_catch_log();
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
