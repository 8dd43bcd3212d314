/* Bits tensor by tensor: vitq sensitivity and calibrate --budget from end to end.
 * Needs the bundled model and Debian's dataset-fashion-mnist (or $VITQ_FASHION_MNIST); exits with 77 without. */
#include "program.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TENSORS = 1 + 6 * 10 + 2, LAYERS = 1 + 6 * 6 + 1 }; /* of the bundled model: six blocks */

static const char *sensitivities; /* a file, of all widths */

#define measure(...)   "sensitivity", model_path, "--images", train_images, "--samples", "8", __VA_ARGS__
#define calibrate(...) "calibrate", model_path, "--images", train_images, "--samples", "8", __VA_ARGS__
#define budget(b, out) calibrate("--budget", b, "--sensitivity", sensitivities, "-o", out)

static int prepare(void **state)
{
    (void)state;
    sensitivities = scratch("sensitivities.json");
    write_text(sensitivities, ok(measure("--json")));
    return 0;
}

/* ---- sensitivity ---------------------------------------------------------------------------------------------------
 */

static void test_measures_every_tensor(void **state)
{
    (void)state;
    cJSON *const o = json(measure("--bits-range", "3..5", "--every-width"));
    const cJSON *const all = at(o, "tensors"), *const layers = at(o, "layers"), *t;
    double sum[2] = {0, 0};
    int i = 0;
    assert_int_equal(cJSON_GetArraySize(all), TENSORS);
    assert_int_equal(cJSON_GetArraySize(layers), LAYERS);
    assert_int_equal((int)num(o, "samples"), 8);
    cJSON_ArrayForEach(t, all)
    {
        const double three = num(t, "error.3"), five = num(t, "error.5");
        assert_true(five >= 0 && five < three && three < 10);
        assert_null(cJSON_GetObjectItem(at(t, "error"), "2"));
        assert_null(cJSON_GetObjectItem(at(t, "error"), "6"));
        sum[0] += num(t, "error.4");
        i++;
    }
    cJSON_ArrayForEach(t, layers) sum[1] += num(t, "error.4");
    assert_true(fabs(sum[0] - sum[1]) < 1e-9 * sum[0]);
    assert_string_equal(str(o, "tensors.0.operand"), "weight"); /* pixels are exact */
    assert_string_equal(str(o, "tensors.1.layer"), "blocks.0.attn.qkv");
    assert_string_equal(str(o, "tensors.3.operand"), "qkv");
    assert_string_equal(str(o, "tensors.4.operand"), "probabilities");
    assert_int_equal((int)num(o, "tensors.0.elements"), 128 * 16);
    cJSON_Delete(o);
}

/* What is inferred from the widths next to it is near what is measured. */
static void test_infers_odd_widths(void **state)
{
    size_t bytes;
    uint8_t *const text = read_file(&bytes, sensitivities);
    cJSON *const all = cJSON_ParseWithLength((const char *)text, bytes);
    cJSON *const o = json(measure("--bits-range", "5..5"));
    double ratio = 0;
    (void)state;
    for (int i = 0; i < TENSORS; i++) {
        const cJSON *const a = cJSON_GetArrayItem(at(all, "tensors"), i), *const b =
                                                                              cJSON_GetArrayItem(at(o, "tensors"), i);
        const double x = num(a, "error.5"), y = num(b, "error.5");
        ratio += (x > y ? x / y : y / x) / TENSORS;
    }
    assert_true(ratio < 2);
    cJSON_Delete(o);
    cJSON_Delete(all);
    free(text);
}

static void test_prints_a_table(void **state)
{
    const char *const text = ok(measure("--bits-range", "4..4"));
    (void)state;
    matches(text, "\nblocks\\.5\\.mlp\\.fc2 +input +25600 +[0-9.]+e-[0-9]+\n");
    matches(text, "\nlayer \\(sum\\) ");
    has(text, "images       8\n");
    lacks(ok(measure("--bits-range", "4..4", "--quiet")), "images");
}

static void test_refuses_to_measure(void **state)
{
    const char *const model = scratch("u.vitq.safetensors");
    (void)state;
    fails(USAGE, "--images", "sensitivity", model_path);
    fails(USAGE, "needs a MODEL", "sensitivity", "--images", train_images);
    fails(USAGE, "2..8", measure("--bits-range", "4"));
    fails(USAGE, "2..8", measure("--bits-range", "4..x"));
    fails(VQ_ERR_INVALID_ARG, "2 to 8", measure("--bits-range", "1..4"));
    fails(VQ_ERR_INVALID_ARG, "2 to 8", measure("--bits-range", "4..9"));
    fails(VQ_ERR_INVALID_ARG, "2 to 8", measure("--bits-range", "5..4"));
    fails(VQ_ERR_INVALID_ARG, "'best'", measure("--recipe", "bset"));
    fails(VQ_ERR_INVALID_ARG, "unknown key", measure("--parts", "x=y"));
    fails(USAGE, "takes no --output", measure("-o", "x"));
    fails(VQ_ERR_IO, "nowhere", "sensitivity", model_path, "--images", "/nowhere");
    ok(calibrate("--quiet", "-o", model));
    fails(VQ_ERR_UNSUPPORTED, "quantized already", "sensitivity", model, "--images", train_images);
}

/* ---- budgets -------------------------------------------------------------------------------------------------------
 */

/* The logits of both are the same to the bit. */
static void same_logits(const char *model, const char *extra, const char *value)
{
    const char *const a = scratch("a.logits"), *const b = scratch("b.logits");
    ok("eval", model, "--images", test_images, "--labels", test_labels, "--limit", "6", "--logits", a, "--quiet");
    ok("eval", model, "--images", test_images, "--labels", test_labels, "--limit", "6", "--logits", b, "--quiet", extra,
       value);
    assert_true(same_files(a, b));
}

static void count_widths(int counts[9], const cJSON *model)
{
    static const char *const operands[] = {"input", "q", "k", "probabilities", "v", "weight"};
    const cJSON *layer;
    cJSON_ArrayForEach(layer, at(model, "layers"))
    {
        for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++)
            if (cJSON_HasObjectItem(layer, operands[i]))
                counts[(int)num(cJSON_GetObjectItem(layer, operands[i]), "bits")]++;
        if (strstr(str(layer, "name"), "scores")) assert_true(num(layer, "q.bits") == num(layer, "k.bits"));
    }
}

static void test_mean_bits(void **state)
{
    const char *const model = scratch("mean.vitq.safetensors");
    int counts[9] = {0}, widths = 0;
    (void)state;
    cJSON *const made = json(budget("3.5", model)), *const seen = json("inspect", model);
    assert_true(num(made, "weight_bits") <= 3.5 + 1e-9 && num(made, "weight_bits") > 3.4);
    assert_true(num(made, "activation_bits") <= 3.5 + 1e-9 && num(made, "activation_bits") > 3.4);
    assert_string_equal(str(made, "budget.kept"), "mixed");
    assert_true(num(made, "budget.mixed_error") < num(made, "budget.uniform_error"));
    assert_true(num(made, "budget.uniform_weight_bits") == 3 && num(made, "budget.uniform_activation_bits") == 3);
    assert_true(num(made, "budget.bound") <= num(made, "budget.expected"));
    assert_true(num(seen, "manifest.budget.weight_bits") == 3.5);
    assert_true(num(seen, "manifest.weight_bits") == num(made, "weight_bits"));
    count_widths(counts, seen);
    for (int b = 2; b <= 8; b++) widths += counts[b] > 0;
    assert_true(widths >= 4);
    matches(ok("inspect", model), "\nbudget +3.5 bits of weights, 3.5 of activations; mixed bits kept");
    same_logits(model, "--mode", "int");
    same_logits(model, "--witness", "--quiet");
    same_logits(model, "--kernels", "portable");
    cJSON_Delete(made);
    cJSON_Delete(seen);
}

/* At the ends there is nothing to choose: the same model as without a budget, and no worse. */
static void test_ends(void **state)
{
    static const char *const ends[2][2] = {{"2", "w2a2"}, {"8", "w8a8"}};
    const char *const a = scratch("end.a"), *const b = scratch("end.b");
    (void)state;
    for (int i = 0; i < 2; i++) {
        cJSON *const made = json(budget(ends[i][0], a));
        assert_true(num(made, "budget.mixed_error") == num(made, "budget.uniform_error") || i);
        assert_true(num(made, "budget.mixed_error") <= num(made, "budget.uniform_error") ||
                    strcmp(str(made, "budget.kept"), "uniform") == 0);
        cJSON_Delete(made);
    }
    ok(calibrate("--bits", ends[0][1], "-o", b, "-q"));
    cJSON *const two = json(budget("2/2", a));
    assert_true(num(two, "weight_bits") == 2 && num(two, "activation_bits") == 2);
    cJSON_Delete(two);
    same_logits(a, "--mode", "int");
}

/* Two numbers: weights and activations. */
static void test_weights_and_activations_apart(void **state)
{
    cJSON *const made = json(budget("3/6.5", scratch("apart.vitq.safetensors")));
    (void)state;
    assert_true(num(made, "weight_bits") <= 3 + 1e-9);
    assert_true(num(made, "activation_bits") <= 6.5 + 1e-9 && num(made, "activation_bits") > 5);
    assert_true(num(made, "budget.uniform_weight_bits") == 3 && num(made, "budget.uniform_activation_bits") == 6);
    cJSON_Delete(made);
}

static void test_file_size(void **state)
{
    const char *const model = scratch("size.vitq.safetensors");
    (void)state;
    cJSON *const made = json(budget("0.9MB", model));
    assert_true(num(made, "bytes") <= 0.9e6 && num(made, "bytes") > 0.85e6);
    assert_true(num(made, "activation_bits") > 3.9 && num(made, "activation_bits") <= 4);
    cJSON_Delete(made);
    cJSON *const less =
        json(calibrate("--budget", "0.9MB", "--bits", "w2a3", "--sensitivity", sensitivities, "-o", model));
    assert_true(num(less, "bytes") <= 0.9e6);
    assert_true(num(less, "activation_bits") <= 3);
    cJSON_Delete(less);
    cJSON *const all = json(budget("900MB/5", model));
    assert_true(num(all, "weight_bits") == 8 || strcmp(str(all, "budget.kept"), "mixed") == 0);
    cJSON_Delete(all);
    same_logits(model, "--witness", "--quiet");
}

static void test_bad_budgets(void **state)
{
    static const struct {
        const char *text;
        int code;
    } bad[] = {{"1.0", VQ_ERR_INVALID_ARG},
               {"9", VQ_ERR_INVALID_ARG},
               {"8.01", VQ_ERR_INVALID_ARG},
               {"4/1", VQ_ERR_INVALID_ARG},
               {"0MB", VQ_ERR_INVALID_ARG},
               {"4MB/9", VQ_ERR_INVALID_ARG},
               {"x", USAGE},
               {"4.5/", USAGE},
               {"/4", USAGE},
               {"4.5x", USAGE},
               {"-4", USAGE},
               {"nan", USAGE},
               {"4 MB", USAGE},
               {"4/5/6", USAGE},
               {"4mb", USAGE},
               {"1e3MB", USAGE},
               {"0.0.1", USAGE},
               {"0x4", USAGE},
               {"", USAGE},
               {"0.01MB", VQ_ERR_INVALID_ARG}};
    const char *const out = scratch("never");
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) fails(bad[i].code, "budget", budget(bad[i].text, out));
    fails(USAGE, "--bits", calibrate("--budget", "4", "--bits", "w4a4", "-o", out));
    fails(USAGE, "--official-levels", calibrate("--budget", "4", "--official-levels", "-o", out));
    fails(USAGE, "--budget", calibrate("--sensitivity", sensitivities, "-o", out));
    assert_false(exists(out));
}

static void test_bad_sensitivities(void **state)
{
    const char *const out = scratch("never"), *const file = scratch("bad.json");
    char *json_text;
    size_t bytes;
    (void)state;
    fails(VQ_ERR_IO, "nothing.json", calibrate("--budget", "4", "--sensitivity", "/nothing.json", "-o", out));
    write_text(file, "{\"tensors\": [");
    fails(VQ_ERR_FORMAT, "bad.json", calibrate("--budget", "4", "--sensitivity", file, "-o", out));
    write_text(file, "{}");
    fails(VQ_ERR_FORMAT, "bad.json", calibrate("--budget", "4", "--sensitivity", file, "-o", out));
    json_text = (char *)read_file(&bytes, sensitivities);
    json_text = realloc(json_text, bytes + 1);
    json_text[bytes] = 0;
    char *const hash = strstr(strstr(json_text, "weights_xxh3"), ":") + 4;
    hash[0] = hash[0] == '0' ? '1' : '0';
    write_text(file, json_text);
    fails(VQ_ERR_INVALID_ARG, "weights", calibrate("--budget", "4", "--sensitivity", file, "-o", out));
    free(json_text);
    write_text(file, ok(measure("--bits-range", "4..5", "--json")));
    fails(VQ_ERR_INVALID_ARG, "4 to 5", calibrate("--budget", "3", "--sensitivity", file, "-o", out));
    assert_false(exists(out));
}

static void test_interrupt(void **state)
{
    const char *const folder = scratch("interrupted");
    (void)state;
    make_folder(folder);
    process p = start("calibrate", model_path, "--images", train_images, "--samples", "256", "--budget", "4", "-o",
                      scratch("interrupted/m"));
    nanosleep(&(struct timespec){1, 500000000}, NULL);
    kill(p.pid, SIGINT);
    check_fails(finish(&p), 130, "interrupted");
    p = start("sensitivity", model_path, "--images", train_images, "--samples", "256");
    nanosleep(&(struct timespec){1, 500000000}, NULL);
    kill(p.pid, SIGINT);
    check_fails(finish(&p), 130, "interrupted");
    assert_int_equal(entries(folder), 0);
}

static void test_sweep(void **state)
{
    const char *const db = scratch("sweep.db");
    (void)state;
#define sweep(bits)                                                                                                \
    "sweep", model_path, "--images", train_images, "--val", test_images, "--labels", test_labels, "--limit", "20", \
        "--samples", "8", "--modes", "int", "--db", db, "--bits", bits
    cJSON *const o = json(sweep("w4a4,budget=4.50,budget=3/4"));
    assert_int_equal(cJSON_GetArraySize(at(o, "results")), 4);
    assert_string_equal(str(o, "results.2.bits"), "budget=4.5");
    assert_string_equal(str(o, "results.3.bits"), "budget=3/4");
    assert_string_equal(str(o, "results.3.state"), "done");
    assert_true(num(o, "results.3.top1") >= 15);
    cJSON_Delete(o);
    fails(VQ_ERR_INVALID_ARG, "out of range", sweep("budget=1"));
    fails(VQ_ERR_FORMAT, "3.2MB", sweep("budget="));
#undef sweep
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures_every_tensor),
        cmocka_unit_test(test_infers_odd_widths),
        cmocka_unit_test(test_prints_a_table),
        cmocka_unit_test(test_refuses_to_measure),
        cmocka_unit_test(test_mean_bits),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_weights_and_activations_apart),
        cmocka_unit_test(test_file_size),
        cmocka_unit_test(test_bad_budgets),
        cmocka_unit_test(test_bad_sensitivities),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_sweep),
    };
    if (!find_files(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, prepare, NULL) ? 1 : 0;
}
