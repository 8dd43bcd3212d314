#include "base/json.h"

#include <math.h>
#include <string.h>

vq_status vq_json_parse(cJSON **out, const char *path, const char *text, size_t bytes)
{
    const char *end = NULL;
    *out = cJSON_ParseWithLengthOpts(text, bytes, &end, false);
    if (!*out) return vq_fail(VQ_ERR_FORMAT, "%s: not JSON, at byte %zu", path, end ? (size_t)(end - text) : (size_t)0);
    for (; end < text + bytes; end++)
        if (!strchr(" \t\r\n", *end) || *end == 0) {
            cJSON_Delete(*out);
            *out = NULL;
            return vq_fail(VQ_ERR_FORMAT, "%s: not JSON, text behind its end at byte %zu", path, (size_t)(end - text));
        }
    return VQ_OK;
}

static vq_status member(const cJSON **out, const cJSON *object, const char *key, const char *path)
{
    *out = cJSON_GetObjectItemCaseSensitive(object, key);
    return *out ? VQ_OK : vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is missing", path, key);
}

vq_status vq_json_number(double *out, const cJSON *object, const char *key, const char *path)
{
    const cJSON *item;
    *out = 0;
    VQ_TRY(member(&item, object, key, path));
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is not a number", path, key);
    *out = item->valuedouble;
    return VQ_OK;
}

vq_status vq_json_int(int *out, const cJSON *object, const char *key, int min, int max, const char *path)
{
    double value;
    *out = 0;
    VQ_TRY(vq_json_number(&value, object, key, path));
    if (value != floor(value) || value < min || value > max)
        return vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is %g, must be an integer from %d to %d", path, key, value, min, max);
    *out = (int)value;
    return VQ_OK;
}

vq_status vq_json_string(const char **out, const cJSON *object, const char *key, const char *path)
{
    const cJSON *item;
    *out = NULL;
    VQ_TRY(member(&item, object, key, path));
    if (!cJSON_IsString(item)) return vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is not a string", path, key);
    *out = item->valuestring;
    return VQ_OK;
}

vq_status vq_json_array(const cJSON **out, const cJSON *object, const char *key, const char *path)
{
    VQ_TRY(member(out, object, key, path));
    return cJSON_IsArray(*out) ? VQ_OK : vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is not a list", path, key);
}

vq_status vq_json_object(const cJSON **out, const cJSON *object, const char *key, const char *path)
{
    VQ_TRY(member(out, object, key, path));
    return cJSON_IsObject(*out) ? VQ_OK : vq_fail(VQ_ERR_FORMAT, "%s: \"%s\" is not an object", path, key);
}
