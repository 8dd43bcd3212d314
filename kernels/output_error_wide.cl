/* output_error for CPUs: a work-item scores rows_per_item rows. For every candidate it encodes them once into local memory,
 * `pitch` bytes a row, and multiplies them by all panels of columns in register tiles of ROWS rows x VECTORS vectors, whose
 * sums end as squared errors in registers. Grid: (row panels, batch), work-groups of one.
 * error_s8: w s8 [n_pad/PANEL][k_pad/GROUP][PANEL][GROUP] per batch, zero beyond k and n.
 * error_f32: w f32 [n_pad/PANEL][k][PANEL] per batch, zero beyond n.
 *
 * VQ_P0 ROWS: 6 or 12; VQ_P1 VECTORS: 1 or 2; VQ_P2 LANES of 32 bits in a vector: 8 or 16; VQ_P3 DOT, which the host
 * replaces by 1 where it is 2 and the ranges of codes and weights allow; they are as in gemm_s8_wide.cl:
 * DOT  0 float lanes that hold integers below 2^24 for `steps` groups. GROUP 1
 *      1 vpmaddubsw, summed in 16 bits for `steps` groups, which the ranges prove safe. GROUP 4
 *      2 vpmaddwd on both operands widened to 16 bits. GROUP 2
 *      3 vpdpbusd. GROUP 4 */
#include "output_error.h"

#ifndef DOT
#define DOT VQ_P3
#endif
#define ROWS     VQ_P0
#define VECTORS  VQ_P1
#define LANES    VQ_P2
#define PANEL    (VECTORS * LANES)
#define MAX_ROWS 48 /* a work-item takes no more; ops/output_error.c knows */

#if ROWS == 12
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

#if LANES == 16
typedef int16 intv;
typedef float16 floatv;
typedef short16 shortv;
#else
typedef int8 intv;
typedef float8 floatv;
typedef short8 shortv;
#endif

/* Vectors at any address; vload and vstore of these widths work on parts of them in some compilers. */
#define AT(type)                                                                                                       \
    typedef struct __attribute__((packed)) at_##type {                                                                 \
        type v;                                                                                                        \
    } at_##type;
AT(intv)
AT(floatv)
AT(float16)
AT(uchar16)
AT(short16)
AT(char16)
#define GLOBAL_AT(type, p) (((__global const at_##type *)(p))->v)
#define LOCAL_AT(type, p)  (((__local at_##type *)(p))->v)
#ifdef __has_builtin
#if __has_builtin(__builtin_convertvector)
#define CONVERT(x, type) __builtin_convertvector(x, type)
#endif
#endif
#ifndef CONVERT
#define CONVERT(x, type) convert_##type(x)
#endif
#if LANES == 16
#define TO_INTV(x)   CONVERT(x, int16)
#define TO_FLOATV(x) CONVERT(x, float16)
#else
#define TO_INTV(x)   CONVERT(x, int8)
#define TO_FLOATV(x) CONVERT(x, float8)
#endif

#if VECTORS == 2
#define SECOND(x) x
#else
#define SECOND(x)
#endif

/* ---- how codes lie in local memory and how they are multiplied ---------------------------------------------------- */

#include "dot_wide.h"

#if DOT == 0
#define GROUP 1
typedef float cell; /* a group of codes */
typedef floatv partial_t;
#define CODE_BYTES      4
#define PUT_CODES(p, v) LOCAL_AT(float16, p) = CONVERT(v, float16)
#if LANES == 16
#define LOAD_W(p) CONVERT(GLOBAL_AT(char16, p), float16)
#else
#define LOAD_W(p) CONVERT(vload8(0, p), float8)
#endif
#define MAC(sum, x, y) sum = mad(x, y, sum);
#define TO_SUM(x)      TO_INTV(x)
#else
typedef int cell;
typedef intv partial_t;
#endif

#if DOT == 1
#define GROUP           4
#define CODE_BYTES      1
#define PUT_CODES(p, v) LOCAL_AT(uchar16, p) = CONVERT(v, uchar16)
#define LOAD_W(p)       GLOBAL_AT(intv, p)
#define TO_SUM(x) to_sum(x)
#endif

#if DOT == 2
#define GROUP           2
#define CODE_BYTES      2
#define PUT_CODES(p, v) LOCAL_AT(short16, p) = CONVERT(v, short16)
#if LANES == 16
#define LOAD_W(p) \
    (int16)(as_int8(CONVERT(GLOBAL_AT(char16, p), short16)), as_int8(CONVERT(GLOBAL_AT(char16, (p) + 16), short16)))
#else
#define LOAD_W(p) as_int8(CONVERT(GLOBAL_AT(char16, p), short16))
#endif
#endif

#if DOT == 3
#define GROUP           4
#define CODE_BYTES      1
#define PUT_CODES(p, v) LOCAL_AT(uchar16, p) = CONVERT(v, uchar16)
#define LOAD_W(p)       GLOBAL_AT(intv, p)
#endif

#if VECTORS == 2
#define MAC_ROW(p, q, x)                                                                                               \
    {                                                                                                                  \
        const partial_t v = (partial_t)(x);                                                                            \
        MAC(p, v, w0) MAC(q, v, w1)                                                                                    \
    }
#else
#define MAC_ROW(p, q, x)                                                                                               \
    {                                                                                                                  \
        const partial_t v = (partial_t)(x);                                                                            \
        MAC(p, v, w0)                                                                                                  \
    }
#endif

/* ---- encoding ----------------------------------------------------------------------------------------------------- */

typedef struct quantizer {
    candidate c;
    float top;
    int levels, codebook;
    __global const float *thresholds;
    __global const int *values;
} quantizer;

/* Every threshold passed moves on to its value. */
static int16 value_of(float16 x, const quantizer *q)
{
    int16 v = q->values[0];
    for (int i = 1; i < q->levels; i++) v = q->thresholds[i - 1] <= x ? (int16)(q->values[i]) : v;
    return v;
}

/* The same for four vectors, which share the loads of thresholds and values. */
static void values_of(int16 v[4], __global const float *x, const quantizer *q)
{
    const float16 x0 = GLOBAL_AT(float16, x), x1 = GLOBAL_AT(float16, x + 16), x2 = GLOBAL_AT(float16, x + 32),
                  x3 = GLOBAL_AT(float16, x + 48);
    int16 v0 = q->values[0], v1 = v0, v2 = v0, v3 = v0;
    for (int i = 1; i < q->levels; i++) {
        const float16 t = q->thresholds[i - 1];
        const int16 value = q->values[i];
        v0 = t <= x0 ? value : v0;
        v1 = t <= x1 ? value : v1;
        v2 = t <= x2 ? value : v2;
        v3 = t <= x3 ? value : v3;
    }
    v[0] = v0;
    v[1] = v1;
    v[2] = v2;
    v[3] = v3;
}

static int16 integer_of(float16 x, const quantizer *q)
{
    if (q->codebook) return value_of(x, q);
    return CONVERT(uniform_code16(x, q->c.scale, q->c.zero, q->top), int16);
}

static float16 float_of(float16 x, const quantizer *q)
{
    if (q->codebook) return as_float16(value_of(x, q));
    return uniform_value16(x, q->c.scale, q->c.zero, q->top);
}

/* The `count` < 16 elements at x, then zeros. */
static float16 load_some(__global const float *x, int count)
{
    float some[16];
    for (int i = 0; i < 16; i++) some[i] = i < count ? x[i] : 0.0f;
    return vload16(0, some);
}

static int sum_lanes(int16 v)
{
    const int8 a = v.lo + v.hi;
    const int4 b = a.lo + a.hi;
    return b.s0 + b.s1 + b.s2 + b.s3;
}

/* 16 integers in 0..65535 as codes of one or two planes, `plane` bytes apart. */
VQ_LOCAL_FUNCTION void put_integers(__local uchar *codes, int plane, int16 v, int planes, int16 *low_sum,
                                    int16 *high_sum)
{
    if (planes == 2) {
        const int16 high = v >> 8;
        v &= 255;
        PUT_CODES(codes + plane, high);
        *high_sum += high;
    }
    PUT_CODES(codes, v);
    *low_sum += v;
}

/* One row of k elements; sums of its codes to low_sum and high_sum. Codes from k to the next multiple of 16 are 0. */
VQ_LOCAL_FUNCTION void encode_row(__local uchar *codes, int plane, __global const float *x, int k, const quantizer *q,
                                  int *low_sum, int *high_sum)
{
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int16 low = (int16)(0), high = (int16)(0);
    int i = 0;
    for (; q->codebook && i + 64 <= k; i += 64) {
        int16 v[4];
        values_of(v, x + i, q);
        for (int c = 0; c < 4; c++)
            put_integers(codes + (i + 16 * c) * CODE_BYTES, plane, v[c], q->c.planes, &low, &high);
    }
    for (; i + 16 <= k; i += 16)
        put_integers(codes + i * CODE_BYTES, plane, integer_of(GLOBAL_AT(float16, x + i), q), q->c.planes, &low, &high);
    if (i < k) {
        const int16 v = integer_of(load_some(x + i, k - i), q);
        put_integers(codes + i * CODE_BYTES, plane, lane < (int16)(k - i) ? v : (int16)(0), q->c.planes, &low, &high);
    }
    *low_sum = sum_lanes(low);
    *high_sum = sum_lanes(high);
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */

/* LANES targets minus the bias, of which `cols` exist; the others are 0, as their sums are. */
static floatv target(__global const float *y, __global const float *bias, int cols)
{
    if (cols >= LANES) return GLOBAL_AT(floatv, y) - GLOBAL_AT(floatv, bias);
    float some[LANES];
    for (int i = 0; i < LANES; i++) some[i] = i < cols ? y[i] - bias[i] : 0.0f;
#if LANES == 16
    return vload16(0, some);
#else
    return vload8(0, some);
#endif
}

static float lanes(floatv v)
{
#if LANES == 16
    const float8 a = v.lo + v.hi;
#else
    const float8 a = v;
#endif
    const float4 b = a.lo + a.hi;
    const float2 d = b.lo + b.hi;
    return d.x + d.y;
}

typedef struct target_view {
    __global const float *y, *bias; /* of the tile's first row and column */
    long y_row;
    int rows, cols; /* that exist */
} target_view;

/* Sums besides that of squared errors, where COSINE is set. */
typedef struct cosine_sums {
    floatv along, size;
} cosine_sums;

#define ADD_COSINE(sums, d, p)                    \
    if (COSINE) {                                 \
        (sums)->along = fma(d, p, (sums)->along); \
        (sums)->size = fma(p, p, (sums)->size);   \
    }
#define PUT_SUMS(j, error, cosine)                                               \
    {                                                                            \
        partial[PARTIAL_AT(j)] = lanes(error);                                   \
        if (COSINE) partial[PARTIAL_AT(j) + 1] = lanes((cosine).along);  \
        if (COSINE) partial[PARTIAL_AT(j) + 2] = lanes((cosine).size);   \
    }

/* Squared errors of a tile of integer sums. */
static floatv errors_s8(const target_view *t, const candidate *c, __global const int *consts, int n_pad,
                        const intv *low, const intv *high, const int *low_sums, const int *high_sums,
                        cosine_sums *cosine)
{
    floatv error = (floatv)(0.0f);
    const int rows = min(t->rows, ROWS);
    for (int v = 0; v < VECTORS && v * LANES < t->cols; v++) {
        const intv sum = GLOBAL_AT(intv, consts + FIELD_SUM * n_pad + v * LANES);
        const intv low_zero = sum * c->z_low, high_zero = sum * c->z_high;
        const floatv unit = -c->unit * GLOBAL_AT(floatv, consts + FIELD_SCALE * n_pad + v * LANES);
#if W_ZERO
        const intv w_zero = GLOBAL_AT(intv, consts + FIELD_W_ZERO * n_pad + v * LANES);
#define SUM_OF(sums, row_sums, zero) (sums[r * VECTORS + v] + w_zero * row_sums[r] - zero)
#else
#define SUM_OF(sums, row_sums, zero) (sums[r * VECTORS + v] - zero)
#endif
        for (int r = 0; r < rows; r++) {
            floatv total = TO_FLOATV(SUM_OF(low, low_sums, low_zero));
            if (c->planes == 2) total = fma((floatv)(256.0f), TO_FLOATV(SUM_OF(high, high_sums, high_zero)), total);
            const floatv d = fma(unit, total, target(t->y + r * t->y_row + v * LANES, t->bias + v * LANES, t->cols - v * LANES));
            error = fma(d, d, error);
            ADD_COSINE(cosine, d, -unit * total)
        }
    }
    return error;
}

static floatv errors_f32(const target_view *t, const floatv *sums, cosine_sums *cosine)
{
    floatv error = (floatv)(0.0f);
    const int rows = min(t->rows, ROWS);
    for (int v = 0; v < VECTORS && v * LANES < t->cols; v++)
        for (int r = 0; r < rows; r++) {
            const floatv d = target(t->y + r * t->y_row + v * LANES, t->bias + v * LANES, t->cols - v * LANES) -
                             sums[r * VECTORS + v];
            error = fma(d, d, error);
            ADD_COSINE(cosine, d, sums[r * VECTORS + v])
        }
    return error;
}

/* ---- products ----------------------------------------------------------------------------------------------------- */

#define KEEP(r)                                                                                                        \
    sums[r * VECTORS] = p##r;                                                                                          \
    SECOND(sums[r * VECTORS + 1] = q##r;)

/* ROWS rows of codes, of which `rows` exist (the last one stands for the others), times one panel. */
VQ_LOCAL_FUNCTION void product_s8(intv *sums, __local const uchar *codes, int pitch, __global const char *panel,
                                  int rows, int groups, int steps)
{
#define CODE_ROW(r) __local const cell *const a##r = (__local const cell *)(codes + min(r, rows - 1) * pitch);
    EACH_ROW(CODE_ROW)
#define LOAD_PANEL(g)                                                                                                  \
    const partial_t w0 = LOAD_W(panel + (size_t)(g) * (PANEL * GROUP));                                                \
    SECOND(const partial_t w1 = LOAD_W(panel + (size_t)(g) * (PANEL * GROUP) + LANES * GROUP);)
#define DECLARE(r) intv p##r = (intv)(0); SECOND(intv q##r = (intv)(0);)
    EACH_ROW(DECLARE)
#if DOT >= 2
#define STEP(r) MAC_ROW(p##r, q##r, a##r[g])
    for (int g = 0; g < groups; g++) {
        LOAD_PANEL(g)
        EACH_ROW(STEP)
    }
#else
#define START(r) partial_t s##r = (partial_t)(0); SECOND(partial_t t##r = (partial_t)(0);)
#define STEP(r)  MAC_ROW(s##r, t##r, a##r[g])
#define FLUSH(r) p##r += TO_SUM(s##r); SECOND(q##r += TO_SUM(t##r);)
    for (int g0 = 0; g0 < groups; g0 += steps) {
        const int end = min(g0 + steps, groups);
        EACH_ROW(START)
        for (int g = g0; g < end; g++) {
            LOAD_PANEL(g)
            EACH_ROW(STEP)
        }
        EACH_ROW(FLUSH)
    }
#endif
    EACH_ROW(KEEP)
}

/* The same for floats: [row][k] times [k][PANEL]. */
VQ_LOCAL_FUNCTION void product_f32(floatv *sums, __local const uchar *operand, int pitch, __global const float *panel,
                                   int rows, int k)
{
#define FLOAT_ROW(r) __local const float *const a##r = (__local const float *)(operand + min(r, rows - 1) * pitch);
    EACH_ROW(FLOAT_ROW)
#define DECLARE_F32(r) floatv p##r = (floatv)(0.0f); SECOND(floatv q##r = (floatv)(0.0f);)
    EACH_ROW(DECLARE_F32)
    for (int i = 0; i < k; i++) {
        const floatv w0 = GLOBAL_AT(floatv, panel + (size_t)i * PANEL);
        SECOND(const floatv w1 = GLOBAL_AT(floatv, panel + (size_t)i * PANEL + LANES);)
#define STEP_F32(r)                                                                                                    \
    {                                                                                                                  \
        const floatv v = a##r[i];                                                                                      \
        p##r = fma(v, w0, p##r);                                                                                       \
        SECOND(q##r = fma(v, w1, q##r);)                                                                               \
    }
        EACH_ROW(STEP_F32)
    }
    EACH_ROW(KEEP)
}

/* ---- kernels ------------------------------------------------------------------------------------------------------ */

#define ITEM __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
#define QUANTIZER(j)                                                                                                   \
    {                                                                                                                  \
        candidates[j], (float)(levels - 1), levels, codebook, thresholds + (size_t)(j) * (levels - 1),                 \
            values + (size_t)(j)*levels                                                                                \
    }

/* codes: [planes][rows_per_item][pitch bytes]. */
ITEM error_s8(ERROR_ARGS(char), int pitch, int steps, __local uchar *codes)
{
    const int first = (int)get_group_id(0) * rows_per_item, rows = min(rows_per_item, m - first);
    const int groups = (k + GROUP - 1) / GROUP, plane = rows_per_item * pitch;
    int low_sums[MAX_ROWS], high_sums[MAX_ROWS];
    TO_BATCH
    TO_CONSTS
    for (int j = 0; j < num; j++) {
        const quantizer q = QUANTIZER(j);
        floatv error = (floatv)(0.0f);
        cosine_sums cosine = {(floatv)(0.0f), (floatv)(0.0f)};
        for (int r = 0; r < rows; r++)
            encode_row(codes + r * pitch, plane, x + (first + r) * x_row, k, &q, low_sums + r, high_sums + r);
        for (int n0 = 0; n0 < n; n0 += PANEL) {
            __global const char *const panel = w + (size_t)(n0 / PANEL) * groups * (PANEL * GROUP);
            floatv column_error = (floatv)(0.0f);
            for (int r = 0; r < rows; r += ROWS) {
                const target_view t = {y + (first + r) * y_row + n0, bias + n0, y_row, rows - r, n - n0};
                intv low[ROWS * VECTORS], high[ROWS * VECTORS];
                product_s8(low, codes + r * pitch, pitch, panel, rows - r, groups, steps);
                if (q.c.planes == 2) product_s8(high, codes + plane + r * pitch, pitch, panel, rows - r, groups, steps);
                column_error += errors_s8(&t, &q.c, consts + n0, n_pad, low, high, low_sums + r, high_sums + r,
                                          &cosine);
            }
            error += column_error;
        }
        PUT_SUMS(j, error, cosine)
    }
}

ITEM error_f32(ERROR_ARGS(float), int pitch, int steps, __local uchar *operand)
{
    const int first = (int)get_group_id(0) * rows_per_item, rows = min(rows_per_item, m - first);
    TO_BATCH
    for (int j = 0; j < num; j++) {
        const quantizer q = QUANTIZER(j);
        floatv error = (floatv)(0.0f);
        cosine_sums cosine = {(floatv)(0.0f), (floatv)(0.0f)};
        for (int r = 0; r < rows; r++) {
            __global const float *const in = x + (first + r) * x_row;
            __local uchar *const out = operand + r * pitch;
            int i = 0;
            for (; q.codebook && i + 64 <= k; i += 64) {
                int16 v[4];
                values_of(v, in + i, &q);
                for (int c = 0; c < 4; c++) LOCAL_AT(float16, out + 4 * (i + 16 * c)) = as_float16(v[c]);
            }
            for (; i + 16 <= k; i += 16) LOCAL_AT(float16, out + 4 * i) = float_of(GLOBAL_AT(float16, in + i), &q);
            if (i < k) LOCAL_AT(float16, out + 4 * i) = float_of(load_some(in + i, k - i), &q);
        }
        for (int n0 = 0; n0 < n; n0 += PANEL) {
            floatv column_error = (floatv)(0.0f);
            for (int r = 0; r < rows; r += ROWS) {
                const target_view t = {y + (first + r) * y_row + n0, bias + n0, y_row, rows - r, n - n0};
                floatv sums[ROWS * VECTORS];
                product_f32(sums, operand + r * pitch, pitch, w + (size_t)n0 * k, rows - r, k);
                column_error += errors_f32(&t, sums, &cosine);
            }
            error += column_error;
        }
        PUT_SUMS(j, error, cosine)
    }
}

/* b of every batch, element (n, k) at n * b_n + k * b_k, as [n_pad/PANEL][k][PANEL]. Grid: (panels, 1, batch). */
ITEM error_pack(__global const float *b, __global float *w, int n, int k, int n_pad, int inner, long b_offset,
                long b_outer, long b_inner, long b_n, long b_k)
{
    const long z = (long)get_group_id(2), z_outer = (int)z / inner;
    const int n0 = (int)get_group_id(0) * PANEL;
    __global float *const out = w + ((size_t)z * n_pad + n0) * k;
    b += b_offset + z * b_inner + z_outer * (b_outer - inner * b_inner);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < PANEL; j++) out[(size_t)i * PANEL + j] = n0 + j < n ? b[(n0 + j) * b_n + i * b_k] : 0.0f;
}
