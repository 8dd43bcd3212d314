/* gemm_s8 for CPUs: one work-item computes rows_per_item rows x panels_per_item panels of columns in register tiles of ROWS
 * rows x VECTORS vectors. A panel's weights stay in the first-level cache while the item's rows pass by.
 * w [n_pad/PANEL][k_pad/GROUP][PANEL][GROUP], zero beyond k and n, so that whatever codes lie beyond k do not count.
 * Grid: (row blocks, column splits), work-groups of one.
 *
 * VQ_P0 ROWS: 6 or 12; VQ_P1 VECTORS: 1 or 2; VQ_P2 LANES of s32 in a vector: 8 or 16; VQ_P3 DOT, which the host replaces
 * by 1 where it is 2 and the layer's ranges allow.
 * DOT  0 plain OpenCL C: float lanes hold integers; each product and each sum of `steps` products stays below 2^24 and is
 *        therefore exact, in any order and with or without contraction. GROUP 1
 *      1 vpmaddubsw: u8 x s8 summed in 16 bits for `steps` groups, which the ranges prove safe, then widened. GROUP 4
 *      2 vpmaddwd on both operands widened to 16 bits, for ranges too large for 1. GROUP 2
 *      3 vpdpbusd. GROUP 4 */
#include "gemm_s8_epilogue.h"

#ifndef DOT
#define DOT VQ_P3
#endif
#define ROWS    VQ_P0
#define VECTORS VQ_P1
#define LANES   VQ_P2
#define PANEL   (VECTORS * LANES)
#define MAX_ROWS 96 /* a work-item takes no more; ops/gemm_s8.c knows */

#if ROWS == 12
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

#if LANES == 16
typedef int16 intv;
typedef uint16 uintv;
typedef long8 longv;
typedef ulong8 ulongv;
#define VLOAD(p)     vload16(0, p)
#define VSTORE(x, p) vstore16(x, 0, p)
#define AS_INTV      as_int16
#define AS_UINTV     as_uint16
#define AS_LONGV     as_long8
#define AS_ULONGV    as_ulong8
#define TO_UCHARV    convert_uchar16
#else
typedef int8 intv;
typedef uint8 uintv;
typedef long4 longv;
typedef ulong4 ulongv;
#define VLOAD(p)     vload8(0, p)
#define VSTORE(x, p) vstore8(x, 0, p)
#define AS_INTV      as_int8
#define AS_UINTV     as_uint8
#define AS_LONGV     as_long4
#define AS_ULONGV    as_ulong4
#define TO_UCHARV    convert_uchar8
#endif

/* ---- epilogue ---------------------------------------------------------------------------------------------------- */

#if REQUANT < 2
/* High halves of the products of lanes, as even and odd lanes' 64-bit products: what compilers turn into vpmuldq. */
static intv mul_high(intv x, intv y)
{
    const longv even = ((AS_LONGV(x) << 32) >> 32) * ((AS_LONGV(y) << 32) >> 32);
    const longv odd = (AS_LONGV(x) >> 32) * (AS_LONGV(y) >> 32);
    return AS_INTV((AS_ULONGV(odd) & (ulongv)(0xffffffff00000000UL)) | (AS_ULONGV(even) >> 32));
}

static intv requant(const gemm_shape *s, __global const int *consts, intv acc)
{
#if REQUANT == 1
    acc <<= VLOAD(consts + FIELD_PRE * s->n_pad);
#endif
    return (mul_high(acc, VLOAD(consts + FIELD_MULT * s->n_pad)) + VLOAD(consts + FIELD_ADD * s->n_pad)) >>
           VLOAD(consts + FIELD_SHIFT * s->n_pad);
}

/* Sums of LANES columns to out; consts and out are those of the first column. */
static void put_vector(const gemm_shape *s, __global const int *consts, __global const uchar *table,
                       __global result_t *out, intv acc)
{
    const intv r = requant(s, consts, acc);
#if EPILOGUE == 0
    VSTORE(TO_UCHARV(min(max(r, (intv)(0)), (intv)(s->code_max))), out);
#elif EPILOGUE == 1
    int index[LANES];
    VSTORE(min(max(r, (intv)(0)), (intv)(s->code_max)), index);
#pragma unroll
    for (int j = 0; j < LANES; j++) out[j] = table[index[j]];
#elif EPILOGUE == 2
    const intv x = VLOAD(out), sum = AS_INTV(AS_UINTV(x) + AS_UINTV(r));
    /* overflow: both operands' signs differ from the sum's */
    const intv over = ((x ^ sum) & (r ^ sum)) >> 31, limit = (x >> 31) ^ (intv)(0x7fffffff);
    VSTORE((sum & ~over) | (limit & over), out);
#else
    VSTORE(r, out);
#endif
}
#endif

/* A vector of sums of columns col.., of which those before n exist. */
static void put(const gemm_shape *s, __global const int *consts, __global const uchar *table, __global result_t *row,
                int col, intv acc)
{
#if REQUANT < 2
    if (col + LANES <= s->n) {
        put_vector(s, consts + col, table, row + col, acc);
        return;
    }
#endif
    int sums[LANES];
    VSTORE(acc, sums);
    for (int j = 0; j < LANES && col + j < s->n; j++) put_one(s, consts, table, row + col + j, col + j, sums[j]);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

#if DOT == 0
#define GROUP   1
#define K_BLOCK 256
typedef float wide_t;
#if LANES == 16
typedef float16 partial;
#define WIDEN_16(p)   convert_float16(vload16(0, p))
#define TO_SUM        convert_int16
#define LOAD_W(p)     convert_float16(vload16(0, p))
#endif
#define MAC(sum, x, y) sum += x * y
#endif

#if DOT == 1
#define GROUP 4
typedef intv partial;
#if LANES == 16
#define REG "v"
#else
#define REG "x"
#endif
#define MAC(sum, x, y)                                                                                                 \
    {                                                                                                                  \
        intv pairs;                                                                                                    \
        __asm__("vpmaddubsw %2, %1, %0" : "=" REG(pairs) : REG(x), REG(y));                                            \
        __asm__("vpaddw %1, %0, %0" : "+" REG(sum) : REG(pairs));                                                      \
    }
static intv to_sum(intv pairs)
{
    intv sum;
    __asm__("vpmaddwd %2, %1, %0" : "=" REG(sum) : REG(pairs), REG((intv)(0x00010001)));
    return sum;
}
#define TO_SUM    to_sum
#define LOAD_W(p) VLOAD((__global const int *)(p))
#endif

#if DOT == 2
#define GROUP   2
#define K_BLOCK 512
typedef short wide_t;
typedef intv partial;
#define WIDEN_16(p) convert_short16(vload16(0, p))
#if LANES == 16
#define REG "v"
#define LOAD_W(p) \
    (int16)(as_int8(convert_short16(vload16(0, p))), as_int8(convert_short16(vload16(1, p))))
#else
#define REG "x"
#define LOAD_W(p) as_int8(convert_short16(vload16(0, p)))
#endif
#define MAC(sum, x, y)                                                                                                 \
    {                                                                                                                  \
        intv pairs;                                                                                                    \
        __asm__("vpmaddwd %2, %1, %0" : "=" REG(pairs) : REG(x), REG(y));                                              \
        sum += pairs;                                                                                                  \
    }
#define TO_SUM
#endif

#if DOT == 3
#define GROUP 4
#define LOAD_W(p) VLOAD((__global const int *)(p))
#if LANES == 16
#define MAC(sum, x, y) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y))
#else
#define MAC(sum, x, y) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(y))
#endif
#endif

#if VECTORS == 2
#define LOAD_GROUP(at)                                                                                                 \
    const typeof_partial w0 = LOAD_W(panel + (size_t)(at) * (PANEL * GROUP));                                          \
    const typeof_partial w1 = LOAD_W(panel + (size_t)(at) * (PANEL * GROUP) + LANES * GROUP);
#define MAC_ROW(p, q, x) { const typeof_partial v = (typeof_partial)(x); MAC(p, v, w0); MAC(q, v, w1); }
#define SECOND(x) x
#else
#define LOAD_GROUP(at) const typeof_partial w0 = LOAD_W(panel + (size_t)(at) * (PANEL * GROUP));
#define MAC_ROW(p, q, x) { const typeof_partial v = (typeof_partial)(x); MAC(p, v, w0); }
#define SECOND(x)
#endif
#if DOT == 0
#define typeof_partial partial
#else
#define typeof_partial intv
#endif

#define DECLARE(r) intv p##r = zero_p; SECOND(intv q##r = zero_q;)
#if W_ZERO
#define START(r) p##r += (intv)(sums[r]) * wz_p; SECOND(q##r += (intv)(sums[r]) * wz_q;)
#else
#define START(r)
#endif
#define FINISH(r)                                                                                                      \
    if (r < rows) {                                                                                                    \
        __global result_t *const row = c + (size_t)c_row(s, m0 + r) * s->ldc;                                          \
        put(s, consts, table, row, n0, p##r);                                                                          \
        SECOND(if (n0 + LANES < s->n) put(s, consts, table, row, n0 + LANES, q##r);)                                   \
    }

#ifdef K_BLOCK
/* Codes of a block of k for ROWS rows, as wide_t; reads whole vectors of 16 codes, which the pitch of rows allows. */
static void widen(wide_t *wide, __global const uchar *a, const gemm_shape *s, int m0, int k0, int count)
{
    for (int r = 0; r < ROWS; r++) {
        __global const uchar *const row = a + (size_t)min(m0 + r, s->m - 1) * s->lda + k0;
        for (int i = 0; i < count; i += 16) vstore16(WIDEN_16(row + i), 0, wide + r * K_BLOCK + i);
    }
}
#endif

/* ROWS rows from m0, of which those before `end` exist and are stored, x one panel. */
static void tile(const gemm_shape *s, __global const uchar *a, __global const char *panel, __global const int *consts,
                 __global const uchar *table, __global result_t *c, const int *sums, int m0, int n0, int steps)
{
    const int groups = (s->k + GROUP - 1) / GROUP, rows = min(ROWS, s->m - m0);
    const intv zero_p = VLOAD(consts + FIELD_BIAS * s->n_pad + n0);
    SECOND(const intv zero_q = VLOAD(consts + FIELD_BIAS * s->n_pad + n0 + LANES);)
    EACH_ROW(DECLARE)
#if W_ZERO
    const intv wz_p = VLOAD(consts + FIELD_W_ZERO * s->n_pad + n0);
    SECOND(const intv wz_q = VLOAD(consts + FIELD_W_ZERO * s->n_pad + n0 + LANES);)
    EACH_ROW(START)
#endif
#ifdef K_BLOCK
    wide_t wide[ROWS * K_BLOCK];
    const int block = min(steps, K_BLOCK / GROUP);
    for (int g0 = 0; g0 < groups; g0 += block) {
        const int count = min(block, groups - g0);
        widen(wide, a, s, m0, g0 * GROUP, count * GROUP);
#define ZERO(r) partial s##r = (partial)(0); SECOND(partial t##r = (partial)(0);)
        EACH_ROW(ZERO)
        for (int g = 0; g < count; g++) {
            LOAD_GROUP(g0 + g)
#if DOT == 0
#define STEP(r) MAC_ROW(s##r, t##r, wide[r * K_BLOCK + g])
#else
#define STEP(r) MAC_ROW(s##r, t##r, ((const int *)wide)[r * (K_BLOCK / 2) + g])
#endif
            EACH_ROW(STEP)
        }
#define FLUSH(r) p##r += TO_SUM(s##r); SECOND(q##r += TO_SUM(t##r);)
        EACH_ROW(FLUSH)
    }
#else
#define ROW_START(r)                                                                                                   \
    __global const int *const a##r = (__global const int *)(a + (size_t)min(m0 + r, s->m - 1) * s->lda);
    EACH_ROW(ROW_START)
#if DOT == 3
#define STEP(r) MAC_ROW(p##r, q##r, a##r[g])
    for (int g = 0; g < groups; g++) {
        LOAD_GROUP(g)
        EACH_ROW(STEP)
    }
#else
    for (int g0 = 0; g0 < groups; g0 += steps) {
        const int end = min(g0 + steps, groups);
#define ZERO(r) partial s##r = (partial)(0); SECOND(partial t##r = (partial)(0);)
        EACH_ROW(ZERO)
#define STEP(r) MAC_ROW(s##r, t##r, a##r[g])
        for (int g = g0; g < end; g++) {
            LOAD_GROUP(g)
            EACH_ROW(STEP)
        }
#define FLUSH(r) p##r += TO_SUM(s##r); SECOND(q##r += TO_SUM(t##r);)
        EACH_ROW(FLUSH)
    }
#endif
#endif
    EACH_ROW(FINISH)
}

#if W_ZERO
/* Sum of the first k codes of a row. Bytes are added in 16-bit halves of 32-bit lanes, at most 510 a step. */
static int row_sum(__global const uchar *row, int k)
{
    int sum = 0, i = 0;
    while (i + 64 <= k) {
        uint16 halves = (uint16)(0);
        const int end = min(i + 128 * 64, k & ~63);
        for (; i < end; i += 64) {
            const uint16 x = vload16(0, (__global const uint *)(row + i));
            halves += (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
        }
        const uint16 pairs = (halves & 0xffffu) + (halves >> 16);
        const uint8 p8 = pairs.lo + pairs.hi;
        const uint4 p4 = p8.lo + p8.hi;
        sum += (int)(p4.s0 + p4.s1 + p4.s2 + p4.s3);
    }
    for (; i + 16 <= k; i += 16) {
        const uint4 x = vload4(0, (__global const uint *)(row + i));
        const uint4 halves = (x & 0x00ff00ffu) + ((x >> 8) & 0x00ff00ffu);
        const uint4 p4 = (halves & 0xffffu) + (halves >> 16);
        sum += (int)(p4.s0 + p4.s1 + p4.s2 + p4.s3);
    }
    for (; i < k; i++) sum += row[i];
    return sum;
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_s8(GEMM_ARGS)
{
    const gemm_shape s = GEMM_SHAPE;
    const size_t panel_bytes = (size_t)((k + GROUP - 1) / GROUP) * (PANEL * GROUP);
    const int first = (int)get_group_id(0) * rows_per_item, end = min(first + rows_per_item, m);
    const int n_first = (int)get_group_id(1) * panels_per_item * PANEL, n_end = min(n_first + panels_per_item * PANEL, n);
    int sums[MAX_ROWS];
#if W_ZERO
    for (int r = first; r < end; r++) sums[r - first] = row_sum(a + (size_t)r * lda, k);
    for (int r = end; r < first + rows_per_item; r++) sums[r - first] = 0;
#endif
    for (int n0 = n_first; n0 < n_end; n0 += PANEL)
        for (int m0 = first; m0 < end; m0 += ROWS)
            tile(&s, a, w + (size_t)(n0 / PANEL) * panel_bytes, consts, table, c, sums + (m0 - first), m0, n0, steps);
}
