/* Words of the command line, and JSON, that the commands share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>

#include "bench.h"

bool bench_int(int *out, const char *command, const char *option, const char *text, int min, int max)
{
    char *end;
    const long value = strtol(text, &end, 10);
    if (end == text || *end || value < min || value > max) {
        fprintf(stderr, "vitq-bench %s: --%s %s: must be a number from %d to %d\n", command, option, text, min, max);
        return false;
    }
    *out = (int)value;
    return true;
}

bool bench_seconds(double *out, const char *command, const char *text)
{
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && *out >= 0.001 && *out <= 60) return true;
    fprintf(stderr, "vitq-bench %s: --seconds %s: must be a number from 0.001 to 60\n", command, text);
    return false;
}

bool bench_wanted(const char *list, const char *name)
{
    char part[64];
    for (const char *p = list; p && *p;) {
        const size_t len = strcspn(p, ",");
        snprintf(part, sizeof part, "%.*s", (int)len, p);
        if (*part && strstr(name, part)) return true;
        p += len + (p[len] == ',');
    }
    return !list;
}

cJSON *bench_json_begin(const vq_device *dev)
{
    const vq_device_info *const info = vq_device_get_info(dev);
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "device", info->name);
    cJSON_AddStringToObject(root, "driver", info->driver);
    cJSON_AddStringToObject(root, "version", vq_version());
    cJSON_AddNumberToObject(root, "compute_units", info->compute_units);
    return root;
}

vq_status bench_json_end(cJSON *root)
{
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

int bench_by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
