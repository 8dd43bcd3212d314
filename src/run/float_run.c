/* The float executor. Values live in one arena by a static plan; a quantized input of a linear goes through one scratch
 * buffer, Q, K, V and P are quantized in place, for nothing else reads them. A fused run does some nodes together with
 * the one before them, and has no memory for what lies between. */
#include "run/float_run.h"

#include <stdlib.h>

#include "ops/ops_f32.h"
#include "run/float_plan.h"
#include "run/lanes.h"

static void destroy_room(vq_float_run *run)
{
    if (run->values)
        for (int i = 0; i < run->graph->num_values; i++) vq_buf_destroy(&run->values[i]);
    vq_buf_destroy(&run->arena);
    vq_buf_destroy(&run->scratch);
    vq_buf_destroy(&run->pixels);
    free(run->values);
}

void vq_float_run_destroy(vq_float_run **run_ptr)
{
    vq_float_run *const run = *run_ptr;
    if (!run) return;
    for (int l = 1; l < VQ_MAX_LANES; l++) {
        if (run->lanes[l]) destroy_room(run->lanes[l]);
        free(run->lanes[l]);
    }
    destroy_room(run);
    if (run->whole)
        for (int i = 0; i < run->graph->num_nodes; i++) vq_dev_whole_clear(&run->whole[i]);
    if (run->in)
        for (int i = 0; i < run->graph->num_nodes; i++) vq_dev_quantizer_clear(&run->in[i]);
    if (run->params)
        for (int i = 0; i < run->graph->num_params; i++) vq_buf_destroy(&run->params[i]);
    for (int i = 0; i < run->graph->num_nodes; i++) {
        if (run->maps) vq_buf_destroy(&run->maps[i]);
        if (run->extra) vq_buf_destroy(&run->extra[i]);
        if (run->linears) vq_linear_f32_destroy(&run->linears[i]);
    }
    free(run->maps);
    free(run->extra);
    for (int i = 0; run->chains && i < run->graph->num_nodes; i++) vq_row_chain_destroy(&run->chains[i]);
    free(run->linears);
    free(run->chains);
    vq_float_fusion_clear(&run->fusion);
    vq_buf_destroy(&run->low);
    free(run->whole);
    free(run->in);
    free(run->params);
    free(run);
    *run_ptr = NULL;
}

/* Pixels, arena, scratch and values of max_batch images. */
static vq_status create_room(vq_float_run *run)
{
    const vq_graph *const g = run->graph;
    const size_t batch = (size_t)run->max_batch;
    const size_t scratch = vq_float_room_of(g, NULL, run->linears != NULL).scratch * sizeof(float) * batch;
    vq_plan_item *items = NULL;
    size_t total = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create(&run->pixels, run->dev, vq_value_count(g, 0) * batch));
    VQ_GO(vq_buf_create(&run->scratch, run->dev, scratch));
    VQ_GO(vq_alloc(&run->values, (size_t)g->num_values, sizeof(vq_buf *), "float run"));
    VQ_GO(vq_alloc(&items, (size_t)g->num_values, sizeof *items, "memory plan"));
    VQ_GO(vq_float_plan_values(items, &total, g, run->linears ? &run->fusion : NULL, run->max_batch));
    VQ_GO(vq_buf_create(&run->arena, run->dev, total));
    for (int v = 1; v < g->num_values; v++)
        if (items[v].bytes) VQ_GO(vq_buf_view(&run->values[v], run->dev, run->arena, items[v].offset, items[v].bytes));
done:
    free(items);
    return status;
}

size_t vq_float_run_activation_bytes(const vq_float_run *run)
{
    size_t bytes = vq_buf_bytes(run->low);
    for (int l = 0; l < VQ_MAX_LANES; l++) {
        const vq_float_run *const lane = l ? run->lanes[l] : run;
        if (lane) bytes += vq_buf_bytes(lane->arena) + vq_buf_bytes(lane->scratch) + vq_buf_bytes(lane->pixels);
    }
    return bytes;
}

/* ---- rows and windows ----------------------------------------------------------------------------------------------
 */

/* Rows of one image that a ROWS node makes, each of `cols` columns: MERGE makes pieces of rows. */
static int rows_made(const vq_graph *g, const vq_node *n)
{
    return g->values[n->out].rows * (g->values[n->out].cols / g->values[n->in[0]].cols);
}

static vq_status create_map(vq_float_run *run, int node)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[node];
    const int rows = rows_made(g, n), cols = g->values[n->in[0]].cols;
    int32_t *map = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&map, (size_t)rows, sizeof *map, n->name));
    if (n->order == VQ_ROWS_TO_WINDOWS) vq_windows_map(&n->windows, map);
    if (n->order == VQ_ROWS_FROM_WINDOWS) vq_windows_back(&n->windows, map);
    if (n->order == VQ_ROWS_MERGE) vq_merge_map(n->windows.height, n->windows.width, map);
    VQ_GO(vq_buf_create_from(&run->maps[node], run->dev, map, (size_t)rows * sizeof *map));
    if (n->weight < 0) VQ_GO(vq_buf_create(&run->extra[node], run->dev, (size_t)cols * sizeof(float)));
done:
    free(map);
    return status;
}

/* The table of relative positions for every pair of tokens, and regions. */
static vq_status create_bias(vq_float_run *run, int node)
{
    const vq_node *const n = &run->graph->nodes[node];
    const int t = vq_windows_tokens(&n->windows), tokens = vq_windows_count(&n->windows) * t;
    const size_t count = (size_t)n->heads * (size_t)t * (size_t)t;
    const float *const table = run->graph->params[n->weight].data;
    int32_t *region = NULL;
    float *bias = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&region, (size_t)tokens, sizeof *region, n->name));
    VQ_GO(vq_alloc(&bias, count, sizeof *bias, n->name));
    vq_windows_regions(&n->windows, region);
    for (int h = 0; h < n->heads && table; h++)
        for (int i = 0; i < t; i++)
            for (int j = 0; j < t; j++)
                bias[((size_t)h * (size_t)t + (size_t)i) * (size_t)t + (size_t)j] =
                    table[vq_windows_relative(&n->windows, i, j) * n->heads + h];
    VQ_GO(vq_buf_create_from(&run->maps[node], run->dev, region, (size_t)tokens * sizeof *region));
    VQ_GO(vq_buf_create_from(&run->extra[node], run->dev, bias, count * sizeof *bias));
    run->model_bytes += count * sizeof *bias;
done:
    free(region);
    free(bias);
    return status;
}

static vq_status create_maps(vq_float_run *run)
{
    const vq_graph *const g = run->graph;
    for (int i = 0; i < g->num_nodes; i++) {
        if (g->nodes[i].op == VQ_NODE_ROWS) VQ_TRY(create_map(run, i));
        if (g->nodes[i].op == VQ_NODE_SCORES && g->nodes[i].weight >= 0) VQ_TRY(create_bias(run, i));
    }
    return VQ_OK;
}

/* The leaders of node `first`'s launch; nodes [VQ_ROW_CHAIN_MOST]. */
static int leaders_of(int *nodes, const vq_float_run *run, int first)
{
    int count = 0;
    for (int i = first; i < run->graph->num_nodes && run->fusion.chains[i] == first; i++)
        if (run->fusion.leaders[i] == i) nodes[count++] = i;
    return count;
}

/* Launches that several leaders share; where the compiler refuses one they go apart. */
static vq_status create_chains(vq_float_run *run)
{
    vq_float_fusion *const f = &run->fusion;
    for (int i = 0; i < run->graph->num_nodes; i++) {
        int nodes[VQ_ROW_CHAIN_MOST];
        vq_row_op ops[VQ_ROW_CHAIN_MOST];
        const int count = f->chains[i] == i ? leaders_of(nodes, run, i) : 0;
        if (count < 2) continue;
        bool complete = true;
        for (int j = 0; j < count; j++) {
            ops[j] = (vq_row_op){.linear = run->linears[nodes[j]]}; /* NULL: a LayerNorm */
            complete = complete && (ops[j].linear || run->graph->nodes[nodes[j]].op == VQ_NODE_LAYERNORM);
        }
        const vq_status status =
            complete ? vq_row_chain_create(&run->chains[i], run->dev, ops, count) : VQ_ERR_BUILD; /* no weights yet */
        if (status == VQ_OK) continue;
        if (status != VQ_ERR_BUILD) return status;
        for (int j = i; j < run->graph->num_nodes && f->chains[j] == i; j++) f->chains[j] = f->leaders[j];
    }
    return VQ_OK;
}

static vq_status create(vq_float_run **out, vq_device *dev, const vq_graph *graph, int max_batch, bool fused)
{
    vq_float_run *run = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(vq_alloc(&run, 1, sizeof *run, "float run"));
    run->dev = dev;
    run->graph = graph;
    run->max_batch = max_batch;
    VQ_GO(vq_alloc(&run->params, (size_t)graph->num_params, sizeof(vq_buf *), "float run"));
    VQ_GO(vq_alloc(&run->in, (size_t)graph->num_nodes, sizeof *run->in, "float run"));
    VQ_GO(vq_alloc(&run->whole, (size_t)graph->num_nodes, sizeof *run->whole, "float run"));
    VQ_GO(vq_alloc(&run->maps, (size_t)graph->num_nodes, sizeof(vq_buf *), "float run"));
    VQ_GO(vq_alloc(&run->extra, (size_t)graph->num_nodes, sizeof(vq_buf *), "float run"));
    if (fused) {
        VQ_GO(vq_float_fusion_create(&run->fusion, dev, graph));
        VQ_GO(vq_alloc(&run->chains, (size_t)graph->num_nodes, sizeof *run->chains, "float run"));
        VQ_GO(vq_alloc(&run->linears, (size_t)graph->num_nodes, sizeof *run->linears, "float run"));
    }
    VQ_GO(create_maps(run));
    for (int p = 0; p < graph->num_params; p++)
        if (graph->params[p].data)
            VQ_GO(vq_float_run_set_param(run, p, graph->params[p].data, vq_shape_count(&graph->params[p].shape)));
    if (fused) VQ_GO(create_chains(run));
    VQ_GO(create_room(run));
    *out = run;
    run = NULL;
done:
    vq_float_run_destroy(&run);
    return status;
}

vq_status vq_float_run_create(vq_float_run **out, vq_device *dev, const vq_graph *graph, int max_batch)
{
    return create(out, dev, graph, max_batch, false);
}

static vq_status create_lane(vq_float_run **out, const vq_float_run *first, int max_batch)
{
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "float run"));
    vq_float_run *const run = *out;
    *run = *first;
    run->max_batch = max_batch;
    run->pixels = run->arena = run->scratch = NULL;
    run->values = NULL;
    return create_room(run);
}

vq_status vq_float_run_create_fused(vq_float_run **out, vq_device *dev, const vq_graph *graph, int max_batch, int lanes)
{
    vq_float_run *run = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(create(&run, dev, graph, vq_lane_share_of(0, lanes, max_batch).count, vq_float_can_fuse(dev)));
    for (int l = 1; l < lanes; l++) {
        const int share = vq_lane_share_of(l, lanes, max_batch).count;
        if (share) VQ_GO(create_lane(&run->lanes[l], run, share));
    }
    run->lanes[0] = run;
    run->num_lanes = lanes;
    VQ_GO(vq_device_finish(dev)); /* before other lanes read what this one has written */
    *out = run;
    run = NULL;
done:
    vq_float_run_destroy(&run);
    return status;
}

bool vq_float_run_is_part(const vq_float_run *run, int i)
{
    return run->fusion.chains && run->fusion.chains[i] != i;
}

static vq_status set_linear(vq_float_run *run, int node, const float *weight)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[node];
    const int out = g->values[n->out].cols, in = (int)(vq_shape_count(&g->params[n->weight].shape) / (size_t)out);
    vq_linear_f32 **const linear = &run->linears[node];
    if (!*linear) {
        VQ_TRY(vq_linear_f32_create(linear, run->dev, out, in));
        run->model_bytes += vq_linear_f32_bytes(*linear);
    }
    return vq_linear_f32_set(*linear, run->dev, weight);
}

vq_status vq_float_run_set_param(vq_float_run *run, int p, const float *data, size_t count)
{
    const vq_graph *const g = run->graph;
    for (int i = 0; run->linears && i < g->num_nodes; i++)
        if ((g->nodes[i].op == VQ_NODE_LINEAR || g->nodes[i].op == VQ_NODE_PATCH_EMBED) && g->nodes[i].weight == p)
            return set_linear(run, i, data);
    if (run->params[p]) return vq_buf_write(run->dev, run->params[p], 0, data, count * sizeof(float));
    run->model_bytes += count * sizeof(float);
    return vq_buf_create_from(&run->params[p], run->dev, data, count * sizeof(float));
}

/* ---- nodes ---------------------------------------------------------------------------------------------------------
 */

/* What a node multiplies: out = a * b + bias. */
typedef struct product {
    vq_gemm_f32_shape shape;
    const vq_buf *a, *b, *bias, *out;
} product;

/* Products of whole numbers get their scales and the bias, of heads where there is a product for each. */
static vq_status rescale(vq_float_run *run, int node, const product *p)
{
    const vq_gemm_f32_shape *const s = &p->shape;
    const vq_dev_whole *const w = &run->whole[node];
    const vq_buf *const low = w->low.kind == VQ_QUANTIZER_NONE ? NULL : run->low;
    if (run->graph->nodes[node].op == VQ_NODE_SCORES)
        return vq_rescale_f32_run(run->dev, p->out, low, w->scale, true, NULL, s->outer, s->inner, s->m * s->n);
    return vq_rescale_f32_run(run->dev, p->out, low, w->scale, false, p->bias, 1, VQ_MAX(s->outer, 1) * s->m, s->ldc);
}

static vq_status multiply(vq_float_run *run, int node, const product *p)
{
    const bool whole = run->whole[node].scale != NULL;
    VQ_TRY(vq_gemm_f32_run(run->dev, &p->shape, p->a, p->b, whole ? NULL : p->bias, p->out));
    return whole ? rescale(run, node, p) : VQ_OK;
}

/* The same with a, of count elements, quantized: into scratch, or in place where nothing else reads it. */
static vq_status multiply_quantized(vq_float_run *run, int node, product *p, size_t count, bool in_place)
{
    const vq_dev_quantizer *const q = &run->in[node], *const low = &run->whole[node].low;
    const vq_buf *const a = p->a;
    if (q->kind == VQ_QUANTIZER_NONE) return multiply(run, node, p);
    if (low->kind != VQ_QUANTIZER_NONE) {
        VQ_TRY(vq_dev_quantizer_run(run->dev, low, a, count, run->scratch));
        VQ_TRY(vq_gemm_f32_run(run->dev, &p->shape, run->scratch, p->b, NULL, run->low));
    }
    p->a = in_place ? a : run->scratch;
    VQ_TRY(vq_dev_quantizer_run(run->dev, q, a, count, p->a));
    return multiply(run, node, p);
}

/* A linear, and the GELU or ADD that is done with it. */
static vq_linear_f32_io linear_io(const vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i], *const next = n + 1;
    const bool joined = i + 1 < g->num_nodes && run->fusion.leaders[i + 1] == i;
    const vq_linear_epilogue epilogue = !joined                    ? VQ_LINEAR_PLAIN
                                        : next->op == VQ_NODE_GELU ? VQ_LINEAR_GELU
                                                                   : VQ_LINEAR_ADD;
    const vq_buf *const x = n->op == VQ_NODE_PATCH_EMBED ? run->scratch : run->values[n->in[0]];
    const vq_buf *const other = epilogue == VQ_LINEAR_ADD ? run->values[next->in[next->in[0] == n->out]] : NULL;
    return (vq_linear_f32_io){.x = x,
                              .bias = n->bias < 0 ? NULL : run->params[n->bias],
                              .other = other,
                              .y = run->values[joined ? next->out : n->out],
                              .m = batch * g->values[n->out].rows,
                              .epilogue = epilogue};
}

static vq_status run_fused_linear(vq_float_run *run, int i, int batch)
{
    const vq_linear_f32_io io = linear_io(run, i, batch);
    return vq_linear_f32_run(run->dev, run->linears[i], &io);
}

static vq_status run_linear(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    if (run->linears) return run_fused_linear(run, i, batch);
    const vq_value *const in = &g->values[n->in[0]], *const out = &g->values[n->out];
    product p = {.shape = {.m = batch * in->rows,
                           .n = out->cols,
                           .k = in->cols,
                           .lda = in->cols,
                           .ldb = in->cols,
                           .ldc = out->cols,
                           .trans_b = true},
                 .a = run->values[n->in[0]],
                 .b = run->params[n->weight],
                 .bias = n->bias < 0 ? NULL : run->params[n->bias],
                 .out = run->values[n->out]};
    return multiply_quantized(run, i, &p, vq_value_count(g, n->in[0]) * (size_t)batch, false);
}

/* Patch rows of the pixels in scratch. */
static vq_status patchify(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_preprocess *const pre = &g->pre;
    const size_t count = vq_value_count(g, 0) * (size_t)batch;
    VQ_TRY(
        vq_patchify_f32_run(run->dev, batch, pre->height, pre->width, pre->chans, n->patch, run->pixels, run->scratch));
    if (run->in[i].kind == VQ_QUANTIZER_NONE) return VQ_OK;
    return vq_dev_quantizer_run(run->dev, &run->in[i], run->scratch, count, run->scratch);
}

vq_status vq_float_run_patches(vq_float_run *run, int node, int batch, const vq_buf **patches)
{
    *patches = run->scratch;
    return patchify(run, node, batch);
}

static vq_status run_patch_embed(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_preprocess *const pre = &g->pre;
    const vq_value *const out = &g->values[n->out];
    const int k = pre->chans * n->patch * n->patch;
    VQ_TRY(patchify(run, i, batch));
    if (run->linears) return run_fused_linear(run, i, batch);
    const product p = {
        .shape =
            {.m = batch * out->rows, .n = out->cols, .k = k, .lda = k, .ldb = k, .ldc = out->cols, .trans_b = true},
        .a = run->scratch,
        .b = run->params[n->weight],
        .bias = run->params[n->bias],
        .out = run->values[n->out]};
    return multiply(run, i, &p);
}

/* The prefix rows come from init alone; the patches are added to their rows of it, image by image. */
static vq_status run_tokens(vq_float_run *run, const vq_node *n, int batch)
{
    const vq_graph *const g = run->graph;
    const size_t in_count = vq_value_count(g, n->in[0]), out_count = vq_value_count(g, n->out);
    const size_t prefix = (size_t)n->prefix * (size_t)g->values[n->out].cols;
    VQ_TRY(vq_broadcast_f32_run(run->dev, run->params[n->weight], out_count, run->values[n->out], batch));
    return vq_add_rows_f32_run(run->dev, run->values[n->in[0]], in_count, run->values[n->out], out_count, prefix,
                               batch);
}

static vq_status run_scores(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_value *const qkv = &g->values[n->in[0]];
    const vq_buf *const x = run->values[n->in[0]];
    if (vq_float_run_is_part(run, i + 1))
        return vq_attention_f32_run(run->dev, x, qkv->rows, n->heads, n->head_dim, n->scale, run->values[n[2].out],
                                    batch);
    const int windows = vq_windows_count(&n->windows), t = qkv->rows / windows, d = n->head_dim, width = n->heads * d;
    if (run->in[i].kind != VQ_QUANTIZER_NONE)
        VQ_TRY(vq_dev_quantizer_run(run->dev, &run->in[i], x, vq_value_count(g, n->in[0]) * (size_t)batch, x));
    const size_t per_image = (size_t)t * (size_t)qkv->cols, square = (size_t)t * (size_t)t;
    const product p = {.shape = {.m = t,
                                 .n = t,
                                 .k = d,
                                 .lda = qkv->cols,
                                 .ldb = qkv->cols,
                                 .ldc = t,
                                 .trans_b = true,
                                 .alpha = run->whole[i].scale ? 1 : n->scale,
                                 .outer = batch * windows,
                                 .inner = n->heads,
                                 .b_offset = (size_t)width,
                                 .a_outer = per_image,
                                 .a_inner = (size_t)d,
                                 .b_outer = per_image,
                                 .b_inner = (size_t)d,
                                 .c_outer = square * (size_t)n->heads,
                                 .c_inner = square},
                       .a = x,
                       .b = x,
                       .out = run->values[n->out]};
    VQ_TRY(multiply(run, i, &p));
    if (n->weight < 0) return VQ_OK;
    return vq_window_bias_f32_run(run->dev, run->values[n->out], run->extra[i], run->maps[i], VQ_WINDOW_MASK, windows,
                                  n->heads, t, batch);
}

static vq_status run_context(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_value *const qkv = &g->values[n->in[1]];
    const int windows = vq_windows_count(&n->windows), t = qkv->rows / windows, d = n->head_dim, width = n->heads * d;
    const size_t square = (size_t)t * (size_t)t;
    product p = {.shape = {.m = t,
                           .n = d,
                           .k = t,
                           .lda = t,
                           .ldb = qkv->cols,
                           .ldc = width,
                           .outer = batch * windows,
                           .inner = n->heads,
                           .b_offset = 2 * (size_t)width,
                           .a_outer = square * (size_t)n->heads,
                           .a_inner = square,
                           .b_outer = (size_t)t * (size_t)qkv->cols,
                           .b_inner = (size_t)d,
                           .c_outer = (size_t)t * (size_t)width,
                           .c_inner = (size_t)d},
                 .a = run->values[n->in[0]],
                 .b = run->values[n->in[1]],
                 .out = run->values[n->out]};
    return multiply_quantized(run, i, &p, vq_value_count(g, n->in[0]) * (size_t)batch, true);
}

static vq_layernorm_f32_io layernorm_io(const vq_float_run *run, const vq_node *n, int batch)
{
    const vq_value *const in = &run->graph->values[n->in[0]];
    return (vq_layernorm_f32_io){.x = run->values[n->in[0]],
                                 .gamma = run->params[n->weight],
                                 .beta = run->params[n->bias],
                                 .y = run->values[n->out],
                                 .m = batch * in->rows,
                                 .c = in->cols,
                                 .ldx = in->cols,
                                 .eps = n->eps};
}

static vq_status run_layernorm(vq_float_run *run, const vq_node *n, int batch)
{
    const vq_layernorm_f32_io io = layernorm_io(run, n, batch);
    if (run->reproducible) return vq_layernorm_f64_run(run->dev, io.x, io.gamma, io.beta, io.eps, io.y, io.m, io.c);
    return vq_layernorm_f32_run(run->dev, &io);
}

static vq_status run_chain(vq_float_run *run, int first, int batch)
{
    int nodes[VQ_ROW_CHAIN_MOST];
    vq_row_io ios[VQ_ROW_CHAIN_MOST];
    const int count = leaders_of(nodes, run, first);
    for (int j = 0; j < count; j++) {
        const vq_node *const n = &run->graph->nodes[nodes[j]];
        if (n->op == VQ_NODE_LINEAR)
            ios[j].linear = linear_io(run, nodes[j], batch);
        else
            ios[j].layernorm_f32 = layernorm_io(run, n, batch);
    }
    return vq_row_chain_run(run->dev, run->chains[first], ios);
}

static vq_status run_pool(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_value *const in = &g->values[n->in[0]], *const out = &g->values[n->out];
    for (int p = 0; p < n->num_pools; p++)
        VQ_TRY(vq_mean_rows_f32_run(run->dev, run->values[n->in[0]], in->rows, in->cols, n->pools[p].first,
                                    n->pools[p].count, run->values[n->out], out->cols, p * in->cols, batch));
    return VQ_OK;
}

vq_status vq_float_run_node(vq_float_run *run, int i, int batch)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[i];
    const vq_buf *const x = n->in[0] > 0 ? run->values[n->in[0]] : NULL, *const y = run->values[n->out];
    const vq_value *const in = &g->values[n->in[0]];
    const size_t count = vq_value_count(g, n->in[0]) * (size_t)batch;
    if (vq_float_run_is_part(run, i)) return VQ_OK;
    if (run->chains && run->chains[i]) return run_chain(run, i, batch);
    switch (n->op) {
    case VQ_NODE_PATCH_EMBED: return run_patch_embed(run, i, batch);
    case VQ_NODE_TOKENS: return run_tokens(run, n, batch);
    case VQ_NODE_LAYERNORM: return run_layernorm(run, n, batch);
    case VQ_NODE_LINEAR: return run_linear(run, i, batch);
    case VQ_NODE_SCORES: return run_scores(run, i, batch);
    case VQ_NODE_SOFTMAX:
        return (run->reproducible ? vq_softmax_f64_run
                                  : vq_softmax_f32_run)(run->dev, x, y, (size_t)batch * (size_t)in->rows, in->cols);
    case VQ_NODE_CONTEXT: return run_context(run, i, batch);
    case VQ_NODE_GELU: return (run->reproducible ? vq_gelu_rational_f32_run : vq_gelu_f32_run)(run->dev, x, y, count);
    case VQ_NODE_ADD: return vq_add_f32_run(run->dev, x, run->values[n->in[1]], y, count);
    case VQ_NODE_POOL: return run_pool(run, i, batch);
    case VQ_NODE_ROWS:
        return vq_gather_rows_f32_run(run->dev, x, in->rows, run->maps[i],
                                      n->weight < 0 ? run->extra[i] : run->params[n->weight], y, rows_made(g, n),
                                      in->cols, batch);
    case VQ_NODE_OP_COUNT: break;
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: operation %d cannot run in float", n->name, (int)n->op);
}

vq_status vq_float_run_input(vq_float_run *run, const uint8_t *pixels, int batch)
{
    return vq_buf_write(run->dev, run->pixels, 0, pixels, vq_value_count(run->graph, 0) * (size_t)batch);
}

static vq_status run_nodes(vq_float_run *run, int batch)
{
    for (int i = 0; i < run->graph->num_nodes; i++) VQ_TRY(vq_float_run_node(run, i, batch));
    return VQ_OK;
}

static vq_status read_logits(vq_float_run *run, int batch, float *logits)
{
    const vq_graph *const g = run->graph;
    const int last = g->nodes[g->num_nodes - 1].out;
    return vq_buf_read(run->dev, run->values[last], 0, logits, vq_value_count(g, last) * (size_t)batch * sizeof(float));
}

typedef struct passing {
    vq_float_run *run;
    const uint8_t *pixels;
    float *logits;
} passing;

static vq_status pass(void *user, vq_lane_stage stage, int lane, vq_lane_share share)
{
    const passing *const p = user;
    const vq_graph *const g = p->run->graph;
    vq_float_run *const run = p->run->lanes[lane];
    const size_t first = (size_t)share.first;
    switch (stage) {
    case VQ_LANE_INPUT: return vq_float_run_input(run, p->pixels + vq_value_count(g, 0) * first, share.count);
    case VQ_LANE_RUN: return run_nodes(run, share.count);
    case VQ_LANE_OUTPUT: break;
    }
    return read_logits(run, share.count, p->logits + (size_t)g->num_classes * first);
}

vq_status vq_float_run_logits(vq_float_run *run, const uint8_t *pixels, int batch, float *logits)
{
    passing p = {run, pixels, logits};
    if (run->num_lanes) return vq_lanes_run(run->dev, run->num_lanes, batch, pass, &p);
    VQ_TRY(vq_float_run_input(run, pixels, batch));
    VQ_TRY(run_nodes(run, batch));
    return read_logits(run, batch, logits);
}
