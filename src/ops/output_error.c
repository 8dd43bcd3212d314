/* output_error on a device: packs a layer's weights for the variant chosen at creation, turns candidates into tables,
 * and adds up in double what each panel of rows gave as a float. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"

/* kernels/output_error.h */
enum { FIELD_SCALE, FIELD_SUM, FIELD_W_ZERO, NUM_FIELDS };
typedef struct candidate {
    float scale, zero, unit;
    int32_t z_low, z_high, planes, unused[2];
} candidate;
/* kernels/output_error_wide.cl */
enum { DOT_FLOAT, DOT_MADDUBS, DOT_MADD, DOT_DPBUSD, MAX_ROWS = 48 };
/* what a work-item's encoded rows may take: they stay in the second-level cache */
enum { ROWS_BYTES = 192 * 1024, MAX_NUM = 4096 };

struct vq_output_error {
    const vq_variant *variant;
    const char *function; /* of the kernel, with these options */
    char options[64];
    vq_buf *w, *consts, *bias;
    bool f32, wide;
    int n, k, n_pad, outer, inner; /* outer 0: weights that all batches share */
    int tile_rows, tile_cols;      /* of a register tile, or of a work-group's block */
    int code_bytes, steps, a_max;
    size_t w_batch;             /* elements of one batch's weights; 0 where they are shared */
    double sum_max, weight_max; /* over rows: |sum of weights| and sum of |weights|, as w + w_zero */
};

/* ---- weights ----------------------------------------------------------------------------------------------------- */

static int dot_of(const vq_variant *variant, const vq_output_error_s8 *w)
{
    const bool fits = 2 * w->a_max * w->w_abs_max <= INT16_MAX;
    return variant->p[3] == DOT_MADD && fits ? DOT_MADDUBS : variant->p[3];
}

/* Groups whose sum stays exact in the lanes that take it. */
static int steps_of(int dot, const vq_output_error_s8 *w)
{
    const int product = VQ_MAX(w->a_max * w->w_abs_max, 1);
    if (dot == DOT_MADDUBS) return INT16_MAX / (2 * product);
    return dot == DOT_FLOAT ? VQ_MIN((1 << 24) / product, 1 << 20) : 1 << 20;
}

/* [n_pad / cols][k_pad / group][cols][group]. */
static void pack(int8_t *out, const int8_t *w, size_t n, size_t k, size_t cols, size_t group)
{
    const size_t depth = VQ_CEIL_DIV(k, group);
    for (size_t j = 0; j < n; j++) {
        int8_t *const column = out + j / cols * depth * cols * group + j % cols * group;
        for (size_t i = 0; i < k; i++) column[i / group * cols * group + i % group] = w[j * k + i];
    }
}

/* Constants of one batch. The sums and their bounds are of w + w_zero. */
static void fill_consts(vq_output_error *op, int32_t *consts, const vq_output_error_s8 *w, size_t batch)
{
    const size_t n_pad = (size_t)op->n_pad, k = (size_t)op->k;
    for (size_t j = 0; j < (size_t)op->n; j++) {
        const size_t at = batch * (size_t)op->n + j;
        const int32_t w_zero = w->w_zero ? w->w_zero[at] : 0;
        int64_t sum = 0, size = 0;
        for (size_t i = 0; i < k; i++) {
            sum += w->w[at * k + i];
            size += abs(w->w[at * k + i]);
        }
        sum += (int64_t)k * w_zero;
        size += (int64_t)k * abs(w_zero);
        op->sum_max = VQ_MAX(op->sum_max, (double)llabs(sum));
        op->weight_max = VQ_MAX(op->weight_max, (double)size);
        memcpy(&consts[FIELD_SCALE * n_pad + j], &w->scale[at], sizeof *consts);
        consts[FIELD_SUM * n_pad + j] = (int32_t)sum;
        consts[FIELD_W_ZERO * n_pad + j] = w_zero;
    }
}

static vq_status upload_s8(vq_output_error *op, vq_device *dev, const vq_output_error_s8 *w, int group, int cols)
{
    const size_t batches = (size_t)VQ_MAX(w->batches, 1), row = NUM_FIELDS * (size_t)op->n_pad;
    const size_t bytes = (size_t)op->n_pad * VQ_ROUND_UP((size_t)op->k, (size_t)group);
    int8_t *packed = NULL;
    int32_t *consts = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&packed, batches * bytes, 1, "packed weights"));
    VQ_GO(vq_alloc(&consts, batches * row, sizeof *consts, "constants of weights"));
    for (size_t b = 0; b < batches; b++) {
        pack(packed + b * bytes, w->w + b * (size_t)op->n * (size_t)op->k, (size_t)op->n, (size_t)op->k, (size_t)cols,
             (size_t)group);
        fill_consts(op, consts + b * row, w, b);
    }
    if (op->weight_max * op->a_max >= 0x1p31) {
        status = vq_fail(VQ_ERR_UNSUPPORTED, "output_error: sums of codes up to %d may reach %.0f, 32 bits end at 2^31",
                         op->a_max, op->weight_max * op->a_max);
        goto done;
    }
    op->w_batch = batches > 1 ? bytes : 0;
    VQ_GO(vq_buf_create_from(&op->w, dev, packed, batches * bytes));
    VQ_GO(vq_buf_create_from(&op->consts, dev, consts, batches * row * sizeof *consts));
done:
    free(packed);
    free(consts);
    return status;
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static vq_status check_size(int n, int k, size_t batches)
{
    if (n < 1 || k < 1 || (size_t)n * (size_t)k > INT32_MAX / 2 || batches > 1 << 20)
        return vq_fail(VQ_ERR_SHAPE, "output_error: %zu weights [%d][%d], must be positive and below 2^30 each",
                       batches, n, k);
    return VQ_OK;
}

/* What both forms begin with: variant, tiles and the bias, padded with zeros. */
static vq_status begin(vq_output_error *op, vq_device *dev, int n, int k, const vq_buf *bias)
{
    const size_t bytes = (size_t)n * sizeof(float);
    const int *const p = (op->variant = vq_variant_choose(dev, VQ_OP_OUTPUT_ERROR))->p;
    op->wide = vq_variant_is_wide(op->variant);
    op->tile_rows = op->wide ? p[0] : p[1] * p[2];
    op->tile_cols = op->wide ? p[1] * p[2] : p[1] * p[2];
    op->n = n;
    op->k = k;
    op->n_pad = VQ_ROUND_UP(n, op->tile_cols);
    if (bias && bias->bytes < bytes)
        return vq_fail(VQ_ERR_SHAPE, "output_error: bias needs %d elements, its buffer has %zu bytes", n, bias->bytes);
    VQ_TRY(vq_buf_create(&op->bias, dev, (size_t)op->n_pad * sizeof(float)));
    return bias ? vq_buf_copy(dev, op->bias, 0, bias, 0, bytes) : VQ_OK;
}

static vq_status create_s8(vq_output_error *op, vq_device *dev, const vq_output_error_s8 *w, const vq_buf *bias)
{
    static const int groups[] = {1, 4, 2, 4}, code_bytes[] = {4, 1, 2, 1};
    VQ_TRY(check_size(w->n, w->k, (size_t)VQ_MAX(w->batches, 1)));
    if (w->a_max < 1 || w->a_max > 255 || w->w_abs_max < 0 || w->w_abs_max > 128)
        return vq_fail(VQ_ERR_INVALID_ARG, "output_error: codes up to %d and weights up to %d, at most 255 and 128",
                       w->a_max, w->w_abs_max);
    VQ_TRY(begin(op, dev, w->n, w->k, bias));
    const int dot = dot_of(op->variant, w);
    op->outer = w->batches > 1 ? w->batches : 0;
    op->a_max = w->a_max;
    op->steps = steps_of(dot, w);
    op->code_bytes = code_bytes[dot];
    VQ_TRY(upload_s8(op, dev, w, op->wide ? groups[dot] : 4, op->wide ? op->tile_cols : op->n_pad));
    snprintf(op->options, sizeof op->options, "-DW_ZERO=%d -DDOT=%d", w->w_zero != NULL, dot);
    op->function = "error_s8";
    return VQ_OK;
}

static vq_status pack_f32(vq_output_error *op, vq_device *dev, const vq_output_error_f32 *w, const vq_buf *b)
{
    const size_t outer = (size_t)VQ_MAX(w->outer, 1), inner = (size_t)VQ_MAX(w->inner, 1), batches = outer * inner;
    const size_t rows = (size_t)(w->k_major ? w->k : w->n), cols = (size_t)(w->k_major ? w->n : w->k);
    const size_t need =
        w->offset + (outer - 1) * w->stride_outer + (inner - 1) * w->stride_inner + (rows - 1) * (size_t)w->ld + cols;
    const size_t count = (size_t)op->n_pad * (size_t)op->k, local = op->wide ? 1 : (size_t)op->variant->p[0];
    const vq_grid grid = {{op->wide ? (size_t)(op->n_pad / op->tile_cols) : VQ_CEIL_DIV((size_t)op->n_pad, local),
                           op->wide ? 1 : (size_t)op->k, batches},
                          {local, 1, 1}};
    vq_kernel *kernel;
    if (w->ld < 1 || (size_t)w->ld < cols)
        return vq_fail(VQ_ERR_SHAPE, "output_error: rows of %zu weights overlap, they start %d apart", cols, w->ld);
    if (!b || b->bytes / sizeof(float) < need)
        return vq_fail(VQ_ERR_SHAPE, "output_error: weights need %zu elements, their buffer has %zu bytes", need,
                       b ? b->bytes : 0);
    VQ_TRY(vq_buf_create(&op->w, dev, batches * count * sizeof(float)));
    op->outer = batches > 1 ? (int)outer : 0;
    op->inner = batches > 1 ? (int)inner : 0;
    op->w_batch = batches > 1 ? count : 0;
    VQ_TRY(vq_kernel_get(&kernel, dev, op->variant, "error_pack", NULL));
    VQ_TRY(VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(b), VQ_A_BUF(op->w), VQ_A_I32(op->n), VQ_A_I32(op->k),
                     VQ_A_I32(op->n_pad), VQ_A_I32((int)inner), VQ_A_I64((int64_t)w->offset),
                     VQ_A_I64((int64_t)w->stride_outer), VQ_A_I64((int64_t)w->stride_inner),
                     VQ_A_I64(w->k_major ? 1 : w->ld), VQ_A_I64(w->k_major ? w->ld : 1)));
    return vq_device_finish(dev);
}

static vq_status create_f32(vq_output_error *op, vq_device *dev, const vq_output_error_f32 *w, const vq_buf *b,
                            const vq_buf *bias)
{
    op->f32 = true;
    op->code_bytes = sizeof(float);
    VQ_TRY(check_size(w->n, w->k, (size_t)VQ_MAX(w->outer, 1) * (size_t)VQ_MAX(w->inner, 1)));
    VQ_TRY(begin(op, dev, w->n, w->k, bias));
    VQ_TRY(pack_f32(op, dev, w, b));
    op->function = "error_f32";
    return VQ_OK;
}

static vq_status hand_over(vq_output_error **out, vq_output_error *op, vq_status status)
{
    if (status != VQ_OK) vq_output_error_destroy(&op);
    *out = op;
    return status;
}

vq_status vq_output_error_create_s8(vq_output_error **out, vq_device *dev, const vq_output_error_s8 *weights,
                                    const vq_buf *bias)
{
    vq_output_error *op;
    *out = NULL;
    VQ_TRY(vq_alloc(&op, 1, sizeof *op, "a scored layer"));
    return hand_over(out, op, create_s8(op, dev, weights, bias));
}

vq_status vq_output_error_create_f32(vq_output_error **out, vq_device *dev, const vq_output_error_f32 *weights,
                                     const vq_buf *b, const vq_buf *bias)
{
    vq_output_error *op;
    *out = NULL;
    VQ_TRY(vq_alloc(&op, 1, sizeof *op, "a scored layer"));
    return hand_over(out, op, create_f32(op, dev, weights, b, bias));
}

void vq_output_error_destroy(vq_output_error **op_ptr)
{
    vq_output_error *const op = *op_ptr;
    if (!op) return;
    vq_buf_destroy(&op->bias);
    vq_buf_destroy(&op->consts);
    vq_buf_destroy(&op->w);
    free(op);
    *op_ptr = NULL;
}

/* ---- candidates -------------------------------------------------------------------------------------------------- */

static vq_status check_candidates(const vq_output_error *op, const vq_candidates *c)
{
    if (c->num < 1 || c->num > MAX_NUM || c->levels < 2 || c->levels > 256)
        return vq_fail(VQ_ERR_INVALID_ARG, "output_error: %d candidates of %d levels; 1 to %d of 2 to 256", c->num,
                       c->levels, MAX_NUM);
    if (!c->scale || !c->zero || !c->thresholds != !c->values)
        return vq_fail(VQ_ERR_INVALID_ARG, "output_error: candidates lack scales, zero points, thresholds or values");
    for (int j = 0; j < c->num; j++) {
        const double zero = (double)c->zero[j];
        const bool whole = rint(zero) == zero && fabs(zero) <= (c->thresholds ? 65535 : 0x1p23);
        if (!isfinite(c->scale[j]) || !isfinite(zero) || ((c->thresholds || !op->f32) && !whole) ||
            (c->thresholds && zero < 0))
            return vq_fail(VQ_ERR_INVALID_ARG, "output_error: candidate %d has scale %g and zero point %g", j,
                           (double)c->scale[j], zero);
    }
    return VQ_OK;
}

/* Codes or bytes of a candidate within what the weights were packed for, and their sums within 32 bits. */
static vq_status check_range(const vq_output_error *op, int j, int code_max, double zero)
{
    if (code_max > op->a_max)
        return vq_fail(VQ_ERR_INVALID_ARG, "output_error: candidate %d has codes up to %d, the weights are for %d", j,
                       code_max, op->a_max);
    if (op->weight_max * code_max + op->sum_max * fabs(zero) >= 0x1p31)
        return vq_fail(VQ_ERR_UNSUPPORTED, "output_error: candidate %d, zero point %g: sums leave 32 bits", j, zero);
    return VQ_OK;
}

/* A candidate for integer weights: its code, or the bytes of its values that are not 0 throughout. */
static vq_status candidate_s8(const vq_output_error *op, candidate *out, int32_t *values, const vq_candidates *c, int j)
{
    const uint16_t *const from = c->values + (size_t)j * (size_t)c->levels;
    const int zero = (int)c->zero[j];
    int all = zero, low = 0, high = 0;
    *out = (candidate){.scale = c->scale[j], .zero = c->zero[j], .unit = c->scale[j], .z_low = zero, .planes = 1};
    if (!c->thresholds) return check_range(op, j, c->levels - 1, zero);
    for (int i = 0; i < c->levels; i++) {
        all |= from[i];
        low = VQ_MAX(low, from[i] & 255);
        high = VQ_MAX(high, from[i] >> 8);
    }
    const int shift = (all & 255) == 0 ? 8 : 0;
    for (int i = 0; i < c->levels; i++) values[i] = from[i] >> shift;
    out->planes = shift || all < 256 ? 1 : 2;
    out->unit = c->scale[j] * (shift ? 256.0f : 1.0f);
    out->z_low = zero >> shift & 255;
    out->z_high = zero >> 8;
    if (shift) low = high;
    VQ_TRY(check_range(op, j, low, out->z_low));
    return out->planes == 2 ? check_range(op, j, high, out->z_high) : VQ_OK;
}

static void candidate_f32(candidate *out, float *values, const vq_candidates *c, int j)
{
    *out = (candidate){.scale = c->scale[j], .zero = c->zero[j], .unit = c->scale[j], .planes = 1};
    for (int i = 0; c->thresholds && i < c->levels; i++)
        values[i] = ((float)c->values[(size_t)j * (size_t)c->levels + (size_t)i] - c->zero[j]) * c->scale[j];
}

/* One sweep: tables on the device, how the rows are cut, and what has been added up so far. */
typedef struct vq_output_sweep {
    vq_buf *candidates, *thresholds, *values, *partial;
    float *sums;
    size_t sums_count;
    int planes; /* the most of any candidate */
    int rows;   /* scored, of every batch */
    int rows_per_item, pitch;
    size_t batch;
    vq_candidates list; /* borrowed */
    int terms;          /* sums of a candidate: 1, or 3 for cosines */
    double *total;      /* [num][terms] */
} sweep;

static vq_status upload_candidates(sweep *s, vq_device *dev, const vq_output_error *op, const vq_candidates *c)
{
    const size_t num = (size_t)c->num, levels = (size_t)c->levels;
    candidate *list = NULL;
    int32_t *values = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&list, num, sizeof *list, "candidates"));
    VQ_GO(vq_alloc(&values, num * levels, sizeof *values, "values of candidates"));
    for (size_t j = 0; j < num; j++) {
        if (op->f32)
            candidate_f32(&list[j], (float *)values + j * levels, c, (int)j);
        else
            VQ_GO(candidate_s8(op, &list[j], values + j * levels, c, (int)j));
        s->planes = VQ_MAX(s->planes, list[j].planes);
    }
    VQ_GO(vq_buf_create_from(&s->candidates, dev, list, num * sizeof *list));
    VQ_GO(vq_buf_create_from(&s->values, dev, values, num * levels * sizeof *values));
    if (c->thresholds)
        VQ_GO(vq_buf_create_from(&s->thresholds, dev, c->thresholds, num * (levels - 1) * sizeof(float)));
done:
    free(list);
    free(values);
    return status;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static vq_status check_operand(const char *what, const vq_buf *buf, size_t offset, size_t rows, size_t cols, int ld,
                               const vq_output_error_shape *s, size_t outer_stride, size_t inner_stride)
{
    const size_t need = offset + (size_t)(s->outer - 1) * outer_stride + (size_t)(s->inner - 1) * inner_stride +
                        (rows - 1) * (size_t)ld + cols;
    if (ld < 1 || (size_t)ld < cols)
        return vq_fail(VQ_ERR_SHAPE, "output_error: rows of %s have %zu elements but start %d apart", what, cols, ld);
    if (!buf || buf->bytes / sizeof(float) < need)
        return vq_fail(VQ_ERR_SHAPE, "output_error: %s needs %zu elements, its buffer has %zu bytes", what, need,
                       buf ? buf->bytes : 0);
    return VQ_OK;
}

static vq_status check_shape(const vq_output_error *op, const vq_output_error_shape *s, const vq_buf *x,
                             const vq_buf *y)
{
    if (s->m < 1 || s->row_step < 1 || s->outer < 1 || s->inner < 1 || (int64_t)s->outer * s->inner > 1 << 20)
        return vq_fail(VQ_ERR_SHAPE, "output_error: M %d in steps of %d, batch %d x %d", s->m, s->row_step, s->outer,
                       s->inner);
    const bool same = op->f32 ? op->outer == s->outer && op->inner == s->inner : op->outer == s->outer * s->inner;
    if (op->outer && !same)
        return vq_fail(VQ_ERR_SHAPE, "output_error: batch %d x %d, the weights have %d", s->outer, s->inner,
                       op->outer * VQ_MAX(op->inner, 1));
    const size_t last = (size_t)((s->m - 1) / s->row_step * s->row_step) + 1;
    VQ_TRY(check_operand("x", x, s->x_offset, last, (size_t)op->k, s->ldx, s, s->x_outer, s->x_inner));
    return check_operand("y", y, s->y_offset, last, (size_t)op->n, s->ldy, s, s->y_outer, s->y_inner);
}

/* Rows of a work-item: as many as make the weights worth reading, while their codes fit. An odd number of cache lines
 * per row keeps the rows of a tile in different sets of a cache. */
static vq_status cut(sweep *s, const vq_device *dev, const vq_output_error *op)
{
    const size_t local = vq_device_get_info(dev)->local_mem_bytes;
    const size_t items = 8 * (size_t)vq_device_get_info(dev)->compute_units; /* that share the work evenly */
    if (op->wide) {
        s->pitch = VQ_ROUND_UP(VQ_ROUND_UP(op->k, 16) * op->code_bytes, 64) | 64;
        const size_t row = (size_t)s->pitch * (size_t)s->planes, fits = local / row;
        if (!fits)
            return vq_fail(VQ_ERR_UNSUPPORTED, "output_error: K %d needs %zu bytes of local memory, the device has %zu",
                           op->k, row, local);
        const int rows = VQ_MIN((int)VQ_MIN(ROWS_BYTES / row, fits), MAX_ROWS) / op->tile_rows * op->tile_rows;
        s->rows_per_item = rows ? rows : VQ_MIN((int)VQ_MIN(fits, MAX_ROWS), op->tile_rows);
        while (s->rows_per_item > op->tile_rows && (size_t)VQ_CEIL_DIV(s->rows, s->rows_per_item) * s->batch < items)
            s->rows_per_item -= op->tile_rows;
    } else {
        s->rows_per_item = op->tile_rows;
    }
    return VQ_OK;
}

static vq_status launch(const sweep *s, vq_device *dev, const vq_output_error *op, const vq_output_error_shape *shape,
                        const vq_buf *x, const vq_buf *y, int rows)
{
    const vq_candidates *const c = &s->list;
    const vq_grid grid = {{(size_t)VQ_CEIL_DIV(rows, s->rows_per_item), (size_t)shape->outer * (size_t)shape->inner},
                          {op->wide ? 1 : (size_t)op->variant->p[0], 1}};
    const int64_t consts_batch = op->w_batch ? (int64_t)NUM_FIELDS * op->n_pad : 0;
    const vq_arg args[] = {VQ_A_BUF(x),
                           VQ_A_BUF(y),
                           VQ_A_BUF(op->w),
                           VQ_A_BUF(op->consts ? op->consts : op->bias),
                           VQ_A_BUF(op->bias),
                           VQ_A_BUF(s->candidates),
                           VQ_A_BUF(s->thresholds ? s->thresholds : s->values),
                           VQ_A_BUF(s->values),
                           VQ_A_BUF(s->partial),
                           VQ_A_I32(rows),
                           VQ_A_I32(op->n),
                           VQ_A_I32(op->k),
                           VQ_A_I32(op->n_pad),
                           VQ_A_I32(c->num),
                           VQ_A_I32(c->levels),
                           VQ_A_I32(c->thresholds != NULL),
                           VQ_A_I32(shape->inner),
                           VQ_A_I64((int64_t)shape->x_offset),
                           VQ_A_I64((int64_t)shape->x_outer),
                           VQ_A_I64((int64_t)shape->x_inner),
                           VQ_A_I64((int64_t)shape->ldx * shape->row_step),
                           VQ_A_I64((int64_t)shape->y_offset),
                           VQ_A_I64((int64_t)shape->y_outer),
                           VQ_A_I64((int64_t)shape->y_inner),
                           VQ_A_I64((int64_t)shape->ldy * shape->row_step),
                           VQ_A_I64((int64_t)op->w_batch),
                           VQ_A_I64(consts_batch),
                           VQ_A_I32(s->rows_per_item),
                           VQ_A_I32(s->pitch),
                           VQ_A_I32(op->steps),
                           VQ_A_LOCAL((size_t)s->pitch * (size_t)s->rows_per_item * (size_t)s->planes)};
    const int count = (int)VQ_ARRAY_LEN(args);
    char options[sizeof op->options + 16];
    vq_kernel *kernel = NULL;
    snprintf(options, sizeof options, "%s%s%s", op->options, c->cosine && *op->options ? " " : "",
             c->cosine ? "-DCOSINE=1" : "");
    VQ_TRY(vq_kernel_get(&kernel, dev, op->variant, op->function, *options ? options : NULL));
    return vq_launch(dev, kernel, grid, args, op->wide ? count : count - 3);
}

/* Adds partial [batch][panel][num][terms]. */
static vq_status collect(const sweep *s, vq_device *dev, size_t panels, size_t batch)
{
    const size_t parts = panels * batch, num = (size_t)(s->list.num * s->terms);
    VQ_TRY(vq_buf_read(dev, s->partial, 0, s->sums, parts * num * sizeof *s->sums));
    for (size_t j = 0; j < num; j++)
        for (size_t i = 0; i < parts; i++) s->total[j] += (double)s->sums[i * num + j];
    return VQ_OK;
}

/* Room for the sums of one part. */
static vq_status make_room(sweep *s, vq_device *dev, size_t count)
{
    if (count <= s->sums_count) return VQ_OK;
    s->sums_count = 0;
    free(s->sums);
    s->sums = NULL;
    vq_buf_destroy(&s->partial);
    VQ_TRY(vq_alloc(&s->sums, count, sizeof *s->sums, "partial errors"));
    VQ_TRY(vq_buf_create(&s->partial, dev, count * sizeof *s->sums));
    s->sums_count = count;
    return VQ_OK;
}

vq_status vq_output_sweep_begin(vq_output_sweep **out, vq_device *dev, const vq_output_error *op, int rows,
                                size_t batch, const vq_candidates *candidates)
{
    sweep *s = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(check_candidates(op, candidates));
    VQ_TRY(vq_alloc(&s, 1, sizeof *s, "a sweep"));
    s->rows = rows;
    s->batch = batch;
    s->list = *candidates;
    s->terms = candidates->cosine ? 3 : 1;
    VQ_GO(vq_alloc(&s->total, (size_t)(candidates->num * s->terms), sizeof *s->total, "errors"));
    VQ_GO(upload_candidates(s, dev, op, candidates));
    VQ_GO(cut(s, dev, op));
    *out = s;
    s = NULL;
done:
    vq_output_sweep_end(&s);
    return status;
}

int vq_output_sweep_panel(const vq_output_sweep *s)
{
    return s->rows_per_item;
}

vq_status vq_output_sweep_add(vq_output_sweep *s, vq_device *dev, const vq_output_error *op,
                              const vq_output_error_shape *shape, const vq_buf *x, const vq_buf *y)
{
    vq_output_error_shape sh = *shape;
    if (!sh.row_step) sh.row_step = 1;
    if (!sh.outer) sh.outer = 1;
    if (!sh.inner) sh.inner = 1;
    VQ_TRY(check_shape(op, &sh, x, y));
    const int rows = VQ_CEIL_DIV(sh.m, sh.row_step);
    const size_t panels = (size_t)VQ_CEIL_DIV(rows, s->rows_per_item), batch = (size_t)sh.outer * (size_t)sh.inner;
    VQ_TRY(make_room(s, dev, panels * batch * (size_t)(s->list.num * s->terms)));
    VQ_TRY(launch(s, dev, op, &sh, x, y, rows));
    return collect(s, dev, panels, batch);
}

/* From |d|^2, d.p and |p|^2 with t = p + d, by way of sin^2 = (|d|^2 - (d.p)^2 / |p|^2) / |t|^2, which is small where d
 * is: nothing cancels. */
static double cosine_distance(const double sums[3])
{
    const double size = sums[2], target = sums[0] + 2 * sums[1] + size, product = sums[1] + size;
    if (!(size > 0) || !(target > 0)) return 1;
    const double sin2 = fmin(fmax((sums[0] - sums[1] * sums[1] / size) / target, 0), 1), cosine = sqrt(1 - sin2);
    return product >= 0 ? sin2 / (1 + cosine) : 1 + cosine;
}

void vq_output_sweep_errors(const vq_output_sweep *s, const vq_output_error *op, double *error)
{
    for (int j = 0; j < s->list.num; j++)
        error[j] =
            s->terms == 1 ? s->total[j] / ((double)s->batch * s->rows * op->n) : cosine_distance(&s->total[3 * j]);
}

void vq_output_sweep_end(vq_output_sweep **sweep_ptr)
{
    sweep *const s = *sweep_ptr;
    if (!s) return;
    vq_buf_destroy(&s->partial);
    vq_buf_destroy(&s->candidates);
    vq_buf_destroy(&s->thresholds);
    vq_buf_destroy(&s->values);
    free(s->sums);
    free(s->total);
    free(s);
    *sweep_ptr = NULL;
}

vq_status vq_output_error_run(vq_device *dev, const vq_output_error *op, const vq_output_error_shape *shape,
                              const vq_buf *x, const vq_buf *y, const vq_candidates *candidates, double *error)
{
    const int step = shape->row_step > 1 ? shape->row_step : 1;
    const size_t batch = (size_t)VQ_MAX(shape->outer, 1) * (size_t)VQ_MAX(shape->inner, 1);
    vq_output_sweep *s = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_output_sweep_begin(&s, dev, op, VQ_CEIL_DIV(VQ_MAX(shape->m, 1), step), batch, candidates));
    VQ_GO(vq_output_sweep_add(s, dev, op, shape, x, y));
    vq_output_sweep_errors(s, op, error);
done:
    vq_output_sweep_end(&s);
    return status;
}
