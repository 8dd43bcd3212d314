/* GELU and the quantizer behind it as a table over the pre-activation in fixed point.
 *
 * Outside [left, right] the code does not change: towards minus infinity GELU goes to 0, towards plus infinity the
 * codes saturate. Inside, GELU first falls to its minimum near -0.75 and then rises, so both ends are found by
 * bisection. The step of the table is a 64th of the quantizer's (|GELU'| < 1.13: an error below 1 % of a code) as long
 * as the table stays within 16384 entries, which keeps it in a first-level cache, and may grow to 65536 entries before
 * it gets coarser than a 32nd. */
#include <math.h>
#include <stdlib.h>

#include "quant/lower.h"

enum { TABLE_CACHED = 16384, TABLE_MAX = 65536, TABLE_SPARE = 8 };

static const double bottom = -0.7517915246935645; /* where GELU is smallest */

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

typedef struct gelu_codes {
    double scale, zero;
    int top;                 /* levels - 1 */
    const float *thresholds; /* of a codebook, else NULL */
} gelu_codes;

static int code_at(const gelu_codes *q, double x)
{
    const double y = gelu(x);
    if (q->thresholds) {
        int code = 0;
        while (code < q->top && q->thresholds[code] <= y) code++;
        return code;
    }
    const double code = rint(y / q->scale) + q->zero;
    return code < 0 ? 0 : code > q->top ? q->top : (int)code;
}

/* Between a and b the code changes once from code_at(a): a point within 2^-40 of it, on a's side. */
static double bisect(const gelu_codes *q, double a, double b)
{
    const int code = code_at(q, a);
    for (int i = 0; i < 100; i++) {
        const double middle = 0.5 * (a + b);
        if (code_at(q, middle) == code)
            a = middle;
        else
            b = middle;
    }
    return a;
}

/* [left, right] outside of which the code is constant; false where it is constant everywhere. */
static bool find_ends(const gelu_codes *q, double *left, double *right)
{
    const double low = -40, last = q->thresholds ? fmin(q->thresholds[q->top - 1], 1e6) : 0;
    const double high = 10 + (q->thresholds ? fabs(last) : q->scale * (q->top + fabs(q->zero) + 2));
    if (code_at(q, low) == code_at(q, bottom) && code_at(q, low) == code_at(q, high)) return false;
    *left = code_at(q, low) != code_at(q, bottom) ? bisect(q, low, bottom) : bisect(q, bottom, high);
    *right = code_at(q, bottom) != code_at(q, high) ? bisect(q, high, bottom) : bisect(q, bottom, low);
    return true;
}

/* The levels of a codebook may lie as close as you like: its table is as fine as it may be. */
static double choose_step(const gelu_codes *q, double width)
{
    const double scale = q->scale;
    if (q->thresholds) return width / ((q->top < 64 ? TABLE_CACHED : TABLE_MAX) - TABLE_SPARE);
    double step = VQ_MAX(scale / 64, width / (TABLE_CACHED - TABLE_SPARE));
    if (step > scale / 32) step = VQ_MAX(scale / 32, width / (TABLE_MAX - TABLE_SPARE));
    return step;
}

/* Largest |GELU(x) - GELU(entry of x)| in steps of the quantizer where the code is not saturated. */
static double table_error(const gelu_codes *q, int len, double step, int64_t first)
{
    double error = 0;
    for (int i = 0; i < len; i++) {
        const double x = (double)(first + i) * step, y = gelu(x) / q->scale + q->zero;
        if (y < -1 || y > q->top + 1) continue;
        const double a = gelu(x - 0.5 * step) / q->scale + q->zero, b = gelu(x + 0.5 * step) / q->scale + q->zero;
        error = VQ_MAX(error, VQ_MAX(fabs(a - y), fabs(b - y)));
    }
    return error;
}

static vq_status compute(vq_gemm_s8_weights *w, double *step, int64_t *offset, const char *name, const gelu_codes *q,
                         const vq_quantizer *quantizer, const vq_input_form *form)
{
    double left = 0, right = 0;
    uint8_t *high = NULL, *low = NULL;
    const bool varies = find_ends(q, &left, &right);
    *step = varies ? choose_step(q, right - left) : 1;
    const double first = floor(left / *step) - 1, last = ceil(right / *step) + 1;
    if (!(last - first < TABLE_MAX) || !(fabs(first) < 0x1p24))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: GELU from %g to %g in steps of %g needs too long a table", name, left,
                       right, *step);
    w->table_len = (int)(last - first) + 1;
    *offset = -(int64_t)first;
    const double error = varies && !q->thresholds ? table_error(q, w->table_len, *step, (int64_t)first) : 0;
    if (error > 0.25)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: a table of GELU for scale %g is off by %.2f codes, at most 0.25", name,
                       q->scale, error);
    VQ_TRY(vq_alloc(&high, (size_t)w->table_len, 1, name));
    w->table = high;
    if (form->planes > 1) VQ_TRY(vq_alloc(&low, (size_t)w->table_len, 1, name));
    w->table_low = low;
    for (int i = 0; i < w->table_len; i++) {
        const int a = VQ_MIN(vq_lower_input_value(quantizer, form, code_at(q, (first + i) * *step)), form->a_max);
        high[i] = (uint8_t)(low ? a >> 8 : a);
        if (low) low[i] = (uint8_t)(a & 255);
    }
    return VQ_OK;
}

static vq_status read(const vq_lowering *l, vq_gemm_s8_weights *w, const char *name, const vq_input_form *form)
{
    uint8_t *high = NULL, *low = NULL;
    int low_len = 0;
    VQ_TRY(vq_lower_read_list(l, &high, &w->table_len, name, "table", VQ_DTYPE_U8, 2, TABLE_MAX));
    w->table = high;
    if (form->planes > 1) VQ_TRY(vq_lower_read_list(l, &low, &low_len, name, "table_low", VQ_DTYPE_U8, 2, TABLE_MAX));
    w->table_low = low;
    if (low && low_len != w->table_len)
        return vq_fail(VQ_ERR_FORMAT, "%s: int.%s.table_low has %d entries and table %d, must be the same",
                       vq_safetensors_path(l->st), name, low_len, w->table_len);
    for (int i = 0; i < w->table_len; i++) {
        const int a = low ? high[i] << 8 | low[i] : high[i];
        if (a > form->a_max)
            return vq_fail(VQ_ERR_FORMAT, "%s: int.%s.table[%d] is %d, must be 0 to %d", vq_safetensors_path(l->st),
                           name, i, a, form->a_max);
    }
    return VQ_OK;
}

vq_status vq_lower_gelu(const vq_lowering *l, vq_gemm_s8_weights *w, double *step, int64_t *offset, const char *name,
                        const vq_quantizer *q, const vq_input_form *form)
{
    const gelu_codes codes = {q->scale[0], (double)vq_lower_zero(q, 0), q->levels - 1, q->thresholds};
    *step = 1;
    *offset = 0;
    return l->st ? read(l, w, name, form) : compute(w, step, offset, name, &codes, q, form);
}
