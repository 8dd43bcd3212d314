/* A float run's quantizers on the device: uploading and applying them. */
#include "run/float_run.h"

#include <math.h>
#include <stdlib.h>

void vq_dev_quantizer_clear(vq_dev_quantizer *d)
{
    vq_buf_destroy(&d->scale);
    vq_buf_destroy(&d->zero);
    vq_buf_destroy(&d->thresholds);
    vq_buf_destroy(&d->values);
    *d = (vq_dev_quantizer){0};
}

void vq_dev_whole_clear(vq_dev_whole *w)
{
    vq_buf_destroy(&w->scale);
    vq_dev_quantizer_clear(&w->low);
}

/* How many consecutive elements of the node's in[0], batch after batch, share a group. */
static size_t inner_of(const vq_float_run *run, int node, vq_granularity granularity)
{
    const vq_graph *const g = run->graph;
    const vq_node *const n = &g->nodes[node];
    const vq_value *const v = &g->values[n->in[0]];
    switch (granularity) {
    case VQ_PER_HEAD:
        if (n->op == VQ_NODE_CONTEXT)
            return (size_t)(v->rows / n->heads / vq_windows_count(&n->windows)) * (size_t)v->cols;
        return (size_t)n->head_dim;
    case VQ_PER_TENSOR: return (size_t)v->rows * (size_t)v->cols;
    case VQ_PER_ROW: return (size_t)v->cols;
    case VQ_PER_CHANNEL: break;
    }
    return 1;
}

static vq_status upload(vq_buf **out, vq_device *dev, const float *data, int count)
{
    return vq_buf_create_from(out, dev, data, (size_t)count * sizeof(float));
}

static vq_status upload_codebook(vq_dev_quantizer *d, vq_device *dev, const vq_quantizer *q)
{
    const int count = q->groups * q->levels;
    float *values = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&values, (size_t)count, sizeof *values, "codebook"));
    for (int i = 0; i < count; i++) {
        const int group = i / q->levels;
        values[i] = ((float)q->values[i] - (q->zero ? q->zero[group] : 0)) * q->scale[group];
    }
    VQ_GO(upload(&d->values, dev, values, count));
    VQ_GO(upload(&d->thresholds, dev, q->thresholds, q->groups * (q->levels - 1)));
done:
    free(values);
    return status;
}

vq_status vq_float_run_set_pixel_map(vq_float_run *run, int node, const float *map)
{
    const vq_preprocess *const pre = &run->graph->pre;
    const int chans = pre->chans, patch = run->graph->nodes[node].patch;
    vq_dev_quantizer *const d = &run->in[node];
    float thresholds[3 * 255];
    vq_dev_quantizer_clear(d);
    for (int i = 0; i < chans * 255; i++) thresholds[i] = (float)(i % 255) + 0.5f;
    VQ_TRY(upload(&d->thresholds, run->dev, thresholds, chans * 255));
    VQ_TRY(upload(&d->values, run->dev, map, chans * 256));
    d->kind = VQ_QUANTIZER_CODEBOOK;
    d->levels = 256;
    d->groups = chans;
    d->inner = (size_t)(patch * patch);
    return VQ_OK;
}

/* A uniform quantizer of the normalized image, as what it does to each of the 256 values of a pixel. */
static vq_status set_image_quantizer(vq_float_run *run, int node, const vq_quantizer *q)
{
    const vq_preprocess *const pre = &run->graph->pre;
    float map[3 * 256];
    for (int i = 0; i < pre->chans * 256; i++) {
        const float mean = pre->mean[i / 256], std = pre->std[i / 256];
        const float x = ((float)(i % 256) / 255.0f - mean) / std;
        const float code = fminf(fmaxf(rintf(x / q->scale[0]) + q->zero[0], 0), (float)(q->levels - 1));
        map[i] = ((code - q->zero[0]) * q->scale[0] * std + mean) * 255.0f;
    }
    return vq_float_run_set_pixel_map(run, node, map);
}

vq_status vq_float_run_set_quantizer(vq_float_run *run, int node, const vq_quantizer *q)
{
    vq_dev_quantizer *const d = &run->in[node];
    vq_dev_quantizer_clear(d);
    if (!q || q->kind == VQ_QUANTIZER_NONE) return VQ_OK;
    if (run->graph->nodes[node].op == VQ_NODE_PATCH_EMBED) return set_image_quantizer(run, node, q);
    d->levels = q->levels;
    d->groups = q->groups;
    d->inner = inner_of(run, node, q->granularity);
    if (q->kind == VQ_QUANTIZER_UNIFORM) {
        VQ_TRY(upload(&d->scale, run->dev, q->scale, q->groups));
        VQ_TRY(upload(&d->zero, run->dev, q->zero, q->groups));
    } else {
        VQ_TRY(upload_codebook(d, run->dev, q));
    }
    d->kind = q->kind;
    return VQ_OK;
}

vq_status vq_float_run_set_qkv(vq_float_run *run, int scores_node, const vq_quantizer *q, const vq_quantizer *k,
                               const vq_quantizer *v)
{
    const vq_quantizer *const part[3] = {q, k, v};
    const vq_node *const n = &run->graph->nodes[scores_node];
    const int width = n->heads * n->head_dim, groups = 3 * width;
    vq_dev_quantizer *const d = &run->in[scores_node];
    float *scale = NULL, *zero = NULL;
    vq_status status = VQ_OK;
    vq_dev_quantizer_clear(d);
    VQ_GO(vq_alloc(&scale, (size_t)groups, sizeof *scale, "quantizer"));
    VQ_GO(vq_alloc(&zero, (size_t)groups, sizeof *zero, "quantizer"));
    for (int p = 0; p < 3; p++)
        for (int c = 0; c < width; c++) {
            const int group = c * part[p]->groups / width; /* one, heads, or channels */
            scale[p * width + c] = part[p]->scale[group];
            zero[p * width + c] = part[p]->zero[group];
        }
    VQ_GO(upload(&d->scale, run->dev, scale, groups));
    VQ_GO(upload(&d->zero, run->dev, zero, groups));
    d->levels = q->levels;
    d->groups = groups;
    d->inner = 1;
    d->kind = VQ_QUANTIZER_UNIFORM;
done:
    free(scale);
    free(zero);
    return status;
}

static vq_status upload_weight(vq_float_run *run, const vq_qmodel *m, int node, bool whole)
{
    const vq_node *const n = &m->graph->nodes[node];
    const size_t count = vq_shape_count(&m->graph->params[n->weight].shape);
    float *weight = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&weight, count, sizeof *weight, n->name));
    if (whole)
        vq_qmodel_weight_whole(weight, m, node);
    else
        vq_qmodel_weight_f32(weight, m, node);
    VQ_GO(vq_float_run_set_param(run, n->weight, weight, count));
done:
    free(weight);
    return status;
}

static vq_status upload_quantizers(vq_float_run *run, const vq_qmodel *m, int node)
{
    const vq_node_op op = m->graph->nodes[node].op;
    const vq_qnode *const qn = &m->nodes[node];
    const int context = op == VQ_NODE_SCORES ? vq_context_of(m->graph, node) : -1;
    if (op == VQ_NODE_PATCH_EMBED || op == VQ_NODE_LINEAR || op == VQ_NODE_CONTEXT)
        return vq_float_run_set_quantizer(run, node, &qn->in[0]);
    if (context >= 0) return vq_float_run_set_qkv(run, node, &qn->in[0], &qn->in[1], &m->nodes[context].in[1]);
    return VQ_OK;
}

/* The quantizer of in[0] gives whole numbers from now on; a codebook's, high bytes, and low ones where there are any.
 */
static vq_status make_whole(vq_float_run *run, int node, const vq_quantizer *q, const vq_whole_product *product)
{
    vq_dev_quantizer *const d = &run->in[node], *const low = &run->whole[node].low;
    const int count = q->groups * q->levels;
    float *values = NULL, *low_values = NULL;
    vq_status status = VQ_OK;
    VQ_TRY(upload(&run->whole[node].scale, run->dev, product->scale, product->count));
    d->whole = d->kind == VQ_QUANTIZER_UNIFORM;
    if (d->kind != VQ_QUANTIZER_CODEBOOK) return VQ_OK;
    VQ_GO(vq_alloc(&values, (size_t)count, sizeof *values, "codebook"));
    VQ_GO(vq_alloc(&low_values, (size_t)count, sizeof *low_values, "codebook"));
    for (int i = 0; i < count; i++) {
        int high_byte, low_byte;
        vq_whole_value(q, i / q->levels, i % q->levels, &high_byte, &low_byte);
        values[i] = (float)high_byte;
        low_values[i] = (float)low_byte;
    }
    VQ_GO(vq_buf_write(run->dev, d->values, 0, values, (size_t)count * sizeof *values));
    if (!product->low) goto done;
    low->kind = d->kind;
    low->levels = d->levels;
    low->groups = d->groups;
    low->inner = d->inner;
    VQ_GO(upload(&low->values, run->dev, low_values, count));
    VQ_GO(upload(&low->thresholds, run->dev, q->thresholds, q->groups * (q->levels - 1)));
done:
    free(values);
    free(low_values);
    return status;
}

static vq_status make_room(vq_float_run *run, const vq_whole_product *products)
{
    const vq_float_room r = vq_float_room_of(run->graph, products, false);
    const size_t item = sizeof(float) * (size_t)run->max_batch;
    if (!r.low) return VQ_OK;
    vq_buf_destroy(&run->scratch);
    VQ_TRY(vq_buf_create(&run->scratch, run->dev, r.scratch * item));
    return vq_buf_create(&run->low, run->dev, r.low * item);
}

vq_status vq_float_run_quantized(vq_float_run *run, const vq_qmodel *m)
{
    const vq_graph *const g = m->graph;
    vq_whole_product *products = NULL;
    vq_status status = VQ_OK;
    VQ_TRY(vq_whole_products(&products, m));
    VQ_GO(make_room(run, products));
    for (int i = 0; i < g->num_nodes; i++) {
        if (m->nodes[i].weight.kind != VQ_QUANTIZER_NONE) VQ_GO(upload_weight(run, m, i, products[i].count > 0));
        VQ_GO(upload_quantizers(run, m, i));
        if (products[i].count) VQ_GO(make_whole(run, i, &m->nodes[i].in[0], &products[i]));
    }
    run->reproducible = true;
done:
    vq_whole_products_destroy(&products, g->num_nodes);
    return status;
}

vq_status vq_dev_quantizer_run(vq_device *dev, const vq_dev_quantizer *d, const vq_buf *x, size_t count,
                               const vq_buf *y)
{
    /* one group: the tail of a partial batch needs no group structure */
    const vq_groups g = {count, d->groups == 1 ? count : d->inner, d->groups};
    if (d->whole) return vq_whole_uniform_run(dev, &g, x, d->scale, d->zero, d->levels, y);
    if (d->kind == VQ_QUANTIZER_UNIFORM) return vq_fakequant_uniform_run(dev, &g, x, d->scale, d->zero, d->levels, y);
    return vq_fakequant_codebook_run(dev, &g, x, d->thresholds, d->values, d->levels, y);
}

vq_status vq_float_run_fakequant(vq_float_run *run, int node, const vq_buf *x, size_t count, const vq_buf *y)
{
    if (run->in[node].kind != VQ_QUANTIZER_NONE) return vq_dev_quantizer_run(run->dev, &run->in[node], x, count, y);
    return x == y ? VQ_OK : vq_buf_copy(run->dev, y, 0, x, 0, count * sizeof(float));
}
