#define _XOPEN_SOURCE 700 /* nftw */

#include "unit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char unit_error[1024];
int unit_num_errors;

static char folder[64];
static char paths[8][512];
static int next_path;

static void keep_error(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level != VQ_LOG_ERROR) return;
    snprintf(unit_error, sizeof unit_error, "%s", text);
    unit_num_errors++;
}

void unit_catch_log(void)
{
    vq_log_set(keep_error, NULL, VQ_LOG_WARN);
}

void unit_check_error(const char *text, const char *file, int line)
{
    if (unit_num_errors == 1 && strstr(unit_error, text)) return;
    print_error("%d error lines, the last \"%s\", expected one with \"%s\"\n", unit_num_errors, unit_error, text);
    _fail(file, line);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *unit_path(const char *name)
{
    char *const path = paths[next_path++ % 8];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/vitq-unit-XXXXXX");
        if (!mkdtemp(folder)) fail_msg("no scratch folder %s", folder);
        atexit(remove_folder);
    }
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

const char *unit_write(const char *name, const void *data, size_t bytes)
{
    const char *const path = unit_path(name);
    FILE *const f = fopen(path, "wb");
    if (!f || (bytes && fwrite(data, 1, bytes, f) != bytes) || fclose(f) != 0) fail_msg("cannot write %s", path);
    return path;
}

const char *unit_write_text(const char *name, const char *text)
{
    return unit_write(name, text, strlen(text));
}

const char *unit_source(const char *name)
{
    char *const path = paths[next_path++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", VQ_SOURCE_DIR, name);
    return path;
}

uint64_t unit_hash(const void *data, size_t bytes)
{
    const uint8_t *const p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}
