/* Sums of tiles by vpmaddubsw for codes and weights too large for its 16 bits (DOT 4). Its unsigned operand is the weights,
 * counted from the layer's lowest. Its signed one is the codes less `center`, the code that stands for 0: next to that lie
 * nearly all of them, so that 16 bits nearly always hold the products of one, two or four groups. What would not fit is
 * left out of the rows and follows in extra steps, each of one group for every row of the tile. How many they are depends
 * on the codes, the sums do not: every lane's products above 0 and those below 0 fit by themselves.
 *
 * Local memory, for every tile of ROWS rows:
 *   rows   s8 [ROWS][ROW_PITCH(k)]   codes less center, or as much of them as fits
 *   extra  an extra_head, then int2 [steps][ROWS]: a group, and what its codes lack
 * room: what the codes of a lane may sum to, above 0 and below. */
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

/* ---- codes ------------------------------------------------------------------------------------------------------- */

/* Codes of two lanes that count above 0; of -d, below. */
static int2 above(int4 d)
{
    const int4 x = max(d, 0);
    return x.even + x.odd;
}

static bool fits(int4 d, int2 up, int2 down)
{
    return all(above(d) <= up && above(-d) <= down) && all(d >= -128 && d <= 127);
}

/* The codes of `fold` groups from `group` on, some of which may not fit; returns how many extra steps the row has then,
 * more than `most` where they are too many. */
static __attribute__((noinline)) int settle(__local char *row, __local int2 *extra, int steps, int most, __global const uchar *codes, int k,
                  int group, int fold, int center, int room)
{
    int2 up = room, down = room;
    for (int g = group; g < group + fold; g++) {
        const int4 at = 4 * g + (int4)(0, 1, 2, 3);
        const int4 d = at < k ? convert_int4(vload4((size_t)g, codes)) - center : 0;
        int4 kept = d, rest;
        if (!fits(kept, up, down)) kept = d >> 1;
        if (!fits(kept, up, down)) kept = 0;
        vstore4(convert_char4(kept), (size_t)g, row);
        up -= above(kept);
        down -= above(-kept);
        for (rest = d - kept; any(rest != 0);) {
            const int4 part = fits(rest, room, room) ? rest : clamp(rest, -64, 64);
            if (steps == most) return most + 1;
            extra[steps++ * ROWS] = (int2)(g, as_int(convert_char4(part)));
            rest -= part;
        }
    }
    return steps;
}

typedef uchar uchar32 __attribute__((ext_vector_type(32)));
typedef char char32 __attribute__((ext_vector_type(32)));
typedef short16 pair_sums;
#define SWAPPED(x, ...) __builtin_shufflevector(x, x, __VA_ARGS__)

/* Half of a group's codes less center, which need not fit, stays; the other half is the extra step. */
static void halve(__local uint *group, __local int2 *extra, int g)
{
    const uint d = *group, kept = (d >> 1u & 0x7f7f7f7fu) | (d & 0x80808080u);
    *group = kept;
    *extra = (int2)(g, (int)(((kept & 0x7f7f7f7fu) + (d & 0x01010101u)) ^ (kept & 0x80808080u)));
}

/* A bit for each of 32 codes in whose lane too much comes together, and whether that is more than s8 holds. d: they less
 * center, as s8. */
static uint find_over(uint *cut_bits, uchar32 codes, char32 d, int fold, uchar center, short room)
{
    const uchar32 ones = 1;
    const char32 cut = __builtin_astype(d, uchar32) + center != codes; /* by saturation */
    pair_sums over;
    uint bits;
    if (fold == 1) { /* lanes with codes above and below 0 are no danger */
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(over) : "x"(ones), "x"(d));
        over = over > room || over < (short)-room;
    } else {
        const char32 zero = 0;
        pair_sums up, down;
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(up) : "x"(ones), "x"(d > zero ? d : zero));
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(down) : "x"(ones), "x"(d < zero ? d : zero));
        up += SWAPPED(up, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        down += SWAPPED(down, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
        if (fold == 4) {
            up += SWAPPED(up, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
            down += SWAPPED(down, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
        }
        over = up > room || down < (short)-room;
    }
    __asm__("vpmovmskb %1, %0" : "=r"(*cut_bits) : "x"(cut));
    __asm__("vpmovmskb %1, %0" : "=r"(bits) : "x"(over));
    return bits | *cut_bits;
}

/* The codes of one row, whole vectors of 16 as the pitch of rows allows; extra: the row's in the first step. */
static int center_row(__local char *row, __local int2 *extra, int most, __global const uchar *codes, int k, int fold,
                      int center, int room)
{
    const char32 middle = (char)(center - 128);
    int steps = 0;
    for (int i = 0; i < k; i += 32) {
        const uchar16 first = *(__global const uchar16 *)(codes + i);
        const uchar16 second = i + 16 < k ? *(__global const uchar16 *)(codes + i + 16) : (uchar16)((uchar)center);
        const uchar32 x = __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                                  17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
        char32 d;
        __asm__("vpsubsb %2, %1, %0" : "=x"(d) : "x"(x ^ (uchar)128), "x"(middle));
        *(__local char32 *)(row + i) = d;
        uint cut;
        for (uint over = find_over(&cut, x, d, fold, (uchar)center, (short)room); over;) {
            const int at = (31 - (int)clz(over & -over)) / 4 & -fold, g = i / 4 + at; /* the first window of groups */
            over &= ~0u << 4 * at << (4 * fold - 1) << 1;
            if (fold == 1 && !(cut >> 4 * at & 15u)) {
                if (steps == most) return most + 1;
                halve((__local uint *)row + g, extra + steps++ * ROWS, g);
            } else {
                steps = settle(row, extra, steps, most, codes, k, g, fold, center, room);
                if (steps > most) return steps;
            }
        }
    }
    return steps;
}

/* The rows of one tile from m0 on, rows beyond m - 1 like that one, in sums of at most `fold` groups. Returns that of the
 * tile. */
static __attribute__((noinline)) int center_tile(__local char *rows, __local char *extra, __global const uchar *a, const gemm_shape *s, int m0, int fold,
                       int center, int room)
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

#define BYTE_PRODUCTS(out, weights, codes) \
    __asm__("vpmaddubsw %2, %1, %0" : "=" REG(out) : REG(weights), REG(codes))
/* Ones in memory leave their register to a sum. */
#define WIDEN_PAIRS(pairs) __asm__("vpmaddwd %1, %0, %0" : "+" REG(pairs) : "m"(ones))
#define ADD_BYTES(sum, x, w)       \
    {                              \
        intv pairs;                \
        BYTE_PRODUCTS(pairs, w, x); \
        WIDEN_PAIRS(pairs);        \
        sum += pairs;              \
    }
#define LOAD_BYTES(at)                                                            \
    __global const int *const columns = (__global const int *)panel + (size_t)(at) * PANEL; \
    const intv w0 = VLOAD(columns);                                               \
    SECOND(const intv w1 = VLOAD(columns + LANES);)                               \
    THIRD(const intv w2 = VLOAD(columns + 2 * LANES);)

#define TAKE_SUMS(r) intv p##r = sums[r * VECTORS]; SECOND(intv q##r = sums[r * VECTORS + 1];) THIRD(intv u##r = sums[r * VECTORS + 2];)

/* sums += extra steps */
#define ADD_EXTRA(r)                                                                        \
    {                                                                                       \
        LOAD_BYTES(parts[r].x)                                                              \
        const intv x = (intv)(parts[r].y);                                                  \
        ADD_BYTES(p##r, x, w0) SECOND(ADD_BYTES(q##r, x, w1)) THIRD(ADD_BYTES(u##r, x, w2)) \
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
#define ADD_GROUP(r)                                                                       \
    {                                                                                      \
        const intv x = (intv)(a##r[g]);                                                    \
        ADD_BYTES(p##r, x, w0) SECOND(ADD_BYTES(q##r, x, w1)) THIRD(ADD_BYTES(u##r, x, w2)) \
    }
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
static void __attribute__((noinline)) add_words(intv *sums, __global const uchar *a, const gemm_shape *s, int m0, __global const char *panel, int center)
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
        const intv bias_p = VLOAD(consts + FIELD_BIAS * s->n_pad + n0);
        SECOND(const intv bias_q = VLOAD(consts + FIELD_BIAS * s->n_pad + n0 + LANES);)
        THIRD(const intv bias_u = VLOAD(consts + FIELD_BIAS * s->n_pad + n0 + 2 * LANES);)
        EACH_ROW(DECLARE)
#if W_ZERO == 2
        const intv zero_p = VLOAD(consts + FIELD_W_ZERO * s->n_pad + n0);
        SECOND(const intv zero_q = VLOAD(consts + FIELD_W_ZERO * s->n_pad + n0 + LANES);)
        THIRD(const intv zero_u = VLOAD(consts + FIELD_W_ZERO * s->n_pad + n0 + 2 * LANES);)
        EACH_ROW(ADD_ZEROS)
#endif
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
