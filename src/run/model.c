#include "run/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

const vq_graph *vq_model_graph(const vq_model *model)
{
    return model->graph ? model->graph : model->qmodel->graph;
}

void vq_model_destroy(vq_model **model)
{
    if (!model || !*model) return;
    vq_graph_destroy(&(*model)->graph);
    vq_qmodel_destroy(&(*model)->qmodel);
    free((*model)->path);
    free(*model);
    *model = NULL;
}

vq_status vq_model_from_qmodel(vq_model **out, vq_qmodel **qmodel)
{
    vq_model *model = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_alloc(&model, 1, sizeof *model, "model"));
    VQ_GO(vq_strdup(&model->path, ""));
    model->qmodel = *qmodel;
    *qmodel = NULL;
    *out = model;
    model = NULL;
done:
    vq_model_destroy(&model);
    vq_qmodel_destroy(qmodel);
    return status;
}

/* A quantized file is told from a weights file by its metadata, not by its name. */
static vq_status is_quantized_file(bool *quantized, const char *path)
{
    vq_safetensors *st = NULL;
    *quantized = false;
    /* an index of shards and a pickle are no safetensors */
    if (vq_is_dir(path) || vq_ends_with(path, ".json") || vq_ends_with(path, ".bin")) return VQ_OK;
    VQ_TRY(vq_safetensors_open(&st, path));
    *quantized = vq_qmodel_is_file(st);
    vq_safetensors_destroy(&st);
    return VQ_OK;
}

vq_status vq_model_load(vq_model **out, const char *path)
{
    vq_model *model = NULL;
    bool quantized = false;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !path) return vq_fail(VQ_ERR_INVALID_ARG, "vq_model_load: NULL argument");
    VQ_TRY(is_quantized_file(&quantized, path));
    VQ_TRY(vq_alloc(&model, 1, sizeof *model, "model"));
    VQ_GO(vq_strdup(&model->path, path));
    VQ_GO(quantized ? vq_qmodel_load(&model->qmodel, path) : vq_graph_load(&model->graph, path));
    *out = model;
    model = NULL;
done:
    vq_model_destroy(&model);
    return status;
}

vq_status vq_model_save(const vq_model *model, const char *path)
{
    if (!model || !path) return vq_fail(VQ_ERR_INVALID_ARG, "vq_model_save: NULL argument");
    if (!model->qmodel)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: only quantized models can be saved; calibrate it first", path);
    return vq_qmodel_save(model->qmodel, path);
}

bool vq_model_is_quantized(const vq_model *model)
{
    return model->qmodel != NULL;
}

int vq_model_num_classes(const vq_model *model)
{
    return vq_model_graph(model)->num_classes;
}

const vq_preprocess *vq_model_preprocess(const vq_model *model)
{
    return &vq_model_graph(model)->pre;
}

const char *vq_model_label(const vq_model *model, int i)
{
    const vq_graph *const g = vq_model_graph(model);
    return g->labels && i >= 0 && i < g->num_classes && g->labels[i] ? g->labels[i] : "";
}
