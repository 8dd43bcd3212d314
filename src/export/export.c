/* vq_export_onnx: what is in the file besides its nodes, and which operator sets they need. */
#include "vitq/export.h"

#include <stdlib.h>

#include "base/json.h"
#include "export/onnx_emit.h"
#include "run/model.h"

enum {
    OPSET = 17, /* LayerNormalization */
    IR = 8,
    OPSET_INT4 = 21,
    IR_INT4 = 10
};

static void add_text(vq_onnx_file *f, const char *key, const cJSON *value)
{
    char *const text = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
    if (cJSON_IsString(value))
        vq_onnx_metadata(f, key, value->valuestring);
    else if (text)
        vq_onnx_metadata(f, key, text);
    cJSON_free(text);
}

static void add_labels(vq_onnx_file *f, const vq_graph *g)
{
    cJSON *const list = cJSON_CreateArray();
    for (int i = 0; i < g->num_classes; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(g->labels[i] ? g->labels[i] : ""));
    add_text(f, "vitq.labels", list);
    cJSON_Delete(list);
}

/* How the model was made and what it expects, for people and programs that have nothing but this file. */
static vq_status add_metadata(vq_onnx_file *f, const vq_model *model)
{
    static const char *const from_manifest[] = {"recipe", "weight_bits", "activation_bits"};
    const vq_graph *const g = vq_model_graph(model);
    char *json = NULL;
    VQ_TRY(vq_model_describe(&json, model));
    cJSON *const about = cJSON_Parse(json);
    const cJSON *const manifest = cJSON_GetObjectItemCaseSensitive(about, "manifest");
    free(json);
    vq_onnx_metadata(f, "vitq.version", vq_version());
    vq_onnx_metadata(f, "vitq.architecture", g->architecture);
    vq_onnx_metadata(f, "vitq.weights_xxh3", g->source_hash);
    for (size_t i = 0; i < VQ_ARRAY_LEN(from_manifest); i++) {
        const cJSON *const value = cJSON_GetObjectItemCaseSensitive(manifest, from_manifest[i]);
        if (value) add_text(f, vq_onnx_text(f, "vitq.%s", from_manifest[i]), value);
    }
    if (manifest) add_text(f, "vitq.manifest", manifest);
    add_text(f, "vitq.preprocess", cJSON_GetObjectItemCaseSensitive(about, "preprocess"));
    if (g->labels) add_labels(f, g);
    cJSON_Delete(about);
    return vq_onnx_status(f);
}

vq_status vq_export_onnx(vq_onnx_info *info, const vq_model *model, const char *path, const vq_onnx_params *params)
{
    static const vq_onnx_params defaults = {0};
    vq_onnx_info made = {0};
    vq_onnx_file *file = NULL;
    vq_whole_product *products = NULL;
    vq_status status = VQ_OK;
    if (info) *info = made;
    if (!model || !path) return vq_fail(VQ_ERR_INVALID_ARG, "vq_export_onnx: NULL argument");
    if (!params) params = &defaults;
    if (params->exact && !model->qmodel)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: is FP32, exact is for quantized models", model->path);
    vq_emit e = {.graph = vq_model_graph(model),
                 .model = model->qmodel,
                 .int4 = params->int4,
                 .u8_input = params->u8_input,
                 .info = &made};
    made.opset = params->int4 ? OPSET_INT4 : OPSET;
    VQ_GO(vq_onnx_create(&file, e.graph->architecture,
                         e.model ? "a vision transformer quantized by vitq" : "a vision transformer", made.opset,
                         params->int4 ? IR_INT4 : IR));
    e.file = file;
    if (params->exact) VQ_GO(vq_whole_products(&products, e.model));
    e.products = products;
    VQ_GO(vq_emit_graph(&e));
    VQ_GO(add_metadata(file, model));
    made.nodes = vq_onnx_num_nodes(file);
    VQ_GO(vq_onnx_write(file, path, &made.bytes));
    if (info) *info = made;
done:
    vq_onnx_destroy(&file);
    vq_whole_products_destroy(&products, e.graph->num_nodes);
    return status;
}
