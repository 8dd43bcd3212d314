#include "calib/transform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/search.h"

/* An attention whose V can be rewritten: the linear that alone makes it and the one that alone reads its output, and
 * what stands for V in padding, -1 where there is none. */
typedef struct value_path {
    const vq_node *context, *before, *behind;
    int pad; /* parameter [3 * width] */
} value_path;

/* The value in front of a ROWS node that makes this one, or this one. */
static int in_front_of_rows(const vq_graph *g, int value, int *pad)
{
    const int i = vq_graph_producer(g, value);
    *pad = -1;
    if (i < 0 || g->nodes[i].op != VQ_NODE_ROWS) return value;
    *pad = g->nodes[i].weight;
    return g->nodes[i].in[0];
}

static int behind_rows(const vq_graph *g, int value)
{
    for (int i = 0; i < g->num_nodes; i++)
        if (g->nodes[i].op == VQ_NODE_ROWS && g->nodes[i].in[0] == value) return g->nodes[i].out;
    return value;
}

static const vq_node *sole_linear_reader(const vq_graph *g, int value)
{
    const vq_node *reader = NULL;
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_node *const n = &g->nodes[i];
        if (n->in[0] != value && n->in[1] != value) continue;
        if (reader || n->op != VQ_NODE_LINEAR) return NULL;
        reader = n;
    }
    return reader;
}

static bool find_path(value_path *p, const vq_graph *g, int context)
{
    const vq_node *const n = &g->nodes[context];
    if (n->op != VQ_NODE_CONTEXT) return false;
    int pad;
    const int before = vq_graph_producer(g, in_front_of_rows(g, n->in[1], &pad));
    *p = (value_path){n, before < 0 ? NULL : &g->nodes[before], sole_linear_reader(g, behind_rows(g, n->out)), pad};
    return p->before && p->before->op == VQ_NODE_LINEAR && p->behind;
}

/* A Hadamard matrix where n is a power of two, else the discrete cosine transform: orthogonal both, and every entry of
 * the same order. */
static void fill_rotation(double *r, int n)
{
    const bool power = (n & (n - 1)) == 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            if (power) {
                int bits = i & j, sign = 1;
                for (; bits; bits &= bits - 1) sign = -sign;
                r[i * n + j] = sign / sqrt(n);
            } else {
                r[i * n + j] = sqrt((i ? 2.0 : 1.0) / n) * cos(3.14159265358979323846 / n * (j + 0.5) * i);
            }
        }
}

/* rows of x [n][cols] (stride ld) become R times them. */
static void rotate_rows(float *x, const double *r, int n, int cols, int ld, double *spare)
{
    for (int c = 0; c < cols; c++) {
        for (int i = 0; i < n; i++) {
            spare[i] = 0;
            for (int j = 0; j < n; j++) spare[i] += r[i * n + j] * (double)x[(size_t)j * (size_t)ld + (size_t)c];
        }
        for (int i = 0; i < n; i++) x[(size_t)i * (size_t)ld + (size_t)c] = (float)spare[i];
    }
}

/* V' = R V and W' = W R^-1 = W R' of every head: rows of the weights in front, columns of those behind. */
static vq_status rotate(vq_graph *g, const value_path *p)
{
    const int d = p->context->head_dim, width = p->context->heads * d,
              k = (int)g->params[p->before->weight].shape.dims[1];
    const int n = (int)g->params[p->behind->weight].shape.dims[0];
    float *const w = g->params[p->before->weight].data, *const behind = g->params[p->behind->weight].data;
    float *const bias = p->before->bias < 0 ? NULL : g->params[p->before->bias].data;
    double *r = NULL, *spare = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&r, (size_t)d * (size_t)d, sizeof *r, "rotation"));
    VQ_GO(vq_alloc(&spare, (size_t)d, sizeof *spare, "rotation"));
    fill_rotation(r, d);
    for (int h = 0; h < p->context->heads; h++) {
        const int row = 2 * width + h * d;
        rotate_rows(w + (size_t)row * (size_t)k, r, d, k, k, spare);
        if (bias) rotate_rows(bias + row, r, d, 1, 1, spare);
        if (p->pad >= 0) rotate_rows(g->params[p->pad].data + row, r, d, 1, 1, spare);
        for (int o = 0; o < n; o++) /* (W R')[o][i] = sum_j R[i][j] W[o][j]: a row is rotated like a column of V */
            rotate_rows(behind + (size_t)o * (size_t)width + (size_t)(h * d), r, d, 1, 1, spare);
    }
done:
    free(r);
    free(spare);
    return status;
}

/* scale [width]: what a quantizer of every channel of the attention's output would have. */
static vq_status channel_scales(const vq_calibration *c, const vq_walk *walk, const value_path *p, float *scale)
{
    const vq_value *const v = &walk->graph->values[p->context->out];
    const vq_groups g = {vq_value_count(walk->graph, p->context->out) * (size_t)c->samples, 1, v->cols};
    vq_rows x = vq_walk_value(walk, p->context->out);
    const vq_score score = vq_score_of_tensor(c->dev, &g, &x);
    vq_quantizer q = {0};
    vq_status status = VQ_OK;
    VQ_GO(vq_quantizer_uniform(&q, VQ_PER_CHANNEL, v->cols, c->bits[p->behind - walk->graph->nodes].input));
    VQ_GO(vq_search_uniform(&score, c->recipe->value.search, false, &q));
    memcpy(scale, q.scale, (size_t)v->cols * sizeof *scale);
done:
    vq_rows_close(&x);
    vq_quantizer_clear(&q);
    return status;
}

static void migrate(vq_graph *g, const value_path *p, const float *scale)
{
    const int width = p->context->heads * p->context->head_dim, k = (int)g->params[p->before->weight].shape.dims[1];
    const int n = (int)g->params[p->behind->weight].shape.dims[0];
    float *const w = g->params[p->before->weight].data, *const behind = g->params[p->behind->weight].data;
    double mean = 0;
    for (int c = 0; c < width; c++) mean += (double)scale[c] / width;
    for (int c = 0; c < width; c++) {
        const float r = (float)((double)scale[c] / mean);
        const size_t row = (size_t)(2 * width + c);
        for (int i = 0; i < k; i++) w[row * (size_t)k + (size_t)i] /= r;
        if (p->before->bias >= 0) g->params[p->before->bias].data[row] /= r;
        if (p->pad >= 0) g->params[p->pad].data[row] /= r;
        for (int o = 0; o < n; o++) behind[(size_t)o * (size_t)width + (size_t)c] *= r;
    }
}

/* One pass of the float model; what is moved does not change what later nodes see. */
static vq_status migrate_all(vq_graph *g, const vq_calibration *c)
{
    vq_walk *walk = NULL;
    float *scale = NULL;
    value_path p;
    int next = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_walk_create(&walk, c->dev, g, &c->photos));
    for (int i = 0; i < g->num_nodes; i++) {
        if (!find_path(&p, g, i)) continue;
        VQ_GO(vq_walk_nodes(walk, next, i));
        next = i + 1;
        free(scale);
        scale = NULL;
        VQ_GO(vq_alloc(&scale, (size_t)(p.context->heads * p.context->head_dim), sizeof *scale, "scales"));
        VQ_GO(channel_scales(c, walk, &p, scale));
        migrate(g, &p, scale);
    }
done:
    free(scale);
    vq_walk_destroy(&walk);
    return status;
}

vq_status vq_rewrite_graph(vq_graph **out, const vq_calibration *c)
{
    vq_graph *g = NULL;
    value_path p;
    vq_status status = VQ_OK;
    *out = NULL;
    if (!c->recipe->rotate_value && !c->recipe->migrate_value) return VQ_OK;
    VQ_GO(vq_graph_clone(&g, c->source));
    for (int i = 0; c->recipe->rotate_value && i < g->num_nodes; i++)
        if (find_path(&p, g, i)) VQ_GO(rotate(g, &p));
    if (c->recipe->migrate_value) VQ_GO(migrate_all(g, c));
    *out = g;
    g = NULL;
done:
    vq_graph_destroy(&g);
    return status;
}
