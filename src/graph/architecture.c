#include "graph/architecture.h"

#include <stdio.h>
#include <string.h>

static const vq_architecture *const architectures[] = {&vq_vit_architecture};

static vq_status unknown(const vq_config_doc *doc)
{
    char known[512] = "";
    for (size_t i = 0; i < VQ_ARRAY_LEN(architectures); i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", architectures[i]->known);
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: architecture \"%.60s\" is not known; known: %s", doc->path, doc->name,
                   known);
}

static vq_status dispatch(vq_graph **out, vq_config_doc *doc)
{
    const cJSON *const name = vq_config_member(doc->root, "architecture");
    if (!vq_config_is_set(name) &&
        (vq_config_member(doc->root, "model_type") || vq_config_member(doc->root, "architectures")))
        return vq_fail(VQ_ERR_UNSUPPORTED,
                       "%s: a Hugging Face transformers config; only timm's (with \"architecture\") is supported",
                       doc->path);
    if (!cJSON_IsString(name)) return vq_fail(VQ_ERR_FORMAT, "%s: \"architecture\" is missing", doc->path);
    doc->name = name->valuestring;
    for (size_t i = 0; i < VQ_ARRAY_LEN(architectures); i++)
        if (architectures[i]->matches(doc->name)) return architectures[i]->build(out, doc);
    return unknown(doc);
}

vq_status vq_graph_from_config(vq_graph **out, const char *path, const char *json, size_t bytes)
{
    vq_config_doc doc = {.path = path};
    cJSON *root = NULL;
    *out = NULL;
    VQ_TRY(vq_json_parse(&root, path, json, bytes));
    doc.root = root;
    const vq_status status =
        cJSON_IsObject(root) ? dispatch(out, &doc) : vq_fail(VQ_ERR_FORMAT, "%s: not a JSON object", path);
    cJSON_Delete(root);
    return status;
}
