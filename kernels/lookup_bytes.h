/* Tables of bytes looked up in 256-bit registers, for variants with 8 lanes of s32. */
#ifndef LOOKUP_BYTES_H
#define LOOKUP_BYTES_H

#include "vq_vector.h"

/* Words and bytes between 128-bit halves, each for itself: ab is 4 of a, 4 of b, 4 of a, 4 of b. */
static ushort16 pack_words(int8 a, int8 b)
{
    ushort16 out;
    __asm__("vpackusdw %2, %1, %0" : "=x"(out) : "x"(a), "x"(b));
    return out;
}

static uchar32 pack_bytes(ushort16 a, ushort16 b)
{
    uchar32 out;
    __asm__("vpackuswb %2, %1, %0" : "=x"(out) : "x"(a), "x"(b));
    return out;
}

/* table[i % 16], each half for itself, 0 where i is 128 or more. */
static uchar32 shuffle_bytes(uchar32 table, uchar32 i)
{
    uchar32 out;
    __asm__("vpshufb %2, %1, %0" : "=x"(out) : "x"(table), "x"(i));
    return out;
}

/* Bytes i < 16 * tables of a table. Where i - 16 * k is negative, its k'th register adds nothing, beyond 15 its low bits
 * count, and so the k'th holds what differs from the one before it. */
static uchar32 __attribute__((always_inline)) look_up_bytes(const uchar32 *table, int tables, uchar32 i)
{
    uchar32 out = 0;
#pragma unroll
    for (int k = 0; k < tables; k++) out ^= shuffle_bytes(table[k], i - (uchar)(16 * k));
    return out;
}

#endif
