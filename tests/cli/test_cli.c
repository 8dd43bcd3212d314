/* The vitq program from end to end: words, numbers, exit codes, bad input, Ctrl-C.
 * Needs the bundled model and Debian's dataset-fashion-mnist (or $VITQ_FASHION_MNIST); exits with 77 without. */
#include "program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

enum { PHOTOS = 12, CLASSES = 10, PIXELS = 28 * 28 };

static const char *w4a4, *w8a8, *photos, *labels_csv;
static int classes[PHOTOS];

static const char *photo(int i)
{
    static char path[8][512];
    static int next;
    char *const p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%02d.png", photos, i);
    return p;
}

static void read_gzip(void *out, unsigned bytes, const char *path, long skip)
{
    const gzFile f = gzopen(path, "rb");
    if (!f || gzseek(f, skip, SEEK_SET) != skip || gzread(f, out, bytes) != (int)bytes)
        fail_msg("cannot read %s", path);
    gzclose(f);
}

/* Photos and their labels out of Fashion-MNIST, and two quantized models. */
static int prepare(void **state)
{
    static uint8_t pixels[PHOTOS][PIXELS], labels[PHOTOS];
    char text[512] = "file,class_index\n";
    (void)state;
    w4a4 = scratch("w4a4.vitq.safetensors");
    w8a8 = scratch("w8a8.vitq.safetensors");
    photos = scratch("photos");
    labels_csv = scratch("labels.csv");
    ok("calibrate", model_path, "--images", train_images, "--bits", "w4a4", "-o", w4a4, "--quiet");
    assert_string_equal(ok("calibrate", model_path, "--images", train_images, "--bits", "w8a8", "-o", w8a8, "-q"), "");
    make_folder(photos);
    read_gzip(pixels, sizeof pixels, test_images, 16);
    read_gzip(labels, sizeof labels, test_labels, 8);
    for (int i = 0; i < PHOTOS; i++) {
        const size_t used = strlen(text);
        classes[i] = labels[i];
        write_png(photo(i), pixels[i]);
        snprintf(text + used, sizeof text - used, "%02d.png,%d\n", i, labels[i]);
    }
    write_text(labels_csv, text);
    return 0;
}

/* The JSON of an evaluation on the test images; words begin with the model. */
#define evaluate(...) json("eval", "--images", test_images, "--labels", test_labels, __VA_ARGS__)

/* ---- words ---------------------------------------------------------------------------------------------------------
 */

static void test_help(void **state)
{
    static const char *const commands[] = {"devices", "inspect", "calibrate", "sensitivity",
                                           "eval",    "sweep",   "predict",   "export"};
    char line[32];
    (void)state;
    assert_string_equal(ok("--help"), ok("help"));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        snprintf(line, sizeof line, "\n  %s ", commands[i]);
        has(ok("--help"), line);
        const char *const text = ok(commands[i], "--help");
        has(text, "Examples:");
        has(text, "--json");
        assert_string_equal(text, ok("help", commands[i]));
    }
    has(ok("help", "exit-codes"), "130");
    matches(ok("--version"), "^vitq [0-9]+\\.[0-9]+\\.[0-9]+\n$");
    assert_int_equal(run_words(NULL, WORDS(vitq_path))->code, USAGE);
}

static void test_did_you_mean(void **state)
{
    (void)state;
    fails(USAGE, "'eval'", "evla");
    fails(USAGE, "'sweep'", "swep");
    fails(USAGE, "--help", "xyzzy");
    fails(USAGE, "'--labels'", "eval", model_path, "--lables", "x");
    fails(USAGE, "'--labels'", "eval", model_path, "--label=x");
    fails(USAGE, "calibrate", "predict", model_path, "--samples", "3");
    fails(VQ_ERR_INVALID_ARG, "'repq'", "calibrate", model_path, "--images", train_images, "--recipe", "reqp", "-o",
          "x");
    fails(USAGE, "eval", "help", "evl");
}

static void test_values(void **state)
{
    static const struct {
        const char *word;
        int code;
    } bits[] = {{"w1a4", VQ_ERR_INVALID_ARG},
                {"w4a9", VQ_ERR_INVALID_ARG},
                {"4", USAGE},
                {"w4", USAGE},
                {"w4a4x", USAGE},
                {"w+4a4", USAGE}};
    static const struct {
        const char *word, *value;
        int code;
    } values[] = {{"--batch", "0", VQ_ERR_INVALID_ARG},
                  {"--batch", "8x", USAGE},
                  {"--limit", "-1", VQ_ERR_INVALID_ARG},
                  {"--limit", "", USAGE},
                  {"--mode", "int8", USAGE},
                  {"--weights", "nibbles", USAGE},
                  {"--memory", "1", USAGE},
                  {"--device", "99999999999999999999", USAGE}};
    const char *const out = scratch("never");
    (void)state;
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        fails(bits[i].code, "--bits", "calibrate", model_path, "--images", train_images, "--bits", bits[i].word, "-o",
              out);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        fails(values[i].code, values[i].word, "eval", model_path, "--images", test_images, "--labels", test_labels,
              values[i].word, values[i].value);
    fails(USAGE, "needs a value", "eval", model_path, "--images");
    fails(USAGE, "--json", "eval", model_path, "--json=1");
    fails(USAGE, "--labels", "eval", model_path, "--images", test_images);
    fails(USAGE, "--images", "eval", model_path, "--labels", test_labels);
    fails(USAGE, "MODEL", "eval");
    fails(USAGE, "too many", "inspect", model_path, model_path);
    fails(USAGE, "IMAGE", "predict", model_path);
    fails(USAGE, "--images", "calibrate", model_path, "-o", out);
    fails(USAGE, "-o", "calibrate", model_path, "--images", train_images);
    assert_false(exists(out));
}

/* ---- numbers -------------------------------------------------------------------------------------------------------
 */

static void test_devices(void **state)
{
    cJSON *const o = json("devices", "--probe");
    (void)state;
    assert_true(cJSON_IsArray(at(o, "devices.0.caps")));
    assert_true(str(o, "devices.0.name")[0] != 0);
    has(ok("devices"), str(o, "devices.0.name"));
    cJSON_Delete(o);
}

static void test_inspect(void **state)
{
    cJSON *const m = json("inspect", model_path), *const q = json("inspect", w4a4);
    (void)state;
    assert_true(num(m, "embed_dim") == 128 && num(m, "depth") == 6 && num(m, "num_classes") == CLASSES);
    assert_true(cJSON_IsFalse(at(m, "quantized")));
    assert_true(cJSON_IsTrue(at(q, "quantized")));
    assert_string_equal(str(q, "manifest.recipe"), "repq");
    assert_true(num(q, "manifest.samples") == 32);
    has(ok("inspect", w4a4), "blocks.5.mlp.fc2");
    cJSON_Delete(m);
    cJSON_Delete(q);
}

/* Ranges of the tensors end where the file does, and the manifest says what was asked for. */
static void check_file(const char *path)
{
    tensors t = read_tensors(path);
    double end = 0;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, t.header)
    {
        if (strcmp(entry->string, "__metadata__") == 0) continue;
        const double last = num(entry, "data_offsets.1");
        end = last > end ? last : end;
    }
    assert_true(end == (double)t.bytes);
    cJSON *const document = parse_json(str(t.header, "__metadata__.vitq"));
    assert_true(num(document, "manifest.weight_bits") == 4);
    cJSON_Delete(document);
    clear_tensors(&t);
}

/* Phases in order, with no more time than the whole and memory that only grows. */
static void check_phases(const cJSON *made)
{
    static const char *const names[] = {"open", "load", "calibrate", "lower", "save"};
    const cJSON *const phases = cJSON_GetObjectItemCaseSensitive(made, "phases");
    double seconds = 0, peak = 1;
    assert_int_equal(cJSON_GetArraySize(phases), 5);
    for (int i = 0; i < 5; i++) {
        const cJSON *const phase = cJSON_GetArrayItem(phases, i);
        assert_string_equal(str(phase, "name"), names[i]);
        assert_true(num(phase, "seconds") >= 0 && num(phase, "peak_memory_bytes") >= peak);
        seconds += num(phase, "seconds");
        peak = num(phase, "peak_memory_bytes");
    }
    assert_true(seconds > 0 && seconds < num(made, "seconds") + 0.01);
}

static void test_calibrate(void **state)
{
    const char *const out = scratch("again.vitq.safetensors");
    size_t bytes;
    (void)state;
    cJSON *made = json("calibrate", model_path, "--images", train_images, "--bits=w4a4", "-n", "32", "-o", out);
    free(read_file(&bytes, out));
    assert_string_equal(str(made, "recipe"), "repq");
    assert_true(num(made, "weight_bits") == 4 && num(made, "samples") == 32 && num(made, "bytes") == (double)bytes);
    check_phases(made);
    cJSON_Delete(made);
    assert_true(same_files(out, w4a4));
    check_file(out);
    made = json("calibrate", model_path, "--images", train_images, "--recipe", "minmax", "--seed", "7", "-b", "w6a5",
                "-o", out);
    assert_string_equal(str(made, "recipe"), "minmax");
    assert_true(num(made, "activation_bits") == 5);
    cJSON_Delete(made);
    assert_false(same_files(out, w4a4));
    unlink(out);
}

/* One logits file's tensor, for comparing bit for bit. */
static void same_logits(const char *model, const char *env, const char *const *want)
{
    const char *const logits = scratch(want ? "other.safetensors" : "device.safetensors");
    const run_how how = {.env = env};
    const bool witness = env == NULL && want != NULL;
    const run_result *const r =
        run_with(&how, vitq_path, "eval", model, "--images", test_images, "--labels", test_labels, "--limit", "8",
                 "--logits", logits, witness ? "--witness" : "--quiet");
    check_ok(r);
    if (want && !same_files(logits, *want)) fail_msg("%s: other logits", r->words);
}

/* Every recipe, and one from a file, gives a model that runs as integers: right about as often as its fake-quant, the
 * same bits in the witness and the portable kernels. */
static void test_recipes(void **state)
{
    const char *const file = scratch("mine.json"), *const out = scratch("recipe.vitq.safetensors");
    const char *const device = scratch("device.safetensors");
    const char *const recipes[] = {"adalog", "dopq", "best", file};
    FILE *const f = fopen(file, "w");
    (void)state;
    assert_non_null(f);
    fputs("{\"name\": \"mine\", \"base\": \"best\", \"reparam\": \"best\", \"bias_correction\": true,"
          " \"value\": {\"per\": \"head\", \"search\": \"fpcs\", \"objective\": \"output\"},"
          " \"migrate_value\": false, \"softmax\": {\"quantizer\": \"twin_uniform\", \"search\": \"full\","
          " \"objective\": \"output\", \"per\": \"head\"}}",
          f);
    assert_int_equal(fclose(f), 0);
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        ok("calibrate", model_path, "--images", train_images, "-n", "8", "--recipe", recipes[i], "--parts", "rounds=1",
           "-o", out, "--quiet");
        cJSON *const q = json("inspect", out), *const fake = evaluate(out, "--mode", "fake", "--limit", "200"),
                     *const whole = evaluate(out, "--limit", "200");
        assert_string_equal(str(q, "manifest.recipe"), recipes[i] == file ? "mine" : recipes[i]);
        assert_string_equal(str(q, "manifest.parts"), "rounds=1");
        if (num(fake, "top1") < 170 || num(whole, "top1") < num(fake, "top1") - 6)
            fail_msg("%s: right of 200: fake %g, int %g", recipes[i], num(fake, "top1"), num(whole, "top1"));
        same_logits(out, NULL, NULL);
        same_logits(out, NULL, &device);
        same_logits(out, "VITQ_KERNELS=portable", &device);
        cJSON_Delete(q);
        cJSON_Delete(fake);
        cJSON_Delete(whole);
    }
    fails(VQ_ERR_INVALID_ARG, "unknown key", "calibrate", model_path, "--images", train_images, "--parts", "no=1", "-o",
          out);
    unlink(out);
    unlink(file);
}

/* In the least memory that a recipe says it needs, and `more` MB, with a temporary file: the same model to the bit, in
 * no more than planned. */
static void same_in_less_memory(const char *recipe, const char *count, int more)
{
    const char *const whole = scratch("whole.vitq.safetensors"), *const out = scratch("bound.vitq.safetensors");
    char memory[32];
    ok("calibrate", model_path, "--images", train_images, "-n", count, "--recipe", recipe, "-o", whole, "--quiet");
    const run_result *const r = vitq("calibrate", model_path, "--images", train_images, "-n", count, "--recipe", recipe,
                                     "-o", out, "--memory", "1MB");
    check_fails(r, VQ_ERR_NO_MEMORY, "at least ");
    const int bound = atoi(strstr(r->err, "at least ") + 9) + more;
    snprintf(memory, sizeof memory, "%dMB", bound);
    cJSON *const made = json("calibrate", model_path, "--images", train_images, "-n", count, "--recipe", recipe, "-o",
                             out, "--memory", memory);
    if (!same_files(out, whole)) fail_msg("%s within %s: another model", recipe, memory);
    assert_true(num(made, "temporary_file_bytes") > 0);
    assert_true(num(made, "images_at_once") < num(made, "samples"));
    assert_true(num(made, "planned_memory_bytes") <= bound * 1e6);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow nobody planned */
    if (num(made, "peak_memory_bytes") > num(made, "planned_memory_bytes"))
        fail_msg("%s within %s: takes %g bytes", recipe, memory, num(made, "peak_memory_bytes"));
#endif
    cJSON_Delete(made);
    unlink(whole);
    unlink(out);
}

static void test_memory(void **state)
{
    const char *const mine = scratch("bounded.json");
    const run_how small = {.file_limit = 1 << 20}, nowhere = {.env = "TMPDIR=/nowhere"};
    (void)state;
    same_in_less_memory("repq", "160", 3);
    same_in_less_memory("minmax", "100", 3);
    same_in_less_memory("best", "200", 20);
    same_in_less_memory("dopq", "60", 3);
    write_text(mine, "{\"base\": \"adalog\", \"rounds\": 1, \"rows\": 256}");
    same_in_less_memory(mine, "40", 3);
    write_text(mine, "{\"base\": \"best\", \"reparam\": \"best\", \"bias_correction\": true, \"rows\": 0,"
                     " \"qk\": {\"per\": \"head\", \"search\": \"percentile\", \"objective\": \"output\"},"
                     " \"value\": {\"per\": \"head\", \"search\": \"percentile\", \"objective\": \"output\"},"
                     " \"input\": {\"search\": \"percentile\", \"objective\": \"output\"},"
                     " \"migrate_value\": false, \"softmax\": {\"search\": \"percentile\", \"per\": \"head\"}}");
    same_in_less_memory(mine, "80", 5);
    unlink(mine);
#define bounded "calibrate", model_path, "--images", train_images, "-n", "1000", "-o", scratch("never"), "--memory"
    const run_result *const r = vitq(bounded, "1MB");
    char memory[32];
    snprintf(memory, sizeof memory, "%dMB", atoi(strstr(r->err, "at least ") + 9) + 10);
    fails_with(&small, VQ_ERR_IO, "temporary file", bounded, memory);
    fails_with(&nowhere, VQ_ERR_IO, "/nowhere", bounded, memory);
    fails(USAGE, "--memory", bounded, "600");
    fails(USAGE, "--memory", bounded, "600 potatoes");
    fails(VQ_ERR_INVALID_ARG, "--memory", bounded, "0MB");
#undef bounded
    assert_false(exists(scratch("never")));
}

static void check_accuracy(const char *model, double loss, double fp32_top1)
{
    cJSON *const fake = evaluate(model, "--mode", "fake", "--limit", "1000"), *const whole =
                                                                                  evaluate(model, "--limit", "1000");
    assert_string_equal(str(whole, "mode"), "int");
    if (num(fake, "top1") < fp32_top1 - loss * 1000 || num(whole, "top1") < num(fake, "top1") - 10)
        fail_msg("%s: right of 1000: fp32 %g, fake %g, int %g", model, fp32_top1, num(fake, "top1"),
                 num(whole, "top1"));
    assert_true(num(whole, "images_per_second") > 0 && num(whole, "images_per_second_total") > 0);
    assert_true(str(whole, "device")[0] && str(whole, "variant")[0]);
    cJSON_Delete(fake);
    cJSON_Delete(whole);
}

static void test_accuracy(void **state)
{
    cJSON *const fp32 = evaluate(model_path, "--limit", "1000");
    (void)state;
    assert_string_equal(str(fp32, "mode"), "fp32");
    assert_true(num(fp32, "n") == 1000 && num(fp32, "skipped") == 0);
    assert_true(num(fp32, "top1") > 880 && num(fp32, "top5") >= num(fp32, "top1"));
    check_accuracy(w8a8, 0.01, num(fp32, "top1"));
    check_accuracy(w4a4, 0.2, num(fp32, "top1"));
    cJSON_Delete(fp32);
}

static void test_integer_logits_are_exact(void **state)
{
    static const char *const ways[][2] = {{"--batch", "1"},    {"--batch", "7"},          {"--batch", "20"},
                                          {"--witness", "-q"}, {"--kernels", "portable"}, {"--weights", "bytes"},
                                          {"--memory", "1MB"}};
    const char *const first = scratch("logits0.safetensors"), *const out = scratch("logits.safetensors");
    (void)state;
    cJSON_Delete(evaluate(w4a4, "--limit", "20", "--logits", first));
    tensors t = read_tensors(first);
    assert_string_equal(str(t.header, "logits.dtype"), "I32");
    assert_true(num(t.header, "logits.shape.0") == 20 && num(t.header, "logits.shape.1") == CLASSES);
    clear_tensors(&t);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        cJSON_Delete(evaluate(w4a4, "--limit", "20", "--logits", out, ways[i][0], ways[i][1]));
        if (!same_files(first, out)) fail_msg("%s %s: other logits", ways[i][0], ways[i][1]);
        unlink(out);
    }
}

/* Half of the weights' bytes on the device; the weights are 6 blocks of 12 squares of the width and some more. */
static void test_packed_weights(void **state)
{
    const double weights = 6 * 12 * 128 * 128;
    cJSON *const packed = evaluate(w4a4, "--limit", "4", "--weights", "packed"),
                 *const bytes = evaluate(w4a4, "--limit", "4", "--weights", "bytes"),
                 *const usual = evaluate(w4a4, "--limit", "4"), *const wide = evaluate(w8a8, "--limit", "4");
    (void)state;
    const double saved = num(bytes, "resident_bytes.model") - num(packed, "resident_bytes.model");
    assert_true(saved > 0.45 * weights && saved < 0.55 * weights);
    assert_true(num(usual, "resident_bytes.model") == num(packed, "resident_bytes.model"));
    assert_true(num(wide, "resident_bytes.model") > weights);
    assert_true(num(packed, "resident_bytes.activations") == num(bytes, "resident_bytes.activations"));
    assert_true(num(packed, "device_bytes") ==
                num(packed, "resident_bytes.model") + num(packed, "resident_bytes.activations"));
    cJSON_Delete(packed);
    cJSON_Delete(bytes);
    cJSON_Delete(usual);
    cJSON_Delete(wide);
}

/* Without --batch: 32, the images there are, or what memory allows, and no more than one less would. */
static void test_chosen_batch(void **state)
{
    const char *const modes[][2] = {{w4a4, "int"}, {w4a4, "fake"}, {model_path, "fp32"}};
    char memory[32], less[32];
    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const char *const model = modes[i][0], *const mode = modes[i][1];
        cJSON *const all = evaluate(model, "--mode", mode, "--limit", "40"),
                     *const few = evaluate(model, "--mode", mode, "--limit", "5"),
                     *const none = evaluate(model, "--mode", mode, "--limit", "3", "--memory", "1KB"),
                     *const five = evaluate(model, "--mode", mode, "--limit", "5", "--batch", "5");
        assert_true(num(all, "batch") == 32 && num(few, "batch") == 5 && num(none, "batch") == 1);
        assert_true(num(five, "resident_bytes.activations") == num(few, "resident_bytes.activations"));
        snprintf(memory, sizeof memory, "%.3fKB", num(few, "resident_bytes.activations") * 1e-3);
        snprintf(less, sizeof less, "%.3fKB", num(few, "resident_bytes.activations") * 1e-3 - 1);
        cJSON *const fits = evaluate(model, "--mode", mode, "--limit", "40", "--memory", memory),
                     *const fewer = evaluate(model, "--mode", mode, "--limit", "40", "--memory", less);
        assert_true(num(fits, "batch") == 5 && num(fewer, "batch") == 4);
        cJSON_Delete(all);
        cJSON_Delete(few);
        cJSON_Delete(none);
        cJSON_Delete(five);
        cJSON_Delete(fits);
        cJSON_Delete(fewer);
    }
    cJSON *const chosen = json("predict", w8a8, photo(0), photo(1), photo(2)),
                 *const given = json("predict", w8a8, photo(0), photo(1), photo(2), "--batch", "2"),
                 *const small = json("predict", w8a8, photo(0), photo(1), photo(2), "--memory", "1KB");
    assert_true(num(chosen, "batch") == 3 && num(given, "batch") == 2 && num(small, "batch") == 1);
    assert_true(cJSON_Compare(at(chosen, "images"), at(given, "images"), true));
    assert_true(cJSON_Compare(at(chosen, "images"), at(small, "images"), true));
    cJSON_Delete(chosen);
    cJSON_Delete(given);
    cJSON_Delete(small);
}

static void test_logits_of_floats(void **state)
{
    const char *const out = scratch("floats.safetensors");
    uint8_t labels[20];
    float rows[20][CLASSES];
    int right = 0;
    (void)state;
    cJSON *const result = evaluate(model_path, "--limit", "20", "--logits", out, "--batch", "6");
    tensors t = read_tensors(out);
    assert_string_equal(str(t.header, "logits.dtype"), "F32");
    assert_true(num(t.header, "logits.shape.0") == 20 && num(t.header, "logits.shape.1") == CLASSES);
    assert_int_equal(t.bytes, sizeof rows);
    memcpy(rows, t.data, sizeof rows);
    read_gzip(labels, sizeof labels, test_labels, 8);
    for (int i = 0; i < 20; i++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (rows[i][c] > rows[i][best]) best = c;
        right += best == labels[i];
    }
    assert_true(num(result, "top1") == right);
    clear_tensors(&t);
    cJSON_Delete(result);
}

/* Probabilities of one image, three, falling and together at most 1. */
static void check_probabilities(const cJSON *image)
{
    double before = 1, sum = 0;
    const cJSON *entry;
    assert_int_equal(cJSON_GetArraySize(at(image, "classes")), 3);
    cJSON_ArrayForEach(entry, at(image, "classes"))
    {
        const double p = num(entry, "probability");
        assert_true(p >= 0 && p <= before);
        before = p;
        sum += p;
    }
    assert_true(sum <= 1.001);
}

static void test_predict(void **state)
{
    int right = 0;
    (void)state;
    cJSON *const r = json("predict", w8a8, photo(0), photo(1), photo(2), photo(3), photo(4), photo(5), photo(6),
                          photo(7), "--topk", "3");
    assert_string_equal(str(r, "mode"), "int");
    assert_int_equal(cJSON_GetArraySize(at(r, "images")), 8);
    for (int i = 0; i < 8; i++) {
        const cJSON *const image = cJSON_GetArrayItem(at(r, "images"), i);
        right += num(image, "classes.0.index") == classes[i];
        check_probabilities(image);
    }
    assert_in_range(right, 6, 8);
    has(ok("predict", w8a8, photo(0)), str(r, "images.0.classes.0.label"));
    cJSON_Delete(r);
    cJSON *const all = json("predict", model_path, photo(0), "-k", "99");
    assert_int_equal(cJSON_GetArraySize(at(all, "images.0.classes")), CLASSES);
    cJSON_Delete(all);
}

static void test_example(void **state)
{
    cJSON *const r = json("predict", w8a8, photo(0));
    (void)state;
    const run_result *const done = run_words(NULL, WORDS(classify_path, w8a8, photo(0)));
    assert_int_equal(done->code, 0);
    const char *const label = strstr(done->out, str(r, "images.0.classes.0.label"));
    assert_true(label && label < strchr(done->out, '\n'));
    assert_int_equal(run_words(NULL, WORDS(classify_path, w8a8, "/nowhere"))->code, VQ_ERR_IO);
    cJSON_Delete(r);
}

/* ---- bad input -----------------------------------------------------------------------------------------------------
 */

static void copy_photos(const char *to)
{
    make_folder(to);
    for (int i = 0; i < PHOTOS; i++) copy_file(photo(i), scratch("%s/%02d.png", strrchr(to, '/') + 1, i));
}

static void test_bad_photos(void **state)
{
    const char *const folder = scratch("bad"), *const out = scratch("rows.safetensors");
    const char *const made = scratch("bad.vitq.safetensors");
    size_t bytes;
    (void)state;
    copy_photos(folder);
    write_text(scratch("bad/01.png"), "");
    uint8_t *const data = read_file(&bytes, photo(4));
    write_file(scratch("bad/04.png"), data, bytes / 2);
    free(data);
    write_text(scratch("bad/11.png"), "no photo");
    fails(VQ_ERR_FORMAT, "01.png", "eval", w8a8, "--images", folder, "--labels", labels_csv);
    fails(VQ_ERR_FORMAT, "04.png", "predict", w8a8, scratch("bad/04.png"));

    const run_result *r = vitq("eval", w8a8, "--images", folder, "--labels", labels_csv, "--skip-bad", "--json",
                               "--batch", "5", "--logits", out);
    assert_int_equal(r->code, 0);
    assert_int_equal(times(r->err, "skipped: "), 3);
    cJSON *o = parse_json(r->out);
    assert_true(num(o, "n") == 9 && num(o, "skipped") == 3);
    cJSON_Delete(o);
    tensors t = read_tensors(out);
    assert_true(num(t.header, "logits.shape.0") == 9 && num(t.header, "logits.shape.1") == CLASSES);
    clear_tensors(&t);

    fails(VQ_ERR_FORMAT, "01.png", "calibrate", model_path, "--images", folder, "-o", made);
    assert_false(exists(made));
    r = vitq("calibrate", model_path, "--images", folder, "-o", made, "--skip-bad", "--json", "--samples", "9");
    assert_int_equal(r->code, 0);
    o = parse_json(r->out);
    assert_true(num(o, "samples") == 9);
    cJSON_Delete(o);

    for (int i = 0; i < PHOTOS; i++) write_text(scratch("bad/%02d.png", i), "");
    r = vitq("eval", w8a8, "--images", folder, "--labels", labels_csv, "--skip-bad", "--quiet");
    assert_int_equal(r->code, VQ_ERR_FORMAT);
    r = vitq("calibrate", model_path, "--images", folder, "-o", made, "--skip-bad", "--quiet");
    assert_int_equal(r->code, VQ_ERR_FORMAT);
}

static void test_bad_labels(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {{"file,class_index\n00.png,10\n", "10"},
               {"file,class_index\nnone.png,1\n", "none.png"},
               {"file,class_index\n00.png,x\n", "x"},
               {"name\n00.png\n", "file"}};
    const char *const csv = scratch("bad.csv");
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text(csv, bad[i].text);
        const run_result *const r = vitq("eval", model_path, "--images", photos, "--labels", csv);
        assert_true(r->code > USAGE);
        check_fails(r, r->code, "bad.csv");
        has(r->err, bad[i].says);
    }
}

static void test_bad_models(void **state)
{
    static const size_t cuts[] = {0, 4, 5000};
    const char *const folder = scratch("model"), *const broken = scratch("broken.vitq.safetensors");
    const char *const weights_path = scratch("model/model.safetensors"), *const config_path =
                                                                             scratch("model/config.json");
    char source[512];
    size_t bytes;
    (void)state;
    make_folder(folder);
    fails(VQ_ERR_IO, "nowhere", "inspect", scratch("nowhere"));
    assert_int_not_equal(vitq("inspect", folder)->code, 0);
    snprintf(source, sizeof source, "%s/config.json", model_path);
    copy_file(source, config_path);
    snprintf(source, sizeof source, "%s/model.safetensors", model_path);
    uint8_t *const weights = read_file(&bytes, source);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        write_file(weights_path, weights, cuts[i]);
        fails(VQ_ERR_FORMAT, "model.safetensors", "inspect", folder);
    }
    write_file(weights_path, weights, bytes - 1);
    fails(VQ_ERR_FORMAT, "model.safetensors", "inspect", folder);
    weights[7] = 0x10; /* a header of 2^60 bytes */
    write_file(weights_path, weights, bytes);
    fails(VQ_ERR_FORMAT, "model.safetensors", "inspect", folder);
    copy_file(source, weights_path);
    write_text(config_path, "{");
    fails(VQ_ERR_FORMAT, "config.json", "inspect", folder);
    free(weights);
    uint8_t *const quantized = read_file(&bytes, w4a4);
    write_file(broken, quantized, bytes - 100);
    free(quantized);
    fails(VQ_ERR_FORMAT, "broken.vitq", "inspect", broken);
    fails(VQ_ERR_UNSUPPORTED, "quantized", "calibrate", w4a4, "--images", train_images, "-o", scratch("x"));
    fails(VQ_ERR_UNSUPPORTED, "calibrate", "eval", model_path, "--mode", "int", "--images", test_images, "--labels",
          test_labels);
    fails(VQ_ERR_UNSUPPORTED, "", "eval", w4a4, "--mode", "fp32", "--images", test_images, "--labels", test_labels);
}

static void test_bad_outputs(void **state)
{
    char weights[512];
    const char *const empty = scratch("empty");
    const run_how small = {.file_limit = 1 << 20}; /* as a full disk; more than the OpenCL compiler's own files need */
    const run_how full = {.out = "/dev/full"};
    (void)state;
    snprintf(weights, sizeof weights, "%s/model.safetensors", model_path);
#define calibrate(...) "calibrate", model_path, "--images", train_images, __VA_ARGS__
    fails(VQ_ERR_IO, "none", calibrate("-o", scratch("none/x")));
    fails(VQ_ERR_IO, "folder", calibrate("-o", photos));
    fails(VQ_ERR_IO, "/dev/null", calibrate("-o", "/dev/null"));
    fails(VQ_ERR_INVALID_ARG, "overwrite", calibrate("-o", weights));
    fails(VQ_ERR_IO, "", "eval", model_path, "--images", test_images, "--labels", test_labels, "--logits",
          scratch("none/x"));
    make_folder(empty);
    fails_with(&small, VQ_ERR_IO, "x", calibrate("-o", scratch("empty/x"), "--bits", "w8a8"));
#undef calibrate
    assert_int_equal(entries(empty), 0);
    assert_int_equal(run_with(&full, vitq_path, "inspect", model_path)->code, VQ_ERR_IO);
}

static void test_no_device(void **state)
{
    char env[600];
    const run_how none = {.env = env};
    (void)state;
    snprintf(env, sizeof env, "OCL_ICD_VENDORS=%s", scratch("none"));
    fails_with(&none, VQ_ERR_NO_DEVICE, "pocl-opencl-icd", "devices");
    fails_with(&none, VQ_ERR_NO_DEVICE, "pocl-opencl-icd", "predict", model_path, photo(0));
    fails(VQ_ERR_NO_DEVICE, "77", "predict", model_path, photo(0), "--device", "77");
}

/* ---- terminal ------------------------------------------------------------------------------------------------------
 */

/* Ctrl-C in the middle of long work: 130, one line. */
static void interrupt(process p)
{
    nanosleep(&(struct timespec){1, 500000000}, NULL);
    kill(p.pid, SIGINT);
    check_fails(finish(&p), 130, "interrupted");
}

static void test_interrupt(void **state)
{
    const char *const folder = scratch("interrupted");
    (void)state;
    make_folder(folder);
    interrupt(start("eval", w8a8, "--witness", "--images", test_images, "--labels", test_labels, "--logits",
                    scratch("interrupted/l")));
    interrupt(
        start("calibrate", model_path, "--images", train_images, "--samples", "1024", "-o", scratch("interrupted/m")));
    assert_int_equal(entries(folder), 0);
}

static void test_progress_line(void **state)
{
#define words "eval", model_path, "--images", test_images, "--labels", test_labels, "--limit", "300", "--batch", "1"
    (void)state;
    const char *text = in_terminal(WORDS(vitq_path, words));
    matches(text, "\r\033\\[Keval  [0-9]+/300");
    matches(text, "\r\033\\[Kmodel "); /* cleared before the result */
    text = in_terminal(WORDS(vitq_path, words, "--quiet"));
    lacks(text, "\033");
#undef words
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_did_you_mean),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_calibrate),
        cmocka_unit_test(test_recipes),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_integer_logits_are_exact),
        cmocka_unit_test(test_packed_weights),
        cmocka_unit_test(test_chosen_batch),
        cmocka_unit_test(test_logits_of_floats),
        cmocka_unit_test(test_predict),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_bad_photos),
        cmocka_unit_test(test_bad_labels),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_bad_outputs),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_progress_line),
    };
    if (!find_files(argc, argv)) return 77;
    return cmocka_run_group_tests(tests, prepare, NULL) ? 1 : 0;
}
