/* gemm_s8 on a device: packs a layer's constants for the variant chosen at creation, picks the cheapest exact way to
 * requantize, and cuts the product into work-items. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/gemm_s8_table.h"
#include "ops/ops_int.h"
#include "ops/row_chain.h"

/* kernels/gemm_s8_epilogue.h */
enum { FIELD_BIAS, FIELD_MULT, FIELD_ADD, FIELD_SHIFT, FIELD_PRE, FIELD_W_ZERO, FIELD_W_LOW, NUM_FIELDS };
enum { REQUANT_32, REQUANT_32_SHIFTED, REQUANT_64 };
/* kernels/gemm_s8_wide.cl */
enum { DOT_FLOAT, DOT_MADDUBS, DOT_MADD, DOT_DPBUSD, DOT_CENTRED };
enum { MAX_ROWS = 96 };
enum { CACHED_WEIGHTS = 1 << 20 }; /* bytes that a thread's second-level cache keeps beside its rows */
enum { ITEM_PRODUCTS = 1 << 18 };  /* a work-item computes at least as many: some microseconds */

struct vq_gemm_s8 {
    const vq_variant *variant;
    char options[200];
    vq_kernel *kernel; /* NULL: only a part of chains */
    vq_buf *w, *consts, *table;
    int n, k, n_pad, code_max;
    bool wide, codes;
    bool a_planes, c_planes;  /* two of them */
    bool packed;              /* weights, two in a byte */
    int w_shift;              /* then they are (code << w_shift) + their row's lowest */
    bool widened;             /* panels and rows pass through local memory as s16 */
    bool centred;             /* rows pass through local memory as codes less a_zero, and what of them does not fit */
    int w_low, a_zero;        /* centred: weights are so much more than they were; codes less */
    size_t panel_bytes;       /* of local memory for a panel, unpacked or widened; wide */
    size_t row_bytes;         /* the same for a row, widened or centred */
    size_t extra_bytes;       /* the same for what does not fit of a tile's rows */
    int most_rows;            /* of a work-item; wide */
    int tile_rows, tile_cols; /* of a work-item's register tile, or of a work-group's block */
    vq_gemm_s8_form form;     /* of the table */
    int steps;                /* groups of k that a 16-bit or float sum takes */
    bool zero_pairs;          /* w_zero in pairs of s16 */
    int items;                /* work-groups that share the work evenly on this device */
};

/* How weights lie in memory: [n_pad / cols][k_pad / (each * group)][cols][group]. A byte has the weights of `each`
 * successive groups, the first in its lowest bits. */
typedef struct layout {
    int cols, group, each, n_pad, k_pad;
} layout;

/* Whether 16-bit lanes take `steps` groups of 4 at a time, whatever the codes. vpmaddubsw brings two neighbours of a
 * group into a lane; with codes of 0 to byte_max every partial sum lies between byte_max times the lane's negative
 * weights and byte_max times its positive ones. */
static bool sums_fit(const vq_gemm_s8_weights *w, int steps)
{
    const int most = INT16_MAX / vq_gemm_byte_max(w);
    for (int n = 0; n < w->n; n++) {
        const int8_t *const row = w->w + (size_t)n * (size_t)w->k;
        for (int first = 0; first < w->k; first += 4 * steps) {
            int up[2] = {0}, down[2] = {0};
            for (int i = first, end = VQ_MIN(first + 4 * steps, w->k); i < end; i++) {
                up[i >> 1 & 1] += VQ_MAX(row[i], 0);
                down[i >> 1 & 1] -= VQ_MIN(row[i], 0);
            }
            if (VQ_MAX(VQ_MAX(up[0], up[1]), VQ_MAX(down[0], down[1])) > most) return false;
        }
    }
    return true;
}

/* Groups that 16-bit lanes sum before they are widened: as few parts of k as these weights allow, which are many groups
 * more than weights of w_abs_max everywhere would. 0: not even one is safe. */
static int steps_of_16_bits(const vq_gemm_s8_weights *w)
{
    const int groups = VQ_CEIL_DIV(w->k, 4);
    const int always = INT16_MAX / (2 * VQ_MAX(vq_gemm_byte_max(w) * w->w_abs_max, 1));
    for (int parts = 1; parts <= groups; parts++) {
        const int steps = VQ_CEIL_DIV(groups, parts);
        if (steps <= always) return always;
        if (sums_fit(w, steps)) return steps;
    }
    return always;
}

/* How the variant multiplies these weights, and groups whose sum stays exact in the lanes that take it. */
static int dot_of(int *steps, const vq_variant *variant, const vq_gemm_s8_weights *w)
{
    enum { WORTH_WHILE = 2 }; /* groups to a widening: below, operands of 16 bits take no longer */
    *steps = 1 << 20;
    if (variant->p[3] == DOT_FLOAT) /* at least 512: products are below 2^15 */
        *steps = VQ_MIN((1 << 24) / VQ_MAX(vq_gemm_byte_max(w) * w->w_abs_max, 1) & ~15, 1 << 20);
    if (variant->p[3] != DOT_MADD) return variant->p[3];
    const int narrow = steps_of_16_bits(w);
    if (narrow < WORTH_WHILE) return DOT_MADD;
    *steps = narrow;
    return DOT_MADDUBS;
}

static layout layout_of(const vq_gemm_s8 *op, int dot)
{
    static const int groups[] = {1, 4, 2, 4, 4}, depths[] = {1, 4, 2, 4, VQ_CODE_PITCH};
    const int group = op->wide ? groups[dot] : 4, each = op->packed ? 2 : 1;
    return (layout){.cols = op->wide ? op->tile_cols : op->n_pad,
                    .group = group,
                    .each = each,
                    .n_pad = op->n_pad,
                    .k_pad = VQ_ROUND_UP(op->k, each * (op->wide ? depths[dot] : 4))};
}

/* more: what is added to every weight */
static void pack(uint8_t *out, const layout *l, const int8_t *w, int n, int k, int more)
{
    const size_t cols = (size_t)l->cols, group = (size_t)l->group, depth = (size_t)(l->k_pad / l->each) / group;
    for (size_t j = 0; j < (size_t)n; j++) {
        uint8_t *const column = out + j / cols * depth * cols * group + j % cols * group;
        const int8_t *const row = w + j * (size_t)k;
        for (size_t i = 0; i < (size_t)k; i++) column[i / group * cols * group + i % group] = (uint8_t)(row[i] + more);
    }
}

/* ---- packed weights ---------------------------------------------------------------------------------------------- */

enum { CODE_BITS = 4, MOST_CODE = (1 << CODE_BITS) - 1 };

/* The lowest and highest of a row's weights; with 0 among them, its differences say no more. */
static void row_range(int *lowest, int *highest, unsigned *differences, const vq_gemm_s8_weights *w, int n,
                      bool with_zero)
{
    const int8_t *const row = w->w + (size_t)n * (size_t)w->k;
    *lowest = *highest = with_zero ? 0 : row[0];
    for (int i = 0; i < w->k; i++) {
        *lowest = VQ_MIN(*lowest, row[i]);
        *highest = VQ_MAX(*highest, row[i]);
    }
    for (int i = 0; i < w->k; i++) *differences |= (unsigned)(row[i] - *lowest);
    if (with_zero) *differences |= (unsigned)-*lowest;
}

/* The least shift with which all weights are codes of 4 bits; -1: there is none. Where k is no multiple of what a
 * byte's groups hold, 0 must have a code, too. */
static int code_shift(const vq_gemm_s8_weights *w, bool with_zero)
{
    unsigned differences = 0;
    int span = 0, shift = 0;
    for (int n = 0; n < w->n; n++) {
        int lowest, highest;
        row_range(&lowest, &highest, &differences, w, n, with_zero);
        span = VQ_MAX(span, highest - lowest);
    }
    while (span >> shift > MOST_CODE) shift++;
    return differences & ((1u << shift) - 1) ? -1 : shift;
}

/* The same layout as pack() makes; low [n][group]: what the row's code 0 stands for. */
static void pack_codes(uint8_t *out, int8_t *low, const layout *l, const vq_gemm_s8_weights *w, int shift,
                       bool with_zero)
{
    const size_t cols = (size_t)l->cols, group = (size_t)l->group, depth = (size_t)(l->k_pad / l->each) / group;
    unsigned unused = 0;
    for (int n = 0; n < w->n; n++) {
        const size_t j = (size_t)n;
        uint8_t *const column = out + j / cols * depth * cols * group + j % cols * group;
        int lowest, highest;
        row_range(&lowest, &highest, &unused, w, n, with_zero);
        memset(low + j * group, lowest, group);
        for (size_t i = 0; i < (size_t)l->k_pad; i++) {
            const int value = i < (size_t)w->k ? w->w[j * (size_t)w->k + i] : with_zero ? 0 : lowest;
            const int bit = i / group % 2 ? CODE_BITS : 0;
            column[i / group / 2 * cols * group + i % group] |= (uint8_t)((value - lowest) >> shift << bit);
        }
    }
}

/* ---- requantization ---------------------------------------------------------------------------------------------- */

/* The largest size of what is requantized. Smaller than vq_gemm_row_bound(), which parts of the sum keep to, too. */
static double sum_bound(const vq_gemm_s8_weights *w, int n)
{
    const int8_t *const row = w->w + (size_t)n * (size_t)w->k;
    const double zero = w->w_zero ? w->w_zero[n] : 0;
    double positive = 0, negative = 0;
    for (int k = 0; k < w->k; k++) {
        const double x = row[k] + zero;
        positive += VQ_MAX(x, 0);
        negative -= VQ_MIN(x, 0);
    }
    return fmax(w->a_max * positive + w->bias[n], w->a_max * negative - w->bias[n]);
}

/* Left shift that brings a channel's shift to 33 and so its arithmetic into 32 bits; -1 where its sums leave no room.
 */
static int pre_shift(const vq_gemm_s8_weights *w, int n)
{
    const int pre = w->mult[n] ? VQ_MAX(33 - w->shift[n], 0) : 0;
    return ldexp(sum_bound(w, n), pre) < 0x1p31 ? pre : -1;
}

/* The zero point joins the rounding term where the sum stays below 2^30, as the product's high half does. */
static bool fold_zero(int32_t *add, const vq_gemm_s8_weights *w, int n, int shift)
{
    const bool has_zero = w->epilogue == VQ_GEMM_CODES || w->epilogue == VQ_GEMM_TABLE;
    const double sum = ldexp(1, shift - 33) + (has_zero ? ldexp(w->zero[n], shift - 32) : 0);
    *add = fabs(sum) < 0x1p30 ? (int32_t)sum : 0;
    return fabs(sum) < 0x1p30;
}

/* Constants of one channel for 32-bit requantization; false where it needs 64 bits. A multiplier of 0 is 0 at any
 * shift. */
static bool consts_32(int32_t *c, size_t n_pad, const vq_gemm_s8_weights *w, int n)
{
    const int pre = pre_shift(w, n);
    if (pre < 0) return false;
    const int shift = w->mult[n] ? w->shift[n] + pre : 33;
    c[FIELD_PRE * n_pad] = pre;
    c[FIELD_SHIFT * n_pad] = shift - 32;
    return fold_zero(&c[FIELD_ADD * n_pad], w, n, shift);
}

static void consts_64(int32_t *c, size_t n_pad, const vq_gemm_s8_weights *w, int n)
{
    c[FIELD_PRE * n_pad] = 0;
    c[FIELD_SHIFT * n_pad] = w->shift[n];
    c[FIELD_ADD * n_pad] = w->epilogue == VQ_GEMM_CODES || w->epilogue == VQ_GEMM_TABLE ? w->zero[n] : 0;
}

/* What a row's sum of codes counts for, beside the weights as the kernel has them. */
static bool has_zeros(const vq_gemm_s8 *op, const vq_gemm_s8_weights *w)
{
    return w->w_zero || op->w_low;
}

static int zero_of(const vq_gemm_s8 *op, const vq_gemm_s8_weights *w, int n)
{
    return (w->w_zero ? w->w_zero[n] : 0) - op->w_low;
}

/* Whether zero_of() times a row's sum can be two products of s16: zero * (sum % 128) + 128 * zero * (sum / 128). */
static bool zeros_are_pairs(const vq_gemm_s8 *op, const vq_gemm_s8_weights *w, int dot)
{
    const int most = INT16_MAX / 128;
    if (!has_zeros(op, w) || dot == DOT_FLOAT || w->a_planes > 1 || (int64_t)w->k * w->a_max > (int64_t)INT16_MAX * 128)
        return false;
    for (int n = 0; n < w->n; n++)
        if (abs(zero_of(op, w, n)) > most) return false;
    return true;
}

/* What the kernel's sum begins with: of centred codes, what a_zero times the weights is. Wraps as the sum does, which
 * fits in the end. */
static int32_t bias_of(const vq_gemm_s8 *op, const vq_gemm_s8_weights *w, int n)
{
    uint32_t sum = 0;
    for (int i = 0; i < w->k && op->centred; i++)
        sum += (uint32_t)(w->w[(size_t)n * (size_t)w->k + (size_t)i] + op->w_low);
    return (int32_t)((uint32_t)w->bias[n] + sum * (uint32_t)op->a_zero);
}

/* Fills [NUM_FIELDS][n_pad] and tells which requantization is right for all channels. */
static int fill_consts(const vq_gemm_s8 *op, int32_t *consts, const vq_gemm_s8_weights *w)
{
    const size_t n_pad = (size_t)op->n_pad;
    bool in_32 = true, shifted = false;
    for (int n = 0; n < w->n; n++) {
        const int zero = zero_of(op, w, n);
        consts[FIELD_BIAS * n_pad + (size_t)n] = bias_of(op, w, n);
        consts[FIELD_MULT * n_pad + (size_t)n] = w->mult[n];
        if (has_zeros(op, w))
            consts[FIELD_W_ZERO * n_pad + (size_t)n] =
                op->zero_pairs ? (int32_t)((uint32_t)zero * 128 << 16 | (uint16_t)zero) : zero;
        in_32 = in_32 && consts_32(consts + n, n_pad, w, n);
        shifted |= consts[FIELD_PRE * n_pad + (size_t)n] != 0;
    }
    if (in_32) return shifted ? REQUANT_32_SHIFTED : REQUANT_32;
    for (int n = 0; n < w->n; n++) consts_64(consts + n, n_pad, w, n);
    return REQUANT_64;
}

static vq_status create_table(vq_gemm_s8 *op, vq_device *dev, const vq_gemm_s8_weights *w, unsigned needs)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    VQ_TRY(vq_gemm_s8_table_create(&bytes, &size, &op->form, w, needs));
    const vq_status status = vq_buf_create_from(&op->table, dev, bytes, size);
    free(bytes);
    return status;
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static vq_status check_weights(const vq_gemm_s8_weights *w)
{
    if (w->n < 1 || w->k < 1 || (size_t)w->n * (size_t)w->k > INT32_MAX / 2)
        return vq_fail(VQ_ERR_SHAPE, "gemm_s8: weights [%d][%d], must be positive and below 2^30 together", w->n, w->k);
    const int a_limit = w->a_planes > 1 ? 65535 : 255;
    if (w->a_planes < 0 || w->a_planes > 2)
        return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: %d planes of codes, must be 1 or 2", w->a_planes);
    if (w->a_max < 1 || w->a_max > a_limit || w->w_abs_max < 0 || w->w_abs_max > 128)
        return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: codes up to %d and weights up to %d, at most %d and 128", w->a_max,
                       w->w_abs_max, a_limit);
    if (w->epilogue == VQ_GEMM_CODES && (w->bits < 1 || w->bits > 8))
        return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: %d bits of output codes, must be 1 to 8", w->bits);
    if (w->epilogue == VQ_GEMM_TABLE && (!w->table || w->table_len < 2 || w->table_len > 65536))
        return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: table of %d entries, must be 2 to 65536", w->table_len);
    if (w->epilogue != VQ_GEMM_TABLE && w->table_low)
        return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: a table of low bytes without one of high bytes");
    for (int n = 0; n < w->n; n++)
        if (w->shift[n] < 1 || w->shift[n] > 62 || (w->mult[n] && w->mult[n] < 1 << 30))
            return vq_fail(VQ_ERR_INVALID_ARG, "gemm_s8: channel %d has multiplier %d and shift %d, out of range", n,
                           w->mult[n], w->shift[n]);
    return VQ_OK;
}

/* p[2] of rows that are not wide: 1 unpacks, 2 multiplies by codes of 4 bits as they are and runs other layers on
 * bytes. */
static bool takes_packed(const vq_gemm_s8 *op, const vq_variant *variant, const vq_gemm_s8_weights *w)
{
    return op->wide || variant->p[2] == 1 || (variant->p[2] == 2 && w->a_max <= MOST_CODE);
}

/* Whether the op packs its weights, and how; the kernel must be able to take them. */
static void choose_storage(vq_gemm_s8 *op, const vq_device *dev, const vq_variant *variant, const vq_gemm_s8_weights *w,
                           int dot, vq_storage storage)
{
    op->packed = storage != VQ_STORAGE_BYTES && takes_packed(op, variant, w);
    if (!op->packed) return;
    const layout l = layout_of(op, dot);
    op->w_shift = code_shift(w, l.k_pad != w->k);
    const size_t panel = op->wide ? (size_t)l.k_pad * (size_t)l.cols : 0;
    op->packed = op->w_shift >= 0 && panel <= vq_device_get_info(dev)->local_mem_bytes;
    if (op->packed) op->panel_bytes = panel;
}

/* Whether both operands are widened in local memory: room for a panel and as many rows as make that worth while. */
static void choose_widening(vq_gemm_s8 *op, const vq_device *dev, int dot)
{
    enum { LEAST_TILES = 4 };
    const size_t room = vq_device_get_info(dev)->local_mem_bytes;
    const layout l = layout_of(op, dot);
    const size_t panel = (size_t)l.k_pad * (size_t)l.cols * 2;
    const size_t row = (size_t)VQ_ROUND_UP(op->k, 16) * 2 * (op->a_planes ? 2 : 1);
    const size_t tiles = panel < room ? (room - panel) / row / (size_t)op->tile_rows : 0;
    op->widened = op->wide && dot == DOT_MADD && !op->packed && tiles >= LEAST_TILES;
    if (!op->widened) return;
    op->most_rows = (int)VQ_MIN((size_t)(MAX_ROWS / op->tile_rows), tiles) * op->tile_rows;
    op->panel_bytes = panel;
    op->row_bytes = row;
}

/* Whether codes of 8 bits are taken less a_zero, so that bytes multiply (kernels/gemm_s8_centred.h), and how. */
static int choose_centring(vq_gemm_s8 *op, const vq_device *dev, const vq_gemm_s8_weights *w, int dot)
{
    enum { LEAST_TILES = 4, HEAD_BYTES = 8, PART_BYTES = 8 };
    const size_t room = vq_device_get_info(dev)->local_mem_bytes, rows = (size_t)op->tile_rows;
    const size_t groups = (size_t)VQ_ROUND_UP(op->k, 2 * VQ_CODE_PITCH) / 4;
    const size_t extra = HEAD_BYTES + (groups / 2 + 8) * rows * PART_BYTES;
    const size_t tiles = room / (groups * 4 * rows + extra);
    int lowest = 0, highest = 0;
    if (!op->wide || dot != DOT_MADD || op->packed || w->a_planes > 1 || w->a_zero < 0 || tiles < LEAST_TILES)
        return dot;
    for (size_t i = 0; i < (size_t)w->n * (size_t)w->k; i++) {
        lowest = VQ_MIN(lowest, w->w[i]);
        highest = VQ_MAX(highest, w->w[i]);
    }
    op->centred = true;
    op->w_low = -lowest;
    op->a_zero = VQ_MIN(w->a_zero, 255);
    op->steps = VQ_MIN(INT16_MAX / VQ_MAX(highest - lowest, 1), INT16_MAX / 4); /* what codes of a lane may sum to */
    op->most_rows = (int)VQ_MIN((size_t)MAX_ROWS / rows, tiles) * op->tile_rows;
    op->row_bytes = groups * 4;
    op->extra_bytes = extra;
    return DOT_CENTRED;
}

static vq_status create_weights(vq_gemm_s8 *op, vq_device *dev, const vq_gemm_s8_weights *w, int8_t *low, int dot)
{
    const layout l = layout_of(op, dot);
    const size_t bytes = (size_t)l.n_pad * (size_t)(l.k_pad / l.each);
    uint8_t *packed = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&packed, bytes, 1, "packed weights"));
    if (op->packed)
        pack_codes(packed, low, &l, w, op->w_shift, l.k_pad != w->k);
    else
        pack(packed, &l, w->w, w->n, w->k, op->w_low);
    VQ_GO(vq_buf_create_from(&op->w, dev, packed, bytes));
done:
    free(packed);
    return status;
}

static vq_status create_consts(vq_gemm_s8 *op, vq_device *dev, const vq_gemm_s8_weights *w, int dot, int *requant)
{
    const size_t n_pad = (size_t)op->n_pad, count = (op->packed ? NUM_FIELDS : FIELD_W_LOW) * n_pad;
    int32_t *consts = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&consts, count, sizeof *consts, "constants of a product"));
    *requant = fill_consts(op, consts, w);
    VQ_GO(create_weights(op, dev, w, op->packed ? (int8_t *)(consts + FIELD_W_LOW * n_pad) : NULL, dot));
    VQ_GO(vq_buf_create_from(&op->consts, dev, consts, count * sizeof *consts));
done:
    free(consts);
    return status;
}

static void set_options(vq_gemm_s8 *op, const vq_gemm_s8_weights *w, int dot, int requant)
{
    char *const text = op->options;
    const size_t size = sizeof op->options;
    /* One kernel for all layers' tables: a shift by 0 costs less than another chain of rows (run/int_run.c) to compile.
     */
    if (op->wide && w->epilogue == VQ_GEMM_TABLE && requant == REQUANT_32) requant = REQUANT_32_SHIFTED;
    int at = snprintf(text, size,
                      "-DEPILOGUE=%d -DREQUANT=%d -DW_ZERO=%d -DDOT=%d -DSTEP_SEGMENTS=%d -DA_PLANES=%d -DC_PLANES=%d",
                      (int)w->epilogue, requant, has_zeros(op, w) + op->zero_pairs, dot, op->form.segments,
                      1 + op->a_planes, 1 + op->c_planes);
    if (op->form.run_steps) at += snprintf(text + at, size - (size_t)at, " -DRUN_STEPS=%d", op->form.run_steps);
    if (op->form.buckets) at += snprintf(text + at, size - (size_t)at, " -DBUCKET_TABLES=%d", op->form.buckets);
    if (op->packed) at += snprintf(text + at, size - (size_t)at, " -DW_PACKED=1");
    if (op->packed && !op->wide) snprintf(text + at, size - (size_t)at, " -DW_SHIFT=%d", op->w_shift);
    if (op->widened) snprintf(text + at, size - (size_t)at, " -DWIDENED=1");
}

static vq_status create(vq_gemm_s8 *op, vq_device *dev, const vq_variant *variant, const vq_gemm_s8_weights *w,
                        vq_storage storage)
{
    int requant = REQUANT_64;
    VQ_TRY(check_weights(w));
    op->variant = variant;
    int dot = dot_of(&op->steps, variant, w);
    op->wide = vq_variant_is_wide(variant);
    op->codes = w->epilogue == VQ_GEMM_CODES || w->epilogue == VQ_GEMM_TABLE;
    op->a_planes = w->a_planes > 1;
    op->c_planes = w->table_low != NULL;
    op->tile_rows = op->wide ? variant->p[0] : variant->p[0] * variant->p[1];
    op->tile_cols = op->wide ? variant->p[1] * variant->p[2] : op->tile_rows;
    op->n = w->n;
    op->k = w->k;
    op->n_pad = VQ_ROUND_UP(w->n, op->tile_cols);
    op->code_max = w->epilogue == VQ_GEMM_TABLE   ? w->table_len - 1
                   : w->epilogue == VQ_GEMM_CODES ? (1 << w->bits) - 1
                                                  : 0;
    op->items = 8 * VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    if (!op->wide) op->items = variant->p[0];
    choose_storage(op, dev, variant, w, dot, storage);
    op->most_rows = MAX_ROWS;
    dot = choose_centring(op, dev, w, dot);
    choose_widening(op, dev, dot);
    op->zero_pairs = op->wide && zeros_are_pairs(op, w, dot);
    VQ_TRY(create_consts(op, dev, w, dot, &requant));
    if (w->epilogue == VQ_GEMM_TABLE) VQ_TRY(create_table(op, dev, w, variant->needs));
    set_options(op, w, dot, requant);
    return VQ_OK;
}

/* A layer's form of the variant may be more than the compiler takes: then the same with weights in bytes, then weaker
 * variants, each passed over with a warning. */
vq_status vq_gemm_s8_create(vq_gemm_s8 **out, vq_device *dev, const vq_gemm_s8_weights *weights, vq_storage storage)
{
    const vq_variant *variant = vq_variant_choose(dev, VQ_OP_GEMM_S8);
    *out = NULL;
    for (;;) {
        vq_gemm_s8 *op;
        VQ_TRY(vq_alloc(&op, 1, sizeof *op, "a product of codes"));
        vq_status status = create(op, dev, variant, weights, storage);
        if (status == VQ_OK) status = vq_kernel_try(&op->kernel, dev, variant, "gemm_s8", op->options);
        if (status == VQ_OK) {
            *out = op;
            return VQ_OK;
        }
        const bool packed = op->packed;
        vq_gemm_s8_destroy(&op);
        if (status != VQ_ERR_BUILD) return status;
        if (!packed) variant = vq_variant_weaker(dev, variant);
        if (!variant)
            return vq_fail(VQ_ERR_BUILD, "device %s: gemm_s8 compiles in no variant for weights [%d][%d]",
                           vq_device_get_info(dev)->name, weights->n, weights->k);
        storage = VQ_STORAGE_BYTES;
    }
}

bool vq_gemm_s8_is_packed(const vq_gemm_s8 *op)
{
    return op->packed;
}

size_t vq_gemm_s8_device_bytes(const vq_gemm_s8 *op)
{
    return vq_buf_bytes(op->w) + vq_buf_bytes(op->consts) + vq_buf_bytes(op->table);
}

void vq_gemm_s8_destroy(vq_gemm_s8 **op_ptr)
{
    vq_gemm_s8 *const op = *op_ptr;
    if (!op) return;
    vq_buf_destroy(&op->table);
    vq_buf_destroy(&op->consts);
    vq_buf_destroy(&op->w);
    free(op);
    *op_ptr = NULL;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

size_t vq_gemm_s8_scratch_bytes(const vq_gemm_s8 *op, int m)
{
    (void)op;
    (void)m;
    return 0; /* every variant sums the rows of codes on its way */
}

static vq_status check_planes(const char *what, int pitch, int cols, int ld)
{
    if (pitch < cols || pitch % VQ_CODE_PITCH || pitch > ld - cols)
        return vq_fail(VQ_ERR_SHAPE, "gemm_s8: %s has planes of %d columns, %d apart, in rows of %d", what, cols, pitch,
                       ld);
    return VQ_OK;
}

static vq_status check_io(const vq_gemm_s8 *op, const vq_gemm_s8_io *io)
{
    if (io->m < 1 || io->lda < op->k || io->lda % VQ_CODE_PITCH || io->ldc < op->n ||
        (op->codes && io->ldc % VQ_CODE_PITCH))
        return vq_fail(VQ_ERR_SHAPE, "gemm_s8: M %d, N %d, K %d with lda %d, ldc %d", io->m, op->n, op->k, io->lda,
                       io->ldc);
    if (op->codes ? io->rows_in : io->rows_in && (io->rows_in < 0 || io->row_first < 0 || io->rows_out < io->rows_in))
        return vq_fail(VQ_ERR_SHAPE, "gemm_s8: row map %d of %d from %d", io->rows_in, io->rows_out, io->row_first);
    if (op->a_planes) VQ_TRY(check_planes("A", io->a_plane_pitch, op->k, io->lda));
    if (op->c_planes) VQ_TRY(check_planes("C", io->c_plane_pitch, op->n, io->ldc));
    const int last = io->m - 1, cols = op->n + (op->c_planes ? io->c_plane_pitch : 0);
    const size_t rows =
        (size_t)(io->rows_in ? (int64_t)last / io->rows_in * io->rows_out + last % io->rows_in + io->row_first : last) +
        1;
    const size_t a_bytes = (size_t)io->m * (size_t)io->lda;
    const size_t c_bytes = ((rows - 1) * (size_t)io->ldc + (size_t)cols) * (op->codes ? 1 : sizeof(int32_t));
    if (!io->a || io->a->bytes < a_bytes || !io->c || io->c->bytes < c_bytes)
        return vq_fail(VQ_ERR_SHAPE, "gemm_s8: A needs %zu and C %zu bytes, the buffers have %zu and %zu", a_bytes,
                       c_bytes, io->a ? io->a->bytes : 0, io->c ? io->c->bytes : 0);
    return VQ_OK;
}

/* Rows and panels of one work-item. PoCL hands a thread half of what is left at a time, and its threads start at
 * different times: blocks of rows are small, so that the last ones even that out, but no smaller than what is worth
 * another thread. Where an item unpacks or widens its panels, or fetches them from beyond the second-level cache, as
 * many rows as it may take share that work, and it has fewer panels instead. */
static void cut(int *rows_per_item, int *panels_per_item, const vq_gemm_s8 *op, int m)
{
    const int tiles = VQ_CEIL_DIV(m, op->tile_rows), panels = op->n_pad / op->tile_cols;
    const int most_tiles = op->most_rows / op->tile_rows;
    const bool fetches = !op->centred && (double)op->n_pad * op->k > CACHED_WEIGHTS; /* centred rows cost more */
    const bool prepares = op->packed || op->widened || fetches;
    const double worth = (double)m * op->n_pad * op->k * (1 + op->a_planes) / ITEM_PRODUCTS;
    const int most = (int)VQ_MAX(VQ_MIN(worth, 4.0 * op->items), 1);
    const int per_item =
        prepares ? VQ_CEIL_DIV(tiles, VQ_CEIL_DIV(tiles, most_tiles)) : VQ_MIN(VQ_MAX(tiles / most, 1), most_tiles);
    const int items = prepares ? most : VQ_MIN(op->items, most);
    const int splits = VQ_MIN(VQ_CEIL_DIV(items, VQ_CEIL_DIV(tiles, per_item)), panels);
    *rows_per_item = per_item * op->tile_rows;
    *panels_per_item = VQ_CEIL_DIV(panels, splits);
}

enum { GEMM_ARGS = 21, MOST_ARGS = GEMM_ARGS + 3 };

/* share: what the kernel cuts rows by (kernels/vq_part.h); most: rows that a work-group then has at most. */
static int list_args(vq_arg args[MOST_ARGS], const vq_gemm_s8 *op, const vq_gemm_s8_io *io, int share, int most,
                     int panels)
{
    const vq_arg all[GEMM_ARGS] = {VQ_A_BUF(io->a),
                                   VQ_A_BUF(op->w),
                                   VQ_A_BUF(op->consts),
                                   VQ_A_BUF(op->table ? op->table : op->consts),
                                   VQ_A_BUF(io->c),
                                   VQ_A_I32(io->m),
                                   VQ_A_I32(op->n),
                                   VQ_A_I32(op->k),
                                   VQ_A_I32(op->n_pad),
                                   VQ_A_I32(io->lda),
                                   VQ_A_I32(io->ldc),
                                   VQ_A_I32(io->rows_in),
                                   VQ_A_I32(io->rows_out),
                                   VQ_A_I32(io->row_first),
                                   VQ_A_I32(op->code_max),
                                   VQ_A_I32(op->form.split),
                                   VQ_A_I32(share),
                                   VQ_A_I32(panels),
                                   VQ_A_I32(op->steps),
                                   VQ_A_I32(io->a_plane_pitch),
                                   VQ_A_I32(io->c_plane_pitch)};
    const size_t tiles = (size_t)VQ_CEIL_DIV(most, op->tile_rows), rows = tiles * (size_t)op->tile_rows;
    vq_arg *const more = args + GEMM_ARGS;
    memcpy(args, all, sizeof all);
    if (op->centred) {
        more[0] = VQ_A_LOCAL(op->row_bytes * rows);
        more[1] = VQ_A_LOCAL(op->extra_bytes * tiles);
        more[2] = VQ_A_I32(op->a_zero);
        return GEMM_ARGS + 3;
    }
    if (!op->panel_bytes) return GEMM_ARGS;
    more[0] = VQ_A_LOCAL(op->panel_bytes);
    more[1] = op->widened ? VQ_A_LOCAL(op->row_bytes * rows) : VQ_A_I32(op->w_shift);
    return GEMM_ARGS + 2;
}

vq_status vq_gemm_s8_run(vq_device *dev, const vq_gemm_s8 *op, const vq_gemm_s8_io *io)
{
    vq_arg args[MOST_ARGS];
    vq_grid grid;
    int rows = 0, panels = 0;
    VQ_TRY(check_io(op, io));
    if (op->wide) {
        cut(&rows, &panels, op, io->m);
        grid = (vq_grid){{(size_t)VQ_CEIL_DIV(io->m, rows), (size_t)VQ_CEIL_DIV(op->n_pad, panels * op->tile_cols)},
                         {1, 1}};
    } else {
        const size_t side = (size_t)op->items;
        grid =
            (vq_grid){{(size_t)(op->n_pad / op->tile_cols), (size_t)VQ_CEIL_DIV(io->m, op->tile_rows)}, {side, side}};
    }
    const int count = list_args(args, op, io, rows, rows, panels);
    return vq_launch(dev, op->kernel, grid, args, count);
}

/* ---- as a part of a chain of rows -------------------------------------------------------------------------------- */

/* GEMM_ARGS, for results of bytes and of ints */
#define BEFORE_C            "__global const uchar *,__global const char *,__global const int *,__global const uchar *,__global "
#define AFTER_C             " *,int,int,int,int,int,int,int,int,int,int,int,int,int,int,int,int"
#define PARAMS(type, local) BEFORE_C type AFTER_C local

vq_status vq_gemm_s8_create_part(vq_gemm_s8 **out, vq_device *dev, const vq_gemm_s8_weights *weights,
                                 vq_storage storage)
{
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "a product of codes"));
    const vq_status status = create(*out, dev, vq_variant_choose(dev, VQ_OP_GEMM_S8), weights, storage);
    if (status != VQ_OK) vq_gemm_s8_destroy(out);
    return status;
}

void vq_gemm_s8_part(vq_row_part *part, const vq_gemm_s8 *op)
{
#define PARAMS_OF(type)                                                                                        \
    {                                                                                                          \
        PARAMS(type, ""), PARAMS(type, ",__local char *,int"), PARAMS(type, ",__local char *,__local char *"), \
            PARAMS(type, ",__local char *,__local char *,int")                                                 \
    }
    static const char *const params[2][4] = {PARAMS_OF("int"), PARAMS_OF("uchar")};
    const char *const types = params[op->codes][op->centred ? 3 : op->widened ? 2 : op->packed];
    *part = (vq_row_part){
        .kernel = {op->variant, "gemm_s8", op->options, types}, .tile_rows = op->tile_rows, .most_rows = op->most_rows};
}

vq_status vq_gemm_s8_part_args(vq_arg *args, int *count, const vq_gemm_s8 *op, const vq_gemm_s8_io *io,
                               vq_row_share share)
{
    VQ_TRY(check_io(op, io));
    *count = list_args(args, op, io, share.tile, share.most, op->n_pad / op->tile_cols);
    return VQ_OK;
}
