/* Words of the command line that the commands share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int bench_by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
