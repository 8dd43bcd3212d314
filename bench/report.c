/* Results: one table of fields makes JSON, CSV and what is read back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>

#include "bench.h"

#define FORMAT     "vitq-bench 1"
#define MAX_FILE   (64L << 20)
#define MAX_ROWS   20000
#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Fields of a row: texts have a size. `key` fields say what was measured, the others what came out. */
typedef struct field {
    const char *name;
    size_t offset, size;
    bool key;
} field;
#define TEXT(name, member, key)                                                \
    {                                                                          \
        name, offsetof(bench_row, member), sizeof((bench_row *)0)->member, key \
    }
#define NUMBER(name, member, key)                 \
    {                                             \
        name, offsetof(bench_row, member), 0, key \
    }

static const field fields[] = {
    TEXT("bench", bench, true),
    TEXT("op", op, true),
    TEXT("kind", kind, true),
    TEXT("type", type, true),
    TEXT("variant", variant, true),
    TEXT("model", model, true),
    TEXT("layer", layer, true),
    NUMBER("batch", batch, true),
    NUMBER("m", m, true),
    NUMBER("n", n, true),
    NUMBER("k", k, true),
    NUMBER("window", window, true),
    NUMBER("w_bits", w_bits, true),
    NUMBER("a_bits", a_bits, true),
    NUMBER("candidates", candidates, true),
    NUMBER("rounds", rounds, false),
    NUMBER("seconds_median", median, false),
    NUMBER("seconds_fastest_round", fastest, false),
    NUMBER("seconds_slowest_round", slowest, false),
    NUMBER("seconds_min", least, false),
    NUMBER("operations", ops, false),
    NUMBER("bytes", bytes, false),
    NUMBER("gops", gops, false),
    NUMBER("gbps", gbps, false),
    TEXT("bound", bound, false),
    NUMBER("bound_seconds", bound_seconds, false),
    NUMBER("share_of_bound", share_of_bound, false),
    NUMBER("share_of_peak", share_of_peak, false),
    NUMBER("verified", verified, false),
    NUMBER("max_error", max_error, false),
    NUMBER("giga_candidate_elements_per_second", rate, false),
    NUMBER("memory_seconds", memory_seconds, false),
    NUMBER("compute_seconds", compute_seconds, false),
    NUMBER("images_per_second", images_per_second, false),
    NUMBER("device_bytes", device_bytes, false),
    NUMBER("model_bytes", model_bytes, false),
    NUMBER("peak_rss_bytes", peak_rss_bytes, false),
    NUMBER("time_share", time_share, false),
    NUMBER("launches", launches, false),
    NUMBER("unfused_launches", unfused_launches, false),
    NUMBER("unfused_bytes", unfused_bytes, false),
};

/* Members of "device", "settings" and "peaks". */
#define HEAD_TEXT(name, member)                                                       \
    {                                                                                 \
        name, offsetof(bench_report, member), sizeof((bench_report *)0)->member, true \
    }
#define HEAD_NUMBER(name, member)                     \
    {                                                 \
        name, offsetof(bench_report, member), 0, true \
    }
static const field device_fields[] = {
    HEAD_TEXT("name", device),       HEAD_TEXT("vendor", vendor),     HEAD_TEXT("driver", driver),
    HEAD_TEXT("platform", platform), HEAD_TEXT("capabilities", caps), HEAD_NUMBER("compute_units", compute_units),
};
static const field setting_fields[] = {
    HEAD_NUMBER("batch", batch),
    HEAD_NUMBER("rounds", rounds),
    HEAD_NUMBER("seconds", seconds),
};
static const field peak_fields[] = {
    HEAD_NUMBER("int8_gops", peaks.s8),
    HEAD_NUMBER("fp32_gops", peaks.f32),
    HEAD_NUMBER("enqueue_seconds", peaks.enqueue),
    HEAD_NUMBER("round_trip_seconds", peaks.round_trip),
    HEAD_NUMBER("read_gbps", peaks.read_gbps),
    HEAD_NUMBER("uniform", peaks.uniform),
    HEAD_NUMBER("codebook", peaks.codebook),
};

static double number_of(const void *object, const field *f)
{
    double value;
    memcpy(&value, (const char *)object + f->offset, sizeof value);
    return value;
}

static const char *text_of(const void *object, const field *f)
{
    return (const char *)object + f->offset;
}

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void name_caps(char *out, size_t size, unsigned caps)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned cap = 1; vq_cap_name(cap); cap <<= 1) {
        if (!(caps & cap)) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", vq_cap_name(cap));
        if (used >= size) return;
    }
}

void bench_report_begin(bench_report *r, const vq_device *dev, const bench_options *o)
{
    const vq_device_info *const info = vq_device_get_info(dev);
    copy_text(r->command, sizeof r->command, bench_command_name(o->command));
    copy_text(r->version, sizeof r->version, vq_version());
    copy_text(r->device, sizeof r->device, info->name);
    copy_text(r->vendor, sizeof r->vendor, info->vendor);
    copy_text(r->driver, sizeof r->driver, info->driver);
    copy_text(r->platform, sizeof r->platform, info->platform);
    name_caps(r->caps, sizeof r->caps, info->caps);
    r->compute_units = info->compute_units;
    r->batch = o->batch;
    r->rounds = o->rounds;
    r->seconds = o->seconds;
}

static void clear_row(bench_row *row)
{
    memset(row, 0, sizeof *row);
    for (size_t i = 0; i < LEN(fields); i++) {
        const double absent = NAN;
        if (!fields[i].size) memcpy((char *)row + fields[i].offset, &absent, sizeof absent);
    }
}

bench_row *bench_report_add(bench_report *r, const char *bench)
{
    bench_row *const grown = realloc(r->rows, (r->count + 1) * sizeof *grown);
    if (!grown) {
        fprintf(stderr, "vitq-bench: out of memory for %zu rows\n", r->count + 1);
        return NULL;
    }
    r->rows = grown;
    bench_row *const row = &grown[r->count++];
    clear_row(row);
    copy_text(row->bench, sizeof row->bench, bench);
    return row;
}

void bench_report_free(bench_report *r)
{
    free(r->rows);
    r->rows = NULL;
    r->count = 0;
}

void bench_row_times(bench_row *row, double *medians, int count)
{
    qsort(medians, (size_t)count, sizeof *medians, bench_by_size);
    row->rounds = count;
    row->median = medians[count / 2];
    row->fastest = medians[0];
    row->slowest = medians[count - 1];
}

const char *bench_row_shape(const bench_row *row)
{
    static char text[160];
    size_t used = 0;
    const struct {
        const char *name;
        double value;
    } parts[] = {{"batch", row->batch},   {"M", row->m},      {"N", row->n},     {"K", row->k},
                 {"window", row->window}, {"w", row->w_bits}, {"a", row->a_bits}};
    text[0] = '\0';
    for (size_t i = 0; i < LEN(parts); i++)
        if (!isnan(parts[i].value) && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %g", used ? ", " : "", parts[i].name,
                                     parts[i].value);
    if (*row->kind && used < sizeof text)
        snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", row->kind);
    return text;
}

bool bench_row_matches(const bench_row *a, const bench_row *b, bool any_variant)
{
    for (size_t i = 0; i < LEN(fields); i++) {
        const field *const f = &fields[i];
        if (!f->key || (any_variant && f->offset == offsetof(bench_row, variant))) continue;
        if (f->size ? strcmp(text_of(a, f), text_of(b, f)) != 0
                    : number_of(a, f) != number_of(b, f) && !(isnan(number_of(a, f)) && isnan(number_of(b, f))))
            return false;
    }
    return true;
}

void bench_report_keep_best(bench_report *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        size_t same = 0;
        while (same < kept && !bench_row_matches(&r->rows[same], &r->rows[i], true)) same++;
        if (same == kept)
            r->rows[kept++] = r->rows[i];
        else if (r->rows[i].median < r->rows[same].median)
            r->rows[same] = r->rows[i];
    }
    r->count = kept;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static void add_fields(cJSON *o, const void *object, const field *list, size_t count, bool zeros)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].size) {
            if (*text_of(object, &list[i])) cJSON_AddStringToObject(o, list[i].name, text_of(object, &list[i]));
        } else if (isfinite(number_of(object, &list[i])) && (zeros || number_of(object, &list[i]) > 0)) {
            cJSON_AddNumberToObject(o, list[i].name, number_of(object, &list[i]));
        }
    }
}

static void add_peaks(cJSON *root, const bench_report *r)
{
    cJSON *const o = cJSON_AddObjectToObject(root, "peaks");
    add_fields(o, r, peak_fields, LEN(peak_fields), false);
    cJSON *const copies = cJSON_AddArrayToObject(o, "copies");
    for (int i = 0; i < r->peaks.num_copies; i++) {
        cJSON *const copy = cJSON_CreateObject();
        cJSON_AddNumberToObject(copy, "bytes", r->peaks.copies[i].bytes);
        cJSON_AddNumberToObject(copy, "gbps", r->peaks.copies[i].gbps);
        cJSON_AddItemToArray(copies, copy);
    }
}

static vq_status print_json(const bench_report *r)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "format", FORMAT);
    cJSON_AddStringToObject(root, "command", r->command);
    cJSON_AddStringToObject(root, "version", r->version);
    add_fields(cJSON_AddObjectToObject(root, "device"), r, device_fields, LEN(device_fields), true);
    add_fields(cJSON_AddObjectToObject(root, "settings"), r, setting_fields, LEN(setting_fields), false);
    add_peaks(root, r);
    cJSON *const rows = cJSON_AddArrayToObject(root, "rows");
    for (size_t i = 0; i < r->count; i++) {
        cJSON *const o = cJSON_CreateObject();
        add_fields(o, &r->rows[i], fields, LEN(fields), true);
        cJSON_AddItemToArray(rows, o);
    }
    char *const text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) {
        fprintf(stderr, "vitq-bench: out of memory for the JSON text\n");
        return VQ_ERR_NO_MEMORY;
    }
    printf("%s\n", text);
    cJSON_free(text);
    return VQ_OK;
}

static void print_cell(const char *text)
{
    if (!strpbrk(text, ",\"\n\r")) {
        printf("%s", text);
        return;
    }
    putchar('"');
    for (; *text; text++) printf(*text == '"' ? "\"\"" : "%c", *text);
    putchar('"');
}

static void print_csv(const bench_report *r)
{
    printf("device,driver,capabilities,version");
    for (size_t i = 0; i < LEN(fields); i++) printf(",%s", fields[i].name);
    printf("\n");
    for (size_t n = 0; n < r->count; n++) {
        const char *const head[] = {r->device, r->driver, r->caps, r->version};
        for (size_t i = 0; i < LEN(head); i++) {
            if (i) putchar(',');
            print_cell(head[i]);
        }
        for (size_t i = 0; i < LEN(fields); i++) {
            putchar(',');
            if (fields[i].size)
                print_cell(text_of(&r->rows[n], &fields[i]));
            else if (isfinite(number_of(&r->rows[n], &fields[i])))
                printf("%.9g", number_of(&r->rows[n], &fields[i]));
        }
        printf("\n");
    }
}

vq_status bench_report_print(const bench_report *r, const bench_options *o)
{
    if (o->json) return print_json(r);
    print_csv(r);
    return VQ_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *bytes)
{
    char *text = NULL;
    FILE *const file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "vitq-bench: %s cannot be opened\n", path);
        return NULL;
    }
    long size = -1;
    if (fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size >= 0 && size <= MAX_FILE && fseek(file, 0, SEEK_SET) == 0) text = malloc((size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    fclose(file);
    if (!text) {
        fprintf(stderr, "vitq-bench: %s cannot be read, or is larger than 64 MiB\n", path);
        return NULL;
    }
    text[size] = '\0';
    *bytes = (size_t)size;
    return text;
}

static bool malformed(const char *path, const char *what)
{
    fprintf(stderr, "vitq-bench: %s: %s\n", path, what);
    return false;
}

/* The members that there are; false where one is of the wrong kind. */
static bool take_fields(void *object, const cJSON *from, const field *list, size_t count, const char *path)
{
    char what[96];
    for (size_t i = 0; i < count; i++) {
        const field *const f = &list[i];
        const cJSON *const item = cJSON_GetObjectItemCaseSensitive(from, f->name);
        if (!item) continue;
        if (f->size ? !cJSON_IsString(item) : !cJSON_IsNumber(item) || !isfinite(item->valuedouble)) {
            snprintf(what, sizeof what, "\"%s\" is no %s", f->name, f->size ? "text" : "number");
            return malformed(path, what);
        }
        if (f->size)
            copy_text((char *)object + f->offset, f->size, item->valuestring);
        else
            memcpy((char *)object + f->offset, &item->valuedouble, sizeof(double));
    }
    return true;
}

static bool take_peaks(bench_report *r, const cJSON *root, const char *path)
{
    const cJSON *const peaks = cJSON_GetObjectItemCaseSensitive(root, "peaks"), *copy;
    if (!take_fields(r, peaks, peak_fields, LEN(peak_fields), path)) return false;
    cJSON_ArrayForEach(copy, cJSON_GetObjectItemCaseSensitive(peaks, "copies"))
    {
        const cJSON *const bytes = cJSON_GetObjectItemCaseSensitive(copy, "bytes");
        const cJSON *const gbps = cJSON_GetObjectItemCaseSensitive(copy, "gbps");
        if (!cJSON_IsNumber(bytes) || !cJSON_IsNumber(gbps) || r->peaks.num_copies == BENCH_MAX_COPIES)
            return malformed(path, "\"copies\" is not a short list of {\"bytes\", \"gbps\"}");
        r->peaks.copies[r->peaks.num_copies].bytes = bytes->valuedouble;
        r->peaks.copies[r->peaks.num_copies++].gbps = gbps->valuedouble;
    }
    return true;
}

static bool take_rows(bench_report *r, const cJSON *root, const char *path)
{
    const cJSON *const rows = cJSON_GetObjectItemCaseSensitive(root, "rows"), *item;
    if (!cJSON_IsArray(rows)) return malformed(path, "\"rows\" is no list");
    if (cJSON_GetArraySize(rows) > MAX_ROWS) return malformed(path, "more than 20000 rows");
    cJSON_ArrayForEach(item, rows)
    {
        bench_row *const row = bench_report_add(r, "");
        if (!row || !take_fields(row, item, fields, LEN(fields), path)) return false;
        if (!*row->bench || !(row->median > 0))
            return malformed(path, "a row has no \"bench\" or no \"seconds_median\"");
        if (!(row->fastest > 0 && row->fastest <= row->median)) row->fastest = row->median;
        if (!(row->slowest >= row->median)) row->slowest = row->median;
    }
    return true;
}

static bool take_report(bench_report *r, const cJSON *root, const char *path)
{
    const cJSON *const format = cJSON_GetObjectItemCaseSensitive(root, "format");
    const cJSON *const command = cJSON_GetObjectItemCaseSensitive(root, "command");
    const cJSON *const version = cJSON_GetObjectItemCaseSensitive(root, "version");
    if (!cJSON_IsString(format) || strcmp(format->valuestring, FORMAT) != 0)
        return malformed(path, "not what vitq-bench --json prints (\"format\" is not \"" FORMAT "\")");
    if (cJSON_IsString(command)) copy_text(r->command, sizeof r->command, command->valuestring);
    if (cJSON_IsString(version)) copy_text(r->version, sizeof r->version, version->valuestring);
    return take_fields(r, cJSON_GetObjectItemCaseSensitive(root, "device"), device_fields, LEN(device_fields), path) &&
           take_fields(r, cJSON_GetObjectItemCaseSensitive(root, "settings"), setting_fields, LEN(setting_fields),
                       path) &&
           take_peaks(r, root, path) && take_rows(r, root, path);
}

bool bench_report_read(bench_report *r, const char *path)
{
    size_t bytes = 0;
    char *const text = read_file(path, &bytes);
    if (!text) return false;
    cJSON *const root = cJSON_ParseWithLength(text, bytes);
    free(text);
    if (!root) return malformed(path, "not JSON");
    const bool ok = take_report(r, root, path);
    cJSON_Delete(root);
    return ok;
}
