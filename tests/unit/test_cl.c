/* src/cl on the first OpenCL device there is; skipped (77) where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cl/cl.h"
#include "cl/source.h"
#include "ops/ops_int.h"

#define SKIP 77

static char dir[64];         /* scratch folder of this run */
static char cache_dir[96];   /* in it: the programs of all tests but those of the cache */
static char log_text[65536]; /* what was logged since the last clear_log */
static int num_warnings;

static void keep_log(void *user, vq_log_level level, const char *text)
{
    (void)user;
    const size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s\n", text);
    if (level == VQ_LOG_WARN) num_warnings++;
}

static void clear_log(void)
{
    log_text[0] = '\0';
    num_warnings = 0;
}

static vq_device *open_device(const char *kernels, const char *cache)
{
    vq_device *dev;
    const vq_device_params params = {.kernels = kernels, .cache_dir = cache ? cache : cache_dir, .profile = true};
    clear_log();
    assert_int_equal(vq_device_open(&dev, &params), VQ_OK);
    return dev;
}

/* Writes a file into the scratch folder and returns its path, valid until the next call. */
static const char *write_text(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

static const char add_source[] = "__kernel void add(__global int *x, int count, int step, __global const int *more)\n"
                                 "{\n"
                                 "    const int i = (int)get_global_id(0);\n"
                                 "    if (i < count) x[i] += step + (more ? more[i] : 0) + VQ_P0;\n"
                                 "}\n";

/* A variant of the test's own, whose kernel is a file on disk. */
static vq_variant own_variant(const char *path)
{
    return (vq_variant){(vq_op)0, "test__add", path, 0, "", {5, 0, 0, 0}};
}

static void test_device__none_is_no_error_to_list(void **state)
{
    (void)state;
    int status;
    /* In a child, since the loader reads its settings once. */
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        vq_device *dev = (vq_device *)&status;
        int count = -1;
        setenv("OCL_ICD_VENDORS", dir, 1);
        unsetenv("OCL_ICD_FILENAMES");
        clear_log();
        if (vq_device_list(NULL, 0, &count) != VQ_OK || count != 0) _exit(1);
        if (vq_device_open(&dev, NULL) != VQ_ERR_NO_DEVICE || dev) _exit(2);
        _exit(strstr(log_text, "pocl-opencl-icd") ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

typedef struct bad_probe {
    unsigned cap;
    const char *name, *macro, *body, *variant, *verdict;
} bad_probe;

/* In a process of its own: its exit status, 0 where all is as it should be. */
static int meet_bad_probe(const bad_probe *p, const char *cache, bool known)
{
    int count;
    if (vq_device_list(NULL, 0, &count) != VQ_OK || count == 0) return SKIP;
    vq_device *const usual = open_device("", cache_dir);
    const unsigned caps = vq_device_get_info(usual)->caps;
    if (!(caps & p->cap)) return SKIP;
    setenv("VITQ_KERNEL_DIR", dir, 1);
    vq_device *const dev = open_device("", cache);
    if (vq_device_get_info(dev)->caps != (caps & ~p->cap)) return 1;
    if (num_warnings != 1 || !strstr(log_text, p->name) || !strstr(log_text, vq_device_get_info(dev)->name)) return 2;
    if (!strstr(log_text, p->variant) || !strstr(log_text, ".log)")) return 3;
    if (!strstr(log_text, known ? "failed before" : p->verdict)) return 4;
    vq_device *const again = open_device("", cache);
    return num_warnings == 0 && vq_device_get_info(again)->caps == vq_device_get_info(dev)->caps ? 0 : 5;
}

/* One probe refused by the compiler and one with a wrong answer: both are warned about with the variants that are
 * passed over and the log, by a process that probes and by one that reads the answer from the cache; once in each. */
static void test_probe__failures_are_warned_about(void **state)
{
    static const bad_probe cases[] = {
        {VQ_CAP_AVX2, "AVX2", "VQ_PROBE_AVX2", "#error no", "gemm_s8__wide_avx2", "does not compile"},
        {VQ_CAP_AVX512BW, "AVX-512BW", "VQ_PROBE_AVX512BW",
         "__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)\n"
         "{\n    out[0] = a[0] + b[0] + 12345;\n}",
         "gemm_s8__wide_avx512bw", "wrong answer"}};
    char cache[128], *source, *text;
    (void)state;
    assert_int_equal(vq_source_get(&source, "probe.cl"), VQ_OK);
    for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(cases); i++) {
        const bad_probe *const p = &cases[i / 2];
        int status;
        assert_int_equal(vq_format(&text, "#ifdef %s\n%s\n#else\n%s\n#endif\n", p->macro, p->body, source), VQ_OK);
        write_text("probe.cl", text);
        free(text);
        snprintf(cache, sizeof cache, "%s/probes%zu", dir, i / 2);
        const pid_t child = fork(); /* while there is no device, whose threads would not follow */
        assert_true(child >= 0);
        if (child == 0) _exit(meet_bad_probe(p, cache, i % 2));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != SKIP) assert_int_equal(WEXITSTATUS(status), 0);
    }
    remove(write_text("probe.cl", ""));
    free(source);
}

static void test_device__lists_and_opens(void **state)
{
    (void)state;
    vq_device_info info[2];
    int count;
    vq_device *dev;
    assert_int_equal(vq_device_list(info, 2, &count), VQ_OK);
    assert_true(count >= 1);
    assert_true(info[0].name[0] && info[0].compute_units >= 1 && info[0].max_alloc_bytes > 0);
    assert_int_equal(info[0].caps, 0);
    clear_log();
    assert_int_equal(vq_device_open(&dev, &(vq_device_params){.index = count}), VQ_ERR_NO_DEVICE);
    assert_null(dev);
    dev = open_device("", NULL);
    assert_string_equal(vq_device_get_info(dev)->name, info[0].name);
    assert_int_equal((vq_device_get_info(dev)->caps & VQ_CAP_CPU) != 0, info[0].is_cpu);
    vq_device_destroy(&dev);
    assert_null(dev);
    vq_device_destroy(&dev);
}

/* The probes' answer is the same whether run or read from the cache. */
static void test_probe__cached_equals_run(void **state)
{
    (void)state;
    vq_device *fresh = open_device("", ""), *warm = open_device("", NULL), *again = open_device("", NULL);
    assert_int_equal(vq_device_get_info(fresh)->caps, vq_device_get_info(warm)->caps);
    assert_int_equal(vq_device_get_info(again)->caps, vq_device_get_info(warm)->caps);
    assert_null(strstr(log_text, "AVX")); /* the third did not probe */
    vq_device_destroy(&fresh);
    vq_device_destroy(&warm);
    vq_device_destroy(&again);
}

static void test_buffer__starts_with_zeros(void **state)
{
    vq_device *dev = *state;
    static const size_t sizes[] = {1, 3, 4, 4099, 65536};
    for (size_t i = 0; i < VQ_ARRAY_LEN(sizes); i++) {
        vq_buf *buf;
        uint8_t got[65536];
        memset(got, 0xa5, sizeof got);
        assert_int_equal(vq_buf_create(&buf, dev, sizes[i]), VQ_OK);
        assert_int_equal(vq_buf_read(dev, buf, 0, got, sizes[i]), VQ_OK);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(got[j], 0);
        vq_buf_destroy(&buf);
        assert_null(buf);
        vq_buf_destroy(&buf);
    }
}

static void test_buffer__copies(void **state)
{
    vq_device *dev = *state;
    uint32_t in[64], out[64];
    vq_buf *a, *b;
    for (uint32_t i = 0; i < 64; i++) in[i] = i * 0x01010101u;
    assert_int_equal(vq_buf_create_from(&a, dev, in, sizeof in), VQ_OK);
    assert_int_equal(vq_buf_create(&b, dev, sizeof in), VQ_OK);
    assert_int_equal(vq_buf_fill(dev, b, 8, 0xdeadbeef, sizeof in - 8), VQ_OK);
    assert_int_equal(vq_buf_copy(dev, b, 16, a, 40, 24), VQ_OK);
    assert_int_equal(vq_buf_write(dev, b, 60, in, 4), VQ_OK);
    assert_int_equal(vq_buf_read(dev, b, 0, out, sizeof out), VQ_OK);
    for (uint32_t i = 0; i < 64; i++) {
        const uint32_t want = i < 2 ? 0 : i >= 4 && i < 10 ? in[i + 6] : i == 15 ? in[0] : 0xdeadbeef;
        assert_int_equal(out[i], want);
    }
    vq_buf_destroy(&b);
    vq_buf_destroy(&a);
}

static void test_buffer__refuses_bad_ranges(void **state)
{
    vq_device *dev = *state;
    uint8_t data[16] = {0};
    vq_buf *buf, *bad;
    assert_int_equal(vq_buf_create(&buf, dev, 16), VQ_OK);
    assert_int_equal(vq_buf_read(dev, buf, 8, data, 9), VQ_ERR_INVALID_ARG);
    assert_int_equal(vq_buf_write(dev, buf, 17, data, 0), VQ_ERR_INVALID_ARG);
    assert_int_equal(vq_buf_read(dev, buf, SIZE_MAX, data, 2), VQ_ERR_INVALID_ARG);
    assert_int_equal(vq_buf_fill(dev, buf, 2, 0, 4), VQ_ERR_INVALID_ARG);
    assert_int_equal(vq_buf_copy(dev, buf, 0, NULL, 0, 4), VQ_ERR_INVALID_ARG);
    assert_int_equal(vq_buf_create(&bad, dev, 0), VQ_ERR_INVALID_ARG);
    assert_null(bad);
    assert_int_equal(vq_buf_create(&bad, dev, SIZE_MAX), VQ_ERR_DEVICE_MEMORY);
    assert_null(bad);
    assert_int_equal(vq_buf_view(&bad, dev, buf, 1, 2), VQ_ERR_INVALID_ARG);
    assert_null(bad);
    vq_buf_destroy(&buf);
}

static void test_buffer__view_shares_memory(void **state)
{
    vq_device *dev = *state;
    uint32_t got[2];
    vq_buf *parent, *view;
    assert_int_equal(vq_buf_create(&parent, dev, 3 * VQ_BUF_ALIGN), VQ_OK);
    assert_int_equal(vq_buf_view(&view, dev, parent, VQ_BUF_ALIGN, VQ_BUF_ALIGN), VQ_OK);
    assert_int_equal(vq_buf_fill(dev, view, 0, 7, VQ_BUF_ALIGN), VQ_OK);
    assert_int_equal(vq_buf_read(dev, parent, VQ_BUF_ALIGN - 4, got, 8), VQ_OK);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 7);
    assert_int_equal(vq_buf_read(dev, parent, 2 * VQ_BUF_ALIGN - 4, got, 8), VQ_OK);
    assert_int_equal(got[0], 7);
    assert_int_equal(got[1], 0);
    vq_buf_destroy(&view);
    vq_buf_destroy(&parent);
}

static void test_launch__passes_arguments(void **state)
{
    vq_device *dev = *state;
    const vq_variant variant = own_variant(write_text("add.cl", add_source));
    int32_t got[100], more[100];
    vq_buf *x, *y;
    vq_kernel *kernel, *same;
    for (int i = 0; i < 100; i++) more[i] = i;
    assert_int_equal(vq_buf_create(&x, dev, sizeof got), VQ_OK);
    assert_int_equal(vq_buf_create_from(&y, dev, more, sizeof more), VQ_OK);
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "add", NULL), VQ_OK);
    assert_int_equal(vq_kernel_get(&same, dev, &variant, "add", ""), VQ_OK);
    assert_ptr_equal(kernel, same);
    const vq_grid grid = {{7}, {16}};
    assert_int_equal(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(99), VQ_A_I32(1000), VQ_A_BUF(NULL)), VQ_OK);
    assert_int_equal(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(100), VQ_A_I32(100), VQ_A_BUF(y)), VQ_OK);
    assert_int_equal(vq_buf_read(dev, x, 0, got, sizeof got), VQ_OK);
    for (int i = 0; i < 99; i++) assert_int_equal(got[i], 1000 + 5 + 100 + i + 5);
    assert_int_equal(got[99], 100 + 99 + 5);
    vq_buf_destroy(&y);
    vq_buf_destroy(&x);
}

static void test_launch__reports_bad_arguments(void **state)
{
    vq_device *dev = *state;
    const vq_variant variant = own_variant(write_text("add.cl", add_source));
    vq_kernel *kernel;
    vq_buf *x;
    assert_int_equal(vq_buf_create(&x, dev, 64), VQ_OK);
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "add", NULL), VQ_OK);
    clear_log();
    const vq_grid grid = {{1}, {1}};
    assert_int_equal(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I64(1)), VQ_ERR_DEVICE);
    assert_non_null(strstr(log_text, "CL_INVALID_ARG_SIZE"));
    assert_non_null(strstr(log_text, "test__add"));
    assert_int_not_equal(vq_kernel_get(&kernel, dev, &variant, "subtract", NULL), VQ_OK);
    assert_null(kernel);
    assert_non_null(strstr(log_text, "subtract"));
    assert_int_equal(vq_kernel_get(&kernel, dev, NULL, "add", NULL), VQ_ERR_UNSUPPORTED);
    vq_buf_destroy(&x);
}

static void count_add(void *user, const char *function, size_t launches, double seconds)
{
    if (!strcmp(function, "add") && seconds >= 0 && seconds < 10) *(size_t *)user += launches;
}

typedef struct thread_work {
    vq_device *dev;
    vq_kernel *kernel;
    vq_buf *x;
    vq_status status;
} thread_work;

static void *launch_often(void *arg)
{
    thread_work *w = arg;
    for (int i = 0; i < 400 && w->status == VQ_OK; i++) {
        w->status = VQ_LAUNCH(w->dev, w->kernel, ((vq_grid){{4}, {8}}), VQ_A_BUF(w->x), VQ_A_I32(32), VQ_A_I32(i % 3),
                              VQ_A_BUF(NULL));
    }
    return NULL;
}

/* Four threads share one kernel object: arguments must not mix, and the profile counts every launch. */
static void test_launch__threads_and_profile(void **state)
{
    vq_device *dev = *state;
    const vq_variant variant = own_variant(write_text("add.cl", add_source));
    thread_work work[4];
    pthread_t threads[4];
    vq_kernel *kernel;
    size_t launches = 0;
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "add", NULL), VQ_OK);
    assert_int_equal(vq_device_profile(dev, NULL, NULL), VQ_OK);
    for (int t = 0; t < 4; t++) {
        work[t] = (thread_work){dev, kernel, NULL, VQ_OK};
        assert_int_equal(vq_buf_create(&work[t].x, dev, 32 * sizeof(int32_t)), VQ_OK);
        assert_int_equal(pthread_create(&threads[t], NULL, launch_often, &work[t]), 0);
    }
    for (int t = 0; t < 4; t++) assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (int t = 0; t < 4; t++) {
        int32_t got[32];
        assert_int_equal(work[t].status, VQ_OK);
        assert_int_equal(vq_buf_read(dev, work[t].x, 0, got, sizeof got), VQ_OK);
        for (int i = 0; i < 32; i++) assert_int_equal(got[i], 400 * 5 + 399);
        vq_buf_destroy(&work[t].x);
    }
    assert_int_equal(vq_device_profile(dev, count_add, &launches), VQ_OK);
    assert_int_equal(launches, 1600);
    launches = 0;
    assert_int_equal(vq_device_profile(dev, count_add, &launches), VQ_OK);
    assert_int_equal(launches, 0);
}

/* Includes are inlined, and a mistake is reported at its place in the file that holds it. */
static void test_source__marks_lines(void **state)
{
    vq_device *dev = *state;
    char path[128];
    vq_kernel *kernel;
    setenv("VITQ_KERNEL_DIR", dir, 1);
    write_text("t_inc.h", "#define ONE 1\nint t_bad(void)\n{\n    return undeclared_name;\n}\n");
    snprintf(
        path, sizeof path, "%s",
        write_text("t_main.cl",
                   "/* a comment */\n#include \"t_inc.h\"\n__kernel void t(__global int *x)\n{\n    *x = ONE;\n}\n"));
    char *text;
    assert_int_equal(vq_source_get(&text, "t_main.cl"), VQ_OK);
    assert_non_null(strstr(text, "#line 1 \"t_inc.h\"\n#define ONE 1\n"));
    assert_non_null(strstr(text, "#line 3 \"t_main.cl\"\n__kernel"));
    free(text);
    const vq_variant variant = own_variant("t_main.cl");
    clear_log();
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", NULL), VQ_ERR_BUILD);
    /* Oclgrind names every source so, and does not follow #line. */
    if (!strstr(log_text, "input.cl:")) assert_non_null(strstr(log_text, "t_inc.h:4"));
    assert_non_null(strstr(log_text, "undeclared_name"));
    assert_non_null(strstr(log_text, ".log"));
    /* The second time it is known to be broken, even though it could compile now. */
    write_text("t_inc.h", "#define ONE 1\n");
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", NULL), VQ_ERR_BUILD);
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", "-DOTHER"), VQ_OK);
    unsetenv("VITQ_KERNEL_DIR");
}

static void test_source__stops_endless_includes(void **state)
{
    (void)state;
    char *text;
    setenv("VITQ_KERNEL_DIR", dir, 1);
    write_text("loop.h", "#include \"loop.h\"\n");
    clear_log();
    assert_int_equal(vq_source_get(&text, "loop.h"), VQ_ERR_FORMAT);
    assert_null(text);
    assert_non_null(strstr(log_text, "loop.h:1"));
    unsetenv("VITQ_KERNEL_DIR");
    assert_int_equal(vq_source_get(&text, "loop.h"), VQ_ERR_BUILD);
}

/* The first entry of a folder whose name ends so, "" where there is none. */
static void find_file(char path[512], const char *folder, const char *suffix)
{
    DIR *d = opendir(folder);
    path[0] = '\0';
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        const size_t len = strlen(e->d_name), end = strlen(suffix);
        if (len > end && !strcmp(e->d_name + len - end, suffix)) snprintf(path, 512, "%s/%s", folder, e->d_name);
    }
    closedir(d);
}

/* Runs the add kernel on a device with its own cache; false where the result is wrong. */
static bool add_works(const char *cache)
{
    vq_device *dev = open_device("", cache);
    const vq_variant variant = own_variant(write_text("add.cl", add_source));
    vq_kernel *kernel;
    vq_buf *x;
    int32_t got = 0;
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "add", NULL), VQ_OK);
    assert_int_equal(vq_buf_create(&x, dev, sizeof got), VQ_OK);
    const vq_status status =
        VQ_LAUNCH(dev, kernel, ((vq_grid){{1}, {1}}), VQ_A_BUF(x), VQ_A_I32(1), VQ_A_I32(37), VQ_A_BUF(NULL));
    assert_int_equal(vq_buf_read(dev, x, 0, &got, sizeof got), VQ_OK);
    vq_buf_destroy(&x);
    vq_device_destroy(&dev);
    return status == VQ_OK && got == 42;
}

static void damage(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 1, f);
    assert_int_equal(fclose(f), 0);
}

static void test_cache__is_used_and_repairs_itself(void **state)
{
    (void)state;
    char folder[128], path[512];
    snprintf(folder, sizeof folder, "%s/deep/cache", dir);
    assert_true(add_works(folder));
    assert_non_null(strstr(log_text, "built ")); /* cold */
    assert_true(add_works(folder));
    assert_null(strstr(log_text, "built "));      /* warm */
    static const long places[] = {2, 20, 70, -1}; /* magic, checksum, data, end */
    for (size_t i = 0; i < VQ_ARRAY_LEN(places); i++) {
        DIR *d = opendir(folder);
        for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
            if (!strstr(e->d_name, ".clbin")) continue;
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            /* The probes' entry has four bytes of data. */
            damage(path, places[i] > 67 ? 65 : places[i]);
        }
        closedir(d);
        assert_true(add_works(folder));
        assert_true(num_warnings >= 1);
        assert_non_null(strstr(log_text, "damaged"));
        assert_non_null(strstr(log_text, "built "));
        assert_true(add_works(folder));
        assert_int_equal(num_warnings, 0);
        assert_null(strstr(log_text, "built "));
    }
    find_file(path, folder, "tmp");
    assert_string_equal(path, "");
}

static void test_cache__is_off_where_it_cannot_be(void **state)
{
    (void)state;
    char under_file[192];
    snprintf(under_file, sizeof under_file, "%s/cache", write_text("plain", "no folder"));
    assert_true(add_works(under_file));
    assert_int_equal(num_warnings, 0);
    assert_true(add_works(""));
    assert_non_null(strstr(log_text, "built "));
}

static void test_registry__rows_are_well_formed(void **state)
{
    (void)state;
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const char *name = vq_op_name((vq_op)op);
        const vq_variant *const *v = vq_variants((vq_op)op);
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s__", name);
        if (v[0] && v[0]->needs != 0) fail_msg("%s: the first row needs 0x%x, must need nothing", name, v[0]->needs);
        for (; *v; v++) {
            const vq_variant *found;
            char *text;
            assert_int_equal((*v)->op, op);
            if (strncmp((*v)->name, prefix, strlen(prefix)) != 0)
                fail_msg("%s does not start with %s", (*v)->name, prefix);
            /* Found by its name, and not another row of the same name. */
            assert_int_equal(vq_variant_find(&found, (*v)->name), VQ_OK);
            assert_ptr_equal(found, *v);
            assert_int_equal(vq_source_get(&text, (*v)->file), VQ_OK);
            free(text);
        }
    }
    const vq_variant *found;
    assert_int_equal(vq_variant_find(&found, "no_such_variant"), VQ_ERR_INVALID_ARG);
    assert_null(found);
}

static void test_choice__portable(void **state)
{
    (void)state;
    vq_device *dev = open_device("portable", NULL);
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const vq_variant *v = vq_variant_choose(dev, (vq_op)op);
        if (v && !strstr(v->name, "__portable")) fail_msg("%s chosen for portable", v->name);
    }
    vq_device_destroy(&dev);
}

/* "wide" leaves out the rows for one instruction set; an op without such a row gets one that needs no more. */
static void test_choice__wide(void **state)
{
    (void)state;
    vq_device *dev = open_device("wide", NULL);
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const vq_variant *v = vq_variant_choose(dev, (vq_op)op);
        if (v && (v->needs & ~(unsigned)VQ_CAP_CPU)) fail_msg("%s chosen for wide, needs 0x%x", v->name, v->needs);
        const char *end = v ? strstr(v->name, "__") : NULL;
        if (!v || !vq_device_get_info(dev)->is_cpu || !strcmp(end, "__wide")) continue;
        for (const vq_variant *const *row = vq_variants((vq_op)op); *row; row++) {
            if (!strcmp(strstr((*row)->name, "__"), "__wide")) fail_msg("%s chosen, not %s", v->name, (*row)->name);
        }
    }
    vq_device_destroy(&dev);
}

static void test_choice__by_name_and_force(void **state)
{
    (void)state;
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const vq_variant *const *v = vq_variants((vq_op)op);
        if (!v[0] || !v[1]) continue;
        vq_device *dev = open_device(v[0]->name, NULL);
        assert_ptr_equal(vq_variant_choose(dev, (vq_op)op), v[0]);
        assert_non_null(strstr(vq_device_variants(dev), v[0]->name));
        if (vq_variant_eligible(dev, v[1])) {
            assert_int_equal(vq_variant_force(dev, (vq_op)op, v[1]), VQ_OK);
            assert_ptr_equal(vq_variant_choose(dev, (vq_op)op), v[1]);
        } else {
            assert_int_equal(vq_variant_force(dev, (vq_op)op, v[1]), VQ_ERR_UNSUPPORTED);
        }
        assert_int_equal(vq_variant_force(dev, (vq_op)op, NULL), VQ_OK);
        assert_ptr_equal(vq_variant_choose(dev, (vq_op)op), v[0]);
        assert_int_equal(vq_variant_force(dev, (vq_op)((op + 1) % VQ_OP_COUNT), v[0]), VQ_ERR_INVALID_ARG);
        vq_device_destroy(&dev);
        return;
    }
    skip();
}

static void test_choice__refuses_unknown_names(void **state)
{
    (void)state;
    vq_device *dev;
    clear_log();
    assert_int_equal(vq_device_open(&dev, &(vq_device_params){.kernels = "portable,nonsense", .cache_dir = cache_dir}),
                     VQ_ERR_INVALID_ARG);
    assert_null(dev);
    assert_non_null(strstr(log_text, "\"nonsense\""));
    const vq_variant *const *v = vq_variants((vq_op)0);
    if (v[0]) assert_non_null(strstr(log_text, v[0]->name));
}

/* ---- the tuning table ------------------------------------------------------------------------------------------- */

/* An op whose weakest variant is not the one chosen; skips the test where there is none. */
static vq_op op_with_choice(vq_device *dev)
{
    for (int op = 0; op < VQ_OP_COUNT; op++)
        if (vq_variant_choose(dev, (vq_op)op) != vq_variants((vq_op)op)[0]) return (vq_op)op;
    vq_device_destroy(&dev);
    skip();
    return (vq_op)0;
}

/* A table of one op in a cache folder of its own; *path is its file. */
static vq_op make_tuning(const char *cache, char **path)
{
    vq_device *dev = open_device("", cache);
    const vq_op op = op_with_choice(dev);
    const vq_variant *const weakest = vq_variants(op)[0];
    *path = vq_tuning_path(dev);
    assert_non_null(*path);
    assert_int_equal(vq_tuning_set(dev, op, weakest), VQ_OK);
    assert_ptr_equal(vq_variant_choose(dev, op), weakest);
    assert_int_equal(vq_tuning_set(dev, (vq_op)((op + 1) % VQ_OP_COUNT), weakest), VQ_ERR_UNSUPPORTED);
    assert_int_equal(vq_tuning_save(dev), VQ_OK);
    vq_device_destroy(&dev);
    return op;
}

static const char *tuning_cache(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/tuning", dir);
    return path;
}

static void test_tuning__is_read_and_overridden(void **state)
{
    (void)state;
    char *path;
    const vq_op op = make_tuning(tuning_cache(), &path);
    const vq_variant *const weakest = vq_variants(op)[0], *strongest;
    vq_device *dev = open_device("", tuning_cache());
    assert_ptr_equal(vq_variant_choose(dev, op), weakest);
    vq_device_destroy(&dev);
    setenv("VITQ_TUNING", "off", 1);
    dev = open_device("", tuning_cache());
    unsetenv("VITQ_TUNING");
    strongest = vq_variant_choose(dev, op);
    assert_ptr_not_equal(strongest, weakest);
    vq_device_destroy(&dev);
    dev = open_device(strongest->name, tuning_cache());
    assert_ptr_equal(vq_variant_choose(dev, op), strongest);
    vq_device_destroy(&dev);
    free(path);
}

static void test_tuning__damaged_is_ignored_and_written_anew(void **state)
{
    (void)state;
    static const char *const damaged[] = {"",
                                          "{",
                                          "[]",
                                          "{\"format\": \"vitq-tuning 0\"}",
                                          "{\"format\": \"vitq-tuning 1\"}",
                                          ("{\"format\": \"vitq-tuning 1\", \"device\": \"another\", \"driver\": \"\", "
                                           "\"variants\": {}, \"clblast\": {}}")};
    char *path, *text;
    size_t bytes;
    const vq_op op = make_tuning(tuning_cache(), &path);
    assert_int_equal(vq_file_read(&text, &bytes, path, 1 << 20), VQ_OK);
    for (size_t i = 0; i < VQ_ARRAY_LEN(damaged) + 3; i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        if (i < VQ_ARRAY_LEN(damaged)) {
            fputs(damaged[i], f);
        } else { /* an op's name for another's, a set that is none, a text cut short */
            const size_t kind = i - VQ_ARRAY_LEN(damaged);
            char *const at = strstr(text, kind == 1 ? "\"clblast\":\t{" : "__");
            assert_non_null(at);
            const int front = (int)(at - text) + (kind == 1 ? 12 : 0);
            fprintf(f, "%.*s%s%s", front, text,
                    kind == 0   ? "x"
                    : kind == 1 ? "\"Xgemm\": 99"
                                : "",
                    kind == 2 ? "" : text + front);
        }
        fclose(f);
        vq_device *dev = open_device("", tuning_cache());
        assert_int_equal(num_warnings, 1);
        assert_non_null(strstr(log_text, "tuning table ignored"));
        assert_ptr_not_equal(vq_variant_choose(dev, op), vq_variants(op)[0]);
        vq_device_destroy(&dev);
        dev = open_device("", tuning_cache());
        assert_int_equal(num_warnings, 0);
        vq_device_destroy(&dev);
    }
    free(text);
    free(path);
}

/* A row that the compiler refuses is passed over with one warning, and the next weaker one is used. */
static void test_choice__passes_over_broken_rows(void **state)
{
    (void)state;
    vq_device *dev = open_device("", NULL);
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const vq_variant *const *rows = vq_variants((vq_op)op);
        const vq_variant *best = vq_variant_choose(dev, (vq_op)op);
        if (!best || best == rows[0] || !strcmp(best->file, rows[0]->file)) continue;
        vq_device_destroy(&dev);
        write_text(best->file, "this is no kernel\n");
        setenv("VITQ_KERNEL_DIR", dir, 1);
        dev = open_device("", NULL);
        const vq_variant *chosen = vq_variant_choose(dev, (vq_op)op);
        unsetenv("VITQ_KERNEL_DIR");
        assert_ptr_not_equal(chosen, best);
        assert_string_not_equal(chosen->file, best->file);
        assert_true(num_warnings >= 1);
        assert_non_null(strstr(log_text, best->name));
        assert_non_null(strstr(log_text, "passed over"));
        assert_non_null(strstr(log_text, ".log"));
        const int before = num_warnings;
        assert_ptr_equal(vq_variant_choose(dev, (vq_op)op), chosen);
        assert_int_equal(num_warnings, before);
        vq_device_destroy(&dev);
        return;
    }
    vq_device_destroy(&dev);
    skip();
}

/* A compiler that refuses packed weights gets bytes; one that refuses more, a weaker variant: warnings, no errors. */
static void test_gemm__falls_back_where_a_form_does_not_compile(void **state)
{
    static const struct {
        const char *refuses;
        bool packs;
        int warnings; /* at least */
    } cases[] = {{"#if 0", true, 0}, {"#if W_PACKED", false, 1}, {"#if W_PACKED || EPILOGUE == 3", false, 2}};
    static const int8_t w[32 * 8];
    static const int32_t ints[32];
    uint8_t shift[32];
    const vq_gemm_s8_weights weights = {.n = 32,
                                        .k = 8,
                                        .a_planes = 1,
                                        .a_max = 15,
                                        .w_abs_max = 7,
                                        .w = w,
                                        .bias = ints,
                                        .mult = ints,
                                        .zero = ints,
                                        .shift = shift,
                                        .epilogue = VQ_GEMM_SET};
    (void)state;
    memset(shift, 33, sizeof shift);
    vq_device *dev = open_device("", NULL);
    const vq_variant *const best = vq_variant_choose(dev, VQ_OP_GEMM_S8);
    vq_device_destroy(&dev);
    if (best == vq_variants(VQ_OP_GEMM_S8)[0] || !vq_variant_is_wide(best)) skip();
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        char *source, *text;
        size_t bytes;
        vq_gemm_s8 *op;
        assert_int_equal(vq_file_read(&source, &bytes, VQ_SOURCE_DIR "/kernels/gemm_s8_wide.cl", 1 << 20), VQ_OK);
        assert_int_equal(vq_format(&text, "%s\n#error refused\n#endif\n%s", cases[i].refuses, source), VQ_OK);
        write_text("gemm_s8_wide.cl", text);
        free(text);
        free(source);
        setenv("VITQ_KERNEL_DIR", dir, 1);
        dev = open_device("", NULL);
        assert_int_equal(vq_gemm_s8_create(&op, dev, &weights, VQ_STORAGE_DEFAULT), VQ_OK);
        unsetenv("VITQ_KERNEL_DIR");
        assert_int_equal(vq_gemm_s8_is_packed(op), cases[i].packs);
        assert_true(cases[i].warnings ? num_warnings >= cases[i].warnings : num_warnings == 0);
        if (i > 0) assert_non_null(strstr(log_text, "passed over"));
        vq_gemm_s8_destroy(&op);
        vq_device_destroy(&dev);
    }
    remove(write_text("gemm_s8_wide.cl", ""));
}

/* C = alpha A op(B) + beta C for both orders of B and a batch, against plain sums. */
static void test_clblast__sgemm(void **state)
{
    vq_device *dev = *state;
    enum { M = 5, N = 7, K = 9, Z = 3, LDC = 8 };
    float a[Z * M * K], b[Z * N * K], c[Z * M * LDC], got[Z * M * LDC];
    vq_rng rng;
    vq_rng_seed(&rng, 42);
    for (size_t i = 0; i < VQ_ARRAY_LEN(a); i++) a[i] = vq_rng_normal(&rng);
    for (size_t i = 0; i < VQ_ARRAY_LEN(b); i++) b[i] = vq_rng_normal(&rng);
    for (size_t i = 0; i < VQ_ARRAY_LEN(c); i++) c[i] = vq_rng_normal(&rng);
    if (!(vq_device_get_info(dev)->caps & VQ_CAP_CLBLAST)) skip();
    for (int test = 0; test < 4; test++) {
        const bool trans = test & 1;
        const int batch = test & 2 ? Z : 1;
        vq_buf *da, *db, *dc;
        assert_int_equal(vq_buf_create_from(&da, dev, a, sizeof a), VQ_OK);
        assert_int_equal(vq_buf_create_from(&db, dev, b, sizeof b), VQ_OK);
        assert_int_equal(vq_buf_create_from(&dc, dev, c, sizeof c), VQ_OK);
        vq_clblast_sgemm g = {.a = da,
                              .b = db,
                              .c = dc,
                              .m = M,
                              .n = N,
                              .k = K,
                              .lda = K,
                              .ldb = trans ? K : N,
                              .ldc = LDC,
                              .trans_b = trans,
                              .alpha = 0.5f,
                              .beta = 2,
                              .batch = batch,
                              .a_stride = M * K,
                              .b_stride = N * K,
                              .c_stride = M * LDC};
        assert_int_equal(vq_clblast_run(dev, &g), VQ_OK);
        assert_int_equal(vq_buf_read(dev, dc, 0, got, sizeof got), VQ_OK);
        for (int i = 0; i < Z * M * LDC; i++) {
            const int z = i / (M * LDC), m = i / LDC % M, n = i % LDC;
            double want = c[i];
            if (n < N && z < batch) {
                want *= 2;
                for (int k = 0; k < K; k++) {
                    want += 0.5 * a[(z * M + m) * K + k] * b[z * N * K + (trans ? n * K + k : k * N + n)];
                }
            }
            if (!(got[i] - want < 1e-5 && want - got[i] < 1e-5))
                fail_msg("test %d: [%d] is %g, not %g", test, i, got[i], want);
        }
        g.ldc = N - 1;
        assert_int_equal(vq_clblast_run(dev, &g), VQ_ERR_INVALID_ARG);
        g.ldc = 100 * LDC;
        assert_int_equal(vq_clblast_run(dev, &g), VQ_ERR_SHAPE);
        vq_buf_destroy(&dc);
        vq_buf_destroy(&db);
        vq_buf_destroy(&da);
    }
}

/* Other parameters than CLBlast's own give the same products. Last of all: they hold for this process. */
static void test_clblast__parameter_sets(void **state)
{
    vq_device *dev = *state;
    for (int k = 0; k < VQ_CLBLAST_KERNELS; k++) {
        const vq_clblast_kernel kernel = (vq_clblast_kernel)k;
        assert_int_equal(vq_clblast_use_set(dev, kernel, vq_clblast_num_sets(kernel)), VQ_ERR_INVALID_ARG);
        assert_int_equal(vq_clblast_use_set(dev, kernel, -2), VQ_ERR_INVALID_ARG);
    }
    assert_int_equal(vq_clblast_use_set(dev, VQ_CLBLAST_XGEMM_DIRECT, 0), VQ_OK);
    test_clblast__sgemm(state);
}

static int setup_device(void **state)
{
    *state = open_device("", NULL);
    return 0;
}

static int destroy_device(void **state)
{
    vq_device *dev = *state;
    vq_device_destroy(&dev);
    return 0;
}

static void remove_dir(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", dir);
}

#define WITH_DEVICE(f) cmocka_unit_test_setup_teardown(f, setup_device, destroy_device)

int main(void)
{
    const struct CMUnitTest without[] = {cmocka_unit_test(test_device__none_is_no_error_to_list)};
    const struct CMUnitTest probes[] = {cmocka_unit_test(test_probe__failures_are_warned_about)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device__lists_and_opens),
        cmocka_unit_test(test_probe__cached_equals_run),
        WITH_DEVICE(test_buffer__starts_with_zeros),
        WITH_DEVICE(test_buffer__copies),
        WITH_DEVICE(test_buffer__refuses_bad_ranges),
        WITH_DEVICE(test_buffer__view_shares_memory),
        WITH_DEVICE(test_launch__passes_arguments),
        WITH_DEVICE(test_launch__reports_bad_arguments),
        WITH_DEVICE(test_launch__threads_and_profile),
        WITH_DEVICE(test_source__marks_lines),
        cmocka_unit_test(test_source__stops_endless_includes),
        cmocka_unit_test(test_cache__is_used_and_repairs_itself),
        cmocka_unit_test(test_cache__is_off_where_it_cannot_be),
        cmocka_unit_test(test_registry__rows_are_well_formed),
        cmocka_unit_test(test_choice__portable),
        cmocka_unit_test(test_choice__wide),
        cmocka_unit_test(test_choice__by_name_and_force),
        cmocka_unit_test(test_choice__refuses_unknown_names),
        cmocka_unit_test(test_tuning__is_read_and_overridden),
        cmocka_unit_test(test_tuning__damaged_is_ignored_and_written_anew),
        cmocka_unit_test(test_choice__passes_over_broken_rows),
        cmocka_unit_test(test_gemm__falls_back_where_a_form_does_not_compile),
        WITH_DEVICE(test_clblast__sgemm),
        WITH_DEVICE(test_clblast__parameter_sets),
    };
    int count;
    snprintf(dir, sizeof dir, "/tmp/vitq_test_cl_XXXXXX");
    if (!mkdtemp(dir)) return 1;
    snprintf(cache_dir, sizeof cache_dir, "%s/cache", dir);
    unsetenv("VITQ_KERNELS");
    unsetenv("VITQ_KERNEL_DIR");
    vq_log_set(keep_log, NULL, VQ_LOG_DEBUG);
    int failed = cmocka_run_group_tests(without, NULL, NULL);
    const int bad_probes = cmocka_run_group_tests(probes, NULL, NULL);
    if (vq_device_list(NULL, 0, &count) != VQ_OK || count == 0) {
        remove_dir();
        if (!failed) printf("no OpenCL device: the rest is skipped\n");
        return failed ? 1 : SKIP;
    }
    failed += bad_probes + cmocka_run_group_tests(tests, NULL, NULL);
    remove_dir();
    return failed ? 1 : 0;
}
