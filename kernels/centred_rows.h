/* Rows of codes as vpmaddubsw's signed operand: less `center`, the code that stands for 0, next to which nearly all of them
 * lie, so that 16 bits nearly always hold the products of one, two or four groups of 4 with bytes that have no sign. What
 * would not fit is left out of the row and follows in extra steps, each a group and what its codes lack. How many those are
 * depends on the codes; with them nothing is lost: in every lane the products above 0 fit by themselves, and those below.
 *
 * room: what the codes of a lane may sum to, above 0 and below; at least 128.
 * Included where ROWS (extra steps of a row are so far apart), LANES and dot_wide.h's macros are defined; ROW_SPACE is that
 * of rows and steps. */
#ifndef CENTRED_ROWS_H
#define CENTRED_ROWS_H

#include "vq_vector.h"

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
static __attribute__((noinline)) int settle(ROW_SPACE char *row, ROW_SPACE int2 *extra, int steps, int most,
                                            __global const uchar *codes, int k, int group, int fold, int center, int room)
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

#define SWAPPED(x, ...) __builtin_shufflevector(x, x, __VA_ARGS__)

/* Halves, rounded down, of four codes less center. */
static uint half_of(uint d)
{
    return (d >> 1u & 0x7f7f7f7fu) | (d & 0x80808080u);
}

/* x - y, where y is 0 or half of x, byte by byte. */
static uint less(uint x, uint y)
{
    return y ? ((y & 0x7f7f7f7fu) + (x & 0x01010101u)) ^ (y & 0x80808080u) : x;
}

static bool fits_alone(uint d, short room)
{
    const int4 x = convert_int4(as_char4(d));
    return all(above(x) <= room && above(-x) <= room);
}

/* Codes of a window of `fold` groups, 2 or 4, each of which fits s8: of groups beyond what there is room for, counted from the
 * first one, all becomes an extra step, or half where all would not fit by itself. */
static int settle_window(ROW_SPACE char *row, ROW_SPACE int2 *extra, int steps, int most, int group, int fold, short room)
{
    const uchar16 ones = 1;
    const char16 zero = 0;
    const short8 none = 0;
    ROW_SPACE uint *const at = (ROW_SPACE uint *)row + group;
    uint4 d = fold == 4 ? *(ROW_SPACE const uint4 *)at : (uint4)(*(ROW_SPACE const uint2 *)at, 0, 0);
    for (;;) {
        const char16 c = as_char16(d);
        short8 up, down;
        uint bits;
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(up) : "x"(ones), "x"(c > zero ? c : zero));
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(down) : "x"(ones), "x"(c < zero ? c : zero));
        up += __builtin_shufflevector(up, none, 8, 8, 0, 1, 2, 3, 4, 5);
        down += __builtin_shufflevector(down, none, 8, 8, 0, 1, 2, 3, 4, 5);
        up += __builtin_shufflevector(up, none, 8, 8, 8, 8, 0, 1, 2, 3);
        down += __builtin_shufflevector(down, none, 8, 8, 8, 8, 0, 1, 2, 3);
        const short8 over = up > room || down < (short)-room;
        __asm__("vpmovmskb %1, %0" : "=r"(bits) : "x"(over));
        if (!bits) break;
        if (steps == most) return most + 1;
        const int g = (31 - (int)clz(bits & -bits)) / 4;
        const uint whole = ((const uint *)&d)[g], kept = fits_alone(whole, room) ? 0 : half_of(whole);
        extra[steps++ * ROWS] = (int2)(group + g, (int)less(whole, kept));
        d = (uint4)(0, 1, 2, 3) == (uint)g ? (uint4)(kept) : d;
    }
    if (fold == 4)
        *(ROW_SPACE uint4 *)at = d;
    else
        *(ROW_SPACE uint2 *)at = d.lo;
    return steps;
}

/* A bit for each of 32 codes in whose lane too much comes together, and whether that is more than s8 holds. d: they less
 * center, as s8. */
static uint find_over(uint *cut_bits, uchar32 codes, char32 d, int fold, uchar center, short room)
{
    const uchar32 ones = 1;
    const char32 cut = __builtin_astype(d, uchar32) + center != codes; /* by saturation */
    short16 over; /* all ones in lanes where it is so */
    uint bits;
    if (fold == 1) { /* lanes with codes above and below 0 are no danger */
        __asm__("vpmaddubsw %2, %1, %0" : "=x"(over) : "x"(ones), "x"(d));
        over = over > room || over < (short)-room;
    } else {
        const char32 zero = 0;
        short16 up, down;
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
static int center_row(ROW_SPACE char *row, ROW_SPACE int2 *extra, int most, __global const uchar *codes, int k, int fold,
                      int center, int room)
{
    const char32 middle = (char)(center - 128);
    int steps = 0;
    for (int i = 0; i < k; i += 32) {
        const uchar16 first = LOAD_AT(uchar16, codes + i);
        const uchar16 second = i + 16 < k ? LOAD_AT(uchar16, codes + i + 16) : (uchar16)((uchar)center);
        uchar32 x = __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                                            19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
        if (i + 32 > k) { /* whatever lies beyond the last code, it takes no steps */
            const uchar32 at = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
            x = at < (uchar)(k - i) ? x : (uchar32)((uchar)center);
        }
        char32 d;
        __asm__("vpsubsb %2, %1, %0" : "=x"(d) : "x"(x ^ (uchar)128), "x"(middle));
        *(ROW_SPACE char32 *)(row + i) = d;
        uint cut;
        for (uint over = find_over(&cut, x, d, fold, (uchar)center, (short)room); over;) {
            const int at = (31 - (int)clz(over & -over)) / 4 & -fold, g = i / 4 + at; /* the first window of groups */
            over &= ~0u << 4 * at << (4 * fold - 1) << 1;
            if (fold == 1 && !(cut >> 4 * at & 15u)) {
                if (steps == most) return most + 1;
                ROW_SPACE uint *const group = (ROW_SPACE uint *)row + g;
                const uint whole = *group, kept = half_of(whole);
                *group = kept;
                extra[steps++ * ROWS] = (int2)(g, (int)less(whole, kept));
            } else if (!(cut >> 4 * at & ((1u << (4 * fold - 1) << 1) - 1))) {
                steps = settle_window(row, extra, steps, most, g, fold, (short)room);
                if (steps > most) return steps;
            } else {
                steps = settle(row, extra, steps, most, codes, k, g, fold, center, room);
                if (steps > most) return steps;
            }
        }
    }
    return steps;
}

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

#endif
