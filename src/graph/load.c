/* A model folder to a graph with weights. The file's header is compared with the architecture before anything large is
 * allocated, so memory is bounded by the size of the weights file. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "graph/build.h"
#include "graph/resample.h"
#include "graph/weights.h"

enum { MAX_CONFIG_BYTES = 64 << 20 };

/* ---- paths ---------------------------------------------------------------------------------------------------------
 */

static vq_status parent_dir(char **out, const char *path)
{
    const char *const slash = strrchr(path, '/');
    if (!slash) return vq_strdup(out, ".");
    return vq_format(out, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static vq_status refuse_pickle(const char *dir, const char *path)
{
    return vq_fail(VQ_ERR_UNSUPPORTED,
                   "%s: a pickle; make it a safetensors file: python3 -c \"import torch, safetensors.torch as s; "
                   "s.save_file({k: v.clone().contiguous() for k, v in torch.load('%s', map_location='cpu', "
                   "weights_only=True).items()}, '%s/model.safetensors')\"",
                   path, path, dir);
}

/* The weights in a folder: one file, the index of several, or the line that makes one. */
static vq_status find_weights(char **weights, const char *dir)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++) {
        free(*weights);
        *weights = NULL;
        VQ_TRY(vq_path_join(weights, dir, names[i]));
        if (vq_is_file(*weights)) return i == 2 ? refuse_pickle(dir, *weights) : VQ_OK;
    }
    return vq_fail(VQ_ERR_IO, "%s: has neither %s nor %s", dir, names[0], names[1]);
}

typedef struct files {
    char *dir, *weights, *config, *pre;
    char *config_text, *pre_text; /* NULL where there is none */
    size_t config_bytes, pre_bytes;
} files;

static void files_clear(files *f)
{
    free(f->dir);
    free(f->weights);
    free(f->config);
    free(f->pre);
    free(f->config_text);
    free(f->pre_text);
}

static vq_status find_files(files *f, const char *path)
{
    const bool is_dir = vq_is_dir(path);
    if (!is_dir && !vq_is_file(path)) return vq_fail(VQ_ERR_IO, "%s: no such file or folder", path);
    VQ_TRY(is_dir ? vq_strdup(&f->dir, path) : parent_dir(&f->dir, path));
    if (!is_dir && vq_ends_with(path, ".bin")) return refuse_pickle(f->dir, path);
    VQ_TRY(is_dir ? find_weights(&f->weights, f->dir) : vq_strdup(&f->weights, path));
    VQ_TRY(vq_path_join(&f->config, f->dir, "config.json"));
    VQ_TRY(vq_path_join(&f->pre, f->dir, "preprocessor_config.json"));
    VQ_TRY(vq_file_read(&f->config_text, &f->config_bytes, f->config, MAX_CONFIG_BYTES));
    if (!vq_is_file(f->pre)) return VQ_OK;
    return vq_file_read(&f->pre_text, &f->pre_bytes, f->pre, MAX_CONFIG_BYTES);
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

/* Side of the square of positions in a file that has rows of them; 0 where that is none. */
static int grid_side(const vq_source *s, int64_t rows)
{
    int side = 0;
    while ((int64_t)(side + 1) * (side + 1) <= rows - s->grid_prefix) side++;
    return (int64_t)side * side == rows - s->grid_prefix ? side : 0;
}

/* May the tensor be resampled to the shape that is expected? */
static bool fits_grid(const vq_source *s, const vq_shape *shape)
{
    if (!s->grid[0] || s->grid_side || shape->num_dims != 3 || shape->dims[0] != 1) return false;
    return shape->dims[2] == s->shape.dims[2] && shape->dims[1] < 1 << 20 && grid_side(s, shape->dims[1]) > 0;
}

static vq_status check_source(const vq_source *s, const vq_weights *w)
{
    const vq_safetensors *st = NULL;
    const vq_st_tensor *const t = vq_weights_find(w, s->name, &st);
    char got[96], want[96];
    if (s->how == VQ_SOURCE_UNUSED) return VQ_OK;
    vq_shape_text(want, sizeof want, &s->shape);
    if (!t)
        return vq_fail(VQ_ERR_SHAPE, "%s: tensor %s is missing, expected with shape %s", vq_weights_path(w), s->name,
                       want);
    vq_shape_text(got, sizeof got, &t->shape);
    if (!vq_shape_equal(&t->shape, &s->shape) && !fits_grid(s, &t->shape))
        return vq_fail(VQ_ERR_SHAPE, "%s: %s has shape %s, expected %s", vq_safetensors_path(st), s->name, got, want);
    if (t->dtype != VQ_DTYPE_F32 && t->dtype != VQ_DTYPE_F16 && t->dtype != VQ_DTYPE_BF16)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has type %s, expected F32, F16 or BF16", vq_safetensors_path(st),
                       s->name, vq_dtype_name(t->dtype));
    return VQ_OK;
}

/* A tensor that nothing reads means that the config describes another model. */
static vq_status check_extra(const vq_source *sources, int count, const vq_weights *w)
{
    for (int i = 0; i < vq_weights_count(w); i++) {
        const vq_safetensors *st;
        const vq_st_tensor *const t = vq_weights_at(w, i, &st);
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

static void add(vq_param *p, const vq_source *s, const float *data, size_t count)
{
    const size_t row = s->row ? (size_t)s->row : count, stride = s->row ? (size_t)s->stride : 0;
    const float factor = s->factor != 0 ? s->factor : 1;
    for (size_t i = 0; i < count; i++) p->data[s->offset + i / row * stride + i % row] += data[i] * factor;
}

/* [prefix + side * side][dim] to [prefix + height * width][dim]. */
static vq_status add_grid(vq_param *p, const vq_source *s, const float *data, int64_t rows)
{
    const size_t dim = (size_t)s->shape.dims[2], prefix = (size_t)s->grid_prefix * dim;
    const size_t count = (size_t)s->grid[0] * (size_t)s->grid[1] * dim;
    const int side = s->grid_side ? s->grid_side : grid_side(s, rows);
    float *grid = NULL;
    VQ_TRY(vq_alloc(&grid, prefix + count, sizeof *grid, s->name));
    memcpy(grid, data, prefix * sizeof *grid);
    const vq_status status =
        vq_resample_embedding(grid + prefix, data + prefix, side, (int)dim, s->grid[0], s->grid[1], s->grid_antialias);
    if (status == VQ_OK) add(p, s, grid, prefix + count);
    free(grid);
    return status;
}

static void scale_rows(vq_param *p, const float *factor)
{
    const size_t rows = (size_t)p->shape.dims[0], cols = vq_shape_count(&p->shape) / rows;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) p->data[r * cols + c] *= factor[r];
}

static vq_status read_source(vq_graph *g, const vq_source *s, const vq_weights *w)
{
    const vq_safetensors *st = NULL;
    const vq_st_tensor *const t = vq_weights_find(w, s->name, &st);
    vq_param *const p = &g->params[s->param];
    float *data = NULL;
    vq_status status = VQ_OK;
    if (s->how == VQ_SOURCE_UNUSED) return VQ_OK;
    const size_t count = vq_shape_count(&t->shape);
    VQ_GO(vq_alloc(&data, count, sizeof *data, s->name));
    VQ_GO(vq_st_to_f32(data, count, st, t));
    VQ_GO(check_finite(data, count, s, st));
    if (s->how == VQ_SOURCE_SCALE_ROWS)
        scale_rows(p, data);
    else if (s->grid[0] && (s->grid_side || !vq_shape_equal(&t->shape, &s->shape)))
        VQ_GO(add_grid(p, s, data, t->shape.dims[1]));
    else
        add(p, s, data, count);
done:
    free(data);
    return status;
}

static vq_status read_weights(vq_graph *g, const vq_weights *w)
{
    for (int i = 0; i < g->num_sources; i++) VQ_TRY(check_source(&g->sources[i], w));
    VQ_TRY(check_extra(g->sources, g->num_sources, w));
    for (int i = 0; i < g->num_params; i++) /* what no tensor covers (a bias that the model lacks) is 0 */
        VQ_TRY(vq_alloc(&g->params[i].data, vq_shape_count(&g->params[i].shape), sizeof(float), g->params[i].name));
    for (int i = 0; i < g->num_sources; i++) VQ_TRY(read_source(g, &g->sources[i], w));
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

vq_status vq_graph_load(vq_graph **out, const char *path)
{
    files f = {0};
    vq_weights *weights = NULL;
    vq_graph *g = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(find_files(&f, path));
    VQ_GO(vq_graph_from_configs(&g, f.config, f.config_text, f.config_bytes, f.pre, f.pre_text, f.pre_bytes));
    VQ_GO(vq_weights_open(&weights, f.weights));
    VQ_GO(read_weights(g, weights));
    VQ_GO(vq_weights_hash(g->source_hash, weights));
    fold_normalization(g);
    *out = g;
    g = NULL;
done:
    vq_graph_destroy(&g);
    vq_weights_destroy(&weights);
    files_clear(&f);
    return status;
}
