/* attention_u8 for CPUs. K and V of every (image, head) are brought into panels; then come ROWS query rows at a time:
 * scores tile by tile into a private buffer, exponentials and their sum, codes' values, product with V. Nothing of size
 * tokens x tokens leaves the work-item. One takes a head of an image with `packs`; else attention_u8_pack goes before, and
 * ROWS rows are an item's.
 *
 *   a panel:  s8 [depth/GROUP][PANEL][GROUP]    PANEL columns (tokens of K, channels of V), depth = channels or tokens
 *   scratch:  per (image, head), each part rounded up as below:
 *             s32 correction [tokens] = -q_zero * sum_d k';  s32 v_sum [width] = sum_j v';  K panels;  V panels
 *
 * With DOT 2, Q K^T is vpmaddubsw's. SCORE_STEPS is not 0 where Q and K have so few bits that 16 bits hold sums of so many
 * groups of 4 channels: then K is less K_MIDDLE instead of 128, which the rows' sums of Q make good. Where it is 0, rows of Q
 * are less q_zero (centred_rows.h) and K is its codes, which those rows' sums make good; the correction is of q_zero where
 * that is no code. V lies widened to s16.
 *
 * All element-wise work is done on vectors of 16, whatever LANES the products have. Grids: (heads, images or
 * windows) for packing, (blocks of rows or 1, heads, images or windows); work-groups of one.
 *
 * VQ_P0 ROWS: 6 or 12; VQ_P1 VECTORS of a panel; VQ_P2 LANES of s32 in a vector: 8 or 16; VQ_P3 DOT:
 *   0 plain OpenCL C: float lanes hold integers, exact as sums of up to 512 products stay below 2^24. GROUP 1
 *   2 vpmaddwd, operands of 16 bits; probabilities less 2^15, so that they fit. GROUP 2, but 4 of Q and K
 *   3 vpdpbusd. GROUP 4
 * MAX_T: a bound on the tokens, multiple of 32. PROB_LOW: some probability has a low byte. STEPS: how the table's runs of
 * equal values are found in registers: 1, by one comparison with the only edge in the entry's bucket; 4 or 6, at most
 * 2^STEPS of them, by a binary search. LANES 16 look up words for that (vpermw), LANES 8 bytes (vpshufb), with STEPS 1 only,
 * in TABLES registers of 16. SMALL_SCORES, CLAMP_SUMS: see requant_score. HIGH_SHIFTS: those of the output are 33 or more
 * (requant_hi16). IFMA: vpmadd52huq may be used. */

#ifndef MAX_T
#define MAX_T 4096
#endif
#ifndef PROB_LOW
#define PROB_LOW 1
#endif
#ifndef STEPS
#define STEPS 0
#endif
#ifndef TABLES
#define TABLES 0
#endif
#ifndef SMALL_SCORES
#define SMALL_SCORES 0
#endif
#ifndef CLAMP_SUMS
#define CLAMP_SUMS 0
#endif
#ifndef HIGH_SHIFTS
#define HIGH_SHIFTS 0
#endif
#ifndef IFMA
#define IFMA 0
#endif
#ifndef SCORE_STEPS
#define SCORE_STEPS 0
#endif
#define MAX_D   256
#define ROWS    VQ_P0
#define VECTORS VQ_P1
#define LANES   VQ_P2
#define DOT     VQ_P3
#define PANEL   (VECTORS * LANES)
/* Probabilities leave their lanes by vpackusdw and vpackuswb: of 32 tokens' 8 groups of 4, dwords 4 * i and 4 * i + 1 hold
 * the high bytes of groups i and i + 4, the next two their low ones. */
#define PACKED (DOT == 3 && LANES == 16 && STEPS)
/* Whether entries of the table are taken right from the scores, which therefore need not become differences. */
#define FROM_SCORES (STEPS && (PACKED || LANES == 8))

#include "attention_u8_math.h"
#include "attention_u8_rows.h"
#include "vq_vector.h"

#if ROWS == 12
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

#if LANES == 16
typedef int16 intv;
#define VLOAD(p) vload16(0, p)
#else
typedef int8 intv;
#define VLOAD(p) vload8(0, p)
#endif

/* Private arrays are aligned to 64 bytes and read and written in whole vectors: vstoren on private memory may become a
 * store per byte. */
#define ALIGNED     __attribute__((aligned(64)))
#define AT(type, p) (*(type *)(p))

/* ---- products ---------------------------------------------------------------------------------------------------- */

#if DOT == 2
#define BYTE_SUMS
#endif
#include "dot_wide.h"

/* A group of GROUP left operands is one s32: a float, two s16 or four u8. */
#if DOT == 0
#define GROUP     1
#define MAX_STEPS 512
typedef float16 operand;
#define OPERAND(x)     (float16)(as_float(x))
#define LOAD_B(p)      convert_float16(vload16(0, p))
#define MAC(sum, x, y) sum += x * y;
typedef float16 partial;
#define TO_SUM convert_int16
#elif DOT == 2
#define GROUP      2
typedef intv operand;
#define OPERAND(x) (intv)(x)
#define LOAD_B(p)  VLOAD((__global const int *)(p))
#define V_BYTES    2
#else
#define GROUP      4
typedef intv operand;
#define OPERAND(x) (intv)(x)
#define LOAD_B(p)  VLOAD((__global const int *)(p))
#endif

#ifndef V_BYTES
#define V_BYTES 1 /* of a value */
#endif

/* The code that stands for 0 in Q, or the one next to it. */
#define NEAREST_CODE(q_zero) clamp(q_zero, 0, 255)
#define CENTRED_Q            (DOT == 2 && !SCORE_STEPS)

/* Groups of channels, of Q and K. */
#if DOT == 2
#define Q_GROUP 4
#if SCORE_STEPS /* bytes of K, below 128, less K_MIDDLE */
#define CENTERED(x) ((((x) | 0x80808080u) - K_MIDDLE * 0x01010101u) ^ 0x80808080u)
#else
#define CENTERED(x) (x)
#define ROW_SPACE
#include "centred_rows.h"
#endif
#else
#define Q_GROUP GROUP
#define CENTERED(x) ((x) ^ 0x80808080u) /* less 128 */
#endif

#if VECTORS == 2
#define SECOND(x) x
#else
#define SECOND(x)
#endif

/* p##r and q##r, sums of row r, += sum over groups of a[r][g] * panel[g]; rows of a start lda groups apart. */
#define LOAD_PANEL                                                  \
    const operand b0 = LOAD_B(panel + (size_t)g * (PANEL * GROUP * V_BYTES)); \
    SECOND(const operand b1 = LOAD_B(panel + (size_t)g * (PANEL * GROUP * V_BYTES) + LANES * GROUP * V_BYTES);)
#define STEP(r)                                    \
    {                                              \
        const operand x = OPERAND(a[r * lda + g]); \
        MAC(SUM_P(r), x, b0)                       \
        SECOND(MAC(SUM_Q(r), x, b1))               \
    }
#if DOT == 0
#define SUM_P(r) s##r
#define SUM_Q(r) t##r
#define ZERO(r)          \
    partial s##r = 0.0f; \
    SECOND(partial t##r = 0.0f;)
#define FLUSH(r)          \
    p##r += TO_SUM(s##r); \
    SECOND(q##r += TO_SUM(t##r);)
#define MULTIPLY                                              \
    for (int first = 0; first < groups; first += MAX_STEPS) { \
        const int end = min(first + MAX_STEPS, groups);       \
        EACH_ROW(ZERO)                                        \
        for (int g = first; g < end; g++) {                   \
            LOAD_PANEL                                        \
            EACH_ROW(STEP)                                    \
        }                                                     \
        EACH_ROW(FLUSH)                                       \
    }
#else
#define SUM_P(r) p##r
#define SUM_Q(r) q##r
#define MULTIPLY                       \
    for (int g = 0; g < groups; g++) { \
        LOAD_PANEL                     \
        EACH_ROW(STEP)                 \
    }
#endif

#define FINISH(r)                     \
    AT(intv, acc + r * PANEL) = p##r; \
    SECOND(AT(intv, acc + r * PANEL + LANES) = q##r;)
#if PACKED
/* acc[r] = 256 * (sums with high bytes) + (sums with low bytes of p[r]); rows of p start ld groups apart. */
static void multiply_packed(int *acc, const int *p, int ld, __global const char *panel, int groups)
{
#define CLEAR(r)      \
    intv p##r = 0;    \
    SECOND(intv q##r = 0;)
#define SHIFT_UP(r) \
    p##r <<= 8;     \
    SECOND(q##r <<= 8;)
#define STEP_AT(r)                                  \
    {                                               \
        const operand x = OPERAND(at[r * ld]);      \
        MAC(p##r, x, b0)                            \
        SECOND(MAC(q##r, x, b1))                    \
    }
#define GROUP_AT(dword, group)                \
    {                                         \
        const int *const at = from + (dword); \
        const int g = (group);                \
        LOAD_PANEL                            \
        EACH_ROW(STEP_AT)                     \
    }
    EACH_ROW(CLEAR)
    for (int low = 0; low <= (PROB_LOW ? 2 : 0); low += 2) {
        if (low) { EACH_ROW(SHIFT_UP) }
        const int *from = p + low;
        int first = 0;
        for (; first + 8 <= groups; first += 8, from += 16)
            for (int i = 0; i < 4; i++) {
                GROUP_AT(4 * i, first + i)
                GROUP_AT(4 * i + 1, first + i + 4)
            }
        for (int i = 0; first + i < groups; i++) GROUP_AT(i % 4 * 4 + i / 4, first + i)
    }
    if (!PROB_LOW) { EACH_ROW(SHIFT_UP) }
    EACH_ROW(FINISH)
}
#else
/* acc[r][0..PANEL) += sum over groups of a[r][g] * panel[g] */
static void multiply(int *acc, const int *a, int lda, __global const char *panel, int groups)
{
#define START(r)                           \
    intv p##r = AT(intv, acc + r * PANEL); \
    SECOND(intv q##r = AT(intv, acc + r * PANEL + LANES);)
    EACH_ROW(START)
    MULTIPLY
    EACH_ROW(FINISH)
}
#endif

/* ---- packing ----------------------------------------------------------------------------------------------------- */

#define ROUND_UP(x, n) (((x) + (n)-1) / (n) * (n))

/* Bytes of one (image, head) in scratch, and where its parts begin. */
#define SUM_AT(tokens)      (ROUND_UP(tokens, PANEL) * 4)
#define K_AT(tokens, width) (SUM_AT(tokens) + ROUND_UP(width, PANEL) * 4)
#define V_AT(tokens, width) (K_AT(tokens, width) + ROUND_UP(tokens, PANEL) * ROUND_UP(width, Q_GROUP))
#define ALL(tokens, width)  ROUND_UP(V_AT(tokens, width) + ROUND_UP(width, PANEL) * ROUND_UP(tokens, GROUP) * V_BYTES, 64)

#if Q_GROUP == 4
/* 32 codes from channel d on, 0 beyond the last one. */
static uint8 codes_of_k(__global const uchar *row, int d, int width)
{
    const int count = width - d;
    if (count >= 32) return LOAD_AT(uint8, row + d);
    uchar some[32] ALIGNED;
    int i = 0;
    AT(uint8, some) = 0;
    for (; i + 16 <= count; i += 16) AT(uchar16, some + i) = LOAD_AT(uchar16, row + d + i);
    for (; i < count; i++) some[i] = row[d + i];
    return AT(const uint8, some);
}

#define LOW_PAIRS(x, y)  __builtin_shufflevector(x, y, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_PAIRS(x, y) __builtin_shufflevector(x, y, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_FOURS(x, y)  __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_FOURS(x, y) __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15)

/* Columns of rows. */
static void transpose(uint8 *x)
{
    uint8 pairs[8], fours[8];
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = LOW_PAIRS(x[i], x[i + 1]);
        pairs[i + 1] = HIGH_PAIRS(x[i], x[i + 1]);
    }
#pragma unroll
    for (int i = 0; i < 8; i += 4)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            fours[i + 2 * j] = LOW_FOURS(pairs[i + j], pairs[i + 2 + j]);
            fours[i + 2 * j + 1] = HIGH_FOURS(pairs[i + j], pairs[i + 2 + j]);
        }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[i] = (uint8)(fours[i].lo, fours[i + 4].lo);
        x[i + 4] = (uint8)(fours[i].hi, fours[i + 4].hi);
    }
}

/* Tokens j .. j+7, zeros beyond the last one, into their columns of a panel; returns the sums of k'. */
static int8 pack_tokens(__global int *column, const token_rows *k, int j, int tokens, int width)
{
    const uint8 real = as_uint8((int8)(0, 1, 2, 3, 4, 5, 6, 7) + j < tokens);
    uint8 sums = 0; /* of bytes in 16-bit halves, at most MAX_D / 4 * 510 */
    for (int d = 0; d < width; d += 32) {
        uint8 x[8];
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = codes_of_k(row_of(k, min(j + i, tokens - 1)), d, width);
        transpose(x);
        const int groups = min(8, (width - d + 3) / 4);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i >= groups) break;
            const int beyond = max(d + 4 * i + 4 - width, 0);
            sums += (x[i] & 0x00ff00ffu) + ((x[i] >> 8u) & 0x00ff00ffu);
            STORE_AT(uint8, column + (d / 4 + i) * PANEL) = CENTERED(x[i]) & real & ~0u >> 8 * beyond;
        }
    }
    return as_int8((sums & 0xffffu) + (sums >> 16u)) - 128 * width;
}

static void pack_k(__global char *to, __global int *correction, const token_rows *k, int tokens, int width, int q_zero)
{
    const int depth = ROUND_UP(width, 4);
    for (int j = 0; j < ROUND_UP(tokens, PANEL); j += 8) {
        __global int *const column = (__global int *)(to + (size_t)(j / PANEL) * depth * PANEL) + j % PANEL;
        STORE_AT(int8, correction + j) = pack_tokens(column, k, j, tokens, width) * -q_zero;
    }
}
#else
static void pack_k(__global char *to, __global int *correction, const token_rows *k, int tokens, int width, int q_zero)
{
    for (int j = 0; j < ROUND_UP(tokens, PANEL); j++) {
        __global char *const column = to + (size_t)(j / PANEL) * width * PANEL + j % PANEL;
        __global const uchar *const row = row_of(k, min(j, tokens - 1));
        int sum = 0;
        for (int d = 0; d < width; d++) {
            const int code = j < tokens ? row[d] - 128 : 0;
            column[d * PANEL] = (char)code;
            sum += code;
        }
        correction[j] = -q_zero * sum;
    }
}
#endif

/* v' of channels d .. d+15 of token j, 0 beyond the last token. */
static uchar16 codes_of_v(const token_rows *v, int tokens, int width, int j, int d)
{
    if (j >= tokens) return (uchar16)(0);
    __global const uchar *const row = row_of(v, j) + d;
    if (d + 16 <= width) return LOAD_AT(uchar16, row) ^ (uchar)(128);
    uchar rest[16] ALIGNED;
    AT(uchar16, rest) = (uchar16)(128);
    for (int k = d; k < width; k++) rest[k - d] = row[k - d];
    return AT(const uchar16, rest) ^ (uchar)(128);
}

/* GROUP tokens from j, channels d .. d+15, as a vector of groups. */
#if GROUP == 4
typedef uint16 groups_t;
static groups_t groups_of_v(const token_rows *v, int tokens, int width, int j, int d)
{
    uint16 groups = 0;
    for (int i = 0; i < 4; i++)
        groups |= __builtin_convertvector(codes_of_v(v, tokens, width, j + i, d), uint16) << (uint)(8 * i);
    return groups;
}
#elif GROUP == 2
typedef short groups_t __attribute__((ext_vector_type(32)));
static groups_t groups_of_v(const token_rows *v, int tokens, int width, int j, int d)
{
    const uchar16 a = codes_of_v(v, tokens, width, j, d), b = codes_of_v(v, tokens, width, j + 1, d);
    const uchar32 pairs = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25,
                                                  10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return __builtin_convertvector(__builtin_astype(pairs, char32), groups_t);
}
#else
typedef uchar16 groups_t;
#define groups_of_v codes_of_v
#endif

typedef struct __attribute__((packed)) at_groups {
    groups_t v;
} at_groups;

static void pack_v(__global char *to, __global int *v_sum, const token_rows *v, int tokens, int width)
{
    const int depth = ROUND_UP(tokens, GROUP);
    for (int d = 0; d < ROUND_UP(width, PANEL); d += 16) {
        int16 sum = 0;
        for (int first = 0; first < depth; first += 128) {
            short16 part = 0; /* of no more than 128 values of 8 bits */
            for (int j = first; j < min(first + 128, depth); j += GROUP) {
                const groups_t groups = groups_of_v(v, tokens, width, j, d);
                __global char *const at =
                    to + (((size_t)(d / PANEL) * depth + j) * PANEL + d % PANEL * GROUP) * V_BYTES;
                ((__global at_groups *)at)->v = groups;
#if DOT == 2
                part += groups.even + groups.odd;
#endif
            }
            sum += __builtin_convertvector(part, int16);
        }
        STORE_AT(int16, v_sum + d) = sum;
    }
}

static void pack(__global char *to, const token_rows *rows, int head, int heads, int tokens, int width, int q_zero)
{
    const token_rows k = columns(*rows, (heads + head) * width), v = columns(*rows, (2 * heads + head) * width);
    pack_k(to + K_AT(tokens, width), (__global int *)to, &k, tokens, width,
           CENTRED_Q ? q_zero - NEAREST_CODE(q_zero) : q_zero);
    pack_v(to + V_AT(tokens, width), (__global int *)(to + SUM_AT(tokens)), &v, tokens, width);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_u8_pack(__global const uchar *qkv, int ld_qkv, __global char *scratch, __global const int *consts, int tokens,
                  int width, MAP_ARGS)
{
    const int head = (int)get_group_id(0), heads = (int)get_num_groups(0);
    const size_t part = get_group_id(1);
    const token_rows rows = {qkv + FIRST_ROW(part, tokens) * ld_qkv, pad, MAP_OF(part, tokens), ld_qkv};
    pack(scratch + (part * heads + head) * ALL(tokens, width), &rows, head, heads, tokens, width, consts[head * 4]);
}

/* ---- one block of rows ------------------------------------------------------------------------------------------- */

#define Y_LD (MAX_T + 32)
#define A_LD (MAX_D / Q_GROUP)
#define P_LD ((MAX_T + 32) / GROUP * (PACKED ? 2 : 1))

#define MAX_EXTRA (4 * A_LD) /* a group's codes are at most 255 away from q_zero, 64 of it a step */
#define CODE_ROOM 128        /* centred_rows.h: what codes of a lane may sum to beside those of K, up to 255 */

/* ROWS rows of Q as left operands. */
typedef struct left_rows {
    int a[ROWS * A_LD] ALIGNED;
    int above[ROWS]; /* what products with K as it is packed are above those with K less 128 */
#if CENTRED_Q
    int2 extra[MAX_EXTRA * ROWS];
    int steps;
#endif
} left_rows;

/* Zeros beyond width; rows beyond the last repeat it. */
static void load_q(left_rows *left, const token_rows *q, int row, int rows, int width, int q_zero)
{
    int *const a = left->a;
#if CENTRED_Q
    const int center = NEAREST_CODE(q_zero);
    int steps[ROWS];
    left->steps = 0;
#endif
    for (int r = 0; r < ROWS; r++) {
        __global const uchar *const from = row_of(q, row + min(r, rows - 1));
#if CENTRED_Q
        int sum = -width * center;
        for (int d = 0; d < width; d++) sum += from[d];
        left->above[r] = 128 * sum;
        steps[r] = center_row((char *)(a + r * A_LD), left->extra + r, MAX_EXTRA, from, width, 1, center, CODE_ROOM);
        left->steps = max(left->steps, steps[r]);
#elif Q_GROUP == 4
        int d = 0;
        for (; d + 16 <= width; d += 16) AT(uchar16, a + r * A_LD + d / 4) = LOAD_AT(uchar16, from + d);
        uchar *const to = (uchar *)(a + r * A_LD);
        for (; d < ROUND_UP(width, 4); d++) to[d] = d < width ? from[d] : 0;
#if SCORE_STEPS
        int sum = 0;
        for (d = 0; d < ROUND_UP(width, 4); d++) sum += to[d];
        left->above[r] = (128 - K_MIDDLE) * sum;
#endif
#else
        for (int d = 0; d < width; d++) a[r * A_LD + d] = as_int((float)from[d]);
#endif
    }
#if CENTRED_Q
    for (int r = 0; r < ROWS; r++)
        for (int i = steps[r]; i < left->steps; i++) left->extra[i * ROWS + r] = (int2)(0);
#endif
}

/* What windows add to the scores of the block's rows. */
typedef struct window_scores {
    __global const int *bias, *region; /* of the head; of the window */
    int row, rows, mask;
} window_scores;

static int16 window_added(const window_scores *w, int r, int j, int tokens)
{
    const int row = w->row + min(r, w->rows - 1);
    const int16 apart = LOAD_AT(int16, w->region + j) != (int16)(w->region[row]);
    return LOAD_AT(int16, w->bias + (size_t)row * tokens + j) + (apart & w->mask);
}

/* The scores of 16 tokens from j of row r, -2^30 or less beyond the last token; all: there is none beyond. */
static int16 scores_of(int16 sums, const int4 head, const window_scores *window, int r, int j, int tokens, bool all)
{
    int16 s = requant_score(sums, head.y, head.z, head.w);
#if WINDOWS
    s += window_added(window, r, j, tokens);
    if (!SMALL_SCORES) s = clamp(s, -(1 << 30), 1 << 30);
#endif
    return all ? s : select((int16)(SMALL_SCORES ? -(1 << 30) : INT_MIN), s, LANE_INDEX + j < tokens);
}

/* Scores of a panel's tokens, from j0, of all rows into y; tops keeps the largest. Not inlined, for what scores() has in
 * registers is one row of sums too many. */
static __attribute__((noinline)) void score_panel(int *y, int16 *tops, const left_rows *left, __global const char *panel,
                                                  __global const int *correction, int groups, int4 head,
                                                  const window_scores *window, int j0, int tokens)
{
    const int *const a = left->a;
    const int lda = A_LD;
#define ABOVE(r) (DOT == 2 ? left->above[r] : 0)
#define CORRECTION(r)                         \
    intv p##r = VLOAD(correction) - ABOVE(r); \
    SECOND(intv q##r = VLOAD(correction + LANES) - ABOVE(r);)
#define PUT(r, at, sums, all)                                                          \
    {                                                                                  \
        const int16 s = scores_of(sums, head, window, r, j0 + (at), tokens, all);      \
        AT(int16, y + r * Y_LD + (at)) = s;                                            \
        tops[r] = max(tops[r], s);                                                     \
    }
#if LANES == 16
#define PUT_ROW(r, all)  \
    PUT(r, 0, p##r, all) \
    SECOND(PUT(r, 16, q##r, all))
#else
#define PUT_ROW(r, all) PUT(r, 0, ((int16)(p##r, q##r)), all)
#endif
#define PUT_ALL(r)  PUT_ROW(r, true)
#define PUT_SOME(r) PUT_ROW(r, false)
    EACH_ROW(CORRECTION)
#if DOT == 2
#define LOAD_CHANNELS(at)                                                              \
    __global const int *const columns = (__global const int *)panel + (size_t)(at) * PANEL; \
    const intv b0 = VLOAD(columns);                                                    \
    SECOND(const intv b1 = VLOAD(columns + LANES);)
#endif
#if CENTRED_Q
    const intv ones = 0x00010001;
#define STEP_CENTRED(r)                        \
    {                                          \
        const intv x = (intv)(a[r * lda + g]); \
        ADD_BYTES(p##r, x, b0)                 \
        SECOND(ADD_BYTES(q##r, x, b1))         \
    }
#define STEP_EXTRA(r)                     \
    {                                     \
        LOAD_CHANNELS(part[r].x)          \
        const intv x = (intv)(part[r].y); \
        ADD_BYTES(p##r, x, b0)            \
        SECOND(ADD_BYTES(q##r, x, b1))    \
    }
    for (int g = 0; g < groups; g++) {
        LOAD_CHANNELS(g)
        EACH_ROW(STEP_CENTRED)
    }
    for (int i = 0; i < left->steps; i++) {
        const int2 *const part = left->extra + i * ROWS;
        EACH_ROW(STEP_EXTRA)
    }
#elif SCORE_STEPS
#define CLEAR_BYTES(r) \
    intv s##r = 0;     \
    SECOND(intv t##r = 0;)
#define STEP_BYTES(r)                                   \
    {                                                   \
        const intv x = (intv)(a[r * lda + g]);          \
        MAC_BYTES(s##r, x, b0)                          \
        SECOND(MAC_BYTES(t##r, x, b1))                  \
    }
#define WIDEN_BYTES(r)    \
    p##r += to_sum(s##r); \
    SECOND(q##r += to_sum(t##r);)
    for (int first = 0; first < groups; first += SCORE_STEPS) {
        EACH_ROW(CLEAR_BYTES)
        for (int g = first; g < min(first + SCORE_STEPS, groups); g++) {
            LOAD_CHANNELS(g)
            EACH_ROW(STEP_BYTES)
        }
        EACH_ROW(WIDEN_BYTES)
    }
#else
    MULTIPLY
#endif
    if (j0 + PANEL <= tokens) {
        EACH_ROW(PUT_ALL)
    } else {
        EACH_ROW(PUT_SOME)
    }
}

/* Scores of all rows into y, and the largest of each row into top. */
static void scores(int *y, int *top, const left_rows *a, __global const char *scratch, int tokens, int width, int4 head,
                   const window_scores *window)
{
    const int groups = ROUND_UP(width, Q_GROUP) / Q_GROUP;
    int16 tops[ROWS];
    for (int r = 0; r < ROWS; r++) tops[r] = (int16)(INT_MIN);
    for (int j0 = 0; j0 < tokens; j0 += PANEL)
        score_panel(y + j0, tops, a, scratch + K_AT(tokens, width) + (size_t)j0 * ROUND_UP(width, Q_GROUP),
                    (__global const int *)scratch + j0, groups, head, window, j0, tokens);
    for (int r = 0; r < ROWS; r++) top[r] = max_lanes(tops[r]);
}

#if FROM_SCORES
/* Sum of the exponentials of y - top. */
static uint exponentials(const int *y, int top, int tokens)
{
    uint16 sum = 0;
    for (int j = 0; j < tokens; j += 16) /* 0 beyond the last token, where top - y >= 2^29 in 32 bits without a sign */
        sum += exp2_neg16((uint16)((uint)top) - AT(const uint16, y + j));
    return sum_lanes(sum);
}
#else
/* y to t = min(top - y, 2^31 - 1); returns the sum of the exponentials. */
static uint exponentials(int *y, int top, int tokens)
{
    uint16 sum = 0;
    for (int j = 0; j < tokens; j += 16) {
        const uint16 t = min((uint16)((uint)top) - AT(uint16, y + j), (uint16)(0x7fffffffu));
        AT(uint16, y + j) = t;
        sum += exp2_neg16(t); /* 0 beyond the last token, where t >= 2^30 */
    }
    return sum_lanes(sum);
}
#endif

#include "attention_u8_lookup.h"

#if !PACKED
/* Sums of one panel of channels, without the zero points of V. The total fits s32, so wrapping parts do no harm. */
static void weigh(int *acc, const int *hi, const int *lo, __global const char *panel, __global const int *v_sum,
                  int groups)
{
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < PANEL; v += 16)
            AT(int16, acc + r * PANEL + v) = DOT == 2 ? LOAD_AT(int16, v_sum + v) << 15 : (int16)(0);
    multiply(acc, hi, P_LD, panel, groups);
#if DOT != 2
    for (int i = 0; i < ROWS * PANEL; i += 16) AT(int16, acc + i) <<= 8;
    if (PROB_LOW) multiply(acc, lo, P_LD, panel, groups);
#endif
}
#endif

/* codes of up to 16 channels of all rows */
static void put_codes(__global uchar *to, __global const int *map_of, int first, int ld, int rows, const int *acc, const uint *p_sums,
                      __global const int *channel, int padded, int count, int zero, int code_max)
{
    const uint16 v_zero = as_uint16(LOAD_AT(int16, channel));
    const int16 mult = LOAD_AT(int16, channel + padded), shift = LOAD_AT(int16, channel + 2 * padded);
#if HIGH_SHIFTS
    const int16 term = (int16)(1) << (shift - 33), rest = shift - 32;
#endif
    for (int r = 0; r < rows; r++) {
        const uint16 sum = AT(const uint16, acc + r * PANEL) + v_zero * p_sums[r];
#if HIGH_SHIFTS
        const int16 code = requant_hi16(as_int16(sum), mult, term, rest) + zero;
#else
        const int16 code = add_sat(requant16(as_int16(sum), mult, shift), (int16)(zero));
#endif
        const uchar16 codes = convert_uchar16(clamp(code, 0, code_max));
        const int at = ROW_INDEX(map_of, first + r);
        if (at < 0) continue; /* padding has no output */
        __global uchar *const row = to + (size_t)at * ld;
        if (count >= 16) {
            STORE_AT(uchar16, row) = codes;
        } else {
            uchar rest[16];
            vstore16(codes, 0, rest);
            for (int k = 0; k < count; k++) row[k] = rest[k];
        }
    }
}

/* What the rows of one head share. */
typedef struct head_of_image {
    token_rows q;
    __global const int *map_of, *consts, *channel; /* consts and channel: see attention_u8 */
    __global const char *packed;
    table prob;
    __global const int *bias, *region;
    __global uchar *out;
    int ld_out, tokens, width, padded, zero, code_max, mask;
} head_of_image;

/* ROWS rows from `row` on. */
static void attend(const head_of_image *h, int row)
{
    int y[ROWS * Y_LD] ALIGNED, hi[ROWS * P_LD] ALIGNED;
#if !PACKED
    int lo[PROB_LOW ? ROWS * P_LD : 1] ALIGNED;
#endif
    left_rows a;
    int acc[ROWS * PANEL] ALIGNED, top[ROWS], logs[16] ALIGNED;
    uint sums[16] ALIGNED, p_sums[ROWS];
    const int tokens = h->tokens, width = h->width, rows = min(ROWS, tokens - row), depth = ROUND_UP(tokens, GROUP);
    const window_scores window = {h->bias, h->region, row, rows, h->mask};

    load_q(&a, &h->q, row, rows, width, h->consts[0]);
    scores(y, top, &a, h->packed, tokens, width, vload4(0, h->consts), &window);
    for (int r = 0; r < 16; r++) sums[r] = 1;
    for (int r = 0; r < ROWS; r++) sums[r] = exponentials(y + r * Y_LD, top[r], tokens);
    AT(int16, logs) = log2_q16(AT(uint16, sums));
    for (int r = 0; r < ROWS; r++)
#if PACKED
        p_sums[r] = probabilities(hi + r * P_LD, y + r * Y_LD, &h->prob, top[r], logs[r], tokens);
#elif FROM_SCORES
        p_sums[r] = probabilities(hi + r * P_LD, lo + (PROB_LOW ? r * P_LD : 0), y + r * Y_LD, &h->prob, top[r], logs[r],
                                  tokens);
#else
        p_sums[r] =
            probabilities(hi + r * P_LD, lo + (PROB_LOW ? r * P_LD : 0), y + r * Y_LD, &h->prob, logs[r], tokens);
#endif

    for (int d0 = 0; d0 < width; d0 += PANEL) {
        __global const char *const panel = h->packed + V_AT(tokens, width) + (size_t)d0 * depth * V_BYTES;
#if PACKED
        multiply_packed(acc, hi, P_LD, panel, depth / GROUP);
#else
        weigh(acc, hi, lo, panel, (__global const int *)(h->packed + SUM_AT(tokens)) + d0, depth / GROUP);
#endif
        for (int d = d0; d < min(d0 + PANEL, width); d += 16)
            put_codes(h->out + d, h->map_of, row, h->ld_out, rows, acc + (d - d0), p_sums, h->channel + d, h->padded,
                      width - d, h->zero, h->code_max);
    }
}

/* consts: s32 [heads][4] q_zero, score_mult, score_shift, limit of sums (requant_score); then [heads][3][padded width]
 * v_zero, mult, shift.
 * prob_step: from one head's table to the next, 0 where they share one. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_u8(__global const uchar *qkv, int ld_qkv, __global uchar *out, int ld_out, __global char *scratch,
             __global const int *consts, __global const ushort *prob, int prob_step, int prob_last, int prob_shift,
             __global const ushort *search, int tokens, int width, int padded, int zero, int code_max, int packs,
             WINDOW_ARGS)
{
    const int head = (int)get_group_id(1), heads = (int)get_num_groups(1);
    const size_t part = get_group_id(2), first = FIRST_ROW(part, tokens);
    __global const int *const map_of = MAP_OF(part, tokens);
    __global char *const packed = scratch + (part * heads + head) * ALL(tokens, width);
    const token_rows rows = {qkv + first * ld_qkv, pad, map_of, ld_qkv};
    const head_of_image h = {
        columns(rows, head * width), map_of, consts + head * 4, consts + heads * 4 + head * 3 * padded, packed,
        {prob + (size_t)head * prob_step, prob_last, prob_shift, search + (prob_step ? head * 256 : 0)},
        bias + (size_t)head * tokens * tokens, region + (map_of - map), out + first * ld_out + head * width, ld_out,
        tokens, width, padded, zero, code_max, mask};
    if (packs) pack(packed, &rows, head, heads, tokens, width, h.consts[0]);
    for (int row = (int)get_group_id(0) * ROWS; row < tokens; row += (int)get_num_groups(0) * ROWS) attend(&h, row);
}
