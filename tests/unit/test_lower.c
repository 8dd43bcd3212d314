/* Lowering against the float model it came from: a tiny random ViT, quantized, run as integers by the witnesses and as
 * fake-quant in plain C. The two differ by what the nonlinear ops round, which must be far below what quantization
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/lower.h"
#include "tiny_model.h"

enum { NUM_IMAGES = 24, CLASSES = 7 };

static char last_error[512];

static void keep_error(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level == VQ_LOG_ERROR) snprintf(last_error, sizeof last_error, "%s", text);
}

typedef struct distances {
    double quantization, lowering; /* root mean square: fake-quant against FP32, integers against fake-quant */
} distances;

static distances measure(const tiny_options *o)
{
    static float fp32[NUM_IMAGES * CLASSES], fake[NUM_IMAGES * CLASSES], ints[NUM_IMAGES * CLASSES];
    vq_graph *g = tiny_graph(o->chans, o->seed);
    vq_qmodel *m = tiny_qmodel(g, o);
    uint8_t *const pixels = malloc(tiny_pixels(g));
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    for (int i = 0; i < NUM_IMAGES; i++) {
        tiny_image(g, 1000 + (uint64_t)i, pixels);
        tiny_forward(g, NULL, pixels, fp32 + i * CLASSES, NULL);
        tiny_forward(g, m, pixels, fake + i * CLASSES, NULL);
        tiny_int_logits(m->ints, pixels, ints + i * CLASSES);
    }
    const distances d = {tiny_rms(fake, fp32, NUM_IMAGES * CLASSES), tiny_rms(ints, fake, NUM_IMAGES * CLASSES)};
    print_message("w%da%d %s %s: quantization %.5f, lowering %.5f\n", o->w_bits, o->a_bits,
                  o->qkv == VQ_PER_HEAD ? "per head" : "per tensor", o->uniform_softmax ? "uniform" : "log_sqrt2",
                  d.quantization, d.lowering);
    free(pixels);
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
    return d;
}

static void test_lower__agrees_with_fake_quant(void **state)
{
    static const tiny_options cases[] = {
        {3, 8, 8, VQ_PER_TENSOR, true, 1, false}, {1, 8, 8, VQ_PER_HEAD, false, 2, false},
        {3, 4, 8, VQ_PER_HEAD, true, 3, false},   {3, 6, 6, VQ_PER_TENSOR, false, 4, false},
        {1, 4, 4, VQ_PER_HEAD, false, 5, false},  {3, 3, 5, VQ_PER_TENSOR, true, 6, false},
        {3, 8, 8, VQ_PER_TENSOR, true, 7, true},  {3, 6, 6, VQ_PER_HEAD, false, 8, true},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        const distances d = measure(&cases[i]);
        assert_true(d.lowering < 0.9 * d.quantization); /* a code that flips upstream moves all behind it */
    }
}

/* ---- every integer node alone, given the integers in front of it ---------------------------------------------------
 */

typedef struct single {
    const vq_qmodel *m;
    const vq_int_graph *ints;
    void **values;
    int codes, off_by_one, worse; /* outputs compared */
} single;

static int graph_node(const vq_graph *g, const char *name)
{
    for (int i = 0; i < g->num_nodes; i++)
        if (strcmp(g->nodes[i].name, name) == 0) return i;
    fail_msg("no node %s", name);
    return -1;
}

/* The linear whose product ends in the named node. */
static int linear_of(const vq_graph *g, const char *name)
{
    const int i = graph_node(g, name);
    for (int slot = 0; slot < 2 && g->nodes[i].op != VQ_NODE_LINEAR; slot++) {
        const int p = g->nodes[i].in[slot] > 0 ? vq_graph_producer(g, g->nodes[i].in[slot]) : -1;
        if (p >= 0 && g->nodes[p].op == VQ_NODE_LINEAR) return p;
    }
    return i;
}

/* The input quantizer of the linear that reads the named node's value. */
static const vq_quantizer *reader_of(const vq_qmodel *m, const char *name)
{
    const vq_graph *const g = m->graph;
    const int value = g->nodes[graph_node(g, name)].out;
    return &m->nodes[vq_graph_last_use(g, value)].in[0];
}

static double code_of(const vq_quantizer *q, double x, int group)
{
    return fmin(fmax(rint(x / q->scale[group]) + q->zero[group], 0), q->levels - 1);
}

static void compare_code(single *s, int got, double want)
{
    const double off = fabs(got - want);
    s->codes++;
    s->off_by_one += off == 1;
    s->worse += off > 1;
}

static const vq_quantizer *qkv_quantizer(const vq_qmodel *m, int scores, int context, int c, int width, int *group)
{
    const vq_quantizer *const q[3] = {&m->nodes[scores].in[0], &m->nodes[scores].in[1], &m->nodes[context].in[1]};
    *group = c % width * q[c / width]->groups / width;
    return q[c / width];
}

static void check_gemm(single *s, const vq_int_node *n, const int32_t *before)
{
    const vq_graph *const g = s->m->graph;
    const int node = strcmp(n->name, "patch_embed.proj") ? linear_of(g, n->name) : graph_node(g, n->name);
    const vq_gemm_s8_weights *const w = &n->u.gemm.w;
    const vq_quantizer *const in = &s->m->nodes[node].in[0];
    const vq_int_value *const vin = &s->ints->values[n->in], *const vout = &s->ints->values[n->out];
    const float *const bias = g->params[g->nodes[node].bias].data;
    float *const weight = malloc((size_t)w->n * (size_t)w->k * sizeof(float));
    vq_qmodel_weight_f32(weight, s->m, node);
    for (int r = 0; r < n->u.gemm.rows; r++)
        for (int c = 0; c < w->n; c++) {
            const uint8_t *const a = (const uint8_t *)s->values[n->in] + r * n->u.gemm.row_step * vin->pitch;
            const int row = r + n->u.gemm.row_first, at = row * vout->pitch + c;
            double x = bias[c];
            for (int k = 0; k < w->k; k++)
                x += (in->kind ? (a[k] - in->zero[0]) * (double)in->scale[0] : a[k]) * weight[c * w->k + k];
            if (w->epilogue == VQ_GEMM_TABLE) {
                const double y = 0.5 * x * erfc(-x / sqrt(2));
                compare_code(s, ((uint8_t *)s->values[n->out])[at], code_of(reader_of(s->m, n->name), y, 0));
            } else if (w->epilogue == VQ_GEMM_CODES) {
                int group;
                const vq_quantizer *const q = qkv_quantizer(s->m, node + 1, node + 3, c, w->n / 3, &group);
                compare_code(s, ((uint8_t *)s->values[n->out])[at], code_of(q, x, group));
            } else { /* half a unit of the bias, half a unit of the stream */
                const double scale = (in->kind ? in->scale[0] : 1) * (double)s->m->nodes[node].weight.scale[c];
                const double y = ldexp(((int32_t *)s->values[n->out])[at] - (double)before[at], -VQ_RESIDUAL_BITS);
                assert_true(fabs(y - x) <= 0.51 * scale + 0x1p-16);
            }
        }
    free(weight);
}

static void check_layernorm(single *s, const vq_int_node *n)
{
    const vq_graph *const g = s->m->graph;
    int node = graph_node(g, n->name);
    const vq_quantizer *const q = reader_of(s->m, n->name);
    if (g->nodes[node].op == VQ_NODE_POOL) node = vq_graph_producer(g, g->nodes[node].in[0]);
    const float *const gamma = g->params[g->nodes[node].weight].data, *const beta = g->params[g->nodes[node].bias].data;
    const int cols = n->u.layernorm.w.c;
    for (int r = 0; r < n->u.layernorm.rows; r++) {
        const int32_t *const x = (const int32_t *)s->values[n->in] + r * n->u.layernorm.row_step * cols;
        const uint8_t *const out = (const uint8_t *)s->values[n->out] + r * s->ints->values[n->out].pitch;
        double mean = 0, var = 0;
        for (int c = 0; c < cols; c++) mean += ldexp(x[c], -16) / cols;
        for (int c = 0; c < cols; c++) var += pow(ldexp(x[c], -16) - mean, 2) / cols;
        for (int c = 0; c < cols; c++)
            compare_code(s, out[c], code_of(q, (ldexp(x[c], -16) - mean) / sqrt(var + 1e-6) * gamma[c] + beta[c], 0));
    }
}

static void check_attention(single *s, const vq_int_node *n)
{
    const vq_attention_u8_weights *const w = &n->u.attention.w;
    const int context = graph_node(s->m->graph, n->name), scores = context - 2, d = w->head_dim, width = w->heads * d;
    const int tokens = n->u.attention.tokens, ld = s->ints->values[n->in].pitch, ldo = s->ints->values[n->out].pitch;
    const vq_quantizer *const p = &s->m->nodes[context].in[0], *const out = reader_of(s->m, n->name);
    double real[16][256], prob[16];
    assert_true(tokens <= 16 && 3 * width <= 256);
    for (int t = 0; t < tokens; t++)
        for (int c = 0; c < 3 * width; c++) {
            int group;
            const vq_quantizer *const q = qkv_quantizer(s->m, scores, context, c, width, &group);
            real[t][c] = (((const uint8_t *)s->values[n->in])[t * ld + c] - q->zero[group]) * (double)q->scale[group];
        }
    for (int i = 0; i < tokens; i++)
        for (int h = 0; h < w->heads; h++) {
            double sum = 0;
            for (int j = 0; j < tokens; j++) {
                double x = 0;
                for (int e = h * d; e < (h + 1) * d; e++) x += real[i][e] * real[j][width + e];
                sum += prob[j] = exp(x / sqrt(d));
            }
            for (int j = 0; j < tokens; j++) {
                int code = 0;
                const int group = h * p->groups / w->heads;
                const float *const thresholds = p->thresholds + group * (p->levels - 1);
                while (code < p->levels - 1 && thresholds[code] <= prob[j] / sum) code++;
                prob[j] = p->values[group * p->levels + code] * (double)p->scale[group];
            }
            for (int e = h * d; e < (h + 1) * d; e++) {
                double x = 0;
                for (int j = 0; j < tokens; j++) x += prob[j] * real[j][2 * width + e];
                compare_code(s, ((const uint8_t *)s->values[n->out])[i * ldo + e], code_of(out, x, 0));
            }
        }
}

static void run_single(single *s, const vq_int_node *n)
{
    const vq_int_value *const v = &s->ints->values[n->out];
    const size_t bytes = (size_t)v->rows * (size_t)v->pitch * (v->s32 ? 4 : 1);
    const void *const out = s->values[n->out];
    int32_t *const before = malloc(bytes);
    memset(before, 0, bytes);
    if (n->op == VQ_INT_GEMM && n->u.gemm.w.epilogue == VQ_GEMM_ADD) memcpy(before, out, bytes);
    tiny_int_node(s->ints, n, s->values, 1);
    if (n->op == VQ_INT_GEMM) check_gemm(s, n, before);
    if (n->op == VQ_INT_LAYERNORM) check_layernorm(s, n);
    if (n->op == VQ_INT_ATTENTION) check_attention(s, n);
    free(before);
}

/* Codes may differ from the real arithmetic's only by one, and rarely: where it falls within the rounding of an edge.
 */
static void test_lower__each_node_alone(void **state)
{
    static const tiny_options cases[] = {
        {3, 8, 8, VQ_PER_TENSOR, true, 21, false}, {1, 8, 6, VQ_PER_HEAD, false, 22, false},
        {3, 4, 4, VQ_PER_HEAD, false, 23, false},  {1, 2, 3, VQ_PER_TENSOR, false, 24, false},
        {3, 8, 8, VQ_PER_TENSOR, false, 25, true}, {1, 4, 4, VQ_PER_HEAD, true, 26, true},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        vq_graph *g = tiny_graph(cases[i].chans, cases[i].seed);
        vq_qmodel *m = tiny_qmodel(g, &cases[i]);
        assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
        single s = {.m = m, .ints = m->ints, .values = calloc((size_t)m->ints->num_values, sizeof(void *))};
        for (int v = 0; v < m->ints->num_values; v++)
            s.values[v] = calloc((size_t)m->ints->values[v].rows * (size_t)m->ints->values[v].pitch, 4);
        for (uint64_t image = 0; image < 6; image++) {
            tiny_image(g, 50 + image, s.values[0]);
            for (int n = 0; n < m->ints->num_nodes; n++) run_single(&s, &m->ints->nodes[n]);
        }
        print_message("w%da%d: %d codes, %d off by one, %d by more\n", cases[i].w_bits, cases[i].a_bits, s.codes,
                      s.off_by_one, s.worse);
        assert_true(s.codes > 3000);
        assert_true(s.off_by_one < s.codes / 40);
        assert_true(s.worse <= s.codes / 5000); /* where a probability falls to another code */
        for (int v = 0; v < m->ints->num_values; v++) free(s.values[v]);
        free(s.values);
        vq_qmodel_destroy(&m);
        vq_graph_destroy(&g);
    }
}

/* ---- corners -------------------------------------------------------------------------------------------------------
 */

/* A linear layer's row whose weights are nothing beside its bias, and one whose weights all sit on the zero point. */
static void test_lower__tiny_weights_keep_their_bias(void **state)
{
    const tiny_options o = {1, 4, 8, VQ_PER_TENSOR, true, 11, false};
    vq_graph *g = tiny_graph(1, 11);
    vq_qmodel *m;
    (void)state;
    for (int i = 0; i < g->num_nodes; i++) {
        vq_node *const n = &g->nodes[i];
        if (n->op != VQ_NODE_LINEAR) continue;
        const vq_shape *const shape = &g->params[n->weight].shape;
        for (int64_t k = 0; k < shape->dims[1]; k++) {
            g->params[n->weight].data[shape->dims[1] + k] *= 1e-12f; /* row 1 */
            g->params[n->weight].data[2 * shape->dims[1] + k] = 0;   /* row 2 */
        }
    }
    m = tiny_qmodel(g, &o);
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    uint8_t *const pixels = malloc(tiny_pixels(g));
    float fake[CLASSES], ints[CLASSES];
    tiny_image(g, 1, pixels);
    tiny_forward(g, m, pixels, fake, NULL);
    tiny_int_logits(m->ints, pixels, ints);
    const int last = g->num_nodes - 1;
    for (int c = 1; c <= 2; c++) {
        assert_float_equal(ints[c], g->params[g->nodes[last].bias].data[c], 1e-4);
        assert_float_equal(ints[c], fake[c], 1e-4);
    }
    free(pixels);
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
}

static const vq_int_node *find(const vq_int_graph *ints, const char *name)
{
    for (int i = 0; i < ints->num_nodes; i++)
        if (strcmp(ints->nodes[i].name, name) == 0) return &ints->nodes[i];
    fail_msg("no integer node %s", name);
    return NULL;
}

static void test_lower__structure(void **state)
{
    const tiny_options o = {3, 4, 4, VQ_PER_TENSOR, false, 1, false};
    vq_graph *g = tiny_graph(3, 1);
    vq_qmodel *m = tiny_qmodel(g, &o);
    (void)state;
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    const vq_int_graph *const ints = m->ints;
    assert_int_equal(ints->num_nodes, 3 + 2 * 7 + 2); /* embedding, blocks, last norm and head */
    const vq_int_node *const embed = find(ints, "patch_embed.proj");
    assert_int_equal(embed->u.gemm.rows_in, 6);
    assert_int_equal(embed->u.gemm.rows_out, 7);
    assert_int_equal(embed->u.gemm.row_first, 1);
    assert_int_equal(embed->u.gemm.w.a_max, 255);
    const vq_int_node *const add = find(ints, "blocks.1.add2");
    assert_int_equal(add->out, embed->out); /* one residual stream, in place */
    const vq_int_node *const act = find(ints, "blocks.0.mlp.act");
    assert_int_equal(act->u.gemm.w.epilogue, VQ_GEMM_TABLE);
    assert_true(act->u.gemm.w.table_len <= 16384);
    const vq_int_node *const pool = find(ints, "pool");
    assert_int_equal(pool->u.layernorm.rows, 1);
    assert_int_equal(pool->u.layernorm.row_step, 7);
    assert_int_equal(ints->nodes[ints->num_nodes - 1].u.gemm.w.epilogue, VQ_GEMM_SET);
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
}

/* Behind the last attention only the class token's row is left, and the logits are those of all rows. */
static void test_lower__prunes_rows(void **state)
{
    const tiny_options o = {3, 8, 8, VQ_PER_HEAD, false, 9, false};
    vq_graph *g = tiny_graph(3, 9);
    vq_qmodel *m = tiny_qmodel(g, &o);
    vq_int_graph *all = NULL;
    uint8_t *const pixels = malloc(tiny_pixels(g));
    float want[CLASSES], got[CLASSES];
    (void)state;
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    assert_int_equal(vq_lower_all_rows(&all, m), VQ_OK);
    static const char *const gemms[] = {"blocks.1.add1", "blocks.1.mlp.act", "blocks.1.add2"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(gemms); i++) {
        assert_int_equal(find(all, gemms[i])->u.gemm.rows, 7);
        assert_int_equal(find(m->ints, gemms[i])->u.gemm.rows, 1);
        assert_int_equal(find(m->ints, gemms[i])->u.gemm.row_step, i == 0 ? 7 : 1); /* attention gives all rows */
    }
    assert_int_equal(find(m->ints, "blocks.1.norm2")->u.layernorm.rows, 1);
    assert_int_equal(find(m->ints, "blocks.1.attn.qkv")->u.gemm.rows, 7);
    assert_int_equal(find(m->ints, "blocks.0.add2")->u.gemm.rows, 7);
    for (uint64_t i = 0; i < 8; i++) {
        tiny_image(g, 2000 + i, pixels);
        tiny_int_logits(all, pixels, want);
        tiny_int_logits(m->ints, pixels, got);
        assert_memory_equal(got, want, sizeof want);
    }
    vq_int_graph_destroy(&all);
    free(pixels);
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
}

/* What cannot be lowered is refused with the node's name. */
static void test_lower__refuses_by_name(void **state)
{
    const tiny_options o = {3, 4, 4, VQ_PER_TENSOR, false, 1, false};
    (void)state;
    for (int what = 0; what < 4; what++) {
        static const char *const want[4] = {"blocks.0.attn.qkv: input has zero point", "blocks.0.attn.qkv: weight has",
                                            "blocks.0.mlp.fc2: its input has 17 levels", "head: bias"};
        vq_graph *g = tiny_graph(3, 1);
        vq_qmodel *m = tiny_qmodel(g, &o);
        for (int i = 0; i < g->num_nodes; i++) {
            const vq_node *const n = &m->graph->nodes[i];
            vq_qnode *const qn = &m->nodes[i];
            if (what == 0 && !strcmp(n->name, "blocks.0.attn.qkv")) qn->in[0].zero[0] += 0.5f;
            if (what == 1 && !strcmp(n->name, "blocks.0.attn.qkv")) qn->weight.levels++;
            if (what == 2 && !strcmp(n->name, "blocks.0.mlp.fc2")) {
                vq_quantizer_clear(&qn->in[0]);
                assert_int_equal(vq_codebook_create(&qn->in[0], &vq_codebook_log_sqrt2_family, 4, true, 1, 0, NULL),
                                 VQ_OK);
            }
            if (what == 3 && !strcmp(n->name, "head")) m->graph->params[n->bias].data[3] = 1e9f;
        }
        last_error[0] = 0;
        vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
        assert_int_equal(vq_lower(&m->ints, m), VQ_ERR_UNSUPPORTED);
        vq_log_set(NULL, NULL, VQ_LOG_WARN);
        if (!strstr(last_error, want[what])) fail_msg("message is \"%s\", expected \"%s\"", last_error, want[what]);
        assert_null(m->ints);
        vq_qmodel_destroy(&m);
        vq_graph_destroy(&g);
    }
}

/* A codebook per head becomes a table per head, one for all a single table; a lowest level of 0 is an exact zero at
 * the end of its table, reached by what is too small for the level above. */
static void test_lower__softmax_tables(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        const tiny_options o = {3, 4, 4, VQ_PER_TENSOR, false, 31, own};
        vq_graph *g = tiny_graph(3, 31);
        vq_qmodel *m = tiny_qmodel(g, &o);
        assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
        const vq_attention_u8_weights *const w = &find(m->ints, "blocks.0.attn.context")->u.attention.w;
        const vq_quantizer *const p = &m->nodes[graph_node(g, "blocks.0.attn.context")].in[0];
        assert_int_equal(w->prob_tables, own ? w->heads : 1);
        assert_true(w->prob_low); /* of any of them */
        for (int h = 0; h < w->heads; h++) {
            const uint16_t *const prob = vq_attention_prob(w, h);
            const double lowest = p->thresholds[own ? h * (p->levels - 1) : 0];
            const int zeros = (int)ldexp(-log2(lowest), 16 - w->prob_shift); /* the first entry wholly below it */
            assert_int_equal(prob[w->prob_len - 1], 0);
            assert_true(zeros > 0 && prob[VQ_MIN(zeros - 1, w->prob_len - 1)] > 0);
            assert_int_equal(prob[VQ_MIN(zeros + 1, w->prob_len - 1)], 0);
            if (own && h) assert_memory_not_equal(prob, w->prob, (size_t)w->prob_len * sizeof *prob);
        }
        vq_qmodel_destroy(&m);
        vq_graph_destroy(&g);
    }
}

/* The bound on a row of probabilities holds for rows made to be bad: many equal probabilities just above an edge. */
static void test_lower__probability_sum_bound(void **state)
{
    const tiny_options o = {3, 4, 4, VQ_PER_TENSOR, false, 1, false};
    vq_graph *g = tiny_graph(3, 1);
    vq_qmodel *m = tiny_qmodel(g, &o);
    (void)state;
    assert_int_equal(vq_lower(&m->ints, m), VQ_OK);
    const vq_attention_u8_weights *const w = &find(m->ints, "blocks.0.attn.context")->u.attention.w;
    for (int tokens = 1; tokens <= 4095; tokens += 1 + tokens / 7) {
        const double u = log2(tokens) * 65536,
                     bound = vq_attention_prob_sum(w->prob, w->prob_len, w->prob_shift, tokens);
        const int i = (int)u >> w->prob_shift; /* every probability is 1 / tokens */
        assert_true((double)tokens * w->prob[VQ_MIN(i, w->prob_len - 1)] <= bound);
    }
    vq_qmodel_destroy(&m);
    vq_graph_destroy(&g);
}

/* Two planes: a bias that lets sums just fit passes, one more does not; and what planes and tables cannot be. */
static void test_lower__proves_two_planes(void **state)
{
    static const int8_t w[] = {127, -128, 0, 100, 50, -3};
    static const int32_t mult[] = {1 << 30}, w_zero[] = {-40};
    static const uint8_t shift[] = {1}, table[2] = {0};
    int32_t bias[] = {0};
    const vq_gemm_s8_weights ok = {.n = 1,
                                   .k = 6,
                                   .a_planes = 2,
                                   .a_max = 65535,
                                   .w_abs_max = 128,
                                   .w = w,
                                   .w_zero = w_zero,
                                   .bias = bias,
                                   .mult = mult,
                                   .shift = shift,
                                   .epilogue = VQ_GEMM_SET};
    const double most = 65535.0 * (127 + 100 + 50 + 6 * 40);
    (void)state;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    assert_true(vq_gemm_row_bound(&ok, 0) == most);
    bias[0] = (int32_t)(0x1p31 - 1 - most);
    assert_int_equal(vq_prove_gemm(&ok, "x"), VQ_OK);
    bias[0]++;
    assert_int_equal(vq_prove_gemm(&ok, "x"), VQ_ERR_UNSUPPORTED);
    bias[0] = 0;
    for (int what = 0; what < 4; what++) {
        vq_gemm_s8_weights bad = ok;
        if (what == 0) bad.a_max = 65536;
        if (what == 1) bad.a_planes = 3;
        if (what == 2) bad.a_planes = 1;
        if (what == 3) bad.table_low = table;
        assert_int_equal(vq_prove_gemm(&bad, "x"), VQ_ERR_FORMAT);
    }
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower__agrees_with_fake_quant),
        cmocka_unit_test(test_lower__each_node_alone),
        cmocka_unit_test(test_lower__tiny_weights_keep_their_bias),
        cmocka_unit_test(test_lower__structure),
        cmocka_unit_test(test_lower__prunes_rows),
        cmocka_unit_test(test_lower__refuses_by_name),
        cmocka_unit_test(test_lower__softmax_tables),
        cmocka_unit_test(test_lower__probability_sum_bound),
        cmocka_unit_test(test_lower__proves_two_planes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
