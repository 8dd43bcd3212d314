/* Runs a fuzz target without libFuzzer: every file of its corpus as it is, every prefix of the small ones, then a fixed
 * number of mutations of each, the same on every machine.
 * usage: fuzz_NAME [--runs N] [--seed N] [--only RUN] FILE-OR-FOLDER...    (N per file; --only repeats one run) */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/file.h"
#include "fuzz.h"

enum { MAX_BYTES = 1 << 20, MAX_FILES = 1000, SECONDS = 30, PREFIXES = 2048 };

static char where[700]; /* what to say when the target dies */

static void on_signal(int number)
{
    /* Only async-signal-safe calls. */
    static const char hang[] = "fuzz: too slow: ", crash[] = "fuzz: died on: ";
    const char *const text = number == SIGALRM ? hang : crash;
    if (write(2, text, strlen(text)) < 0 || write(2, where, strlen(where)) < 0) _exit(3);
    _exit(2);
}

static uint32_t odd_number(vq_rng *rng)
{
    static const uint32_t odd[] = {0,      1,      0x7f,    0x80,       0xff,       0x100,     0x7fff,
                                   0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
    return vq_rng_u32(rng) & 3 ? odd[vq_rng_below(rng, VQ_ARRAY_LEN(odd))] : vq_rng_u32(rng);
}

static void put_number(uint8_t *data, size_t bytes, vq_rng *rng)
{
    const uint32_t v = odd_number(rng), size = 1u << vq_rng_below(rng, 3), big = vq_rng_u32(rng) & 1;
    const size_t at = vq_rng_below(rng, (uint32_t)bytes);
    for (uint32_t i = 0; i < size && at + i < bytes; i++) data[at + i] = (uint8_t)(v >> 8 * (big ? size - 1 - i : i));
}

/* Copies a run of bytes to another place, over what is there or between it. */
static size_t copy_run(uint8_t *data, size_t bytes, vq_rng *rng)
{
    const size_t from = vq_rng_below(rng, (uint32_t)bytes), to = vq_rng_below(rng, (uint32_t)bytes);
    size_t n = 1 + vq_rng_below(rng, 64);
    n = VQ_MIN(n, bytes - VQ_MAX(from, to));
    if ((vq_rng_u32(rng) & 1) && bytes + n <= MAX_BYTES) {
        uint8_t run[64];
        memcpy(run, data + from, n);
        memmove(data + to + n, data + to, bytes - to);
        memcpy(data + to, run, n);
        return bytes + n;
    }
    memmove(data + to, data + from, n);
    return bytes;
}

static size_t cut_run(uint8_t *data, size_t bytes, vq_rng *rng)
{
    const size_t at = vq_rng_below(rng, (uint32_t)bytes), length = 1 + vq_rng_below(rng, 64);
    const size_t n = VQ_MIN(length, bytes - at);
    memmove(data + at, data + at + n, bytes - at - n);
    return bytes - n;
}

/* Digits matter in JSON and CSV. */
static void change_digit(uint8_t *data, size_t bytes, vq_rng *rng)
{
    size_t at = vq_rng_below(rng, (uint32_t)bytes);
    for (size_t i = 0; i < bytes; i++, at = (at + 1) % bytes)
        if (data[at] >= '0' && data[at] <= '9') {
            data[at] = (uint8_t)("0123456789-e."[vq_rng_below(rng, 13)]);
            return;
        }
}

static size_t mutate(uint8_t *data, size_t bytes, vq_rng *rng)
{
    const uint32_t steps = 1 + vq_rng_below(rng, 6);
    for (uint32_t i = 0; i < steps && bytes; i++) {
        switch (vq_rng_below(rng, 7)) {
        case 0: data[vq_rng_below(rng, (uint32_t)bytes)] ^= (uint8_t)(1u << vq_rng_below(rng, 8)); break;
        case 1: data[vq_rng_below(rng, (uint32_t)bytes)] = (uint8_t)vq_rng_u32(rng); break;
        case 2: put_number(data, bytes, rng); break;
        case 3: bytes = copy_run(data, bytes, rng); break;
        case 4: bytes = cut_run(data, bytes, rng); break;
        case 5: change_digit(data, bytes, rng); break;
        default:
            if (vq_rng_below(rng, 8) == 0) bytes = vq_rng_below(rng, (uint32_t)bytes);
            break;
        }
    }
    return bytes;
}

/* A copy of exactly this size, so that a sanitizer sees the first byte read too far. */
static void run_once(const uint8_t *data, size_t bytes)
{
    uint8_t *const copy = malloc(bytes ? bytes : 1);
    if (!copy) abort();
    memcpy(copy, data, bytes);
    alarm(SECONDS);
    LLVMFuzzerTestOneInput(copy, bytes);
    alarm(0);
    free(copy);
}

static void run_file(const char *path, long runs, uint64_t seed, long only)
{
    static uint8_t work[MAX_BYTES];
    char *text;
    size_t bytes;
    if (vq_file_read(&text, &bytes, path, MAX_BYTES) != VQ_OK) exit(1);
    snprintf(where, sizeof where, "%s\n", path);
    if (only < 0) run_once((const uint8_t *)text, bytes);
    for (size_t n = 0; n < bytes && bytes <= PREFIXES && only < 0; n++) {
        snprintf(where, sizeof where, "%s, its first %zu bytes\n", path, n);
        run_once((const uint8_t *)text, n);
    }
    for (long i = only < 0 ? 0 : only; i < (only < 0 ? runs : only + 1); i++) {
        vq_rng rng;
        vq_rng_seed(&rng, seed + (uint64_t)i);
        memcpy(work, text, bytes);
        const size_t n = mutate(work, bytes, &rng);
        snprintf(where, sizeof where, "--seed %llu --only %ld %s\n", (unsigned long long)seed, i, path);
        run_once(work, n);
    }
    free(text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int run_folder(const char *path, long runs, uint64_t seed, long only)
{
    char *names[MAX_FILES];
    int count = 0;
    DIR *const dir = opendir(path);
    for (const struct dirent *e = dir ? readdir(dir) : NULL; e && count < MAX_FILES; e = readdir(dir))
        if (e->d_name[0] != '.' && vq_path_join(&names[count], path, e->d_name) == VQ_OK) count++;
    if (dir) closedir(dir);
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        run_file(names[i], runs, seed, only);
        free(names[i]);
    }
    return count;
}

int main(int argc, char **argv)
{
    long runs = 200, only = -1;
    uint64_t seed = 1;
    int files = 0;
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = strtol(argv[++i], NULL, 10);
        else if (vq_is_dir(argv[i]))
            files += run_folder(argv[i], runs, seed, only);
        else {
            run_file(argv[i], runs, seed, only);
            files++;
        }
    }
    printf("%d files, %ld mutations of each, seed %llu\n", files, runs, (unsigned long long)seed);
    return files ? 0 : 1;
}
