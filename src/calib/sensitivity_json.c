/* Sensitivities as JSON: what vq_sensitivity_json writes and vq_sensitivity_load reads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "calib/sensitivity.h"
#include "run/model.h"

enum { FILE_MAX = 1 << 26 };

vq_status vq_sensitivity_json(char **json, const vq_sensitivity *s)
{
    char name[4];
    if (json) *json = NULL;
    if (!json || !s) return vq_fail(VQ_ERR_INVALID_ARG, "vq_sensitivity_json: NULL argument");
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "architecture", s->graph->architecture);
    cJSON_AddStringToObject(root, "weights_xxh3", s->graph->source_hash);
    cJSON_AddNumberToObject(root, "samples", s->samples);
    cJSON_AddNumberToObject(root, "min_bits", s->min_bits);
    cJSON_AddNumberToObject(root, "max_bits", s->max_bits);
    cJSON *const tensors = cJSON_AddArrayToObject(root, "tensors");
    for (int i = 0; i < s->count; i++) {
        const vq_tensor_errors *const t = &s->tensors[i];
        cJSON *const o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "layer", t->layer);
        cJSON_AddStringToObject(o, "operand", t->operand);
        cJSON_AddNumberToObject(o, "elements", (double)t->elements);
        cJSON *const errors = cJSON_AddObjectToObject(o, "error");
        for (int b = s->min_bits; b <= s->max_bits; b++) {
            snprintf(name, sizeof name, "%d", b);
            cJSON_AddNumberToObject(errors, name, t->error[b]);
        }
        cJSON_AddItemToArray(tensors, o);
    }
    *json = cJSON_Print(root);
    cJSON_Delete(root);
    return *json ? VQ_OK : vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the sensitivities");
}

static vq_status read_tensor(vq_sensitivity *s, int i, const cJSON *o, const char *path)
{
    vq_tensor_errors *const t = &s->tensors[i];
    const char *layer, *operand;
    const cJSON *errors;
    char name[4];
    VQ_TRY(vq_json_string(&layer, o, "layer", path));
    VQ_TRY(vq_json_string(&operand, o, "operand", path));
    if (strcmp(layer, t->layer) != 0 || strcmp(operand, t->operand) != 0)
        return vq_fail(VQ_ERR_SHAPE, "%s: has %.60s %.20s where the model has %s %s", path, layer, operand, t->layer,
                       t->operand);
    VQ_TRY(vq_json_object(&errors, o, "error", path));
    for (int b = s->min_bits; b <= s->max_bits; b++) {
        snprintf(name, sizeof name, "%d", b);
        VQ_TRY(vq_json_number(&t->error[b], errors, name, path));
        if (!(t->error[b] >= 0) || !isfinite(t->error[b]))
            return vq_fail(VQ_ERR_FORMAT, "%s: %s %s has error %g at %d bits, must be 0 or more", path, t->layer,
                           t->operand, t->error[b], b);
    }
    return VQ_OK;
}

static vq_status read_all(vq_sensitivity **out, const vq_graph *g, const cJSON *root, const char *path)
{
    const char *hash;
    const cJSON *tensors;
    int min_bits, max_bits;
    VQ_TRY(vq_json_string(&hash, root, "weights_xxh3", path));
    if (strcmp(hash, g->source_hash) != 0)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: is of a model with weights %.32s, not %s", path, hash, g->source_hash);
    VQ_TRY(vq_json_int(&min_bits, root, "min_bits", VQ_MIN_BITS, VQ_MAX_BITS, path));
    VQ_TRY(vq_json_int(&max_bits, root, "max_bits", VQ_MIN_BITS, VQ_MAX_BITS, path));
    VQ_TRY(vq_sensitivity_create(out, g, min_bits, max_bits));
    VQ_TRY(vq_json_int(&(*out)->samples, root, "samples", 1, 65536, path));
    VQ_TRY(vq_json_array(&tensors, root, "tensors", path));
    if (cJSON_GetArraySize(tensors) != (*out)->count)
        return vq_fail(VQ_ERR_SHAPE, "%s: has %d tensors, the model %d", path, cJSON_GetArraySize(tensors),
                       (*out)->count);
    int i = 0;
    const cJSON *o;
    cJSON_ArrayForEach(o, tensors) VQ_TRY(read_tensor(*out, i++, o, path));
    return VQ_OK;
}

vq_status vq_sensitivity_load(vq_sensitivity **out, const vq_model *fp32, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    cJSON *root = NULL;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !fp32 || !path) return vq_fail(VQ_ERR_INVALID_ARG, "vq_sensitivity_load: NULL argument");
    if (!fp32->graph) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: already quantized; give the float model", fp32->path);
    VQ_GO(vq_file_read(&text, &bytes, path, FILE_MAX));
    VQ_GO(vq_json_parse(&root, path, text, bytes));
    VQ_GO(read_all(out, fp32->graph, root, path));
done:
    cJSON_Delete(root);
    free(text);
    if (status != VQ_OK) vq_sensitivity_destroy(out);
    return status;
}
