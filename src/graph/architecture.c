#include "graph/architecture.h"

#include <stdio.h>
#include <string.h>

static const vq_architecture *const architectures[] = {&vq_vit_architecture, &vq_swin_architecture};

static vq_status unknown(const vq_config_doc *doc)
{
    char known[1024] = "";
    for (size_t i = 0; i < VQ_ARRAY_LEN(architectures); i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", architectures[i]->known);
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: architecture \"%.60s\" is not known; known: %s", doc->path, doc->name,
                   known);
}

/* The class of a transformers config: "architectures" has exactly one. */
static vq_status read_class(vq_config_doc *doc)
{
    const cJSON *const list = vq_config_member(doc->root, "architectures"), *const name = cJSON_GetArrayItem(list, 0);
    if (cJSON_GetArraySize(list) != 1 || !cJSON_IsString(name))
        return vq_fail(VQ_ERR_FORMAT, "%s: architectures must be a list of one class", doc->path);
    doc->name = name->valuestring;
    doc->hf = true;
    if (!doc->pre_path || !cJSON_IsObject(doc->pre))
        return vq_fail(VQ_ERR_FORMAT, "%s: a transformers config, and preprocessor_config.json beside it is missing%s",
                       doc->path, doc->pre ? " (not an object)" : "");
    return VQ_OK;
}

static vq_status dispatch(vq_graph **out, vq_config_doc *doc)
{
    const cJSON *const name = vq_config_member(doc->root, "architecture");
    if (!vq_config_is_set(name) &&
        (vq_config_member(doc->root, "model_type") || vq_config_member(doc->root, "architectures")))
        VQ_TRY(read_class(doc));
    else if (!cJSON_IsString(name))
        return vq_fail(VQ_ERR_FORMAT, "%s: \"architecture\" is missing", doc->path);
    else
        doc->name = name->valuestring;
    for (size_t i = 0; i < VQ_ARRAY_LEN(architectures); i++)
        if (architectures[i]->matches(doc->name)) return architectures[i]->build(out, doc);
    return unknown(doc);
}

vq_status vq_graph_from_configs(vq_graph **out, const char *path, const char *json, size_t bytes, const char *pre_path,
                                const char *pre, size_t pre_bytes)
{
    cJSON *root = NULL, *pre_root = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_json_parse(&root, path, json, bytes));
    if (!cJSON_IsObject(root)) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: not a JSON object", path));
    if (pre) VQ_GO(vq_json_parse(&pre_root, pre_path, pre, pre_bytes));
    VQ_GO(dispatch(out, &(vq_config_doc){.path = path, .root = root, .pre_path = pre_path, .pre = pre_root}));
done:
    cJSON_Delete(root);
    cJSON_Delete(pre_root);
    return status;
}

vq_status vq_graph_from_config(vq_graph **out, const char *path, const char *json, size_t bytes)
{
    return vq_graph_from_configs(out, path, json, bytes, NULL, NULL, 0);
}
