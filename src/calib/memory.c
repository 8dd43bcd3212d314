/* Counts what the calibration allocates, from the shapes of the graph and the parts of the recipe. */
#include "calib/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "graph/plan.h"
#include "ops/ops_f32.h"

enum {
    DEFAULT_BOUND = 1500000000,
    COMPILER = 48 << 20, /* what building kernels takes, and the heap's gaps */
    SORTING = 72 << 20,  /* of order statistics: scratch and histograms, at most */
    PARTS = 5            /* of tensors that are on the device at the same time */
};

/* Bytes. */
typedef struct needs {
    size_t fixed;    /* whatever the number of images */
    size_t image;    /* of every image, with all of its tensors */
    size_t streamed; /* of every image at once, where tensors come in parts */
    size_t largest;  /* elements of an image's largest tensor */
    size_t arena;    /* of an image's values */
    size_t unit;     /* elements of the smallest part */
} needs;

/* What the process takes now. */
static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *const f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%*s %lu", &pages) != 1) pages = 0;
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static vq_status arena_bytes(size_t *out, const vq_graph *g)
{
    vq_plan_item *items = NULL;
    VQ_TRY(vq_alloc(&items, (size_t)g->num_values, sizeof *items, "memory plan"));
    for (int v = 1; v < g->num_values; v++) {
        const int producer = vq_graph_producer(g, v);
        items[v].first = producer;
        items[v].last = VQ_MAX(producer, vq_graph_last_use(g, v));
        items[v].bytes = vq_value_count(g, v) * sizeof(float);
    }
    const vq_status status = vq_plan_memory(items, g->num_values, 1, out);
    free(items);
    return status;
}

static bool by_output(const vq_part *p)
{
    return p->objective != VQ_OBJECTIVE_TENSOR;
}

static bool searches_full(const vq_recipe *r)
{
    const vq_part *const parts[] = {&r->weight, &r->input, &r->norm, &r->qk, &r->value, &r->softmax, &r->gelu};
    for (size_t i = 0; i < VQ_ARRAY_LEN(parts); i++)
        if (parts[i]->search == VQ_SEARCH_FULL) return true;
    return false;
}

/* Weights, their Gram matrices, their rounding, and the candidates of their rows. */
static size_t weight_bytes(const vq_recipe *r, size_t out, size_t in)
{
    const size_t w = out * in, square = in * in, candidates = searches_full(r) ? 2048 : 128;
    size_t bytes = 6 * w + VQ_MAX(out, in) * candidates * 48;
    if (r->rounding == VQ_ROUNDING_GPTQ) return bytes + 44 * w + 52 * square;
    return by_output(&r->weight) ? bytes + 20 * w + 16 * square : bytes;
}

/* Both operands of a linear layer of one image. */
static void count_layer(needs *n, const vq_graph *g, const vq_recipe *r, const vq_node *node, size_t *weights,
                        size_t *operands)
{
    const vq_shape *const shape = &g->params[node->weight].shape;
    const size_t out = (size_t)shape->dims[0], in = vq_shape_count(shape) / out,
                 rows = (size_t)g->values[node->out].rows;
    const bool target = by_output(&r->weight) || r->reparam == VQ_REPARAM_BEST || r->bias_correction;
    *weights = VQ_MAX(*weights, weight_bytes(r, out, in));
    *operands = VQ_MAX(*operands, rows * (in + (target ? out : 0)) * sizeof(float));
    n->largest = VQ_MAX(n->largest, rows * VQ_MAX(in, out));
    n->unit = VQ_MAX(n->unit, VQ_GRAM_ROWS * VQ_MAX(in, out));
}

/* Searches by the output of both products of attention, of one image: of all its windows. */
static size_t attention_bytes(const vq_graph *g, const vq_recipe *r, const vq_node *node, int samples)
{
    const size_t windows = (size_t)vq_windows_count(&node->windows), items = (size_t)samples * windows;
    const size_t t = (size_t)g->values[node->in[0]].rows / windows, d = (size_t)node->head_dim,
                 heads = (size_t)node->heads;
    const size_t square = t * t, head = t * d, qkv = 3 * heads * head, pad = 48;
    const size_t wanted = r->rows ? VQ_CEIL_DIV((size_t)r->rows, items) + 1 : t;
    size_t qk = 0, softmax = 0, value = 0;
    if (by_output(&r->qk)) qk = qkv + square + 3 * (t + pad) * d;
    if (by_output(&r->softmax)) softmax = head + heads * (VQ_MIN(wanted, t) * (t + d) + 2 * (d + pad) * t);
    if (by_output(&r->value)) value = 2 * square + 2 * head + (t + pad) * t;
    if (softmax || value) qk = VQ_MAX(qk, 2 * qkv + VQ_MAX(softmax, value));
    return qk * windows * sizeof(float);
}

static vq_status count_needs(needs *n, const vq_graph *g, const vq_recipe *r, int samples)
{
    size_t params = 0, weights = 0, operands = 0, attention = 0, scratch = 0;
    *n = (needs){0};
    VQ_TRY(arena_bytes(&n->arena, g));
    for (int p = 0; p < g->num_params; p++) params += vq_shape_count(&g->params[p].shape) * sizeof(float);
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const node = &g->nodes[i];
        if (node->op == VQ_NODE_LINEAR || node->op == VQ_NODE_PATCH_EMBED) {
            count_layer(n, g, r, node, &weights, &operands);
            scratch = VQ_MAX(scratch, vq_value_count(g, node->in[0]) * sizeof(float));
        }
        if (node->op == VQ_NODE_SCORES) attention = VQ_MAX(attention, attention_bytes(g, r, node, samples));
    }
    for (int v = 1; v < g->num_values; v++) n->largest = VQ_MAX(n->largest, vq_value_count(g, v));
    const size_t pixels = 2 * vq_value_count(g, 0), sums = n->largest * sizeof(float) / 8;
    /* the device's parameters, the model's and a rewritten one, and the codes */
    n->fixed = params * (r->rotate_value || r->migrate_value ? 3 : 2) + params / 2 + weights + COMPILER;
    n->streamed = n->arena + scratch + pixels + attention;
    n->image = n->arena + scratch + pixels + VQ_MAX(operands, attention) + sums;
    return VQ_OK;
}

/* No kernel counts beyond 2^31 - 1 elements, and no buffer is larger than the device's largest. */
static bool fits_device(const vq_device *dev, const needs *n, size_t images)
{
    const size_t most = vq_device_get_info(dev)->max_alloc_bytes;
    return n->largest * images <= INT32_MAX && VQ_MAX(n->largest * sizeof(float), n->arena) * images <= most;
}

vq_status vq_memory_plan_make(vq_memory_plan *out, const vq_device *dev, const vq_graph *g, const vq_recipe *r,
                              int samples, size_t bound)
{
    needs n;
    VQ_TRY(count_needs(&n, g, r, samples));
    const size_t count = (size_t)samples, now = resident_bytes(), fixed = now + n.fixed,
                 sorting = VQ_MIN((size_t)SORTING, 2 * n.largest * count * sizeof(float)),
                 whole = fixed + n.image * count + sorting, smallest = VQ_MIN(n.unit, n.largest * count),
                 least = fixed + n.streamed + PARTS * smallest * sizeof(float),
                 most = bound ? bound : VQ_MAX((size_t)DEFAULT_BOUND, least);
    *out = (vq_memory_plan){.planned = whole, .whole = true, .at_once = samples};
    if (whole <= most && fits_device(dev, &n, count)) return VQ_OK;
    if (most < least)
        return vq_fail(VQ_ERR_NO_MEMORY, "memory is bound to %zu MB; calibrating this model takes at least %zu MB",
                       bound / 1000000, least / 1000000 + 1);
    const size_t room = most - fixed, parts = PARTS * smallest * sizeof(float);
    size_t images = VQ_MIN(VQ_MAX(room / 2, n.streamed) / n.streamed, (room - parts) / n.streamed);
    images = VQ_MIN(VQ_MAX(images, 1), count);
    while (images > 1 && !fits_device(dev, &n, images)) images--;
    size_t part = VQ_MAX((room - VQ_MIN(images * n.streamed, room)) / (PARTS * sizeof(float)), smallest);
    part = VQ_MIN(VQ_MIN(part, n.largest * count), vq_device_get_info(dev)->max_alloc_bytes / sizeof(float));
    part = VQ_MIN(part, (size_t)INT32_MAX / 2);
    *out = (vq_memory_plan){
        .planned = fixed + images * n.streamed + PARTS * part * sizeof(float), .at_once = (int)images, .part = part};
    return VQ_OK;
}
