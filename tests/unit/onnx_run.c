#include "onnx_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { BOOL = 9, MAX_TENSORS = 4096 };

/* ---- tensors -------------------------------------------------------------------------------------------------------
 */

const onnx_tensor *onnx_find(const onnx_run *run, const char *name)
{
    for (size_t i = 0; i < run->num_tensors; i++)
        if (strcmp(run->tensors[i].name, name) == 0) return &run->tensors[i];
    return NULL;
}

static onnx_tensor *add_tensor(onnx_run *run, const char *name, int type, int rank, const int64_t *dims)
{
    assert_null(onnx_find(run, name));
    assert_true(run->num_tensors < MAX_TENSORS);
    assert_true(rank <= ONNX_MAX_RANK);
    onnx_tensor *const t = &run->tensors[run->num_tensors++];
    *t = (onnx_tensor){.name = name, .type = type, .rank = rank, .count = 1};
    for (int i = 0; i < rank; i++) {
        assert_true(dims[i] > 0);
        t->dims[i] = dims[i];
        t->count *= (size_t)dims[i];
    }
    t->v = calloc(t->count, sizeof *t->v);
    assert_non_null(t->v);
    return t;
}

static size_t constant_bytes(int type, size_t count)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return 4 * count;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: return 8 * count;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return count;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT4: return (count + 1) / 2;
    default: fail_msg("constant of type %d", type);
    }
    return 0;
}

static double constant_at(int type, const uint8_t *data, size_t i)
{
    float f;
    int32_t s32;
    int64_t s64;
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: memcpy(&f, data + 4 * i, 4); return f;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: memcpy(&s32, data + 4 * i, 4); return s32;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: memcpy(&s64, data + 8 * i, 8); return (double)s64;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8: return data[i];
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8: return data[i] - (data[i] > 127 ? 256 : 0);
    default: s32 = data[i / 2] >> (i % 2 ? 4 : 0) & 15; return s32 - (s32 > 7 ? 16 : 0);
    }
}

static void read_constant(onnx_run *run, const Onnx__TensorProto *p)
{
    onnx_tensor *const t = add_tensor(run, p->name, p->data_type, (int)p->n_dims, p->dims);
    assert_int_equal(p->raw_data.len, constant_bytes(t->type, t->count));
    for (size_t i = 0; i < t->count; i++) t->v[i] = constant_at(t->type, p->raw_data.data, i);
}

void onnx_open(onnx_run *run, const char *path)
{
    char *data = NULL;
    size_t bytes = 0;
    *run = (onnx_run){0};
    assert_int_equal(vq_file_read(&data, &bytes, path, 1 << 30), VQ_OK);
    run->model = onnx__model_proto__unpack(NULL, bytes, (const uint8_t *)data);
    free(data);
    assert_non_null(run->model);
    assert_non_null(run->model->graph);
    run->tensors = calloc(MAX_TENSORS, sizeof *run->tensors);
    assert_non_null(run->tensors);
    for (size_t i = 0; i < run->model->graph->n_initializer; i++) read_constant(run, run->model->graph->initializer[i]);
}

void onnx_close(onnx_run *run)
{
    for (size_t i = 0; i < run->num_tensors; i++) free(run->tensors[i].v);
    free(run->tensors);
    onnx__model_proto__free_unpacked(run->model, NULL);
    *run = (onnx_run){0};
}

const char *onnx_metadata(const onnx_run *run, const char *key)
{
    for (size_t i = 0; i < run->model->n_metadata_props; i++)
        if (strcmp(run->model->metadata_props[i]->key, key) == 0) return run->model->metadata_props[i]->value;
    return NULL;
}

int onnx_count(const onnx_run *run, const char *op)
{
    int n = 0;
    for (size_t i = 0; i < run->model->graph->n_node; i++) n += !strcmp(run->model->graph->node[i]->op_type, op);
    return n;
}

/* ---- a node's surroundings -----------------------------------------------------------------------------------------
 */

typedef struct step {
    onnx_run *run;
    const Onnx__NodeProto *node;
    const onnx_tensor *in[3];
} step;

static const Onnx__AttributeProto *attribute(const step *s, const char *name)
{
    for (size_t i = 0; i < s->node->n_attribute; i++)
        if (strcmp(s->node->attribute[i]->name, name) == 0) return s->node->attribute[i];
    return NULL;
}

static int64_t int_attribute(const step *s, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *const a = attribute(s, name);
    return a ? a->i : otherwise;
}

static onnx_tensor *output(const step *s, int type, int rank, const int64_t *dims)
{
    assert_int_equal(s->node->n_output, 1);
    return add_tensor(s->run, s->node->output[0], type, rank, dims);
}

/* Index of element i of `out` in a tensor that is broadcast to it. */
static size_t at(const onnx_tensor *t, const onnx_tensor *out, size_t i)
{
    size_t index = 0, stride = 1;
    for (int a = 1; a <= out->rank; a++) {
        const int64_t dim = out->dims[out->rank - a], where = (int64_t)(i % (size_t)dim);
        i /= (size_t)dim;
        if (a > t->rank) continue;
        const int64_t own = t->dims[t->rank - a];
        assert_true(own == dim || own == 1);
        index += stride * (size_t)(own == 1 ? 0 : where);
        stride *= (size_t)own;
    }
    return index;
}

/* The shape that both broadcast to. */
static int broadcast(int64_t dims[ONNX_MAX_RANK], const onnx_tensor *a, const onnx_tensor *b)
{
    const int rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 1; i <= rank; i++) {
        const int64_t x = i <= a->rank ? a->dims[a->rank - i] : 1, y = i <= b->rank ? b->dims[b->rank - i] : 1;
        assert_true(x == y || x == 1 || y == 1);
        dims[rank - i] = x > y ? x : y;
    }
    return rank;
}

/* ---- elementwise ---------------------------------------------------------------------------------------------------
 */

/* What a tensor of that type holds of v. */
static double rounded(int type, double v)
{
    return type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ? v : (double)(float)v;
}

static double two(const char *op, double a, double b)
{
    if (!strcmp(op, "Add")) return a + b;
    if (!strcmp(op, "Sub")) return a - b;
    if (!strcmp(op, "Mul")) return a * b;
    if (!strcmp(op, "Div")) return a / b;
    if (!strcmp(op, "Max")) return fmax(a, b);
    if (!strcmp(op, "Min")) return fmin(a, b);
    return a >= b; /* GreaterOrEqual */
}

static void binary(const step *s)
{
    const onnx_tensor *const a = s->in[0], *const b = s->in[1];
    const bool compares = !strcmp(s->node->op_type, "GreaterOrEqual");
    int64_t dims[ONNX_MAX_RANK];
    const int rank = broadcast(dims, a, b);
    assert_int_equal(a->type, b->type);
    onnx_tensor *const y = output(s, compares ? BOOL : a->type, rank, dims);
    for (size_t i = 0; i < y->count; i++)
        y->v[i] = rounded(a->type, two(s->node->op_type, a->v[at(a, y, i)], b->v[at(b, y, i)]));
}

static void unary(const step *s)
{
    const onnx_tensor *const x = s->in[0];
    const bool casts = !strcmp(s->node->op_type, "Cast");
    onnx_tensor *const y = output(s, casts ? (int)int_attribute(s, "to", 0) : x->type, x->rank, x->dims);
    for (size_t i = 0; i < y->count; i++) {
        if (!strcmp(s->node->op_type, "Round")) y->v[i] = rint(x->v[i]);
        if (!strcmp(s->node->op_type, "Erf")) y->v[i] = (float)erf(x->v[i]);
        if (casts) y->v[i] = rounded(y->type, x->v[i]);
        if (!strcmp(s->node->op_type, "Clip")) y->v[i] = fmin(fmax(x->v[i], s->in[1]->v[0]), s->in[2]->v[0]);
    }
}

static void where(const step *s)
{
    const onnx_tensor *const c = s->in[0], *const a = s->in[1], *const b = s->in[2];
    onnx_tensor both = {0};
    int64_t dims[ONNX_MAX_RANK];
    both.rank = broadcast(both.dims, a, b);
    const int rank = broadcast(dims, c, &both);
    assert_int_equal(c->type, BOOL);
    assert_int_equal(a->type, b->type);
    onnx_tensor *const y = output(s, a->type, rank, dims);
    for (size_t i = 0; i < y->count; i++) y->v[i] = c->v[at(c, y, i)] != 0 ? a->v[at(a, y, i)] : b->v[at(b, y, i)];
}

/* Which element of a scale or zero point belongs to element i of x. */
static size_t group_at(const step *s, const onnx_tensor *x, size_t i)
{
    const int64_t axis = int_attribute(s, "axis", 1);
    size_t inner = 1;
    if (s->in[1]->rank == 0) return 0;
    assert_int_equal(s->in[1]->rank, 1);
    assert_true(axis >= 0 && axis < x->rank && s->in[1]->dims[0] == x->dims[axis]);
    for (int a = (int)axis + 1; a < x->rank; a++) inner *= (size_t)x->dims[a];
    return i / inner % (size_t)x->dims[axis];
}

static void quantize(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const scale = s->in[1], *const zero = s->in[2];
    assert_int_equal(zero->type, ONNX__TENSOR_PROTO__DATA_TYPE__UINT8);
    assert_int_equal(zero->count, scale->count);
    onnx_tensor *const y = output(s, zero->type, x->rank, x->dims);
    for (size_t i = 0; i < y->count; i++) {
        const size_t g = group_at(s, x, i);
        y->v[i] = fmin(fmax(rint((float)x->v[i] / (float)scale->v[g]) + zero->v[g], 0), 255);
    }
}

static void dequantize(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const scale = s->in[1], *const zero = s->in[2];
    assert_int_equal(zero->type, x->type);
    assert_int_equal(zero->count, scale->count);
    onnx_tensor *const y = output(s, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, x->rank, x->dims);
    for (size_t i = 0; i < y->count; i++) {
        const size_t g = group_at(s, x, i);
        y->v[i] = (float)((x->v[i] - zero->v[g]) * scale->v[g]);
    }
}

/* ---- shapes --------------------------------------------------------------------------------------------------------
 */

static void reshape(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const shape = s->in[1];
    int64_t dims[ONNX_MAX_RANK], known = 1, open = -1;
    assert_int_equal(shape->type, ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
    for (int64_t i = 0; i < shape->dims[0]; i++) {
        dims[i] = (int64_t)shape->v[i];
        if (dims[i] == 0) dims[i] = x->dims[i];
        if (dims[i] == -1)
            open = i;
        else
            known *= dims[i];
    }
    if (open >= 0) dims[open] = (int64_t)x->count / known;
    onnx_tensor *const y = output(s, x->type, (int)shape->dims[0], dims);
    assert_int_equal(y->count, x->count);
    memcpy(y->v, x->v, x->count * sizeof *x->v);
}

static void transpose(const step *s)
{
    const onnx_tensor *const x = s->in[0];
    const Onnx__AttributeProto *const perm = attribute(s, "perm");
    int64_t dims[ONNX_MAX_RANK];
    assert_int_equal(perm->n_ints, x->rank);
    for (int a = 0; a < x->rank; a++) dims[a] = x->dims[perm->ints[a]];
    onnx_tensor *const y = output(s, x->type, x->rank, dims);
    for (size_t i = 0; i < y->count; i++) {
        size_t rest = i, from = 0;
        int64_t where_in_x[ONNX_MAX_RANK] = {0};
        for (int a = y->rank - 1; a >= 0; a--) {
            where_in_x[perm->ints[a]] = (int64_t)(rest % (size_t)dims[a]);
            rest /= (size_t)dims[a];
        }
        for (int a = 0; a < x->rank; a++) from = from * (size_t)x->dims[a] + (size_t)where_in_x[a];
        y->v[i] = x->v[from];
    }
}

/* Zeros in front of and behind axis 1 of three. */
static void pad(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const pads = s->in[1];
    const size_t front = (size_t)pads->v[1], behind = (size_t)pads->v[4], row = (size_t)x->dims[2];
    const int64_t dims[] = {x->dims[0], x->dims[1] + (int64_t)(front + behind), x->dims[2]};
    assert_int_equal(pads->count, 6);
    assert_true(x->rank == 3 && pads->v[0] + pads->v[2] + pads->v[3] + pads->v[5] == 0);
    onnx_tensor *const y = output(s, x->type, 3, dims);
    const size_t rows = (size_t)x->dims[1];
    for (size_t b = 0; b < (size_t)x->dims[0]; b++)
        memcpy(y->v + (b * (rows + front + behind) + front) * row, x->v + b * rows * row, rows * row * sizeof *x->v);
}

static void gather(const step *s)
{
    const onnx_tensor *const table = s->in[0], *const index = s->in[1];
    const int axis = (int)int_attribute(s, "axis", 0);
    int64_t dims[ONNX_MAX_RANK], before = 1, behind = 1;
    int rank = 0;
    for (int a = 0; a < axis; a++) before *= dims[rank++] = table->dims[a];
    for (int a = 0; a < index->rank; a++) dims[rank++] = index->dims[a];
    for (int a = axis + 1; a < table->rank; a++) behind *= dims[rank++] = table->dims[a];
    onnx_tensor *const y = output(s, table->type, rank, dims);
    for (size_t i = 0; i < y->count; i++) {
        const size_t outer = i / (index->count * (size_t)behind), inner = i % (size_t)behind;
        const double k = index->v[i / (size_t)behind % index->count];
        assert_true(outer < (size_t)before && k >= 0 && k < (double)table->dims[axis]);
        y->v[i] = table->v[(outer * (size_t)table->dims[axis] + (size_t)k) * (size_t)behind + inner];
    }
}

/* Three equal parts of the last axis. */
static void split(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const sizes = s->in[1];
    const size_t cols = (size_t)x->dims[x->rank - 1], width = cols / 3;
    int64_t dims[ONNX_MAX_RANK];
    assert_int_equal(s->node->n_output, 3);
    assert_int_equal(int_attribute(s, "axis", 0), x->rank - 1);
    for (int i = 0; i < 3; i++) assert_true(sizes->v[i] == (double)width);
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = (int64_t)width;
    for (size_t part = 0; part < 3; part++) {
        onnx_tensor *const y = add_tensor(s->run, s->node->output[part], x->type, x->rank, dims);
        for (size_t i = 0; i < y->count; i++) y->v[i] = x->v[i / width * cols + part * width + i % width];
    }
}

/* ---- layers --------------------------------------------------------------------------------------------------------
 */

/* A matrix on either side of a stack of matrices is taken with each of them. */
static void matmul(const step *s)
{
    const onnx_tensor *const a = s->in[0], *const b = s->in[1], *const stack = a->rank >= b->rank ? a : b;
    const size_t m = (size_t)a->dims[a->rank - 2], k = (size_t)a->dims[a->rank - 1], n = (size_t)b->dims[b->rank - 1];
    const size_t batch = a->rank >= b->rank ? a->count / (m * k) : b->count / (k * n);
    int64_t dims[ONNX_MAX_RANK];
    assert_int_equal(b->dims[b->rank - 2], k);
    assert_true(a->rank == 2 || a->count == batch * m * k);
    assert_true(b->rank == 2 || b->count == batch * k * n);
    memcpy(dims, stack->dims, sizeof dims);
    dims[stack->rank - 2] = (int64_t)m;
    dims[stack->rank - 1] = (int64_t)n;
    onnx_tensor *const y = output(s, a->type, stack->rank, dims);
    for (size_t z = 0; z < batch; z++)
        for (size_t r = 0; r < m; r++)
            for (size_t c = 0; c < n; c++) {
                const double *const row = a->v + ((a->rank == 2 ? 0 : z * m) + r) * k;
                const double *const other = b->v + (b->rank == 2 ? 0 : z * k * n);
                double sum = 0;
                for (size_t i = 0; i < k; i++) sum += row[i] * other[i * n + c];
                y->v[(z * m + r) * n + c] = rounded(y->type, sum);
            }
}

/* The part of patch (py, px) under the kernel of one output channel. */
static double patch_product(const onnx_tensor *x, const onnx_tensor *w, size_t image, size_t channel, size_t py,
                            size_t px)
{
    const size_t chans = (size_t)w->dims[1], side = (size_t)w->dims[2], height = (size_t)x->dims[2],
                 width = (size_t)x->dims[3];
    double sum = 0;
    for (size_t c = 0; c < chans; c++)
        for (size_t i = 0; i < side * side; i++)
            sum += w->v[(channel * chans + c) * side * side + i] *
                   x->v[((image * chans + c) * height + py * side + i / side) * width + px * side + i % side];
    return sum;
}

/* Strides as wide as the kernel, no padding. */
static void conv(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const w = s->in[1], *const bias = s->node->n_input > 2 ? s->in[2] : NULL;
    const Onnx__AttributeProto *const strides = attribute(s, "strides");
    const int64_t dims[] = {x->dims[0], w->dims[0], x->dims[2] / w->dims[2], x->dims[3] / w->dims[2]};
    assert_true(strides->n_ints == 2 && strides->ints[0] == w->dims[2] && strides->ints[1] == w->dims[3]);
    assert_int_equal(x->dims[1], w->dims[1]);
    onnx_tensor *const y = output(s, x->type, 4, dims);
    const size_t area = (size_t)(dims[2] * dims[3]), across = (size_t)dims[3], channels = (size_t)dims[1];
    for (size_t i = 0; i < y->count; i++) {
        const size_t channel = i / area % channels;
        y->v[i] = (float)(patch_product(x, w, i / (area * channels), channel, i % area / across, i % across) +
                          (bias ? bias->v[channel] : 0));
    }
}

static void layernorm(const step *s)
{
    const onnx_tensor *const x = s->in[0], *const gamma = s->in[1], *const beta = s->in[2];
    const size_t cols = (size_t)x->dims[x->rank - 1];
    const double eps = attribute(s, "epsilon")->f;
    assert_int_equal(int_attribute(s, "axis", -1), -1);
    assert_int_equal(int_attribute(s, "stash_type", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT), x->type);
    assert_true(gamma->type == x->type && beta->type == x->type);
    onnx_tensor *const y = output(s, x->type, x->rank, x->dims);
    for (size_t r = 0; r < x->count / cols; r++) {
        const double *const in = x->v + r * cols;
        double mean = 0, var = 0;
        for (size_t i = 0; i < cols; i++) mean += in[i];
        mean /= (double)cols;
        for (size_t i = 0; i < cols; i++) var += (in[i] - mean) * (in[i] - mean);
        for (size_t i = 0; i < cols; i++)
            y->v[r * cols + i] =
                rounded(y->type, (in[i] - mean) / sqrt(var / (double)cols + eps) * gamma->v[i] + beta->v[i]);
    }
}

static void softmax(const step *s)
{
    const onnx_tensor *const x = s->in[0];
    const size_t cols = (size_t)x->dims[x->rank - 1];
    assert_int_equal(int_attribute(s, "axis", -1), -1);
    onnx_tensor *const y = output(s, x->type, x->rank, x->dims);
    for (size_t r = 0; r < x->count; r += cols) {
        double most = -INFINITY, sum = 0;
        for (size_t i = 0; i < cols; i++) most = fmax(most, x->v[r + i]);
        for (size_t i = 0; i < cols; i++) sum += exp(x->v[r + i] - most);
        for (size_t i = 0; i < cols; i++) y->v[r + i] = rounded(y->type, exp(x->v[r + i] - most) / sum);
    }
}

/* ---- the graph -----------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *op;
    void (*run)(const step *s);
    size_t inputs;
} operators[] = {{"Add", binary, 2},
                 {"Sub", binary, 2},
                 {"Mul", binary, 2},
                 {"Div", binary, 2},
                 {"Max", binary, 2},
                 {"Min", binary, 2},
                 {"GreaterOrEqual", binary, 2},
                 {"Round", unary, 1},
                 {"Erf", unary, 1},
                 {"Cast", unary, 1},
                 {"Clip", unary, 3},
                 {"Where", where, 3},
                 {"QuantizeLinear", quantize, 3},
                 {"DequantizeLinear", dequantize, 3},
                 {"Reshape", reshape, 2},
                 {"Transpose", transpose, 1},
                 {"Pad", pad, 2},
                 {"Gather", gather, 2},
                 {"Split", split, 2},
                 {"MatMul", matmul, 2},
                 {"Conv", conv, 3},
                 {"LayerNormalization", layernorm, 3},
                 {"Softmax", softmax, 1}};

static void run_node(onnx_run *run, const Onnx__NodeProto *node)
{
    step s = {.run = run, .node = node};
    for (size_t i = 0; i < node->n_input; i++) {
        s.in[i] = onnx_find(run, node->input[i]);
        if (!s.in[i]) fail_msg("%s reads %s before it is there", node->name, node->input[i]);
    }
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].op, node->op_type) != 0) continue;
        const bool no_bias = operators[i].run == conv && node->n_input == 2;
        assert_true(node->n_input == operators[i].inputs || no_bias);
        operators[i].run(&s);
        return;
    }
    fail_msg("%s: operator %s is not known", node->name, node->op_type);
}

const onnx_tensor *onnx_forward(onnx_run *run, const double *input, int64_t batch)
{
    const Onnx__GraphProto *const g = run->model->graph;
    const Onnx__TypeProto__Tensor *const type = g->input[0]->type->tensor_type;
    int64_t dims[ONNX_MAX_RANK];
    for (size_t i = g->n_initializer; i < run->num_tensors; i++) free(run->tensors[i].v);
    run->num_tensors = g->n_initializer;
    assert_int_equal(g->n_input, 1);
    assert_int_equal(g->n_output, 1);
    assert_string_equal(type->shape->dim[0]->dim_param, "batch");
    for (size_t i = 0; i < type->shape->n_dim; i++) dims[i] = i ? type->shape->dim[i]->dim_value : batch;
    onnx_tensor *const x = add_tensor(run, g->input[0]->name, type->elem_type, (int)type->shape->n_dim, dims);
    memcpy(x->v, input, x->count * sizeof *x->v);
    for (size_t i = 0; i < g->n_node; i++) run_node(run, g->node[i]);
    const onnx_tensor *const y = onnx_find(run, g->output[0]->name);
    assert_non_null(y);
    return y;
}
