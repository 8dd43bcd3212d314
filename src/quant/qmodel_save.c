#include "quant/qfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/lower.h"

const char *const vq_kind_names[3] = {"none", "uniform", "codebook"};
const char *const vq_granularity_names[4] = {"tensor", "head", "channel", "row"};

const char *vq_slot_name(vq_node_op op, int slot)
{
    switch (op) {
    case VQ_NODE_LINEAR: return slot == 0 ? "input" : slot == 2 ? "weight" : NULL;
    case VQ_NODE_PATCH_EMBED: return slot == 2 ? "weight" : NULL;
    case VQ_NODE_SCORES: return slot == 0 ? "q" : slot == 1 ? "k" : NULL;
    case VQ_NODE_CONTEXT: return slot == 0 ? "p" : slot == 1 ? "v" : NULL;
    default: return NULL;
    }
}

vq_quantizer *vq_slot(vq_qnode *qn, int slot)
{
    return slot == 2 ? &qn->weight : &qn->in[slot];
}

void vq_slot_key(char out[VQ_KEY_MAX], const vq_node *n, int slot)
{
    snprintf(out, VQ_KEY_MAX, "%s.%s", n->name, vq_slot_name(n->op, slot));
}

void vq_slot_tensor(char out[VQ_KEY_MAX], const vq_node *n, int slot, const char *what)
{
    snprintf(out, VQ_KEY_MAX, "%s.%s.%s", n->name, vq_slot_name(n->op, slot), what);
}

int vq_packed_row(int k, int bits)
{
    return VQ_CEIL_DIV(k * bits, 8);
}

/* ---- the document --------------------------------------------------------------------------------------------------
 */

static cJSON *number_list(const float *v, int count)
{
    cJSON *const list = cJSON_CreateArray();
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber(v[i]));
    return list;
}

static cJSON *int_list(int count, const int *v)
{
    return cJSON_CreateIntArray(v, count);
}

static cJSON *describe_preprocess(const vq_graph *g)
{
    static const char *const crops[] = {"center", "squash", "border"};
    const vq_preprocess *const p = &g->pre;
    const int size[3] = {p->chans, p->height, p->width};
    cJSON *const o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "input_size", int_list(3, size));
    cJSON_AddStringToObject(o, "interpolation", p->resample == VQ_RESAMPLE_BICUBIC ? "bicubic" : "bilinear");
    cJSON_AddStringToObject(o, "crop_mode", crops[p->crop_mode]);
    cJSON_AddBoolToObject(o, "crop_floor", p->crop_floor);
    cJSON_AddNumberToObject(o, "crop_pct", p->crop_pct);
    cJSON_AddItemToObject(o, "mean", number_list(p->mean, p->chans));
    cJSON_AddItemToObject(o, "std", number_list(p->std, p->chans));
    return o;
}

static cJSON *describe_graph(const vq_graph *g)
{
    cJSON *const o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "architecture", g->architecture);
    cJSON_AddNumberToObject(o, "num_classes", g->num_classes);
    cJSON_AddNumberToObject(o, "ln_eps", g->ln_eps);
    cJSON_AddStringToObject(o, "source_hash", g->source_hash);
    cJSON_AddItemToObject(o, "model_args", cJSON_Parse(g->args));
    cJSON_AddItemToObject(o, "pretrained_cfg", describe_preprocess(g));
    if (!g->labels) return o;
    cJSON *const labels = cJSON_AddArrayToObject(o, "label_names");
    for (int i = 0; i < g->num_classes; i++)
        cJSON_AddItemToArray(labels, cJSON_CreateString(g->labels[i] ? g->labels[i] : ""));
    return o;
}

static cJSON *describe_quantizers(const vq_qmodel *m)
{
    cJSON *const all = cJSON_CreateObject();
    for (int i = 0; i < m->graph->num_nodes; i++)
        for (int slot = 0; slot < VQ_NUM_SLOTS; slot++) {
            const vq_node *const n = &m->graph->nodes[i];
            const vq_quantizer *const q = vq_slot(&m->nodes[i], slot);
            char key[VQ_KEY_MAX];
            if (!vq_slot_name(n->op, slot) || q->kind == VQ_QUANTIZER_NONE) continue;
            vq_slot_key(key, n, slot);
            cJSON *const o = cJSON_AddObjectToObject(all, key);
            cJSON_AddStringToObject(o, "kind", vq_kind_names[q->kind]);
            cJSON_AddStringToObject(o, "method", q->method);
            cJSON_AddStringToObject(o, "per", vq_granularity_names[q->granularity]);
            cJSON_AddNumberToObject(o, "bits", q->bits);
            cJSON_AddNumberToObject(o, "levels", q->levels);
            cJSON_AddNumberToObject(o, "groups", q->groups);
        }
    return all;
}

static vq_status write_document(vq_st_writer *w, const vq_qmodel *m)
{
    cJSON *const doc = cJSON_CreateObject();
    char *text = NULL;
    vq_status status = VQ_OK;
    cJSON_AddNumberToObject(doc, "format", VQ_FILE_FORMAT);
    cJSON_AddStringToObject(doc, VQ_CODES_KEY, VQ_CODES_DENSE);
    cJSON_AddItemToObject(doc, "graph", describe_graph(m->graph));
    cJSON_AddItemToObject(doc, "quantizers", describe_quantizers(m));
    cJSON_AddBoolToObject(doc, "integer", m->ints != NULL);
    cJSON_AddItemToObject(doc, "manifest", cJSON_CreateRaw(m->manifest ? m->manifest : "{}"));
    text = cJSON_PrintUnformatted(doc);
    if (!text) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the model's description"));
    VQ_GO(vq_st_writer_meta(w, VQ_FILE_KEY, text));
done:
    free(text);
    cJSON_Delete(doc);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------------------------------
 */

/* A writer and what was made only for it. */
typedef struct saving {
    vq_st_writer *w;
    void **owned;
    int num_owned;
} saving;

static vq_status add_slot(saving *s, const vq_node *n, int slot, const char *what, vq_dtype dtype, vq_shape shape,
                          const void *data)
{
    char name[VQ_KEY_MAX];
    if (!data) return VQ_OK;
    vq_slot_tensor(name, n, slot, what);
    return vq_st_writer_add(s->w, name, dtype, shape, data);
}

static vq_status add_quantizer(saving *s, const vq_node *n, int slot, const vq_quantizer *q)
{
    VQ_TRY(add_slot(s, n, slot, "scale", VQ_DTYPE_F32, vq_shape1(q->groups), q->scale));
    VQ_TRY(add_slot(s, n, slot, "zero", VQ_DTYPE_F32, vq_shape1(q->groups), q->zero));
    VQ_TRY(add_slot(s, n, slot, "thresholds", VQ_DTYPE_F32, vq_shape2(q->groups, q->levels - 1), q->thresholds));
    return add_slot(s, n, slot, "values", VQ_DTYPE_U16, vq_shape2(q->groups, q->levels), q->values);
}

static vq_status add_codes(saving *s, const vq_graph *g, const vq_node *n, const vq_qnode *qn)
{
    const vq_shape *const shape = &g->params[n->weight].shape;
    const int rows = (int)shape->dims[0], k = (int)shape->dims[1], packed_row = vq_packed_row(k, qn->weight.bits);
    uint8_t *packed = NULL;
    if (!qn->codes || qn->weight.levels > 1 << qn->weight.bits)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: has no codes of %d bits to save", n->name, qn->weight.bits);
    VQ_TRY(vq_alloc(&packed, (size_t)rows * (size_t)packed_row, 1, n->name));
    s->owned[s->num_owned++] = packed;
    for (int r = 0; r < rows; r++) {
        const uint8_t *const from = qn->codes + (size_t)r * (size_t)k;
        uint8_t *const to = packed + (size_t)r * (size_t)packed_row;
        for (int i = 0; i < k; i++) {
            const int first = i * qn->weight.bits, shift = first % 8;
            to[first / 8] |= (uint8_t)(from[i] << shift);
            if (shift + qn->weight.bits > 8) to[first / 8 + 1] |= (uint8_t)(from[i] >> (8 - shift));
        }
    }
    return vq_st_writer_add(s->w, g->params[n->weight].name, VQ_DTYPE_U8, vq_shape2(rows, packed_row), packed);
}

static vq_status add_int(saving *s, const vq_int_node *n, const char *what, vq_dtype dtype, vq_shape shape,
                         const void *data)
{
    char name[VQ_TENSOR_NAME_MAX];
    vq_int_tensor_name(name, n->name, what);
    return vq_st_writer_add(s->w, name, dtype, shape, data);
}

/* Rows whose weights the lowering dropped: all zero with nothing left to add. */
static vq_status add_constant_rows(saving *s, const vq_int_node *n)
{
    const vq_gemm_s8_weights *const w = &n->u.gemm.w;
    int32_t *rows = NULL;
    int count = 0;
    VQ_TRY(vq_alloc(&rows, (size_t)w->n, sizeof *rows, n->name));
    s->owned[s->num_owned++] = rows;
    for (int r = 0; r < w->n; r++) {
        const int8_t *const row = w->w + (size_t)r * (size_t)w->k;
        int k = 0;
        while (k < w->k && row[k] == 0) k++;
        if (k == w->k && (!w->w_zero || w->w_zero[r] == 0)) rows[count++] = r;
    }
    return count ? add_int(s, n, "constant_rows", VQ_DTYPE_S32, vq_shape1(count), rows) : VQ_OK;
}

static vq_status add_gemm(saving *s, const vq_int_node *n)
{
    const vq_gemm_s8_weights *const w = &n->u.gemm.w;
    const vq_shape rows = vq_shape1(w->n);
    VQ_TRY(add_int(s, n, "bias", VQ_DTYPE_S32, rows, w->bias));
    VQ_TRY(add_int(s, n, "mult", VQ_DTYPE_S32, rows, w->mult));
    VQ_TRY(add_int(s, n, "zero", VQ_DTYPE_S32, rows, w->zero));
    VQ_TRY(add_int(s, n, "shift", VQ_DTYPE_U8, rows, w->shift));
    if (w->table) VQ_TRY(add_int(s, n, "table", VQ_DTYPE_U8, vq_shape1(w->table_len), w->table));
    if (w->table_low) VQ_TRY(add_int(s, n, "table_low", VQ_DTYPE_U8, vq_shape1(w->table_len), w->table_low));
    return add_constant_rows(s, n);
}

static vq_status add_attention(saving *s, const vq_int_node *n)
{
    const vq_attention_u8_weights *const w = &n->u.attention.w;
    const vq_shape heads = vq_shape1(w->heads), width = vq_shape1(w->heads * w->head_dim);
    int32_t *shift = NULL;
    VQ_TRY(vq_alloc(&shift, 1, sizeof *shift, n->name));
    s->owned[s->num_owned++] = shift;
    *shift = w->prob_shift;
    VQ_TRY(add_int(s, n, "q_zero", VQ_DTYPE_S32, heads, w->q_zero));
    VQ_TRY(add_int(s, n, "score_mult", VQ_DTYPE_S32, heads, w->score_mult));
    VQ_TRY(add_int(s, n, "score_shift", VQ_DTYPE_U8, heads, w->score_shift));
    VQ_TRY(add_int(s, n, "prob", VQ_DTYPE_U16,
                   w->prob_tables > 1 ? vq_shape2(w->prob_tables, w->prob_len) : vq_shape1(w->prob_len), w->prob));
    VQ_TRY(add_int(s, n, "prob_shift", VQ_DTYPE_S32, vq_shape1(1), shift));
    const vq_shape pairs = vq_shape2((2 * w->windows.window_h - 1) * (2 * w->windows.window_w - 1), w->heads);
    if (w->bias) VQ_TRY(add_int(s, n, "bias", VQ_DTYPE_S32, pairs, w->bias));
    if (w->pad) VQ_TRY(add_int(s, n, "pad", VQ_DTYPE_U8, vq_shape1(3 * w->heads * w->head_dim), w->pad));
    VQ_TRY(add_int(s, n, "v_zero", VQ_DTYPE_S32, width, w->v_zero));
    VQ_TRY(add_int(s, n, "mult", VQ_DTYPE_S32, width, w->mult));
    return add_int(s, n, "shift", VQ_DTYPE_U8, width, w->shift);
}

static vq_status add_int_node(saving *s, const vq_int_graph *g, const vq_int_node *n)
{
    const vq_int_value *const v = &g->values[n->out];
    switch (n->op) {
    case VQ_INT_PATCHIFY: break;
    case VQ_INT_TOKENS: return add_int(s, n, "init", VQ_DTYPE_S32, vq_shape2(v->rows, v->cols), n->u.tokens.init);
    case VQ_INT_GEMM: return add_gemm(s, n);
    case VQ_INT_ATTENTION: return add_attention(s, n);
    case VQ_INT_POOL: {
        const int32_t about[3] = {n->u.pool.mult, n->u.pool.shift, n->u.pool.zero};
        int32_t *copy;
        if (n->u.pool.set) return VQ_OK;
        VQ_TRY(vq_alloc(&copy, 3, sizeof *copy, n->name));
        memcpy(copy, about, sizeof about);
        s->owned[s->num_owned++] = copy;
        return add_int(s, n, "requant", VQ_DTYPE_S32, vq_shape1(3), copy);
    }
    case VQ_INT_LAYERNORM: {
        const vq_layernorm_s32_weights *const w = &n->u.layernorm.w;
        VQ_TRY(add_int(s, n, "mult", VQ_DTYPE_S32, vq_shape1(w->c), w->mult));
        VQ_TRY(add_int(s, n, "shift", VQ_DTYPE_U8, vq_shape1(w->c), w->shift));
        return add_int(s, n, "bias", VQ_DTYPE_S64, vq_shape1(w->c), w->bias);
    }
    }
    return VQ_OK;
}

static vq_status add_tensors(saving *s, const vq_qmodel *m)
{
    const vq_graph *const g = m->graph;
    for (int i = 0; i < g->num_params; i++)
        if (g->params[i].data)
            VQ_TRY(vq_st_writer_add(s->w, g->params[i].name, VQ_DTYPE_F32, g->params[i].shape, g->params[i].data));
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        for (int slot = 0; slot < VQ_NUM_SLOTS; slot++) {
            const vq_quantizer *const q = vq_slot(&m->nodes[i], slot);
            if (vq_slot_name(n->op, slot) && q->kind != VQ_QUANTIZER_NONE) VQ_TRY(add_quantizer(s, n, slot, q));
        }
        if (m->nodes[i].weight.kind != VQ_QUANTIZER_NONE) VQ_TRY(add_codes(s, g, n, &m->nodes[i]));
    }
    for (int i = 0; m->ints && i < m->ints->num_nodes; i++) VQ_TRY(add_int_node(s, m->ints, &m->ints->nodes[i]));
    return VQ_OK;
}

/* Collects everything, then writes it to path; where that is NULL, only *bytes is found out. */
static vq_status save(const vq_qmodel *m, const char *path, double *bytes)
{
    const size_t nodes = (size_t)m->graph->num_nodes + (size_t)(m->ints ? m->ints->num_nodes : 0);
    saving s = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&s.owned, nodes + 1, sizeof *s.owned, "model file"));
    VQ_GO(vq_st_writer_create(&s.w));
    VQ_GO(write_document(s.w, m));
    VQ_GO(add_tensors(&s, m));
    VQ_GO(path ? vq_st_writer_finish(s.w, path) : vq_st_writer_bytes(bytes, s.w));
done:
    vq_st_writer_destroy(&s.w);
    for (int i = 0; i < s.num_owned; i++) free(s.owned[i]);
    free(s.owned);
    return status;
}

vq_status vq_qmodel_save(const vq_qmodel *m, const char *path)
{
    return save(m, path, NULL);
}

vq_status vq_qmodel_file_bytes(double *bytes, const vq_qmodel *m)
{
    *bytes = 0;
    return save(m, NULL, bytes);
}
