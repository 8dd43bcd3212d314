#include "calib/walk.h"

#include <stdlib.h>

#include "graph/plan.h"

/* Places for the values of all images in the store, as vq_float_run has them in its arena. */
static vq_status place_values(vq_walk *w)
{
    const vq_graph *const g = w->graph;
    vq_plan_item *items = NULL;
    size_t total = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&items, (size_t)g->num_values, sizeof *items, "memory plan"));
    VQ_GO(vq_alloc(&w->offsets, (size_t)g->num_values, sizeof *w->offsets, "memory plan"));
    for (int v = 1; v < g->num_values; v++) {
        const int producer = vq_graph_producer(g, v);
        items[v].first = producer;
        items[v].last = VQ_MAX(producer, vq_graph_last_use(g, v));
        items[v].bytes = vq_value_count(g, v) * sizeof(float) * (size_t)w->samples->count;
    }
    VQ_GO(vq_plan_memory(items, g->num_values, VQ_BUF_ALIGN, &total));
    VQ_GO(vq_store_reserve(w->samples->store, total, &w->values));
    for (int v = 1; v < g->num_values; v++) w->offsets[v] = items[v].offset;
done:
    free(items);
    return status;
}

vq_status vq_walk_create(vq_walk **out, vq_device *dev, const vq_graph *graph, const vq_samples *samples)
{
    vq_walk *w = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(vq_alloc(&w, 1, sizeof *w, "calibration run"));
    *w = (vq_walk){.dev = dev, .graph = graph, .samples = samples};
    VQ_GO(vq_float_run_create(&w->run, dev, graph, samples->at_once));
    if (samples->store) {
        VQ_GO(vq_alloc(&w->pixels, vq_value_count(graph, 0), (size_t)samples->at_once, "pixels"));
        VQ_GO(place_values(w));
    } else {
        VQ_GO(vq_float_run_input(w->run, samples->pixels, samples->count));
    }
    *out = w;
    w = NULL;
done:
    vq_walk_destroy(&w);
    return status;
}

void vq_walk_destroy(vq_walk **walk)
{
    vq_walk *const w = *walk;
    if (!w) return;
    if (w->offsets) vq_store_give_back(w->samples->store, w->values);
    vq_float_run_destroy(&w->run);
    free(w->pixels);
    free(w->offsets);
    free(w);
    *walk = NULL;
}

vq_rows vq_walk_value(const vq_walk *w, int value)
{
    vq_rows r = {.dev = w->dev, .part = w->samples->part, .store = w->samples->store};
    if (w->samples->store)
        r.offset = w->values + w->offsets[value];
    else
        r.whole = w->run->values[value];
    return r;
}

/* Images first .. first + count of the image or of a value, between the store and the run's memory for them. */
static vq_status load_value(vq_walk *w, int v, int first, int count)
{
    const size_t each = vq_value_count(w->graph, v);
    if (v == 0) {
        VQ_TRY(vq_store_read(w->samples->store, w->samples->offset + (size_t)first * each, w->pixels,
                             (size_t)count * each));
        return vq_float_run_input(w->run, w->pixels, count);
    }
    const vq_rows r = vq_walk_value(w, v);
    return vq_rows_read(&r, (size_t)first * each, (size_t)count * each, w->run->values[v], 0);
}

static vq_status keep_value(vq_walk *w, int v, int first, int count)
{
    const size_t each = vq_value_count(w->graph, v);
    const vq_rows r = vq_walk_value(w, v);
    return vq_rows_write(&r, (size_t)first * each, (size_t)count * each, w->run->values[v], 0);
}

/* Values that nodes first .. last read and others made, once each. */
static vq_status load_inputs(vq_walk *w, int first, int last, int image, int count)
{
    const vq_graph *const g = w->graph;
    for (int v = 0; v < g->num_values; v++) {
        bool read = false;
        for (int i = first; i <= last; i++) read = read || g->nodes[i].in[0] == v || g->nodes[i].in[1] == v;
        if (read && (v == 0 || vq_graph_producer(g, v) < first)) VQ_TRY(load_value(w, v, image, count));
    }
    return VQ_OK;
}

/* What they made, and Q, K and V where they quantized them in place, as far as it is needed behind them. */
static vq_status keep_outputs(vq_walk *w, int first, int last, int image, int count)
{
    const vq_graph *const g = w->graph;
    for (int v = 1; v < g->num_values; v++) {
        const int producer = vq_graph_producer(g, v);
        bool changed = producer >= first && producer <= last;
        for (int i = first; i <= last; i++)
            changed = changed || (g->nodes[i].op == VQ_NODE_SCORES && g->nodes[i].in[0] == v &&
                                  w->run->in[i].kind != VQ_QUANTIZER_NONE);
        if (changed && (producer == last || vq_graph_last_use(g, v) > last)) VQ_TRY(keep_value(w, v, image, count));
    }
    return VQ_OK;
}

vq_status vq_walk_input(vq_walk *w, int first, int count)
{
    if (w->samples->store) return load_value(w, 0, first, count);
    return vq_float_run_input(w->run, w->samples->pixels + (size_t)first * vq_value_count(w->graph, 0), count);
}

vq_status vq_walk_nodes(vq_walk *w, int first, int last)
{
    const int count = w->samples->count, step = w->samples->at_once;
    for (int image = 0; image < count; image += step) {
        const int n = VQ_MIN(step, count - image);
        if (w->samples->store) VQ_TRY(load_inputs(w, first, last, image, n));
        for (int i = first; i <= last; i++) VQ_TRY(vq_float_run_node(w->run, i, n));
        if (w->samples->store) VQ_TRY(keep_outputs(w, first, last, image, n));
    }
    return VQ_OK;
}

vq_status vq_walk_patches(vq_walk *w, int node, vq_rows *to)
{
    const vq_node *const n = &w->graph->nodes[node];
    const size_t each = (size_t)w->graph->values[n->out].rows * (size_t)(w->graph->pre.chans * n->patch * n->patch);
    const int count = w->samples->count, step = w->samples->at_once;
    for (int image = 0; image < count; image += step) {
        const int some = VQ_MIN(step, count - image);
        const vq_buf *patches = NULL;
        if (w->samples->store) VQ_TRY(load_value(w, 0, image, some));
        VQ_TRY(vq_float_run_patches(w->run, node, some, &patches));
        VQ_TRY(vq_rows_write(to, (size_t)image * each, (size_t)some * each, patches, 0));
    }
    return VQ_OK;
}

vq_status vq_temp_create(vq_temp *out, const vq_walk *w, size_t count)
{
    vq_store *const store = w->samples->store;
    *out = (vq_temp){.rows = {.dev = w->dev, .part = w->samples->part}};
    if (store) {
        VQ_TRY(vq_store_reserve(store, count * sizeof(float), &out->rows.offset));
        out->rows.store = store;
        return VQ_OK;
    }
    VQ_TRY(vq_buf_create(&out->buf, w->dev, count * sizeof(float)));
    out->rows.whole = out->buf;
    return VQ_OK;
}

void vq_temp_destroy(vq_temp *t)
{
    vq_rows_close(&t->rows);
    if (t->rows.store) vq_store_give_back(t->rows.store, t->rows.offset);
    vq_buf_destroy(&t->buf);
    *t = (vq_temp){0};
}
