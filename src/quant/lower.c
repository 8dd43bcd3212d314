/* The float graph as integer operations. Quantization happens where a value is made, so every integer node ends where
 * its consumer's quantizer is: LayerNorm gives the codes of the linear behind it, qkv those of Q, K and V, attention
 * those of proj, fc1 and GELU those of fc2. Linears in front of an addition add into the residual stream in place, so
 * the stream is one value from the embedding to the last LayerNorm. Nodes are matched by what they are connected to,
 * never by name. */
#include "quant/lower.h"

#include <math.h>
#include <stdlib.h>

/* ---- the graph being made ------------------------------------------------------------------------------------------
 */

static int new_value(vq_lowering *l, int rows, int cols, bool s32)
{
    vq_int_value *const v = &l->g->values[l->g->num_values];
    *v = (vq_int_value){.rows = rows, .cols = cols, .s32 = s32, .pitch = s32 ? cols : VQ_ROUND_UP(cols, VQ_CODE_PITCH)};
    v->plane_pitch = v->pitch;
    return l->g->num_values++;
}

/* Makes room for a second plane beside the first. */
static void add_plane(vq_lowering *l, int value)
{
    l->g->values[value].pitch = 2 * l->g->values[value].plane_pitch;
}

static vq_status new_node(vq_lowering *l, vq_int_node **out, vq_int_op op, const char *name, int in, int value)
{
    vq_int_node *const n = &l->g->nodes[l->g->num_nodes++];
    *n = (vq_int_node){.op = op, .in = in, .out = value};
    *out = n;
    return vq_strdup(&n->name, name);
}

/* The one node that reads a value, -1 where there is none or another one. */
static int sole_reader(const vq_graph *g, int value)
{
    int reader = -1;
    for (int i = 0; i < g->num_nodes; i++) {
        if (g->nodes[i].in[0] != value && g->nodes[i].in[1] != value) continue;
        if (reader >= 0) return -1;
        reader = i;
    }
    return reader;
}

static vq_status no_form(const vq_node *n)
{
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has no integer form in this place", n->name, vq_node_op_name(n->op));
}

/* The value behind a ROWS node that alone reads this one, or this one: rows in another order are how the nodes around
 * them are addressed. */
static int behind_rows(const vq_graph *g, int value, vq_row_order order)
{
    const int reader = sole_reader(g, value);
    const vq_node *const n = reader < 0 ? NULL : &g->nodes[reader];
    return n && n->op == VQ_NODE_ROWS && n->order == order ? n->out : value;
}

static vq_status find_reader(int *reader, const vq_lowering *l, const vq_node *of, int value)
{
    *reader = sole_reader(l->m->graph, value);
    if (*reader < 0 || l->m->graph->nodes[*reader].op != VQ_NODE_LINEAR) return no_form(of);
    if (l->m->nodes[*reader].in[0].groups != 1)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: its input has %d scales, integers need one",
                       l->m->graph->nodes[*reader].name, l->m->nodes[*reader].in[0].groups);
    return VQ_OK;
}

/* The quantizer of the linear that alone reads a value, which must be uniform. */
static vq_status reader_quantizer(const vq_quantizer **out, const vq_lowering *l, const vq_node *of, int value)
{
    int reader;
    VQ_TRY(find_reader(&reader, l, of, value));
    *out = &l->m->nodes[reader].in[0];
    return vq_lower_check_uniform(*out, l->m->graph->nodes[reader].name, "input");
}

/* ---- embedding -----------------------------------------------------------------------------------------------------
 */

static vq_status lower_init(const vq_lowering *l, vq_int_node *n, const vq_node *tokens)
{
    const vq_value *const v = &l->m->graph->values[tokens->out];
    const int count = v->rows * v->cols;
    const float *const init = l->m->graph->params[tokens->weight].data;
    n->u.tokens.count = count;
    VQ_TRY(vq_lower_array(l, &n->u.tokens.init, n->name, "init", VQ_DTYPE_S32, vq_shape2(v->rows, v->cols)));
    for (int i = 0; !l->st && i < count; i++) {
        if (!(fabsf(init[i]) < 16384))
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: element %d is %g, must be below 16384", n->name, i,
                           (double)init[i]);
        n->u.tokens.init[i] = (int32_t)lrint((double)init[i] * (1 << VQ_RESIDUAL_BITS));
    }
    return VQ_OK;
}

/* Same target for every column; free() releases *step and *offset. */
static vq_status flat_target(vq_gemm_target *t, double **step, int64_t **offset, int n, double s, int64_t o)
{
    VQ_TRY(vq_alloc(step, (size_t)n, sizeof **step, "target"));
    VQ_TRY(vq_alloc(offset, (size_t)n, sizeof **offset, "target"));
    for (int i = 0; i < n; i++) {
        (*step)[i] = s;
        (*offset)[i] = o;
    }
    t->step = *step;
    t->offset = *offset;
    return VQ_OK;
}

/* The product of patches and weights, into or onto rows row_first.. of every image of a stream. */
static vq_status lower_patches(vq_lowering *l, int patch_node, int stream, vq_gemm_epilogue epilogue, int rows_out,
                               int row_first)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const p = &g->nodes[patch_node];
    const vq_value *const patches = &g->values[p->out];
    const int rows = new_value(l, patches->rows, g->pre.chans * p->patch * p->patch, false);
    vq_gemm_target target = {.epilogue = epilogue};
    double *step = NULL;
    int64_t *offset = NULL;
    vq_int_node *n;
    vq_status status = VQ_OK;
    VQ_GO(new_node(l, &n, VQ_INT_PATCHIFY, "patchify", 0, rows));
    n->u.patchify =
        (vq_patchify_shape){.height = g->pre.height, .width = g->pre.width, .chans = g->pre.chans, .patch = p->patch};
    VQ_GO(new_node(l, &n, VQ_INT_GEMM, p->name, rows, stream));
    n->u.gemm.rows = n->u.gemm.rows_in = patches->rows;
    n->u.gemm.row_step = 1;
    n->u.gemm.rows_out = rows_out;
    n->u.gemm.row_first = row_first;
    VQ_GO(flat_target(&target, &step, &offset, patches->cols, ldexp(1, -VQ_RESIDUAL_BITS), 0));
    VQ_GO(vq_lower_gemm(l, &n->u.gemm.w, n->name, patch_node,
                        &(const vq_input_form){.scale = 1, .a_max = 255, .planes = 1, .spread = true}, &target));
done:
    free(step);
    free(offset);
    return status;
}

static vq_status lower_tokens(vq_lowering *l, const vq_node *tokens)
{
    const vq_graph *const g = l->m->graph;
    const int patch_node = vq_graph_producer(g, tokens->in[0]);
    const vq_value *const out = &g->values[tokens->out];
    vq_int_node *n;
    if (patch_node < 0 || g->nodes[patch_node].op != VQ_NODE_PATCH_EMBED || sole_reader(g, tokens->in[0]) < 0)
        return no_form(tokens);
    const int stream = new_value(l, out->rows, out->cols, true);
    l->value_of[tokens->out] = stream;
    VQ_TRY(new_node(l, &n, VQ_INT_TOKENS, tokens->name, -1, stream));
    VQ_TRY(lower_init(l, n, tokens));
    return lower_patches(l, patch_node, stream, VQ_GEMM_ADD, out->rows, tokens->prefix);
}

/* Done by TOKENS where that alone reads it; else the patches are a value of their own. */
static vq_status lower_patch_embed(vq_lowering *l, int i)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const p = &g->nodes[i];
    const vq_value *const out = &g->values[p->out];
    const int reader = sole_reader(g, p->out);
    if (reader >= 0 && g->nodes[reader].op == VQ_NODE_TOKENS) return VQ_OK;
    l->value_of[p->out] = new_value(l, out->rows, out->cols, true);
    return lower_patches(l, i, l->value_of[p->out], VQ_GEMM_SET, out->rows, 0);
}

/* ---- LayerNorm -----------------------------------------------------------------------------------------------------
 */

/* Does a pool take the class token alone? */
static bool is_first_row(const vq_node *pool)
{
    return pool->op == VQ_NODE_POOL && pool->num_pools == 1 && pool->pools[0].first == 0 && pool->pools[0].count == 1;
}

/* Codes for a linear behind it; a pool of the first row between them picks it before the work instead of after. In
 * front of anything else s32: the start of a residual stream, rows to be averaged. */
static vq_status lower_layernorm(vq_lowering *l, int i)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const norm = &g->nodes[i], *end = norm;
    const int made_by = vq_graph_producer(g, norm->in[0]);
    const vq_node *const merge = made_by >= 0 && g->nodes[made_by].op == VQ_NODE_ROWS ? &g->nodes[made_by] : NULL;
    const int in = l->value_of[merge ? merge->in[0] : norm->in[0]];
    int reader = sole_reader(g, norm->out), row_step = 1;
    const vq_quantizer *q = NULL;
    vq_int_node *n;
    if (in < 0 || !l->g->values[in].s32 || (merge && merge->order != VQ_ROWS_MERGE)) return no_form(norm);
    if (!merge && reader >= 0 && is_first_row(&g->nodes[reader])) {
        end = &g->nodes[reader];
        row_step = g->values[norm->out].rows;
        reader = sole_reader(g, end->out);
    }
    if (reader >= 0 && g->nodes[reader].op == VQ_NODE_LINEAR) VQ_TRY(reader_quantizer(&q, l, end, end->out));
    const vq_value *const v = &g->values[end->out];
    l->value_of[end->out] = new_value(l, v->rows, v->cols, !q);
    VQ_TRY(new_node(l, &n, VQ_INT_LAYERNORM, end->name, in, l->value_of[end->out]));
    n->u.layernorm.rows = v->rows;
    n->u.layernorm.row_step = row_step;
    if (merge) {
        n->u.layernorm.w.merge_h = merge->windows.height;
        n->u.layernorm.w.merge_w = merge->windows.width;
    }
    return vq_lower_layernorm(l, &n->u.layernorm.w, n->name, i, q);
}

/* ---- pools ---------------------------------------------------------------------------------------------------------
 */

static vq_status lower_pool(vq_lowering *l, int i)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const pool = &g->nodes[i];
    const vq_value *const v = &g->values[pool->out];
    const int in = l->value_of[pool->in[0]], reader = sole_reader(g, pool->out);
    const vq_quantizer *q = NULL;
    vq_int_node *n;
    if (l->value_of[pool->out] >= 0) return VQ_OK; /* done by LAYERNORM */
    if (in < 0 || !l->g->values[in].s32) return no_form(pool);
    if (reader >= 0 && g->nodes[reader].op == VQ_NODE_LINEAR) VQ_TRY(reader_quantizer(&q, l, pool, pool->out));
    l->value_of[pool->out] = new_value(l, v->rows, v->cols, !q);
    VQ_TRY(new_node(l, &n, VQ_INT_POOL, pool->name, in, l->value_of[pool->out]));
    return vq_lower_pool(l, &n->u.pool, n->name, i, q);
}

/* ---- linears -------------------------------------------------------------------------------------------------------
 */

/* The two nodes that read a value as Q, K, V. */
static bool find_attention(const vq_graph *g, int qkv, int *scores, int *context)
{
    *scores = *context = -1;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n->in[0] != qkv && n->in[1] != qkv) continue;
        if (n->op == VQ_NODE_SCORES && *scores < 0)
            *scores = i;
        else if (n->op == VQ_NODE_CONTEXT && *context < 0 && n->in[1] == qkv)
            *context = i;
        else
            return false;
    }
    if (*scores < 0 || *context < 0) return false;
    const int softmax = sole_reader(g, g->nodes[*scores].out);
    return softmax >= 0 && g->nodes[softmax].op == VQ_NODE_SOFTMAX && g->nodes[softmax].out == g->nodes[*context].in[0];
}

static vq_status qkv_target(vq_gemm_target *t, double *step, int64_t *offset, const vq_lowering *l, int scores,
                            int context)
{
    static const char *const what[3] = {"Q", "K", "V"};
    const vq_node *const n = &l->m->graph->nodes[context];
    const int width = n->heads * n->head_dim;
    const vq_quantizer *const part[3] = {&l->m->nodes[scores].in[0], &l->m->nodes[scores].in[1],
                                         &l->m->nodes[context].in[1]};
    t->epilogue = VQ_GEMM_CODES;
    t->bits = part[0]->bits;
    for (int p = 0; p < 3; p++) {
        VQ_TRY(vq_lower_check_uniform(part[p], n->name, what[p]));
        if (part[p]->bits != t->bits)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has %d bits and Q %d, must be the same", n->name, what[p],
                           part[p]->bits, t->bits);
        for (int c = 0; c < width; c++) {
            const int group = c * part[p]->groups / width;
            step[p * width + c] = part[p]->scale[group];
            offset[p * width + c] = vq_lower_zero(part[p], group);
        }
    }
    return VQ_OK;
}

/* Is a value that several nodes read, a LayerNorm and an addition at least, the start of a residual stream? */
static bool begins_stream(const vq_graph *g, int value)
{
    bool norm = false, add = false;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n->in[0] != value && n->in[1] != value) continue;
        norm |= n->op == VQ_NODE_LAYERNORM;
        add |= n->op == VQ_NODE_ADD;
    }
    return norm && add;
}

/* Decides by what reads the linear's output: epilogue, where it goes (the graph value *out_value), and its scales. For
 * ADD *stream is the integer value added to, else -1. */
static vq_status choose_target(vq_lowering *l, vq_gemm_s8_weights *w, vq_gemm_target *t, double *step, int64_t *offset,
                               int node, int *out_value, int *stream, const char **name)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const linear = &g->nodes[node];
    const int reader = sole_reader(g, linear->out), n = g->values[linear->out].cols;
    int scores, context;
    *out_value = linear->out;
    *stream = -1;
    *name = linear->name;
    if (find_attention(g, behind_rows(g, linear->out, VQ_ROWS_TO_WINDOWS), &scores, &context))
        return qkv_target(t, step, offset, l, scores, context);
    double s = ldexp(1, -VQ_RESIDUAL_BITS);
    int64_t o = 0;
    if (node == g->num_nodes - 1 || begins_stream(g, linear->out)) {
        t->epilogue = VQ_GEMM_SET;
    } else if (reader >= 0 && g->nodes[reader].op == VQ_NODE_ADD) {
        const vq_node *const add = &g->nodes[reader];
        const int other = add->in[0] == linear->out ? add->in[1] : add->in[0];
        t->epilogue = VQ_GEMM_ADD;
        *stream = l->value_of[other];
        *out_value = add->out;
        *name = add->name;
        if (*stream < 0 || !l->g->values[*stream].s32 || vq_graph_last_use(g, other) != reader) return no_form(add);
    } else if (reader >= 0 && g->nodes[reader].op == VQ_NODE_GELU) {
        int next;
        vq_input_form form;
        t->epilogue = VQ_GEMM_TABLE;
        *out_value = g->nodes[reader].out;
        *name = g->nodes[reader].name;
        VQ_TRY(find_reader(&next, l, &g->nodes[reader], *out_value));
        VQ_TRY(vq_lower_input_form(&form, l, next));
        VQ_TRY(vq_lower_gelu(l, w, &s, &o, *name, &l->m->nodes[next].in[0], &form));
    } else {
        return no_form(linear);
    }
    for (int i = 0; i < n; i++) {
        step[i] = s;
        offset[i] = o;
    }
    return VQ_OK;
}

static vq_status lower_linear(vq_lowering *l, int i)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const linear = &g->nodes[i];
    const vq_value *const v = &g->values[linear->out];
    const int in = l->value_of[linear->in[0]];
    vq_input_form form;
    vq_gemm_target target = {0};
    double *step = NULL;
    int64_t *offset = NULL;
    const char *name;
    int out_value, stream;
    vq_int_node *n;
    vq_status status = VQ_OK;
    if (in < 0 || l->g->values[in].s32) return no_form(linear);
    VQ_TRY(vq_lower_input_form(&form, l, i));
    if (form.planes > 1 && l->g->values[in].pitch == l->g->values[in].plane_pitch) return no_form(linear);
    VQ_TRY(new_node(l, &n, VQ_INT_GEMM, linear->name, in, 0));
    VQ_GO(flat_target(&target, &step, &offset, v->cols, 1, 0));
    VQ_GO(choose_target(l, &n->u.gemm.w, &target, step, offset, i, &out_value, &stream, &name));
    free(n->name);
    n->name = NULL;
    VQ_GO(vq_strdup(&n->name, name));
    n->out = stream >= 0 ? stream : new_value(l, v->rows, v->cols, target.epilogue == VQ_GEMM_SET);
    if (n->u.gemm.w.table_low) add_plane(l, n->out);
    l->value_of[out_value] = n->out;
    n->u.gemm.rows = v->rows;
    n->u.gemm.row_step = 1;
    VQ_GO(vq_lower_gemm(l, &n->u.gemm.w, n->name, i, &form, &target));
done:
    free(step);
    free(offset);
    return status;
}

/* ---- attention -----------------------------------------------------------------------------------------------------
 */

/* From raster to raster: ROWS on either side are the attention's own addressing. */
static vq_status lower_context(vq_lowering *l, int i)
{
    const vq_graph *const g = l->m->graph;
    const vq_node *const context = &g->nodes[i];
    const int made_by = vq_graph_producer(g, context->in[1]);
    const bool windows = context->windows.height > 0;
    const int out = windows ? behind_rows(g, context->out, VQ_ROWS_FROM_WINDOWS) : context->out;
    const vq_value *const v = &g->values[out];
    int scores, check, qkv = context->in[1];
    const vq_quantizer *q;
    vq_int_node *n;
    if (windows && (made_by < 0 || g->nodes[made_by].op != VQ_NODE_ROWS || out == context->out))
        return no_form(context);
    if (windows) qkv = g->nodes[made_by].in[0];
    const int in = l->value_of[qkv];
    if (in < 0 || !find_attention(g, context->in[1], &scores, &check) || check != i) return no_form(context);
    VQ_TRY(reader_quantizer(&q, l, context, out));
    l->value_of[out] = new_value(l, v->rows, v->cols, false);
    VQ_TRY(new_node(l, &n, VQ_INT_ATTENTION, context->name, in, l->value_of[out]));
    n->u.attention.tokens = v->rows;
    return vq_lower_attention(l, &n->u.attention.w, n->name, scores, i, q);
}

/* ---- the walk ------------------------------------------------------------------------------------------------------
 */

static vq_status lower_node(vq_lowering *l, int i)
{
    const vq_node *const n = &l->m->graph->nodes[i];
    switch (n->op) {
    case VQ_NODE_TOKENS: return lower_tokens(l, n);
    case VQ_NODE_LAYERNORM: return lower_layernorm(l, i);
    case VQ_NODE_LINEAR: return lower_linear(l, i);
    case VQ_NODE_CONTEXT: return lower_context(l, i);
    case VQ_NODE_POOL: return lower_pool(l, i);
    case VQ_NODE_PATCH_EMBED: return lower_patch_embed(l, i);
    case VQ_NODE_ROWS:   /* done by what is around it, or that finds no value */
    case VQ_NODE_SCORES: /* done by CONTEXT */
    case VQ_NODE_SOFTMAX: return VQ_OK;
    case VQ_NODE_GELU: /* done by what is in front of them, or not at all */
    case VQ_NODE_ADD: return l->value_of[n->out] >= 0 ? VQ_OK : no_form(n);
    case VQ_NODE_OP_COUNT: break;
    }
    return no_form(n);
}

static vq_status lower(vq_int_graph **out, const vq_qmodel *m, const vq_safetensors *st)
{
    const vq_graph *const g = m->graph;
    vq_lowering l = {.m = m, .st = st};
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_alloc(&l.g, 1, sizeof *l.g, "integer graph"));
    VQ_GO(vq_alloc(&l.value_of, (size_t)g->num_values, sizeof *l.value_of, "integer graph"));
    /* a node makes one value and one node, TOKENS one more value and two more nodes for its PATCH_EMBED */
    VQ_GO(vq_alloc(&l.g->values, (size_t)(3 * g->num_nodes + 1), sizeof *l.g->values, "integer graph"));
    VQ_GO(vq_alloc(&l.g->nodes, (size_t)(3 * g->num_nodes), sizeof *l.g->nodes, "integer graph"));
    for (int i = 0; i < g->num_values; i++) l.value_of[i] = -1;
    l.g->values[0] = (vq_int_value){.rows = g->values[0].rows, .cols = g->values[0].cols, .pitch = g->values[0].cols};
    l.g->num_values = 1;
    for (int i = 0; i < g->num_nodes; i++) VQ_GO(lower_node(&l, i));
    if (g->num_nodes == 0 || g->nodes[g->num_nodes - 1].op != VQ_NODE_LINEAR)
        VQ_GO(vq_fail(VQ_ERR_UNSUPPORTED, "%s: the last node is not a linear layer", g->architecture));
    *out = l.g;
    l.g = NULL;
done:
    vq_int_graph_destroy(&l.g);
    free(l.value_of);
    return status;
}

static vq_status lower_pruned(vq_int_graph **out, const vq_qmodel *m, const vq_safetensors *st)
{
    VQ_TRY(lower(out, m, st));
    const vq_status status = vq_int_prune_rows(*out);
    if (status != VQ_OK) vq_int_graph_destroy(out);
    return status;
}

vq_status vq_lower(vq_int_graph **out, const vq_qmodel *m)
{
    return lower_pruned(out, m, NULL);
}

vq_status vq_lower_from_file(vq_int_graph **out, const vq_qmodel *m, const vq_safetensors *st)
{
    return lower_pruned(out, m, st);
}

vq_status vq_lower_all_rows(vq_int_graph **out, const vq_qmodel *m)
{
    return lower(out, m, NULL);
}
