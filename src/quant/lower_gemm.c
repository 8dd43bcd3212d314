/* Linear layers and the patch embedding: integer weights from the codes, and the scales of both sides as one multiplier
 * per output channel.
 *
 *   real[n] = sx * sw[n] * (sum_k (a[k] - zx) * (code[n][k] - zw[n])) + bias[n]
 *   out[n]  = rint(real[n] / step[n]) + offset[n]
 *
 * The bias enters the accumulator, in units of sx * sw[n], together with the correction -zx * sum(code - zw). What
 * rounding it leaves over, at most half a unit, goes to the offset as far as that is finer. At few bits half a unit is
 * much: there the weights are multiplied by a power of two, and the unit is that much finer. (Decode values of two
 * bytes are fine enough.) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/lower.h"

enum { ZERO_MAX = 1 << 24 };

static const double factor_min = 0x1p-33, factor_max = 0x1p30;

/* ---- integer weights -----------------------------------------------------------------------------------------------
 */

/* Range of code - zero over all rows; false where it leaves s16, which no calibration gives. */
static bool weight_range(const vq_qnode *qn, int n, int k, int64_t *lowest, int64_t *highest)
{
    *lowest = *highest = 0;
    for (int row = 0; row < n; row++) {
        const int64_t zero = vq_lower_zero(&qn->weight, row);
        for (int i = 0; i < k; i++) {
            const int64_t v = qn->codes[(size_t)row * (size_t)k + (size_t)i] - zero;
            *lowest = VQ_MIN(*lowest, v);
            *highest = VQ_MAX(*highest, v);
        }
    }
    return *lowest > INT16_MIN / 2 && *highest < INT16_MAX / 2;
}

/* The largest power of two that weights up to w_abs_max may be multiplied by: the products still fit s8, and as many of
 * them can be summed in 16 bits before they are widened as keeps that summation worth while. */
static int finer_unit(int a_max, int64_t w_abs_max)
{
    enum { SUMMED = 16 };
    int factor = 1;
    while (w_abs_max * factor * 2 <= 127 && 2 * a_max * w_abs_max * factor * 2 * SUMMED <= INT16_MAX) factor *= 2;
    return factor;
}

/* factor * (code - zero) where that fits s8 everywhere, else code - 128 and the rest in w_zero; then factor is 1. */
static vq_status build_weights(vq_gemm_s8_weights *w, int *factor, const char *name, const vq_qnode *qn)
{
    const size_t count = (size_t)w->n * (size_t)w->k;
    int64_t lowest, highest;
    int8_t *s8 = NULL;
    int32_t *zero = NULL;
    if (!weight_range(qn, w->n, w->k, &lowest, &highest))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: weights minus zero point span %lld to %lld, too wide for integers",
                       name, (long long)lowest, (long long)highest);
    const bool fits = lowest >= -128 && highest <= 127;
    VQ_TRY(vq_alloc(&s8, count, 1, name));
    w->w = s8;
    if (!fits) VQ_TRY(vq_alloc(&zero, (size_t)w->n, sizeof *zero, name));
    w->w_zero = zero;
    *factor = fits && w->a_planes == 1 ? finer_unit(w->a_max, VQ_MAX(VQ_MAX(-lowest, highest), 1)) : 1;
    for (int n = 0; n < w->n; n++) {
        const int32_t z = (int32_t)vq_lower_zero(&qn->weight, n);
        if (zero) zero[n] = 128 - z;
        for (size_t i = (size_t)n * (size_t)w->k, end = i + (size_t)w->k; i < end; i++) {
            const int v = *factor * (qn->codes[i] - (zero ? 128 : z));
            s8[i] = (int8_t)v;
            w->w_abs_max = VQ_MAX(w->w_abs_max, abs(v));
        }
    }
    return VQ_OK;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------
 */

int vq_lower_input_value(const vq_quantizer *q, const vq_input_form *form, int i)
{
    if (q->kind == VQ_QUANTIZER_UNIFORM) return i;
    return form->drop ? (q->values[i] + (1 << (form->drop - 1))) >> form->drop : q->values[i];
}

/* The largest sum over a row of what an input of 1 may add, weights being stored as build_weights does. */
static double largest_row(const vq_qnode *qn, int n, int k)
{
    int64_t lowest, highest;
    double most = 0;
    const bool fits = weight_range(qn, n, k, &lowest, &highest) && lowest >= -128 && highest <= 127;
    for (int row = 0; row < n; row++) {
        const int64_t zero = vq_lower_zero(&qn->weight, row), stored = fits ? zero : 128;
        double sum = (double)llabs(stored - zero) * k;
        for (int i = 0; i < k; i++) sum += (double)llabs(qn->codes[(size_t)row * (size_t)k + (size_t)i] - stored);
        most = VQ_MAX(most, sum);
    }
    return most;
}

static vq_status check_codebook(const vq_quantizer *q, const char *node)
{
    if (q->kind != VQ_QUANTIZER_CODEBOOK || q->bits < 2 || q->bits > 8 || q->levels != 1 << q->bits)
        return vq_fail(VQ_ERR_UNSUPPORTED,
                       "%s: its input has %d levels for %d bits, integers need 2^bits and 2..8 bits", node, q->levels,
                       q->bits);
    return VQ_OK;
}

vq_status vq_lower_input_form(vq_input_form *out, const vq_lowering *l, int linear)
{
    const vq_node *const n = &l->m->graph->nodes[linear];
    const vq_qnode *const qn = &l->m->nodes[linear];
    const vq_quantizer *const q = &qn->in[0];
    const vq_shape *const shape = &l->m->graph->params[n->weight].shape;
    if (q->kind == VQ_QUANTIZER_UNIFORM) {
        VQ_TRY(vq_lower_check_uniform(q, n->name, "input"));
        *out = (vq_input_form){.scale = q->scale[0], .zero = q->zero[0], .a_max = q->levels - 1, .planes = 1};
        return VQ_OK;
    }
    VQ_TRY(check_codebook(q, n->name));
    VQ_TRY(vq_lower_check_uniform(&qn->weight, n->name, "weight"));
    if (!qn->codes) return vq_fail(VQ_ERR_SHAPE, "%s: has no weight codes", n->name);
    const double sum = largest_row(qn, (int)shape->dims[0], (int)shape->dims[1]);
    const int top = q->values[q->levels - 1];
    bool low = fmod((double)q->zero[0], 256) != 0;
    for (int i = 0; i < q->levels; i++) low |= (q->values[i] & 255) != 0;
    int drop = low ? 0 : 8;
    /* half of 32 bits for the products, so that bias and zero point find room */
    while (drop < 8 && sum * (double)((top >> drop) + 1) > 0x1p30) drop++;
    *out = (vq_input_form){
        .scale = ldexp((double)q->scale[0], drop), .zero = ldexp((double)q->zero[0], -drop), .drop = drop};
    out->a_max = vq_lower_input_value(q, out, q->levels - 1);
    if (drop == 8) out->a_max = VQ_MIN(out->a_max, 255);
    out->planes = out->a_max > 255 ? 2 : 1;
    return VQ_OK;
}

/* ---- scales --------------------------------------------------------------------------------------------------------
 */

typedef struct row_params {
    int64_t bias, zero;
    double factor; /* of the accumulator, to output steps */
} row_params;

/* A row whose product is nothing but its bias: the unit of the accumulator is free, so take one in which the bias is
 * about 2^20 and exact enough. */
static row_params constant_row(double out, int64_t offset)
{
    row_params p = {.zero = offset, .factor = VQ_MIN(VQ_MAX(fabs(out) * 0x1p-20, 0x1p-30), 0x1p28)};
    p.bias = (int64_t)rint(VQ_MIN(VQ_MAX(out / p.factor, -0x1p30), 0x1p30));
    return p;
}

static double weight_sum(const vq_qnode *qn, int n, int k, double *largest)
{
    const uint8_t *const codes = qn->codes + (size_t)n * (size_t)k;
    const int64_t zero = vq_lower_zero(&qn->weight, n);
    int64_t sum = 0, size = 0;
    for (int i = 0; i < k; i++) {
        sum += codes[i] - zero;
        size += llabs(codes[i] - zero);
    }
    *largest = (double)size;
    return (double)sum;
}

/* Where real weights are so small beside the bias that the bias overflows their unit, their product is below what the
 * output can show, and the row is a constant. */
static bool is_negligible(double product, const vq_gemm_target *target)
{
    const bool fine = target->epilogue == VQ_GEMM_ADD || target->epilogue == VQ_GEMM_SET;
    return product < (fine ? 64.0 : 0.0625); /* 2^-10 in the residual stream; a sixteenth of a code */
}

static vq_status compute_row(row_params *p, const char *name, const vq_qnode *qn, const vq_gemm_s8_weights *w, int n,
                             int weight_factor, double unit, double a_zero, double bias, const vq_gemm_target *t)
{
    const bool stepped = t->epilogue == VQ_GEMM_CODES || t->epilogue == VQ_GEMM_TABLE;
    double size;
    const double sum = weight_sum(qn, n, w->k, &size) * weight_factor, whole_zero = rint(a_zero);
    const double correction = whole_zero * sum, reach = size * weight_factor * (w->a_max + fabs(a_zero));
    const double step = t->step[n], in_units = bias / unit - (a_zero - whole_zero) * sum;
    if (size == 0) {
        *p = constant_row(bias / step, t->offset[n]);
        return VQ_OK;
    }
    if (fabs(in_units) >= 0x1p30) {
        if (!is_negligible(reach * unit / step, t))
            return vq_fail(VQ_ERR_UNSUPPORTED,
                           "%s: bias %g of row %d is %.3g units of its weights, too many for 32 bits", name, bias, n,
                           in_units);
        *p = constant_row(bias / step, t->offset[n]);
        p->factor = -p->factor; /* marks that the weights must go */
        return VQ_OK;
    }
    if (fabs(correction) >= 0x1p31)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: the zero point of the input moves row %d by %.3g, too far for 32 bits",
                       name, n, correction);
    const double whole = rint(in_units), rest = (in_units - whole) * unit / step;
    p->factor = unit / step;
    p->bias = (int64_t)whole - (int64_t)correction;
    p->zero = t->offset[n];
    if (stepped && fabs(rest) < ZERO_MAX) p->zero += (int64_t)rint(rest);
    return VQ_OK;
}

/* Zeroes a row's weights: with w_zero they are code - 128 + w_zero. */
static void clear_row(vq_gemm_s8_weights *w, int8_t *s8, int32_t *w_zero, int n)
{
    memset(s8 + (size_t)n * (size_t)w->k, 0, (size_t)w->k);
    if (w_zero) w_zero[n] = 0;
}

/* A factor so large that any nonzero sum saturates may be smaller, which keeps results in 32 bits. */
static double tame_factor(const vq_gemm_s8_weights *w, int n, double factor, int64_t zero, const vq_gemm_target *t)
{
    const int span = t->epilogue == VQ_GEMM_CODES ? 1 << t->bits : w->table_len;
    if (t->epilogue != VQ_GEMM_CODES && t->epilogue != VQ_GEMM_TABLE) return factor;
    const double most = 0x1p30 / (vq_gemm_row_bound(w, n) + 1);
    return factor > most && most > (double)(span + llabs(zero)) ? most : factor;
}

typedef struct gemm_arrays {
    int8_t *w;
    int32_t *w_zero, *bias, *mult, *zero;
    uint8_t *shift;
} gemm_arrays;

static vq_status store_row(gemm_arrays *a, vq_gemm_s8_weights *w, const char *name, int n, row_params p,
                           const vq_gemm_target *t)
{
    if (p.factor < 0) {
        clear_row(w, a->w, a->w_zero, n);
        p.factor = -p.factor;
    }
    if (llabs(p.bias) > INT32_MAX || llabs(p.zero) > ZERO_MAX)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: row %d needs bias %lld and zero point %lld, out of range", name, n,
                       (long long)p.bias, (long long)p.zero);
    a->bias[n] = (int32_t)p.bias;
    a->zero[n] = (int32_t)p.zero;
    p.factor = tame_factor(w, n, p.factor, p.zero, t);
    if (p.factor < factor_min) p.factor = 0; /* |sum| * 2^-33 < 1/2: always rounds to 0 */
    if (p.factor >= factor_max || !vq_mult_shift(&a->mult[n], &a->shift[n], p.factor)) {
        if (p.factor >= factor_max)
            return vq_fail(VQ_ERR_UNSUPPORTED, "%s: row %d needs a scale of %g, must be below 2^30", name, n, p.factor);
        a->mult[n] = 0; /* between 2^-33 and 2^-32: the same */
        a->shift[n] = 1;
    }
    return VQ_OK;
}

static vq_status compute_rows(gemm_arrays *a, vq_gemm_s8_weights *w, const vq_lowering *l, const char *name, int node,
                              int weight_factor, const vq_input_form *input, const vq_gemm_target *t)
{
    const vq_node *const n = &l->m->graph->nodes[node];
    const vq_qnode *const qn = &l->m->nodes[node];
    const float *const bias = n->bias >= 0 ? l->m->graph->params[n->bias].data : NULL;
    for (int row = 0; row < w->n; row++) {
        const double b = bias ? bias[row] : 0, unit = input->scale * qn->weight.scale[row] / weight_factor;
        row_params p = {0};
        if (!isfinite(b)) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: bias[%d] is not finite", name, row);
        VQ_TRY(compute_row(&p, name, qn, w, row, weight_factor, unit, input->zero, b, t));
        VQ_TRY(store_row(a, w, name, row, p, t));
    }
    return VQ_OK;
}

/* In a file, a row whose weights went is told by a list of them. */
static vq_status read_cleared(const vq_lowering *l, gemm_arrays *a, vq_gemm_s8_weights *w, const char *name)
{
    char tensor[VQ_TENSOR_NAME_MAX];
    int32_t *rows = NULL;
    int count = 0;
    vq_status status = VQ_OK;
    vq_int_tensor_name(tensor, name, "constant_rows");
    if (!vq_safetensors_find(l->st, tensor)) return VQ_OK;
    VQ_GO(vq_lower_read_list(l, &rows, &count, name, "constant_rows", VQ_DTYPE_S32, 1, w->n));
    for (int i = 0; i < count; i++) {
        if (rows[i] < 0 || rows[i] >= w->n)
            VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: %s[%d] is %d, must be 0 to %d", vq_safetensors_path(l->st), tensor, i,
                          rows[i], w->n - 1));
        clear_row(w, a->w, a->w_zero, rows[i]);
    }
done:
    free(rows);
    return status;
}

vq_status vq_lower_gemm(const vq_lowering *l, vq_gemm_s8_weights *w, const char *name, int node,
                        const vq_input_form *input, const vq_gemm_target *target)
{
    const vq_node *const n = &l->m->graph->nodes[node];
    const vq_qnode *const qn = &l->m->nodes[node];
    const vq_shape *const shape = &l->m->graph->params[n->weight].shape;
    const vq_shape rows = vq_shape1(shape->dims[0]);
    gemm_arrays a = {0};
    int factor = 1;
    VQ_TRY(vq_lower_check_uniform(&qn->weight, n->name, "weight"));
    if (!qn->codes) return vq_fail(VQ_ERR_SHAPE, "%s: has no weight codes", n->name);
    w->n = (int)shape->dims[0];
    w->k = (int)shape->dims[1];
    w->a_max = input->a_max;
    w->a_planes = input->planes;
    w->a_zero = input->spread ? -1 : (int)VQ_MIN(VQ_MAX(rint(input->zero), 0), 255);
    w->epilogue = target->epilogue;
    w->bits = target->bits;
    VQ_TRY(build_weights(w, &factor, name, qn));
    VQ_TRY(vq_lower_array(l, &a.bias, name, "bias", VQ_DTYPE_S32, rows));
    w->bias = a.bias;
    VQ_TRY(vq_lower_array(l, &a.mult, name, "mult", VQ_DTYPE_S32, rows));
    w->mult = a.mult;
    VQ_TRY(vq_lower_array(l, &a.zero, name, "zero", VQ_DTYPE_S32, rows));
    w->zero = a.zero;
    VQ_TRY(vq_lower_array(l, &a.shift, name, "shift", VQ_DTYPE_U8, rows));
    w->shift = a.shift;
    a.w = (int8_t *)(uintptr_t)w->w; /* ours until this function returns */
    a.w_zero = (int32_t *)(uintptr_t)w->w_zero;
    if (l->st)
        VQ_TRY(read_cleared(l, &a, w, name));
    else
        VQ_TRY(compute_rows(&a, w, l, name, node, factor, input, target));
    return vq_prove_gemm(w, name);
}
