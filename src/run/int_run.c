/* The integer executor: a list of launches. Everything that can be decided before the first image is decided at
 * creation. */
#include "run/int_run.h"

#include <stdlib.h>

#include "graph/plan.h"
#include "ops/ops_int.h"
#include "ops/row_chain.h"
#include "run/int_plan.h"
#include "run/lanes.h"

/* Kernels may read whole vectors past the last row; what lies there is never used. */
enum { SPARE_BYTES = 256 };

typedef struct node_state {
    vq_gemm_s8 *gemm;
    vq_layernorm_s32 *layernorm;
    vq_attention_u8 *attention;
    vq_buf *init;
    vq_row_chain *chain; /* of a leader: it and the nodes that it leads */
} node_state;

/* What the images of one lane of the device pass through. */
typedef struct lane {
    vq_buf *pixels, *arena, *scratch;
    vq_buf **values; /* [num_values]; [0] is NULL */
} lane;

struct vq_int_run {
    vq_device *dev;
    const vq_int_graph *graph;
    int max_batch;
    node_state *nodes;
    int *leaders; /* [num_nodes] (run/int_plan.h) */
    int num_lanes;
    lane lanes[VQ_MAX_LANES];
    vq_storage storage;
};

size_t vq_int_value_bytes(const vq_int_value *value)
{
    return (size_t)value->rows * (size_t)value->pitch * (value->s32 ? sizeof(int32_t) : 1);
}

static void destroy_lane(lane *l, const vq_int_graph *g)
{
    for (int v = 0; l->values && v < g->num_values; v++) vq_buf_destroy(&l->values[v]);
    vq_buf_destroy(&l->arena);
    vq_buf_destroy(&l->scratch);
    vq_buf_destroy(&l->pixels);
    free(l->values);
}

void vq_int_run_destroy(vq_int_run **run_ptr)
{
    vq_int_run *const run = *run_ptr;
    if (!run) return;
    for (int i = 0; run->nodes && i < run->graph->num_nodes; i++) {
        vq_gemm_s8_destroy(&run->nodes[i].gemm);
        vq_layernorm_s32_destroy(&run->nodes[i].layernorm);
        vq_attention_u8_destroy(&run->nodes[i].attention);
        vq_buf_destroy(&run->nodes[i].init);
        vq_row_chain_destroy(&run->nodes[i].chain);
    }
    for (int l = 0; l < VQ_MAX_LANES; l++) destroy_lane(&run->lanes[l], run->graph);
    free(run->nodes);
    free(run->leaders);
    free(run);
    *run_ptr = NULL;
}

/* Nodes that `leader` leads, itself included. */
static int chain_length(const vq_int_run *run, int leader)
{
    int end = leader + 1;
    while (end < run->graph->num_nodes && run->leaders[end] == leader) end++;
    return end - leader;
}

static vq_status create_op(vq_int_run *run, int i)
{
    const vq_int_node *const n = &run->graph->nodes[i];
    node_state *const s = &run->nodes[i];
    switch (n->op) {
    case VQ_INT_PATCHIFY:
    case VQ_INT_POOL: break;
    case VQ_INT_TOKENS:
        return vq_buf_create_from(&s->init, run->dev, n->u.tokens.init, (size_t)n->u.tokens.count * sizeof(int32_t));
    case VQ_INT_GEMM: return vq_gemm_s8_create(&s->gemm, run->dev, &n->u.gemm.w, run->storage);
    case VQ_INT_LAYERNORM: return vq_layernorm_s32_create(&s->layernorm, run->dev, &n->u.layernorm.w);
    case VQ_INT_ATTENTION: return vq_attention_u8_create(&s->attention, run->dev, &n->u.attention.w);
    }
    return VQ_OK;
}

static int list_ops(vq_row_op *ops, const vq_int_run *run, int leader)
{
    const int count = chain_length(run, leader);
    for (int j = 0; j < count; j++) {
        const node_state *const s = &run->nodes[leader + j];
        ops[j] = (vq_row_op){.gemm = s->gemm, .layernorm = s->layernorm};
    }
    return count;
}

static vq_status create_parts(vq_int_run *run, int leader, int count)
{
    for (int i = leader; i < leader + count; i++) {
        const vq_int_node *const n = &run->graph->nodes[i];
        if (n->op == VQ_INT_GEMM)
            VQ_TRY(vq_gemm_s8_create_part(&run->nodes[i].gemm, run->dev, &n->u.gemm.w, run->storage));
        else
            VQ_TRY(vq_layernorm_s32_create_part(&run->nodes[i].layernorm, run->dev, &n->u.layernorm.w));
    }
    return VQ_OK;
}

/* Launches that the kernel of a leader's chain saves in all. */
static int saved_by(const vq_int_run *run, int leader)
{
    vq_row_op ops[VQ_ROW_CHAIN_MOST], others[VQ_ROW_CHAIN_MOST];
    const int count = list_ops(ops, run, leader);
    int saved = 0;
    for (int i = 0; i < run->graph->num_nodes; i += chain_length(run, i))
        if (list_ops(others, run, i) == count && vq_row_chain_alike(run->dev, ops, others, count)) saved += count - 1;
    return saved;
}

/* The nodes as launches of their own. */
static vq_status break_chain(vq_int_run *run, int leader, int count)
{
    for (int i = leader; i < leader + count; i++) {
        vq_gemm_s8_destroy(&run->nodes[i].gemm);
        vq_layernorm_s32_destroy(&run->nodes[i].layernorm);
        run->leaders[i] = i;
        VQ_TRY(create_op(run, i));
    }
    return VQ_OK;
}

static vq_status create_chains(vq_int_run *run, int least)
{
    bool *worth = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&worth, (size_t)run->graph->num_nodes, sizeof *worth, "integer run"));
    for (int i = 0; i < run->graph->num_nodes; i += chain_length(run, i))
        worth[i] = chain_length(run, i) > 1 && saved_by(run, i) >= least;
    for (int i = 0, count; i < run->graph->num_nodes; i += count) {
        vq_row_op ops[VQ_ROW_CHAIN_MOST];
        count = chain_length(run, i);
        if (count < 2) continue;
        list_ops(ops, run, i);
        if (worth[i]) status = vq_row_chain_create(&run->nodes[i].chain, run->dev, ops, count);
        if (!worth[i] || status == VQ_ERR_BUILD) status = break_chain(run, i, count);
        if (status != VQ_OK) goto done;
    }
done:
    free(worth);
    return status;
}

static vq_status prepare_nodes(vq_int_run *run, int chain_saves)
{
    enum { TWO_BLOCKS = 10 };
    const bool fits = vq_row_chain_fits(run->dev, VQ_OP_GEMM_S8, VQ_OP_LAYERNORM_S32);
    vq_int_leaders(run->leaders, run->graph, fits ? VQ_ROW_CHAIN_MOST : 1);
    for (int i = 0, count; i < run->graph->num_nodes; i += count) {
        count = chain_length(run, i);
        VQ_TRY(count > 1 ? create_parts(run, i, count) : create_op(run, i));
    }
    return create_chains(run, chain_saves ? chain_saves : TWO_BLOCKS);
}

size_t vq_int_run_constant_bytes(const vq_int_run *run, int node)
{
    const node_state *const s = &run->nodes[node];
    if (s->gemm) return vq_gemm_s8_device_bytes(s->gemm);
    if (s->layernorm) return vq_layernorm_s32_device_bytes(s->layernorm);
    return s->attention ? vq_attention_u8_device_bytes(s->attention) : vq_buf_bytes(s->init);
}

size_t vq_int_run_scratch_bytes(const vq_int_run *run, int node, int batch)
{
    const vq_int_node *const n = &run->graph->nodes[node];
    const node_state *const s = &run->nodes[node];
    if (s->gemm) return vq_gemm_s8_scratch_bytes(s->gemm, batch * n->u.gemm.rows);
    return s->attention ? vq_attention_u8_scratch_bytes(s->attention, batch, n->u.attention.tokens) : 0;
}

static size_t scratch_bytes(const vq_int_run *run, int batch)
{
    size_t most = 0;
    for (int i = 0; i < run->graph->num_nodes; i++) most = VQ_MAX(most, vq_int_run_scratch_bytes(run, i, batch));
    return most;
}

/* Places of the values of `batch` images in the arena; items [num_values]. */
static vq_status plan_values(vq_plan_item *items, size_t *total, const vq_int_run *run, int batch)
{
    const vq_int_graph *const g = run->graph;
    int *first = NULL, *last = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&first, (size_t)g->num_values, sizeof *first, "memory plan"));
    VQ_GO(vq_alloc(&last, (size_t)g->num_values, sizeof *last, "memory plan"));
    vq_int_lifetimes(g, run->leaders, first, last);
    items[0] = (vq_plan_item){0};
    for (int v = 1; v < g->num_values; v++) {
        const size_t bytes = vq_int_value_bytes(&g->values[v]) * (size_t)batch + SPARE_BYTES;
        items[v] = (vq_plan_item){.bytes = bytes, .first = first[v], .last = last[v]};
    }
    VQ_GO(vq_plan_memory(items, g->num_values, VQ_BUF_ALIGN, total));
done:
    free(first);
    free(last);
    return status;
}

static size_t pixel_bytes(const vq_int_run *run, int batch)
{
    return vq_int_value_bytes(&run->graph->values[0]) * (size_t)batch;
}

static vq_status choose_batch(vq_int_run *run, vq_plan_item *items, const vq_int_run_params *p)
{
    const size_t largest = vq_device_get_info(run->dev)->max_alloc_bytes;
    const int lanes = run->num_lanes;
    run->max_batch = p->max_batch;
    for (int batch = p->most_batch; !run->max_batch; batch--) {
        size_t total = 0, most = 0;
        for (int l = 0; l < lanes; l++) {
            const int share = vq_lane_share_of(l, lanes, batch).count;
            size_t arena = 0;
            if (share) VQ_TRY(plan_values(items, &arena, run, share));
            most = VQ_MAX(most, arena);
            total += arena + scratch_bytes(run, share) + pixel_bytes(run, share);
        }
        if (batch <= 1 || (most <= largest && total <= p->memory)) run->max_batch = VQ_MAX(batch, 1);
    }
    return VQ_OK;
}

static vq_status create_lane(vq_int_run *run, lane *l, vq_plan_item *items, int batch)
{
    const vq_int_graph *const g = run->graph;
    const size_t scratch = scratch_bytes(run, batch);
    size_t total = 0;
    VQ_TRY(vq_alloc(&l->values, (size_t)g->num_values, sizeof(vq_buf *), "integer run"));
    VQ_TRY(plan_values(items, &total, run, batch));
    VQ_TRY(vq_buf_create(&l->arena, run->dev, total));
    for (int v = 1; v < g->num_values; v++)
        VQ_TRY(vq_buf_view(&l->values[v], run->dev, l->arena, items[v].offset, items[v].bytes));
    if (scratch) VQ_TRY(vq_buf_create(&l->scratch, run->dev, scratch));
    return vq_buf_create(&l->pixels, run->dev, pixel_bytes(run, batch));
}

static vq_status create_lanes(vq_int_run *run, const vq_int_run_params *params)
{
    const int lanes = run->num_lanes;
    vq_plan_item *items = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&items, (size_t)run->graph->num_values, sizeof *items, "memory plan"));
    VQ_GO(choose_batch(run, items, params));
    for (int l = 0; l < lanes; l++) {
        const int share = vq_lane_share_of(l, lanes, run->max_batch).count;
        if (share) VQ_GO(create_lane(run, &run->lanes[l], items, share));
    }
    VQ_GO(vq_device_finish(run->dev)); /* before other lanes read what this one has written */
done:
    free(items);
    return status;
}

vq_status vq_int_run_create(vq_int_run **out, vq_device *dev, const vq_int_graph *graph,
                            const vq_int_run_params *params)
{
    vq_int_run *run = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(vq_alloc(&run, 1, sizeof *run, "integer run"));
    run->dev = dev;
    run->graph = graph;
    run->storage = params->storage;
    run->num_lanes = vq_lanes_of(dev, params->lanes);
    VQ_GO(vq_alloc(&run->nodes, (size_t)graph->num_nodes, sizeof *run->nodes, "integer run"));
    VQ_GO(vq_alloc(&run->leaders, (size_t)graph->num_nodes, sizeof *run->leaders, "integer run"));
    VQ_GO(prepare_nodes(run, params->chain_saves));
    VQ_GO(create_lanes(run, params));
    *out = run;
    run = NULL;
done:
    vq_int_run_destroy(&run);
    return status;
}

static const vq_buf *value_of(const lane *l, int value)
{
    return value < 0 ? NULL : value == 0 ? l->pixels : l->values[value];
}

static vq_gemm_s8_io gemm_io(const vq_int_run *run, const lane *l, const vq_int_node *n, int batch)
{
    const vq_int_value *const in = &run->graph->values[n->in], *const out = &run->graph->values[n->out];
    return (vq_gemm_s8_io){.a = value_of(l, n->in),
                           .c = l->values[n->out],
                           .scratch = l->scratch,
                           .m = batch * n->u.gemm.rows,
                           .lda = in->pitch * n->u.gemm.row_step,
                           .ldc = out->pitch,
                           .rows_in = n->u.gemm.rows_in,
                           .rows_out = n->u.gemm.rows_out,
                           .row_first = n->u.gemm.row_first,
                           .a_plane_pitch = in->plane_pitch,
                           .c_plane_pitch = out->plane_pitch};
}

static vq_layernorm_s32_io layernorm_io(const vq_int_run *run, const lane *l, const vq_int_node *n, int batch)
{
    return (vq_layernorm_s32_io){.x = value_of(l, n->in),
                                 .codes = l->values[n->out],
                                 .m = batch * n->u.layernorm.rows,
                                 .ldx = run->graph->values[n->in].pitch * n->u.layernorm.row_step,
                                 .ld_codes = run->graph->values[n->out].pitch};
}

static vq_status run_chain(vq_int_run *run, const lane *l, int leader, int batch)
{
    vq_row_io ios[VQ_ROW_CHAIN_MOST];
    const int count = chain_length(run, leader);
    for (int j = 0; j < count; j++) {
        const vq_int_node *const n = &run->graph->nodes[leader + j];
        if (n->op == VQ_INT_GEMM)
            ios[j].gemm = gemm_io(run, l, n, batch);
        else
            ios[j].layernorm = layernorm_io(run, l, n, batch);
    }
    return vq_row_chain_run(run->dev, run->nodes[leader].chain, ios);
}

vq_status vq_int_run_node(vq_int_run *run, int lane_index, int i, int batch)
{
    const vq_int_graph *const g = run->graph;
    const vq_int_node *const n = &g->nodes[i];
    const node_state *const s = &run->nodes[i];
    const lane *const l = &run->lanes[lane_index];
    const vq_buf *const in = value_of(l, n->in);
    const vq_buf *const out = l->values[n->out];
    const int ld_in = n->in < 0 ? 0 : g->values[n->in].pitch, ld_out = g->values[n->out].pitch;
    if (run->leaders[i] != i) return VQ_OK;
    if (s->chain) return run_chain(run, l, i, batch);
    switch (n->op) {
    case VQ_INT_PATCHIFY: {
        vq_patchify_shape shape = n->u.patchify;
        shape.batch = batch;
        return vq_patchify_u8_run(run->dev, &shape, in, out, ld_out);
    }
    case VQ_INT_TOKENS: return vq_tokens_s32_run(run->dev, s->init, n->u.tokens.count, out, batch);
    case VQ_INT_GEMM: {
        const vq_gemm_s8_io io = gemm_io(run, l, n, batch);
        return vq_gemm_s8_run(run->dev, s->gemm, &io);
    }
    case VQ_INT_LAYERNORM: {
        const vq_layernorm_s32_io io = layernorm_io(run, l, n, batch);
        return vq_layernorm_s32_run(run->dev, s->layernorm, &io);
    }
    case VQ_INT_POOL: return vq_pool_s32_run(run->dev, &n->u.pool, in, out, ld_out, batch);
    case VQ_INT_ATTENTION:
        return vq_attention_u8_run(run->dev, s->attention, in, ld_in, out, ld_out, l->scratch, batch,
                                   n->u.attention.tokens);
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: unknown integer operation %d", n->name, (int)n->op);
}

bool vq_int_run_is_part(const vq_int_run *run, int i)
{
    return run->leaders[i] != i;
}

typedef struct passing {
    vq_int_run *run;
    const uint8_t *pixels;
    int32_t *logits;
} passing;

static vq_status pass(void *user, vq_lane_stage stage, int lane_index, vq_lane_share share)
{
    const passing *const p = user;
    vq_int_run *const run = p->run;
    const vq_int_graph *const g = run->graph;
    const lane *const l = &run->lanes[lane_index];
    const int last = g->nodes[g->num_nodes - 1].out;
    const size_t row = vq_int_value_bytes(&g->values[last]);
    switch (stage) {
    case VQ_LANE_INPUT:
        return vq_buf_write(run->dev, l->pixels, 0, p->pixels + pixel_bytes(run, share.first),
                            pixel_bytes(run, share.count));
    case VQ_LANE_RUN:
        for (int i = 0; i < g->num_nodes; i++) VQ_TRY(vq_int_run_node(run, lane_index, i, share.count));
        return VQ_OK;
    case VQ_LANE_OUTPUT: break;
    }
    return vq_buf_read(run->dev, l->values[last], 0, (char *)p->logits + row * (size_t)share.first,
                       row * (size_t)share.count);
}

vq_status vq_int_run_logits(vq_int_run *run, const uint8_t *pixels, int batch, int32_t *logits)
{
    passing p = {run, pixels, logits};
    return vq_lanes_run(run->dev, run->num_lanes, batch, pass, &p);
}

int vq_int_run_lanes(const vq_int_run *run)
{
    return run->num_lanes;
}

int vq_int_run_max_batch(const vq_int_run *run)
{
    return run->max_batch;
}

size_t vq_int_run_model_bytes(const vq_int_run *run)
{
    size_t bytes = 0;
    for (int i = 0; i < run->graph->num_nodes; i++) bytes += vq_int_run_constant_bytes(run, i);
    return bytes;
}

size_t vq_int_run_activation_bytes(const vq_int_run *run)
{
    size_t bytes = 0;
    for (int i = 0; i < VQ_MAX_LANES; i++) {
        const lane *const l = &run->lanes[i];
        bytes += vq_buf_bytes(l->arena) + vq_buf_bytes(l->scratch) + vq_buf_bytes(l->pixels);
    }
    return bytes;
}
