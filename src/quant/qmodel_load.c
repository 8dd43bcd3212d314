#include "quant/qfile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/lower.h"

typedef struct loading {
    const vq_safetensors *st;
    const char *path;
    vq_qmodel *m;
    const cJSON *quantizers;
    bool dense; /* codes are packed without gaps */
} loading;

bool vq_qmodel_is_file(const vq_safetensors *st)
{
    return vq_safetensors_meta(st, VQ_FILE_KEY) != NULL;
}

static vq_status find_tensor(const vq_st_tensor **out, const loading *l, const char *name, vq_dtype dtype,
                             vq_shape shape)
{
    char got[96], want[96];
    const vq_st_tensor *const t = *out = vq_safetensors_find(l->st, name);
    vq_shape_text(want, sizeof want, &shape);
    if (!t) return vq_fail(VQ_ERR_FORMAT, "%s: tensor %s %s is missing", l->path, name, want);
    vq_shape_text(got, sizeof got, &t->shape);
    if (t->dtype != dtype || !vq_shape_equal(&t->shape, &shape))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s is %s %s, expected %s %s", l->path, name, vq_dtype_name(t->dtype), got,
                       vq_dtype_name(dtype), want);
    return VQ_OK;
}

static vq_status read_floats(float **out, const loading *l, const char *name, vq_shape shape)
{
    const vq_st_tensor *t;
    const size_t count = vq_shape_count(&shape);
    VQ_TRY(find_tensor(&t, l, name, VQ_DTYPE_F32, shape));
    VQ_TRY(vq_alloc(out, count, sizeof **out, name));
    VQ_TRY(vq_st_to_f32(*out, count, l->st, t));
    for (size_t i = 0; i < count; i++)
        if (isnan((*out)[i])) return vq_fail(VQ_ERR_FORMAT, "%s: %s[%zu] is not a number", l->path, name, i);
    return VQ_OK;
}

/* ---- the graph -----------------------------------------------------------------------------------------------------
 */

static vq_status read_graph(loading *l, const cJSON *doc)
{
    const cJSON *graph;
    const char *hash;
    char *text = NULL;
    vq_status status = VQ_OK;
    VQ_TRY(vq_json_object(&graph, doc, "graph", l->path));
    VQ_TRY(vq_json_string(&hash, graph, "source_hash", l->path));
    text = cJSON_PrintUnformatted(graph);
    if (!text) VQ_GO(vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", l->path));
    VQ_GO(vq_graph_from_config(&l->m->graph, l->path, text, strlen(text)));
    snprintf(l->m->graph->source_hash, sizeof l->m->graph->source_hash, "%.32s", hash);
done:
    free(text);
    return status;
}

/* ---- quantizers ----------------------------------------------------------------------------------------------------
 */

static vq_status read_name(int *out, const loading *l, const cJSON *o, const char *operand, const char *key,
                           const char *const *names, int count)
{
    const char *text;
    VQ_TRY(vq_json_string(&text, o, key, operand));
    for (*out = 0; *out < count; (*out)++)
        if (strcmp(text, names[*out]) == 0) return VQ_OK;
    return vq_fail(VQ_ERR_FORMAT, "%s: %s has %s \"%.40s\", which is not known", l->path, operand, key, text);
}

/* How many groups a quantizer has that differs along that; 0 where it cannot. */
static int groups_of(const vq_graph *g, const vq_node *n, int slot, vq_granularity granularity)
{
    const bool attention = n->op == VQ_NODE_SCORES || n->op == VQ_NODE_CONTEXT;
    const bool prob = n->op == VQ_NODE_CONTEXT && slot == 0;
    if (slot == 2) return granularity == VQ_PER_ROW ? (int)g->params[n->weight].shape.dims[0] : 0;
    switch (granularity) {
    case VQ_PER_TENSOR: return 1;
    case VQ_PER_HEAD: return attention ? n->heads : 0;
    case VQ_PER_CHANNEL: return prob ? 0 : attention ? n->heads * n->head_dim : g->values[n->in[0]].cols;
    case VQ_PER_ROW: break;
    }
    return 0;
}

static bool may_be_codebook(const vq_node *n, int slot)
{
    return slot == 0 && (n->op == VQ_NODE_LINEAR || n->op == VQ_NODE_CONTEXT);
}

static vq_status read_header(vq_quantizer *q, const loading *l, const vq_node *n, int slot, const char *key)
{
    const cJSON *o;
    const char *method;
    int kind, granularity;
    VQ_TRY(vq_json_object(&o, l->quantizers, key, l->path));
    VQ_TRY(read_name(&kind, l, o, key, "kind", vq_kind_names, 3));
    VQ_TRY(read_name(&granularity, l, o, key, "per", vq_granularity_names, 4));
    VQ_TRY(vq_json_string(&method, o, "method", key));
    VQ_TRY(vq_json_int(&q->bits, o, "bits", 2, 8, key));
    VQ_TRY(vq_json_int(&q->levels, o, "levels", 2, (1 << q->bits) + (slot == 2 ? 0 : 1), key));
    VQ_TRY(vq_json_int(&q->groups, o, "groups", 1, 1 << 24, key));
    const int groups = groups_of(l->m->graph, n, slot, (vq_granularity)granularity);
    if (q->groups != groups)
        return vq_fail(VQ_ERR_FORMAT, "%s: %s has %d groups per %s, expected %d", l->path, key, q->groups,
                       vq_granularity_names[granularity], groups);
    if (kind == VQ_QUANTIZER_NONE || (kind == VQ_QUANTIZER_CODEBOOK && !may_be_codebook(n, slot)))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s cannot be of kind %s", l->path, key, vq_kind_names[kind]);
    q->kind = (vq_quantizer_kind)kind;
    q->granularity = (vq_granularity)granularity;
    snprintf(q->method, sizeof q->method, "%s", method);
    return VQ_OK;
}

static vq_status read_values(vq_quantizer *q, const loading *l, const char *name)
{
    const size_t count = (size_t)q->groups * (size_t)q->levels;
    const vq_st_tensor *t;
    VQ_TRY(find_tensor(&t, l, name, VQ_DTYPE_U16, vq_shape2(q->groups, q->levels)));
    VQ_TRY(vq_alloc(&q->values, count, sizeof *q->values, name));
    memcpy(q->values, t->data, count * sizeof *q->values);
    return VQ_OK;
}

static vq_status check_codebook(const vq_quantizer *q, const loading *l, const char *key)
{
    for (int g = 0; g < q->groups; g++) {
        if (!(q->zero[g] >= 0 && q->zero[g] <= UINT16_MAX) || q->zero[g] != rintf(q->zero[g]))
            return vq_fail(VQ_ERR_FORMAT, "%s: the codebook of %s has zero point %g, must be whole, from 0 to %d",
                           l->path, key, (double)q->zero[g], UINT16_MAX);
        const float *const t = q->thresholds + (size_t)g * (size_t)(q->levels - 1);
        const uint16_t *const v = q->values + (size_t)g * (size_t)q->levels;
        for (int i = 1; i < q->levels; i++)
            if (v[i] < v[i - 1] || (i > 1 && t[i - 1] < t[i - 2]))
                return vq_fail(VQ_ERR_FORMAT, "%s: the codebook of %s is not sorted at level %d", l->path, key, i);
    }
    return VQ_OK;
}

static vq_status read_quantizer(vq_quantizer *q, const loading *l, const vq_node *n, int slot)
{
    char key[VQ_KEY_MAX], name[VQ_KEY_MAX];
    vq_slot_key(key, n, slot);
    VQ_TRY(read_header(q, l, n, slot, key));
    vq_slot_tensor(name, n, slot, "scale");
    VQ_TRY(read_floats(&q->scale, l, name, vq_shape1(q->groups)));
    for (int i = 0; i < q->groups; i++)
        if (!(q->scale[i] > 0) || isinf(q->scale[i]))
            return vq_fail(VQ_ERR_FORMAT, "%s: %s[%d] is %g, must be positive", l->path, name, i, (double)q->scale[i]);
    vq_slot_tensor(name, n, slot, "zero");
    if (q->kind == VQ_QUANTIZER_UNIFORM) return read_floats(&q->zero, l, name, vq_shape1(q->groups));
    if (vq_safetensors_find(l->st, name)) /* files of 0.1 had codebooks without */
        VQ_TRY(read_floats(&q->zero, l, name, vq_shape1(q->groups)));
    else
        VQ_TRY(vq_alloc(&q->zero, (size_t)q->groups, sizeof *q->zero, name));
    vq_slot_tensor(name, n, slot, "thresholds");
    VQ_TRY(read_floats(&q->thresholds, l, name, vq_shape2(q->groups, q->levels - 1)));
    vq_slot_tensor(name, n, slot, "values");
    VQ_TRY(read_values(q, l, name));
    return check_codebook(q, l, key);
}

/* Q, K and V share one pass over their value, so also their number of levels. */
static vq_status check_levels(const loading *l)
{
    const vq_graph *const g = l->m->graph;
    for (int s = 0; s < g->num_nodes; s++)
        for (int i = s; i < g->num_nodes; i++) {
            const vq_node *const q = &g->nodes[s], *const n = &g->nodes[i];
            const bool shares = i == s || (n->op == VQ_NODE_CONTEXT && n->in[1] == q->in[0]);
            if (q->op != VQ_NODE_SCORES || !shares) continue;
            const int want = l->m->nodes[s].in[0].levels, got = l->m->nodes[i].in[1].levels;
            if (got != want)
                return vq_fail(VQ_ERR_FORMAT, "%s: %s: Q has %d levels, K or V %d", l->path, n->name, want, got);
        }
    return VQ_OK;
}

/* ---- weights and other parameters ----------------------------------------------------------------------------------
 */

/* Files of 0.1 had codes of 5 to 8 bits in a byte each, and two of up to 4 bits in one. */
static int loose_bits(int bits)
{
    return bits <= 4 ? 4 : 8;
}

static int read_code(const uint8_t *row, int i, int bits)
{
    const int first = i * bits, shift = first % 8;
    int code = row[first / 8] >> shift;
    if (shift + bits > 8) code |= row[first / 8 + 1] << (8 - shift);
    return code & ((1 << bits) - 1);
}

static vq_status read_codes(const loading *l, const vq_node *n, vq_qnode *qn)
{
    const vq_param *const p = &l->m->graph->params[n->weight];
    const int rows = (int)p->shape.dims[0], k = (int)p->shape.dims[1];
    const int bits = l->dense ? qn->weight.bits : loose_bits(qn->weight.bits), packed_row = vq_packed_row(k, bits);
    const vq_st_tensor *t;
    VQ_TRY(find_tensor(&t, l, p->name, VQ_DTYPE_U8, vq_shape2(rows, packed_row)));
    VQ_TRY(vq_alloc(&qn->codes, (size_t)rows * (size_t)k, 1, p->name));
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < k; i++) {
            const uint8_t *const from = t->data + (size_t)r * (size_t)packed_row;
            const int code = read_code(from, i, bits);
            if (code >= qn->weight.levels)
                return vq_fail(VQ_ERR_FORMAT, "%s: %s holds code %d in row %d, must be below %d", l->path, p->name,
                               code, r, qn->weight.levels);
            qn->codes[(size_t)r * (size_t)k + (size_t)i] = (uint8_t)code;
        }
    return VQ_OK;
}

static bool has_weight(const vq_node *n)
{
    return n->op == VQ_NODE_LINEAR || n->op == VQ_NODE_PATCH_EMBED;
}

static vq_status read_params(const loading *l)
{
    vq_graph *const g = l->m->graph;
    for (int p = 0; p < g->num_params; p++) {
        bool coded = false;
        for (int i = 0; i < g->num_nodes && !coded; i++) coded = has_weight(&g->nodes[i]) && g->nodes[i].weight == p;
        if (!coded) VQ_TRY(read_floats(&g->params[p].data, l, g->params[p].name, g->params[p].shape));
    }
    return VQ_OK;
}

static vq_status read_nodes(loading *l)
{
    const vq_graph *const g = l->m->graph;
    VQ_TRY(vq_alloc(&l->m->nodes, (size_t)g->num_nodes, sizeof *l->m->nodes, "quantized model"));
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        for (int slot = 0; slot < VQ_NUM_SLOTS; slot++)
            if (vq_slot_name(n->op, slot)) VQ_TRY(read_quantizer(vq_slot(&l->m->nodes[i], slot), l, n, slot));
        if (has_weight(n)) VQ_TRY(read_codes(l, n, &l->m->nodes[i]));
    }
    return check_levels(l);
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

static vq_status read_manifest(loading *l, const cJSON *doc)
{
    const cJSON *manifest;
    VQ_TRY(vq_json_object(&manifest, doc, "manifest", l->path));
    l->m->manifest = cJSON_PrintUnformatted(manifest);
    return l->m->manifest ? VQ_OK : vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", l->path);
}

static vq_status read_model(loading *l, const cJSON *doc)
{
    double format;
    VQ_TRY(vq_json_number(&format, doc, "format", l->path));
    if (format != VQ_FILE_FORMAT)
        return vq_fail(VQ_ERR_VERSION, "%s: file format %g, this version reads %d; calibrate again", l->path, format,
                       VQ_FILE_FORMAT);
    const cJSON *const codes = cJSON_GetObjectItemCaseSensitive(doc, VQ_CODES_KEY);
    l->dense = cJSON_IsString(codes) && strcmp(codes->valuestring, VQ_CODES_DENSE) == 0;
    if (codes && !l->dense)
        return vq_fail(VQ_ERR_VERSION, "%s: its codes are packed in a way that this version does not know", l->path);
    VQ_TRY(read_graph(l, doc));
    VQ_TRY(read_manifest(l, doc));
    VQ_TRY(vq_json_object(&l->quantizers, doc, "quantizers", l->path));
    VQ_TRY(read_nodes(l));
    VQ_TRY(read_params(l));
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(doc, "integer"))) return VQ_OK;
    return vq_lower_from_file(&l->m->ints, l->m, l->st);
}

vq_status vq_qmodel_load(vq_qmodel **out, const char *path)
{
    loading l = {.path = path};
    vq_safetensors *st = NULL;
    cJSON *doc = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_safetensors_open(&st, path));
    if (!vq_qmodel_is_file(st)) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: not a quantized vitq model", path));
    const char *const text = vq_safetensors_meta(st, VQ_FILE_KEY);
    VQ_GO(vq_json_parse(&doc, path, text, strlen(text)));
    l.st = st;
    VQ_GO(vq_alloc(&l.m, 1, sizeof *l.m, "quantized model"));
    VQ_GO(read_model(&l, doc));
    *out = l.m;
    l.m = NULL;
done:
    vq_qmodel_destroy(&l.m);
    cJSON_Delete(doc);
    vq_safetensors_destroy(&st);
    return status;
}
