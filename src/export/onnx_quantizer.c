/* Quantizers as standard operators.
 *
 * Uniform: QuantizeLinear and DequantizeLinear in u8. Their rounding is ours (a true division, ties to even); codes of
 * fewer than 8 bits come from a Clip in front, whose bounds are the values of the first and the last code, so that it
 * decides as the clip of codes would. Zero points that u8 cannot hold (ranges far from zero, imitations of official
 * code) are computed with Div, Round, Clip and Mul, the same formula in floats; so are scales per channel in front of a
 * matrix product, which ONNX Runtime (1.32) would take for integers it can multiply, and then fail.
 *
 * Codebook: the number of thresholds <= x by binary search, one table look-up and comparison per bit, then a look-up of
 * the value: exact for every float. Levels of equal value are one level here, so that 8-bit powers of the root of two,
 * whose small ones are all zero in 16 bits, take 6 steps. */
#include <math.h>
#include <string.h>

#include "export/onnx_emit.h"

/* Broadcasts over a tensor of that rank along its axis: [groups] with the axes behind as ones; a scalar for one group.
 */
static vq_shape group_shape(int groups, int axis, int rank)
{
    vq_shape s = {.num_dims = groups == 1 ? 0 : rank - axis};
    for (int i = 0; i < s.num_dims; i++) s.dims[i] = i ? 1 : groups;
    return s;
}

static bool whole_zero(float zero, float lowest, float highest)
{
    return zero == rintf(zero) && zero >= lowest && zero <= highest;
}

const vq_whole_product *vq_emit_whole(const vq_emit *e)
{
    const vq_whole_product *const p = e->products ? &e->products[e->node - e->graph->nodes] : NULL;
    return p && p->count ? p : NULL;
}

/* ---- uniform -------------------------------------------------------------------------------------------------------
 */

static bool fits_u8(const vq_quantizer *q)
{
    for (int i = 0; i < q->groups; i++)
        if (!whole_zero(q->zero[i], 0, UINT8_MAX)) return false;
    return q->levels <= 256;
}

/* value(group) per group as a constant. */
static const char *group_constant(vq_emit *e, const vq_quantizer *q, const char *role, const char *what, int axis,
                                  int rank, float (*value)(const vq_quantizer *q, int group))
{
    float *const data = vq_onnx_memory(e->file, (size_t)q->groups * sizeof *data);
    for (int i = 0; data && i < q->groups; i++) data[i] = value(q, i);
    return vq_emit_floats(e, vq_onnx_text(e->file, "%s.%s", role, what), group_shape(q->groups, axis, rank), data);
}

static float lowest_value(const vq_quantizer *q, int i)
{
    return -q->zero[i] * q->scale[i];
}

static float highest_value(const vq_quantizer *q, int i)
{
    return ((float)(q->levels - 1) - q->zero[i]) * q->scale[i];
}

static float scale_of(const vq_quantizer *q, int i)
{
    return q->scale[i];
}

static float zero_of(const vq_quantizer *q, int i)
{
    return q->zero[i];
}

static float one(const vq_quantizer *q, int i)
{
    (void)q;
    (void)i;
    return 1;
}

/* Clip takes scalars. */
static const char *clip(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis, int rank)
{
    const char *const lo = group_constant(e, q, role, "lowest", axis, rank, lowest_value);
    const char *const hi = group_constant(e, q, role, "highest", axis, rank, highest_value);
    if (q->groups == 1) return vq_emit_op(e, "Clip", vq_onnx_text(e->file, "%s.clip", role), x, lo, hi);
    x = vq_emit_op(e, "Max", vq_onnx_text(e->file, "%s.clip_low", role), x, lo, NULL);
    return vq_emit_op(e, "Min", vq_onnx_text(e->file, "%s.clip_high", role), x, hi, NULL);
}

static const char *quantize_dequantize(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis,
                                       int rank)
{
    const vq_shape shape = q->groups == 1 ? (vq_shape){0} : vq_shape1(q->groups);
    const char *const scale = vq_emit_floats(e, vq_onnx_text(e->file, "%s.scale", role), shape, q->scale);
    uint8_t *const zeros = vq_onnx_memory(e->file, (size_t)q->groups);
    for (int i = 0; zeros && i < q->groups; i++) zeros[i] = (uint8_t)q->zero[i];
    const char *const zero =
        vq_onnx_constant(e->file, vq_onnx_text(e->file, "%s.%s.zero", e->node->name, role), VQ_ONNX_U8, shape, zeros);
    if (q->levels < 256) x = clip(e, q, x, role, axis, rank);
    x = vq_emit_op(e, "QuantizeLinear", vq_onnx_text(e->file, "%s.codes", role), x, scale, zero);
    if (q->groups > 1) vq_onnx_int(e->file, "axis", axis);
    const char *unit = scale;
    if (vq_emit_whole(e)) unit = group_constant(e, q, role, "unit", 0, q->groups > 1, one);
    x = vq_emit_op(e, "DequantizeLinear", vq_onnx_text(e->file, "%s.quantized", role), x, unit, zero);
    if (q->groups > 1) vq_onnx_int(e->file, "axis", axis);
    e->info->qdq++;
    return x;
}

/* (clip(rint(x / scale) + zero, 0, levels - 1) - zero) * scale */
static const char *uniform_in_floats(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis,
                                     int rank)
{
    const float bounds[2] = {0, (float)(q->levels - 1)};
    vq_onnx_file *const f = e->file;
    const char *const scale = group_constant(e, q, role, "scale", axis, rank, scale_of);
    const char *const zero = group_constant(e, q, role, "zero", axis, rank, zero_of);
    const char *const lo = vq_emit_floats(e, vq_onnx_text(f, "%s.first", role), (vq_shape){0}, &bounds[0]);
    const char *const hi = vq_emit_floats(e, vq_onnx_text(f, "%s.last", role), (vq_shape){0}, &bounds[1]);
    x = vq_emit_op(e, "Div", vq_onnx_text(f, "%s.scaled", role), x, scale, NULL);
    x = vq_emit_op(e, "Round", vq_onnx_text(f, "%s.rounded", role), x, NULL, NULL);
    x = vq_emit_op(e, "Add", vq_onnx_text(f, "%s.shifted", role), x, zero, NULL);
    x = vq_emit_op(e, "Clip", vq_onnx_text(f, "%s.codes", role), x, lo, hi);
    e->info->in_floats++;
    if (vq_emit_whole(e)) return vq_emit_op(e, "Sub", vq_onnx_text(f, "%s.quantized", role), x, zero, NULL);
    x = vq_emit_op(e, "Sub", vq_onnx_text(f, "%s.unshifted", role), x, zero, NULL);
    return vq_emit_op(e, "Mul", vq_onnx_text(f, "%s.quantized", role), x, scale, NULL);
}

/* ---- codebook ------------------------------------------------------------------------------------------------------
 */

/* Of every group the levels of different value: count a power of two, the missing ones behind thresholds that nothing
 * reaches. */
typedef struct levels {
    int groups, count, bits;
    float *thresholds; /* [groups][count]; the last is not used */
    float *values;     /* [groups][count]; of whole numbers the high bytes */
    float *low;        /* [groups][count] low bytes */
} levels;

static int distinct_values(const vq_quantizer *q, int group)
{
    const uint16_t *const v = q->values + (size_t)group * (size_t)q->levels;
    int n = 1;
    for (int i = 1; i < q->levels; i++) n += v[i] != v[i - 1];
    return n;
}

static void fill_value(levels *l, const vq_quantizer *q, int group, int level, size_t at, bool whole)
{
    int high, low;
    vq_whole_value(q, group, level, &high, &low);
    const float value = (float)q->values[(size_t)group * (size_t)q->levels + (size_t)level] - q->zero[group];
    l->values[at] = whole ? (float)high : value * q->scale[group];
    l->low[at] = (float)low;
}

static void fill_levels(levels *l, const vq_quantizer *q, int group, bool whole)
{
    const uint16_t *const v = q->values + (size_t)group * (size_t)q->levels;
    const float *const t = q->thresholds + (size_t)group * (size_t)(q->levels - 1);
    float *const thresholds = l->thresholds + (size_t)group * (size_t)l->count;
    const size_t first = (size_t)group * (size_t)l->count;
    int n = 0;
    for (int i = 0; i < q->levels; i++) {
        if (i && v[i] == v[i - 1]) continue;
        if (i) thresholds[n - 1] = t[i - 1];
        fill_value(l, q, group, i, first + (size_t)n++, whole);
    }
    for (int i = n; i < l->count; i++) fill_value(l, q, group, q->levels - 1, first + (size_t)i, whole);
    for (int i = n - 1; i < l->count; i++) thresholds[i] = INFINITY;
}

static bool make_levels(levels *l, vq_onnx_file *f, const vq_quantizer *q, bool whole)
{
    int most = 2;
    for (int g = 0; g < q->groups; g++) most = VQ_MAX(most, distinct_values(q, g));
    *l = (levels){.groups = q->groups, .count = 1};
    while (l->count < most) {
        l->count *= 2;
        l->bits++;
    }
    const size_t bytes = (size_t)l->groups * (size_t)l->count * sizeof(float);
    l->thresholds = vq_onnx_memory(f, bytes);
    l->values = vq_onnx_memory(f, bytes);
    l->low = vq_onnx_memory(f, bytes);
    if (!l->thresholds || !l->values || !l->low) return false;
    for (int g = 0; g < q->groups; g++) fill_levels(l, q, g, whole);
    return true;
}

/* The middle threshold decides the upper bit; the index becomes group * count, plus half of count where x reaches it.
 */
static const char *first_step(vq_emit *e, const levels *l, const char *x, const char *role, int axis, int rank)
{
    vq_onnx_file *const f = e->file;
    const size_t groups = (size_t)l->groups;
    const vq_shape shape = group_shape(l->groups, axis, rank);
    float *const middle = vq_onnx_memory(f, groups * sizeof *middle);
    int32_t *const low = vq_onnx_memory(f, groups * sizeof *low), *const high =
                                                                      vq_onnx_memory(f, groups * sizeof *high);
    if (!middle || !low || !high) return x;
    for (int g = 0; g < l->groups; g++) {
        middle[g] = l->thresholds[g * l->count + l->count / 2 - 1];
        low[g] = g * l->count;
        high[g] = low[g] + l->count / 2;
    }
    const char *const t = vq_emit_floats(e, vq_onnx_text(f, "%s.middle", role), shape, middle);
    const char *const a = vq_emit_ints(e, vq_onnx_text(f, "%s.low", role), shape, low);
    const char *const b = vq_emit_ints(e, vq_onnx_text(f, "%s.high", role), shape, high);
    const char *const above = vq_emit_op(e, "GreaterOrEqual", vq_onnx_text(f, "%s.reaches0", role), x, t, NULL);
    return vq_emit_op(e, "Where", vq_onnx_text(f, "%s.index0", role), above, b, a);
}

/* Bit i from the top: index + step where x reaches threshold[index + step - 1]. */
static const char *next_step(vq_emit *e, const levels *l, const char *x, const char *index, const char *role, int i)
{
    vq_onnx_file *const f = e->file;
    const int total = l->groups * l->count;
    const int32_t step = l->count >> (i + 1), none = 0;
    float *const table = vq_onnx_memory(f, (size_t)total * sizeof *table);
    if (!table) return x;
    for (int j = 0; j < total; j++) table[j] = j + step - 1 < total ? l->thresholds[j + step - 1] : INFINITY;
    const char *const t = vq_emit_floats(e, vq_onnx_text(f, "%s.thresholds%d", role, i), vq_shape1(total), table);
    const char *const up = vq_emit_ints(e, vq_onnx_text(f, "%s.step%d", role, i), (vq_shape){0}, &step);
    const char *const stay = vq_emit_ints(e, vq_onnx_text(f, "%s.stay%d", role, i), (vq_shape){0}, &none);
    const char *const at = vq_emit_op(e, "Gather", vq_onnx_text(f, "%s.threshold%d", role, i), t, index, NULL);
    const char *const above = vq_emit_op(e, "GreaterOrEqual", vq_onnx_text(f, "%s.reaches%d", role, i), x, at, NULL);
    const char *const more = vq_emit_op(e, "Where", vq_onnx_text(f, "%s.more%d", role, i), above, up, stay);
    return vq_emit_op(e, "Add", vq_onnx_text(f, "%s.index%d", role, i), index, more, NULL);
}

static const char *codebook(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis, int rank,
                            const char **low)
{
    const vq_whole_product *const whole = vq_emit_whole(e);
    vq_onnx_file *const f = e->file;
    levels l;
    if (!make_levels(&l, f, q, whole)) return x;
    const char *index = first_step(e, &l, x, role, axis, rank);
    for (int i = 1; i < l.bits; i++) index = next_step(e, &l, x, index, role, i);
    const vq_shape shape = vq_shape1(l.groups * l.count);
    const char *const table = vq_emit_floats(e, vq_onnx_text(f, "%s.values", role), shape, l.values);
    e->info->codebooks++;
    if (whole && whole->low && low)
        *low = vq_emit_op(e, "Gather", vq_onnx_text(f, "%s.quantized_low", role),
                          vq_emit_floats(e, vq_onnx_text(f, "%s.low_values", role), shape, l.low), index, NULL);
    return vq_emit_op(e, "Gather", vq_onnx_text(f, "%s.quantized", role), table, index, NULL);
}

bool vq_emit_is_qdq(const vq_emit *e, const vq_quantizer *q)
{
    const bool before_product = q && q->groups > 1 && e->node->op == VQ_NODE_LINEAR;
    return q && q->kind == VQ_QUANTIZER_UNIFORM && fits_u8(q) && !before_product;
}

const char *vq_emit_quantizer(vq_emit *e, const vq_quantizer *q, const char *x, const char *role, int axis, int rank,
                              const char **low)
{
    if (!q || q->kind == VQ_QUANTIZER_NONE || vq_onnx_status(e->file) != VQ_OK) return x;
    if (q->kind == VQ_QUANTIZER_CODEBOOK) return codebook(e, q, x, role, axis, rank, low);
    return vq_emit_is_qdq(e, q) ? quantize_dequantize(e, q, x, role, axis, rank)
                                : uniform_in_floats(e, q, x, role, axis, rank);
}

/* ---- weights -------------------------------------------------------------------------------------------------------
 */

/* Integers code - offset with zero points zero - offset; offset_is_zero: the zero point itself, so that those are 0. */
typedef struct packing {
    vq_onnx_type type;
    int offset;
    bool offset_is_zero;
} packing;

/* Whether every code and zero point fits; integers without zero points are what integer matrix products like best. */
static bool can_pack(const vq_quantizer *q, const uint8_t *codes, size_t row_length, const packing *p)
{
    const int top = p->type == VQ_ONNX_S4 ? 7 : 127, bottom = -top - 1;
    for (int r = 0; r < q->groups; r++) {
        if (!whole_zero(q->zero[r], -512, 512)) return false;
        const int zero = (int)q->zero[r], offset = p->offset_is_zero ? zero : p->offset;
        if (zero - offset < bottom || zero - offset > top) return false;
        for (size_t k = 0; k < row_length; k++) {
            const int code = codes[(size_t)r * row_length + k] - offset;
            if (code < bottom || code > top) return false;
        }
    }
    return true;
}

static bool choose_packing(packing *out, const vq_emit *e, const vq_quantizer *q, const uint8_t *codes, size_t length)
{
    static const packing all[] = {
        {VQ_ONNX_S4, 0, true}, {VQ_ONNX_S4, 8, false}, {VQ_ONNX_S8, 0, true}, {VQ_ONNX_S8, 128, false}};
    for (size_t i = 0; i < VQ_ARRAY_LEN(all); i++) {
        if (all[i].type == VQ_ONNX_S4 && !e->int4) continue;
        if (!can_pack(q, codes, length, &all[i])) continue;
        *out = all[i];
        return true;
    }
    return false;
}

static void put(uint8_t *data, vq_onnx_type type, size_t at, int value)
{
    if (type == VQ_ONNX_S4)
        data[at / 2] |= (uint8_t)((value & 15) << (at % 2 ? 4 : 0));
    else
        data[at] = (uint8_t)value;
}

/* The whole numbers code - zero as floats. */
static const char *whole_weight(vq_emit *e, const char *codes, const char *zero, const packing *p)
{
    const char *x = vq_emit_op(e, "Cast", "weight.cast", codes, NULL, NULL);
    vq_onnx_int(e->file, "to", VQ_ONNX_F32);
    if (p->offset_is_zero) return x;
    const char *const offset = vq_emit_op(e, "Cast", "weight.zero.cast", zero, NULL, NULL);
    vq_onnx_int(e->file, "to", VQ_ONNX_F32);
    return vq_emit_op(e, "Sub", "weight", x, offset, NULL);
}

static const char *integer_weight(vq_emit *e, const vq_qnode *qn, const char *name, vq_shape shape, bool transposed,
                                  const packing *p, const char **scale)
{
    const vq_quantizer *const q = &qn->weight;
    const size_t rows = (size_t)q->groups, cols = vq_shape_count(&shape) / rows;
    vq_onnx_file *const f = e->file;
    uint8_t *const data = vq_onnx_memory(f, rows * cols), *const zeros = vq_onnx_memory(f, rows);
    if (!data || !zeros) return name;
    for (size_t r = 0; r < rows; r++) {
        const int zero = (int)q->zero[r], offset = p->offset_is_zero ? zero : p->offset;
        put(zeros, p->type, r, zero - offset);
        for (size_t k = 0; k < cols; k++)
            put(data, p->type, transposed ? k * rows + r : r * cols + k, qn->codes[r * cols + k] - offset);
    }
    if (p->type == VQ_ONNX_S4)
        e->info->weights_s4++;
    else
        e->info->weights_s8++;
    const vq_shape groups = vq_shape1(q->groups);
    const char *const codes = vq_onnx_constant(f, name, p->type, shape, data);
    const bool whole = scale || vq_emit_whole(e);
    const char *zero = NULL, *scales = NULL;
    if (!vq_emit_whole(e)) scales = vq_emit_floats(e, "weight.scale", groups, q->scale);
    if (!whole || !p->offset_is_zero)
        zero = vq_onnx_constant(f, vq_onnx_text(f, "%s.weight.zero", e->node->name), p->type,
                                whole && !transposed ? group_shape(q->groups, 0, shape.num_dims) : groups, zeros);
    if (scale) *scale = scales;
    if (whole) return whole_weight(e, codes, zero, p);
    const char *const out = vq_emit_op(e, "DequantizeLinear", "weight", codes, scales, zero);
    vq_onnx_int(f, "axis", transposed ? 1 : 0);
    return out;
}

static const char *float_weight(vq_emit *e, const char *name, vq_shape shape, bool transposed, int rows)
{
    const size_t count = vq_shape_count(&shape), n = (size_t)rows, k = count / n;
    float *const data = vq_onnx_memory(e->file, count * sizeof *data);
    float *const rowwise = transposed ? vq_onnx_memory(e->file, count * sizeof *data) : data;
    const int node = (int)(e->node - e->graph->nodes);
    if (!data || !rowwise) return name;
    if (e->graph->params[e->node->weight].data)
        memcpy(rowwise, e->graph->params[e->node->weight].data, count * sizeof *data);
    else if (vq_emit_whole(e))
        vq_qmodel_weight_whole(rowwise, e->model, node);
    else
        vq_qmodel_weight_f32(rowwise, e->model, node);
    for (size_t i = 0; transposed && i < count; i++) data[i % k * n + i / k] = rowwise[i];
    e->info->weights_f32++;
    return vq_onnx_constant(e->file, name, VQ_ONNX_F32, shape, data);
}

const char *vq_emit_weight(vq_emit *e, vq_shape shape, bool transposed, const char **scale)
{
    const vq_param *const param = &e->graph->params[e->node->weight];
    const vq_qnode *const qn = e->model ? &e->model->nodes[e->node - e->graph->nodes] : NULL;
    const size_t rows = (size_t)param->shape.dims[0], row_length = vq_shape_count(&param->shape) / rows;
    packing p;
    if (scale) *scale = NULL;
    if (vq_onnx_status(e->file) != VQ_OK) return "";
    if (qn && qn->weight.kind == VQ_QUANTIZER_UNIFORM && choose_packing(&p, e, &qn->weight, qn->codes, row_length))
        return integer_weight(e, qn, param->name, shape, transposed, &p, scale);
    return float_weight(e, param->name, shape, transposed, (int)rows);
}
