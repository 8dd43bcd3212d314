/* What was measured to be fastest on a device, on disk beside the compiled programs: one file for a device, its driver
 * and this registry. Like the cache it never fails a program: a table that cannot be used is ignored. */
#include "cl/internal.h"

#include <clblast_c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

#define FORMAT    "vitq-tuning 1"
#define MAX_BYTES (1u << 20)
enum { MAX_PARAMETERS = 16 };

/* ---- CLBlast's parameters ---------------------------------------------------------------------------------------- */

/* Sets that obey CLBlast's rules of divisibility, for processors first, then for GPUs. A file holds their numbers: a
 * change of this list is a change of FORMAT. */
typedef struct clblast_kernel {
    const char *name;
    size_t num_parameters;
    const char *parameters[MAX_PARAMETERS];
    int num_sets;
    size_t sets[8][MAX_PARAMETERS];
} clblast_kernel;

static const clblast_kernel clblast_kernels[VQ_CLBLAST_KERNELS] = {
    {"Xgemm",
     16,
     {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB", "NDIMC", "NWG", "SA", "SB", "STRM", "STRN",
      "VWM", "VWN"},
     8,
     {{0, 1, 16, 2, 1, 1, 8, 1, 1, 8, 0, 0, 0, 0, 8, 8},
      {0, 1, 16, 2, 2, 2, 16, 2, 2, 16, 0, 0, 0, 0, 8, 8},
      {0, 1, 32, 8, 2, 2, 32, 2, 2, 32, 0, 0, 0, 0, 8, 4},
      {0, 1, 32, 2, 4, 4, 32, 4, 4, 32, 0, 0, 0, 0, 8, 8},
      {0, 1, 32, 2, 8, 8, 64, 8, 8, 64, 0, 0, 0, 0, 4, 4},
      {0, 1, 16, 2, 8, 8, 64, 8, 8, 64, 1, 1, 0, 0, 4, 4},
      {0, 1, 32, 2, 8, 16, 64, 8, 8, 128, 1, 1, 0, 0, 2, 4},
      {0, 1, 32, 2, 16, 16, 128, 16, 16, 128, 1, 1, 0, 0, 4, 4}}},
    {"XgemmDirect",
     10,
     {"KWID", "MDIMAD", "MDIMCD", "NDIMBD", "NDIMCD", "PADA", "PADB", "VWMD", "VWND", "WGD"},
     5,
     {{2, 8, 8, 8, 8, 1, 1, 1, 1, 8},
      {2, 8, 8, 8, 8, 1, 1, 2, 2, 32},
      {2, 8, 8, 8, 8, 1, 1, 4, 4, 32},
      {8, 4, 4, 4, 4, 0, 0, 8, 8, 32},
      {2, 16, 16, 16, 16, 1, 1, 2, 2, 32}}},
};

const char *vq_clblast_kernel_name(vq_clblast_kernel kernel)
{
    return clblast_kernels[kernel].name;
}

int vq_clblast_num_sets(vq_clblast_kernel kernel)
{
    return clblast_kernels[kernel].num_sets;
}

vq_status vq_clblast_use_set(vq_device *dev, vq_clblast_kernel kernel, int set)
{
    const clblast_kernel *const k = &clblast_kernels[kernel];
    const char *names[MAX_PARAMETERS];
    if (set == -1) {
        dev->clblast_set[kernel] = -1;
        dev->set_here[kernel] = true;
        return VQ_OK;
    }
    if (set < 0 || set >= k->num_sets)
        return vq_fail(VQ_ERR_INVALID_ARG, "CLBlast: %s has no parameter set %d", k->name, set);
    memcpy(names, k->parameters, sizeof names);
    pthread_mutex_lock(&dev->lock);
    const CLBlastStatusCode code =
        CLBlastOverrideParameters(dev->id, k->name, CLBlastPrecisionSingle, k->num_parameters, names, k->sets[set]);
    pthread_mutex_unlock(&dev->lock);
    if (code != CLBlastSuccess) return vq_cl_fail(dev, (cl_int)code, "CLBlast: parameter set %d of %s", set, k->name);
    dev->clblast_set[kernel] = set;
    dev->set_here[kernel] = true;
    return VQ_OK;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

char *vq_tuning_path(const vq_device *dev)
{
    char hash[33], *path = NULL, *rows;
    if (!dev->cache_dir || vq_strdup(&rows, "") != VQ_OK) return NULL;
    for (int op = 0; op < VQ_OP_COUNT; op++)
        for (const vq_variant *const *v = vq_variants((vq_op)op); *v && rows; v++) {
            char *longer = NULL;
            if (vq_format(&longer, "%s %s", rows, (*v)->name) != VQ_OK) longer = NULL;
            free(rows);
            rows = longer;
        }
    if (!rows) return NULL;
    if (vq_cache_key(hash, dev, "tuning", FORMAT, rows) != VQ_OK ||
        vq_format(&path, "%s/%s.tuning", dev->cache_dir, hash) != VQ_OK)
        path = NULL;
    free(rows);
    return path;
}

/* What a file says. */
typedef struct table {
    const vq_variant *tuned[VQ_OP_COUNT];
    int set[VQ_CLBLAST_KERNELS];
} table;

static table empty_table(void)
{
    table t = {{NULL}, {0}};
    for (int k = 0; k < VQ_CLBLAST_KERNELS; k++) t.set[k] = -1;
    return t;
}

static vq_status read_variant(table *t, const vq_device *dev, vq_op op, const cJSON *item, const char *path)
{
    const vq_variant *variant;
    if (!cJSON_IsString(item)) return vq_fail(VQ_ERR_FORMAT, "%s: %s is no text", path, vq_op_name(op));
    VQ_TRY(vq_variant_find(&variant, item->valuestring));
    if (variant->op != op || !vq_variant_eligible(dev, variant))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s cannot run %s here", path, item->valuestring, vq_op_name(op));
    t->tuned[op] = variant;
    return VQ_OK;
}

static vq_status read_table(table *t, const vq_device *dev, const cJSON *root, const char *path)
{
    const char *text;
    const cJSON *variants, *sets;
    VQ_TRY(vq_json_string(&text, root, "format", path));
    if (strcmp(text, FORMAT) != 0) return vq_fail(VQ_ERR_VERSION, "%s: format \"%s\", not \"" FORMAT "\"", path, text);
    VQ_TRY(vq_json_string(&text, root, "device", path));
    if (strcmp(text, dev->info.name) != 0) return vq_fail(VQ_ERR_FORMAT, "%s: made for %s", path, text);
    VQ_TRY(vq_json_string(&text, root, "driver", path));
    if (strcmp(text, dev->info.driver) != 0) return vq_fail(VQ_ERR_FORMAT, "%s: made for driver %s", path, text);
    VQ_TRY(vq_json_object(&variants, root, "variants", path));
    VQ_TRY(vq_json_object(&sets, root, "clblast", path));
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const cJSON *const item = cJSON_GetObjectItemCaseSensitive(variants, vq_op_name((vq_op)op));
        if (item) VQ_TRY(read_variant(t, dev, (vq_op)op, item, path));
    }
    for (int k = 0; k < VQ_CLBLAST_KERNELS; k++) {
        const clblast_kernel *const kernel = &clblast_kernels[k];
        if (!cJSON_GetObjectItemCaseSensitive(sets, kernel->name)) continue;
        VQ_TRY(vq_json_int(&t->set[k], sets, kernel->name, 0, kernel->num_sets - 1, path));
    }
    return VQ_OK;
}

/* An empty table where it fails. */
static vq_status read_file(table *t, const vq_device *dev, const char *path)
{
    char *text = NULL;
    size_t bytes;
    cJSON *root = NULL;
    *t = empty_table();
    VQ_TRY(vq_file_read(&text, &bytes, path, MAX_BYTES));
    vq_status status = vq_json_parse(&root, path, text, bytes);
    if (status == VQ_OK) status = read_table(t, dev, root, path);
    cJSON_Delete(root);
    free(text);
    if (status != VQ_OK) *t = empty_table();
    return status;
}

static cJSON *make_table(const vq_device *dev, const table *t)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "format", FORMAT);
    cJSON_AddStringToObject(root, "device", dev->info.name);
    cJSON_AddStringToObject(root, "driver", dev->info.driver);
    cJSON *const variants = cJSON_AddObjectToObject(root, "variants");
    for (int op = 0; op < VQ_OP_COUNT; op++)
        if (t->tuned[op]) cJSON_AddStringToObject(variants, vq_op_name((vq_op)op), t->tuned[op]->name);
    cJSON *const sets = cJSON_AddObjectToObject(root, "clblast");
    for (int k = 0; k < VQ_CLBLAST_KERNELS; k++)
        if (t->set[k] >= 0) cJSON_AddNumberToObject(sets, clblast_kernels[k].name, t->set[k]);
    return root;
}

static vq_status write_file(const vq_device *dev, const table *t, const char *path)
{
    vq_file_writer *writer = NULL;
    vq_status status = VQ_OK;
    cJSON *const root = make_table(dev, t);
    char *const text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text) status = vq_fail(VQ_ERR_NO_MEMORY, "device %s: no memory for the tuning table", dev->info.name);
    if (status == VQ_OK) status = vq_file_begin(&writer, path);
    if (status == VQ_OK) status = vq_file_append(writer, text, strlen(text));
    if (status == VQ_OK) status = vq_file_append(writer, "\n", 1);
    if (status == VQ_OK) status = vq_file_commit(&writer);
    vq_file_abort(&writer);
    cJSON_free(text);
    return status;
}

static bool is_there(const char *path)
{
    return path && vq_is_file(path) && access(path, R_OK) == 0;
}

static void take(vq_device *dev, const table *t)
{
    memcpy(dev->tuned, t->tuned, sizeof dev->tuned);
    memcpy(dev->clblast_set, t->set, sizeof dev->clblast_set);
    memset(dev->tuned_here, 0, sizeof dev->tuned_here);
    memset(dev->set_here, 0, sizeof dev->set_here);
}

void vq_tuning_load(vq_device *dev)
{
    char why[VQ_LOG_LINE] = "";
    table t = empty_table();
    take(dev, &t);
    const char *const wanted = getenv("VITQ_TUNING");
    char *const path = wanted && !strcmp(wanted, "off") ? NULL : vq_tuning_path(dev);
    if (!is_there(path)) {
        free(path);
        return;
    }
    char *const before = vq_log_capture(why);
    vq_status status = read_file(&t, dev, path);
    for (int k = 0; k < VQ_CLBLAST_KERNELS && status == VQ_OK; k++)
        if (t.set[k] >= 0 && (dev->info.caps & VQ_CAP_CLBLAST))
            status = vq_clblast_use_set(dev, (vq_clblast_kernel)k, t.set[k]);
    vq_log_capture(before);
    if (status != VQ_OK) t = empty_table();
    take(dev, &t);
    if (status != VQ_OK) {
        vq_log(VQ_LOG_WARN, "tuning table ignored and written anew, empty ('vitq-bench tune' fills it): %s", why);
        char *const outer = vq_log_capture(why);
        write_file(dev, &t, path);
        vq_log_capture(outer);
    }
    free(path);
}

vq_status vq_tuning_save(vq_device *dev)
{
    char why[VQ_LOG_LINE] = "";
    table t = empty_table();
    char *const path = vq_tuning_path(dev);
    if (!path) return vq_fail(VQ_ERR_IO, "device %s: no cache folder to keep the tuning table in", dev->info.name);
    char *const outer = vq_log_capture(why); /* a damaged table is as good as none */
    if (is_there(path)) read_file(&t, dev, path);
    vq_log_capture(outer);
    for (int op = 0; op < VQ_OP_COUNT; op++)
        if (dev->tuned_here[op]) t.tuned[op] = dev->tuned[op];
    for (int k = 0; k < VQ_CLBLAST_KERNELS; k++)
        if (dev->set_here[k]) t.set[k] = dev->clblast_set[k];
    const vq_status status = write_file(dev, &t, path);
    free(path);
    return status;
}

vq_status vq_tuning_set(vq_device *dev, vq_op op, const vq_variant *variant)
{
    if (variant && (variant->op != op || !vq_variant_eligible(dev, variant)))
        return vq_fail(VQ_ERR_UNSUPPORTED, "device %s cannot run %s with %s", dev->info.name, vq_op_name(op),
                       variant->name);
    pthread_mutex_lock(&dev->lock);
    dev->tuned[op] = variant;
    dev->tuned_here[op] = true;
    dev->chosen[op] = NULL;
    pthread_mutex_unlock(&dev->lock);
    return VQ_OK;
}
