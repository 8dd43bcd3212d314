/* src/cl on the first OpenCL device there is; skipped (77) where there is none. */
#include "cl_unit.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cl/source.h"

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
        setenv("OCL_ICD_VENDORS", unit_path(""), 1);
        unsetenv("OCL_ICD_FILENAMES");
        cl_clear_log();
        if (vq_device_list(NULL, 0, &count) != VQ_OK || count != 0) _exit(1);
        if (vq_device_open(&dev, NULL) != VQ_ERR_NO_DEVICE || dev) _exit(2);
        _exit(strstr(cl_log, "pocl-opencl-icd") ? 0 : 3);
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
    vq_device *const usual = cl_open("", cl_cache_dir);
    const unsigned caps = vq_device_get_info(usual)->caps;
    if (!(caps & p->cap)) return SKIP;
    setenv("VITQ_KERNEL_DIR", unit_path(""), 1);
    vq_device *const dev = cl_open("", cache);
    if (vq_device_get_info(dev)->caps != (caps & ~p->cap)) return 1;
    if (cl_warnings != 1 || !strstr(cl_log, p->name) || !strstr(cl_log, vq_device_get_info(dev)->name)) return 2;
    if (!strstr(cl_log, p->variant) || !strstr(cl_log, ".log)")) return 3;
    if (!strstr(cl_log, known ? "failed before" : p->verdict)) return 4;
    vq_device *const again = cl_open("", cache);
    return cl_warnings == 0 && vq_device_get_info(again)->caps == vq_device_get_info(dev)->caps ? 0 : 5;
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
        unit_write_text("probe.cl", text);
        free(text);
        snprintf(cache, sizeof cache, "%sprobes%zu", unit_path(""), i / 2);
        const pid_t child = fork(); /* while there is no device, whose threads would not follow */
        assert_true(child >= 0);
        if (child == 0) _exit(meet_bad_probe(p, cache, i % 2));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != SKIP) assert_int_equal(WEXITSTATUS(status), 0);
    }
    remove(unit_write_text("probe.cl", ""));
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
    cl_clear_log();
    assert_int_equal(vq_device_open(&dev, &(vq_device_params){.index = count}), VQ_ERR_NO_DEVICE);
    assert_null(dev);
    dev = cl_open("", NULL);
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
    vq_device *fresh = cl_open("", ""), *warm = cl_open("", NULL), *again = cl_open("", NULL);
    assert_int_equal(vq_device_get_info(fresh)->caps, vq_device_get_info(warm)->caps);
    assert_int_equal(vq_device_get_info(again)->caps, vq_device_get_info(warm)->caps);
    assert_null(strstr(cl_log, "AVX")); /* the third did not probe */
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
    const vq_variant variant = own_variant(unit_write_text("add.cl", add_source));
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
    const vq_variant variant = own_variant(unit_write_text("add.cl", add_source));
    vq_kernel *kernel;
    vq_buf *x;
    assert_int_equal(vq_buf_create(&x, dev, 64), VQ_OK);
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "add", NULL), VQ_OK);
    cl_clear_log();
    const vq_grid grid = {{1}, {1}};
    assert_int_equal(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I64(1)), VQ_ERR_DEVICE);
    assert_non_null(strstr(cl_log, "CL_INVALID_ARG_SIZE"));
    assert_non_null(strstr(cl_log, "test__add"));
    assert_int_not_equal(vq_kernel_get(&kernel, dev, &variant, "subtract", NULL), VQ_OK);
    assert_null(kernel);
    assert_non_null(strstr(cl_log, "subtract"));
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
    const vq_variant variant = own_variant(unit_write_text("add.cl", add_source));
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
    setenv("VITQ_KERNEL_DIR", unit_path(""), 1);
    unit_write_text("t_inc.h", "#define ONE 1\nint t_bad(void)\n{\n    return undeclared_name;\n}\n");
    snprintf(path, sizeof path, "%s",
             unit_write_text(
                 "t_main.cl",
                 "/* a comment */\n#include \"t_inc.h\"\n__kernel void t(__global int *x)\n{\n    *x = ONE;\n}\n"));
    char *text;
    assert_int_equal(vq_source_get(&text, "t_main.cl"), VQ_OK);
    assert_non_null(strstr(text, "#line 1 \"t_inc.h\"\n#define ONE 1\n"));
    assert_non_null(strstr(text, "#line 3 \"t_main.cl\"\n__kernel"));
    free(text);
    const vq_variant variant = own_variant("t_main.cl");
    cl_clear_log();
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", NULL), VQ_ERR_BUILD);
    /* Oclgrind names every source so, and does not follow #line. */
    if (!strstr(cl_log, "input.cl:")) assert_non_null(strstr(cl_log, "t_inc.h:4"));
    assert_non_null(strstr(cl_log, "undeclared_name"));
    assert_non_null(strstr(cl_log, ".log"));
    /* The second time it is known to be broken, even though it could compile now. */
    unit_write_text("t_inc.h", "#define ONE 1\n");
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", NULL), VQ_ERR_BUILD);
    assert_int_equal(vq_kernel_get(&kernel, dev, &variant, "t", "-DOTHER"), VQ_OK);
    unsetenv("VITQ_KERNEL_DIR");
}

static void test_source__stops_endless_includes(void **state)
{
    (void)state;
    char *text;
    setenv("VITQ_KERNEL_DIR", unit_path(""), 1);
    unit_write_text("loop.h", "#include \"loop.h\"\n");
    cl_clear_log();
    assert_int_equal(vq_source_get(&text, "loop.h"), VQ_ERR_FORMAT);
    assert_null(text);
    assert_non_null(strstr(cl_log, "loop.h:1"));
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
    vq_device *dev = cl_open("", cache);
    const vq_variant variant = own_variant(unit_write_text("add.cl", add_source));
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
    snprintf(folder, sizeof folder, "%s", unit_path("deep/cache"));
    assert_true(add_works(folder));
    assert_non_null(strstr(cl_log, "built ")); /* cold */
    assert_true(add_works(folder));
    assert_null(strstr(cl_log, "built "));        /* warm */
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
        assert_true(cl_warnings >= 1);
        assert_non_null(strstr(cl_log, "damaged"));
        assert_non_null(strstr(cl_log, "built "));
        assert_true(add_works(folder));
        assert_int_equal(cl_warnings, 0);
        assert_null(strstr(cl_log, "built "));
    }
    find_file(path, folder, "tmp");
    assert_string_equal(path, "");
}

static void test_cache__is_off_where_it_cannot_be(void **state)
{
    (void)state;
    char under_file[192];
    snprintf(under_file, sizeof under_file, "%s/cache", unit_write_text("plain", "no folder"));
    assert_true(add_works(under_file));
    assert_int_equal(cl_warnings, 0);
    assert_true(add_works(""));
    assert_non_null(strstr(cl_log, "built "));
}

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
    };
    cl_begin();
    const int failed = cmocka_run_group_tests(without, NULL, NULL),
              bad_probes = cmocka_run_group_tests(probes, NULL, NULL);
    if (!cl_has_device()) return failed ? 1 : SKIP;
    return failed + bad_probes + cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
