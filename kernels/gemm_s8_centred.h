/* Sums of tiles by vpmaddubsw for codes and weights too large for its 16 bits (DOT 4): its unsigned operand is the weights,
 * counted from the layer's lowest, its signed one the codes as centred_rows.h has them. An extra step is one group for
 * every row of the tile.
 *
 * Local memory, for every tile of ROWS rows:
 *   rows   s8 [ROWS][ROW_PITCH(k)]   codes less center, or as much of them as fits
 *   extra  an extra_head, then int2 [steps][ROWS]: a group, and what its codes lack */
#ifndef GEMM_S8_CENTRED_H
#define GEMM_S8_CENTRED_H

typedef struct extra_head {
    int fold;  /* groups that 16 bits sum: 4, 2 or 1; 0: codes too far from center for that, which go by vpmaddwd */
    int steps; /* extra ones */
} extra_head;

/* ops/gemm_s8.c knows both. */
#define EXTRA_STEPS(groups) ((groups) / 2 + 8)
#define EXTRA_BYTES(groups) ((int)sizeof(extra_head) + EXTRA_STEPS(groups) * ROWS * (int)sizeof(int2))

#define ROW_PITCH(k) (((k) + 31) & ~31)

/* Steps that are worth while: fewer groups to a sum take longer, by a twelfth and a sixth of all. */
static int most_steps(int fold, int groups)
{
    const int most = EXTRA_STEPS(groups);
    return fold == 4 ? groups / 12 : fold == 2 ? min(groups / 6, most) : most;
}

#define ROW_SPACE __local
#include "centred_rows.h"

/* The rows of one tile from m0 on, rows beyond m - 1 like that one, in sums of at most `fold` groups. Returns that of the
 * tile. */
static __attribute__((noinline)) int center_tile(__local char *rows, __local char *extra, __global const uchar *a,
                                                 const gemm_shape *s, int m0, int fold, int center, int room)
{
    const int pitch = ROW_PITCH(s->k);
    __local int2 *const parts = (__local int2 *)(extra + sizeof(extra_head));
    int steps[ROWS], most = 0;
    for (; fold; fold /= 2) {
        const int worth = most_steps(fold, pitch / 4);
        int r = 0;
        for (most = 0; r < ROWS && most <= worth; r++) {
            steps[r] = center_row(rows + r * pitch, parts + r, worth, a + (size_t)min(m0 + r, s->m - 1) * s->lda, s->k,
                                  fold, center, room);
            most = max(most, steps[r]);
        }
        if (most <= worth) break;
    }
    if (!fold) most = 0;
    for (int r = 0; r < ROWS && fold; r++)
        for (int i = steps[r]; i < most; i++) parts[i * ROWS + r] = (int2)(0);
    *(__local extra_head *)extra = (extra_head){fold, most};
    return fold;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

#define LOAD_BYTES(at)                                                            \
    __global const int *const columns = (__global const int *)panel + (size_t)(at) * PANEL; \
    const intv w0 = VLOAD(columns);                                               \
    SECOND(const intv w1 = VLOAD(columns + LANES);)                               \
    THIRD(const intv w2 = VLOAD(columns + 2 * LANES);)

#define TAKE_SUMS(r)                              \
    intv p##r = sums[r * VECTORS];                \
    SECOND(intv q##r = sums[r * VECTORS + 1];)    \
    THIRD(intv u##r = sums[r * VECTORS + 2];)

/* A row's sums += four codes times the weights last loaded. */
#define ADD_FOUR(r, codes)                                                                  \
    {                                                                                       \
        const intv x = (intv)(codes);                                                       \
        ADD_BYTES(p##r, x, w0) SECOND(ADD_BYTES(q##r, x, w1)) THIRD(ADD_BYTES(u##r, x, w2)) \
    }
#define ADD_EXTRA(r)                \
    {                               \
        LOAD_BYTES(parts[r].x)      \
        ADD_FOUR(r, parts[r].y)     \
    }
#define ADD_EXTRAS \
    for (int i = 0; i < steps; i++, parts += ROWS) { EACH_ROW(ADD_EXTRA) }

/* sums += products of the tile's rows with a panel, in sums of one group */
static void __attribute__((noinline)) add_groups(intv *sums, __local const char *rows, int pitch, int groups,
                                                 __local const int2 *parts, int steps, __global const char *panel)
{
    const intv ones = 0x00010001;
    EACH_ROW(TAKE_SUMS)
#define ROW_AT(r) __local const int *const a##r = (__local const int *)(rows + r * pitch);
    EACH_ROW(ROW_AT)
    for (int g = 0; g < groups; g++) {
        LOAD_BYTES(g)
#define ADD_GROUP(r) ADD_FOUR(r, a##r[g])
        EACH_ROW(ADD_GROUP)
    }
    ADD_EXTRAS
    EACH_ROW(KEEP)
}

/* The same, in sums of `fold` groups, 2 or 4, which take all registers. */
static void __attribute__((noinline)) add_folds(intv *sums, __local const char *rows, int pitch, int groups,
                                                __local const int2 *parts, int steps, __global const char *panel, int fold)
{
    const intv ones = 0x00010001;
    EACH_ROW(ROW_AT)
    for (int first = 0; first < groups; first += fold) {
#define DECLARE_PAIRS(r) intv s##r; SECOND(intv t##r;) THIRD(intv z##r;)
        EACH_ROW(DECLARE_PAIRS)
        {
            LOAD_BYTES(first)
#define FIRST_GROUP(r)                                                                                      \
    {                                                                                                       \
        const intv x = (intv)(a##r[first]);                                                                 \
        BYTE_PRODUCTS(s##r, w0, x); SECOND(BYTE_PRODUCTS(t##r, w1, x);) THIRD(BYTE_PRODUCTS(z##r, w2, x);) \
    }
            EACH_ROW(FIRST_GROUP)
        }
        for (int g = first + 1; g < first + fold; g++) {
            LOAD_BYTES(g)
#define NEXT_GROUP(r)                                                                                            \
    {                                                                                                            \
        const intv x = (intv)(a##r[g]);                                                                          \
        MAC_BYTES(s##r, w0, x) SECOND(MAC_BYTES(t##r, w1, x)) THIRD(MAC_BYTES(z##r, w2, x)) \
    }
            EACH_ROW(NEXT_GROUP)
        }
#define ADD_TO(sum, pairs)                                                  \
    {                                                                       \
        __asm__("vpmaddwd %1, %0, %0" : "+" REG(pairs) : REG(ones));        \
        __asm__("vpaddd %1, %0, %0" : "+" REG(pairs) : "m"(sum));           \
        sum = pairs;                                                        \
    }
#define ADD_FOLD(r)                                            \
    ADD_TO(sums[r * VECTORS], s##r)                            \
    SECOND(ADD_TO(sums[r * VECTORS + 1], t##r))                \
    THIRD(ADD_TO(sums[r * VECTORS + 2], z##r))
        EACH_ROW(ADD_FOLD)
    }
    if (!steps) return;
    EACH_ROW(TAKE_SUMS)
    ADD_EXTRAS
    EACH_ROW(KEEP)
}

/* The same for codes of any kind: even and odd bytes of both as words. */
static void __attribute__((noinline)) add_words(intv *sums, __global const uchar *a, const gemm_shape *s, int m0,
                                                __global const char *panel, int center)
{
    const intv even = 0x00ff00ff, middle = center * 0x00010001;
    EACH_ROW(TAKE_SUMS)
#define CODES_AT(r) \
    __global const int *const a##r = (__global const int *)(a + (size_t)min(m0 + r, s->m - 1) * s->lda);
    EACH_ROW(CODES_AT)
    for (int g = 0; g < (s->k + 3) / 4; g++) {
        LOAD_BYTES(g)
#define WORDS_OF(w) const intv w##_even = w & even, w##_odd = AS_INTV(AS_UINTV(w) >> 8u) & even;
        WORDS_OF(w0)
        SECOND(WORDS_OF(w1))
        THIRD(WORDS_OF(w2))
#define ADD_WORDS(sum, w)                      \
    MAC_PAIRS(sum, x_even, w##_even)           \
    MAC_PAIRS(sum, x_odd, w##_odd)
#define ADD_CODES(r)                                                                              \
    {                                                                                             \
        const uint x = (uint)a##r[g];                                                             \
        intv x_even = (intv)((int)(x & 0x00ff00ffu)), x_odd = (intv)((int)(x >> 8u & 0x00ff00ffu)); \
        __asm__("vpsubw %1, %0, %0" : "+" REG(x_even) : REG(middle));                             \
        __asm__("vpsubw %1, %0, %0" : "+" REG(x_odd) : REG(middle));                              \
        ADD_WORDS(p##r, w0) SECOND(ADD_WORDS(q##r, w1)) THIRD(ADD_WORDS(u##r, w2))                \
    }
        EACH_ROW(ADD_CODES)
    }
    EACH_ROW(KEEP)
}

/* Sums of the tile x one panel; bias has `center` times the panel's weights. */
static void __attribute__((always_inline)) centred_tile(const gemm_shape *s, __global const uchar *a, __local const char *rows,
                                                        __local const char *extra, __global const char *panel,
                                                        __global const int *consts, intv *sums, const int *row_sums, int m0,
                                                        int n0, int center)
{
    const int pitch = ROW_PITCH(s->k), groups = (s->k + 15) / 16 * 4;
    const extra_head head = *(__local const extra_head *)extra;
    {
        START_SUMS
        EACH_ROW(KEEP)
    }
    __local const int2 *const parts = (__local const int2 *)(extra + sizeof(extra_head));
    if (head.fold == 1)
        add_groups(sums, rows, pitch, groups, parts, head.steps, panel);
    else if (head.fold)
        add_folds(sums, rows, pitch, groups, parts, head.steps, panel, head.fold);
    else
        add_words(sums, a, s, m0, panel, center);
}

#endif
