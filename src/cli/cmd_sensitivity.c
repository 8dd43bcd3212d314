/* vitq sensitivity: what quantizing one tensor at a time does to a model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vitq/mixed.h"

typedef struct job {
    const cli_options *options;
    const char *model;
    const vq_sensitivity *s;
    int min_bits, max_bits;
    int skipped;
    double seconds;
} job;

/* Tensors from first on that belong to one layer; returns how many. */
static int layer_length(const vq_sensitivity *s, int first)
{
    const char *const layer = vq_sensitivity_tensor(s, first)->layer;
    int n = 1;
    while (first + n < vq_sensitivity_count(s) && strcmp(vq_sensitivity_tensor(s, first + n)->layer, layer) == 0) n++;
    return n;
}

/* Where the errors of tensors are independent, those of a layer add up. */
static double layer_error(const vq_sensitivity *s, int first, int n, int bits)
{
    double sum = 0;
    for (int i = first; i < first + n; i++) sum += vq_sensitivity_tensor(s, i)->error[bits];
    return sum;
}

static cJSON *errors_json(const job *j, int first, int n)
{
    char name[4];
    cJSON *const o = cJSON_CreateObject();
    for (int b = j->min_bits; b <= j->max_bits; b++) {
        snprintf(name, sizeof name, "%d", b);
        cJSON_AddNumberToObject(o, name, layer_error(j->s, first, n, b));
    }
    return o;
}

/* The library's object, which --sensitivity reads, and what else there is to say. */
static int print_json(const job *j, const vq_device_info *info)
{
    char *text = NULL;
    const int code = cli_code(vq_sensitivity_json(&text, j->s));
    if (code) return code;
    cJSON *const root = cJSON_Parse(text);
    free(text);
    if (!root) return cli_fail(VQ_ERR_NO_MEMORY, "out of memory for the sensitivities");
    cJSON *const layers = cJSON_AddArrayToObject(root, "layers");
    for (int i = 0, n; i < vq_sensitivity_count(j->s); i += n) {
        n = layer_length(j->s, i);
        cJSON *const o = cJSON_CreateObject();
        cli_json_text(o, "layer", vq_sensitivity_tensor(j->s, i)->layer);
        cJSON_AddItemToObject(o, "error", errors_json(j, i, n));
        cJSON_AddItemToArray(layers, o);
    }
    cli_json_text(root, "model", j->model);
    cli_json_text(root, "recipe", j->options->recipe ? j->options->recipe : vq_recipe_name(0));
    cJSON_AddNumberToObject(root, "skipped", j->skipped);
    cli_json_number(root, "seconds", j->seconds, 3);
    cli_json_text(root, "device", info->name);
    return cli_json_print(root);
}

static void print_line(const job *j, const char *layer, const char *operand, double elements, int first, int n)
{
    printf("%-24s %-13s ", layer, operand);
    if (elements > 0)
        printf("%10.0f", elements);
    else
        printf("%10s", "");
    for (int b = j->min_bits; b <= j->max_bits; b++) printf("  %8.2e", layer_error(j->s, first, n, b));
    printf("\n");
}

static void print_head(const job *j, const char *what)
{
    printf("%-24s %-13s %10s", what, "", "values");
    for (int b = j->min_bits; b <= j->max_bits; b++) printf("  %5d bit", b);
    printf("\n");
}

static int print_table(const job *j, const vq_device_info *info)
{
    print_head(j, "tensor");
    for (int i = 0; i < vq_sensitivity_count(j->s); i++) {
        const vq_tensor_errors *const t = vq_sensitivity_tensor(j->s, i);
        print_line(j, t->layer, t->operand, (double)t->elements, i, 1);
    }
    printf("\n");
    print_head(j, "layer (sum)");
    for (int i = 0, n; i < vq_sensitivity_count(j->s); i += n) {
        n = layer_length(j->s, i);
        print_line(j, vq_sensitivity_tensor(j->s, i)->layer, "", 0, i, n);
    }
    if (j->options->quiet) return 0;
    printf("\nerror        of the logits, squared, relative; that tensor alone quantized\n");
    printf("recipe       %s\n", j->options->recipe ? j->options->recipe : vq_recipe_name(0));
    printf("images       %d", vq_sensitivity_samples(j->s));
    if (j->skipped) printf(" (%d unreadable ones skipped)", j->skipped);
    printf("\ntime         %.1f s on %s\n", j->seconds, info->name);
    return 0;
}

static vq_status measure(job *j, vq_sensitivity **out, vq_device *dev, const vq_model *fp32, const vq_dataset *set)
{
    const cli_options *const o = j->options;
    const vq_calib_params params = {.recipe = o->recipe,
                                    .parts = o->parts,
                                    .search = o->search,
                                    .samples = o->samples,
                                    .shuffle = o->seeded,
                                    .seed = o->seed,
                                    .skip_bad = o->skip_bad,
                                    .progress = cli_progress};
    const vq_sensitivity_params what = {
        .min_bits = j->min_bits, .max_bits = j->max_bits, .every_width = o->every_width};
    if (o->skip_bad) cli_skips_begin();
    const vq_status status = vq_sensitivity_measure(out, dev, fp32, set, &params, &what);
    if (o->skip_bad) j->skipped = cli_skips_end(status != VQ_OK && status != VQ_ERR_CANCELLED);
    cli_progress_end();
    return status;
}

static int read_range(job *j)
{
    const char *const text = j->options->bits_range;
    char behind;
    j->min_bits = VQ_MIN_BITS;
    j->max_bits = VQ_MAX_BITS;
    if (!text) return 0;
    if (strlen(text) > 6 || strpbrk(text, " \t+-") ||
        sscanf(text, "%2d..%2d%c", &j->min_bits, &j->max_bits, &behind) != 2)
        return cli_fail(CLI_USAGE, "--bits-range: '%s' is not of the form 2..8", text);
    if (j->min_bits < VQ_MIN_BITS || j->max_bits > VQ_MAX_BITS || j->min_bits > j->max_bits)
        return cli_fail(VQ_ERR_INVALID_ARG, "--bits-range: %s is no range from %d to %d", text, VQ_MIN_BITS,
                        VQ_MAX_BITS);
    return 0;
}

int cli_sensitivity(const cli_options *options)
{
    job j = {.options = options};
    vq_model *fp32 = NULL;
    vq_dataset *set = NULL;
    vq_device *dev = NULL;
    vq_sensitivity *s = NULL;
    int code = 0;
    const double start = cli_now();
    j.model = cli_one_argument(options, "a MODEL", &code);
    if (!j.model) return code;
    if (!options->images) return cli_fail(CLI_USAGE, "sensitivity: needs --images, some 32 photos like those to come");
    code = cli_check_recipe(options->recipe);
    if (!code) code = read_range(&j);
    if (code) return code;
    code = cli_code(vq_model_load(&fp32, j.model));
    if (!code && vq_model_is_quantized(fp32))
        code = cli_fail(VQ_ERR_UNSUPPORTED, "%s: is quantized already; give the FP32 model", j.model);
    if (!code) code = cli_code(vq_dataset_open(&set, options->images, options->labels, vq_model_num_classes(fp32)));
    if (!code) code = cli_code(cli_open_device(&dev, options));
    if (!code) code = cli_code(measure(&j, &s, dev, fp32, set));
    if (!code) {
        j.s = s;
        j.seconds = cli_now() - start;
        code = options->json ? print_json(&j, vq_device_get_info(dev)) : print_table(&j, vq_device_get_info(dev));
    }
    vq_sensitivity_destroy(&s);
    vq_device_destroy(&dev);
    vq_dataset_destroy(&set);
    vq_model_destroy(&fp32);
    return code;
}
