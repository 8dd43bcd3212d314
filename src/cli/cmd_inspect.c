/* vitq inspect: what is in a model, FP32 or quantized. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static double number(const cJSON *o, const char *name)
{
    const cJSON *const v = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static const char *text(const cJSON *o, const char *name)
{
    const cJSON *const v = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsString(v) ? v->valuestring : "";
}

static bool is_true(const cJSON *o, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static void print_list(const char *name, const cJSON *list)
{
    const cJSON *v;
    printf(" %s", name);
    cJSON_ArrayForEach(v, list) printf(" %.4g", v->valuedouble);
}

static void print_model(const cJSON *m)
{
    const cJSON *const pre = cJSON_GetObjectItemCaseSensitive(m, "preprocess");
    printf("model        %s\n", text(m, "path"));
    printf("architecture %s, %s\n", text(m, "architecture"), is_true(m, "quantized") ? "quantized" : "FP32");
    printf("parameters   %.0f\n", number(m, "parameters"));
    printf("blocks       %.0f of width %.0f with %.0f heads, %.0f tokens\n", number(m, "depth"), number(m, "embed_dim"),
           number(m, "heads"), number(m, "tokens"));
    printf("readout      %s; tokens in front of the patches: %.0f\n", text(m, "readout"), number(m, "prefix_tokens"));
    printf("classes      %.0f\n", number(m, "num_classes"));
    printf("input        %.0f x %.0f x %.0f, patches of %.0f\n", number(pre, "channels"), number(pre, "height"),
           number(pre, "width"), number(m, "patch"));
    printf("preprocess   %s, crop %.3g %s,", text(pre, "interpolation"), number(pre, "crop_pct"),
           text(pre, "crop_mode"));
    print_list("mean", cJSON_GetObjectItemCaseSensitive(pre, "mean"));
    print_list("std", cJSON_GetObjectItemCaseSensitive(pre, "std"));
    printf("\nweights      XXH3 %s\n", text(m, "weights_xxh3"));
}

static void print_manifest(const cJSON *m)
{
    const cJSON *const made = cJSON_GetObjectItemCaseSensitive(m, "manifest");
    printf("calibrated   %s at w%.3ga%.3g with %.0f images", text(made, "recipe"), number(made, "weight_bits"),
           number(made, "activation_bits"), number(made, "samples"));
    const cJSON *const budget = cJSON_GetObjectItemCaseSensitive(made, "budget");
    if (text(made, "seed")[0]) printf(", seed %s", text(made, "seed"));
    if (budget) printf("\nbudget       ");
    if (cJSON_HasObjectItem(budget, "bytes"))
        printf("%.6g MB", number(budget, "bytes") * 1e-6);
    else if (budget)
        printf("%g bits of weights", number(budget, "weight_bits"));
    if (cJSON_HasObjectItem(budget, "activation_bits"))
        printf(", %g of activations", number(budget, "activation_bits"));
    if (budget)
        printf("; %s bits kept, error %.4g (uniform %.4g)", text(budget, "kept"), number(budget, "mixed_error"),
               number(budget, "uniform_error"));
    printf("\nmade by      vitq %s on %s\n", text(made, "vitq"), text(made, "device"));
    printf("integer      %s\n", is_true(m, "integer") ? "yes" : "no, fake-quant only");
}

static void print_quantizer(const cJSON *layer, const char *name)
{
    const cJSON *const q = cJSON_GetObjectItemCaseSensitive(layer, name);
    if (!q) return;
    printf("  %s %.0f-bit %s", name, number(q, "bits"), text(q, "method"));
    if (number(q, "groups") > 1)
        printf(" x%.0f (per %s)", number(q, "groups"), text(q, "per"));
    else if (cJSON_HasObjectItem(q, "scale"))
        printf(" scale %.4g zero %.4g", number(q, "scale"), number(q, "zero"));
    else
        printf(" max %.4g", number(q, "max"));
}

static void print_layers(const cJSON *m)
{
    static const char *const operands[] = {"input", "q", "k", "probabilities", "v", "weight"};
    const cJSON *layer;
    printf("\n");
    cJSON_ArrayForEach(layer, cJSON_GetObjectItemCaseSensitive(m, "layers"))
    {
        printf("%-22s", text(layer, "name"));
        for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++) print_quantizer(layer, operands[i]);
        printf("\n");
    }
}

int cli_inspect(const cli_options *options)
{
    vq_model *model = NULL;
    char *json = NULL;
    cJSON *root = NULL;
    int code = 0;
    const char *const path = cli_one_argument(options, "a MODEL", &code);
    if (!path) return code;
    code = cli_code(vq_model_load(&model, path));
    if (!code) code = cli_code(vq_model_describe(&json, model));
    if (code) goto done;
    root = cJSON_Parse(json);
    if (!root) {
        code = cli_fail(VQ_ERR_FORMAT, "%s: its description is not valid JSON", path);
        goto done;
    }
    if (options->json) {
        code = cli_json_print(root);
        root = NULL;
        goto done;
    }
    print_model(root);
    if (vq_model_is_quantized(model)) {
        print_manifest(root);
        print_layers(root);
    }
done:
    cJSON_Delete(root);
    free(json);
    vq_model_destroy(&model);
    return code;
}
