/* The two products of attention: quantizers of Q, K, V and of the probabilities. */
#include <stdlib.h>
#include <string.h>

#include "calib/calibration.h"
#include "calib/output_score.h"
#include "calib/search.h"
#include "ops/ops_f32.h"

/* Both nodes of one attention, and sizes. */
typedef struct attention {
    vq_calibration *c;
    int scores, context;                /* nodes */
    int qkv;                            /* value */
    int heads, width, tokens, head_dim; /* width = heads * head_dim */
    size_t count;                       /* elements of qkv in all samples */
    vq_quantizer *q, *k, *v, *p;
} attention;

static int context_of(const vq_graph *g, int scores)
{
    for (int i = scores + 1; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_CONTEXT && g->nodes[i].in[1] == g->nodes[scores].in[0]) return i;
    return -1;
}

static int scores_of(const vq_graph *g, int context)
{
    for (int i = 0; i < context; i++)
        if (g->nodes[i].op == VQ_NODE_SCORES && g->nodes[i].in[0] == g->nodes[context].in[1]) return i;
    return -1;
}

static vq_status attention_begin(attention *a, vq_calibration *c, int scores, int context)
{
    const vq_graph *const g = c->source;
    if (scores < 0 || context < 0) return vq_fail(VQ_ERR_UNSUPPORTED, "attention without both of its products");
    const vq_node *const n = &g->nodes[scores];
    *a = (attention){.c = c,
                     .scores = scores,
                     .context = context,
                     .qkv = n->in[0],
                     .heads = n->heads,
                     .head_dim = n->head_dim,
                     .width = n->heads * n->head_dim,
                     .tokens = g->values[n->in[0]].rows};
    a->count = vq_value_count(g, a->qkv) * (size_t)c->samples;
    a->q = &c->model->nodes[scores].in[0];
    a->k = &c->model->nodes[scores].in[1];
    a->v = &c->model->nodes[context].in[1];
    a->p = &c->model->nodes[context].in[0];
    return VQ_OK;
}

static int per_groups(const attention *a, vq_granularity per)
{
    return per == VQ_PER_TENSOR ? 1 : per == VQ_PER_HEAD ? a->heads : a->width;
}

/* ---- by the tensors themselves -------------------------------------------------------------------------------------
 */

/* Q, K and V are three column ranges of one value, searched together; the parts asked for are kept. */
static vq_status search_by_tensor(attention *a, const vq_part *part, int bits, vq_quantizer *const out[3])
{
    const int per = per_groups(a, part->per);
    const vq_groups g = {a->count, (size_t)(a->width / per), 3 * per};
    const vq_score score = vq_score_of_tensor(a->c->dev, &g, a->c->run->values[a->qkv]);
    vq_quantizer all = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_quantizer_uniform(&all, VQ_PER_CHANNEL, 3 * per, bits));
    VQ_GO(vq_search_uniform(&score, part->search, false, &all));
    for (int i = 0; i < 3; i++) {
        if (!out[i]) continue;
        vq_quantizer_clear(out[i]);
        VQ_GO(vq_quantizer_uniform(out[i], part->per, per, bits));
        memcpy(out[i]->scale, all.scale + i * per, (size_t)per * sizeof(float));
        memcpy(out[i]->zero, all.zero + i * per, (size_t)per * sizeof(float));
    }
done:
    vq_quantizer_clear(&all);
    return status;
}

/* ---- by the products -----------------------------------------------------------------------------------------------
 */

/* Columns first .. first + head_dim of qkv: a head of Q (part 0), K (1) or V (2). */
static vq_matrix head_of(const attention *a, const vq_buf *qkv, int part, int head)
{
    const int cols = 3 * a->width;
    return (vq_matrix){.buf = qkv,
                       .offset = (size_t)(part * a->width + head * a->head_dim),
                       .stride = (size_t)a->tokens * (size_t)cols,
                       .ld = cols};
}

/* out [m][n] of every sample = X [m][k] W', W [n][k]; a stride of 0 repeats a matrix. out is dense. */
static vq_status product(const attention *a, const vq_matrix *x, const vq_matrix *w, int m, int n, int k,
                         const vq_buf *out)
{
    const vq_gemm_f32_shape shape = {.m = m,
                                     .n = n,
                                     .k = k,
                                     .lda = x->ld,
                                     .ldb = w->ld,
                                     .ldc = n,
                                     .trans_b = true,
                                     .outer = a->c->samples,
                                     .inner = 1,
                                     .a_offset = x->offset,
                                     .b_offset = w->offset,
                                     .a_outer = x->stride,
                                     .b_outer = w->stride,
                                     .c_outer = (size_t)m * (size_t)n};
    return vq_gemm_f32_run(a->c->dev, &shape, x->buf, w->buf, NULL, out);
}

/* The transpose [cols][rows] of every sample's matrix [rows][cols], as a product with the identity: exact. */
static vq_status transpose(const attention *a, const vq_matrix *x, int rows, int cols, const vq_buf *out)
{
    float *one = NULL;
    vq_buf *identity = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&one, (size_t)cols * (size_t)cols, sizeof *one, "identity"));
    for (int i = 0; i < cols; i++) one[i * cols + i] = 1;
    VQ_GO(vq_buf_create_from(&identity, a->c->dev, one, (size_t)cols * (size_t)cols * sizeof *one));
    VQ_GO(product(a, &(vq_matrix){.buf = identity, .ld = cols}, x, cols, rows, cols, out));
    VQ_GO(vq_device_finish(a->c->dev));
done:
    free(one);
    vq_buf_destroy(&identity);
    return status;
}

static vq_matrix dense(const vq_buf *buf, int rows, int cols)
{
    return (vq_matrix){.buf = buf, .stride = (size_t)rows * (size_t)cols, .ld = cols};
}

static vq_status create_f32(vq_buf **out, const attention *a, size_t per_sample)
{
    return vq_buf_create(out, a->c->dev, per_sample * (size_t)a->c->samples * sizeof(float));
}

/* Searches one group of q by the output of its product: the head's values lie dense in x for the order statistics. */
static vq_status search_group(const attention *a, const vq_output_layer *o, const vq_buf *x, size_t count,
                              vq_search how, vq_quantizer *q, int group)
{
    const vq_groups g = {count, count, 1};
    const vq_score score = vq_score_of_output(a->c->dev, &g, x, o);
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_quantizer_uniform(&one, VQ_PER_TENSOR, 1, q->bits));
    VQ_GO(vq_search_uniform(&score, how, false, &one));
    q->scale[group] = one.scale[0];
    q->zero[group] = one.zero[0];
done:
    vq_quantizer_clear(&one);
    return status;
}

/* A copy of a head of qkv, dense [samples][tokens][head_dim], through the transpose of its transpose. */
static vq_status copy_head(const attention *a, const vq_matrix *x, const vq_buf *turned, const vq_buf *out)
{
    VQ_TRY(transpose(a, x, a->tokens, a->head_dim, turned));
    const vq_matrix t = dense(turned, a->head_dim, a->tokens);
    return transpose(a, &t, a->head_dim, a->tokens, out);
}

/* One fake-quantized copy of qkv with what has been found so far. */
static vq_status quantize_qkv(const attention *a, const vq_buf *out)
{
    VQ_TRY(vq_float_run_set_qkv(a->c->run, a->scores, a->q, a->k, a->v));
    VQ_TRY(vq_float_run_fakequant(a->c->run, a->scores, a->c->run->values[a->qkv], a->count, out));
    return vq_device_finish(a->c->dev);
}

/* Q (part 0) or K (part 1) by the error of Q K', head after head, the other one quantized. */
static vq_status search_qk_part(const attention *a, int part, const vq_buf *qkv)
{
    const vq_part *const how = &a->c->recipe->qk;
    vq_quantizer *const q = part == 0 ? a->q : a->k;
    const int t = a->tokens, d = a->head_dim;
    const size_t square = (size_t)t * (size_t)t, head = (size_t)t * (size_t)d;
    vq_buf *quantized = NULL, *wanted = NULL, *turned = NULL, *copy = NULL;
    vq_output_layer o = {0};
    vq_status status = VQ_OK;
    VQ_GO(create_f32(&quantized, a, (size_t)(3 * a->width) * (size_t)t));
    VQ_GO(create_f32(&wanted, a, square));
    VQ_GO(create_f32(&turned, a, head));
    VQ_GO(create_f32(&copy, a, head));
    VQ_GO(quantize_qkv(a, quantized));
    for (int h = 0; h < a->heads; h++) {
        const vq_matrix x = head_of(a, qkv, part, h), other = head_of(a, quantized, 1 - part, h);
        const vq_matrix float_other = head_of(a, qkv, 1 - part, h);
        VQ_GO(product(a, &x, &float_other, t, t, d, wanted));
        VQ_GO(copy_head(a, &x, turned, copy));
        o = (vq_output_layer){.batch = a->c->samples,
                              .m = t,
                              .row_step = vq_row_step(a->c, a->c->samples * t),
                              .x = dense(copy, t, d),
                              .y = dense(wanted, t, t)};
        VQ_GO(vq_output_layer_floats(&o, a->c->dev, &other, t, d));
        VQ_GO(search_group(a, &o, copy, head * (size_t)a->c->samples, how->search, q, h));
        vq_output_layer_end(&o);
    }
done:
    vq_output_layer_end(&o);
    vq_buf_destroy(&quantized);
    vq_buf_destroy(&wanted);
    vq_buf_destroy(&turned);
    vq_buf_destroy(&copy);
    return status;
}

vq_status vq_calibrate_scores(vq_calibration *c, int node)
{
    const vq_graph *const g = c->source;
    const vq_recipe *const r = c->recipe;
    const int bits = c->bits[node].input;
    attention a;
    VQ_TRY(attention_begin(&a, c, node, context_of(g, node)));
    const bool alike = r->qk.search == r->value.search && r->qk.per == r->value.per;
    VQ_TRY(search_by_tensor(&a, &r->qk, bits, (vq_quantizer *const[3]){a.q, a.k, alike ? a.v : NULL}));
    if (!alike) VQ_TRY(search_by_tensor(&a, &r->value, bits, (vq_quantizer *const[3]){NULL, NULL, a.v}));
    if (vq_part_by_output(&r->qk))
        for (int round = 0; round < r->rounds; round++)
            for (int part = 0; part < 2; part++) VQ_TRY(search_qk_part(&a, part, c->run->values[a.qkv]));
    if (r->flow == VQ_FLOW_PARALLEL) return vq_float_run_set_quantizer(c->run, node, NULL);
    if (vq_part_by_output(&r->value)) { /* V is searched behind the softmax, from what it is now */
        VQ_TRY(create_f32(&c->qkv, &a, vq_value_count(g, a.qkv)));
        VQ_TRY(vq_buf_copy(c->dev, c->qkv, 0, c->run->values[a.qkv], 0, a.count * sizeof(float)));
    }
    VQ_TRY(vq_float_run_set_qkv(c->run, node, a.q, a.k, a.v));
    return vq_float_run_node(c->run, node, c->samples);
}

/* ---- probabilities and V -------------------------------------------------------------------------------------------
 */

/* What both searches behind the softmax need for one head, all dense. */
typedef struct head_buffers {
    vq_buf *p, *p_hat;    /* [tokens][tokens] */
    vq_buf *v, *v_hat;    /* V' [head_dim][tokens] */
    vq_buf *y, *y_turned; /* wanted [tokens][head_dim], and its transpose */
} head_buffers;

static void head_end(head_buffers *b)
{
    vq_buf_destroy(&b->p);
    vq_buf_destroy(&b->p_hat);
    vq_buf_destroy(&b->v);
    vq_buf_destroy(&b->v_hat);
    vq_buf_destroy(&b->y);
    vq_buf_destroy(&b->y_turned);
}

static vq_status head_begin(head_buffers *b, const attention *a)
{
    const size_t square = (size_t)a->tokens * (size_t)a->tokens, head = (size_t)a->tokens * (size_t)a->head_dim;
    *b = (head_buffers){0};
    VQ_TRY(create_f32(&b->p, a, square));
    VQ_TRY(create_f32(&b->p_hat, a, square));
    VQ_TRY(create_f32(&b->v, a, head));
    VQ_TRY(create_f32(&b->v_hat, a, head));
    VQ_TRY(create_f32(&b->y, a, head));
    return create_f32(&b->y_turned, a, head);
}

/* Probabilities of one head of every sample, side by side. */
static vq_status copy_probabilities(const attention *a, int head, const vq_buf *out)
{
    const size_t square = (size_t)a->tokens * (size_t)a->tokens * sizeof(float);
    const vq_buf *const p = a->c->run->values[a->c->source->nodes[a->context].in[0]];
    for (int s = 0; s < a->c->samples; s++)
        VQ_TRY(vq_buf_copy(a->c->dev, out, (size_t)s * square, p, (size_t)(s * a->heads + head) * square, square));
    return VQ_OK;
}

static vq_status load_head(const attention *a, head_buffers *b, int head, const vq_buf *qkv, const vq_buf *qkv_hat)
{
    const vq_matrix v = head_of(a, qkv, 2, head), v_hat = head_of(a, qkv_hat, 2, head);
    const vq_matrix p = dense(b->p, a->tokens, a->tokens), v_turned = dense(b->v, a->head_dim, a->tokens);
    VQ_TRY(copy_probabilities(a, head, b->p));
    VQ_TRY(transpose(a, &v, a->tokens, a->head_dim, b->v));
    VQ_TRY(transpose(a, &v_hat, a->tokens, a->head_dim, b->v_hat));
    VQ_TRY(product(a, &p, &v_turned, a->tokens, a->head_dim, a->tokens, b->y));
    return product(a, &v_turned, &p, a->head_dim, a->tokens, a->tokens, b->y_turned);
}

/* p_hat = p through the codebook of the head. */
static vq_status quantize_probabilities(const attention *a, head_buffers *b, int head)
{
    const size_t count = (size_t)a->tokens * (size_t)a->tokens * (size_t)a->c->samples;
    const vq_groups g = {count, count, 1};
    const vq_quantizer *const p = a->p;
    const int group = p->groups == 1 ? 0 : head;
    vq_buf *thresholds = NULL, *values = NULL;
    float decoded[257];
    vq_status status = VQ_OK;
    for (int i = 0; i < p->levels; i++) decoded[i] = (float)p->values[group * p->levels + i] * p->scale[group];
    VQ_GO(vq_buf_create_from(&thresholds, a->c->dev, p->thresholds + group * (p->levels - 1),
                             (size_t)(p->levels - 1) * sizeof(float)));
    VQ_GO(vq_buf_create_from(&values, a->c->dev, decoded, (size_t)p->levels * sizeof(float)));
    VQ_GO(vq_fakequant_codebook_run(a->c->dev, &g, b->p, thresholds, values, p->levels, b->p_hat));
    VQ_GO(vq_device_finish(a->c->dev));
done:
    vq_buf_destroy(&thresholds);
    vq_buf_destroy(&values);
    return status;
}

static vq_codebook_task softmax_task(const attention *a)
{
    const vq_part *const part = &a->c->recipe->softmax;
    return (vq_codebook_task){.family = part->quantizer,
                              .search = part->search,
                              .bits = a->c->bits[a->context].input,
                              .extra_level = a->c->params.official_levels,
                              .probability = true};
}

/* One head's codebook becomes group `head` of q. */
static vq_status set_group(vq_quantizer *q, const vq_quantizer *one, int group, int groups)
{
    const size_t levels = (size_t)one->levels, steps = levels - 1;
    if (group == 0) {
        vq_quantizer_clear(q);
        *q = *one;
        q->scale = q->zero = q->thresholds = NULL;
        q->values = NULL;
        q->granularity = groups == 1 ? VQ_PER_TENSOR : VQ_PER_HEAD;
        q->groups = groups;
        VQ_TRY(vq_alloc(&q->scale, (size_t)groups, sizeof *q->scale, "codebook"));
        VQ_TRY(vq_alloc(&q->zero, (size_t)groups, sizeof *q->zero, "codebook"));
        VQ_TRY(vq_alloc(&q->thresholds, (size_t)groups * steps, sizeof *q->thresholds, "codebook"));
        VQ_TRY(vq_alloc(&q->values, (size_t)groups * levels, sizeof *q->values, "codebook"));
    }
    q->scale[group] = one->scale[0];
    q->zero[group] = one->zero[0];
    memcpy(q->thresholds + (size_t)group * steps, one->thresholds, steps * sizeof *one->thresholds);
    memcpy(q->values + (size_t)group * levels, one->values, levels * sizeof *one->values);
    return VQ_OK;
}

/* One codebook by the error of probabilities f32 [rows][tokens]. RepQ-ViT's three ranges are searched on all of them.
 */
static vq_status search_probabilities(const attention *a, const vq_buf *p, int rows, vq_quantizer *out)
{
    const vq_codebook_task task = softmax_task(a);
    vq_buf *sample = NULL;
    vq_status status = VQ_OK;
    if (task.search == VQ_SEARCH_FULL || task.search == VQ_SEARCH_FPCS)
        VQ_GO(vq_sample_rows(&sample, &rows, a->c->dev, p, rows, a->tokens, 1 << task.bits));
    const size_t count = (size_t)rows * (size_t)a->tokens;
    const vq_groups g = {count, count, 1};
    const vq_score score = vq_score_of_tensor(a->c->dev, &g, sample ? sample : p);
    VQ_GO(vq_search_codebook(&score, &task, out));
done:
    vq_buf_destroy(&sample);
    return status;
}

/* Softmax by its own error, all heads together or one by one. */
static vq_status search_softmax_by_tensor(attention *a)
{
    const vq_buf *const p = a->c->run->values[a->c->source->nodes[a->context].in[0]];
    const int heads = a->c->recipe->softmax.per == VQ_PER_HEAD ? a->heads : 1;
    const int rows = a->tokens * a->c->samples * (heads == 1 ? a->heads : 1);
    vq_buf *copy = NULL;
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    if (heads > 1) VQ_GO(create_f32(&copy, a, (size_t)a->tokens * (size_t)a->tokens));
    for (int h = 0; h < heads; h++) {
        if (copy) VQ_GO(copy_probabilities(a, h, copy));
        VQ_GO(search_probabilities(a, copy ? copy : p, rows, &one));
        VQ_GO(set_group(a->p, &one, h, heads));
        vq_quantizer_clear(&one);
    }
done:
    vq_quantizer_clear(&one);
    vq_buf_destroy(&copy);
    return status;
}

/* Errors of the same candidates over several heads, added up. */
typedef struct head_scores {
    vq_score *of; /* [heads] */
    int heads;
} head_scores;

static vq_status sum_of_heads(const vq_score *s, const vq_quantizer *candidates, int num, double *error)
{
    const head_scores *const all = s->layer;
    double *one = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&one, (size_t)num, sizeof *one, "errors"));
    for (int i = 0; i < num; i++) error[i] = 0;
    for (int h = 0; h < all->heads; h++) {
        VQ_GO(all->of[h].codebook(&all->of[h], candidates, num, one));
        for (int i = 0; i < num; i++) error[i] += one[i];
    }
done:
    free(one);
    return status;
}

static vq_status softmax_layer(vq_output_layer *o, const attention *a, const head_buffers *b)
{
    const int t = a->tokens, d = a->head_dim;
    const vq_matrix v = dense(b->v_hat, d, t);
    *o = (vq_output_layer){.batch = a->c->samples,
                           .m = t,
                           .row_step = vq_row_step(a->c, a->c->samples * t),
                           .x = dense(b->p, t, t),
                           .y = dense(b->y, t, d)};
    return vq_output_layer_floats(o, a->c->dev, &v, d, t);
}

static vq_status search_softmax_by_output(attention *a, head_buffers *buffers)
{
    const bool apart = a->c->recipe->softmax.per == VQ_PER_HEAD;
    const vq_codebook_task task = softmax_task(a);
    const size_t square = (size_t)a->tokens * (size_t)a->tokens * (size_t)a->c->samples;
    const size_t count = square * (size_t)(apart ? 1 : a->heads);
    vq_output_layer *layers = NULL;
    head_scores all = {.heads = a->heads};
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&layers, (size_t)a->heads, sizeof *layers, "heads"));
    VQ_GO(vq_alloc(&all.of, (size_t)a->heads, sizeof *all.of, "heads"));
    for (int h = 0; h < a->heads; h++) {
        const vq_groups g = {square, square, 1};
        VQ_GO(softmax_layer(&layers[h], a, &buffers[h]));
        all.of[h] = vq_score_of_output(a->c->dev, &g, buffers[h].p, &layers[h]);
    }
    for (int h = 0; h < (apart ? a->heads : 1); h++) {
        const vq_groups g = {count, count, 1};
        vq_score score = all.of[h];
        if (!apart) {
            score = vq_score_of_tensor(a->c->dev, &g, a->c->run->values[a->c->source->nodes[a->context].in[0]]);
            score.codebook = sum_of_heads;
            score.layer = &all;
        }
        VQ_GO(vq_search_codebook(&score, &task, &one));
        VQ_GO(set_group(a->p, &one, h, apart ? a->heads : 1));
        vq_quantizer_clear(&one);
    }
done:
    vq_quantizer_clear(&one);
    for (int h = 0; layers && h < a->heads; h++) vq_output_layer_end(&layers[h]);
    free(layers);
    free(all.of);
    return status;
}

/* V by the error of P V: the rows of V' are what is quantized, those of the quantized P the weights. */
static vq_status search_value_by_output(attention *a, head_buffers *buffers)
{
    const vq_part *const part = &a->c->recipe->value;
    const int t = a->tokens, d = a->head_dim;
    for (int h = 0; h < a->heads; h++) {
        head_buffers *const b = &buffers[h];
        VQ_TRY(quantize_probabilities(a, b, h));
        const vq_matrix p = dense(b->p_hat, t, t);
        vq_output_layer o = {
            .batch = a->c->samples, .m = d, .row_step = 1, .x = dense(b->v, d, t), .y = dense(b->y_turned, d, t)};
        vq_status status = vq_output_layer_floats(&o, a->c->dev, &p, t, t);
        if (status == VQ_OK)
            status = search_group(a, &o, b->v, (size_t)t * (size_t)d * (size_t)a->c->samples, part->search, a->v, h);
        vq_output_layer_end(&o);
        VQ_TRY(status);
    }
    return VQ_OK;
}

/* Both quantizers of P V by its error, in turn. */
static vq_status search_context_by_output(attention *a, const vq_buf *qkv)
{
    const vq_recipe *const r = a->c->recipe;
    const bool softmax = vq_part_by_output(&r->softmax), value = vq_part_by_output(&r->value);
    head_buffers *buffers = NULL;
    vq_buf *qkv_hat = NULL;
    int begun = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&buffers, (size_t)a->heads, sizeof *buffers, "heads"));
    VQ_GO(create_f32(&qkv_hat, a, (size_t)(3 * a->width) * (size_t)a->tokens));
    for (; begun < a->heads; begun++) VQ_GO(head_begin(&buffers[begun], a));
    if (!softmax) VQ_GO(search_softmax_by_tensor(a));
    for (int round = 0; round < (value ? r->rounds : 1); round++) {
        VQ_GO(vq_float_run_set_qkv(a->c->run, a->scores, a->q, a->k, a->v));
        VQ_GO(vq_float_run_fakequant(a->c->run, a->scores, qkv, a->count, qkv_hat));
        for (int h = 0; h < a->heads; h++) VQ_GO(load_head(a, &buffers[h], h, qkv, qkv_hat));
        if (softmax) VQ_GO(search_softmax_by_output(a, buffers));
        if (value) VQ_GO(search_value_by_output(a, buffers));
    }
done:
    for (int h = 0; h < begun; h++) head_end(&buffers[h]);
    free(buffers);
    vq_buf_destroy(&qkv_hat);
    return status;
}

/* V with the quantizer it has got now: qkv as it was before, and the scores once more. */
static vq_status requantize_value(attention *a)
{
    vq_calibration *const c = a->c;
    VQ_TRY(vq_buf_copy(c->dev, c->run->values[a->qkv], 0, c->qkv, 0, a->count * sizeof(float)));
    VQ_TRY(vq_float_run_set_qkv(c->run, a->scores, a->q, a->k, a->v));
    VQ_TRY(vq_float_run_node(c->run, a->scores, c->samples));
    VQ_TRY(vq_device_finish(c->dev));
    vq_buf_destroy(&c->qkv);
    return VQ_OK;
}

vq_status vq_calibrate_context(vq_calibration *c, int node)
{
    const vq_recipe *const r = c->recipe;
    attention a;
    VQ_TRY(attention_begin(&a, c, scores_of(c->source, node), node));
    if (vq_part_by_output(&r->softmax) || vq_part_by_output(&r->value))
        VQ_TRY(search_context_by_output(&a, c->qkv ? c->qkv : c->run->values[a.qkv]));
    else
        VQ_TRY(search_softmax_by_tensor(&a));
    if (r->flow == VQ_FLOW_PARALLEL) return vq_float_run_set_quantizer(c->run, a.scores, NULL);
    if (c->qkv) VQ_TRY(requantize_value(&a));
    VQ_TRY(vq_float_run_set_quantizer(c->run, node, a.p));
    return vq_float_run_node(c->run, node, c->samples);
}
