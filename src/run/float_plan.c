/* Which nodes a float run fuses, and how much memory it takes. */
#include "run/float_plan.h"

#include <stdlib.h>

#include "ops/ops_f32.h"
#include "ops/row_chain.h"
#include "run/lanes.h"

static size_t scratch_count(const vq_graph *g, bool fused)
{
    size_t most = 0;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n->op == VQ_NODE_LINEAR && !fused) most = VQ_MAX(most, vq_value_count(g, n->in[0]));
        if (n->op == VQ_NODE_PATCH_EMBED)
            most = VQ_MAX(most, (size_t)g->values[n->out].rows * (size_t)(g->pre.chans * n->patch * n->patch));
    }
    return most;
}

/* Products of CLBlast take weights as they are, and end without an epilogue. */
bool vq_float_can_fuse(vq_device *dev)
{
    return !(vq_variant_choose(dev, VQ_OP_GEMM_F32)->needs & VQ_CAP_CLBLAST);
}

/* Whether only the node behind `node` reads what that gives. */
static bool feeds_next_alone(const vq_graph *g, int node)
{
    const int out = g->nodes[node].out;
    if (node + 1 >= g->num_nodes || vq_graph_last_use(g, out) != node + 1) return false;
    const vq_node *const next = &g->nodes[node + 1];
    return (next->in[0] == out) != (next->in[1] == out);
}

/* Whether SOFTMAX and CONTEXT follow the SCORES node, which has no windows and no bias, and a kernel can do all of it.
 */
static bool is_plain_attention(vq_device *dev, const vq_graph *g, int scores)
{
    const vq_node *const n = &g->nodes[scores];
    if (n->op != VQ_NODE_SCORES || n->weight >= 0 || vq_windows_count(&n->windows) != 1) return false;
    if (scores + 2 >= g->num_nodes || n[1].op != VQ_NODE_SOFTMAX || n[2].op != VQ_NODE_CONTEXT) return false;
    if (n[2].in[0] != n[1].out || n[2].in[1] != n->in[0] || n[2].heads != n->heads) return false;
    return feeds_next_alone(g, scores) && feeds_next_alone(g, scores + 1) && n->scale > 0 &&
           vq_attention_f32_fits(dev, g->values[n->in[0]].rows, n->head_dim);
}

static void find_leaders(vq_device *dev, const vq_graph *g, int *leaders)
{
    for (int i = 0; i < g->num_nodes; i++) leaders[i] = i;
    for (int i = 0; i + 1 < g->num_nodes; i++) {
        const vq_node_op next = g->nodes[i + 1].op;
        if (g->nodes[i].op == VQ_NODE_LINEAR && (next == VQ_NODE_GELU || next == VQ_NODE_ADD) && feeds_next_alone(g, i))
            leaders[i + 1] = i;
        if (is_plain_attention(dev, g, i)) leaders[i + 1] = leaders[i + 2] = i;
    }
}

/* Rows that a leader does one by one, all operands alike; 0: it does not. */
static int rows_of(const vq_graph *g, const vq_node *n)
{
    const int rows = g->values[n->out].rows;
    const bool by_rows = n->op == VQ_NODE_LINEAR || n->op == VQ_NODE_LAYERNORM;
    return by_rows && n->in[0] > 0 && g->values[n->in[0]].rows == rows ? rows : 0;
}

static void find_chains(vq_device *dev, const vq_graph *g, const int *leaders, int *chains)
{
    const bool fits = vq_row_chain_fits(dev, VQ_OP_LINEAR_F32, VQ_OP_LAYERNORM_F32);
    int count = 0, rows = 0; /* of the chain so far */
    for (int i = 0; i < g->num_nodes; i++) {
        if (leaders[i] != i) {
            chains[i] = chains[leaders[i]];
            continue;
        }
        const int own = rows_of(g, &g->nodes[i]);
        count = fits && own && own == rows && count < VQ_ROW_CHAIN_MOST ? count + 1 : 1;
        chains[i] = count > 1 ? chains[i - 1] : i;
        rows = own;
    }
}

vq_status vq_float_fusion_create(vq_float_fusion *out, vq_device *dev, const vq_graph *g)
{
    *out = (vq_float_fusion){NULL, NULL};
    VQ_TRY(vq_alloc(&out->leaders, (size_t)g->num_nodes, sizeof(int), "fused nodes"));
    const vq_status status = vq_alloc(&out->chains, (size_t)g->num_nodes, sizeof(int), "fused nodes");
    if (status != VQ_OK) {
        vq_float_fusion_clear(out);
        return status;
    }
    find_leaders(dev, g, out->leaders);
    find_chains(dev, g, out->leaders, out->chains);
    return VQ_OK;
}

void vq_float_fusion_clear(vq_float_fusion *f)
{
    free(f->leaders);
    free(f->chains);
    *f = (vq_float_fusion){NULL, NULL};
}

/* The last node of a node's launch. */
static int end_of(const vq_graph *g, const vq_float_fusion *f, int node)
{
    while (f && node + 1 < g->num_nodes && f->chains[node + 1] == f->chains[node]) node++;
    return node;
}

/* Whether a fused run does not make the value: it lies between two nodes done together. */
static bool is_inner(const vq_graph *g, const vq_float_fusion *f, int producer)
{
    return f && producer + 1 < g->num_nodes && f->leaders[producer + 1] == f->leaders[producer];
}

/* Work-groups of a launch are at different nodes of it: all that it touches is alive as long as all of it. */
vq_status vq_float_plan_values(vq_plan_item *items, size_t *total, const vq_graph *g, const vq_float_fusion *fusion,
                               int batch)
{
    items[0] = (vq_plan_item){0};
    for (int v = 1; v < g->num_values; v++) {
        const int producer = vq_graph_producer(g, v);
        items[v].first = fusion ? fusion->chains[producer] : producer;
        items[v].last = end_of(g, fusion, VQ_MAX(producer, vq_graph_last_use(g, v)));
        items[v].bytes = is_inner(g, fusion, producer) ? 0 : vq_value_count(g, v) * sizeof(float) * (size_t)batch;
    }
    return vq_plan_memory(items, g->num_values, VQ_BUF_ALIGN, total);
}

vq_float_room vq_float_room_of(const vq_graph *g, const vq_whole_product *products, bool fused)
{
    vq_float_room r = {scratch_count(g, fused), 0};
    for (int i = 0; products && i < g->num_nodes; i++) {
        if (!products[i].low) continue;
        r.low = VQ_MAX(r.low, vq_value_count(g, g->nodes[i].out));
        r.scratch = VQ_MAX(r.scratch, vq_value_count(g, g->nodes[i].in[0]));
    }
    return r;
}

vq_status vq_float_run_fit(int *batch, vq_device *dev, const vq_graph *g, const vq_qmodel *m, int lanes, int most,
                           size_t memory)
{
    const size_t largest = vq_device_get_info(dev)->max_alloc_bytes;
    vq_whole_product *products = NULL;
    vq_plan_item *items = NULL;
    vq_status status = VQ_OK;
    vq_float_fusion fusion = {NULL, NULL};
    if (m) VQ_GO(vq_whole_products(&products, m));
    if (!m && vq_float_can_fuse(dev)) VQ_GO(vq_float_fusion_create(&fusion, dev, g));
    VQ_GO(vq_alloc(&items, (size_t)g->num_values, sizeof *items, "memory plan"));
    const vq_float_room r = vq_float_room_of(g, products, fusion.leaders != NULL);
    for (*batch = most; *batch > 1; --*batch) {
        size_t total = (vq_value_count(g, 0) + (r.scratch + r.low) * sizeof(float)) * (size_t)*batch, arena = 0;
        for (int l = 0; l < lanes; l++) {
            const int share = vq_lane_share_of(l, lanes, *batch).count;
            size_t part = 0;
            if (share) VQ_GO(vq_float_plan_values(items, &part, g, fusion.leaders ? &fusion : NULL, share));
            arena = VQ_MAX(arena, part);
            total += part;
        }
        if (arena <= largest && total <= memory) break;
    }
done:
    free(items);
    vq_float_fusion_clear(&fusion);
    vq_whole_products_destroy(&products, g->num_nodes);
    return status;
}
