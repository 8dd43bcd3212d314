/* vitq export: a model as ONNX. */
#include <string.h>

#include "cli/cli.h"
#include "vitq/export.h"

static int set_input(vq_onnx_params *params, const char *input)
{
    params->u8_input = input && strcmp(input, "u8") == 0;
    if (!input || params->u8_input || strcmp(input, "normalized") == 0) return 0;
    return cli_fail(CLI_USAGE, "--input: '%s' is not one of normalized, u8", input);
}

static int print_json(const cli_options *options, const char *model, const vq_onnx_info *info, double seconds)
{
    cJSON *const o = cJSON_CreateObject();
    cli_json_text(o, "output", options->output);
    cli_json_text(o, "model", model);
    cJSON_AddStringToObject(o, "input", options->input && strcmp(options->input, "u8") == 0 ? "u8" : "normalized");
    cJSON_AddBoolToObject(o, "exact", options->exact);
    cJSON_AddNumberToObject(o, "opset", info->opset);
    cJSON_AddNumberToObject(o, "nodes", (double)info->nodes);
    cJSON_AddNumberToObject(o, "quantizers_qdq", info->qdq);
    cJSON_AddNumberToObject(o, "quantizers_in_floats", info->in_floats);
    cJSON_AddNumberToObject(o, "quantizers_codebook", info->codebooks);
    cJSON_AddNumberToObject(o, "weights_int8", info->weights_s8);
    cJSON_AddNumberToObject(o, "weights_int4", info->weights_s4);
    cJSON_AddNumberToObject(o, "weights_float32", info->weights_f32);
    cJSON_AddNumberToObject(o, "bytes", (double)info->bytes);
    cli_json_number(o, "seconds", seconds, 3);
    return cli_json_print(o);
}

static void print_count(const char *what, int count)
{
    static const char *separator = "";
    if (!count) return;
    printf("%s%d %s", separator, count, what);
    separator = ", ";
}

static void print_lines(const cli_options *options, const vq_onnx_info *info)
{
    printf("wrote        %s, %.2f MB\n", options->output, (double)info->bytes * 1e-6);
    printf("graph        %zu nodes of operator set %d\n", info->nodes, info->opset);
    printf("holds        ");
    print_count("int8 weights", info->weights_s8);
    print_count("int4 weights", info->weights_s4);
    print_count("float weights", info->weights_f32);
    print_count("quantize-dequantize pairs", info->qdq);
    print_count("uniform quantizers in floats", info->in_floats);
    print_count("codebooks as look-ups", info->codebooks);
    printf("\n");
}

/* What can be known before any work. */
static int check(vq_onnx_params *params, const cli_options *options, const char *model)
{
    if (!options->output) return cli_fail(CLI_USAGE, "export: needs -o, the file to write");
    const int code = set_input(params, options->input);
    return code ? code : cli_check_output(options->output, model);
}

int cli_export(const cli_options *options)
{
    vq_onnx_params params = {.int4 = options->int4, .exact = options->exact};
    vq_onnx_info info;
    vq_model *model = NULL;
    int code = 0;
    const double start = cli_now();
    const char *const path = cli_one_argument(options, "a MODEL", &code);
    if (!path) return code;
    code = check(&params, options, path);
    if (code) return code;
    code = cli_code(vq_model_load(&model, path));
    if (!code && params.int4 && !vq_model_is_quantized(model))
        code = cli_fail(VQ_ERR_UNSUPPORTED, "%s: is FP32, --int4 is for quantized models", path);
    if (!code && params.exact && !vq_model_is_quantized(model))
        code = cli_fail(VQ_ERR_UNSUPPORTED, "%s: is FP32, --exact is for quantized models", path);
    if (!code && cli_interrupted()) code = cli_code(VQ_ERR_CANCELLED);
    if (!code) {
        cli_signals_hold(true);
        code = cli_code(vq_export_onnx(&info, model, options->output, &params));
        cli_signals_hold(false);
    }
    if (!code && options->json)
        code = print_json(options, path, &info, cli_now() - start);
    else if (!code && !options->quiet)
        print_lines(options, &info);
    vq_model_destroy(&model);
    return code;
}
