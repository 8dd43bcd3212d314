#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

static void ignore(void *user, vq_log_level level, const char *text)
{
    (void)user;
    (void)level;
    for (; *text; text++) fuzz_require((unsigned char)*text >= 32); /* one line, whatever the file holds */
}

void fuzz_quiet(void)
{
    vq_log_set(ignore, NULL, VQ_LOG_DEBUG);
}

void fuzz_touch(const void *data, size_t bytes)
{
    static volatile uint8_t sink;
    const uint8_t *const p = data;
    uint8_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum ^= p[i];
    sink = sum;
    (void)sink;
}

void fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
    abort();
}

static char path[64];

static void remove_file(void)
{
    unlink(path);
}

const char *fuzz_file(const uint8_t *data, size_t bytes)
{
    if (!path[0]) {
        snprintf(path, sizeof path, "/tmp/vitq-fuzz-%ld", (long)getpid());
        atexit(remove_file);
    }
    FILE *const f = fopen(path, "wb");
    fuzz_require(f != NULL);
    fuzz_require(fwrite(data, 1, bytes, f) == bytes);
    fuzz_require(fclose(f) == 0);
    return path;
}
