/* The integer executor: a list of launches. Everything that can be decided before the first image is decided at
 * creation. */
#include "run/int_run.h"

#include <stdlib.h>

#include "graph/plan.h"
#include "ops/ops_int.h"

/* Kernels may read whole vectors past the last row; what lies there is never used. */
enum { SPARE_BYTES = 256 };

typedef struct node_state {
    vq_gemm_s8 *gemm;
    vq_layernorm_s32 *layernorm;
    vq_attention_u8 *attention;
    vq_buf *init;
} node_state;

struct vq_int_run {
    vq_device *dev;
    const vq_int_graph *graph;
    int max_batch;
    node_state *nodes;
    vq_buf *pixels, *arena, *scratch;
    vq_buf **values;
    vq_storage storage;
};

size_t vq_int_value_bytes(const vq_int_value *value)
{
    return (size_t)value->rows * (size_t)value->pitch * (value->s32 ? sizeof(int32_t) : 1);
}

void vq_int_lifetimes(const vq_int_graph *graph, int *first, int *last)
{
    for (int v = 0; v < graph->num_values; v++) {
        first[v] = v == 0 ? 0 : graph->num_nodes;
        last[v] = 0;
    }
    for (int i = 0; i < graph->num_nodes; i++) {
        const vq_int_node *const n = &graph->nodes[i];
        first[n->out] = VQ_MIN(first[n->out], i);
        last[n->out] = i;
        if (n->in >= 0) last[n->in] = VQ_MAX(last[n->in], i);
    }
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
    }
    for (int v = 0; run->values && v < run->graph->num_values; v++) vq_buf_destroy(&run->values[v]);
    vq_buf_destroy(&run->arena);
    vq_buf_destroy(&run->scratch);
    vq_buf_destroy(&run->pixels);
    free(run->values);
    free(run->nodes);
    free(run);
    *run_ptr = NULL;
}

/* Creates the ops. */
static vq_status prepare_nodes(vq_int_run *run)
{
    const vq_int_graph *const g = run->graph;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_int_node *const n = &g->nodes[i];
        node_state *const s = &run->nodes[i];
        switch (n->op) {
        case VQ_INT_PATCHIFY:
        case VQ_INT_POOL: break;
        case VQ_INT_TOKENS:
            VQ_TRY(
                vq_buf_create_from(&s->init, run->dev, n->u.tokens.init, (size_t)n->u.tokens.count * sizeof(int32_t)));
            break;
        case VQ_INT_GEMM: VQ_TRY(vq_gemm_s8_create(&s->gemm, run->dev, &n->u.gemm.w, run->storage)); break;
        case VQ_INT_LAYERNORM: VQ_TRY(vq_layernorm_s32_create(&s->layernorm, run->dev, &n->u.layernorm.w)); break;
        case VQ_INT_ATTENTION: VQ_TRY(vq_attention_u8_create(&s->attention, run->dev, &n->u.attention.w)); break;
        }
    }
    return VQ_OK;
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
static vq_status plan_values(vq_plan_item *items, size_t *total, const vq_int_graph *g, int batch)
{
    int *first = NULL, *last = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&first, (size_t)g->num_values, sizeof *first, "memory plan"));
    VQ_GO(vq_alloc(&last, (size_t)g->num_values, sizeof *last, "memory plan"));
    vq_int_lifetimes(g, first, last);
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

static vq_status choose_batch(vq_int_run *run, vq_plan_item *items, const vq_int_run_params *p)
{
    const size_t largest = vq_device_get_info(run->dev)->max_alloc_bytes;
    run->max_batch = p->max_batch;
    for (int batch = p->most_batch; !run->max_batch; batch--) {
        size_t arena = 0;
        VQ_TRY(plan_values(items, &arena, run->graph, batch));
        const size_t others = scratch_bytes(run, batch) + vq_int_value_bytes(&run->graph->values[0]) * (size_t)batch;
        if (batch <= 1 || (arena <= largest && arena + others <= p->memory)) run->max_batch = VQ_MAX(batch, 1);
    }
    return VQ_OK;
}

static vq_status create_values(vq_int_run *run, const vq_int_run_params *params)
{
    const vq_int_graph *const g = run->graph;
    vq_plan_item *items = NULL;
    size_t total = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&items, (size_t)g->num_values, sizeof *items, "memory plan"));
    VQ_GO(choose_batch(run, items, params));
    VQ_GO(plan_values(items, &total, g, run->max_batch));
    VQ_GO(vq_buf_create(&run->arena, run->dev, total));
    for (int v = 1; v < g->num_values; v++)
        VQ_GO(vq_buf_view(&run->values[v], run->dev, run->arena, items[v].offset, items[v].bytes));
    const size_t scratch = scratch_bytes(run, run->max_batch);
    if (scratch) VQ_GO(vq_buf_create(&run->scratch, run->dev, scratch));
    VQ_GO(vq_buf_create(&run->pixels, run->dev, vq_int_value_bytes(&g->values[0]) * (size_t)run->max_batch));
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
    VQ_GO(vq_alloc(&run->nodes, (size_t)graph->num_nodes, sizeof *run->nodes, "integer run"));
    VQ_GO(vq_alloc(&run->values, (size_t)graph->num_values, sizeof(vq_buf *), "integer run"));
    VQ_GO(prepare_nodes(run));
    VQ_GO(create_values(run, params));
    *out = run;
    run = NULL;
done:
    vq_int_run_destroy(&run);
    return status;
}

vq_status vq_int_run_node(vq_int_run *run, int i, int batch)
{
    const vq_int_graph *const g = run->graph;
    const vq_int_node *const n = &g->nodes[i];
    const node_state *const s = &run->nodes[i];
    const vq_buf *const in = n->in < 0 ? NULL : n->in == 0 ? run->pixels : run->values[n->in];
    const vq_buf *const out = run->values[n->out];
    const int ld_in = n->in < 0 ? 0 : g->values[n->in].pitch, ld_out = g->values[n->out].pitch;
    switch (n->op) {
    case VQ_INT_PATCHIFY: {
        vq_patchify_shape shape = n->u.patchify;
        shape.batch = batch;
        return vq_patchify_u8_run(run->dev, &shape, in, out, ld_out);
    }
    case VQ_INT_TOKENS: return vq_tokens_s32_run(run->dev, s->init, n->u.tokens.count, out, batch);
    case VQ_INT_GEMM: {
        const vq_gemm_s8_io io = {.a = in,
                                  .c = out,
                                  .scratch = run->scratch,
                                  .m = batch * n->u.gemm.rows,
                                  .lda = ld_in * n->u.gemm.row_step,
                                  .ldc = ld_out,
                                  .rows_in = n->u.gemm.rows_in,
                                  .rows_out = n->u.gemm.rows_out,
                                  .row_first = n->u.gemm.row_first,
                                  .a_plane_pitch = g->values[n->in].plane_pitch,
                                  .c_plane_pitch = g->values[n->out].plane_pitch};
        return vq_gemm_s8_run(run->dev, s->gemm, &io);
    }
    case VQ_INT_LAYERNORM:
        return vq_layernorm_s32_run(run->dev, s->layernorm, in, ld_in * n->u.layernorm.row_step, out, ld_out,
                                    batch * n->u.layernorm.rows);
    case VQ_INT_POOL: return vq_pool_s32_run(run->dev, &n->u.pool, in, out, ld_out, batch);
    case VQ_INT_ATTENTION:
        return vq_attention_u8_run(run->dev, s->attention, in, ld_in, out, ld_out, run->scratch, batch,
                                   n->u.attention.tokens);
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: unknown integer operation %d", n->name, (int)n->op);
}

vq_status vq_int_run_logits(vq_int_run *run, const uint8_t *pixels, int batch, int32_t *logits)
{
    const vq_int_graph *const g = run->graph;
    const int last = g->nodes[g->num_nodes - 1].out;
    VQ_TRY(vq_buf_write(run->dev, run->pixels, 0, pixels, vq_int_value_bytes(&g->values[0]) * (size_t)batch));
    for (int i = 0; i < g->num_nodes; i++) VQ_TRY(vq_int_run_node(run, i, batch));
    return vq_buf_read(run->dev, run->values[last], 0, logits, vq_int_value_bytes(&g->values[last]) * (size_t)batch);
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
    return vq_buf_bytes(run->arena) + vq_buf_bytes(run->scratch) + vq_buf_bytes(run->pixels);
}
