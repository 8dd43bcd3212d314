#include "export/onnx_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "onnx.pb-c.h"

struct vq_onnx_file {
    vq_status status;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__NodeProto *newest;
    size_t cap_nodes, cap_constants, cap_metadata;
    Onnx__ValueInfoProto *input[1], *output[1];
    void **blocks; /* everything above points to these, to borrowed data and to literals */
    size_t num_blocks, cap_blocks;
};

/* Room for one more pointer behind count of them. */
static bool grow(vq_onnx_file *f, void *array_ptr, size_t count, size_t *cap)
{
    void **array, **bigger;
    if (f->status != VQ_OK) return false;
    if (count < *cap) return true;
    memcpy(&array, array_ptr, sizeof array);
    const size_t wanted = *cap ? 2 * *cap : 256;
    bigger = realloc(array, wanted * sizeof *bigger);
    if (!bigger) return vq_onnx_fail(f, vq_fail(VQ_ERR_NO_MEMORY, "out of memory for the ONNX graph")) == VQ_OK;
    memcpy(array_ptr, &bigger, sizeof bigger);
    *cap = wanted;
    return true;
}

vq_status vq_onnx_create(vq_onnx_file **out, const char *graph_name, const char *about, int opset, int ir_version)
{
    vq_onnx_file *f = NULL;
    *out = NULL;
    VQ_TRY(vq_alloc(&f, 1, sizeof *f, "ONNX graph"));
    onnx__model_proto__init(&f->model);
    onnx__graph_proto__init(&f->graph);
    onnx__operator_set_id_proto__init(&f->opset);
    f->model.has_ir_version = f->opset.has_version = 1;
    f->model.ir_version = ir_version;
    f->opset.version = opset;
    f->opset.domain = (char *)(uintptr_t)vq_onnx_text(f, "%s", "");
    f->opsets[0] = &f->opset;
    f->model.opset_import = f->opsets;
    f->model.n_opset_import = 1;
    f->model.graph = &f->graph;
    f->model.producer_name = (char *)(uintptr_t)vq_onnx_text(f, "vitq");
    f->model.producer_version = (char *)(uintptr_t)vq_onnx_text(f, "%s", vq_version());
    f->model.doc_string = (char *)(uintptr_t)vq_onnx_text(f, "%s", about);
    f->graph.name = (char *)(uintptr_t)vq_onnx_text(f, "%s", graph_name);
    const vq_status status = f->status;
    if (status != VQ_OK)
        vq_onnx_destroy(&f);
    else
        *out = f;
    return status;
}

void vq_onnx_destroy(vq_onnx_file **file)
{
    vq_onnx_file *const f = *file;
    if (!f) return;
    for (size_t i = 0; i < f->num_blocks; i++) free(f->blocks[i]);
    free(f->blocks);
    free(f->graph.node);
    free(f->graph.initializer);
    free(f->model.metadata_props);
    free(f);
    *file = NULL;
}

vq_status vq_onnx_status(const vq_onnx_file *f)
{
    return f->status;
}

vq_status vq_onnx_fail(vq_onnx_file *f, vq_status status)
{
    if (f->status == VQ_OK) f->status = status;
    return f->status;
}

void *vq_onnx_memory(vq_onnx_file *f, size_t bytes)
{
    void *block = NULL;
    if (!grow(f, &f->blocks, f->num_blocks, &f->cap_blocks)) return NULL;
    if (vq_onnx_fail(f, vq_alloc(&block, bytes, 1, "ONNX graph")) != VQ_OK) return NULL;
    f->blocks[f->num_blocks++] = block;
    return block;
}

const char *vq_onnx_text(vq_onnx_file *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *const text = length < 0 ? NULL : vq_onnx_memory(f, (size_t)length + 1);
    if (!text) return "";
    va_start(args, fmt);
    vsnprintf(text, (size_t)length + 1, fmt, args);
    va_end(args);
    return text;
}

/* protobuf-c has no const: it does not write through these. */
static char *plain(const char *text)
{
    return (char *)(uintptr_t)text;
}

const char *vq_onnx_constant(vq_onnx_file *f, const char *name, vq_onnx_type type, vq_shape shape, const void *data)
{
    const size_t count = vq_shape_count(&shape);
    if (!grow(f, &f->graph.initializer, f->graph.n_initializer, &f->cap_constants)) return name;
    Onnx__TensorProto *const t = vq_onnx_memory(f, sizeof *t);
    int64_t *const dims = vq_onnx_memory(f, (size_t)shape.num_dims * sizeof *dims + 1);
    if (!t || !dims) return name;
    memcpy(dims, shape.dims, (size_t)shape.num_dims * sizeof *dims);
    onnx__tensor_proto__init(t);
    t->name = plain(name);
    t->has_data_type = t->has_raw_data = 1;
    t->data_type = (int32_t)type;
    t->dims = dims;
    t->n_dims = (size_t)shape.num_dims;
    t->raw_data.data = (uint8_t *)(uintptr_t)data;
    switch (type) {
    case VQ_ONNX_F32:
    case VQ_ONNX_S32: t->raw_data.len = 4 * count; break;
    case VQ_ONNX_F64:
    case VQ_ONNX_S64: t->raw_data.len = 8 * count; break;
    case VQ_ONNX_U8:
    case VQ_ONNX_S8: t->raw_data.len = count; break;
    case VQ_ONNX_S4: t->raw_data.len = VQ_CEIL_DIV(count, 2); break;
    }
    f->graph.initializer[f->graph.n_initializer++] = t;
    return name;
}

enum { MAX_OUTPUTS = 3 };

const char *vq_onnx_node(vq_onnx_file *f, const char *op, const char *out, const char *in0, const char *in1,
                         const char *in2)
{
    const char *const in[3] = {in0, in1, in2};
    if (!grow(f, &f->graph.node, f->graph.n_node, &f->cap_nodes)) return out;
    Onnx__NodeProto *const n = vq_onnx_memory(f, sizeof *n);
    char **const names = vq_onnx_memory(f, (3 + MAX_OUTPUTS) * sizeof *names);
    Onnx__AttributeProto **const attributes = vq_onnx_memory(f, VQ_ONNX_MAX_ATTRIBUTES * sizeof(void *));
    if (!n || !names || !attributes) return out;
    onnx__node_proto__init(n);
    n->op_type = plain(op);
    n->name = plain(out);
    n->input = names;
    while (n->n_input < 3 && in[n->n_input]) {
        names[n->n_input] = plain(in[n->n_input]);
        n->n_input++;
    }
    n->output = names + 3;
    n->output[n->n_output++] = plain(out);
    n->attribute = attributes;
    f->graph.node[f->graph.n_node++] = f->newest = n;
    return out;
}

const char *vq_onnx_output_too(vq_onnx_file *f, const char *out)
{
    if (f->status == VQ_OK && f->newest->n_output < MAX_OUTPUTS) f->newest->output[f->newest->n_output++] = plain(out);
    return out;
}

/* An attribute more of the newest node, NULL after a failure. */
static Onnx__AttributeProto *attribute(vq_onnx_file *f, const char *name, Onnx__AttributeProto__Type type)
{
    if (f->status != VQ_OK || f->newest->n_attribute == VQ_ONNX_MAX_ATTRIBUTES) return NULL;
    Onnx__AttributeProto *const a = vq_onnx_memory(f, sizeof *a);
    if (!a) return NULL;
    onnx__attribute_proto__init(a);
    a->name = plain(name);
    a->has_type = 1;
    a->type = type;
    f->newest->attribute[f->newest->n_attribute++] = a;
    return a;
}

void vq_onnx_int(vq_onnx_file *f, const char *name, int64_t value)
{
    Onnx__AttributeProto *const a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__TYPE__INT);
    if (!a) return;
    a->has_i = 1;
    a->i = value;
}

void vq_onnx_ints(vq_onnx_file *f, const char *name, int count, const int64_t *values)
{
    Onnx__AttributeProto *const a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__TYPE__INTS);
    int64_t *const copy = vq_onnx_memory(f, (size_t)count * sizeof *copy);
    if (!a || !copy) return;
    memcpy(copy, values, (size_t)count * sizeof *copy);
    a->ints = copy;
    a->n_ints = (size_t)count;
}

void vq_onnx_float(vq_onnx_file *f, const char *name, float value)
{
    Onnx__AttributeProto *const a = attribute(f, name, ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT);
    if (!a) return;
    a->has_f = 1;
    a->f = value;
}

/* ---- inputs, outputs, metadata -------------------------------------------------------------------------------------
 */

static Onnx__TensorShapeProto *make_shape(vq_onnx_file *f, vq_shape shape)
{
    const size_t n = (size_t)shape.num_dims;
    Onnx__TensorShapeProto *const s = vq_onnx_memory(f, sizeof *s);
    Onnx__TensorShapeProto__Dimension *const dims = vq_onnx_memory(f, n * sizeof *dims);
    Onnx__TensorShapeProto__Dimension **const list = vq_onnx_memory(f, n * sizeof *list);
    if (!s || !dims || !list) return NULL;
    onnx__tensor_shape_proto__init(s);
    for (size_t i = 0; i < n; i++) {
        onnx__tensor_shape_proto__dimension__init(&dims[i]);
        dims[i].has_dim_value = shape.dims[i] != 0;
        dims[i].dim_value = shape.dims[i];
        if (!shape.dims[i]) dims[i].dim_param = plain("batch");
        list[i] = &dims[i];
    }
    s->dim = list;
    s->n_dim = n;
    return s;
}

static Onnx__ValueInfoProto *make_value(vq_onnx_file *f, const char *name, vq_onnx_type type, vq_shape shape)
{
    Onnx__ValueInfoProto *const v = vq_onnx_memory(f, sizeof *v);
    Onnx__TypeProto *const t = vq_onnx_memory(f, sizeof *t);
    Onnx__TypeProto__Tensor *const tensor = vq_onnx_memory(f, sizeof *tensor);
    if (!v || !t || !tensor) return NULL;
    onnx__value_info_proto__init(v);
    onnx__type_proto__init(t);
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = (int32_t)type;
    tensor->shape = make_shape(f, shape);
    t->tensor_type = tensor;
    v->name = plain(name);
    v->type = t;
    return v;
}

void vq_onnx_graph_input(vq_onnx_file *f, const char *name, vq_onnx_type type, vq_shape shape)
{
    f->input[0] = make_value(f, name, type, shape);
    f->graph.input = f->input;
    f->graph.n_input = f->input[0] ? 1 : 0;
}

void vq_onnx_graph_output(vq_onnx_file *f, const char *name, vq_onnx_type type, vq_shape shape)
{
    f->output[0] = make_value(f, name, type, shape);
    f->graph.output = f->output;
    f->graph.n_output = f->output[0] ? 1 : 0;
}

void vq_onnx_metadata(vq_onnx_file *f, const char *key, const char *value)
{
    if (!grow(f, &f->model.metadata_props, f->model.n_metadata_props, &f->cap_metadata)) return;
    Onnx__StringStringEntryProto *const e = vq_onnx_memory(f, sizeof *e);
    if (!e) return;
    onnx__string_string_entry_proto__init(e);
    e->key = plain(key);
    e->value = plain(vq_onnx_text(f, "%s", value));
    f->model.metadata_props[f->model.n_metadata_props++] = e;
}

size_t vq_onnx_num_nodes(const vq_onnx_file *f)
{
    return f->graph.n_node;
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

/* protobuf-c hands over field by field; most are a few bytes. */
typedef struct stream {
    ProtobufCBuffer base; /* first: protobuf-c knows no other */
    vq_file_writer *file;
    vq_status status;
    size_t used;
    uint8_t bytes[1 << 14];
} stream;

static void flush(stream *s)
{
    if (s->status == VQ_OK) s->status = vq_file_append(s->file, s->bytes, s->used);
    s->used = 0;
}

static void append(ProtobufCBuffer *base, size_t bytes, const uint8_t *data)
{
    stream *const s = (stream *)(void *)base;
    if (s->used + bytes > sizeof s->bytes) flush(s);
    if (bytes > sizeof s->bytes) {
        if (s->status == VQ_OK) s->status = vq_file_append(s->file, data, bytes);
    } else if (bytes) {
        memcpy(s->bytes + s->used, data, bytes);
        s->used += bytes;
    }
}

vq_status vq_onnx_write(const vq_onnx_file *f, const char *path, size_t *bytes)
{
    stream s = {.base = {.append = append}};
    VQ_TRY(f->status);
    const size_t size = onnx__model_proto__get_packed_size(&f->model);
    if (bytes) *bytes = size;
    if (size > INT32_MAX)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: would be %zu bytes, an ONNX file holds less than 2 GiB", path, size);
    VQ_TRY(vq_file_begin(&s.file, path));
    onnx__model_proto__pack_to_buffer(&f->model, &s.base);
    flush(&s);
    if (s.status == VQ_OK) return vq_file_commit(&s.file);
    vq_file_abort(&s.file);
    return s.status;
}
