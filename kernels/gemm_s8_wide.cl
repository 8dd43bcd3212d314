/* gemm_s8 for CPUs: one work-item computes rows_per_item rows x panels_per_item panels of columns in register tiles of ROWS
 * rows x VECTORS vectors. A panel's weights stay in the first-level cache while the item's rows pass by.
 * w [n_pad/PANEL][k_pad/GROUP][PANEL][GROUP], zero beyond k and n, so that whatever codes lie beyond k do not count; with
 * W_PACKED a byte has two weights, the lower half of group 2i and the upper of group 2i + 1. A work-item unpacks a panel
 * before its rows pass by: unpacking on the way to the registers takes the ports that the products need.
 * Grid: (row blocks, column splits), work-groups of one.
 *
 * VQ_P0 ROWS: 6 or 8; VQ_P1 VECTORS: 1 to 3; VQ_P2 LANES of s32 in a vector: 8 or 16; VQ_P3 DOT, which the host replaces
 * by 1 where it is 2 and the layer's ranges allow.
 * DOT  0 plain OpenCL C: float lanes hold integers; each product and each sum of `steps` products stays below 2^24 and is
 *        therefore exact, in any order and with or without contraction. GROUP 1
 *      1 vpmaddubsw: u8 x s8 summed in 16 bits for `steps` groups, which the layer's weights prove safe, then widened. GROUP 4
 *      2 vpmaddwd on both operands widened to 16 bits, for ranges too large for 1. GROUP 2. With WIDENED both lie widened
 *        in local memory, the item's rows once and a panel before they pass by: widening on the way to the registers takes
 *        ports that the products need, and its rows anew for every panel
 *      3 vpdpbusd. GROUP 4
 *      4 vpmaddubsw on weights counted from the lowest and codes less `center`: gemm_s8_centred.h. GROUP 4, k_pad a multiple
 *        of 16. w_zero is less what the weights are more, bias has the rest
 * W_ZERO 2       w_zero and the rows' sums of codes are pairs of s16, (w_zero, 128 * w_zero) and (sum % 128, sum / 128), so
 *                that one multiply-add of pairs does; not with DOT 0 or two planes
 * STEP_SEGMENTS  0, or the table as steps (below), 64 blocks a segment: 1, 4 or 8. Needs AVX-512BW and 3 vectors.
 * RUN_STEPS      0, or 5 to 7: the table is at most 2^RUN_STEPS runs of equal values, found in as many steps. Needs the same
 * BUCKET_TABLES  0, or 2, 4 or 8: the table as 16 times as many buckets. Needs 2 vectors of 8 lanes
 * VBMI: bytes may be permuted and bit fields taken from them */
#include "gemm_s8_epilogue.h"
#include "vq_part.h"

#ifndef DOT
#define DOT VQ_P3
#endif
#ifndef STEP_SEGMENTS
#define STEP_SEGMENTS 0
#endif
#ifndef RUN_STEPS
#define RUN_STEPS 0
#endif
#ifndef BUCKET_TABLES
#define BUCKET_TABLES 0
#endif
#ifndef VBMI
#define VBMI 0
#endif
#ifndef WIDENED
#define WIDENED 0
#endif
#define ROWS    VQ_P0
#define VECTORS VQ_P1
#define LANES   VQ_P2
#define PANEL   (VECTORS * LANES)
#define MAX_ROWS 96 /* a work-item takes no more; ops/gemm_s8.c knows */

#if ROWS == 8
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

#if LANES == 16
typedef int16 intv;
typedef uint16 uintv;
typedef long8 longv;
typedef ulong8 ulongv;
#define VLOAD(p)     vload16(0, p)
#define AS_INTV      as_int16
#define AS_UINTV     as_uint16
#define AS_LONGV     as_long8
#define AS_ULONGV    as_ulong8
typedef uchar16 ucharv;
#else
typedef int8 intv;
typedef uint8 uintv;
typedef long4 longv;
typedef ulong4 ulongv;
#define VLOAD(p)     vload8(0, p)
#define AS_INTV      as_int8
#define AS_UINTV     as_uint8
#define AS_LONGV     as_long4
#define AS_ULONGV    as_ulong4
typedef uchar8 ucharv;
#endif

/* PoCL's vstore and convert_ built-ins work on halves and quarters of vectors, ten times the instructions. */
typedef struct __attribute__((packed)) unaligned_ints {
    intv v;
} unaligned_ints;
typedef struct __attribute__((packed)) unaligned_bytes {
    ucharv v;
} unaligned_bytes;
typedef struct __attribute__((packed)) unaligned_codes {
    uint8 v;
} unaligned_codes;
typedef struct __attribute__((packed)) unaligned_half {
    uint4 v;
} unaligned_half;
#define STORE_INTS(x, p)  ((__global unaligned_ints *)(p))->v = (x)
#define STORE_BYTES(x, p) ((__global unaligned_bytes *)(p))->v = (x)
#ifdef __has_builtin
#if __has_builtin(__builtin_convertvector)
#define CONVERT(x, type) __builtin_convertvector(x, type)
#endif
#endif
#ifndef CONVERT
#define CONVERT(x, type) convert_##type(x)
#endif
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#if LANES == 16
#define ODD_OF_PAIRS(x, y) \
    __builtin_shufflevector(x, y, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#else
#define ODD_OF_PAIRS(x, y) __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15)
#endif
#endif
#endif
#if LANES == 16
#define TO_UCHARV(x) CONVERT(x, uchar16)
#else
#define TO_UCHARV(x) CONVERT(x, uchar8)
#endif

#if DOT == 4
#define BYTE_SUMS
#endif
#include "dot_wide.h"
#include "gemm_s8_put.h"

/* ---- products ---------------------------------------------------------------------------------------------------- */

#if W_PACKED || WIDENED
#define W_SPACE __local
#else
#define W_SPACE __global
#endif
#if WIDENED
#define A_SPACE      __local
#define WEIGHT_BYTES 2
#else
#define A_SPACE      __global
#define WEIGHT_BYTES 1
#endif

#if DOT == 0
#define GROUP   1
#define K_BLOCK 256
typedef float wide_t;
typedef float16 wide16_t;
#if LANES == 16
typedef float16 partial;
#define WIDEN_16(p)   CONVERT(vload16(0, p), float16)
#define TO_SUM(x)     CONVERT(x, int16)
#define LOAD_W(p)     CONVERT(vload16(0, p), float16)
#endif
#define MAC(sum, x, y) sum += x * y;
#endif

#if DOT == 1
#define GROUP 4
typedef intv partial;
#define TO_SUM    to_sum
#define LOAD_W(p) VLOAD((W_SPACE const int *)(p))
#endif

#if DOT == 2
#define GROUP 2
typedef intv partial;
typedef short wide_t;
typedef short16 wide16_t;
#if WIDENED
#define LOAD_W(p) VLOAD((W_SPACE const int *)(p))
#else
#define K_BLOCK     512
#define WIDEN_16(p) CONVERT(vload16(0, p), short16)
#if LANES == 16
#define LOAD_W(p) \
    (int16)(as_int8(CONVERT(vload16(0, p), short16)), as_int8(CONVERT(vload16(1, p), short16)))
#else
#define LOAD_W(p) as_int8(CONVERT(vload16(0, p), short16))
#endif
#define TO_SUM
#endif
#endif

#if DOT == 3
#define GROUP 4
#define LOAD_W(p) VLOAD((W_SPACE const int *)(p))
#endif

#if DOT == 4
#define GROUP 4
#endif

#define GROUP_BYTES (PANEL * GROUP)
#if W_PACKED
#define DEPTH (2 * GROUP)
#if defined(__clang__) && GROUP_BYTES % 64 == 0
typedef uchar bytes __attribute__((ext_vector_type(64)));
typedef ushort words_of_bytes __attribute__((ext_vector_type(32)));
#elif defined(__clang__) && GROUP_BYTES % 32 == 0
typedef uchar bytes __attribute__((ext_vector_type(32)));
typedef ushort words_of_bytes __attribute__((ext_vector_type(16)));
#else
typedef uchar16 bytes;
typedef ushort8 words_of_bytes;
#endif
typedef union __attribute__((packed)) unaligned_weights {
    bytes v;
    words_of_bytes words;
} unaligned_weights;
#define AT_WEIGHTS(space, p) (*(space unaligned_weights *)(p))

/* Two codes of 4 bits a word, shifted: by no more than 4, so that they stay in their bytes. */
static bytes shifted(words_of_bytes codes, int shift)
{
    unaligned_weights out;
    out.words = (codes & (ushort)0x0f0f) << (ushort)shift;
    return out.v;
}

/* low: of every weight of a group. */
static void __attribute__((always_inline)) unpack_panel(__local char *out, __global const char *panel,
                                                        __global const char *low, int pairs, int shift)
{
    for (int at = 0; at < GROUP_BYTES; at += (int)sizeof(bytes)) {
        const bytes lowest = AT_WEIGHTS(__global const, low + at).v;
        for (int i = 0; i < pairs; i++) {
            const words_of_bytes x = AT_WEIGHTS(__global const, panel + (size_t)i * GROUP_BYTES + at).words;
            __local char *const pair = out + (size_t)(2 * i) * GROUP_BYTES + at;
            AT_WEIGHTS(__local, pair).v = shifted(x, shift) + lowest;
            AT_WEIGHTS(__local, pair + GROUP_BYTES).v = shifted(x >> (ushort)4, shift) + lowest;
        }
    }
}
#elif DOT == 4
#define DEPTH 16
#else
#define DEPTH GROUP
#endif
#if VECTORS > 1
#define SECOND(x) x
#else
#define SECOND(x)
#endif
#if VECTORS > 2
#define THIRD(x) x
#else
#define THIRD(x)
#endif
#define LOAD_LANES(at, v) LOAD_W(panel + ((size_t)(at) * PANEL + (v) * LANES) * (GROUP * WEIGHT_BYTES))
#define LOAD_GROUP(at)                                                                                                 \
    const typeof_partial w0 = LOAD_LANES(at, 0);                                                                       \
    SECOND(const typeof_partial w1 = LOAD_LANES(at, 1);)                                                               \
    THIRD(const typeof_partial w2 = LOAD_LANES(at, 2);)
#define MAC_ROW(x0, x1, x2, x)                                                                                         \
    {                                                                                                                  \
        const typeof_partial v = (typeof_partial)(x);                                                                  \
        MAC(x0, v, w0) SECOND(MAC(x1, v, w1)) THIRD(MAC(x2, v, w2))                                                    \
    }
#if DOT == 0
#define typeof_partial partial
#else
#define typeof_partial intv
#endif

/* Row r's sums are p, q and u; those of 16 bits or floats that go into them s, t and z. */
#define DECLARE(r) intv p##r = bias_p; SECOND(intv q##r = bias_q;) THIRD(intv u##r = bias_u;)
#if W_ZERO == 2
#define ADD_ZEROS(r)                                                                                                   \
    {                                                                                                                  \
        const intv sum = (intv)(row_sums[r]);                                                                          \
        MAC_PAIRS(p##r, sum, zero_p) SECOND(MAC_PAIRS(q##r, sum, zero_q)) THIRD(MAC_PAIRS(u##r, sum, zero_u))          \
    }
#endif
#define LOAD_FIELD(name, field)                                                              \
    const intv name##_p = VLOAD(consts + (field) * s->n_pad + n0);                           \
    SECOND(const intv name##_q = VLOAD(consts + (field) * s->n_pad + n0 + LANES);)           \
    THIRD(const intv name##_u = VLOAD(consts + (field) * s->n_pad + n0 + 2 * LANES);)
#if W_ZERO == 2
#define START_SUMS LOAD_FIELD(bias, FIELD_BIAS) EACH_ROW(DECLARE) LOAD_FIELD(zero, FIELD_W_ZERO) EACH_ROW(ADD_ZEROS)
#else
#define START_SUMS LOAD_FIELD(bias, FIELD_BIAS) EACH_ROW(DECLARE)
#endif
#define NEXT_PLANE(r)                                                                                                  \
    p##r = (p##r - bias_p) * 256 + bias_p;                                                                             \
    SECOND(q##r = (q##r - bias_q) * 256 + bias_q;)                                                                     \
    THIRD(u##r = (u##r - bias_u) * 256 + bias_u;)
#define KEEP(r)                                                                                                        \
    sums[r * VECTORS] = p##r;                                                                                          \
    SECOND(sums[r * VECTORS + 1] = q##r;)                                                                              \
    THIRD(sums[r * VECTORS + 2] = u##r;)
#define ZERO(r) partial s##r = (partial)(0); SECOND(partial t##r = (partial)(0);) THIRD(partial z##r = (partial)(0);)
#define FLUSH(r) p##r += TO_SUM(s##r); SECOND(q##r += TO_SUM(t##r);) THIRD(u##r += TO_SUM(z##r);)

#ifdef K_BLOCK
/* Codes of a block of k for ROWS rows, as wide_t; reads whole vectors of 16 codes, which the pitch of rows allows. */
static void widen(wide_t *wide, __global const uchar *a, const gemm_shape *s, int m0, int k0, int count)
{
    for (int r = 0; r < ROWS; r++) {
        __global const uchar *const row = a + (size_t)min(m0 + r, s->m - 1) * s->lda + k0;
        for (int i = 0; i < count; i += 16) *(wide16_t *)(wide + r * K_BLOCK + i) = WIDEN_16(row + i);
    }
}
#endif

#if WIDENED
/* Codes of all rows from `first` on, the last one as often as fills a tile, and of both planes; rows of `pitch` bytes.
 * Reads whole vectors of 16 codes, which the pitch of rows allows. */
static void widen_rows(__local char *out, __global const uchar *a, const gemm_shape *s, int first, int rows, int pitch)
{
    for (int plane = 0; plane < A_PLANES; plane++)
        for (int r = 0; r < rows; r++, out += pitch) {
            __global const uchar *const row = a + (size_t)min(first + r, s->m - 1) * s->lda + plane * s->a_plane;
            for (int i = 0; 2 * i < pitch; i += 16)
                *(__local short16 *)(out + 2 * i) = CONVERT(*(__global const uchar16 *)(row + i), short16);
        }
}

static void widen_panel(__local char *out, __global const char *panel, int groups)
{
    for (int i = 0; i < groups * PANEL * GROUP; i += 16)
        *(__local short16 *)(out + 2 * i) = CONVERT(*(__global const char16 *)(panel + i), short16);
}
#endif

#if DOT == 4
#include "gemm_s8_centred.h"
#else
/* Where the products of a tile leave room for a part of the epilogue of the one before it. */
#if REQUANT < 2
#define PARTS      (ROWS / PART)
#define PUT_PART() put_part(s, before, table, c, sums, PART * part);
#define PUT_END()  put_end(s, before, c, sums);
#else
#define PARTS      1
#define PUT_PART()
#define PUT_END()
#endif

/* Sums of ROWS rows from m0, rows beyond m - 1 like that one, x one panel; row_sums are theirs. a: the first of all rows or,
 * widened, of these. */
static void __attribute__((always_inline)) tile(const gemm_shape *s, A_SPACE const uchar *a, int a_pitch, int a_plane,
                                                W_SPACE const char *panel,
                                                __global const int *consts, __global const uchar *table,
                                                __global result_t *c, intv *sums, const int *row_sums,
                                                const waiting *before, int m0, int n0, int steps)
{
    const int groups = (s->k + GROUP - 1) / GROUP;
    START_SUMS
    for (int plane = 0; plane < A_PLANES; plane++, a += a_plane) {
        if (plane) { EACH_ROW(NEXT_PLANE) }
#ifdef K_BLOCK
        wide_t wide[ROWS * K_BLOCK] __attribute__((aligned(64)));
        const int block = min(steps, K_BLOCK / GROUP);
        for (int g0 = 0; g0 < groups; g0 += block) {
            const int count = min(block, groups - g0);
            widen(wide, a, s, m0, g0 * GROUP, count * GROUP);
            EACH_ROW(ZERO)
            for (int g = 0; g < count; g++) {
                LOAD_GROUP(g0 + g)
#if DOT == 0
#define STEP(r) MAC_ROW(s##r, t##r, z##r, wide[r * K_BLOCK + g])
#else
#define STEP(r) MAC_ROW(s##r, t##r, z##r, ((const int *)wide)[r * (K_BLOCK / 2) + g])
#endif
                EACH_ROW(STEP)
            }
            EACH_ROW(FLUSH)
        }
#else
#define ROW_START(r)                                                                                                   \
        A_SPACE const int *const a##r =                                                                                \
            (A_SPACE const int *)(a + (size_t)(WIDENED ? r : min(m0 + r, s->m - 1)) * a_pitch);
        EACH_ROW(ROW_START)
#if DOT == 3 || WIDENED
#define STEP(r) MAC_ROW(p##r, q##r, u##r, a##r[g])
        const int share = (groups + PARTS - 1) / PARTS;
        for (int part = 0, g = 0; part < PARTS; part++) {
            for (const int end = min(g + share, groups); g < end; g++) {
                LOAD_GROUP(g)
                EACH_ROW(STEP)
            }
            if (plane == 0) { PUT_PART() }
        }
        if (plane == 0) { PUT_END() }
#else
        for (int g0 = 0; g0 < groups; g0 += steps) {
            const int end = min(g0 + steps, groups);
            EACH_ROW(ZERO)
#define STEP(r) MAC_ROW(s##r, t##r, z##r, a##r[g])
            for (int g = g0; g < end; g++) {
                LOAD_GROUP(g)
                EACH_ROW(STEP)
            }
            EACH_ROW(FLUSH)
        }
#endif
#endif
    }
#if DOT != 3 && !WIDENED && REQUANT < 2
    put_rest(s, before, table, c, sums);
#endif
    EACH_ROW(KEEP)
}
#endif

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

VQ_ONE_ITEM_KERNEL void gemm_s8(GEMM_ARGS
#if W_PACKED
                                , __local char *unpacked /* a panel */, int w_shift /* in place of W_SHIFT */
#elif WIDENED
                                , __local char *wide_panel, __local char *wide_rows
#elif DOT == 4
                                , __local char *rows, __local char *extra, int center /* and room in place of steps */
#endif
)
{
    const gemm_shape s = GEMM_SHAPE;
    const int depth = (k + DEPTH - 1) / DEPTH * (DOT == 4 ? DEPTH / GROUP : 1);
    const int first = VQ_FIRST_ROW(get_group_id(0), rows_per_item, m);
    const int end = VQ_FIRST_ROW(get_group_id(0) + 1, rows_per_item, m);
    const int n_first = (int)get_group_id(1) * panels_per_item * PANEL, n_end = min(n_first + panels_per_item * PANEL, n);
    int row_sums[MAX_ROWS];
#if W_ZERO
    for (int r = first; r < end; r++) {
        __global const uchar *const row = a + (size_t)r * lda;
        const int sum = A_PLANES == 2 ? 256 * row_sum(row, k) + row_sum(row + a_plane, k) : row_sum(row, k);
        row_sums[r - first] = W_ZERO == 2 ? (sum & 127) | sum >> 7 << 16 : sum;
    }
    for (int r = end - first; r % ROWS; r++) row_sums[r] = 0;
#endif
#if WIDENED
    const int pitch = (k + 15) / 16 * 32, tiled = (end - first + ROWS - 1) / ROWS * ROWS;
    widen_rows(wide_rows, a, &s, first, tiled, pitch);
#endif
#if DOT == 4
    const int pitch = ROW_PITCH(k), extra_bytes = EXTRA_BYTES(pitch / 4);
    for (int m0 = first, i = 0, fold = 4; m0 < end; m0 += ROWS, i++)
        fold = center_tile(rows + i * ROWS * pitch, extra + i * extra_bytes, a, &s, m0, fold, center, steps);
#endif
    intv sums[ROWS * VECTORS];
    lane_consts lanes[2][VECTORS]; /* of a panel and the one before it */
    waiting last = {lanes[0], row_sums, 0, 0, 0};
#if EPILOGUE == 2
    intv over = (intv)(0);
    last.over = &over;
#endif
#if USE_STEPS && VBMI
    steps_row steps_rows;
    steps_rows.out = 0;
    last.steps = &steps_rows;
#endif
    for (int n0 = n_first, odd = 0; n0 < n_end; n0 += PANEL, odd ^= 1) {
#if REQUANT < 2
        for (int v = 0; v < VECTORS; v++) lanes[odd][v] = load_consts(&s, consts, n0 + v * LANES);
#endif
        __global const char *const packed = w + (size_t)(n0 / PANEL) * depth * GROUP_BYTES;
#if W_PACKED
        unpack_panel(unpacked, packed, (__global const char *)(consts + FIELD_W_LOW * n_pad) + n0 * GROUP, depth, w_shift);
        __local const char *const panel = unpacked;
#elif WIDENED
        widen_panel(wide_panel, packed, depth);
        __local const char *const panel = wide_panel;
#else
        __global const char *const panel = packed;
#endif
        for (int m0 = first; m0 < end; m0 += ROWS) {
            const int count = min(ROWS, m - m0);
            const bool waits = REQUANT < 2 && n0 + PANEL <= n;
#if DOT == 4
#if REQUANT < 2
            put_rest(&s, &last, table, c, sums);
#endif
            const int i = (m0 - first) / ROWS;
            centred_tile(&s, a, rows + i * ROWS * pitch, extra + i * extra_bytes, panel, consts, sums,
                         row_sums + (m0 - first), m0, n0, center);
#else
#if WIDENED
            __local const uchar *const rows_from = (__local const uchar *)wide_rows + (m0 - first) * pitch;
            const int a_pitch = pitch, plane = tiled * pitch;
#else
            __global const uchar *const rows_from = a;
            const int a_pitch = lda, plane = a_plane;
#endif
            tile(&s, rows_from, a_pitch, plane, panel, consts, table, c, sums, row_sums + (m0 - first), &last, m0, n0, steps);
#endif
            last.consts = lanes[odd];
            last.row_sums = row_sums + (m0 - first);
            last.m0 = m0;
            last.n0 = n0;
            last.rows = waits ? count : 0;
            if (!waits) put_rows(&s, consts, table, c, sums, row_sums + (m0 - first), m0, count, n0);
        }
    }
#if REQUANT < 2
    put_rest(&s, &last, table, c, sums);
#endif
}
