/* What every gemm_s8 kernel shares: its arguments, the layer's constants and the scalar epilogue. base/int_ops.h says what
 * is computed, ops/gemm_s8.c packs the constants.
 *
 * EPILOGUE  0 codes, 1 table, 2 add, 3 set
 * REQUANT   0 in 32 bits, for layers whose shifts all reach 33;
 *           1 in 32 bits after x is shifted left by PRE, which the layer's bounds allow: the same product, a larger shift;
 *           2 in 64 bits with saturation, always right
 * W_ZERO    1: every sum gets w_zero[n] times the row's sum of codes
 * A_PLANES  2: A has high and low bytes, a_plane bytes apart. The high ones come first: the sums of their products are
 *           shifted left by 8 and go on with the low ones
 * W_PACKED  1: weights lie two in a byte, as codes of 4 bits: w = (code << W_SHIFT) + low of the column
 * C_PLANES  2: table entries are pairs of bytes, for C and for C c_plane bytes further */
#include "vq_int.h"

#ifndef EPILOGUE
#define EPILOGUE 1
#endif
#ifndef REQUANT
#define REQUANT 1
#endif
#ifndef W_ZERO
#define W_ZERO 1
#endif
#ifndef A_PLANES
#define A_PLANES 1
#endif
#ifndef W_PACKED
#define W_PACKED 0
#endif
#ifndef W_SHIFT
#define W_SHIFT 0
#endif
#ifndef C_PLANES
#define C_PLANES 1
#endif

#if EPILOGUE >= 2
typedef int result_t;
#else
typedef uchar result_t;
#endif

/* Constants are s32 [field][n_pad]. ADD is 2^(shift'-33) + (zero << SHIFT) with SHIFT = shift' - 32 where REQUANT < 2
 * (shift' = shift + pre), and the bare zero point where REQUANT is 2, whose SHIFT is the real one. W_LOW, only where
 * weights are packed, is low as often as a lane has weights: in 4 bytes, 2 halves or once. */
enum { FIELD_BIAS, FIELD_MULT, FIELD_ADD, FIELD_SHIFT, FIELD_PRE, FIELD_W_ZERO, FIELD_W_LOW };

#if W_PACKED
/* The 4 weights of a column in the lower or upper halves of four bytes; low is in each byte. */
static uint unpack_four(uint bytes, int upper, uint low)
{
    const uint codes = (upper ? bytes >> 4 : bytes) & 0x0f0f0f0fu, x = codes << W_SHIFT;
    return ((x & 0x7f7f7f7fu) + (low & 0x7f7f7f7fu)) ^ ((x ^ low) & 0x80808080u); /* a sum for each byte */
}
#endif

typedef struct gemm_shape {
    int m, n, k, n_pad, lda, ldc, rows_in, rows_out, row_first, code_max, split, a_plane, c_plane;
} gemm_shape;

#define GEMM_ARGS                                                                                                      \
    __global const uchar *restrict a, __global const char *restrict w, __global const int *restrict consts,            \
        __global const uchar *restrict table, __global result_t *restrict c, int m, int n, int k, int n_pad, int lda,  \
        int ldc, int rows_in, int rows_out, int row_first, int code_max, int split, int rows_per_item,                 \
        int panels_per_item, int steps, int a_plane, int c_plane
#define GEMM_SHAPE                                                                                                     \
    {                                                                                                                  \
        m, n, k, n_pad, lda, ldc, rows_in, rows_out, row_first, code_max, split, a_plane, c_plane                      \
    }

static int c_row(const gemm_shape *s, int row)
{
#if EPILOGUE >= 2
    /* not with row % rows_in: compilers pair it with the division, in an instruction that Oclgrind does not know */
    if (s->rows_in) return row + row / s->rows_in * (s->rows_out - s->rows_in) + s->row_first;
#endif
    return row;
}

/* One sum, bias included, to its place. */
static void put_one(const gemm_shape *s, __global const int *consts, __global const uchar *table, __global result_t *out,
                    int col, int acc)
{
    const int mult = consts[FIELD_MULT * s->n_pad + col], shift = consts[FIELD_SHIFT * s->n_pad + col];
#if REQUANT < 2 || EPILOGUE < 2
    const int add = consts[FIELD_ADD * s->n_pad + col];
#endif
#if REQUANT == 2
    const int r = vq_requant(acc, mult, shift);
#else
#if REQUANT == 1
    acc <<= consts[FIELD_PRE * s->n_pad + col];
#endif
    const int r = (mul_hi(acc, mult) + add) >> shift;
#endif
#if EPILOGUE < 2
    const long code = clamp((long)r + (REQUANT == 2 ? add : 0), 0L, (long)s->code_max);
#endif
#if EPILOGUE == 0
    *out = (uchar)code;
#elif EPILOGUE == 1 && C_PLANES == 2
    out[0] = table[2 * code];
    out[s->c_plane] = table[2 * code + 1];
#elif EPILOGUE == 1
    *out = table[code];
#elif EPILOGUE == 2
    *out = add_sat(*out, r);
#else
    *out = r;
#endif
}
