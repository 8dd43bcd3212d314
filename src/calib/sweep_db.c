#define _XOPEN_SOURCE 700 /* gethostname, kill */

#include "calib/sweep_db.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* "vitq" as PRAGMA application_id, by which file(1) and we know our own. */
#define APPLICATION_ID "1986622577"

enum { BUSY_MS = 60000 };

/* What makes version i + 1 out of version i. Never changed once published: a new version is a new step. */
static const char *const upgrades[VQ_SWEEP_DB_VERSION] = {
    "PRAGMA application_id = " APPLICATION_ID ";"
    "CREATE TABLE contexts ("
    "  id INTEGER PRIMARY KEY,"
    "  model_hash TEXT NOT NULL, calib_hash TEXT NOT NULL, val_hash TEXT NOT NULL, val_images INTEGER NOT NULL,"
    "  device TEXT NOT NULL, driver TEXT NOT NULL, version TEXT NOT NULL,"
    "  model_name TEXT NOT NULL, calib_name TEXT NOT NULL, val_name TEXT NOT NULL, created REAL NOT NULL,"
    "  UNIQUE (model_hash, calib_hash, val_hash, val_images, device, driver, version));"
    "CREATE TABLE points ("
    "  id INTEGER PRIMARY KEY,"
    "  context INTEGER NOT NULL REFERENCES contexts (id),"
    "  key TEXT NOT NULL,"
    "  mode TEXT NOT NULL CHECK (mode IN ('fp32', 'fake', 'int')),"
    "  recipe TEXT, bits TEXT, samples INTEGER, seed TEXT, parts TEXT, search TEXT, recipe_hash TEXT,"
    "  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),"
    "  owner TEXT, host TEXT, pid INTEGER, pid_started INTEGER, heartbeat REAL,"
    "  started REAL, finished REAL,"
    "  n INTEGER, top1 INTEGER, top5 INTEGER, calib_seconds REAL, eval_seconds REAL, samples_hash TEXT,"
    "  error_status INTEGER, error TEXT,"
    "  UNIQUE (context, key, mode));"
    "CREATE INDEX points_by_owner ON points (owner) WHERE state = 'running';",
};

struct vq_sweep_db {
    sqlite3 *sql;
    char *path;
    char host[192], owner[40]; /* owner is unique to this connection */
    long long pid_started;
};

/* ---- failures ------------------------------------------------------------------------------------------------------
 */

/* One line for the failure that the connection had last. */
static vq_status fail_sql(sqlite3 *sql, const char *path)
{
    const int code = sql ? sqlite3_errcode(sql) : SQLITE_NOMEM;
    switch (code & 0xff) {
    case SQLITE_NOMEM: return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", path);
    case SQLITE_NOTADB: return vq_fail(VQ_ERR_FORMAT, "%s: is not a database of vitq sweep", path);
    case SQLITE_CORRUPT: return vq_fail(VQ_ERR_FORMAT, "%s: is damaged (%s)", path, sqlite3_errmsg(sql));
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return vq_fail(VQ_ERR_IO, "%s: is kept locked by another process", path);
    case SQLITE_READONLY: return vq_fail(VQ_ERR_IO, "%s: cannot be written, it or its folder is read-only", path);
    case SQLITE_FULL: return vq_fail(VQ_ERR_IO, "%s: cannot be written, the disk is full", path);
    case SQLITE_CANTOPEN:
        return vq_fail(VQ_ERR_IO, "%s: cannot be opened: %s", path,
                       sqlite3_system_errno(sql) ? strerror(sqlite3_system_errno(sql)) : sqlite3_errmsg(sql));
    case SQLITE_IOERR:
        return vq_fail(VQ_ERR_IO, "%s: cannot be read or written: %s", path,
                       sqlite3_system_errno(sql) ? strerror(sqlite3_system_errno(sql)) : sqlite3_errmsg(sql));
    default: return vq_fail(VQ_ERR_FORMAT, "%s: %s", path, sqlite3_errmsg(sql));
    }
}

static vq_status fail(const vq_sweep_db *db)
{
    return fail_sql(db->sql, db->path);
}

/* ---- statements ----------------------------------------------------------------------------------------------------
 */

static vq_status prepare(sqlite3_stmt **out, const vq_sweep_db *db, const char *text)
{
    return sqlite3_prepare_v2(db->sql, text, -1, out, NULL) == SQLITE_OK ? VQ_OK : fail(db);
}

/* Binding fails only for lack of memory, and then the value is NULL and a constraint or a comparison fails: step
 * reports. */
static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(s, at);
}

static void bind_size(sqlite3_stmt *s, int at, size_t n)
{
    sqlite3_bind_int64(s, at, (sqlite3_int64)n);
}

/* The next row into *row; false at the end. */
static vq_status step(bool *row, const vq_sweep_db *db, sqlite3_stmt *s)
{
    const int code = sqlite3_step(s);
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? VQ_OK : fail(db);
}

/* Runs a statement to its end and frees it. */
static vq_status finish(const vq_sweep_db *db, sqlite3_stmt *s)
{
    bool row = true;
    vq_status status = VQ_OK;
    while (row && status == VQ_OK) status = step(&row, db, s);
    sqlite3_finalize(s);
    return status;
}

static vq_status run(const vq_sweep_db *db, const char *text)
{
    return sqlite3_exec(db->sql, text, NULL, NULL, NULL) == SQLITE_OK ? VQ_OK : fail(db);
}

/* The one integer that a statement gives. */
static vq_status ask(long long *out, const vq_sweep_db *db, const char *text)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    *out = 0;
    VQ_TRY(prepare(&s, db, text));
    vq_status status = step(&row, db, s);
    if (row) *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return status;
}

/* Ends a transaction as status says and returns the first failure. */
static vq_status end(const vq_sweep_db *db, vq_status status)
{
    if (status == VQ_OK) status = run(db, "COMMIT");
    if (status != VQ_OK) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static double wall_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- owners --------------------------------------------------------------------------------------------------------
 */

/* When a process started, in ticks since boot, so that a later one of the same number is told from it; 0 where that
 * cannot be known, -1 for one that has ended and only waits for its parent to notice. */
static long long process_started(long pid)
{
    char path[48], text[1024];
    long long started = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *const f = fopen(path, "r");
    const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    /* "PID (NAME) STATE ...": the name may hold anything; the start is field 22 */
    const char *at = strrchr(text, ')');
    const char state = at && strlen(at) > 2 ? at[2] : 0;
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    if (at) started = strtoll(at, NULL, 10);
    return state == 'Z' || state == 'X' ? -1 : started;
}

/* Where numbers of processes mean something: the machine, and the namespace within it. */
static void host_name(char *out, size_t size)
{
    char name[96] = "", space[64] = "";
    if (gethostname(name, sizeof name - 1) != 0) strcpy(name, "unknown");
    const ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = 0;
    snprintf(out, size, "%s %s", name, space);
}

/* SQL: owner_gone(host, pid, pid_started, heartbeat, now - stale) */
static void owner_gone(sqlite3_context *context, int count, sqlite3_value **values)
{
    const vq_sweep_db *const db = sqlite3_user_data(context);
    const char *const host = (const char *)sqlite3_value_text(values[0]);
    const long pid = (long)sqlite3_value_int64(values[1]);
    const long long started = sqlite3_value_int64(values[2]);
    (void)count;
    if (!host || strcmp(host, db->host) != 0) { /* of another machine only its silence is known */
        sqlite3_result_int(context, sqlite3_value_double(values[3]) < sqlite3_value_double(values[4]));
        return;
    }
    const bool there = pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
    const long long now = there ? process_started(pid) : 0;
    sqlite3_result_int(context, !there || (started && now && started != now));
}

/* ---- opening -------------------------------------------------------------------------------------------------------
 */

static vq_status read_marks(long long *id, long long *version, long long *tables, const vq_sweep_db *db)
{
    VQ_TRY(ask(id, db, "PRAGMA application_id"));
    VQ_TRY(ask(version, db, "PRAGMA user_version"));
    return ask(tables, db, "SELECT count(*) FROM sqlite_master");
}

/* All marks at one moment: another process may be making the tables. */
static vq_status check_ours(long long *version, const vq_sweep_db *db)
{
    long long id = 0, tables = 0;
    VQ_TRY(run(db, "SAVEPOINT marks"));
    const vq_status status = read_marks(&id, version, &tables, db);
    sqlite3_exec(db->sql, "RELEASE marks", NULL, NULL, NULL); /* nothing was written */
    VQ_TRY(status);
    if (id == 0 && *version == 0 && tables == 0) return VQ_OK;
    if (id != strtoll(APPLICATION_ID, NULL, 10))
        return vq_fail(VQ_ERR_FORMAT, "%s: is a database of another program", db->path);
    if (*version < 1 || *version > VQ_SWEEP_DB_VERSION)
        return vq_fail(VQ_ERR_VERSION, "%s: has version %lld of the tables, this vitq knows up to %d", db->path,
                       *version, VQ_SWEEP_DB_VERSION);
    return VQ_OK;
}

/* Readers do not wait for writers in this mode; where the file system cannot have it, results are as safe without. Not
 * all of its locks wait by themselves. */
static void use_write_ahead_log(const vq_sweep_db *db)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 100; i++) {
        if (sqlite3_exec(db->sql, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_BUSY) return;
        nanosleep(&pause, NULL);
    }
}

static vq_status upgrade(const vq_sweep_db *db)
{
    char set_version[48];
    long long version;
    VQ_TRY(check_ours(&version, db));
    if (version == VQ_SWEEP_DB_VERSION) return VQ_OK;
    VQ_TRY(run(db, "BEGIN IMMEDIATE"));
    vq_status status = check_ours(&version, db); /* again: another process may have been first */
    for (; status == VQ_OK && version < VQ_SWEEP_DB_VERSION; version++) status = run(db, upgrades[version]);
    snprintf(set_version, sizeof set_version, "PRAGMA user_version = %d", VQ_SWEEP_DB_VERSION);
    if (status == VQ_OK) status = run(db, set_version);
    return end(db, status);
}

/* Damage is found before hours of work, not after. */
static vq_status check_whole(const vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    VQ_TRY(prepare(&s, db, "PRAGMA quick_check(1)"));
    vq_status status = step(&row, db, s);
    if (row && strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        status = vq_fail(VQ_ERR_FORMAT, "%s: is damaged", db->path);
    sqlite3_finalize(s);
    return status;
}

static vq_status create_owner(vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    host_name(db->host, sizeof db->host);
    db->pid_started = process_started((long)getpid());
    VQ_TRY(prepare(&s, db, "SELECT hex(randomblob(16))"));
    const vq_status status = step(&row, db, s);
    if (row) snprintf(db->owner, sizeof db->owner, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return status;
}

static vq_status prepare_connection(vq_sweep_db *db, double stale_seconds)
{
    char view[1200];
    if (sqlite3_create_function(db->sql, "owner_gone", 5, SQLITE_UTF8, db, owner_gone, NULL, NULL) != SQLITE_OK)
        return fail(db);
    VQ_TRY(run(db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                   "CREATE TEMP TABLE grid (place INTEGER PRIMARY KEY, point INTEGER UNIQUE, tag INTEGER NOT NULL)"));
    VQ_TRY(create_owner(db));
    snprintf(
        view, sizeof view,
        "CREATE TEMP VIEW free AS SELECT place, tag, p.id, p.context, p.key FROM grid JOIN main.points p ON p.id = "
        "point WHERE state = 'pending' OR (state = 'running' AND owner <> '%s' AND owner_gone(host, pid, "
        "pid_started, heartbeat, (julianday('now') - 2440587.5) * 86400 - %.17g))",
        db->owner, stale_seconds);
    return run(db, view);
}

vq_status vq_sweep_db_open(vq_sweep_db **out, const char *path, double stale_seconds)
{
    vq_sweep_db *db = NULL;
    struct stat info;
    vq_status status = VQ_OK;
    *out = NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* SQLite's own message would be a riddle */
        return vq_fail(VQ_ERR_IO, "%s: is not a file", path);
    VQ_TRY(vq_alloc(&db, 1, sizeof *db, path));
    VQ_GO(vq_strdup(&db->path, path));
    if (sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL) !=
        SQLITE_OK)
        VQ_GO(fail(db));
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    long long version;
    VQ_GO(check_ours(&version, db));
    if (sqlite3_db_readonly(db->sql, "main") == 1)
        VQ_GO(vq_fail(VQ_ERR_IO, "%s: cannot be written, it is read-only", path));
    VQ_GO(check_whole(db));
    use_write_ahead_log(db);
    VQ_GO(upgrade(db));
    VQ_GO(prepare_connection(db, stale_seconds));
    *out = db;
    db = NULL;
done:
    vq_sweep_db_close(&db);
    return status;
}

void vq_sweep_db_close(vq_sweep_db **db)
{
    if (!db || !*db) return;
    sqlite3_close((*db)->sql); /* nothing is left open; the last one to close folds the log into the file */
    free((*db)->path);
    free(*db);
    *db = NULL;
}

/* ---- the grid ------------------------------------------------------------------------------------------------------
 */

static void bind_context(sqlite3_stmt *s, const vq_db_context *c)
{
    bind_text(s, 1, c->model_hash);
    bind_text(s, 2, c->calib_hash);
    bind_text(s, 3, c->val_hash);
    bind_size(s, 4, c->val_images);
    bind_text(s, 5, c->device);
    bind_text(s, 6, c->driver);
    bind_text(s, 7, c->version);
}

static vq_status find_context(int64_t *id, const vq_sweep_db *db, const vq_db_context *c)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    VQ_TRY(prepare(&s, db,
                   "SELECT id FROM contexts WHERE model_hash = ? AND calib_hash = ? AND val_hash = ? AND "
                   "val_images = ? AND device = ? AND driver = ? AND version = ?"));
    bind_context(s, c);
    vq_status status = step(&row, db, s);
    if (status == VQ_OK && !row) status = vq_fail(VQ_ERR_IO, "%s: lost a row just written", db->path);
    *id = row ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    return status;
}

vq_status vq_sweep_db_context(int64_t *id, vq_sweep_db *db, const vq_db_context *c)
{
    sqlite3_stmt *s = NULL;
    *id = 0;
    VQ_TRY(prepare(&s, db,
                   "INSERT OR IGNORE INTO contexts (model_hash, calib_hash, val_hash, val_images, device, driver, "
                   "version, model_name, calib_name, val_name, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    bind_context(s, c);
    bind_text(s, 8, c->model_name);
    bind_text(s, 9, c->calib_name);
    bind_text(s, 10, c->val_name);
    sqlite3_bind_double(s, 11, wall_clock());
    VQ_TRY(finish(db, s));
    return find_context(id, db, c);
}

/* "INSERT OR IGNORE INTO points (context, key, mode, recipe_hash, AXES) VALUES (?, ...)" */
static void insert_text(char *out, size_t size)
{
    char marks[4 * VQ_NUM_AXES + 1] = "";
    size_t used = (size_t)snprintf(out, size, "INSERT OR IGNORE INTO points (context, key, mode, recipe_hash");
    for (int i = 0; i < VQ_NUM_AXES; i++) {
        used += (size_t)snprintf(out + used, size - used, ", %s", vq_axes[i].name);
        strcat(marks, ", ?");
    }
    snprintf(out + used, size - used, ") VALUES (?1, ?2, ?3, ?4%s)", marks);
}

static vq_status add_points(const vq_sweep_db *db, sqlite3_stmt *insert, sqlite3_stmt *mark, int64_t context,
                            const vq_db_point *points, size_t count)
{
    bool row;
    for (size_t i = 0; i < count; i++) {
        const vq_db_point *const p = &points[i];
        sqlite3_bind_int64(insert, 1, context);
        bind_text(insert, 2, p->key);
        bind_text(insert, 3, p->mode);
        bind_text(insert, 4, p->recipe_hash);
        for (int a = 0; a < VQ_NUM_AXES; a++) bind_text(insert, 5 + a, p->axes ? p->axes[a] : NULL);
        VQ_TRY(step(&row, db, insert));
        sqlite3_reset(insert);
        sqlite3_bind_int(mark, 1, p->tag);
        sqlite3_bind_int64(mark, 2, context);
        bind_text(mark, 3, p->key);
        bind_text(mark, 4, p->mode);
        VQ_TRY(step(&row, db, mark));
        sqlite3_reset(mark);
    }
    return VQ_OK;
}

vq_status vq_sweep_db_grid(vq_sweep_db *db, int64_t context, const vq_db_point *points, size_t count, bool retry)
{
    char text[256 + 40 * VQ_NUM_AXES];
    sqlite3_stmt *insert = NULL, *mark = NULL;
    vq_status status = VQ_OK;
    insert_text(text, sizeof text);
    VQ_TRY(run(db, "BEGIN IMMEDIATE"));
    VQ_GO(run(db, "DELETE FROM temp.grid"));
    VQ_GO(prepare(&insert, db, text));
    VQ_GO(prepare(&mark, db,
                  "INSERT OR IGNORE INTO temp.grid (point, tag) SELECT id, ?1 FROM points "
                  "WHERE context = ?2 AND key = ?3 AND mode = ?4"));
    VQ_GO(add_points(db, insert, mark, context, points, count));
    if (retry)
        VQ_GO(run(db, "UPDATE points SET state = 'pending', error = NULL, error_status = NULL, owner = NULL "
                      "WHERE state = 'failed' AND id IN (SELECT point FROM temp.grid)"));
done:
    sqlite3_finalize(insert);
    sqlite3_finalize(mark);
    return end(db, status);
}

/* ---- claims --------------------------------------------------------------------------------------------------------
 */

static vq_status take_first_free(const vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    VQ_TRY(prepare(&s, db,
                   "UPDATE points SET state = 'running', owner = ?1, host = ?2, pid = ?3, pid_started = ?4, "
                   "heartbeat = ?5, started = ?5, finished = NULL WHERE id IN (SELECT id FROM temp.free WHERE "
                   "(context, key) = (SELECT context, key FROM temp.free ORDER BY place LIMIT 1))"));
    bind_text(s, 1, db->owner);
    bind_text(s, 2, db->host);
    sqlite3_bind_int64(s, 3, (long)getpid());
    sqlite3_bind_int64(s, 4, db->pid_started);
    sqlite3_bind_double(s, 5, wall_clock());
    return finish(db, s);
}

static vq_mode mode_of(const char *name)
{
    for (int m = VQ_MODE_FP32; m <= VQ_MODE_INT; m++)
        if (name && strcmp(name, vq_mode_name((vq_mode)m)) == 0) return (vq_mode)m;
    return VQ_MODE_DEFAULT;
}

static vq_status list_claimed(vq_db_claim *out, const vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    VQ_TRY(prepare(&s, db,
                   "SELECT tag, id, mode FROM temp.grid JOIN points ON id = point "
                   "WHERE owner = ?1 AND state = 'running' ORDER BY place LIMIT 3"));
    bind_text(s, 1, db->owner);
    vq_status status = step(&row, db, s);
    for (; status == VQ_OK && row; status = step(&row, db, s)) {
        out->tag = sqlite3_column_int(s, 0);
        out->results[out->count].id = sqlite3_column_int64(s, 1);
        out->results[out->count++].mode = mode_of((const char *)sqlite3_column_text(s, 2));
    }
    sqlite3_finalize(s);
    return status;
}

vq_status vq_sweep_db_claim(vq_db_claim *out, vq_sweep_db *db)
{
    *out = (vq_db_claim){0};
    VQ_TRY(run(db, "BEGIN IMMEDIATE"));
    vq_status status = take_first_free(db);
    if (status == VQ_OK) status = list_claimed(out, db);
    status = end(db, status);
    if (status != VQ_OK) *out = (vq_db_claim){0};
    return status;
}

vq_status vq_sweep_db_beat(vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    VQ_TRY(prepare(&s, db, "UPDATE points SET heartbeat = ?1 WHERE owner = ?2 AND state = 'running'"));
    sqlite3_bind_double(s, 1, wall_clock());
    bind_text(s, 2, db->owner);
    return finish(db, s);
}

vq_status vq_sweep_db_record(vq_sweep_db *db, int64_t id, const vq_db_outcome *o)
{
    sqlite3_stmt *s = NULL;
    const bool done = o->status == VQ_OK;
    VQ_TRY(prepare(&s, db,
                   "UPDATE points SET state = ?1, finished = ?2, n = ?3, top1 = ?4, top5 = ?5, calib_seconds = ?6, "
                   "eval_seconds = ?7, samples_hash = ?8, error_status = ?9, error = ?10 "
                   "WHERE id = ?11 AND owner = ?12 AND state = 'running'"));
    bind_text(s, 1, done ? "done" : "failed");
    sqlite3_bind_double(s, 2, wall_clock());
    if (done) { /* NULL otherwise, or averages would count failures as accuracy 0 */
        bind_size(s, 3, o->n);
        bind_size(s, 4, o->top1);
        bind_size(s, 5, o->top5);
        sqlite3_bind_double(s, 7, o->eval_seconds);
    }
    if (o->samples_hash) {
        sqlite3_bind_double(s, 6, o->calib_seconds);
        bind_text(s, 8, o->samples_hash);
    }
    if (!done) {
        sqlite3_bind_int(s, 9, (int)o->status);
        bind_text(s, 10, o->error);
    }
    sqlite3_bind_int64(s, 11, id);
    bind_text(s, 12, db->owner);
    return finish(db, s);
}

vq_status vq_sweep_db_release(vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    VQ_TRY(prepare(&s, db,
                   "UPDATE points SET state = 'pending', owner = NULL, host = NULL, pid = NULL, heartbeat = NULL, "
                   "started = NULL WHERE owner = ?1 AND state = 'running'"));
    bind_text(s, 1, db->owner);
    return finish(db, s);
}

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

vq_status vq_sweep_db_counts(vq_db_counts *out, vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    *out = (vq_db_counts){0};
    VQ_TRY(prepare(&s, db,
                   "SELECT count(*), coalesce(sum(state = 'done'), 0), coalesce(sum(state = 'failed'), 0), "
                   "coalesce(sum(state = 'running'), 0) FROM temp.grid JOIN points ON id = point"));
    const vq_status status = step(&row, db, s);
    if (row)
        *out = (vq_db_counts){(size_t)sqlite3_column_int64(s, 0), (size_t)sqlite3_column_int64(s, 1),
                              (size_t)sqlite3_column_int64(s, 2), (size_t)sqlite3_column_int64(s, 3)};
    sqlite3_finalize(s);
    return status;
}

static const char *column(sqlite3_stmt *s, int at)
{
    const char *const text = (const char *)sqlite3_column_text(s, at);
    return text ? text : "";
}

vq_status vq_sweep_db_first_failure(vq_status *failure, char *text, size_t size, vq_sweep_db *db)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    *failure = VQ_OK;
    text[0] = 0;
    VQ_TRY(prepare(&s, db,
                   "SELECT error_status, key, mode, error FROM temp.grid JOIN points ON id = point "
                   "WHERE state = 'failed' ORDER BY place LIMIT 1"));
    const vq_status status = step(&row, db, s);
    if (row) {
        const int code = sqlite3_column_int(s, 0);
        *failure = code >= VQ_ERR_INVALID_ARG && code < VQ_STATUS_COUNT ? (vq_status)code : VQ_ERR_DEVICE;
        snprintf(text, size, "%s%s%s: %s", column(s, 1), *column(s, 1) ? " " : "", column(s, 2), column(s, 3));
    }
    sqlite3_finalize(s);
    return status;
}

/* Writable where that is possible, though nothing is written: a last reader that may not would leave the files of the
 * log behind. In a read-only folder a log cannot be opened; where there is nothing in it, that does not matter. */
static vq_status open_to_read(vq_sweep_db *db, const char *path)
{
    long long version;
    struct stat info;
    char *log = NULL;
    if (stat(path, &info) != 0) return vq_fail(VQ_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return vq_fail(VQ_ERR_IO, "%s: is not a file", path);
    VQ_TRY(vq_strdup(&db->path, path));
    VQ_TRY(vq_format(&log, "%s-wal", path));
    const bool idle = stat(log, &info) != 0 || info.st_size == 0;
    free(log);
    if (sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) return fail(db);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    const int trial = sqlite3_exec(db->sql, "PRAGMA schema_version", NULL, NULL, NULL) & 0xff;
    if (idle && (trial == SQLITE_CANTOPEN || trial == SQLITE_READONLY)) {
        sqlite3_close(db->sql);
        db->sql = NULL;
        char *uri = sqlite3_mprintf("file:%s?immutable=1", path);
        const int code =
            uri ? sqlite3_open_v2(uri, &db->sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) : SQLITE_NOMEM;
        sqlite3_free(uri);
        if (code != SQLITE_OK) return fail(db);
    }
    VQ_TRY(check_ours(&version, db));
    if (version == VQ_SWEEP_DB_VERSION) return VQ_OK;
    return version == 0 ? vq_fail(VQ_ERR_FORMAT, "%s: is empty", path)
                        : vq_fail(VQ_ERR_VERSION,
                                  "%s: has version %lld of the tables; a sweep with this vitq brings it "
                                  "to version %d",
                                  path, version, VQ_SWEEP_DB_VERSION);
}

/* Columns in the order in which get_row takes them, then the axes. */
static void select_text(char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size,
                                   "SELECT context, model_name, calib_name, val_name, model_hash, calib_hash, "
                                   "val_hash, val_images, device, driver, "
                                   "version, mode, recipe_hash, state, n, top1, top5, calib_seconds, eval_seconds, "
                                   "started, finished, samples_hash, "
                                   "host, pid, error_status, error");
    for (int i = 0; i < VQ_NUM_AXES; i++) used += (size_t)snprintf(out + used, size - used, ", %s", vq_axes[i].name);
    snprintf(out + used, size - used,
             " FROM points JOIN contexts ON contexts.id = context ORDER BY context, points.id");
}

static void get_row(vq_sweep_row *row, const char **axes, sqlite3_stmt *s)
{
    int c = 0;
    row->context = sqlite3_column_int64(s, c++);
    row->model_name = column(s, c++);
    row->calib_name = column(s, c++);
    row->val_name = column(s, c++);
    row->model_hash = column(s, c++);
    row->calib_hash = column(s, c++);
    row->val_hash = column(s, c++);
    row->val_images = (size_t)sqlite3_column_int64(s, c++);
    row->device = column(s, c++);
    row->driver = column(s, c++);
    row->version = column(s, c++);
    row->mode = column(s, c++);
    row->recipe_hash = column(s, c++);
    row->state = column(s, c++);
    row->n = (size_t)sqlite3_column_int64(s, c++);
    row->top1 = (size_t)sqlite3_column_int64(s, c++);
    row->top5 = (size_t)sqlite3_column_int64(s, c++);
    row->calib_seconds = sqlite3_column_double(s, c++);
    row->eval_seconds = sqlite3_column_double(s, c++);
    row->started = sqlite3_column_double(s, c++);
    row->finished = sqlite3_column_double(s, c++);
    row->samples_hash = column(s, c++);
    row->host = column(s, c++);
    row->pid = (long)sqlite3_column_int64(s, c++);
    row->error_status = (vq_status)sqlite3_column_int(s, c++);
    row->error = column(s, c++);
    for (int i = 0; i < VQ_NUM_AXES; i++) axes[i] = column(s, c++);
    row->axes = axes;
}

vq_status vq_sweep_read(const char *path, vq_sweep_row_fn fn, void *user)
{
    char text[600 + 40 * VQ_NUM_AXES];
    const char *axes[VQ_NUM_AXES];
    vq_sweep_db *db = NULL;
    sqlite3_stmt *s = NULL;
    vq_sweep_row row;
    bool more = true, found = false;
    vq_status status = VQ_OK;
    if (!path || !fn) return vq_fail(VQ_ERR_INVALID_ARG, "vq_sweep_read: NULL argument");
    VQ_TRY(vq_alloc(&db, 1, sizeof *db, path));
    VQ_GO(open_to_read(db, path));
    select_text(text, sizeof text);
    VQ_GO(prepare(&s, db, text));
    VQ_GO(step(&found, db, s));
    while (found && more) {
        get_row(&row, axes, s);
        more = fn(user, &row);
        if (more) VQ_GO(step(&found, db, s));
    }
done:
    sqlite3_finalize(s);
    vq_sweep_db_close(&db);
    return status;
}
