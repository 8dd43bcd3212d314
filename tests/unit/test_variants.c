/* Which kernel variant an op gets: the registry, VITQ_KERNELS, tuning tables, rows that do not compile; CLBlast.
 * Skipped (77) where there is no OpenCL device. */
#include "cl_unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cl/source.h"
#include "ops/ops_int.h"

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
    vq_device *dev = cl_open("portable", NULL);
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
    vq_device *dev = cl_open("wide", NULL);
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
        vq_device *dev = cl_open(v[0]->name, NULL);
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
    cl_clear_log();
    assert_int_equal(
        vq_device_open(&dev, &(vq_device_params){.kernels = "portable,nonsense", .cache_dir = cl_cache_dir}),
        VQ_ERR_INVALID_ARG);
    assert_null(dev);
    assert_non_null(strstr(cl_log, "\"nonsense\""));
    const vq_variant *const *v = vq_variants((vq_op)0);
    if (v[0]) assert_non_null(strstr(cl_log, v[0]->name));
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
    vq_device *dev = cl_open("", cache);
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
    snprintf(path, sizeof path, "%s", unit_path("tuning"));
    return path;
}

static void test_tuning__is_read_and_overridden(void **state)
{
    (void)state;
    char *path;
    const vq_op op = make_tuning(tuning_cache(), &path);
    const vq_variant *const weakest = vq_variants(op)[0], *strongest;
    vq_device *dev = cl_open("", tuning_cache());
    assert_ptr_equal(vq_variant_choose(dev, op), weakest);
    vq_device_destroy(&dev);
    setenv("VITQ_TUNING", "off", 1);
    dev = cl_open("", tuning_cache());
    unsetenv("VITQ_TUNING");
    strongest = vq_variant_choose(dev, op);
    assert_ptr_not_equal(strongest, weakest);
    vq_device_destroy(&dev);
    dev = cl_open(strongest->name, tuning_cache());
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
        vq_device *dev = cl_open("", tuning_cache());
        assert_int_equal(cl_warnings, 1);
        assert_non_null(strstr(cl_log, "tuning table ignored"));
        assert_ptr_not_equal(vq_variant_choose(dev, op), vq_variants(op)[0]);
        vq_device_destroy(&dev);
        dev = cl_open("", tuning_cache());
        assert_int_equal(cl_warnings, 0);
        vq_device_destroy(&dev);
    }
    free(text);
    free(path);
}

/* A row that the compiler refuses is passed over with one warning, and the next weaker one is used. */
static void test_choice__passes_over_broken_rows(void **state)
{
    (void)state;
    vq_device *dev = cl_open("", NULL);
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        const vq_variant *const *rows = vq_variants((vq_op)op);
        const vq_variant *best = vq_variant_choose(dev, (vq_op)op);
        if (!best || best == rows[0] || !strcmp(best->file, rows[0]->file)) continue;
        vq_device_destroy(&dev);
        unit_write_text(best->file, "this is no kernel\n");
        setenv("VITQ_KERNEL_DIR", unit_path(""), 1);
        dev = cl_open("", NULL);
        const vq_variant *chosen = vq_variant_choose(dev, (vq_op)op);
        unsetenv("VITQ_KERNEL_DIR");
        assert_ptr_not_equal(chosen, best);
        assert_string_not_equal(chosen->file, best->file);
        assert_true(cl_warnings >= 1);
        assert_non_null(strstr(cl_log, best->name));
        assert_non_null(strstr(cl_log, "passed over"));
        assert_non_null(strstr(cl_log, ".log"));
        const int before = cl_warnings;
        assert_ptr_equal(vq_variant_choose(dev, (vq_op)op), chosen);
        assert_int_equal(cl_warnings, before);
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
    vq_device *dev = cl_open("", NULL);
    const vq_variant *const best = vq_variant_choose(dev, VQ_OP_GEMM_S8);
    vq_device_destroy(&dev);
    if (best == vq_variants(VQ_OP_GEMM_S8)[0] || !vq_variant_is_wide(best)) skip();
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        char *source, *text;
        size_t bytes;
        vq_gemm_s8 *op;
        assert_int_equal(vq_file_read(&source, &bytes, VQ_SOURCE_DIR "/kernels/gemm_s8_wide.cl", 1 << 20), VQ_OK);
        assert_int_equal(vq_format(&text, "%s\n#error refused\n#endif\n%s", cases[i].refuses, source), VQ_OK);
        unit_write_text("gemm_s8_wide.cl", text);
        free(text);
        free(source);
        setenv("VITQ_KERNEL_DIR", unit_path(""), 1);
        dev = cl_open("", NULL);
        assert_int_equal(vq_gemm_s8_create(&op, dev, &weights, VQ_STORAGE_DEFAULT), VQ_OK);
        unsetenv("VITQ_KERNEL_DIR");
        assert_int_equal(vq_gemm_s8_is_packed(op), cases[i].packs);
        assert_true(cases[i].warnings ? cl_warnings >= cases[i].warnings : cl_warnings == 0);
        if (i > 0) assert_non_null(strstr(cl_log, "passed over"));
        vq_gemm_s8_destroy(&op);
        vq_device_destroy(&dev);
    }
    remove(unit_write_text("gemm_s8_wide.cl", ""));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    cl_begin();
    if (!cl_has_device()) return SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
