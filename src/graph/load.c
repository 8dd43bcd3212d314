/* A model folder to a graph with weights. The file's header is compared with the architecture before anything large is
 * allocated, so memory is bounded by the size of the weights file. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "graph/build.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

/* ---- paths ---------------------------------------------------------------------------------------------------------
 */

static vq_status parent_dir(char **out, const char *path)
{
    const char *const slash = strrchr(path, '/');
    if (!slash) return vq_strdup(out, ".");
    return vq_format(out, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static vq_status find_files(char **weights, char **config, const char *path)
{
    char *dir = NULL;
    vq_status status = VQ_OK;
    if (vq_is_dir(path)) {
        VQ_GO(vq_path_join(weights, path, "model.safetensors"));
        VQ_GO(vq_path_join(config, path, "config.json"));
    } else if (!vq_is_file(path)) {
        VQ_GO(vq_fail(VQ_ERR_IO, "%s: no such file or folder", path));
    } else {
        VQ_GO(vq_strdup(weights, path));
        VQ_GO(parent_dir(&dir, path));
        VQ_GO(vq_path_join(config, dir, "config.json"));
    }
done:
    free(dir);
    return status;
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

static vq_status check_source(const vq_source *s, const vq_safetensors *st)
{
    const vq_st_tensor *const t = vq_safetensors_find(st, s->name);
    char got[96], want[96];
    vq_shape_text(want, sizeof want, &s->shape);
    if (!t)
        return vq_fail(VQ_ERR_SHAPE, "%s: tensor %s is missing, expected with shape %s", vq_safetensors_path(st),
                       s->name, want);
    vq_shape_text(got, sizeof got, &t->shape);
    if (!vq_shape_equal(&t->shape, &s->shape))
        return vq_fail(VQ_ERR_SHAPE, "%s: %s has shape %s, expected %s", vq_safetensors_path(st), s->name, got, want);
    if (t->dtype != VQ_DTYPE_F32 && t->dtype != VQ_DTYPE_F16 && t->dtype != VQ_DTYPE_BF16)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has type %s, expected F32, F16 or BF16", vq_safetensors_path(st),
                       s->name, vq_dtype_name(t->dtype));
    return VQ_OK;
}

/* A tensor that nothing reads means that the config describes another model. */
static vq_status check_extra(const vq_source *sources, int count, const vq_safetensors *st)
{
    for (int i = 0; i < vq_safetensors_count(st); i++) {
        const vq_st_tensor *const t = vq_safetensors_at(st, i);
        bool known = false;
        for (int j = 0; j < count && !known; j++) known = strcmp(t->name, sources[j].name) == 0;
        if (!known)
            return vq_fail(VQ_ERR_SHAPE, "%s: tensor %.80s does not belong to the architecture in config.json",
                           vq_safetensors_path(st), t->name);
    }
    return VQ_OK;
}

static vq_status check_finite(const float *data, size_t count, const vq_source *s, const vq_safetensors *st)
{
    for (size_t i = 0; i < count; i++)
        if (!(data[i] - data[i] == 0))
            return vq_fail(VQ_ERR_FORMAT, "%s: %s[%zu] is not finite", vq_safetensors_path(st), s->name, i);
    return VQ_OK;
}

static vq_status read_source(vq_graph *g, const vq_source *s, const vq_safetensors *st)
{
    vq_param *const p = &g->params[s->param];
    const size_t count = vq_shape_count(&s->shape);
    float *data = NULL;
    vq_status status = VQ_OK;
    if (!p->data) VQ_GO(vq_alloc(&p->data, vq_shape_count(&p->shape), sizeof *p->data, p->name));
    VQ_GO(vq_alloc(&data, count, sizeof *data, s->name));
    VQ_GO(vq_st_to_f32(data, count, st, vq_safetensors_find(st, s->name)));
    VQ_GO(check_finite(data, count, s, st));
    for (size_t i = 0; i < count; i++) p->data[s->offset + i] += data[i];
done:
    free(data);
    return status;
}

static vq_status read_weights(vq_graph *g, const vq_safetensors *st)
{
    for (int i = 0; i < g->num_sources; i++) VQ_TRY(check_source(&g->sources[i], st));
    VQ_TRY(check_extra(g->sources, g->num_sources, st));
    for (int i = 0; i < g->num_sources; i++) VQ_TRY(read_source(g, &g->sources[i], st));
    free(g->sources);
    g->sources = NULL;
    g->num_sources = 0;
    return VQ_OK;
}

/* The network takes (u8 / 255 - mean) / std; with it in the first weights the pixels stay what they are:
 *     W' = W / (255 std),  b' = b - sum W mean / std */
static void fold_normalization(vq_graph *g)
{
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n->op != VQ_NODE_PATCH_EMBED) continue;
        const int area = n->patch * n->patch, k = g->pre.chans * area;
        float *const weight = g->params[n->weight].data, *const bias = g->params[n->bias].data;
        for (int64_t o = 0; o < g->params[n->weight].shape.dims[0]; o++) {
            double b = bias[o];
            for (int j = 0; j < k; j++) {
                const double mean = g->pre.mean[j / area], std = g->pre.std[j / area];
                float *const w = &weight[(size_t)o * (size_t)k + (size_t)j];
                b -= *w * mean / std;
                *w = (float)(*w / (255.0 * std));
            }
            bias[o] = (float)b;
        }
    }
}

static vq_status hash_file(char out[33], const char *path)
{
    vq_file_map map;
    VQ_TRY(vq_file_map_open(&map, path));
    vq_hash_hex(out, map.data, map.bytes);
    vq_file_map_close(&map);
    return VQ_OK;
}

vq_status vq_graph_load(vq_graph **out, const char *path)
{
    char *weights = NULL, *config_path = NULL, *json = NULL;
    size_t bytes = 0;
    vq_safetensors *st = NULL;
    vq_graph *g = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(find_files(&weights, &config_path, path));
    VQ_GO(vq_file_read(&json, &bytes, config_path, MAX_CONFIG_BYTES));
    VQ_GO(vq_graph_from_config(&g, config_path, json, bytes));
    VQ_GO(vq_safetensors_open(&st, weights));
    VQ_GO(read_weights(g, st));
    VQ_GO(hash_file(g->source_hash, weights));
    fold_normalization(g);
    *out = g;
    g = NULL;
done:
    vq_graph_destroy(&g);
    vq_safetensors_destroy(&st);
    free(json);
    free(config_path);
    free(weights);
    return status;
}
