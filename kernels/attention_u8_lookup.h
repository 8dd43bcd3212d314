/* From scores to probabilities: the look-ups of attention_u8_wide.cl in their forms (STEPS, TABLES, PACKED: see there), each with
 * a probabilities() of one row that gives left operands and their sum. Included where vectors, MAC and scores are defined. */
#ifndef ATTENTION_U8_LOOKUP_H
#define ATTENTION_U8_LOOKUP_H

typedef struct table {
    __global const ushort *prob;
    int last, shift;
    __global const ushort *search; /* STEPS: [8][32], see find_values and load_tables */
} table;

/* Table entries that 16 tokens fall on, without the bound: max(0, t + log_sum) >> shift. */
static uint16 entries(const int *t, int log_sum, int shift)
{
    return (max(AT(const uint16, t), (uint16)((uint)max(-log_sum, 0))) + (uint)log_sum) >> (uint)shift;
}

#if FROM_SCORES
/* max(0, top - y + log_sum) >> shift of 16 tokens; what falls below 0 here becomes 0 where lanes are packed. The last run
 * begins before 2^30 (ops/attention_u8.c), so larger differences may count as that much. */
static int16 packed_entries(const int *y, int top, int log_sum, int shift)
{
    const int16 s = AT(const int16, y);
    if (SMALL_SCORES) return ((int16)(top + log_sum) - s) >> shift;
    return (as_int16(min((uint16)((uint)top) - as_uint16(s), (uint16)(1u << 30))) + log_sum) >> shift;
}
#endif

#if STEPS && LANES == 8
#include "lookup_bytes.h"

/* What pack_bytes takes apart. */
static ushort16 first_words(uchar32 low, uchar32 high)
{
    ushort16 out;
    __asm__("vpunpcklbw %2, %1, %0" : "=x"(out) : "x"(low), "x"(high));
    return out;
}

static ushort16 second_words(uchar32 low, uchar32 high)
{
    ushort16 out;
    __asm__("vpunpckhbw %2, %1, %0" : "=x"(out) : "x"(low), "x"(high));
    return out;
}

/* Low and high bytes, by bytes of a register: of the edges by bucket, of the values. */
typedef struct byte_tables {
    uchar32 edge_low[TABLES], edge_high[TABLES], value_low[TABLES], value_high[TABLES];
} byte_tables;

/* The search table's rows are those tables, [4][16] bytes each, and then 2^row[4][0], the entries of a bucket, and
 * row[4][1], which bounds entries. A bucket's value is that where it begins, from its edge on the next one's. */
static void load_tables(byte_tables *to, __global const ushort *search)
{
#define LOAD_TABLE(part, row)                                                                \
    {                                                                                        \
        const uchar16 bytes = LOAD_AT(uchar16, (__global const uchar *)search + (row)*64 + 16 * k); \
        to->part[k] = (uchar32)(bytes, bytes);                                               \
    }
#pragma unroll
    for (int k = 0; k < TABLES; k++) {
        LOAD_TABLE(edge_low, 0)
        LOAD_TABLE(edge_high, 1)
        LOAD_TABLE(value_low, 2)
        LOAD_TABLE(value_high, 3)
    }
}

/* Where 32 entries' values are in their tables. */
static uchar32 find_bytes(const byte_tables *t, ushort16 a, ushort16 b, ushort shift, ushort bound)
{
    a = min(a, bound);
    b = min(b, bound);
    const ushort16 bucket_a = a >> shift, bucket_b = b >> shift;
    const uchar32 bucket = pack_bytes(bucket_a, bucket_b);
    const uchar32 low = look_up_bytes(t->edge_low, TABLES, bucket), high = look_up_bytes(t->edge_high, TABLES, bucket);
    return pack_bytes(bucket_a - as_ushort16(a >= first_words(low, high)),
                      bucket_b - as_ushort16(b >= second_words(low, high)));
}

/* Probabilities of one row from y; returns their sum. */
static uint probabilities(int *hi, int *lo, const int *y, const table *prob, int top, int log_sum, int tokens)
{
    const ushort shift = prob->search[4 * 32], bound = prob->search[4 * 32 + 1];
    const uchar flip = DOT == 2 ? 128 : 0; /* operands of 16 bits are less 2^15 */
    const intv ones = DOT == 2 ? 0x00010001 : 0x01010101;
    intv sum = 0, sum_low = 0;
    byte_tables t;
    load_tables(&t, prob->search);
    t.value_high[0] ^= flip;
    for (int j = 0; j < tokens; j += 32) {
        const int16 a = packed_entries(y + j, top, log_sum, prob->shift);
        const int16 b = packed_entries(y + j + 16, top, log_sum, prob->shift);
        const uchar32 at = find_bytes(&t, pack_words(a.lo, a.hi), pack_words(b.lo, b.hi), shift, bound);
        uchar32 high = look_up_bytes(t.value_high, TABLES, at);
        uchar32 low = PROB_LOW ? look_up_bytes(t.value_low, TABLES, at) : (uchar32)(0);
        if (j + 32 > tokens) {
            const uchar32 token = {0, 1, 2, 3, 8,  9,  10, 11, 16, 17, 18, 19, 24, 25, 26, 27,
                                   4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
            const uchar32 mask = __builtin_astype(token < (uchar)(tokens - j), uchar32);
            high = ((high ^ flip) & mask) ^ flip;
            low &= mask;
        }
#if DOT == 2
        const long4 first = as_long4(first_words(low, high)), second = as_long4(second_words(low, high));
        AT(long4, (ushort *)hi + j) = first.s0213;
        AT(long4, (ushort *)hi + j + 16) = second.s0213;
        MAC(sum, first, ones)
        MAC(sum, second, ones)
#else
        AT(int8, (uchar *)hi + j) = __builtin_astype(high, int8).s04152637;
        MAC(sum, high, ones)
        if (PROB_LOW) {
            AT(int8, (uchar *)lo + j) = __builtin_astype(low, int8).s04152637;
            MAC(sum_low, low, ones)
        }
#endif
    }
    const uint16 sums = (uint16)(as_uint8(DOT == 2 ? sum : sum << 8), as_uint8(sum_low));
    return sum_lanes(sums) + (DOT == 2 ? (uint)ROUND_UP(tokens, 32) << 15 : 0);
}
#elif STEPS
typedef ushort ushort32 __attribute__((ext_vector_type(32)));
typedef struct __attribute__((packed)) at_ushort32 {
    ushort32 v;
} at_ushort32;

/* table[index % 32] */
static ushort32 permute(ushort32 table, ushort32 index)
{
    ushort32 out;
    __asm__("vpermw %1, %2, %0" : "=v"(out) : "v"(table), "v"(index));
    return out;
}

#if STEPS == 1
/* Rows 0 and 1 of the search table hold the edge in each of 64 buckets of 2^row[4][0] entries, rows 2 and 3 the value where
 * the bucket begins, which is the one after the edge of the bucket before; row[4][1] bounds entries, as the last run has
 * no edge to come. */
static ushort32 find_values(const ushort32 *search, ushort32 x)
{
    const ushort32 clipped = x < search[4].s1 ? x : (ushort32)(search[4].s1);
    const ushort32 bucket = clipped >> search[4].s0;
    ushort32 edge = bucket, value;
    __asm__("vpermi2w %2, %1, %0" : "+v"(edge) : "v"(search[0]), "v"(search[1]));
    value = bucket - __builtin_astype(clipped >= edge, ushort32);
    __asm__("vpermi2w %2, %1, %0" : "+v"(value) : "v"(search[2]), "v"(search[3]));
    return value;
}
#else
/* Values of the runs that entries x fall in. Step s of the search sets bit s of i where x has reached an edge, which
 * row s of the search table holds for the 2^s possible i so far: the whole table needs no more than one permutation a
 * step. Its last rows hold the values by i. */
static ushort32 find_values(const ushort32 *search, ushort32 x)
{
    ushort32 i = __builtin_astype(x >= search[0], ushort32) & (ushort)1;
#pragma unroll
    for (int s = 1; s < STEPS; s++) i = x >= permute(search[s], i) ? i + (ushort)(1 << s) : i;
#if STEPS > 5
    __asm__("vpermi2w %2, %1, %0" : "+v"(i) : "v"(search[6]), "v"(search[7]));
    return i;
#else
    return permute(search[6], i);
#endif
}
#endif

#define NEEDED(i) (STEPS == 1 ? i < 5 : i < STEPS || i >= 6)

#if PACKED
/* Probabilities of one row from y; returns their sum. */
static uint probabilities(int *p, const int *y, const table *prob, int top, int log_sum, int tokens)
{
    ushort32 search[8];
    int16 sums = 0;
    for (int i = 0; i < 8; i++)
        if (NEEDED(i)) search[i] = ((__global const at_ushort32 *)prob->search)[i].v;
    for (int j = 0; j < tokens; j += 32) {
        const int16 a = packed_entries(y + j, top, log_sum, prob->shift);
        const int16 b = packed_entries(y + j + 16, top, log_sum, prob->shift);
        ushort32 entry;
        int16 bytes;
        __asm__("vpackusdw %2, %1, %0" : "=v"(entry) : "v"(a), "v"(b));
        ushort32 value = find_values(search, entry);
        if (j + 32 > tokens) {
            const short16 t = (short16)(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23) + (short)j;
            value &= __builtin_astype(
                (uint16)(as_uint8(t < (short)tokens), as_uint8(t + (short)8 < (short)tokens)), ushort32);
        }
        __asm__("vpackuswb %2, %1, %0" : "=v"(bytes) : "v"(value >> (ushort)8), "v"(value & (ushort)255));
        AT(int16, p + j / 2) = bytes;
        MAC(sums, bytes, (int16)(0x01010101))
    }
    return sum_lanes(as_uint16(sums << (int16)(8, 8, 0, 0, 8, 8, 0, 0, 8, 8, 0, 0, 8, 8, 0, 0)));
}
#else
/* Probabilities of one row from t; returns their sum. */
static uint probabilities(int *hi, int *lo, const int *t, const table *prob, int log_sum, int tokens)
{
    ushort32 search[8];
    uint16 sum = 0;
    for (int i = 0; i < 8; i++)
        if (NEEDED(i)) search[i] = ((__global const at_ushort32 *)prob->search)[i].v;
    for (int j = 0; j < tokens; j += 32) {
        const uint16 a = min(entries(t + j, log_sum, prob->shift), 0xffffu);
        const uint16 b = min(entries(t + j + 16, log_sum, prob->shift), 0xffffu);
        ushort32 p =
            find_values(search, __builtin_shufflevector(__builtin_astype(a, ushort32), __builtin_astype(b, ushort32), 0,
                                                        2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34,
                                                        36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62));
        if (j + 32 > tokens) {
            const short16 n = convert_short16(LANE_INDEX);
            p &= __builtin_astype(
                (uint16)(as_uint8(n + (short)j < (short)tokens), as_uint8(n + (short)(j + 16) < (short)tokens)),
                ushort32);
        }
        const uint16 pairs = __builtin_astype(p, uint16);
        sum += (pairs & 0xffffu) + (pairs >> 16u);
#if DOT == 2
        AT(ushort32, (ushort *)hi + j) = p ^ (ushort)0x8000;
#else
        AT(uchar32, (uchar *)hi + j) = __builtin_convertvector(p >> (ushort)8, uchar32);
        if (PROB_LOW) AT(uchar32, (uchar *)lo + j) = __builtin_convertvector(p, uchar32);
#endif
    }
    return sum_lanes(sum);
}
#endif
#else
/* Probabilities of 16 tokens from j as left operands. */
static void put_probabilities(int *hi, int *lo, int j, uint16 p)
{
#if DOT == 0
    AT(float16, hi + j) = convert_float16(as_int16(p >> 8u));
    if (PROB_LOW) AT(float16, lo + j) = convert_float16(as_int16(p & 255u));
#elif DOT == 2
    AT(ushort16, (ushort *)hi + j) = convert_ushort16(p ^ 0x8000u);
#else
    AT(uchar16, (uchar *)hi + j) = convert_uchar16(p >> 8u);
    if (PROB_LOW) AT(uchar16, (uchar *)lo + j) = convert_uchar16(p & 255u);
#endif
}

/* Probabilities of one row from t; returns their sum. */
static uint probabilities(int *hi, int *lo, const int *t, const table *prob, int log_sum, int tokens)
{
    uint16 sum = 0;
    for (int j = 0; j < tokens; j += 16) {
        uint at[16] ALIGNED;
        AT(uint16, at) = min(entries(t + j, log_sum, prob->shift), (uint16)((uint)prob->last));
#pragma unroll
        for (int k = 0; k < 16; k++) at[k] = prob->prob[at[k]];
        uint16 p = AT(uint16, at);
        if (j + 16 > tokens) p &= as_uint16(LANE_INDEX + j < tokens);
        sum += p;
        put_probabilities(hi, lo, j, p);
    }
    return sum_lanes(sum);
}
#endif

#endif
