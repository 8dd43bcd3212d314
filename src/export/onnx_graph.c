/* The nodes of a graph, one case each. */
#include "export/onnx_emit.h"

#include <stdlib.h>
#include <string.h>

#include "vq_gelu_rational.h"

const char *vq_emit_op(vq_emit *e, const char *op, const char *role, const char *in0, const char *in1, const char *in2)
{
    return vq_onnx_node(e->file, op, vq_onnx_text(e->file, "/%s/%s", e->node->name, role), in0, in1, in2);
}

static const char *copied_constant(vq_emit *e, const char *role, vq_onnx_type type, vq_shape shape, const void *data,
                                   size_t bytes)
{
    void *const copy = vq_onnx_memory(e->file, bytes);
    if (copy && data) memcpy(copy, data, bytes);
    return vq_onnx_constant(e->file, vq_onnx_text(e->file, "%s.%s", e->node->name, role), type, shape, copy);
}

const char *vq_emit_floats(vq_emit *e, const char *role, vq_shape shape, const float *data)
{
    return copied_constant(e, role, VQ_ONNX_F32, shape, data, vq_shape_count(&shape) * sizeof *data);
}

const char *vq_emit_ints(vq_emit *e, const char *role, vq_shape shape, const int32_t *data)
{
    return copied_constant(e, role, VQ_ONNX_S32, shape, data, vq_shape_count(&shape) * sizeof *data);
}

const char *vq_emit_dims(vq_emit *e, const char *role, int count, const int64_t *data)
{
    return copied_constant(e, role, VQ_ONNX_S64, vq_shape1(count), data, (size_t)count * sizeof *data);
}

/* A parameter of the graph as it is. */
static const char *param(vq_emit *e, int index)
{
    const vq_param *const p = &e->graph->params[index];
    return vq_onnx_constant(e->file, p->name, VQ_ONNX_F32, p->shape, p->data);
}

/* The quantizer of operand `slot` of the node, NULL in FP32. */
static const vq_quantizer *quantizer(const vq_emit *e, int slot)
{
    return e->model ? &e->model->nodes[e->node - e->graph->nodes].in[slot] : NULL;
}

static const char *reshape(vq_emit *e, const char *x, const char *role, int rank, const int64_t *dims)
{
    return vq_emit_op(e, "Reshape", role, x, vq_emit_dims(e, vq_onnx_text(e->file, "%s.shape", role), rank, dims),
                      NULL);
}

static const char *transpose(vq_emit *e, const char *x, const char *role, int rank, const int64_t *perm)
{
    const char *const out = vq_emit_op(e, "Transpose", role, x, NULL, NULL);
    vq_onnx_ints(e->file, "perm", rank, perm);
    return out;
}

static const char *cast(vq_emit *e, const char *x, const char *role, vq_onnx_type type)
{
    x = vq_emit_op(e, "Cast", role, x, NULL, NULL);
    vq_onnx_int(e->file, "to", type);
    return x;
}

/* Of a product of whole numbers, and that of the low bytes (or NULL): 256 * product + low, times constants `scale` of
 * that shape. */
static const char *scaled(vq_emit *e, const char *product, const char *low, vq_shape shape)
{
    const float byte = 256;
    if (low) {
        const char *const unit = vq_emit_floats(e, "byte", (vq_shape){0}, &byte);
        product = vq_emit_op(e, "Mul", "product.high", product, unit, NULL);
        product = vq_emit_op(e, "Add", "product.both", product, low, NULL);
    }
    const char *const scale = vq_emit_floats(e, "product.scale", shape, vq_emit_whole(e)->scale);
    return vq_emit_op(e, "Mul", "product.scaled", product, scale, NULL);
}

/* ---- from the input to the tokens ----------------------------------------------------------------------------------
 */

/* Pixels 0..255 as floats [batch][chans][height][width]. Of a normalized input they are recovered first; a quantized
 * model takes them as the 8-bit integers they were. */
static const char *pixels(vq_emit *e)
{
    static const int64_t to_planes[] = {0, 3, 1, 2};
    static const uint8_t zero_code = 0;
    const float one = 1;
    const vq_preprocess *const pre = &e->graph->pre;
    const vq_shape per_channel = vq_shape3(pre->chans, 1, 1);
    vq_onnx_file *const f = e->file;
    float unit[3], zero[3];
    for (int c = 0; c < pre->chans; c++) {
        unit[c] = 255 * pre->std[c];
        zero[c] = 255 * pre->mean[c];
    }
    const char *x;
    if (e->u8_input) {
        vq_onnx_graph_input(f, "pixels", VQ_ONNX_U8, vq_shape4(0, pre->height, pre->width, pre->chans));
        x = transpose(e, "pixels", "planes", 4, to_planes);
        if (!e->model) return cast(e, x, "pixels", VQ_ONNX_F32);
    } else {
        vq_onnx_graph_input(f, "pixel_values", VQ_ONNX_F32, vq_shape4(0, pre->chans, pre->height, pre->width));
        x = vq_emit_op(e, "Mul", "scaled", "pixel_values", vq_emit_floats(e, "pixels.std", per_channel, unit), NULL);
        x = vq_emit_op(e, "Add", "denormalized", x, vq_emit_floats(e, "pixels.mean", per_channel, zero), NULL);
        if (!e->model) return x;
    }
    const char *const scale = vq_emit_floats(e, "pixels.scale", (vq_shape){0}, &one);
    const char *const zero_point = vq_onnx_constant(f, "pixels.zero", VQ_ONNX_U8, (vq_shape){0}, &zero_code);
    if (!e->u8_input) x = vq_emit_op(e, "QuantizeLinear", "codes", x, scale, zero_point);
    e->info->qdq++;
    return vq_emit_op(e, "DequantizeLinear", "pixels", x, scale, zero_point);
}

static const char *patch_embed(vq_emit *e)
{
    static const int64_t rows_first[] = {0, 2, 1};
    const vq_node *const n = e->node;
    const vq_value *const out = &e->graph->values[n->out];
    const int64_t size[] = {n->patch, n->patch}, flat[] = {0, out->cols, out->rows};
    const char *const image = pixels(e);
    const char *const weight =
        vq_emit_weight(e, vq_shape4(out->cols, e->graph->pre.chans, n->patch, n->patch), false, NULL);
    const vq_whole_product *const whole = vq_emit_whole(e);
    const char *x = vq_emit_op(e, "Conv", "conv", image, weight, whole ? NULL : param(e, n->bias));
    vq_onnx_ints(e->file, "kernel_shape", 2, size);
    vq_onnx_ints(e->file, "strides", 2, size);
    x = reshape(e, x, "flat", 3, flat);
    x = transpose(e, x, "patches", 3, rows_first);
    if (!whole) return x;
    x = scaled(e, x, NULL, vq_shape1(whole->count));
    return vq_emit_op(e, "Add", "out", x, param(e, n->bias), NULL);
}

/* Zero rows in front of the patches, so that one addition does for prefix and patches at any batch size. */
static const char *tokens(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const int64_t pads[] = {0, n->prefix, 0, 0, 0, 0};
    x = vq_emit_op(e, "Pad", "padded", x, vq_emit_dims(e, "pads", 6, pads), NULL);
    return vq_emit_op(e, "Add", "tokens", x, param(e, n->weight), NULL);
}

/* ---- layers --------------------------------------------------------------------------------------------------------
 */

static const char *layernorm(vq_emit *e, const char *x)
{
    const char *gamma = param(e, e->node->weight), *beta = param(e, e->node->bias);
    if (e->products) {
        x = cast(e, x, "x.double", VQ_ONNX_F64);
        gamma = cast(e, gamma, "gamma.double", VQ_ONNX_F64);
        beta = cast(e, beta, "beta.double", VQ_ONNX_F64);
    }
    const char *out = vq_emit_op(e, "LayerNormalization", e->products ? "out.double" : "out", x, gamma, beta);
    vq_onnx_int(e->file, "axis", -1);
    vq_onnx_float(e->file, "epsilon", e->node->eps);
    if (e->products) vq_onnx_int(e->file, "stash_type", VQ_ONNX_F64);
    return e->products ? cast(e, out, "out", VQ_ONNX_F32) : out;
}

static const char *whole_linear(vq_emit *e, const char *x, vq_shape shape)
{
    const vq_quantizer *const q = quantizer(e, 0);
    const char *low = NULL;
    x = vq_emit_quantizer(e, q, x, "input", 2, 3, &low);
    const char *const weight = vq_emit_weight(e, shape, true, NULL);
    x = vq_emit_op(e, "MatMul", "product", x, weight, NULL);
    if (low) low = vq_emit_op(e, "MatMul", "product.low", low, weight, NULL);
    x = scaled(e, x, low, vq_shape1(vq_emit_whole(e)->count));
    return e->node->bias < 0 ? x : vq_emit_op(e, "Add", "out", x, param(e, e->node->bias), NULL);
}

/* Where the input comes from a DequantizeLinear the weight does too, so that runtimes see an integer product. Elsewhere
 * the weight has its scale behind the product: ONNX Runtime (1.32) rounds a float input to 8 bits (MatMulNBits,
 * accuracy level 4) where the weight comes from a DequantizeLinear. */
static const char *linear(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const vq_graph *const g = e->graph;
    const vq_shape shape = vq_shape2(g->values[n->in[0]].cols, g->values[n->out].cols);
    if (vq_emit_whole(e)) return whole_linear(e, x, shape);
    const char *scale = NULL;
    const char **const behind = vq_emit_is_qdq(e, quantizer(e, 0)) ? NULL : &scale;
    x = vq_emit_quantizer(e, quantizer(e, 0), x, "input", 2, 3, NULL);
    x = vq_emit_op(e, "MatMul", "product", x, vq_emit_weight(e, shape, true, behind), NULL);
    if (scale) x = vq_emit_op(e, "Mul", "scaled", x, scale, NULL);
    return n->bias < 0 ? x : vq_emit_op(e, "Add", "out", x, param(e, n->bias), NULL);
}

/* 0.5 x (1 + erf(x / sqrt 2)) in the order of kernels/gelu_f32.cl. */
static const char *gelu(vq_emit *e, const char *x)
{
    const float constants[] = {0.707106781f, 1, 0.5f};
    const char *const root = vq_emit_floats(e, "root_half", (vq_shape){0}, &constants[0]);
    const char *const one = vq_emit_floats(e, "one", (vq_shape){0}, &constants[1]);
    const char *const half = vq_emit_floats(e, "half", (vq_shape){0}, &constants[2]);
    const char *y = vq_emit_op(e, "Mul", "scaled", x, root, NULL);
    y = vq_emit_op(e, "Erf", "erf", y, NULL, NULL);
    y = vq_emit_op(e, "Add", "twice_cdf", y, one, NULL);
    const char *const halved = vq_emit_op(e, "Mul", "halved", x, half, NULL);
    return vq_emit_op(e, "Mul", "out", halved, y, NULL);
}

/* The steps of kernels/vq_gelu_rational.h. */
static const char *gelu_rational(vq_emit *e, const char *x)
{
    static const float numerator[] = {VQ_GELU_NUMERATOR}, denominator[] = {VQ_GELU_DENOMINATOR};
    static const float constants[] = {VQ_GELU_ROOT_HALF, VQ_GELU_TOP, -1, 1, 0.5f};
    static const char *const names[] = {"root_half", "top", "minus_one", "one", "half"};
    const float *const series[] = {numerator, denominator};
    vq_onnx_file *const f = e->file;
    const char *c[VQ_ARRAY_LEN(constants)], *sum[2];
    for (size_t i = 0; i < VQ_ARRAY_LEN(c); i++) c[i] = vq_emit_floats(e, names[i], (vq_shape){0}, &constants[i]);
    const char *const u = vq_emit_op(e, "Mul", "scaled", x, c[0], NULL);
    const char *const t = vq_emit_op(e, "Min", "t", vq_emit_op(e, "Mul", "square", u, u, NULL), c[1], NULL);
    for (int k = 0; k < 2; k++) {
        sum[k] = vq_emit_floats(e, vq_onnx_text(f, "series%d_0", k), (vq_shape){0}, &series[k][0]);
        for (int i = 1; i < VQ_GELU_TERMS; i++) {
            const char *const next =
                vq_emit_floats(e, vq_onnx_text(f, "series%d_%d", k, i), (vq_shape){0}, &series[k][i]);
            const char *const raised = vq_emit_op(e, "Mul", vq_onnx_text(f, "raised%d_%d", k, i), sum[k], t, NULL);
            sum[k] = vq_emit_op(e, "Add", vq_onnx_text(f, "sum%d_%d", k, i), raised, next, NULL);
        }
    }
    const char *y = vq_emit_op(e, "Mul", "above", u, sum[0], NULL);
    y = vq_emit_op(e, "Clip", "erf", vq_emit_op(e, "Div", "ratio", y, sum[1], NULL), c[2], c[3]);
    y = vq_emit_op(e, "Add", "twice_cdf", y, c[3], NULL);
    return vq_emit_op(e, "Mul", "out", vq_emit_op(e, "Mul", "halved", x, c[4], NULL), y, NULL);
}

/* Sums of rows over their counts, rounded once. */
static const char *means_in_double(vq_emit *e, const char *which, const char *x)
{
    const vq_node *const n = e->node;
    float *const counts = vq_onnx_memory(e->file, (size_t)n->num_pools * sizeof *counts);
    if (!counts) return "";
    for (int p = 0; p < n->num_pools; p++) counts[p] = (float)n->pools[p].count;
    const char *count = vq_emit_floats(e, "counts", vq_shape2(n->num_pools, 1), counts);
    count = cast(e, count, "counts.double", VQ_ONNX_F64);
    which = cast(e, which, "rows.double", VQ_ONNX_F64);
    x = vq_emit_op(e, "MatMul", "sums", which, cast(e, x, "x.double", VQ_ONNX_F64), NULL);
    return cast(e, vq_emit_op(e, "Div", "means.double", x, count, NULL), "means", VQ_ONNX_F32);
}

/* Means of rows as a product with the matrix that takes them, which every operator set has. */
static const char *means(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const int rows = e->graph->values[n->in[0]].rows;
    const int64_t dims[] = {0, 1, e->graph->values[n->out].cols};
    float *matrix = NULL;
    const vq_status status = vq_alloc(&matrix, (size_t)(n->num_pools * rows), sizeof *matrix, n->name);
    if (status != VQ_OK) {
        vq_onnx_fail(e->file, status);
        return "";
    }
    for (int p = 0; p < n->num_pools; p++)
        for (int r = 0; r < n->pools[p].count; r++)
            matrix[p * rows + n->pools[p].first + r] = e->products ? 1 : 1.0f / (float)n->pools[p].count;
    const char *const which = vq_emit_floats(e, "rows", vq_shape2(n->num_pools, rows), matrix);
    free(matrix);
    x = e->products ? means_in_double(e, which, x) : vq_emit_op(e, "MatMul", "means", which, x, NULL);
    return reshape(e, x, "out", 3, dims);
}

static const char *pool(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const int64_t row = n->pools[0].first;
    if (n->num_pools != 1 || n->pools[0].count != 1) return means(e, x);
    const char *const out = vq_emit_op(e, "Gather", "out", x, vq_emit_dims(e, "row", 1, &row), NULL);
    vq_onnx_int(e->file, "axis", 1);
    return out;
}

/* ---- rows and windows ----------------------------------------------------------------------------------------------
 */

/* Rows by a map whose -1 are padding: zeros, or the node's weight. */
static const char *gather_rows(vq_emit *e, const char *x, int count, const int32_t *map)
{
    const vq_node *const n = e->node;
    int64_t *const index = vq_onnx_memory(e->file, (size_t)count * sizeof *index);
    float *const is_padding = vq_onnx_memory(e->file, (size_t)count * sizeof *is_padding);
    const int zeros = e->graph->values[n->in[0]].rows; /* a row behind the last */
    const int64_t pads[] = {0, 0, 0, 0, 1, 0};
    bool padded = false;
    if (!index || !is_padding) return "";
    for (int i = 0; i < count; i++) {
        index[i] = map[i] < 0 ? zeros : map[i];
        is_padding[i] = map[i] < 0 ? 1 : 0;
        padded = padded || map[i] < 0;
    }
    if (padded) x = vq_emit_op(e, "Pad", "padded", x, vq_emit_dims(e, "pads", 6, pads), NULL);
    x = vq_emit_op(e, "Gather", "rows", x, vq_emit_dims(e, "index", count, index), NULL);
    vq_onnx_int(e->file, "axis", 1);
    if (!padded || n->weight < 0) return x;
    const char *const where = vq_emit_floats(e, "is_padding", vq_shape2(count, 1), is_padding);
    const char *const padding = vq_emit_op(e, "Mul", "padding", where, param(e, n->weight), NULL);
    return vq_emit_op(e, "Add", "with_padding", x, padding, NULL);
}

/* Windows count as images of their own until they are back in the raster. */
static const char *rows(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const vq_value *const in = &e->graph->values[n->in[0]], *const out = &e->graph->values[n->out];
    const int count = out->rows * (out->cols / in->cols), tokens = vq_windows_tokens(&n->windows);
    const int64_t windows[] = {-1, tokens, in->cols}, image[] = {-1, in->rows, in->cols},
                  merged[] = {-1, out->rows, out->cols};
    int32_t *const map = vq_onnx_memory(e->file, (size_t)count * sizeof *map);
    if (!map) return "";
    switch (n->order) {
    case VQ_ROWS_TO_WINDOWS:
        vq_windows_map(&n->windows, map);
        return reshape(e, gather_rows(e, x, count, map), "windows", 3, windows);
    case VQ_ROWS_FROM_WINDOWS:
        vq_windows_back(&n->windows, map);
        return gather_rows(e, reshape(e, x, "image", 3, image), count, map);
    case VQ_ROWS_MERGE: break;
    }
    vq_merge_map(n->windows.height, n->windows.width, map);
    return reshape(e, gather_rows(e, x, count, map), "merged", 3, merged);
}

/* The table of relative positions for every pair of tokens, [heads][T][T]. */
static const char *relative_positions(vq_emit *e, int t)
{
    const vq_node *const n = e->node;
    const float *const table = e->graph->params[n->weight].data;
    const size_t square = (size_t)t * (size_t)t;
    float *const bias = vq_onnx_memory(e->file, (size_t)n->heads * square * sizeof *bias);
    if (!bias) return "";
    for (int h = 0; h < n->heads; h++)
        for (int i = 0; i < t; i++)
            for (int j = 0; j < t; j++)
                bias[(size_t)h * square + (size_t)(i * t + j)] =
                    table[vq_windows_relative(&n->windows, i, j) * n->heads + h];
    return vq_emit_floats(e, "positions", vq_shape3(n->heads, t, t), bias);
}

/* What is added where only the shift brought two tokens together, [windows][1][T][T]; NULL where it did so nowhere. */
static const char *shift_mask(vq_emit *e, int windows, int t)
{
    const size_t square = (size_t)t * (size_t)t;
    int32_t *const region = vq_onnx_memory(e->file, (size_t)(windows * t) * sizeof *region);
    float *const mask = vq_onnx_memory(e->file, (size_t)windows * square * sizeof *mask);
    bool any = false;
    if (!region || !mask) return "";
    vq_windows_regions(&e->node->windows, region);
    for (int w = 0; w < windows; w++)
        for (int i = 0; i < t; i++)
            for (int j = 0; j < t; j++) {
                const bool apart = region[w * t + i] != region[w * t + j];
                mask[(size_t)w * square + (size_t)(i * t + j)] = apart ? VQ_WINDOW_MASK : 0;
                any = any || apart;
            }
    return any ? vq_emit_floats(e, "mask", vq_shape4(windows, 1, t, t), mask) : NULL;
}

/* Scores [images * windows][heads][T][T] with positions and mask. */
static const char *window_bias(vq_emit *e, const char *x)
{
    const vq_node *const n = e->node;
    const int t = vq_windows_tokens(&n->windows), windows = vq_windows_count(&n->windows);
    const int64_t by_window[] = {-1, windows, n->heads, t, t}, by_head[] = {-1, n->heads, t, t};
    x = vq_emit_op(e, "Add", "positioned", x, relative_positions(e, t), NULL);
    const char *const mask = shift_mask(e, windows, t);
    if (!mask) return x;
    x = reshape(e, x, "by_window", 5, by_window);
    x = vq_emit_op(e, "Add", "masked", x, mask, NULL);
    return reshape(e, x, "by_head", 4, by_head);
}

/* ---- attention -----------------------------------------------------------------------------------------------------
 */

/* Part 0, 1 or 2 (Q, K, V) of a qkv value, [batch][T][C]. */
static const char *qkv_part(vq_emit *e, int value, int part)
{
    const char **const parts = &e->parts[3 * value];
    if (!parts[0]) {
        const int64_t width = e->graph->values[value].cols / 3, sizes[] = {width, width, width};
        parts[0] = vq_emit_op(e, "Split", "q", e->values[value], vq_emit_dims(e, "split", 3, sizes), NULL);
        parts[1] = vq_onnx_output_too(e->file, vq_onnx_text(e->file, "/%s/k", e->node->name));
        parts[2] = vq_onnx_output_too(e->file, vq_onnx_text(e->file, "/%s/v", e->node->name));
        vq_onnx_int(e->file, "axis", 2);
    }
    return parts[part];
}

/* The same by heads, quantized: [batch][heads][T][head_dim] as rows, or [batch][heads][head_dim][T] as columns.
 * OpenVINO (2026.4) takes scales that differ along axis 1 only, so channels go there before heads. */
static const char *heads(vq_emit *e, const char *x, const vq_quantizer *q, const char *role, bool columns)
{
    static const int64_t flip[] = {0, 2, 1}, flip_heads[] = {0, 1, 3, 2};
    static const int64_t to_rows[] = {0, 2, 1, 3}, to_columns[] = {0, 2, 3, 1};
    const int64_t dims[] = {0, 0, e->node->heads, e->node->head_dim};
    const int64_t flipped_dims[] = {0, e->node->heads, e->node->head_dim, -1};
    const char *const by_head = vq_onnx_text(e->file, "%s.by_head", role);
    if (q && q->granularity == VQ_PER_CHANNEL) {
        x = transpose(e, x, vq_onnx_text(e->file, "%s.channels", role), 3, flip);
        x = vq_emit_quantizer(e, q, x, role, 1, 3, NULL);
        x = reshape(e, x, vq_onnx_text(e->file, "%s.heads", role), 4, flipped_dims);
        return columns ? x : transpose(e, x, by_head, 4, flip_heads);
    }
    x = reshape(e, x, vq_onnx_text(e->file, "%s.heads", role), 4, dims);
    x = transpose(e, x, by_head, 4, columns ? to_columns : to_rows);
    return vq_emit_quantizer(e, q, x, role, 1, 4, NULL);
}

/* ONNX Runtime (1.32) makes one integer operator of two DequantizeLinear and a MatMul, and that one then refuses zero
 * points per head; so the factor of the scores comes in between there. */
static const char *scores(vq_emit *e)
{
    const vq_node *const n = e->node;
    const bool per_head = e->model && (quantizer(e, 0)->groups > 1 || quantizer(e, 1)->groups > 1);
    const vq_whole_product *const whole = vq_emit_whole(e);
    const char *q = heads(e, qkv_part(e, n->in[0], 0), quantizer(e, 0), "q", false);
    const char *const k = heads(e, qkv_part(e, n->in[1], 1), quantizer(e, 1), "k", true);
    const char *const scale = whole ? NULL : vq_emit_floats(e, "scale", (vq_shape){0}, &n->scale);
    if (!whole && per_head) q = vq_emit_op(e, "Mul", "q_scaled", q, scale, NULL);
    const char *x = vq_emit_op(e, "MatMul", "product", q, k, NULL);
    if (whole) x = scaled(e, x, NULL, vq_shape3(n->heads, 1, 1));
    if (!whole && !per_head) x = vq_emit_op(e, "Mul", "out", x, scale, NULL);
    return n->weight < 0 ? x : window_bias(e, x);
}

static const char *softmax(vq_emit *e, const char *x)
{
    if (e->products) x = cast(e, x, "x.double", VQ_ONNX_F64);
    const char *const out = vq_emit_op(e, "Softmax", e->products ? "out.double" : "out", x, NULL, NULL);
    vq_onnx_int(e->file, "axis", -1);
    return e->products ? cast(e, out, "out", VQ_ONNX_F32) : out;
}

/* [batch][heads][T][head_dim] to [batch][T][C]. */
static const char *by_row(vq_emit *e, const char *x, const char *role)
{
    static const int64_t rows_first[] = {0, 2, 1, 3};
    const int64_t dims[] = {0, 0, e->graph->values[e->node->out].cols};
    x = transpose(e, x, vq_onnx_text(e->file, "%s.by_row", role), 4, rows_first);
    return reshape(e, x, role, 3, dims);
}

static const char *context(vq_emit *e, const char *p)
{
    const vq_node *const n = e->node;
    const vq_whole_product *const whole = vq_emit_whole(e);
    const char *low = NULL;
    p = vq_emit_quantizer(e, quantizer(e, 0), p, "p", 1, 4, &low);
    const char *const v = heads(e, qkv_part(e, n->in[1], 2), quantizer(e, 1), "v", false);
    const char *x = vq_emit_op(e, "MatMul", "product", p, v, NULL);
    if (low) low = by_row(e, vq_emit_op(e, "MatMul", "product.low", low, v, NULL), "low");
    x = by_row(e, x, "out");
    return whole ? scaled(e, x, low, vq_shape1(whole->count)) : x;
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

static const char *emit_node(vq_emit *e)
{
    const vq_node *const n = e->node;
    const char *const x = e->values[n->in[0]], *const y = n->in[1] < 0 ? NULL : e->values[n->in[1]];
    switch (n->op) {
    case VQ_NODE_PATCH_EMBED: return patch_embed(e);
    case VQ_NODE_TOKENS: return tokens(e, x);
    case VQ_NODE_LAYERNORM: return layernorm(e, x);
    case VQ_NODE_LINEAR: return linear(e, x);
    case VQ_NODE_SCORES: return scores(e);
    case VQ_NODE_SOFTMAX: return softmax(e, x);
    case VQ_NODE_CONTEXT: return context(e, x);
    case VQ_NODE_GELU: return e->products ? gelu_rational(e, x) : gelu(e, x);
    case VQ_NODE_ADD: return vq_emit_op(e, "Add", "out", x, y, NULL);
    case VQ_NODE_POOL: return pool(e, x);
    case VQ_NODE_ROWS: return rows(e, x);
    default: break;
    }
    vq_onnx_fail(e->file, vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s has no ONNX form", n->name, vq_node_op_name(n->op)));
    return "";
}

/* Quantizers that files cannot hold, so that nothing is left out in silence. */
static bool has_image_quantizer(const vq_emit *e)
{
    const vq_quantizer *const q = e->node->op == VQ_NODE_PATCH_EMBED ? quantizer(e, 0) : NULL;
    return q && q->kind != VQ_QUANTIZER_NONE;
}

vq_status vq_emit_graph(vq_emit *e)
{
    const vq_graph *const g = e->graph;
    const int64_t logits[] = {-1, g->num_classes};
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&e->values, (size_t)g->num_values, sizeof *e->values, "ONNX graph"));
    VQ_GO(vq_alloc(&e->parts, 3 * (size_t)g->num_values, sizeof *e->parts, "ONNX graph"));
    for (int i = 0; i < g->num_nodes; i++) {
        e->node = &g->nodes[i];
        if (has_image_quantizer(e))
            VQ_GO(vq_fail(VQ_ERR_UNSUPPORTED, "%s: quantizes the image, which has no ONNX form", e->node->name));
        e->values[e->node->out] = emit_node(e);
        VQ_GO(vq_onnx_status(e->file));
    }
    const char *const last = e->values[e->node->out];
    vq_onnx_node(e->file, "Reshape", "logits", last, vq_emit_dims(e, "logits.shape", 2, logits), NULL);
    vq_onnx_graph_output(e->file, "logits", VQ_ONNX_F32, vq_shape2(0, g->num_classes));
    status = vq_onnx_status(e->file);
done:
    free(e->values);
    free(e->parts);
    e->values = e->parts = NULL;
    return status;
}
