#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/vit.h"
#include "quant/codebook.h"
#include "ref/ref_int.h"

enum { NUM_CALIB = 12 };

static void *must(void *p)
{
    if (!p) abort();
    return p;
}

size_t tiny_pixels(const vq_graph *g)
{
    return (size_t)g->pre.height * (size_t)g->pre.width * (size_t)g->pre.chans;
}

void tiny_image(const vq_graph *g, uint64_t seed, uint8_t *pixels)
{
    vq_rng rng;
    vq_rng_seed(&rng, seed);
    const int base = (int)vq_rng_below(&rng, 156);
    for (size_t i = 0; i < tiny_pixels(g); i++) pixels[i] = (uint8_t)(base + (int)vq_rng_below(&rng, 100));
}

double tiny_rms(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum / n);
}

static float deviation(const vq_param *p)
{
    const size_t length = strlen(p->name);
    if (strstr(p->name, "norm")) return 0.2f;
    if (!strcmp(p->name, "pos_embed")) return 0.5f;
    if (!strcmp(p->name, "patch_embed.proj.weight")) return 0.01f;
    return length > 4 && !strcmp(p->name + length - 4, "bias") ? 0.3f : 0.3f;
}

vq_graph *tiny_graph(int chans, uint64_t seed)
{
    vq_vit_config c = {.base = {.architecture = "vit_tiny_patch16_224",
                                .img_height = 8,
                                .img_width = 12,
                                .chans = chans,
                                .num_classes = 7,
                                .ln_eps = 1e-6f},
                       .patch = 4,
                       .embed_dim = 24,
                       .depth = 2,
                       .heads = 3,
                       .mlp_dim = 40};
    vq_graph *g = NULL;
    vq_rng rng;
    c.base.pre = (vq_preprocess){.chans = chans,
                                 .height = 8,
                                 .width = 12,
                                 .crop_pct = 0.9f,
                                 .mean = {0.5f, 0.4f, 0.3f},
                                 .std = {0.5f, 0.25f, 0.2f}};
    if (vq_vit_build(&g, &c) != VQ_OK) abort();
    vq_rng_seed(&rng, seed);
    for (int i = 0; i < g->num_params; i++) {
        vq_param *const p = &g->params[i];
        const size_t count = vq_shape_count(&p->shape), length = strlen(p->name);
        const bool gamma = strstr(p->name, "norm") && !strcmp(p->name + length - 6, "weight");
        p->data = must(malloc(count * sizeof(float)));
        for (size_t j = 0; j < count; j++) p->data[j] = deviation(p) * vq_rng_normal(&rng) + (gamma ? 1.0f : 0.0f);
    }
    return g;
}

/* ---- forward -------------------------------------------------------------------------------------------------------
 */

static float quantized(const vq_quantizer *q, float x, int group)
{
    if (q->kind == VQ_QUANTIZER_NONE) return x;
    if (q->kind == VQ_QUANTIZER_UNIFORM) {
        const float code = fminf(fmaxf(rintf(x / q->scale[group]) + q->zero[group], 0), (float)(q->levels - 1));
        return (code - q->zero[group]) * q->scale[group];
    }
    int code = 0;
    while (code < q->levels - 1 && q->thresholds[group * (q->levels - 1) + code] <= x) code++;
    return ((float)q->values[group * q->levels + code] - q->zero[group]) * q->scale[group];
}

typedef struct forward {
    const vq_graph *g;
    const vq_qmodel *m;
    float **values;
    float *ranges;
} forward;

static void note(forward *f, int node, int slot, float x)
{
    if (!f->ranges) return;
    float *const r = f->ranges + 4 * node + 2 * slot;
    r[0] = fminf(r[0], x);
    r[1] = fmaxf(r[1], x);
}

/* Element of operand `slot` of a node, noted and quantized; group counts along heads or channels of groups. */
static float operand(forward *f, int node, int slot, float x, int channel, int channels)
{
    note(f, node, slot, x);
    if (!f->m) return x;
    const vq_quantizer *const q = &f->m->nodes[node].in[slot];
    return quantized(q, x, q->kind == VQ_QUANTIZER_NONE ? 0 : channel * q->groups / channels);
}

static void linear(forward *f, int node, const float *x, int rows, int k, float *y, bool quantize)
{
    const vq_node *const n = &f->g->nodes[node];
    const vq_param *const p = &f->g->params[n->weight];
    const int cols = (int)p->shape.dims[0];
    float *const w = must(malloc((size_t)cols * (size_t)k * sizeof(float)));
    float *const row = must(malloc((size_t)k * sizeof(float)));
    if (f->m)
        vq_qmodel_weight_f32(w, f->m, node);
    else
        memcpy(w, p->data, (size_t)cols * (size_t)k * sizeof(float));
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < k; i++) row[i] = quantize ? operand(f, node, 0, x[r * k + i], i, k) : x[r * k + i];
        for (int c = 0; c < cols; c++) {
            double sum = n->bias >= 0 ? f->g->params[n->bias].data[c] : 0;
            for (int i = 0; i < k; i++) sum += (double)row[i] * w[c * k + i];
            y[r * cols + c] = (float)sum;
        }
    }
    free(w);
    free(row);
}

static void patch_embed(forward *f, int node, const float *image, float *y)
{
    const vq_preprocess *const pre = &f->g->pre;
    const int s = f->g->nodes[node].patch, across = pre->width / s, k = pre->chans * s * s;
    const int patches = across * (pre->height / s);
    float *const rows = must(malloc((size_t)patches * (size_t)k * sizeof(float)));
    for (int p = 0; p < patches; p++)
        for (int i = 0; i < k; i++) {
            const int c = i / (s * s), py = p / across * s + i / s % s, px = p % across * s + i % s;
            rows[p * k + i] = image[(py * pre->width + px) * pre->chans + c];
        }
    linear(f, node, rows, patches, k, y, false);
    free(rows);
}

static void layernorm(const vq_graph *g, const vq_node *n, const float *x, int rows, int cols, float *y)
{
    const float *const gamma = g->params[n->weight].data, *const beta = g->params[n->bias].data;
    for (int r = 0; r < rows; r++) {
        double mean = 0, var = 0;
        for (int i = 0; i < cols; i++) mean += x[r * cols + i];
        mean /= cols;
        for (int i = 0; i < cols; i++) var += (x[r * cols + i] - mean) * (x[r * cols + i] - mean);
        for (int i = 0; i < cols; i++)
            y[r * cols + i] = (float)((x[r * cols + i] - mean) / sqrt(var / cols + n->eps) * gamma[i] + beta[i]);
    }
}

static void scores(forward *f, int node, const float *qkv, int tokens, float *y)
{
    const vq_node *const n = &f->g->nodes[node];
    const int d = n->head_dim, width = n->heads * d;
    for (int h = 0; h < n->heads; h++)
        for (int i = 0; i < tokens; i++)
            for (int j = 0; j < tokens; j++) {
                double sum = 0;
                for (int e = h * d; e < (h + 1) * d; e++)
                    sum += (double)operand(f, node, 0, qkv[i * 3 * width + e], e, width) *
                           operand(f, node, 1, qkv[j * 3 * width + width + e], e, width);
                y[(h * tokens + i) * tokens + j] = (float)(sum * n->scale);
            }
}

static void softmax(const float *x, int rows, int cols, float *y)
{
    for (int r = 0; r < rows; r++) {
        double most = -INFINITY, sum = 0;
        for (int i = 0; i < cols; i++) most = fmax(most, x[r * cols + i]);
        for (int i = 0; i < cols; i++) sum += exp(x[r * cols + i] - most);
        for (int i = 0; i < cols; i++) y[r * cols + i] = (float)(exp(x[r * cols + i] - most) / sum);
    }
}

static void context(forward *f, int node, const float *p, const float *qkv, int tokens, float *y)
{
    const vq_node *const n = &f->g->nodes[node];
    const int d = n->head_dim, width = n->heads * d;
    for (int i = 0; i < tokens; i++)
        for (int e = 0; e < width; e++) {
            double sum = 0;
            for (int j = 0; j < tokens; j++)
                sum += (double)operand(f, node, 0, p[(e / d * tokens + i) * tokens + j], e, width) *
                       operand(f, node, 1, qkv[j * 3 * width + 2 * width + e], e, width);
            y[i * width + e] = (float)sum;
        }
}

static void run_node(forward *f, int i)
{
    const vq_graph *const g = f->g;
    const vq_node *const n = &g->nodes[i];
    const vq_value *const in = &g->values[n->in[0]], *const out = &g->values[n->out];
    const float *const x = f->values[n->in[0]], *const x1 = n->in[1] >= 0 ? f->values[n->in[1]] : NULL;
    const int count = out->rows * out->cols;
    float *const y = f->values[n->out];
    switch (n->op) {
    case VQ_NODE_PATCH_EMBED: patch_embed(f, i, x, y); break;
    case VQ_NODE_TOKENS:
        for (int j = 0; j < count; j++) {
            const int from = j - n->prefix * out->cols;
            y[j] = g->params[n->weight].data[j] + (from >= 0 ? x[from] : 0);
        }
        break;
    case VQ_NODE_LAYERNORM: layernorm(g, n, x, in->rows, in->cols, y); break;
    case VQ_NODE_LINEAR: linear(f, i, x, in->rows, in->cols, y, true); break;
    case VQ_NODE_SCORES: scores(f, i, x, in->rows, y); break;
    case VQ_NODE_SOFTMAX: softmax(x, in->rows, in->cols, y); break;
    case VQ_NODE_CONTEXT: context(f, i, x, x1, out->rows, y); break;
    case VQ_NODE_GELU:
        for (int j = 0; j < count; j++) y[j] = (float)(0.5 * x[j] * erfc(-x[j] / sqrt(2.0)));
        break;
    case VQ_NODE_ADD:
        for (int j = 0; j < count; j++) y[j] = x[j] + x1[j];
        break;
    case VQ_NODE_ROWS:
    case VQ_NODE_POOL:
        for (int j = 0; j < count; j++) {
            const int p = j / in->cols, c = j % in->cols;
            double sum = 0;
            for (int r = n->pools[p].first; r < n->pools[p].first + n->pools[p].count; r++) sum += x[r * in->cols + c];
            y[j] = (float)(sum / n->pools[p].count);
        }
        break;
    case VQ_NODE_OP_COUNT: abort();
    }
}

void tiny_forward(const vq_graph *g, const vq_qmodel *m, const uint8_t *pixels, float *logits, float *ranges)
{
    forward f = {.g = m ? m->graph : g, .m = m, .ranges = ranges};
    f.values = must(calloc((size_t)g->num_values, sizeof(float *)));
    for (int v = 0; v < g->num_values; v++)
        f.values[v] = must(calloc((size_t)g->values[v].rows * (size_t)g->values[v].cols, sizeof(float)));
    for (size_t i = 0; i < tiny_pixels(g); i++) f.values[0][i] = pixels[i];
    for (int i = 0; i < g->num_nodes; i++) run_node(&f, i);
    memcpy(logits, f.values[g->nodes[g->num_nodes - 1].out], (size_t)g->num_classes * sizeof(float));
    for (int v = 0; v < g->num_values; v++) free(f.values[v]);
    free(f.values);
}

/* ---- calibration ---------------------------------------------------------------------------------------------------
 */

static void set_uniform(vq_quantizer *q, vq_granularity granularity, int groups, int bits, const float *range)
{
    if (vq_quantizer_uniform(q, granularity, groups, bits) != VQ_OK) abort();
    for (int i = 0; i < groups; i++) /* groups differ a little, so that a mix-up shows */
        vq_uniform_from_range(&q->scale[i], &q->zero[i], range[0] * (1 + 0.02f * (float)(i % 7)),
                              range[1] * (1 + 0.03f * (float)(i % 5)), q->levels);
}

static void set_weight(vq_qnode *qn, const vq_param *p, int bits)
{
    const int rows = (int)p->shape.dims[0], k = (int)p->shape.dims[1];
    if (vq_quantizer_uniform(&qn->weight, VQ_PER_ROW, rows, bits) != VQ_OK) abort();
    qn->codes = must(malloc((size_t)rows * (size_t)k));
    for (int r = 0; r < rows; r++) {
        float lo = p->data[r * k], hi = lo;
        for (int i = 0; i < k; i++) {
            lo = fminf(lo, p->data[r * k + i]);
            hi = fmaxf(hi, p->data[r * k + i]);
        }
        vq_uniform_from_range(&qn->weight.scale[r], &qn->weight.zero[r], lo, hi, qn->weight.levels);
        for (int i = 0; i < k; i++) {
            const float code = rintf(p->data[r * k + i] / qn->weight.scale[r]) + qn->weight.zero[r];
            qn->codes[r * k + i] = (uint8_t)fminf(fmaxf(code, 0), (float)(qn->weight.levels - 1));
        }
    }
}

static void set_softmax(vq_quantizer *q, const tiny_options *o, int heads, float top)
{
    const int groups = o->softmax_per_head ? heads : 1, levels = 1 << o->a_bits;
    for (int h = 0; h < groups; h++) {
        vq_quantizer one;
        const float most = top / (float)(1 + h);
        const vq_codebook_family *const family =
            o->uniform_softmax == (h % 2 == 0) ? &vq_codebook_uniform_family : &vq_codebook_log_sqrt2_family;
        const vq_status status = vq_codebook_create(&one, family, o->a_bits, false, most, 0, NULL);
        if (status != VQ_OK) abort();
        if (h == 0) {
            *q = one;
            if (groups == 1) return;
            q->granularity = VQ_PER_HEAD;
            q->groups = groups;
            q->scale = must(realloc(q->scale, (size_t)groups * sizeof *q->scale));
            q->zero = must(realloc(q->zero, (size_t)groups * sizeof *q->zero));
            q->thresholds = must(realloc(q->thresholds, (size_t)(groups * (levels - 1)) * sizeof *q->thresholds));
            q->values = must(realloc(q->values, (size_t)(groups * levels) * sizeof *q->values));
            continue;
        }
        q->scale[h] = one.scale[0];
        q->zero[h] = one.zero[0];
        memcpy(q->thresholds + h * (levels - 1), one.thresholds, (size_t)(levels - 1) * sizeof *q->thresholds);
        memcpy(q->values + h * levels, one.values, (size_t)levels * sizeof *q->values);
        vq_quantizer_clear(&one);
    }
}

static void set_node(vq_qmodel *m, const vq_graph *g, int i, const tiny_options *o, const float *range)
{
    const vq_node *const n = &g->nodes[i];
    vq_qnode *const qn = &m->nodes[i];
    const int groups = o->qkv == VQ_PER_HEAD ? n->heads : 1;
    if (n->op == VQ_NODE_LINEAR || n->op == VQ_NODE_PATCH_EMBED) {
        set_weight(qn, &g->params[n->weight], o->w_bits);
        free(m->graph->params[n->weight].data);
        m->graph->params[n->weight].data = NULL;
    }
    if (n->op == VQ_NODE_LINEAR) set_uniform(&qn->in[0], VQ_PER_TENSOR, 1, o->a_bits, range);
    if (n->op == VQ_NODE_SCORES) {
        set_uniform(&qn->in[0], o->qkv, groups, o->a_bits, range);
        set_uniform(&qn->in[1], o->qkv, groups, o->a_bits, range + 2);
    }
    if (n->op != VQ_NODE_CONTEXT) return;
    set_softmax(&qn->in[0], o, n->heads, range[1]);
    if (o->qkv == VQ_PER_HEAD)
        set_uniform(&qn->in[1], VQ_PER_CHANNEL, n->heads * n->head_dim, o->a_bits, range + 2);
    else
        set_uniform(&qn->in[1], VQ_PER_TENSOR, 1, o->a_bits, range + 2);
}

vq_qmodel *tiny_qmodel(const vq_graph *g, const tiny_options *o)
{
    vq_qmodel *const m = must(calloc(1, sizeof *m));
    float *const ranges = must(calloc((size_t)g->num_nodes * 4, sizeof(float)));
    float *const logits = must(calloc((size_t)g->num_classes, sizeof(float)));
    uint8_t *const pixels = must(malloc(tiny_pixels(g)));
    for (uint64_t i = 0; i < NUM_CALIB; i++) {
        tiny_image(g, o->seed + i, pixels);
        tiny_forward(g, NULL, pixels, logits, ranges);
    }
    if (vq_graph_clone(&m->graph, g) != VQ_OK) abort();
    m->nodes = must(calloc((size_t)g->num_nodes, sizeof *m->nodes));
    for (int i = 0; i < g->num_nodes; i++) set_node(m, g, i, o, ranges + 4 * i);
    if (vq_strdup(&m->manifest, "{\"recipe\":\"test\"}") != VQ_OK) abort();
    free(ranges);
    free(logits);
    free(pixels);
    return m;
}

/* ---- integers ------------------------------------------------------------------------------------------------------
 */

void tiny_int_node(const vq_int_graph *ints, const vq_int_node *n, void *const *values, int batch)
{
    const void *const in = n->in >= 0 ? values[n->in] : NULL;
    void *const out = values[n->out];
    const int ld = n->in >= 0 ? ints->values[n->in].pitch : 0, ldo = ints->values[n->out].pitch;
    switch (n->op) {
    case VQ_INT_TOKENS: vq_ref_tokens_s32(n->u.tokens.init, n->u.tokens.count, out, batch); break;
    case VQ_INT_PATCHIFY: {
        vq_patchify_shape shape = n->u.patchify;
        shape.batch = batch;
        vq_ref_patchify_u8(&shape, in, out, ldo);
        break;
    }
    case VQ_INT_GEMM:
        vq_ref_gemm_s8(&n->u.gemm.w, in, ld * n->u.gemm.row_step, out, ldo, batch * n->u.gemm.rows, n->u.gemm.rows_in,
                       n->u.gemm.rows_out, n->u.gemm.row_first);
        break;
    case VQ_INT_LAYERNORM:
        vq_ref_layernorm_s32(&n->u.layernorm.w, in, ld * n->u.layernorm.row_step, out, ldo,
                             batch * n->u.layernorm.rows);
        break;
    case VQ_INT_POOL: vq_ref_pool_s32(&n->u.pool, in, out, ldo, batch); break;
    case VQ_INT_ATTENTION:
        if (vq_ref_attention_u8(&n->u.attention.w, in, ld, out, ldo, batch, n->u.attention.tokens) != VQ_OK) abort();
        break;
    }
}

void tiny_int_logits(const vq_int_graph *ints, const uint8_t *pixels, float *logits)
{
    void **const values = must(calloc((size_t)ints->num_values, sizeof(void *)));
    for (int v = 0; v < ints->num_values; v++) {
        const vq_int_value *const value = &ints->values[v];
        values[v] = must(calloc((size_t)value->rows * (size_t)value->pitch, value->s32 ? 4 : 1));
    }
    memcpy(values[0], pixels, (size_t)ints->values[0].rows * (size_t)ints->values[0].cols);
    for (int i = 0; i < ints->num_nodes; i++) tiny_int_node(ints, &ints->nodes[i], values, 1);
    const int last = ints->nodes[ints->num_nodes - 1].out;
    const int32_t *const result = values[last];
    for (int i = 0; i < ints->values[last].cols; i++) logits[i] = (float)ldexp(result[i], -VQ_RESIDUAL_BITS);
    for (int v = 0; v < ints->num_values; v++) free(values[v]);
    free(values);
}
