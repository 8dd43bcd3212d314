/* Sweeps: the grid, the claims, and the work on one point. */
#include "vitq/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "calib/recipe.h"
#include "calib/sweep_db.h"
#include "run/feed.h"
#include "run/model.h"

enum { MAX_POINTS = 1000000, NUM_MODES = 2 };

static const double beat_seconds = 5, usual_stale_seconds = 600;
static const size_t usual_keep_bytes = (size_t)1 << 30;

/* Values of one axis in normal form. */
typedef struct axis_values {
    char **values;
    int count;
} axis_values;

typedef struct point {
    const char *axes[VQ_NUM_AXES]; /* into the grid's values */
    char *key, *title;             /* title: for the progress line */
    const char *recipe_hash;
} point;

typedef struct sweep {
    vq_sweep_params params;
    vq_device *dev;
    const vq_model *fp32;
    const vq_dataset *calib;
    vq_dataset *val;
    vq_mode modes[NUM_MODES];
    int num_modes;
    size_t val_images;
    /* grid */
    axis_values axes[VQ_NUM_AXES];
    char (*recipe_hashes)[33]; /* of the recipe axis */
    point *points;             /* tag of the database: 0 the FP32 model, 1 + i points[i] */
    size_t num_points;
    /* work */
    vq_sweep_db *db;
    int64_t context;
    vq_db_counts counts;
    size_t made;
    double last_beat;
    const char *title;
    /* what points with a budget have measured, for the next one with the same other settings */
    vq_sensitivity *sensitivity;
    const point *measured_for;
} sweep;

/* ---- the grid ------------------------------------------------------------------------------------------------------
 */

static vq_status read_axis(axis_values *out, const vq_axis *axis, const char *const *values, int count)
{
    VQ_TRY(vq_alloc(&out->values, (size_t)count, sizeof *out->values, axis->name));
    for (int i = 0; i < count; i++) {
        VQ_TRY(axis->normalize(&out->values[i], values[i]));
        out->count++;
    }
    return VQ_OK;
}

static vq_status read_axes(sweep *s)
{
    for (int i = 0; i < s->params.num_axes; i++) {
        const vq_sweep_axis *const given = &s->params.axes[i];
        const int a = vq_axis_find(given->name);
        if (a < 0) return vq_fail(VQ_ERR_INVALID_ARG, "sweep: there is no axis '%.40s'", given->name);
        if (s->axes[a].values || given->count < 1)
            return vq_fail(VQ_ERR_INVALID_ARG, "sweep: axis %s is %s", given->name,
                           given->count < 1 ? "empty" : "given twice");
        VQ_TRY(read_axis(&s->axes[a], &vq_axes[a], given->values, given->count));
    }
    for (int a = 0; a < VQ_NUM_AXES; a++)
        if (!s->axes[a].values) VQ_TRY(read_axis(&s->axes[a], &vq_axes[a], &vq_axes[a].usual, 1));
    return VQ_OK;
}

static vq_status read_modes(sweep *s)
{
    static const vq_mode both[NUM_MODES] = {VQ_MODE_FAKE, VQ_MODE_INT};
    const vq_mode *const modes = s->params.num_modes ? s->params.modes : both;
    const int count = s->params.num_modes ? s->params.num_modes : NUM_MODES;
    for (int i = 0; i < count; i++) {
        if (modes[i] != VQ_MODE_FAKE && modes[i] != VQ_MODE_INT)
            return vq_fail(VQ_ERR_INVALID_ARG, "sweep: mode %s; points are judged in modes fake and int",
                           vq_mode_name(modes[i]));
        bool known = false;
        for (int j = 0; j < s->num_modes; j++) known = known || s->modes[j] == modes[i];
        if (!known) s->modes[s->num_modes++] = modes[i];
    }
    return VQ_OK;
}

/* A typing mistake ends the sweep here, not after hours. */
static vq_status check_point(const point *p)
{
    vq_calib_params params = {0};
    vq_recipe recipe;
    for (int a = 0; a < VQ_NUM_AXES; a++) vq_axes[a].apply(&params, p->axes[a]);
    VQ_TRY(vq_recipe_read(&recipe, params.recipe, params.parts));
    return vq_recipe_set_search(&recipe, params.search);
}

/* "recipe=repq bits=w4a4 ...", and for people the values alone. Where a file lies does not matter, only its contents.
 */
static vq_status name_point(point *p)
{
    char *key = NULL, *title = NULL;
    vq_status status = VQ_OK;
    for (int a = 0; a < VQ_NUM_AXES; a++) {
        const bool file = strcmp(vq_axes[a].name, "recipe") == 0 && vq_recipe_is_file(p->axes[a]);
        const char *const between = a ? " " : "";
        if (!*p->axes[a]) continue;
        key = p->key;
        title = p->title;
        p->key = p->title = NULL;
        VQ_GO(vq_format(&p->key, "%s%s%s=%s%s", key ? key : "", between, vq_axes[a].name, file ? "@" : "",
                        file ? p->recipe_hash : p->axes[a]));
        VQ_GO(vq_format(&p->title, "%s%s%s%s", title ? title : "", between,
                        strcmp(vq_axes[a].name, "seed") == 0 ? "seed " : "", p->axes[a]));
        free(key);
        free(title);
        key = title = NULL;
    }
done:
    free(key);
    free(title);
    return status;
}

static vq_status hash_recipes(sweep *s)
{
    const axis_values *const recipes = &s->axes[vq_axis_find("recipe")];
    VQ_TRY(vq_alloc(&s->recipe_hashes, (size_t)recipes->count, sizeof *s->recipe_hashes, "recipes"));
    for (int i = 0; i < recipes->count; i++) VQ_TRY(vq_recipe_hash(s->recipe_hashes[i], recipes->values[i]));
    return VQ_OK;
}

/* All combinations, the last axes varying fastest. */
static vq_status make_points(sweep *s)
{
    const int recipe_axis = vq_axis_find("recipe");
    s->num_points = 1;
    for (int a = 0; a < VQ_NUM_AXES; a++) {
        s->num_points *= (size_t)s->axes[a].count;
        if (s->num_points > MAX_POINTS)
            return vq_fail(VQ_ERR_INVALID_ARG, "sweep: the grid has more than %d points", MAX_POINTS);
    }
    VQ_TRY(vq_alloc(&s->points, s->num_points, sizeof *s->points, "grid"));
    for (size_t i = 0; i < s->num_points; i++) {
        point *const p = &s->points[i];
        size_t rest = i;
        for (int a = VQ_NUM_AXES; a-- > 0; rest /= (size_t)s->axes[a].count) {
            const size_t at = rest % (size_t)s->axes[a].count;
            p->axes[a] = s->axes[a].values[at];
            if (a == recipe_axis) p->recipe_hash = s->recipe_hashes[at];
        }
        VQ_TRY(check_point(p));
        VQ_TRY(name_point(p));
    }
    return VQ_OK;
}

/* ---- what results depend on ----------------------------------------------------------------------------------------
 */

/* Folds more data into a running hash. */
static void hash_more(char hash[33], const char *more)
{
    char both[65];
    memcpy(both, hash, 32);
    memcpy(both + 32, more, 33);
    vq_hash_hex(hash, both, strlen(both));
}

/* The images may be too many to read them all: their names, without the folder that all are in, and sizes stand for
 * them. An IDX file's images are named FILE[i]. */
static vq_status hash_calib(char hash[33], const vq_dataset *set)
{
    const size_t count = vq_dataset_count(set);
    size_t common = count ? strlen(vq_dataset_name(set, 0)) : 0;
    for (size_t i = 0; i < count; i++) {
        const char *const a = vq_dataset_name(set, 0), *const b = vq_dataset_name(set, i);
        size_t same = 0;
        while (same < common && a[same] == b[same]) same++;
        common = same;
    }
    while (common > 0 && vq_dataset_name(set, 0)[common - 1] != '/') common--;
    vq_hash_hex(hash, "", 0);
    for (size_t i = 0; i < count; i++) {
        const char *const name = vq_dataset_name(set, i), *const bracket = strrchr(name, '[');
        struct stat info;
        char *file = NULL, more[33];
        bool there = stat(name, &info) == 0;
        if (!there && bracket && i > 0) continue; /* one size stands for all of an IDX file */
        VQ_TRY(vq_format(&file, "%.*s", bracket && !there ? (int)(bracket - name) : (int)strlen(name), name));
        there = there || stat(file, &info) == 0;
        free(file);
        VQ_TRY(vq_format(&file, "%s %lld", name + common, there ? (long long)info.st_size : -1));
        vq_hash_hex(more, file, strlen(file));
        free(file);
        hash_more(hash, more);
    }
    return VQ_OK;
}

static vq_status hash_batch(const sweep *s, char hash[33], const vq_feed_batch *batch)
{
    const vq_preprocess *const pre = vq_model_preprocess(s->fp32);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    for (int i = 0; i < batch->count; i++) {
        char more[33], label[33], text[16];
        vq_hash_hex(more, batch->pixels + (size_t)i * bytes, bytes);
        snprintf(text, sizeof text, "%d", vq_dataset_label(s->val, batch->images[i]));
        vq_hash_hex(label, text, strlen(text));
        hash_more(hash, more);
        hash_more(hash, label);
    }
    return VQ_OK;
}

/* Reads all images for judging, which keeps those that fit in memory, into one hash of their pixels and labels. */
static vq_status hash_val(sweep *s, char hash[33])
{
    const vq_feed_params params = {
        .set = s->val, .pre = vq_model_preprocess(s->fp32), .count = s->val_images, .batch = 64};
    vq_feed *feed = NULL;
    const vq_feed_batch *batch = NULL;
    size_t done = 0;
    vq_status status = VQ_OK;
    vq_hash_hex(hash, "", 0);
    VQ_TRY(vq_feed_create(&feed, &params));
    do {
        if (s->params.progress && !s->params.progress(s->params.progress_user, "read", "", done, s->val_images))
            VQ_GO(VQ_ERR_CANCELLED);
        VQ_GO(vq_feed_next(feed, &batch));
        if (batch) VQ_GO(hash_batch(s, hash, batch));
        if (batch) done += (size_t)batch->count;
    } while (batch);
done:
    vq_feed_destroy(&feed);
    return status;
}

static vq_status keep_val(const sweep *s)
{
    const vq_preprocess *const pre = vq_model_preprocess(s->fp32);
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    return vq_dataset_keep(s->val, pre, VQ_MIN(s->params.keep_bytes / bytes, s->val_images) * bytes);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static vq_status open_context(sweep *s)
{
    const vq_device_info *const info = vq_device_get_info(s->dev);
    char calib_hash[33], val_hash[33];
    VQ_TRY(hash_calib(calib_hash, s->calib));
    VQ_TRY(hash_val(s, val_hash));
    return vq_sweep_db_context(&s->context, s->db,
                               &(vq_db_context){.model_hash = vq_model_graph(s->fp32)->source_hash,
                                                .calib_hash = calib_hash,
                                                .val_hash = val_hash,
                                                .val_images = s->val_images,
                                                .device = info->name,
                                                .driver = info->driver,
                                                .version = vq_version(),
                                                .model_name = or_empty(s->params.model_name),
                                                .calib_name = or_empty(s->params.calib_name),
                                                .val_name = or_empty(s->params.val_name)});
}

static vq_status enter_grid(sweep *s)
{
    const size_t per_point = (size_t)s->num_modes, count = 1 + s->num_points * per_point;
    vq_db_point *rows = NULL;
    VQ_TRY(vq_alloc(&rows, count, sizeof *rows, "grid"));
    rows[0] = (vq_db_point){.key = "", .mode = vq_mode_name(VQ_MODE_FP32)};
    for (size_t i = 0; i + 1 < count; i++) {
        const point *const p = &s->points[i / per_point];
        rows[1 + i] = (vq_db_point){p->key, vq_mode_name(s->modes[i % per_point]), p->axes, p->recipe_hash,
                                    1 + (int)(i / per_point)};
    }
    const vq_status status = vq_sweep_db_grid(s->db, s->context, rows, count, s->params.retry);
    free(rows);
    return status;
}

/* ---- work ----------------------------------------------------------------------------------------------------------
 */

/* Progress of the steps inside a point: the sweep's own line, and a sign of life now and then. A sign that fails is no
 * reason to stop; recording the result will tell. */
static bool progress(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    sweep *const s = user;
    const double now = vq_now();
    (void)stage;
    (void)item;
    (void)done;
    (void)total;
    if (now - s->last_beat > beat_seconds) {
        char text[VQ_LOG_LINE], *const before = vq_log_capture(text);
        vq_sweep_db_beat(s->db);
        vq_log_capture(before);
        s->last_beat = now;
    }
    return !s->params.progress || s->params.progress(s->params.progress_user, "sweep", s->title,
                                                     s->counts.done + s->counts.failed, s->counts.total);
}

static vq_status judge(sweep *s, const vq_model *model, vq_mode mode, vq_db_outcome *out)
{
    const vq_session_params session_params = {.mode = mode, .max_batch = s->params.batch ? s->params.batch : 8};
    const vq_eval_params params = {.limit = s->val_images, .progress = progress, .progress_user = s};
    vq_session *session = NULL;
    vq_eval_result result = {0};
    vq_status status = vq_session_create(&session, s->dev, model, &session_params);
    if (status == VQ_OK) status = vq_evaluate(&result, session, s->val, &params);
    out->n = result.n;
    out->top1 = result.top1;
    out->top5 = result.top5;
    out->eval_seconds = result.total_seconds;
    vq_session_destroy(&session);
    return status;
}

static bool differ_in_bits_only(const point *a, const point *b)
{
    const int bits_axis = vq_axis_find("bits");
    for (int i = 0; i < VQ_NUM_AXES; i++)
        if (i != bits_axis && strcmp(a->axes[i], b->axes[i]) != 0) return false;
    return true;
}

static vq_status calibrate_budget(sweep *s, const point *p, vq_model **out, const vq_calib_params *params,
                                  const vq_budget *budget)
{
    if (!s->sensitivity || !differ_in_bits_only(p, s->measured_for)) {
        vq_sensitivity_destroy(&s->sensitivity);
        VQ_TRY(vq_sensitivity_measure(&s->sensitivity, s->dev, s->fp32, s->calib, params, NULL));
        s->measured_for = p;
    }
    return vq_calibrate_budget(out, NULL, s->dev, s->fp32, s->calib, params, budget, s->sensitivity);
}

static vq_status calibrate(sweep *s, const point *p, vq_model **out, vq_db_outcome *outcome)
{
    const int bits_axis = vq_axis_find("bits");
    vq_calib_params params = {.memory = s->params.memory, .progress = progress, .progress_user = s};
    vq_budget budget;
    const double start = vq_now();
    for (int a = 0; a < VQ_NUM_AXES; a++) vq_axes[a].apply(&params, p->axes[a]);
    if (vq_axis_budget(&budget, p->axes[bits_axis]))
        VQ_TRY(calibrate_budget(s, p, out, &params, &budget));
    else
        VQ_TRY(vq_calibrate(out, s->dev, s->fp32, s->calib, &params));
    outcome->calib_seconds = vq_now() - start;
    return VQ_OK;
}

/* Hash of the pixels calibrated with, from the manifest. */
static void samples_hash(char hash[33], const vq_model *model)
{
    cJSON *const manifest = cJSON_Parse(model->qmodel->manifest);
    const char *text = NULL;
    hash[0] = 0;
    if (manifest && vq_json_string(&text, manifest, "images_xxh3", "manifest") == VQ_OK) snprintf(hash, 33, "%s", text);
    cJSON_Delete(manifest);
}

/* Fills outcomes of the claimed results; fails only where the sweep cannot go on. error is room for one line. */
static vq_status work(sweep *s, const vq_db_claim *claim, char *error)
{
    const point *const p = claim->tag > 0 ? &s->points[claim->tag - 1] : NULL;
    vq_db_outcome outcome = {0};
    vq_model *model = NULL;
    char hash[33];
    vq_status status = VQ_OK;
    s->title = p ? p->title : "fp32";
    s->last_beat = vq_now();
    error[0] = 0;
    const vq_status failure = p ? calibrate(s, p, &model, &outcome) : VQ_OK;
    if (model) {
        samples_hash(hash, model);
        outcome.samples_hash = hash;
    }
    for (int i = 0; i < claim->count && status == VQ_OK; i++) {
        outcome.status = failure;
        if (failure == VQ_OK) outcome.status = judge(s, p ? model : s->fp32, claim->results[i].mode, &outcome);
        if (outcome.status == VQ_ERR_CANCELLED) {
            status = VQ_ERR_CANCELLED;
            break;
        }
        outcome.error = error;
        if (outcome.status != VQ_OK)
            vq_log(VQ_LOG_WARN, "failed: %s %s: %s", s->title, vq_mode_name(claim->results[i].mode), error);
        char *const before = vq_log_capture(NULL);
        status = vq_sweep_db_record(s->db, claim->results[i].id, &outcome);
        vq_log_capture(before);
        s->made += status == VQ_OK;
    }
    vq_model_destroy(&model);
    return status;
}

static vq_status work_all(sweep *s)
{
    char error[VQ_LOG_LINE];
    vq_db_claim claim;
    for (;;) {
        VQ_TRY(vq_sweep_db_counts(&s->counts, s->db));
        s->title = "";
        if (!progress(s, "", "", 0, 0)) return VQ_ERR_CANCELLED;
        VQ_TRY(vq_sweep_db_claim(&claim, s->db));
        if (claim.count == 0) return VQ_OK;
        vq_log_capture(error);
        const vq_status status = work(s, &claim, error);
        vq_log_capture(NULL);
        VQ_TRY(status);
    }
}

static vq_status summarize(vq_sweep_result *out, const sweep *s)
{
    out->context = s->context;
    out->total = s->counts.total;
    out->done = s->counts.done;
    out->failed = s->counts.failed;
    out->elsewhere = s->counts.running;
    out->made = s->made;
    return vq_sweep_db_first_failure(&out->first_failure, out->first_failure_text, sizeof out->first_failure_text,
                                     s->db);
}

static void clear(sweep *s)
{
    vq_sweep_db_close(&s->db);
    vq_sensitivity_destroy(&s->sensitivity);
    for (size_t i = 0; s->points && i < s->num_points; i++) {
        free(s->points[i].key);
        free(s->points[i].title);
    }
    free(s->points);
    free(s->recipe_hashes);
    for (int a = 0; a < VQ_NUM_AXES; a++) {
        for (int i = 0; i < s->axes[a].count; i++) free(s->axes[a].values[i]);
        free(s->axes[a].values);
    }
}

static vq_status check_params(sweep *s)
{
    const size_t count = vq_dataset_count(s->val);
    if (!s->fp32->graph)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", s->fp32->path);
    if (s->params.stale_seconds == 0) s->params.stale_seconds = usual_stale_seconds;
    if (s->params.keep_bytes == 0)
        s->params.keep_bytes = s->params.memory ? VQ_MIN(usual_keep_bytes, s->params.memory / 2) : usual_keep_bytes;
    s->val_images = s->params.limit ? VQ_MIN(s->params.limit, count) : count;
    for (size_t i = 0; i < s->val_images; i++)
        if (vq_dataset_label(s->val, i) < 0)
            return vq_fail(VQ_ERR_INVALID_ARG, "%s: has no label", vq_dataset_name(s->val, i));
    return s->val_images ? VQ_OK : vq_fail(VQ_ERR_INVALID_ARG, "there is no image to judge with");
}

vq_status vq_sweep_run(vq_sweep_result *out, const char *db, vq_device *dev, const vq_model *fp32,
                       const vq_dataset *calib, vq_dataset *val, const vq_sweep_params *params)
{
    sweep s = {.params = params ? *params : (vq_sweep_params){0}, .dev = dev, .fp32 = fp32, .calib = calib, .val = val};
    vq_status status = VQ_OK;
    if (out) *out = (vq_sweep_result){0};
    if (!out || !db || !dev || !fp32 || !calib || !val)
        return vq_fail(VQ_ERR_INVALID_ARG, "vq_sweep_run: NULL argument");
    VQ_GO(check_params(&s));
    VQ_GO(read_axes(&s));
    VQ_GO(read_modes(&s));
    VQ_GO(hash_recipes(&s));
    VQ_GO(make_points(&s));
    VQ_GO(vq_sweep_db_open(&s.db, db, s.params.stale_seconds));
    VQ_GO(keep_val(&s));
    VQ_GO(open_context(&s));
    VQ_GO(enter_grid(&s));
    VQ_GO(work_all(&s));
    VQ_GO(summarize(out, &s));
done:
    if (status != VQ_OK && s.db) { /* the first failure has been told */
        char text[VQ_LOG_LINE];
        vq_log_capture(text);
        vq_sweep_db_release(s.db);
        vq_log_capture(NULL);
        *out = (vq_sweep_result){0};
    }
    clear(&s);
    return status;
}
