#include "graph/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool vq_config_is_set(const cJSON *item)
{
    return item && !cJSON_IsNull(item);
}

const cJSON *vq_config_member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static vq_status to_int(int *out, const cJSON *item, const char *path, const char *field, int min, int max)
{
    if (!cJSON_IsNumber(item))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is not a number, must be an integer %d to %d", path, field, min, max);
    const double v = item->valuedouble;
    if (!(v >= min && v <= max) || v != floor(v))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is %g, must be an integer %d to %d", path, field, v, min, max);
    *out = (int)v;
    return VQ_OK;
}

static void field_name(char out[96], const char *section, const char *key)
{
    snprintf(out, 96, "%.30s%s%.60s", section, section[0] ? "." : "", key);
}

vq_status vq_config_int(int *out, const cJSON *object, const char *path, const char *section, const char *key, int min,
                        int max)
{
    char field[96];
    const cJSON *const item = vq_config_member(object, key);
    if (!vq_config_is_set(item)) return VQ_OK;
    field_name(field, section, key);
    return to_int(out, item, path, field, min, max);
}

vq_status vq_config_pair(int out[2], const cJSON *object, const char *path, const char *section, const char *key,
                         int max)
{
    char field[96];
    const cJSON *const item = vq_config_member(object, key);
    if (!vq_config_is_set(item)) return VQ_OK;
    field_name(field, section, key);
    if (!cJSON_IsArray(item)) {
        VQ_TRY(to_int(&out[0], item, path, field, 1, max));
        out[1] = out[0];
        return VQ_OK;
    }
    if (cJSON_GetArraySize(item) != 2)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s has %d entries, must be one number or two", path, field,
                       cJSON_GetArraySize(item));
    for (int i = 0; i < 2; i++) VQ_TRY(to_int(&out[i], cJSON_GetArrayItem(item, i), path, field, 1, max));
    return VQ_OK;
}

vq_status vq_config_number(double *out, const cJSON *object, const char *path, const char *section, const char *key,
                           double min, double max)
{
    char field[96];
    const cJSON *const item = vq_config_member(object, key);
    if (!vq_config_is_set(item)) return VQ_OK;
    field_name(field, section, key);
    if (!cJSON_IsNumber(item)) return vq_fail(VQ_ERR_FORMAT, "%s: %s is not a number", path, field);
    if (!(item->valuedouble >= min && item->valuedouble <= max))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is %g, must be %g to %g", path, field, item->valuedouble, min, max);
    *out = item->valuedouble;
    return VQ_OK;
}

vq_status vq_config_bool(bool *out, const cJSON *object, const char *path, const char *section, const char *key)
{
    char field[96];
    const cJSON *const item = vq_config_member(object, key);
    if (!vq_config_is_set(item)) return VQ_OK;
    field_name(field, section, key);
    if (!cJSON_IsBool(item)) return vq_fail(VQ_ERR_FORMAT, "%s: %s is not true or false", path, field);
    *out = cJSON_IsTrue(item);
    return VQ_OK;
}

/* ---- arguments that are not read -----------------------------------------------------------------------------------
 */

/* True where text is one of the words of list. */
static bool in_list(const char *list, const char *text)
{
    const size_t length = strlen(text);
    for (const char *at = strstr(list, text); at; at = strstr(at + 1, text))
        if ((at == list || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return true;
    return false;
}

static vq_status check_neutral(const cJSON *arg, const char *path, const char *section, const vq_neutral_arg *neutral)
{
    char field[96];
    vq_status status = VQ_OK;
    if (!neutral->accepted) return VQ_OK;
    char *const text = cJSON_PrintUnformatted(arg);
    if (!text) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", path);
    field_name(field, section, arg->string);
    if (!text[0] || !in_list(neutral->accepted, text))
        status =
            vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s is %.40s; only %s is supported", path, field, text, neutral->accepted);
    free(text);
    return status;
}

static vq_status check_arg(const cJSON *arg, const char *path, const char *section, const char *const *known,
                           const vq_neutral_arg *neutral)
{
    char field[96];
    for (; *known; known++)
        if (strcmp(arg->string, *known) == 0) return VQ_OK;
    for (; neutral->key; neutral++)
        if (strcmp(arg->string, neutral->key) == 0) return check_neutral(arg, path, section, neutral);
    field_name(field, section, arg->string);
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s is not supported", path, field);
}

vq_status vq_config_refuse(const cJSON *object, const char *path, const vq_neutral_arg *neutral)
{
    for (; neutral->key; neutral++) {
        const cJSON *const item = vq_config_member(object, neutral->key);
        if (vq_config_is_set(item)) VQ_TRY(check_neutral(item, path, "", neutral));
    }
    return VQ_OK;
}

vq_status vq_config_check_args(const cJSON *args, const char *path, const char *section, const char *const *known,
                               const vq_neutral_arg *neutral)
{
    for (const cJSON *arg = args ? args->child : NULL; arg; arg = arg->next)
        VQ_TRY(check_arg(arg, path, section, known, neutral));
    return VQ_OK;
}

/* ---- preprocessing -------------------------------------------------------------------------------------------------
 */

vq_status vq_config_stats(float out[3], const cJSON *cfg, const char *path, const char *section, const char *key,
                          int chans, bool positive)
{
    char field[96];
    const cJSON *const list = vq_config_member(cfg, key);
    field_name(field, section, key);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != chans)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s has %d entries, must have %d", path, field, cJSON_GetArraySize(list),
                       chans);
    for (int i = 0; i < chans; i++) {
        const cJSON *const item = cJSON_GetArrayItem(list, i);
        const double v = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        if (!(fabs(v) <= 1e3) || (positive && v < 1e-6))
            return vq_fail(VQ_ERR_FORMAT, "%s: %s[%d] is not a sensible number", path, field, i);
        out[i] = (float)v;
    }
    return VQ_OK;
}

/* Index of the string of a key in names; default_index where it is absent. */
static vq_status read_choice(int *out, const cJSON *cfg, const char *path, const char *key, const char *const *names,
                             int count, int default_index)
{
    const cJSON *const item = vq_config_member(cfg, key);
    *out = default_index;
    if (!vq_config_is_set(item)) return VQ_OK;
    for (int i = 0; cJSON_IsString(item) && i < count; i++)
        if (strcmp(item->valuestring, names[i]) == 0) {
            *out = i;
            return VQ_OK;
        }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: pretrained_cfg.%s is \"%.40s\", known: %s, %s%s%s", path, key,
                   cJSON_IsString(item) ? item->valuestring : "?", names[0], names[1], count > 2 ? ", " : "",
                   count > 2 ? names[2] : "");
}

/* As timm: the size in pretrained_cfg is the model's, unless model_args have another one. */
static vq_status read_input_size(vq_config *c, const cJSON *cfg, const char *path)
{
    const cJSON *const size = vq_config_member(cfg, "input_size");
    int got[3] = {0};
    if (!vq_config_is_set(size)) return VQ_OK;
    if (!cJSON_IsArray(size) || cJSON_GetArraySize(size) != 3)
        return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.input_size must be [channels, height, width]", path);
    for (int i = 0; i < 3; i++)
        VQ_TRY(to_int(&got[i], cJSON_GetArrayItem(size, i), path, "pretrained_cfg.input_size", 1, VQ_MAX_SIDE));
    c->chans = got[0];
    c->img_height = got[1];
    c->img_width = got[2];
    return VQ_OK;
}

static vq_status read_preprocess(vq_config *c, const cJSON *cfg, const char *path)
{
    static const char *const resamples[] = {"bicubic", "bilinear"};
    static const char *const crops[] = {"center", "squash", "border"};
    vq_preprocess *const pre = &c->pre;
    int resample, crop;
    if (!cJSON_IsObject(cfg)) return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg is missing or not an object", path);
    VQ_TRY(read_choice(&resample, cfg, path, "interpolation", resamples, 2, VQ_RESAMPLE_BICUBIC));
    VQ_TRY(read_choice(&crop, cfg, path, "crop_mode", crops, 3, VQ_CROP_CENTER));
    *pre = (vq_preprocess){.chans = c->chans,
                           .height = c->img_height,
                           .width = c->img_width,
                           .crop_pct = 0.875f,
                           .resample = (vq_resample)resample,
                           .crop_mode = (vq_crop_mode)crop};
    const cJSON *const pct = vq_config_member(cfg, "crop_pct");
    if (vq_config_is_set(pct)) {
        const double v = cJSON_IsNumber(pct) ? pct->valuedouble : NAN;
        if (!(v >= 0.01 && v <= 1))
            return vq_fail(VQ_ERR_FORMAT, "%s: pretrained_cfg.crop_pct is %g, must be in 0.01 to 1", path, v);
        pre->crop_pct = (float)v;
    }
    VQ_TRY(vq_config_bool(&pre->crop_floor, cfg, path, "pretrained_cfg", "crop_floor"));
    VQ_TRY(vq_config_stats(pre->mean, cfg, path, "pretrained_cfg", "mean", c->chans, false));
    return vq_config_stats(pre->std, cfg, path, "pretrained_cfg", "std", c->chans, true);
}

/* ---- labels --------------------------------------------------------------------------------------------------------
 */

static vq_status read_labels(vq_config *c, const cJSON *root, const char *path)
{
    const cJSON *const names = vq_config_member(root, "label_names"), *const about =
                                                                          vq_config_member(root, "label_descriptions");
    const cJSON *name;
    int i = 0;
    if (!vq_config_is_set(names)) return VQ_OK;
    if (!cJSON_IsArray(names) || cJSON_GetArraySize(names) != c->num_classes)
        return vq_fail(VQ_ERR_FORMAT, "%s: label_names has %d entries, the model has %d classes", path,
                       cJSON_GetArraySize(names), c->num_classes);
    VQ_TRY(vq_alloc(&c->labels, (size_t)c->num_classes, sizeof *c->labels, "labels"));
    cJSON_ArrayForEach(name, names)
    {
        if (!cJSON_IsString(name)) return vq_fail(VQ_ERR_FORMAT, "%s: label_names[%d] is not a string", path, i);
        const cJSON *const text = cJSON_IsObject(about) ? vq_config_member(about, name->valuestring) : NULL;
        VQ_TRY(vq_strdup(&c->labels[i++], cJSON_IsString(text) ? text->valuestring : name->valuestring));
    }
    return VQ_OK;
}

/* ---- timm ----------------------------------------------------------------------------------------------------------
 */

const cJSON *vq_config_pretrained(const vq_config_doc *doc)
{
    const cJSON *const cfg = vq_config_member(doc->root, "pretrained_cfg");
    return vq_config_is_set(cfg) ? cfg
                                 : doc->root; /* timm before 0.9 wrote the preprocessing beside the architecture */
}

vq_status vq_config_args(const cJSON **out, const vq_config_doc *doc)
{
    const cJSON *const args = vq_config_member(doc->root, "model_args");
    *out = NULL;
    if (!vq_config_is_set(args)) return VQ_OK;
    if (!cJSON_IsObject(args)) return vq_fail(VQ_ERR_FORMAT, "%s: model_args is not an object", doc->path);
    *out = args;
    return VQ_OK;
}

vq_status vq_config_common(vq_config *c, const vq_config_doc *doc)
{
    const cJSON *const cfg = vq_config_pretrained(doc), *args;
    double eps = c->ln_eps;
    VQ_TRY(vq_config_args(&args, doc));
    VQ_TRY(read_input_size(c, cfg, doc->path));
    int img[2] = {c->img_height, c->img_width};
    VQ_TRY(vq_config_int(&c->num_classes, cfg, doc->path, cfg == doc->root ? "" : "pretrained_cfg", "num_classes", 1,
                         VQ_MAX_CLASSES));
    VQ_TRY(vq_config_int(&c->num_classes, doc->root, doc->path, "", "num_classes", 1, VQ_MAX_CLASSES));
    VQ_TRY(vq_config_int(&c->num_classes, args, doc->path, "model_args", "num_classes", 1, VQ_MAX_CLASSES));
    VQ_TRY(vq_config_int(&c->chans, args, doc->path, "model_args", "in_chans", 1, 3));
    VQ_TRY(vq_config_pair(img, args, doc->path, "model_args", "img_size", VQ_MAX_SIDE));
    /* of quantized files; timm has it in code alone */
    VQ_TRY(vq_config_number(&eps, doc->root, doc->path, "", "ln_eps", 1e-30, 0.1));
    c->img_height = img[0];
    c->img_width = img[1];
    if (vq_config_is_set(vq_config_member(doc->root, "ln_eps"))) c->ln_eps = (float)eps;
    return VQ_OK;
}

vq_status vq_config_finish(vq_config *c, const vq_config_doc *doc)
{
    if (c->chans != 1 && c->chans != 3)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: in_chans is %d, must be 1 or 3", doc->path, c->chans);
    VQ_TRY(read_preprocess(c, vq_config_pretrained(doc), doc->path));
    return read_labels(c, doc->root, doc->path);
}

void vq_config_put_common(cJSON *args, const vq_config *c)
{
    const int img[2] = {c->img_height, c->img_width};
    cJSON_AddItemToObject(args, "img_size", cJSON_CreateIntArray(img, 2));
    cJSON_AddNumberToObject(args, "in_chans", c->chans);
}

void vq_config_clear(vq_config *config)
{
    for (int i = 0; config->labels && i < config->num_classes; i++) free(config->labels[i]);
    free(config->labels);
    *config = (vq_config){0};
}
