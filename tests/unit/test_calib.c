/* Recipes and their parts, and the factorizations of rounding. No device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calib/linalg.h"
#include "calib/recipe.h"

static char last_error[1024];

static void keep_error(void *user, vq_log_level level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(last_error, sizeof last_error, "%s", message);
}

static void expect_refused(const char *name, const char *parts, const char *want)
{
    vq_recipe r;
    last_error[0] = 0;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    const vq_status status = vq_recipe_read(&r, name, parts);
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    assert_int_not_equal(status, VQ_OK);
    if (!strstr(last_error, want)) fail_msg("message is \"%s\", expected \"%s\"", last_error, want);
    assert_null(strchr(last_error, '\n'));
}

static void test_calib__built_in_recipes(void **state)
{
    vq_recipe r;
    int i = 0;
    (void)state;
    for (; vq_recipe_name(i); i++) {
        assert_int_equal(vq_recipe_read(&r, vq_recipe_name(i), NULL), VQ_OK);
        assert_string_equal(r.name, vq_recipe_name(i));
        assert_non_null(vq_recipe_about(i));
        assert_non_null(vq_recipe_json(i));
    }
    assert_int_equal(i, 5);
    assert_int_equal(vq_recipe_read(&r, NULL, NULL), VQ_OK);
    assert_string_equal(r.name, "repq");
    assert_int_equal(r.reparam, VQ_REPARAM_MEAN);
    assert_string_equal(r.softmax.quantizer->name, "log_sqrt2");
    assert_null(r.gelu.quantizer);
    assert_int_equal(vq_recipe_read(&r, "dopq", NULL), VQ_OK);
    assert_int_equal(r.reparam, VQ_REPARAM_MOSF);
    assert_int_equal(r.weight.search, VQ_SEARCH_PERCENTILE); /* from its base */
    assert_string_equal(r.gelu.quantizer->name, "tanq");
}

static void test_calib__parts(void **state)
{
    vq_recipe r;
    (void)state;
    assert_int_equal(vq_recipe_read(&r, "repq", "softmax.quantizer=adalog,reparam=mosf,rounding=gptq,damping=0.1"),
                     VQ_OK);
    assert_string_equal(r.softmax.quantizer->name, "adalog");
    assert_int_equal(r.reparam, VQ_REPARAM_MOSF);
    assert_int_equal(r.rounding, VQ_ROUNDING_GPTQ);
    assert_true(r.damping == 0.1);
    assert_int_equal(vq_recipe_read(&r, "adalog", NULL), VQ_OK);
    assert_int_equal(vq_recipe_set_search(&r, "full"), VQ_OK);
    assert_int_equal(r.weight.search, VQ_SEARCH_FULL);
    expect_refused("repq", "softmax.quantizer=magic", "must be one of: uniform, log2");
    expect_refused("repq", "softmaks.quantizer=log2", "unknown key 'softmaks.quantizer'");
    expect_refused("repq", "damping=many", "must be a number");
    expect_refused("repq", "rounds=1.5", "must be a whole number");
    expect_refused("repq", "reparam", "not of the form key=value");
    expect_refused("repq", "migrate_value=true", "needs value.per = channel");
    expect_refused("repq", "qk.objective=output", "per = head");
    expect_refused("repq", "qk.objective=cosine", "per = head");
    expect_refused("minmax", "input.objective=cosine", "a minmax search tries nothing");
    expect_refused("repq", "norm.objective=cosine", "unknown key 'norm.objective'");
    expect_refused("repq", "gelu.objective=cosin", "must be one of: tensor, output, cosine");
    assert_int_equal(vq_recipe_read(&r, "adalog", "weight.objective=cosine"), VQ_OK);
    assert_int_equal(r.weight.objective, VQ_OBJECTIVE_COSINE);
    assert_int_equal(r.input.objective, VQ_OBJECTIVE_OUTPUT);
    expect_refused("nothing", NULL, "unknown recipe 'nothing'; there are: repq, minmax, adalog, dopq, best");
}

static void write_file(const char *path, const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void test_calib__recipe_files(void **state)
{
    char path[64];
    vq_recipe r;
    (void)state;
    snprintf(path, sizeof path, "/tmp/vitq-recipe-%ld.json", (long)getpid());
    write_file(path, "{\"name\": \"mine\", \"base\": \"repq\", \"gelu\": {\"quantizer\": \"tanq\"}, \"rounds\": 2}");
    assert_int_equal(vq_recipe_read(&r, path, NULL), VQ_OK);
    assert_string_equal(r.name, "mine");
    assert_int_equal(r.rounds, 2);
    assert_string_equal(r.gelu.quantizer->name, "tanq");
    assert_int_equal(r.reparam, VQ_REPARAM_MEAN);
    write_file(path, "{\"base\": \"repq\", \"gelu\": {\"quantiser\": \"tanq\"}}");
    expect_refused(path, NULL, "unknown key 'gelu.quantiser'");
    write_file(path, "{\"base\": 3}");
    expect_refused(path, NULL, "base must be a string");
    write_file(path, "{\"bias_correction\": 1}");
    expect_refused(path, NULL, "must be true or false");
    write_file(path, "[1");
    expect_refused(path, NULL, path);
    remove(path);
    expect_refused(path, NULL, path);
}

/* U'U (H + damping) must be the identity, rows and columns in the order given. */
static void test_calib__inverse_factor(void **state)
{
    enum { K = 23 };
    double h[K * K];
    float u[K * K];
    int32_t order[K];
    vq_rng rng;
    (void)state;
    vq_rng_seed(&rng, 5);
    for (int i = 0; i < K; i++) order[i] = (i * 5 + 2) % K;
    for (int i = 0; i < K * K; i++) h[i] = 0;
    for (int m = 0; m < 60; m++) {
        double v[K];
        for (int i = 0; i < K; i++) v[i] = vq_rng_uniform(&rng) - 0.3;
        for (int i = 0; i < K * K; i++) h[i] += v[i / K] * v[i % K];
    }
    double mean = 0;
    for (int i = 0; i < K; i++) mean += h[i * K + i] / K;
    assert_int_equal(vq_inverse_factor(u, h, order, K, 0.05), VQ_OK);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            double sum = 0;
            for (int l = 0; l < K; l++) {
                double inverse = 0;
                for (int r = 0; r < K; r++) inverse += (double)u[r * K + i] * (double)u[r * K + l];
                sum += inverse * (h[order[l] * K + order[j]] + (l == j ? 0.05 * mean : 0));
            }
            assert_true(fabs(sum - (i == j)) < 1e-4);
            if (j < i) assert_true(u[i * K + j] == 0);
        }
    h[0] = NAN;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    assert_int_equal(vq_inverse_factor(u, h, order, K, 0.05), VQ_ERR_INVALID_ARG);
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calib__built_in_recipes),
        cmocka_unit_test(test_calib__parts),
        cmocka_unit_test(test_calib__recipe_files),
        cmocka_unit_test(test_calib__inverse_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
