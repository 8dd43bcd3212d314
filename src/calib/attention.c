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
    int at_once;                        /* of them memory has room for */
    int items;                          /* attentions side by side: images, or windows of all images */
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
    const int windows = vq_windows_count(&n->windows);
    *a = (attention){.c = c,
                     .scores = scores,
                     .context = context,
                     .qkv = n->in[0],
                     .heads = n->heads,
                     .head_dim = n->head_dim,
                     .width = n->heads * n->head_dim,
                     .tokens = g->values[n->in[0]].rows / windows,
                     .at_once = c->photos.at_once * windows,
                     .items = c->samples * windows};
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
    vq_rows x = vq_walk_value(a->c->walk, a->qkv);
    const vq_score score = vq_score_of_tensor(a->c->dev, &g, &x);
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
    vq_rows_close(&x);
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

/* out [m][n] of every image = X [m][k] W', W [n][k]; a stride of 0 repeats a matrix. out is dense, from image `at` on.
 */
static vq_status product_at(const attention *a, int images, const vq_matrix *x, const vq_matrix *w, int m, int n, int k,
                            const vq_buf *out, int at)
{
    const vq_gemm_f32_shape shape = {.m = m,
                                     .n = n,
                                     .k = k,
                                     .lda = x->ld,
                                     .ldb = w->ld,
                                     .ldc = n,
                                     .trans_b = true,
                                     .outer = images,
                                     .inner = 1,
                                     .a_offset = x->offset,
                                     .b_offset = w->offset,
                                     .a_outer = x->stride,
                                     .b_outer = w->stride,
                                     .c_offset = (size_t)at * (size_t)m * (size_t)n,
                                     .c_outer = (size_t)m * (size_t)n};
    return vq_gemm_f32_run(a->c->dev, &shape, x->buf, w->buf, NULL, out);
}

static vq_status product(const attention *a, int images, const vq_matrix *x, const vq_matrix *w, int m, int n, int k,
                         const vq_buf *out)
{
    return product_at(a, images, x, w, m, n, k, out, 0);
}

/* The transpose [cols][rows] of every image's matrix [rows][cols], as a product with the identity: exact. */
static vq_status transpose_at(const attention *a, int images, const vq_matrix *x, int rows, int cols, const vq_buf *out,
                              int at)
{
    float *one = NULL;
    vq_buf *identity = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&one, (size_t)cols * (size_t)cols, sizeof *one, "identity"));
    for (int i = 0; i < cols; i++) one[i * cols + i] = 1;
    VQ_GO(vq_buf_create_from(&identity, a->c->dev, one, (size_t)cols * (size_t)cols * sizeof *one));
    VQ_GO(product_at(a, images, &(vq_matrix){.buf = identity, .ld = cols}, x, cols, rows, cols, out, at));
    VQ_GO(vq_device_finish(a->c->dev));
done:
    free(one);
    vq_buf_destroy(&identity);
    return status;
}

static vq_status transpose(const attention *a, int images, const vq_matrix *x, int rows, int cols, const vq_buf *out)
{
    return transpose_at(a, images, x, rows, cols, out, 0);
}

static vq_matrix dense(const vq_buf *buf, int rows, int cols)
{
    return (vq_matrix){.buf = buf, .stride = (size_t)rows * (size_t)cols, .ld = cols};
}

/* Memory for as many images as are taken at once. */
static vq_status create_f32(vq_buf **out, const attention *a, size_t per_image)
{
    return vq_buf_create(out, a->c->dev, per_image * (size_t)a->at_once * sizeof(float));
}

/* Order statistics of one head of Q (part 0), K (1) or V (2) are those of a group of qkv. */
static vq_groups heads_of_qkv(const attention *a)
{
    return (vq_groups){a->count, (size_t)a->head_dim, 3 * a->heads};
}

/* Searches one group of q, a head of the given part of qkv, by the output of its product. */
static vq_status search_head(const attention *a, vq_output_layer *o, vq_rows *qkv, int part, vq_search how,
                             vq_quantizer *q, int head)
{
    const vq_groups all = heads_of_qkv(a);
    vq_rows stats = *qkv; /* o loads its own parts */
    stats.here = NULL;
    const vq_score score = vq_score_of_output(a->c->dev, &all, part * a->heads + head, &stats, o);
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_quantizer_uniform(&one, VQ_PER_TENSOR, 1, q->bits));
    VQ_GO(vq_search_uniform(&score, how, false, &one));
    q->scale[head] = one.scale[0];
    q->zero[head] = one.zero[0];
done:
    vq_rows_close(&stats);
    vq_quantizer_clear(&one);
    return status;
}

/* A copy of a head of qkv, dense [images][tokens][head_dim], through the transpose of its transpose. */
static vq_status copy_head(const attention *a, int images, const vq_matrix *x, const vq_buf *turned, const vq_buf *out)
{
    VQ_TRY(transpose(a, images, x, a->tokens, a->head_dim, turned));
    const vq_matrix t = dense(turned, a->head_dim, a->tokens);
    return transpose(a, images, &t, a->head_dim, a->tokens, out);
}

/* Images first .. first + count of qkv as they are and, unless NULL, fake-quantized with what was set in the run. */
static vq_status load_qkv(const attention *a, vq_rows *qkv, int first, int count, const vq_buf **plain,
                          const vq_buf *quantized)
{
    const size_t each = a->count / (size_t)a->items, n = (size_t)count * each;
    VQ_TRY(vq_rows_load(plain, qkv, (size_t)first * each, n));
    if (!quantized) return VQ_OK;
    VQ_TRY(vq_float_run_fakequant(a->c->run, a->scores, *plain, n, quantized));
    return vq_device_finish(a->c->dev);
}

/* One head of Q or K on its way through the search. */
typedef struct qk_search {
    const attention *a;
    vq_rows *qkv;
    int part, head;
    vq_buf *quantized, *wanted, *turned, *copy;
} qk_search;

static vq_status load_qk(vq_output_layer *o, int first, int count)
{
    const qk_search *const s = o->user;
    const attention *const a = s->a;
    const int t = a->tokens, d = a->head_dim;
    const vq_buf *qkv = NULL;
    VQ_TRY(load_qkv(a, s->qkv, first, count, &qkv, s->quantized));
    const vq_matrix x = head_of(a, qkv, s->part, s->head), other = head_of(a, s->quantized, 1 - s->part, s->head);
    const vq_matrix float_other = head_of(a, qkv, 1 - s->part, s->head);
    VQ_TRY(product(a, count, &x, &float_other, t, t, d, s->wanted));
    VQ_TRY(copy_head(a, count, &x, s->turned, s->copy));
    o->x = dense(s->copy, t, d);
    o->y = dense(s->wanted, t, t);
    return vq_output_layer_floats(o, a->c->dev, &other, count, t, d);
}

/* Q (part 0) or K (part 1) by the error of Q K', head after head, the other one quantized. */
static vq_status search_qk_part(const attention *a, int part, vq_rows *qkv)
{
    const vq_part *const how = &a->c->recipe->qk;
    vq_quantizer *const q = part == 0 ? a->q : a->k;
    const size_t t = (size_t)a->tokens, head = t * (size_t)a->head_dim;
    qk_search s = {.a = a, .qkv = qkv, .part = part};
    vq_output_layer o = {0};
    vq_status status = VQ_OK;
    VQ_GO(create_f32(&s.quantized, a, (size_t)(3 * a->width) * t));
    VQ_GO(create_f32(&s.wanted, a, t * t));
    VQ_GO(create_f32(&s.turned, a, head));
    VQ_GO(create_f32(&s.copy, a, head));
    VQ_GO(vq_float_run_set_qkv(a->c->run, a->scores, a->q, a->k, a->v));
    for (int h = 0; h < a->heads; h++) {
        s.head = h;
        o = (vq_output_layer){.batch = a->items,
                              .m = a->tokens,
                              .row_step = vq_row_step(a->c, a->items * a->tokens),
                              .cosine = how->objective == VQ_OBJECTIVE_COSINE,
                              .at_once = a->at_once,
                              .load = load_qk,
                              .user = &s};
        VQ_GO(search_head(a, &o, qkv, part, how->search, q, h));
        vq_output_layer_end(&o);
    }
done:
    vq_output_layer_end(&o);
    vq_buf_destroy(&s.quantized);
    vq_buf_destroy(&s.wanted);
    vq_buf_destroy(&s.turned);
    vq_buf_destroy(&s.copy);
    return status;
}

static vq_status search_qk_by_output(const attention *a)
{
    vq_rows qkv = vq_walk_value(a->c->walk, a->qkv);
    vq_status status = VQ_OK;
    for (int round = 0; round < a->c->recipe->rounds; round++)
        for (int part = 0; part < 2; part++) VQ_GO(search_qk_part(a, part, &qkv));
done:
    vq_rows_close(&qkv);
    return status;
}

/* Elements of one value of all images to another place. */
static vq_status copy_rows(const attention *a, vq_rows *to, vq_rows *from, size_t per_image)
{
    for (int first = 0; first < a->items; first += a->at_once) {
        const size_t at = (size_t)first * per_image, n = (size_t)VQ_MIN(a->at_once, a->items - first) * per_image;
        const vq_buf *part = NULL;
        VQ_TRY(vq_rows_load(&part, from, at, n));
        VQ_TRY(vq_rows_write(to, at, n, part, 0));
    }
    vq_rows_close(from);
    return VQ_OK;
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
    if (vq_part_by_output(&r->qk)) VQ_TRY(search_qk_by_output(&a));
    if (r->flow == VQ_FLOW_PARALLEL) return vq_float_run_set_quantizer(c->run, node, NULL);
    if (vq_part_by_output(&r->value)) { /* V is searched behind the softmax, from what it is now */
        vq_rows now = vq_walk_value(c->walk, a.qkv);
        VQ_TRY(vq_temp_create(&c->qkv, c->walk, a.count));
        c->has_qkv = true;
        VQ_TRY(copy_rows(&a, &c->qkv.rows, &now, a.count / (size_t)a.items));
    }
    VQ_TRY(vq_float_run_set_qkv(c->run, node, a.q, a.k, a.v));
    return vq_walk_node(c->walk, node);
}

/* ---- probabilities and V -------------------------------------------------------------------------------------------
 */

/* Probabilities of one head of some images, side by side. */
static vq_status copy_probabilities(const attention *a, int head, int first, int count, const vq_buf *out)
{
    const size_t square = (size_t)a->tokens * (size_t)a->tokens;
    const vq_rows p = vq_walk_value(a->c->walk, a->c->source->nodes[a->context].in[0]);
    const size_t heads = (size_t)a->heads;
    const vq_runs runs = {((size_t)first * heads + (size_t)head) * square, heads * square, square, (size_t)count};
    return vq_rows_read_runs(&p, &runs, out, 0);
}

/* One head's probabilities on their way through the search by output: only the rows that count, and those of the
 * product; V, quantized, is in the layer. Small, so that there are more images at once than elsewhere. */
typedef struct softmax_search {
    const attention *a;
    vq_rows *qkv;
    vq_buf *qkv_hat; /* of at_once images, shared by the heads */
    int head, rows, row_step;
    vq_buf *p, *y; /* [rows][tokens], [rows][head_dim] */
    vq_output_layer layer;
} softmax_search;

static vq_status load_softmax(vq_output_layer *o, int first, int count)
{
    const softmax_search *const s = o->user;
    const attention *const a = s->a;
    const size_t t = (size_t)a->tokens, rows = (size_t)s->rows;
    const vq_rows all = vq_walk_value(a->c->walk, a->c->source->nodes[a->context].in[0]);
    vq_buf *v = NULL, *v_hat = NULL;
    vq_status status = VQ_OK;
    VQ_GO(create_f32(&v, a, t * (size_t)a->head_dim));
    VQ_GO(vq_buf_create(&v_hat, a->c->dev, (size_t)count * t * (size_t)a->head_dim * sizeof(float)));
    for (int i = 0, n; i < count; i += n) {
        const vq_buf *qkv = NULL;
        n = VQ_MIN(a->at_once, count - i);
        VQ_GO(load_qkv(a, s->qkv, first + i, n, &qkv, s->qkv_hat));
        const vq_matrix plain = head_of(a, qkv, 2, s->head), quantized = head_of(a, s->qkv_hat, 2, s->head);
        for (size_t image = (size_t)i; image < (size_t)(i + n); image++) {
            const size_t from = (((size_t)first + image) * (size_t)a->heads + (size_t)s->head) * t * t;
            const vq_runs runs = {from, (size_t)s->row_step * t, t, rows};
            VQ_GO(vq_rows_read_runs(&all, &runs, s->p, image * rows * t));
        }
        VQ_GO(transpose(a, n, &plain, a->tokens, a->head_dim, v));
        VQ_GO(transpose_at(a, n, &quantized, a->tokens, a->head_dim, v_hat, i));
        vq_matrix p = dense(s->p, s->rows, a->tokens);
        const vq_matrix v_turned = dense(v, a->head_dim, a->tokens);
        p.offset = (size_t)i * p.stride;
        VQ_GO(product_at(a, n, &p, &v_turned, s->rows, a->head_dim, a->tokens, s->y, i));
    }
    o->x = dense(s->p, s->rows, a->tokens);
    o->y = dense(s->y, s->rows, a->head_dim);
    const vq_matrix w = dense(v_hat, a->head_dim, a->tokens);
    VQ_GO(vq_output_layer_floats(o, a->c->dev, &w, count, a->head_dim, a->tokens));
done:
    vq_buf_destroy(&v);
    vq_buf_destroy(&v_hat);
    return status;
}

static void softmax_end(softmax_search *s)
{
    vq_output_layer_end(&s->layer);
    vq_buf_destroy(&s->p);
    vq_buf_destroy(&s->y);
}

static vq_status softmax_begin(softmax_search *s, const attention *a, vq_rows *qkv, vq_buf *qkv_hat, int head)
{
    const size_t t = (size_t)a->tokens, d = (size_t)a->head_dim, size = sizeof(float);
    *s = (softmax_search){.a = a, .qkv = qkv, .qkv_hat = qkv_hat, .head = head};
    s->row_step = VQ_MIN(vq_row_step(a->c, a->items * a->tokens), a->tokens);
    s->rows = VQ_CEIL_DIV(a->tokens, s->row_step);
    const size_t image = (size_t)a->heads * ((size_t)s->rows * (t + d) + 2 * t * (d + 48)),
                 most = VQ_MAX(3 * a->c->photos.part / image, 1);
    s->layer = (vq_output_layer){.batch = a->items,
                                 .m = s->rows,
                                 .row_step = 1,
                                 .cosine = a->c->recipe->softmax.objective == VQ_OBJECTIVE_COSINE,
                                 .at_once = qkv->whole ? a->items : (int)VQ_MIN(most, (size_t)a->items),
                                 .load = load_softmax,
                                 .user = s};
    VQ_TRY(vq_buf_create(&s->p, a->c->dev, (size_t)s->layer.at_once * (size_t)s->rows * t * size));
    return vq_buf_create(&s->y, a->c->dev, (size_t)s->layer.at_once * (size_t)s->rows * d * size);
}

/* One head of V on its way through the search by output. */
typedef struct value_search {
    const attention *a;
    vq_rows *qkv;
    int head;
    vq_buf *p, *p_hat;    /* [tokens][tokens] */
    vq_buf *v, *y_turned; /* [head_dim][tokens]: V', and what it should give */
} value_search;

/* p_hat = p through the codebook of the head. */
static vq_status quantize_probabilities(const value_search *s, int images)
{
    const attention *const a = s->a;
    const size_t count = (size_t)a->tokens * (size_t)a->tokens * (size_t)images;
    const vq_groups g = {count, count, 1};
    const vq_quantizer *const p = a->p;
    const int group = p->groups == 1 ? 0 : s->head;
    vq_buf *thresholds = NULL, *values = NULL;
    float decoded[257];
    vq_status status = VQ_OK;
    for (int i = 0; i < p->levels; i++) decoded[i] = (float)p->values[group * p->levels + i] * p->scale[group];
    VQ_GO(vq_buf_create_from(&thresholds, a->c->dev, p->thresholds + group * (p->levels - 1),
                             (size_t)(p->levels - 1) * sizeof(float)));
    VQ_GO(vq_buf_create_from(&values, a->c->dev, decoded, (size_t)p->levels * sizeof(float)));
    VQ_GO(vq_fakequant_codebook_run(a->c->dev, &g, s->p, thresholds, values, p->levels, s->p_hat));
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
static vq_status search_probabilities(const attention *a, vq_rows *p, int rows, vq_quantizer *out)
{
    const vq_codebook_task task = softmax_task(a);
    vq_buf *sample = NULL;
    vq_status status = VQ_OK;
    if (task.search == VQ_SEARCH_FULL || task.search == VQ_SEARCH_FPCS)
        VQ_GO(vq_sample_rows(&sample, &rows, a->c->dev, p, rows, a->tokens, 1 << task.bits));
    const size_t count = (size_t)rows * (size_t)a->tokens;
    const vq_groups g = {count, count, 1};
    vq_rows sampled = vq_rows_of(a->c->dev, sample);
    const vq_score score = vq_score_of_tensor(a->c->dev, &g, sample ? &sampled : p);
    VQ_GO(vq_search_codebook(&score, &task, out));
done:
    vq_buf_destroy(&sample);
    return status;
}

/* One head's probabilities of all images, side by side in to. */
static vq_status gather_probabilities(const attention *a, int head, vq_rows *to)
{
    const size_t square = (size_t)a->tokens * (size_t)a->tokens;
    for (int first = 0; first < a->items; first += a->at_once) {
        const int count = VQ_MIN(a->at_once, a->items - first);
        const size_t at = (size_t)first * square, n = (size_t)count * square;
        const vq_buf *part = NULL;
        VQ_TRY(vq_rows_open(&part, to, at, n));
        VQ_TRY(copy_probabilities(a, head, first, count, part));
        VQ_TRY(vq_rows_keep(to, at, n));
    }
    return VQ_OK;
}

/* Softmax by its own error, all heads together or one by one. */
static vq_status search_softmax_by_tensor(attention *a)
{
    const int heads = a->c->recipe->softmax.per == VQ_PER_HEAD ? a->heads : 1;
    const int rows = a->tokens * a->items * (heads == 1 ? a->heads : 1);
    vq_rows p = vq_walk_value(a->c->walk, a->c->source->nodes[a->context].in[0]);
    vq_temp copy = {0};
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    if (heads > 1) VQ_GO(vq_temp_create(&copy, a->c->walk, (size_t)rows * (size_t)a->tokens));
    for (int h = 0; h < heads; h++) {
        if (heads > 1) VQ_GO(gather_probabilities(a, h, &copy.rows));
        VQ_GO(search_probabilities(a, heads > 1 ? &copy.rows : &p, rows, &one));
        VQ_GO(set_group(a->p, &one, h, heads));
        vq_quantizer_clear(&one);
    }
done:
    vq_quantizer_clear(&one);
    vq_temp_destroy(&copy);
    vq_rows_close(&p);
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

static vq_status search_softmax_by_output(attention *a, vq_rows *qkv, vq_buf *qkv_hat)
{
    const bool apart = a->c->recipe->softmax.per == VQ_PER_HEAD;
    const vq_codebook_task task = softmax_task(a);
    const size_t square = (size_t)a->tokens * (size_t)a->tokens, count = square * (size_t)a->items;
    const vq_groups by_head = {count * (size_t)a->heads, square, a->heads};
    vq_rows p = vq_walk_value(a->c->walk, a->c->source->nodes[a->context].in[0]);
    softmax_search *searches = NULL;
    head_scores all = {.heads = a->heads};
    vq_quantizer one = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&searches, (size_t)a->heads, sizeof *searches, "heads"));
    VQ_GO(vq_alloc(&all.of, (size_t)a->heads, sizeof *all.of, "heads"));
    for (int h = 0; h < a->heads; h++) {
        VQ_GO(softmax_begin(&searches[h], a, qkv, qkv_hat, h));
        all.of[h] = vq_score_of_output(a->c->dev, &by_head, h, &p, &searches[h].layer);
    }
    for (int h = 0; h < (apart ? a->heads : 1); h++) {
        const vq_groups g = {by_head.count, by_head.count, 1};
        vq_score score = all.of[h];
        if (!apart) {
            score = vq_score_of_tensor(a->c->dev, &g, &p);
            score.codebook = sum_of_heads;
            score.cosine = all.of[h].cosine;
            score.layer = &all;
        }
        VQ_GO(vq_search_codebook(&score, &task, &one));
        VQ_GO(set_group(a->p, &one, h, apart ? a->heads : 1));
        vq_quantizer_clear(&one);
    }
done:
    vq_quantizer_clear(&one);
    for (int h = 0; searches && h < a->heads; h++) softmax_end(&searches[h]);
    free(searches);
    vq_rows_close(&p);
    free(all.of);
    return status;
}

static vq_status load_value(vq_output_layer *o, int first, int count)
{
    const value_search *const s = o->user;
    const attention *const a = s->a;
    const int t = a->tokens, d = a->head_dim;
    const vq_buf *qkv = NULL;
    VQ_TRY(load_qkv(a, s->qkv, first, count, &qkv, NULL));
    const vq_matrix v = head_of(a, qkv, 2, s->head), p = dense(s->p, t, t), v_turned = dense(s->v, d, t);
    const vq_matrix p_hat = dense(s->p_hat, t, t);
    VQ_TRY(copy_probabilities(a, s->head, first, count, s->p));
    VQ_TRY(transpose(a, count, &v, t, d, s->v));
    VQ_TRY(product(a, count, &v_turned, &p, d, t, t, s->y_turned));
    VQ_TRY(quantize_probabilities(s, count));
    o->x = v_turned;
    o->y = dense(s->y_turned, d, t);
    return vq_output_layer_floats(o, a->c->dev, &p_hat, count, t, t);
}

/* V by the error of P V: the rows of V' are what is quantized, those of the quantized P the weights. */
static vq_status search_value_by_output(attention *a, vq_rows *qkv)
{
    const vq_part *const part = &a->c->recipe->value;
    const size_t t = (size_t)a->tokens, d = (size_t)a->head_dim;
    value_search s = {.a = a, .qkv = qkv};
    vq_output_layer o = {0};
    vq_status status = VQ_OK;
    VQ_GO(create_f32(&s.p, a, t * t));
    VQ_GO(create_f32(&s.p_hat, a, t * t));
    VQ_GO(create_f32(&s.v, a, t * d));
    VQ_GO(create_f32(&s.y_turned, a, t * d));
    for (s.head = 0; s.head < a->heads; s.head++) {
        o = (vq_output_layer){.batch = a->items,
                              .m = a->head_dim,
                              .row_step = 1,
                              .cosine = part->objective == VQ_OBJECTIVE_COSINE,
                              .at_once = a->at_once,
                              .load = load_value,
                              .user = &s};
        VQ_GO(search_head(a, &o, qkv, 2, part->search, a->v, s.head));
        vq_output_layer_end(&o);
    }
done:
    vq_output_layer_end(&o);
    vq_buf_destroy(&s.p);
    vq_buf_destroy(&s.p_hat);
    vq_buf_destroy(&s.v);
    vq_buf_destroy(&s.y_turned);
    return status;
}

/* Both quantizers of P V by its error, in turn. */
static vq_status search_context_by_output(attention *a, vq_rows *qkv)
{
    const vq_recipe *const r = a->c->recipe;
    const bool softmax = vq_part_by_output(&r->softmax), value = vq_part_by_output(&r->value);
    vq_buf *qkv_hat = NULL;
    vq_status status = VQ_OK;
    VQ_GO(create_f32(&qkv_hat, a, (size_t)(3 * a->width) * (size_t)a->tokens));
    if (!softmax) VQ_GO(search_softmax_by_tensor(a));
    for (int round = 0; round < (value ? r->rounds : 1); round++) {
        VQ_GO(vq_float_run_set_qkv(a->c->run, a->scores, a->q, a->k, a->v));
        if (softmax) VQ_GO(search_softmax_by_output(a, qkv, qkv_hat));
        if (value) VQ_GO(search_value_by_output(a, qkv));
    }
done:
    vq_buf_destroy(&qkv_hat);
    return status;
}

/* V with the quantizer it has got now: qkv as it was before, and the scores once more. */
static vq_status requantize_value(attention *a)
{
    vq_calibration *const c = a->c;
    vq_rows now = vq_walk_value(c->walk, a->qkv);
    VQ_TRY(copy_rows(a, &now, &c->qkv.rows, a->count / (size_t)a->items));
    VQ_TRY(vq_float_run_set_qkv(c->run, a->scores, a->q, a->k, a->v));
    VQ_TRY(vq_walk_node(c->walk, a->scores));
    VQ_TRY(vq_device_finish(c->dev));
    vq_temp_destroy(&c->qkv);
    c->has_qkv = false;
    return VQ_OK;
}

vq_status vq_calibrate_context(vq_calibration *c, int node)
{
    const vq_recipe *const r = c->recipe;
    attention a;
    VQ_TRY(attention_begin(&a, c, scores_of(c->source, node), node));
    if (vq_part_by_output(&r->softmax) || vq_part_by_output(&r->value)) {
        vq_rows now = vq_walk_value(c->walk, a.qkv);
        const vq_status status = search_context_by_output(&a, c->has_qkv ? &c->qkv.rows : &now);
        vq_rows_close(&now);
        VQ_TRY(status);
    } else {
        VQ_TRY(search_softmax_by_tensor(&a));
    }
    if (r->flow == VQ_FLOW_PARALLEL) return vq_float_run_set_quantizer(c->run, a.scores, NULL);
    if (c->has_qkv) VQ_TRY(requantize_value(&a));
    VQ_TRY(vq_float_run_set_quantizer(c->run, node, a.p));
    return vq_walk_node(c->walk, node);
}
