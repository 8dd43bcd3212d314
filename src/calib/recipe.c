#include "calib/recipe.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

/* ---- the built-in recipes ------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *about, *json;
} recipes[] = {
    {"repq", "RepQ-ViT: percentile ranges, LayerNorm scale reparameterization, log-sqrt2 after softmax (default)",
     "{\"reparam\": \"mean\","
     " \"weight\": {\"search\": \"percentile\"}, \"input\": {\"search\": \"percentile\"},"
     " \"norm\": {\"search\": \"percentile\"}, \"qk\": {\"search\": \"percentile\"},"
     " \"value\": {\"search\": \"percentile\"},"
     " \"softmax\": {\"quantizer\": \"log_sqrt2\", \"search\": \"percentile\"},"
     " \"gelu\": {\"search\": \"percentile\"}}"},
    {"minmax", "naive baseline: smallest to largest value everywhere, uniform after softmax", "{}"},
    {"adalog", "AdaLog: adaptive log bases after softmax and GELU, FPCS by layer output, heads apart",
     "{\"flow\": \"parallel\", \"rounds\": 3, \"rows\": 1024, \"reparam\": \"mean\","
     " \"weight\": {\"search\": \"fpcs\", \"objective\": \"output\"},"
     " \"input\": {\"search\": \"fpcs\", \"objective\": \"output\"}, \"norm\": {\"search\": \"fpcs\"},"
     " \"qk\": {\"search\": \"fpcs\", \"objective\": \"output\", \"per\": \"head\"},"
     " \"value\": {\"search\": \"fpcs\", \"objective\": \"output\", \"per\": \"head\"},"
     " \"softmax\": {\"quantizer\": \"adalog\", \"search\": \"fpcs\", \"objective\": \"output\"},"
     " \"gelu\": {\"quantizer\": \"adalog\", \"search\": \"fpcs\", \"objective\": \"output\"}}"},
    {"dopq", "DopQ-ViT: tangent quantizers after softmax and GELU, median scaling factor in the reparameterization",
     "{\"base\": \"repq\", \"reparam\": \"mosf\", \"rows\": 1024,"
     " \"softmax\": {\"quantizer\": \"tanq\", \"search\": \"fpcs\", \"objective\": \"output\"},"
     " \"gelu\": {\"quantizer\": \"tanq\", \"search\": \"fpcs\", \"objective\": \"output\"}}"},
    {"best",
     "ours: GPTQ rounding that minds the class token, adaptive log bases, softmax by head, V rotated and migrated",
     "{\"base\": \"repq\", \"norm\": {\"search\": \"fpcs\"}, \"value\": {\"per\": \"channel\"},"
     " \"softmax\": {\"quantizer\": \"adalog\", \"search\": \"fpcs\", \"objective\": \"output\", \"per\": \"head\"},"
     " \"gelu\": {\"quantizer\": \"adalog\", \"search\": \"fpcs\"},"
     " \"rounding\": \"gptq\", \"rounding_ranges\": 12, \"rounding_sweeps\": 8, \"prefix_weight\": 100,"
     " \"damping\": 0.05, \"bias_correction\": true, \"migrate_value\": true, \"rotate_value\": true}"},
};

const char *vq_recipe_name(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(recipes) ? recipes[i].name : NULL;
}

const char *vq_recipe_about(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(recipes) ? recipes[i].about : NULL;
}

const char *vq_recipe_json(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(recipes) ? recipes[i].json : NULL;
}

/* ---- keys ----------------------------------------------------------------------------------------------------------
 */

static const char *const search_names[] = {"minmax", "percentile", "full", "fpcs", NULL};
static const char *const objective_names[] = {"tensor", "output", "cosine", NULL};
static const char *const reparam_names[] = {"none", "mean", "mosf", "best", NULL};
static const char *const flow_names[] = {"sequential", "parallel", NULL};
static const char *const rounding_names[] = {"nearest", "gptq", NULL};
static const char *const per_names[] = {"tensor", "head", "channel", NULL}; /* as vq_granularity */

typedef enum key_kind { KEY_NAME, KEY_QUANTIZER, KEY_INT, KEY_NUMBER, KEY_FLAG } key_kind;

typedef struct key {
    const char *path;
    key_kind kind;
    size_t offset;
    const char *const *names; /* NAME */
    int num_names;            /* the first so many are possible; 0: all */
    double min, max;          /* INT, NUMBER */
} key;

#define AT(field) offsetof(vq_recipe, field)
#define PART(part)                                                                 \
    {#part ".search", KEY_NAME, AT(part.search), search_names, 0, 0, 0},           \
    {                                                                              \
#part ".objective", KEY_NAME, AT(part.objective), objective_names, 0, 0, 0 \
    }

static const key keys[] = {
    {"flow", KEY_NAME, AT(flow), flow_names, 0, 0, 0},
    {"rounds", KEY_INT, AT(rounds), NULL, 0, 1, 16},
    {"rows", KEY_INT, AT(rows), NULL, 0, 0, 1 << 30},
    {"reparam", KEY_NAME, AT(reparam), reparam_names, 0, 0, 0},
    {"rounding", KEY_NAME, AT(rounding), rounding_names, 0, 0, 0},
    {"rounding_ranges", KEY_INT, AT(rounding_ranges), NULL, 0, 1, 16},
    {"rounding_sweeps", KEY_INT, AT(rounding_sweeps), NULL, 0, 0, 16},
    {"prefix_weight", KEY_NUMBER, AT(prefix_weight), NULL, 0, 1, 10000},
    {"damping", KEY_NUMBER, AT(damping), NULL, 0, 1e-6, 10},
    {"bias_correction", KEY_FLAG, AT(bias_correction), NULL, 0, 0, 0},
    {"migrate_value", KEY_FLAG, AT(migrate_value), NULL, 0, 0, 0},
    {"rotate_value", KEY_FLAG, AT(rotate_value), NULL, 0, 0, 0},
    PART(weight),
    PART(input),
    {"norm.search", KEY_NAME, AT(norm.search), search_names, 0, 0, 0},
    PART(qk),
    {"qk.per", KEY_NAME, AT(qk.per), per_names, 2, 0, 0},
    PART(value),
    {"value.per", KEY_NAME, AT(value.per), per_names, 3, 0, 0},
    PART(softmax),
    {"softmax.quantizer", KEY_QUANTIZER, AT(softmax.quantizer), NULL, 0, 0, 0},
    {"softmax.per", KEY_NAME, AT(softmax.per), per_names, 2, 0, 0},
    PART(gelu),
    {"gelu.quantizer", KEY_QUANTIZER, AT(gelu.quantizer), NULL, 0, 0, 0},
};

typedef struct reading {
    vq_recipe *recipe;
    const char *where; /* for messages: the file, or the recipe's name */
} reading;

static void list(char *out, size_t size, const char *item)
{
    const size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? ", " : "", item);
}

static const key *find_key(const char *path)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(keys); i++)
        if (strcmp(keys[i].path, path) == 0) return &keys[i];
    return NULL;
}

static vq_status unknown_key(const reading *r, const char *path)
{
    char known[768] = "";
    for (size_t i = 0; i < VQ_ARRAY_LEN(keys); i++) list(known, sizeof known, keys[i].path);
    return vq_fail(VQ_ERR_INVALID_ARG, "%s: unknown key '%.60s'; there are: %s", r->where, path, known);
}

static vq_status set_name(const reading *r, const key *k, const char *text)
{
    char known[128] = "";
    for (int i = 0; k->names[i] && (!k->num_names || i < k->num_names); i++) {
        if (strcmp(k->names[i], text) == 0) {
            memcpy((char *)r->recipe + k->offset, &i, sizeof i);
            return VQ_OK;
        }
        list(known, sizeof known, k->names[i]);
    }
    return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s is '%.40s', must be one of: %s", r->where, k->path, text, known);
}

static vq_status set_quantizer(const reading *r, const key *k, const char *text)
{
    char known[128] = "";
    const vq_codebook_family *family = NULL;
    const bool plain = strcmp(text, "uniform") == 0 && k->offset != AT(softmax.quantizer);
    if (!plain && !(family = vq_codebook_find(text))) {
        for (int i = 0; vq_codebook_family_at(i); i++) list(known, sizeof known, vq_codebook_family_at(i)->name);
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s is '%.40s', must be one of: %s", r->where, k->path, text, known);
    }
    memcpy((char *)r->recipe + k->offset, &family, sizeof family);
    return VQ_OK;
}

static vq_status set_number(const reading *r, const key *k, double x)
{
    const bool whole = k->kind == KEY_INT;
    const int i = (int)x;
    if (!(x >= k->min && x <= k->max) || (whole && x != i))
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s is %g, must be %s from %g to %g", r->where, k->path, x,
                       whole ? "a whole number" : "a number", k->min, k->max);
    if (whole)
        memcpy((char *)r->recipe + k->offset, &i, sizeof i);
    else
        memcpy((char *)r->recipe + k->offset, &x, sizeof x);
    return VQ_OK;
}

static vq_status set_flag(const reading *r, const key *k, bool on)
{
    memcpy((char *)r->recipe + k->offset, &on, sizeof on);
    return VQ_OK;
}

static vq_status set_text(const reading *r, const key *k, const char *text)
{
    char *end;
    switch (k->kind) {
    case KEY_NAME: return set_name(r, k, text);
    case KEY_QUANTIZER: return set_quantizer(r, k, text);
    case KEY_FLAG:
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) return set_flag(r, k, text[0] == 't');
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s is '%.40s', must be true or false", r->where, k->path, text);
    case KEY_INT:
    case KEY_NUMBER: break;
    }
    const double x = strtod(text, &end);
    if (end == text || *end)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s is '%.40s', must be a number", r->where, k->path, text);
    return set_number(r, k, x);
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------
 */

static vq_status set_json(const reading *r, const char *path, const cJSON *item)
{
    const key *const k = find_key(path);
    if (!k) return unknown_key(r, path);
    if (cJSON_IsString(item) && (k->kind == KEY_NAME || k->kind == KEY_QUANTIZER))
        return set_text(r, k, item->valuestring);
    if (cJSON_IsBool(item) && k->kind == KEY_FLAG) return set_flag(r, k, cJSON_IsTrue(item));
    if (cJSON_IsNumber(item) && (k->kind == KEY_INT || k->kind == KEY_NUMBER))
        return set_number(r, k, item->valuedouble);
    return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s must be %s", r->where, path,
                   k->kind == KEY_FLAG                           ? "true or false"
                   : k->kind == KEY_INT || k->kind == KEY_NUMBER ? "a number"
                                                                 : "a string");
}

static vq_status read_text(char *out, size_t size, const reading *r, const cJSON *item)
{
    if (!cJSON_IsString(item) || strlen(item->valuestring) >= size)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %s must be a string of less than %zu bytes", r->where, item->string,
                       size);
    snprintf(out, size, "%s", item->valuestring);
    return VQ_OK;
}

static vq_status read_builtin(const reading *r, const char *name);

static vq_status read_object(const reading *r, const cJSON *root, bool file)
{
    const cJSON *const base = cJSON_GetObjectItemCaseSensitive(root, "base"), *item, *inner;
    char path[80];
    if (!cJSON_IsObject(root)) return vq_fail(VQ_ERR_INVALID_ARG, "%s: a recipe is a JSON object", r->where);
    if (base) {
        if (!cJSON_IsString(base)) return vq_fail(VQ_ERR_INVALID_ARG, "%s: base must be a string", r->where);
        VQ_TRY(read_builtin(r, base->valuestring));
    }
    cJSON_ArrayForEach(item, root)
    {
        if (item == base) continue;
        if (file && strcmp(item->string, "name") == 0) {
            VQ_TRY(read_text(r->recipe->name, sizeof r->recipe->name, r, item));
        } else if (file && strcmp(item->string, "about") == 0) {
            VQ_TRY(read_text(r->recipe->about, sizeof r->recipe->about, r, item));
        } else if (cJSON_IsObject(item)) {
            cJSON_ArrayForEach(inner, item)
            {
                snprintf(path, sizeof path, "%.38s.%.38s", item->string, inner->string);
                VQ_TRY(set_json(r, path, inner));
            }
        } else {
            VQ_TRY(set_json(r, item->string, item));
        }
    }
    return VQ_OK;
}

static vq_status read_builtin(const reading *r, const char *name)
{
    char known[160] = "";
    for (size_t i = 0; i < VQ_ARRAY_LEN(recipes); i++) {
        if (name && strcmp(name, recipes[i].name) != 0) {
            list(known, sizeof known, recipes[i].name);
            continue;
        }
        cJSON *const root = cJSON_Parse(recipes[i].json);
        if (!root) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", recipes[i].name);
        const vq_status status = read_object(r, root, false);
        cJSON_Delete(root);
        return status;
    }
    return vq_fail(VQ_ERR_INVALID_ARG, "unknown recipe '%.60s'; there are: %s, or the path of a .json file", name,
                   known);
}

enum { FILE_MAX = 1 << 16 };

static vq_status read_file(const reading *r, const char *path)
{
    const char *const slash = strrchr(path, '/'), *const base = slash ? slash + 1 : path;
    char *text = NULL;
    size_t bytes = 0;
    cJSON *root = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_file_read(&text, &bytes, path, FILE_MAX));
    VQ_GO(vq_json_parse(&root, path, text, bytes));
    snprintf(r->recipe->name, sizeof r->recipe->name, "%.*s", (int)strcspn(base, "."), base);
    VQ_GO(read_object(r, root, true));
done:
    cJSON_Delete(root);
    free(text);
    return status;
}

static vq_status read_parts(vq_recipe *recipe, const char *parts)
{
    const reading r = {recipe, "parts"};
    while (*parts) {
        const size_t len = strcspn(parts, ",");
        char item[128];
        if (len >= sizeof item) return vq_fail(VQ_ERR_INVALID_ARG, "parts: '%.40s...' is too long", parts);
        memcpy(item, parts, len);
        item[len] = 0;
        char *const equals = strchr(item, '=');
        if (!equals) return vq_fail(VQ_ERR_INVALID_ARG, "parts: '%s' is not of the form key=value", item);
        *equals = 0;
        const key *const k = find_key(item);
        if (!k) return unknown_key(&r, item);
        VQ_TRY(set_text(&r, k, equals + 1));
        parts += len + (parts[len] == ',');
    }
    return VQ_OK;
}

/* What no kernel or search can do. */
static vq_status check(const vq_recipe *r)
{
    const vq_part *const fixed[] = {&r->weight, &r->input, &r->qk, &r->value, &r->softmax, &r->gelu};
    for (size_t i = 0; i < VQ_ARRAY_LEN(fixed); i++)
        if (fixed[i]->search == VQ_SEARCH_MINMAX && fixed[i]->objective != VQ_OBJECTIVE_TENSOR)
            return vq_fail(VQ_ERR_INVALID_ARG, "recipe %s: a minmax search tries nothing, so it has no objective",
                           r->name);
    if ((r->qk.objective && r->qk.per != VQ_PER_HEAD) || (r->value.objective && r->value.per != VQ_PER_HEAD))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "recipe %s: the output of an attention product tells heads apart, so qk and "
                       "value need per = head for objectives other than tensor",
                       r->name);
    if (r->reparam == VQ_REPARAM_BEST && r->flow == VQ_FLOW_PARALLEL)
        return vq_fail(VQ_ERR_INVALID_ARG, "recipe %s: reparam = best compares outputs, which needs flow = sequential",
                       r->name);
    if (r->migrate_value && r->value.per != VQ_PER_CHANNEL)
        return vq_fail(VQ_ERR_INVALID_ARG, "recipe %s: migrate_value needs value.per = channel", r->name);
    if (r->rounding_ranges > 1 && (r->rounding != VQ_ROUNDING_GPTQ || !r->rounding_sweeps))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "recipe %s: rounding_ranges > 1 needs rounding = gptq and rounding_sweeps >= 1, which gives the "
                       "errors to compare",
                       r->name);
    return VQ_OK;
}

static bool is_path(const char *name)
{
    const size_t len = strlen(name);
    return len > 5 && strcmp(name + len - 5, ".json") == 0;
}

vq_status vq_recipe_read(vq_recipe *out, const char *name, const char *parts)
{
    const reading r = {out, name ? name : recipes[0].name};
    *out = (vq_recipe){.rounds = 1, .rounding_ranges = 1, .prefix_weight = 1, .damping = 0.01};
    out->softmax.quantizer = vq_codebook_find("uniform");
    if (name && is_path(name)) {
        VQ_TRY(read_file(&r, name));
    } else {
        VQ_TRY(read_builtin(&r, name));
        snprintf(out->name, sizeof out->name, "%s", r.where);
    }
    if (parts) VQ_TRY(read_parts(out, parts));
    return check(out);
}

vq_status vq_recipe_set_search(vq_recipe *r, const char *search)
{
    vq_part *const parts[] = {&r->weight, &r->input, &r->norm, &r->qk, &r->value, &r->softmax, &r->gelu};
    if (!search) return VQ_OK;
    if (strcmp(search, "full") != 0 && strcmp(search, "fpcs") != 0)
        return vq_fail(VQ_ERR_INVALID_ARG, "search is '%.40s', must be full or fpcs", search);
    for (size_t i = 0; i < VQ_ARRAY_LEN(parts); i++)
        if (parts[i]->search == VQ_SEARCH_FULL || parts[i]->search == VQ_SEARCH_FPCS)
            parts[i]->search = search[1] == 'u' ? VQ_SEARCH_FULL : VQ_SEARCH_FPCS;
    return VQ_OK;
}
