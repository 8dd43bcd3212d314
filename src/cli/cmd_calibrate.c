/* vitq calibrate: an FP32 model and some images in, a quantized model file out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vitq/mixed.h"

typedef struct outcome {
    double seconds;
    cli_phases phases;
    int samples, skipped;
    vq_calib_memory memory;
    vq_budget budget; /* --budget, else zero */
    vq_budget_result mixed;
} outcome;

int cli_check_recipe(const char *name)
{
    const char *names[32];
    char list[256] = "";
    int n = 0;
    for (; n < 31 && vq_recipe_name(n); n++) {
        const size_t used = strlen(list);
        names[n] = vq_recipe_name(n);
        if (name && strcmp(name, names[n]) == 0) return 0;
        snprintf(list + used, sizeof list - used, "%s%s", n ? ", " : "", names[n]);
    }
    names[n] = NULL;
    const size_t len = name ? strlen(name) : 0;
    if (!name || (len > 5 && strcmp(name + len - 5, ".json") == 0)) return 0;
    const char *const nearest = cli_nearest(name, names);
    if (nearest) return cli_fail(VQ_ERR_INVALID_ARG, "unknown recipe '%s'; did you mean '%s'?", name, nearest);
    return cli_fail(VQ_ERR_INVALID_ARG, "unknown recipe '%s'; there are: %s", name, list);
}

static int read_budget(vq_budget *b, const cli_options *options)
{
    if (!options->budget) return 0;
    const vq_status status = vq_budget_parse(b, options->budget);
    if (status != VQ_OK) return status == VQ_ERR_FORMAT ? CLI_USAGE : (int)status;
    if (options->bits_given && b->activation_bits > 0)
        return cli_fail(CLI_USAGE, "calibrate: --budget chooses the bits; leave --bits out");
    if (options->official_levels)
        return cli_fail(CLI_USAGE, "calibrate: --official-levels and --budget exclude each other");
    return 0;
}

/* What can be known before any work. */
static int check(const cli_options *options, const char *model, vq_budget *budget)
{
    if (!options->images) return cli_fail(CLI_USAGE, "calibrate: needs --images, some 32 photos like those to come");
    if (!options->output) return cli_fail(CLI_USAGE, "calibrate: needs -o, the file to write");
    if (options->sensitivity && !options->budget)
        return cli_fail(CLI_USAGE, "calibrate: --sensitivity goes with --budget");
    int code = cli_check_recipe(options->recipe);
    if (!code) code = read_budget(budget, options);
    return code ? code : cli_check_output(options->output, model);
}

/* How many images the library used, from the manifest it wrote. */
static int manifest_samples(const vq_model *model)
{
    char *json = NULL;
    int samples = 0;
    if (vq_model_describe(&json, model) != VQ_OK) return 0;
    cJSON *const root = cJSON_Parse(json);
    const cJSON *const n =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "manifest"), "samples");
    if (cJSON_IsNumber(n)) samples = n->valueint;
    cJSON_Delete(root);
    free(json);
    return samples;
}

static vq_status calibrate_budget(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *set,
                                  const vq_calib_params *params, const cli_options *options, outcome *result)
{
    vq_sensitivity *s = NULL;
    vq_status status = options->sensitivity ? vq_sensitivity_load(&s, fp32, options->sensitivity) : VQ_OK;
    if (status == VQ_OK) status = vq_calibrate_budget(out, &result->mixed, dev, fp32, set, params, &result->budget, s);
    vq_sensitivity_destroy(&s);
    return status;
}

static vq_status calibrate(vq_model **out, vq_device *dev, const vq_model *fp32, const vq_dataset *set,
                           const cli_options *options, outcome *result)
{
    const vq_calib_params params = {.recipe = options->recipe,
                                    .parts = options->parts,
                                    .search = options->search,
                                    .w_bits = options->w_bits,
                                    .a_bits = options->a_bits,
                                    .samples = options->samples,
                                    .shuffle = options->seeded,
                                    .seed = options->seed,
                                    .skip_bad = options->skip_bad,
                                    .official_levels = options->official_levels,
                                    .memory = options->memory,
                                    .memory_taken = &result->memory,
                                    .progress = cli_phases_progress,
                                    .progress_user = &result->phases};
    if (options->skip_bad) cli_skips_begin();
    const vq_status status = options->budget ? calibrate_budget(out, dev, fp32, set, &params, options, result)
                                             : vq_calibrate(out, dev, fp32, set, &params);
    if (options->skip_bad) result->skipped = cli_skips_end(status != VQ_OK && status != VQ_ERR_CANCELLED);
    cli_progress_end();
    return status;
}

static int save(const vq_model *model, const char *path)
{
    cli_signals_hold(true);
    const vq_status status = cli_interrupted() ? VQ_ERR_CANCELLED : vq_model_save(model, path);
    cli_signals_hold(false);
    return cli_code(status);
}

static void add_budget(cJSON *root, const vq_budget_result *r)
{
    cJSON *const o = cJSON_AddObjectToObject(root, "budget");
    cli_json_text(o, "kept", r->mixed ? "mixed" : "uniform");
    if (isfinite(r->mixed_error)) cJSON_AddNumberToObject(o, "mixed_error", r->mixed_error);
    cJSON_AddNumberToObject(o, "uniform_error", r->uniform_error);
    cJSON_AddNumberToObject(o, "uniform_weight_bits", r->uniform_weight_bits);
    cJSON_AddNumberToObject(o, "uniform_activation_bits", r->uniform_activation_bits);
    cJSON_AddNumberToObject(o, "expected", r->expected);
    cJSON_AddNumberToObject(o, "bound", r->bound);
}

static void print_budget(const vq_budget_result *r)
{
    const int w = r->uniform_weight_bits, a = r->uniform_activation_bits;
    if (isinf(r->mixed_error)) {
        printf("budget       uniform w%da%d kept, error %.4g: no mixed model is as small\n", w, a, r->uniform_error);
        return;
    }
    printf("budget       %s kept: error %.4g of the mixed, %.4g of the uniform w%da%d model\n",
           r->mixed ? "mixed" : "uniform", r->mixed_error, r->uniform_error, w, a);
    printf("choice       sum of sensitivities %.4g, ", r->expected);
    if (r->bound >= r->expected)
        printf("the least there is\n");
    else
        printf("at most %.2g %% above the least\n", 100 * (r->expected / r->bound - 1));
}

static int report(const cli_options *options, const char *model, vq_device *dev, const outcome *result)
{
    const char *const recipe = options->recipe ? options->recipe : vq_recipe_name(0);
    const vq_device_info *const info = vq_device_get_info(dev);
    const double bytes = cli_file_bytes(options->output);
    const double w_bits = options->budget ? result->mixed.weight_bits : options->w_bits;
    const double a_bits = options->budget ? result->mixed.activation_bits : options->a_bits;
    if (options->json) {
        cJSON *const o = cJSON_CreateObject();
        cli_json_text(o, "output", options->output);
        cli_json_text(o, "model", model);
        cli_json_text(o, "recipe", recipe);
        cJSON_AddNumberToObject(o, "weight_bits", w_bits);
        cJSON_AddNumberToObject(o, "activation_bits", a_bits);
        if (options->budget) add_budget(o, &result->mixed);
        cJSON_AddNumberToObject(o, "samples", result->samples);
        cJSON_AddNumberToObject(o, "skipped", result->skipped);
        cli_json_number(o, "seconds", result->seconds, 3);
        cli_phases_json(o, &result->phases);
        cJSON_AddNumberToObject(o, "bytes", bytes);
        cJSON_AddNumberToObject(o, "peak_memory_bytes", cli_peak_memory());
        cJSON_AddNumberToObject(o, "planned_memory_bytes", (double)result->memory.planned);
        cJSON_AddNumberToObject(o, "temporary_file_bytes", (double)result->memory.file_bytes);
        cJSON_AddNumberToObject(o, "images_at_once", result->memory.images_at_once);
        cli_json_text(o, "device", info->name);
        cli_json_text(o, "variant", vq_device_variants(dev));
        return cli_json_print(o);
    }
    if (options->quiet) return 0;
    printf("wrote        %s, %.2f MB\n", options->output, bytes * 1e-6);
    printf("recipe       %s at w%.3ga%.3g\n", recipe, w_bits, a_bits);
    if (options->budget) print_budget(&result->mixed);
    printf("images       %d", result->samples);
    if (result->skipped) printf(" (%d unreadable ones skipped)", result->skipped);
    printf("\ntime         %.1f s on %s: ", result->seconds, info->name);
    cli_phases_print(&result->phases);
    printf("\n");
    printf("peak memory  %.0f MB", cli_peak_memory() * 1e-6);
    if (result->memory.file_bytes)
        printf(", and a temporary file of %.0f MB", (double)result->memory.file_bytes * 1e-6);
    printf("\n");
    return 0;
}

int cli_calibrate(const cli_options *options)
{
    vq_model *fp32 = NULL, *made = NULL;
    vq_dataset *set = NULL;
    vq_device *dev = NULL;
    outcome result = {0};
    int code = 0;
    const double start = cli_now();
    const char *const model = cli_one_argument(options, "a MODEL", &code);
    if (!model) return code;
    code = check(options, model, &result.budget);
    if (code) return code;
    cli_phases_begin(&result.phases, "open");
    code = cli_code(vq_model_load(&fp32, model));
    if (!code && vq_model_is_quantized(fp32))
        code = cli_fail(VQ_ERR_UNSUPPORTED, "%s: is quantized already; give the FP32 model", model);
    if (!code) code = cli_code(vq_dataset_open(&set, options->images, options->labels, vq_model_num_classes(fp32)));
    if (!code) code = cli_code(cli_open_device(&dev, options));
    if (!code) code = cli_code(calibrate(&made, dev, fp32, set, options, &result));
    cli_phases_begin(&result.phases, "save");
    if (!code) code = save(made, options->output);
    cli_phases_begin(&result.phases, NULL);
    if (!code) {
        result.seconds = cli_now() - start;
        result.samples = manifest_samples(made);
        code = report(options, model, dev, &result);
    }
    vq_model_destroy(&made);
    vq_device_destroy(&dev);
    vq_dataset_destroy(&set);
    vq_model_destroy(&fp32);
    return code;
}
