/* Lists of images: a folder, one photo, or an IDX file, with labels from a CSV or an IDX file. */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "image/csv.h"
#include "image/pixels.h"

enum { MAX_DEPTH = 16, MAX_CSV_BYTES = 1 << 28 };

typedef enum keep_state { KEEP_EMPTY, KEEP_FILLING, KEEP_READY } keep_state;

struct vq_dataset {
    size_t count, capacity;
    char **names; /* paths, or "FILE[i]" */
    int *labels;  /* NULL where there are none */
    vq_idx idx;   /* images, where they come from an IDX file */
    struct {      /* decoded images, see vq_dataset_keep */
        vq_preprocess pre;
        size_t count, bytes; /* images; bytes of one */
        uint8_t *pixels;
        atomic_uchar *states; /* [count] */
    } kept;
};

void vq_dataset_destroy(vq_dataset **set)
{
    if (!set || !*set) return;
    for (size_t i = 0; i < (*set)->count; i++) free((*set)->names[i]);
    free((*set)->names);
    free((*set)->labels);
    free((*set)->idx.data);
    free((*set)->kept.pixels);
    free((*set)->kept.states);
    free(*set);
    *set = NULL;
}

/* Takes over name. */
static vq_status add_name(vq_dataset *set, char *name)
{
    if (set->count == set->capacity) {
        const size_t capacity = set->capacity ? 2 * set->capacity : 256;
        char **const grown = realloc(set->names, capacity * sizeof *grown);
        if (!grown) {
            free(name);
            return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a list of %zu images", capacity);
        }
        set->names = grown;
        set->capacity = capacity;
    }
    set->names[set->count++] = name;
    return VQ_OK;
}

/* ---- folders -------------------------------------------------------------------------------------------------------
 */

static bool is_photo(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    const char *const dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < VQ_ARRAY_LEN(endings); i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

static vq_status scan(vq_dataset *set, const char *folder, int depth)
{
    vq_status status = VQ_OK;
    char *path = NULL;
    DIR *const dir = opendir(folder);
    if (!dir) return vq_fail(VQ_ERR_IO, "%s: cannot open: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        VQ_GO(vq_path_join(&path, folder, e->d_name));
        if (vq_is_dir(path)) {
            if (depth == MAX_DEPTH)
                VQ_GO(vq_fail(VQ_ERR_IO, "%s: more than %d folders deep; do links go in a circle?", path, MAX_DEPTH));
            VQ_GO(scan(set, path, depth + 1));
        } else if (is_photo(e->d_name)) {
            char *const name = path;
            path = NULL;
            VQ_GO(add_name(set, name));
        }
        free(path);
        path = NULL;
    }
done:
    free(path);
    closedir(dir);
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_photo(const char *folder)
{
    bool found = false;
    DIR *const dir = opendir(folder);
    for (const struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir))
        found = e->d_name[0] != '.' && is_photo(e->d_name);
    if (dir) closedir(dir);
    return found;
}

static vq_status open_folder(vq_dataset *set, const char *folder)
{
    char *images = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_path_join(&images, folder, "images"));
    VQ_GO(scan(set, vq_is_dir(images) && !has_photo(folder) ? images : folder, 0));
    if (set->count == 0) VQ_GO(vq_fail(VQ_ERR_IO, "%s: holds no .png, .jpg or .jpeg files", folder));
    qsort(set->names, set->count, sizeof *set->names, by_bytes);
done:
    free(images);
    return status;
}

/* ---- labels --------------------------------------------------------------------------------------------------------
 */

/* The file a row names: relative to the folder, or to its "images" where it is not there. */
static vq_status find_file(char **out, const char *folder, const char *file)
{
    char *images = NULL;
    VQ_TRY(vq_path_join(out, folder, file));
    if (vq_is_file(*out)) return VQ_OK;
    free(*out);
    *out = NULL;
    VQ_TRY(vq_path_join(&images, folder, "images"));
    const vq_status status = vq_path_join(out, images, file);
    free(images);
    VQ_TRY(status);
    if (vq_is_file(*out)) return VQ_OK;
    free(*out);
    *out = NULL;
    return VQ_ERR_IO;
}

static vq_status parse_label(int *out, const char *text, int num_classes, const char *path, size_t row)
{
    char *end = NULL;
    errno = 0;
    const long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < 0 || v > 0x7fffffff)
        return vq_fail(VQ_ERR_FORMAT, "%s: row %zu: class_index \"%.40s\" is not a class number", path, row, text);
    if (num_classes > 0 && v >= num_classes)
        return vq_fail(VQ_ERR_FORMAT, "%s: row %zu: class_index %ld, the model has classes 0 to %d", path, row, v,
                       num_classes - 1);
    *out = (int)v;
    return VQ_OK;
}

static vq_status open_csv(vq_dataset *set, const char *folder, const char *path, int num_classes)
{
    vq_csv csv = {0};
    char *name = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_csv_read(&csv, path, MAX_CSV_BYTES));
    const int file = vq_csv_column(&csv, "file"), label = vq_csv_column(&csv, "class_index");
    if (file < 0 || label < 0)
        VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: the first row must name the columns file and class_index", path));
    if (csv.num_rows < 2) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: has no rows below the first", path));
    VQ_GO(vq_alloc(&set->labels, csv.num_rows, sizeof *set->labels, path));
    for (size_t r = 1; r < csv.num_rows; r++) {
        const char *const text = vq_csv_cell(&csv, r, file);
        if (find_file(&name, folder, text) != VQ_OK)
            VQ_GO(vq_fail(VQ_ERR_IO, "%s: row %zu names %.200s, which is not in %s", path, r + 1, text, folder));
        VQ_GO(parse_label(&set->labels[r - 1], vq_csv_cell(&csv, r, label), num_classes, path, r + 1));
        char *const taken = name;
        name = NULL;
        VQ_GO(add_name(set, taken));
    }
done:
    free(name);
    vq_csv_clear(&csv);
    return status;
}

/* ---- IDX -----------------------------------------------------------------------------------------------------------
 */

static vq_status open_idx_labels(vq_dataset *set, const char *path, int num_classes)
{
    vq_idx labels = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_idx_read(&labels, path));
    if (labels.num_dims != 1 || labels.dims[0] != set->count)
        VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: %zu labels for %zu images", path, labels.num_dims == 1 ? labels.dims[0] : 0,
                      set->count));
    VQ_GO(vq_alloc(&set->labels, set->count, sizeof *set->labels, path));
    for (size_t i = 0; i < set->count; i++) {
        set->labels[i] = labels.data[i];
        if (num_classes > 0 && set->labels[i] >= num_classes)
            VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: label %zu is %d, the model has classes 0 to %d", path, i, set->labels[i],
                          num_classes - 1));
    }
done:
    free(labels.data);
    return status;
}

static vq_status open_idx(vq_dataset *set, const char *path)
{
    VQ_TRY(vq_idx_read(&set->idx, path));
    if (set->idx.num_dims != 3) return vq_fail(VQ_ERR_FORMAT, "%s: an IDX file of labels, images are needed", path);
    for (size_t i = 0; i < set->idx.dims[0]; i++) {
        char *name;
        VQ_TRY(vq_format(&name, "%s[%zu]", path, i));
        VQ_TRY(add_name(set, name));
    }
    return VQ_OK;
}

/* ---- public --------------------------------------------------------------------------------------------------------
 */

static vq_status open_any(vq_dataset *set, const char *images, const char *labels, int num_classes)
{
    if (vq_is_dir(images)) return labels ? open_csv(set, images, labels, num_classes) : open_folder(set, images);
    if (!vq_is_file(images)) return vq_fail(VQ_ERR_IO, "%s: no such file or folder", images);
    if (vq_idx_is(images)) {
        VQ_TRY(open_idx(set, images));
        return labels ? open_idx_labels(set, labels, num_classes) : VQ_OK;
    }
    if (labels) return vq_fail(VQ_ERR_INVALID_ARG, "%s: labels need a folder of photos or an IDX file", images);
    char *name;
    VQ_TRY(vq_strdup(&name, images));
    return add_name(set, name);
}

vq_status vq_dataset_open(vq_dataset **out, const char *images, const char *labels, int num_classes)
{
    vq_dataset *set = NULL;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !images) return vq_fail(VQ_ERR_INVALID_ARG, "vq_dataset_open: NULL argument");
    VQ_GO(vq_alloc(&set, 1, sizeof *set, images));
    VQ_GO(open_any(set, images, labels, num_classes));
    *out = set;
    set = NULL;
done:
    vq_dataset_destroy(&set);
    return status;
}

size_t vq_dataset_count(const vq_dataset *set)
{
    return set->count;
}

const char *vq_dataset_name(const vq_dataset *set, size_t i)
{
    return set->names[i];
}

int vq_dataset_label(const vq_dataset *set, size_t i)
{
    return set->labels ? set->labels[i] : -1;
}

static vq_status decode(const vq_dataset *set, size_t i, const vq_preprocess *pre, uint8_t *pixels)
{
    if (!set->idx.data) return vq_image_load(pixels, pre, set->names[i]);
    const size_t height = set->idx.dims[1], width = set->idx.dims[2], bytes = height * width;
    const uint8_t *const source = set->idx.data + i * bytes;
    if (height == (size_t)pre->height && width == (size_t)pre->width && (pre->chans == 1 || pre->chans == 3)) {
        const size_t chans = (size_t)pre->chans;
        for (size_t j = 0; j < chans * bytes; j++) pixels[j] = source[j / chans];
        return VQ_OK;
    }
    vq_pixels p = {(int)height, (int)width, 1, NULL};
    if (height > VQ_MAX_SIDE || width > VQ_MAX_SIDE || bytes > VQ_MAX_PIXELS)
        return vq_fail(VQ_ERR_FORMAT, "%s: image of %zu x %zu pixels", set->names[i], width, height);
    VQ_TRY(vq_alloc(&p.data, bytes, 1, set->names[i]));
    memcpy(p.data, source, bytes);
    return vq_preprocess_pixels(pixels, pre, &p, set->names[i]);
}

/* IDX images of the model's size are not resized. */
static bool same_size(const vq_dataset *set, const vq_preprocess *pre)
{
    return set->idx.data && set->idx.dims[1] == (size_t)pre->height && set->idx.dims[2] == (size_t)pre->width;
}

vq_status vq_dataset_keep(vq_dataset *set, const vq_preprocess *pre, size_t max_bytes)
{
    if (!set || !pre) return vq_fail(VQ_ERR_INVALID_ARG, "vq_dataset_keep: NULL argument");
    if (set->kept.pixels || same_size(set, pre)) return VQ_OK; /* the latter are in memory as it is */
    const size_t bytes = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    const size_t count = VQ_MIN(set->count, max_bytes / VQ_MAX(bytes, 1));
    VQ_TRY(vq_alloc(&set->kept.states, count, sizeof *set->kept.states, "decoded images"));
    VQ_TRY(vq_alloc(&set->kept.pixels, count, bytes, "decoded images"));
    set->kept.pre = *pre;
    set->kept.bytes = bytes;
    set->kept.count = count;
    return VQ_OK;
}

static bool same_preprocess(const vq_preprocess *a, const vq_preprocess *b)
{
    bool same = a->chans == b->chans && a->height == b->height && a->width == b->width && a->crop_pct == b->crop_pct &&
                a->resample == b->resample && a->crop_mode == b->crop_mode && a->crop_floor == b->crop_floor;
    for (int c = 0; c < 3; c++) same = same && a->mean[c] == b->mean[c] && a->std[c] == b->std[c];
    return same;
}

vq_status vq_dataset_load(const vq_dataset *set, size_t i, const vq_preprocess *pre, uint8_t *pixels)
{
    unsigned char empty = KEEP_EMPTY;
    if (!set || !pre || !pixels || i >= set->count) return vq_fail(VQ_ERR_INVALID_ARG, "vq_dataset_load: bad argument");
    if (i >= set->kept.count || !same_preprocess(pre, &set->kept.pre)) return decode(set, i, pre, pixels);
    uint8_t *const kept = set->kept.pixels + i * set->kept.bytes;
    if (atomic_load(&set->kept.states[i]) == KEEP_READY) {
        memcpy(pixels, kept, set->kept.bytes);
        return VQ_OK;
    }
    VQ_TRY(decode(set, i, pre, pixels));
    if (atomic_compare_exchange_strong(&set->kept.states[i], &empty, KEEP_FILLING)) { /* else another thread has it */
        memcpy(kept, pixels, set->kept.bytes);
        atomic_store(&set->kept.states[i], KEEP_READY);
    }
    return VQ_OK;
}
