/* vitq sweep: a grid of calibrations into a database, and the table of what is in one. */
#include "vitq/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_VALUES = 100000, MAX_AXES = 16, MAX_WIDTH = 40 };

/* ---- the grid ------------------------------------------------------------------------------------------------------
 */

/* Which option gives which axis its values. */
static const struct {
    const char *axis, *option;
    size_t offset; /* of its text in cli_options */
    char separator;
    bool ranges; /* "0..4" stands for 0, 1, 2, 3, 4 */
} lists[] = {
    {"recipe", "recipes", offsetof(cli_options, recipes), ',', false},
    {"bits", "bits", offsetof(cli_options, bits_list), ',', false},
    {"samples", "samples", offsetof(cli_options, samples_list), ',', false},
    {"seed", "seeds", offsetof(cli_options, seeds), ',', true},
    {"parts", "parts", offsetof(cli_options, parts), ';', false}, /* commas are between the parts of one value */
    {"search", "search", offsetof(cli_options, search), ',', false},
};

enum { NUM_LISTS = sizeof lists / sizeof lists[0] };

typedef struct values {
    char **items;
    int count, capacity;
} values;

static int add_value(values *v, const char *text, size_t length, const char *option)
{
    if (v->count == v->capacity) {
        const int capacity = v->capacity ? 2 * v->capacity : 16;
        char **const grown = capacity <= MAX_VALUES ? realloc(v->items, (size_t)capacity * sizeof *grown) : NULL;
        if (!grown) return cli_fail(VQ_ERR_INVALID_ARG, "--%s: lists too many values", option);
        v->items = grown;
        v->capacity = capacity;
    }
    char *const copy = malloc(length + 1);
    if (!copy) return cli_fail(VQ_ERR_NO_MEMORY, "out of memory");
    memcpy(copy, text, length);
    copy[length] = 0;
    v->items[v->count++] = copy;
    return 0;
}

static void clear_values(values *v)
{
    for (int i = 0; i < v->count; i++) free(v->items[i]);
    free(v->items);
    *v = (values){0};
}

/* "first..last": returns whether text is one, and adds its numbers. */
static bool add_range(values *v, const char *text, size_t length, const char *option, int *code)
{
    char item[48], number[24], behind;
    unsigned long long first, last;
    if (length >= sizeof item) return false;
    memcpy(item, text, length);
    item[length] = 0;
    if (strspn(item, "0123456789.") != length || sscanf(item, "%llu..%llu%c", &first, &last, &behind) != 2)
        return false;
    if (last < first || last - first >= MAX_VALUES) {
        *code =
            cli_fail(VQ_ERR_INVALID_ARG, "--%s: '%s' is not a range of at most %d numbers", option, item, MAX_VALUES);
        return true;
    }
    for (unsigned long long n = first; n <= last && !*code; n++)
        *code = add_value(v, number, (size_t)snprintf(number, sizeof number, "%llu", n), option);
    return true;
}

static int split(values *v, const char *text, char separator, bool ranges, const char *option)
{
    const char separators[2] = {separator, 0};
    int code = 0;
    for (bool more = true; more && !code; text++) {
        const size_t length = strcspn(text, separators);
        if (length == 0) return cli_fail(CLI_USAGE, "--%s: has an empty value", option);
        if (!ranges || !add_range(v, text, length, option, &code))
            code = code ? code : add_value(v, text, length, option);
        text += length;
        more = *text == separator;
    }
    return code;
}

static int read_modes(vq_mode *modes, int *count, const char *text)
{
    values names = {0};
    int code = text ? split(&names, text, ',', false, "modes") : 0;
    *count = 0;
    for (int i = 0; i < names.count && !code; i++) {
        const bool fake = strcmp(names.items[i], "fake") == 0;
        if (!fake && strcmp(names.items[i], "int") != 0)
            code = cli_fail(CLI_USAGE, "--modes: '%s' is not one of fake, int", names.items[i]);
        bool known = false;
        for (int j = 0; j < *count; j++) known = known || (modes[j] == VQ_MODE_FAKE) == fake;
        if (!code && !known) modes[(*count)++] = fake ? VQ_MODE_FAKE : VQ_MODE_INT;
    }
    clear_values(&names);
    return code;
}

/* ---- rows ----------------------------------------------------------------------------------------------------------
 */

typedef enum field_kind { WORDS, NUMBER, RESULT, SECONDS, TIME } field_kind; /* RESULT: a number once it is done */

/* What JSON and CSV have of a row, but for the axes. */
static const struct field {
    const char *name;
    field_kind kind;
    size_t offset;
} fields[] = {
    {"mode", WORDS, offsetof(vq_sweep_row, mode)},
    {"state", WORDS, offsetof(vq_sweep_row, state)},
    {"n", RESULT, offsetof(vq_sweep_row, n)},
    {"top1", RESULT, offsetof(vq_sweep_row, top1)},
    {"top5", RESULT, offsetof(vq_sweep_row, top5)},
    {"calib_seconds", SECONDS, offsetof(vq_sweep_row, calib_seconds)},
    {"eval_seconds", SECONDS, offsetof(vq_sweep_row, eval_seconds)},
    {"started", TIME, offsetof(vq_sweep_row, started)},
    {"finished", TIME, offsetof(vq_sweep_row, finished)},
    {"error", WORDS, offsetof(vq_sweep_row, error)},
    {"recipe_hash", WORDS, offsetof(vq_sweep_row, recipe_hash)},
    {"samples_hash", WORDS, offsetof(vq_sweep_row, samples_hash)},
    {"host", WORDS, offsetof(vq_sweep_row, host)},
    {"model", WORDS, offsetof(vq_sweep_row, model_name)},
    {"images", WORDS, offsetof(vq_sweep_row, calib_name)},
    {"val", WORDS, offsetof(vq_sweep_row, val_name)},
    {"val_images", NUMBER, offsetof(vq_sweep_row, val_images)},
    {"model_hash", WORDS, offsetof(vq_sweep_row, model_hash)},
    {"images_hash", WORDS, offsetof(vq_sweep_row, calib_hash)},
    {"val_hash", WORDS, offsetof(vq_sweep_row, val_hash)},
    {"device", WORDS, offsetof(vq_sweep_row, device)},
    {"driver", WORDS, offsetof(vq_sweep_row, driver)},
    {"version", WORDS, offsetof(vq_sweep_row, version)},
};

enum { NUM_FIELDS = sizeof fields / sizeof fields[0] };

static const char *field_words(const vq_sweep_row *row, const struct field *f)
{
    return *(const char *const *)((const char *)row + f->offset);
}

/* False where the row has no such number (yet). */
static bool field_number(double *out, const vq_sweep_row *row, const struct field *f)
{
    const void *const at = (const char *)row + f->offset;
    const bool whole = f->kind == NUMBER || f->kind == RESULT;
    *out = whole ? (double)*(const size_t *)at : *(const double *)at;
    return f->kind == NUMBER || (f->kind == RESULT ? strcmp(row->state, "done") == 0 : *out > 0);
}

static cJSON *describe(const vq_sweep_row *row)
{
    cJSON *const o = cJSON_CreateObject();
    for (int a = 0; vq_sweep_axis_name(a); a++) cli_json_text(o, vq_sweep_axis_name(a), row->axes[a]);
    for (int i = 0; i < NUM_FIELDS; i++) {
        double number;
        if (fields[i].kind == WORDS)
            cli_json_text(o, fields[i].name, field_words(row, &fields[i]));
        else if (!field_number(&number, row, &fields[i]))
            cJSON_AddNullToObject(o, fields[i].name);
        else
            cli_json_number(o, fields[i].name, number, 3);
    }
    return o;
}

typedef struct listing {
    int64_t context; /* only these rows; 0: all */
    cJSON *list;     /* --json */
    bool csv;
    /* table */
    int widths[MAX_AXES]; /* of the columns; 0: left out */
    int64_t last_context;
    size_t rows;
} listing;

static void print_csv_words(const char *text)
{
    const bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted) putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    if (quoted) putchar('"');
}

static void print_csv_header(void)
{
    for (int a = 0; vq_sweep_axis_name(a); a++) printf("%s,", vq_sweep_axis_name(a));
    for (int i = 0; i < NUM_FIELDS; i++) printf("%s%s", fields[i].name, i + 1 < NUM_FIELDS ? "," : "\n");
}

static void print_csv_row(const vq_sweep_row *row)
{
    for (int a = 0; vq_sweep_axis_name(a); a++) {
        print_csv_words(row->axes[a]);
        putchar(',');
    }
    for (int i = 0; i < NUM_FIELDS; i++) {
        double number;
        if (fields[i].kind == WORDS)
            print_csv_words(field_words(row, &fields[i]));
        else if (field_number(&number, row, &fields[i]))
            printf("%.*f", fields[i].kind == SECONDS || fields[i].kind == TIME ? 3 : 0, number);
        putchar(i + 1 < NUM_FIELDS ? ',' : '\n');
    }
}

/* First pass: an axis gets a column where some row has a value for it. */
static bool measure_row(void *user, const vq_sweep_row *row)
{
    listing *const l = user;
    if (l->context && row->context != l->context) return true;
    for (int a = 0; a < MAX_AXES && vq_sweep_axis_name(a); a++) {
        const int name = (int)strlen(vq_sweep_axis_name(a)), length = (int)strlen(row->axes[a]);
        const int width = length > MAX_WIDTH ? MAX_WIDTH : length > name ? length : name;
        if (length && width > l->widths[a]) l->widths[a] = width;
    }
    return true;
}

/* Of a long text the end tells more. */
static void print_cell(const char *text, int width)
{
    const int length = (int)strlen(text);
    if (width == 0) return;
    if (length > width)
        printf("..%s  ", text + length - (width - 2));
    else
        printf("%-*s  ", width, *text ? text : "-");
}

static void print_heading(const listing *l, const vq_sweep_row *row)
{
    printf("%smodel   %s\n", l->rows ? "\n" : "", *row->model_name ? row->model_name : row->model_hash);
    printf("images  %s\n", *row->calib_name ? row->calib_name : row->calib_hash);
    printf("val     %s, %zu images\n", *row->val_name ? row->val_name : row->val_hash, row->val_images);
    printf("device  %s, vitq %s\n\n", row->device, row->version);
    for (int a = 0; a < MAX_AXES && vq_sweep_axis_name(a); a++) print_cell(vq_sweep_axis_name(a), l->widths[a]);
    printf("%-4s  %-7s  %6s  %9s  %9s  %8s  %8s\n", "mode", "state", "right", "top-1", "top-5", "calib s", "eval s");
}

static void print_row(const listing *l, const vq_sweep_row *row)
{
    const double n = row->n ? (double)row->n : 1;
    for (int a = 0; a < MAX_AXES && vq_sweep_axis_name(a); a++) print_cell(row->axes[a], l->widths[a]);
    printf("%-4s  ", row->mode);
    if (strcmp(row->state, "done") == 0) {
        printf("%-7s  %6zu  %7.2f %%  %7.2f %%  ", row->state, row->top1, 100 * (double)row->top1 / n,
               100 * (double)row->top5 / n);
        if (row->calib_seconds > 0)
            printf("%8.1f  %8.1f\n", row->calib_seconds, row->eval_seconds);
        else
            printf("%8s  %8.1f\n", "-", row->eval_seconds);
    } else {
        printf("%s%s%s\n", row->state, *row->error ? ": " : "", row->error);
    }
}

static bool list_row(void *user, const vq_sweep_row *row)
{
    listing *const l = user;
    if (l->context && row->context != l->context) return true;
    if (l->list) {
        cJSON_AddItemToArray(l->list, describe(row));
    } else if (l->csv) {
        if (l->rows == 0) print_csv_header();
        print_csv_row(row);
    } else {
        if (l->last_context != row->context) print_heading(l, row);
        print_row(l, row);
    }
    l->last_context = row->context;
    l->rows++;
    return true;
}

static vq_status list_rows(listing *l, const char *db)
{
    const bool table = !l->list && !l->csv;
    const vq_status status = table ? vq_sweep_read(db, measure_row, l) : VQ_OK;
    return status == VQ_OK ? vq_sweep_read(db, list_row, l) : status;
}

static int show(const cli_options *options)
{
    listing l = {.csv = options->csv};
    cJSON *root = NULL;
    if (options->num_args) return cli_fail(CLI_USAGE, "sweep: --show takes no MODEL, '%s' was given", options->args[0]);
    if (options->json) {
        root = cJSON_CreateObject();
        cli_json_text(root, "db", options->db);
        l.list = cJSON_AddArrayToObject(root, "results");
    }
    const int code = cli_code(list_rows(&l, options->db));
    if (!code && l.csv && l.rows == 0) print_csv_header();
    if (code || !root) {
        cJSON_Delete(root);
        return code;
    }
    return cli_json_print(root);
}

/* ---- running -------------------------------------------------------------------------------------------------------
 */

typedef struct job {
    const cli_options *options;
    const char *path;
    vq_model *model;
    vq_dataset *calib, *val;
    vq_device *dev;
    values lists[NUM_LISTS];
    vq_mode modes[2];
    int num_modes;
    size_t done, total;
    vq_sweep_result result;
} job;

static int check(const cli_options *o)
{
    if (!o->db) return cli_fail(CLI_USAGE, "sweep: needs --db, the database of results; it is made if need be");
    if (o->json && o->csv) return cli_fail(CLI_USAGE, "sweep: --json and --csv exclude each other");
    if (o->csv && !o->show) return cli_fail(CLI_USAGE, "sweep: --csv goes with --show");
    if (o->show) return 0;
    if (!o->images) return cli_fail(CLI_USAGE, "sweep: needs --images, photos to calibrate with");
    if (!o->val) return cli_fail(CLI_USAGE, "sweep: needs --val, labelled images to judge with");
    if (!o->labels) return cli_fail(CLI_USAGE, "sweep: needs --labels, the labels of --val");
    return cli_check_output(o->db, NULL);
}

static int read_grid(job *j)
{
    int code = read_modes(j->modes, &j->num_modes, j->options->modes);
    for (int i = 0; i < NUM_LISTS && !code; i++) {
        const char *const text = *(const char *const *)((const char *)j->options + lists[i].offset);
        if (text) code = split(&j->lists[i], text, lists[i].separator, lists[i].ranges, lists[i].option);
    }
    return code;
}

static vq_status open_all(job *j)
{
    const cli_options *const o = j->options;
    vq_status status = vq_model_load(&j->model, j->path);
    if (status == VQ_OK && vq_model_is_quantized(j->model))
        return (vq_status)cli_fail(VQ_ERR_UNSUPPORTED, "%s: is quantized already; give the FP32 model", j->path);
    if (status == VQ_OK) status = vq_dataset_open(&j->calib, o->images, NULL, 0);
    if (status == VQ_OK) status = vq_dataset_open(&j->val, o->val, o->labels, vq_model_num_classes(j->model));
    return status == VQ_OK ? cli_open_device(&j->dev, o) : status;
}

static bool progress(void *user, const char *stage, const char *item, size_t done, size_t total)
{
    job *const j = user;
    if (strcmp(stage, "sweep") == 0) {
        j->done = done;
        j->total = total;
    }
    return cli_progress(NULL, stage, item, done, total);
}

static vq_status run(job *j)
{
    const cli_options *const o = j->options;
    vq_sweep_axis axes[NUM_LISTS];
    vq_sweep_params params = {.axes = axes,
                              .modes = j->modes,
                              .num_modes = j->num_modes,
                              .limit = (size_t)o->limit,
                              .batch = o->batch,
                              .retry = o->retry,
                              .memory = o->memory,
                              .model_name = j->path,
                              .calib_name = o->images,
                              .val_name = o->val,
                              .progress = progress,
                              .progress_user = j};
    for (int i = 0; i < NUM_LISTS; i++)
        if (j->lists[i].count)
            axes[params.num_axes++] =
                (vq_sweep_axis){lists[i].axis, (const char *const *)j->lists[i].items, j->lists[i].count};
    const vq_status status = vq_sweep_run(&j->result, o->db, j->dev, j->model, j->calib, j->val, &params);
    cli_progress_end();
    return status;
}

/* All results of the same model, images and device, this grid's among them. */
static int report(const job *j)
{
    const vq_sweep_result *const r = &j->result;
    listing l = {.context = r->context};
    cJSON *const root = j->options->json ? cJSON_CreateObject() : NULL;
    if (!root && j->options->quiet) return 0;
    if (root) {
        cli_json_text(root, "db", j->options->db);
        cJSON_AddNumberToObject(root, "total", (double)r->total);
        cJSON_AddNumberToObject(root, "done", (double)r->done);
        cJSON_AddNumberToObject(root, "failed", (double)r->failed);
        cJSON_AddNumberToObject(root, "elsewhere", (double)r->elsewhere);
        cJSON_AddNumberToObject(root, "made", (double)r->made);
        l.list = cJSON_AddArrayToObject(root, "results");
    }
    const int code = cli_code(list_rows(&l, j->options->db));
    if (root && !code) return cli_json_print(root);
    cJSON_Delete(root);
    return code;
}

/* The exit code of a sweep that came to its end. */
static int judge(const job *j)
{
    const vq_sweep_result *const r = &j->result;
    if (r->elsewhere) cli_warn("%zu results are being made by other processes", r->elsewhere);
    if (!r->failed) return 0;
    return cli_fail((int)r->first_failure, "%zu of %zu results failed, the first: %.400s", r->failed, r->total,
                    r->first_failure_text);
}

static int stopped(const job *j)
{
    char detail[128] = "nothing was recorded";
    if (j->total)
        snprintf(detail, sizeof detail, "%zu of %zu results are recorded, the same command goes on", j->done, j->total);
    return cli_stopped(detail);
}

int cli_sweep(const cli_options *options)
{
    job j = {.options = options};
    int code = check(options);
    if (code) return code;
    if (options->show) return show(options);
    j.path = cli_one_argument(options, "a MODEL", &code);
    if (!j.path) return code;
    code = read_grid(&j);
    if (!code) {
        vq_status status = open_all(&j);
        if (status == VQ_OK) status = run(&j);
        code = status == VQ_ERR_CANCELLED ? stopped(&j) : cli_code(status);
    }
    if (!code) {
        code = report(&j);
        const int failed = judge(&j);
        code = code ? code : failed;
    }
    for (int i = 0; i < NUM_LISTS; i++) clear_values(&j.lists[i]);
    vq_device_destroy(&j.dev);
    vq_dataset_destroy(&j.val);
    vq_dataset_destroy(&j.calib);
    vq_model_destroy(&j.model);
    return code;
}
