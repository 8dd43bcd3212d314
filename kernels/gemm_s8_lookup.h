/* The table of gemm_s8_wide.cl's epilogue in registers, where it has a form for that (STEP_SEGMENTS, RUN_STEPS: see there).
 * Included where sums' vectors and requant() are defined; rows are 48 columns. */
#ifndef GEMM_S8_LOOKUP_H
#define GEMM_S8_LOOKUP_H

#include "vq_vector.h"

#define USE_STEPS (STEP_SEGMENTS && EPILOGUE == 1 && C_PLANES == 1 && REQUANT < 2)
#if USE_STEPS
/* A table that follows a smooth curve changes by at most 1 within 32 entries, first falling, then rising: a few bits a
 * block of 32 say all, and registers hold the blocks. */
#define WORDS(x) ((intv)((x) * 0x00010001))

#endif
#define USE_RUNS (RUN_STEPS && EPILOGUE == 1 && REQUANT < 2)
#define USE_BUCKETS (BUCKET_TABLES && EPILOGUE == 1 && C_PLANES == 1 && REQUANT < 2)
#if USE_STEPS || USE_RUNS || USE_BUCKETS
/* Places in the table of LANES sums, still without bounds. */
static intv table_entry(const lane_consts *v, intv acc, int row_sum)
{
    return requant(v, with_zero(v, acc, row_sum));
}
#endif

#if USE_STEPS && VBMI
/* Of words as vpackusdw leaves them, by column: the places of the lower and upper bytes among 128. */
#define LANE_OF(c)  ((c) % 16 / 4 * 16 + (c) % 4 * 2 + ((c) < 16 ? 0 : (c) < 32 ? 8 : 64))
#define FOUR(c, up) LANE_OF(c) + up, LANE_OF(c + 1) + up, LANE_OF(c + 2) + up, LANE_OF(c + 3) + up
#define ALL(up)                                                                                                        \
    FOUR(0, up), FOUR(4, up), FOUR(8, up), FOUR(12, up), FOUR(16, up), FOUR(20, up), FOUR(24, up), FOUR(28, up),       \
        FOUR(32, up), FOUR(36, up), FOUR(40, up), FOUR(44, up)
__constant uchar step_selectors[2][64] __attribute__((aligned(64))) = {{ALL(0)}, {ALL(1)}};

static intv select_bytes(int up, intv p, intv q)
{
    intv out = *(__constant const intv *)step_selectors[up];
    __asm__("vpermi2b %2, %1, %0" : "+v"(out) : "v"(p), "v"(q));
    return out;
}

/* Bits 5 to 12 of every word, in its lower byte. */
static intv blocks_of(intv words)
{
    const intv at = (intv)(0x15150505, 0x35352525, 0x15150505, 0x35352525, 0x15150505, 0x35352525, 0x15150505, 0x35352525,
                           0x15150505, 0x35352525, 0x15150505, 0x35352525, 0x15150505, 0x35352525, 0x15150505, 0x35352525);
    intv out;
    __asm__("vpmultishiftqb %2, %1, %0" : "=v"(out) : "v"(at), "v"(words));
    return out;
}

/* One row of 48 columns as bytes on its way to the table. */
typedef struct steps_row {
    intv low, block, segment;
    __global uchar *out; /* 0: there is none */
} steps_row;

static void __attribute__((always_inline)) start_steps(steps_row *row, int last, __global uchar *out, intv x0, intv x1, intv x2)
{
    intv p, q;
    __asm__("vpackusdw %2, %1, %0" : "=v"(p) : "v"(x0), "v"(x1));
    __asm__("vpackusdw %1, %1, %0" : "=v"(q) : "v"(x2));
    __asm__("vpminuw %1, %0, %0" : "+v"(p) : "v"(WORDS(last)));
    __asm__("vpminuw %1, %0, %0" : "+v"(q) : "v"(WORDS(last)));
    row->low = select_bytes(0, p, q);
    row->block = select_bytes(0, blocks_of(p), blocks_of(q));
    if (STEP_SEGMENTS > 1) row->segment = select_bytes(1, p, q) & (intv)(0x30303030);
    row->out = out;
}

/* Blocks are two bytes, 512 apart: ops/gemm_s8.c, step_bytes, says how an entry follows. */
static void __attribute__((always_inline)) finish_steps(const steps_row *row, __global const char *bytes)
{
    intv first = row->block, change = first;
    if (!row->out) return;
#define BLOCK(i)           VLOAD((__global const int *)(bytes + 64 * (i)))
#define LOOK_UP(mask, at)                                                                                              \
    __asm__("vpermi2b %2, %1, %0 " mask : "+v"(first) : "v"(BLOCK(2 * at)), "v"(BLOCK(2 * at + 1)), "Yk"(is##at));     \
    __asm__("vpermi2b %2, %1, %0 " mask                                                                                \
            : "+v"(change)                                                                                             \
            : "v"(BLOCK(2 * at + 8)), "v"(BLOCK(2 * at + 9)), "Yk"(is##at));
#if STEP_SEGMENTS == 1
    const ulong is0 = 0;
    LOOK_UP("", 0)
#else
#define SEGMENT(at)                                                                                                    \
    ulong is##at;                                                                                                      \
    __asm__("vpcmpeqb %2, %1, %0" : "=Yk"(is##at) : "v"(row->segment), "v"((intv)(0x10101010 * at)));                       \
    LOOK_UP("%{%3%}", at)
    SEGMENT(0)
    SEGMENT(1)
#if STEP_SEGMENTS > 4
    SEGMENT(2)
    SEGMENT(3)
#endif
#endif
    const intv x = row->low & (intv)(0x1f1f1f1f), one = (intv)(0x01010101);
    __asm__("vpcmpnltb %2, %1, %%k1\n\tvpaddb %3, %0, %0%{%%k1%}" : "+v"(first) : "v"(x), "v"(change), "v"(one) : "k1");
    __asm__("vpcmpnltub %2, %1, %%k1\n\tvpsubb %3, %0, %0%{%%k1%}"
            : "+v"(first)
            : "v"(x | (intv)(0x80808080)), "v"(change), "v"(one)
            : "k1");
    ((__global unaligned_codes *)row->out)->v = as_uint16(first).lo;
    ((__global unaligned_half *)(row->out + 32))->v = as_uint16(first).hi.lo;
}
#undef LOOK_UP
#elif USE_STEPS
/* Lookups in registers, 32 at a time, where gathering 16 bytes takes some 26 cycles. A table that follows a smooth curve
 * changes by at most 1 within 32 entries, so a block of 32 entries is one 16-bit number: the entry for x, the index within
 * the block, is (number + 8 * x) >> 8. Blocks before `split` fall: there x counts from the block's end. */
#define LOOK_UP(segment)                                                                                               \
    {                                                                                                                  \
        const intv low = VLOAD(numbers + 32 * segment), high = VLOAD(numbers + 32 * segment + 16);                     \
        LOOK_UP_ROW(found0, segment0, segment, low, high)                                                              \
        LOOK_UP_ROW(found1, segment1, segment, low, high)                                                              \
        LOOK_UP_ROW(found2, segment2, segment, low, high)                                                              \
    }
#define LOOK_UP_ROW(found, segments, segment, low, high)                                                               \
    __asm__("vpcmpeqw %2, %1, %%k1\n\tvpermi2w %4, %3, %0%{%%k1%}"                                                     \
            : "+v"(found)                                                                                              \
            : "v"(segments), "v"(WORDS(segment)), "v"(low), "v"(high)                                                  \
            : "k1");

static intv bound(intv x, int last)
{
    return min(max(x, (intv)(0)), (intv)(last));
}

/* The same of two vectors, as words. */
static intv words_of(intv p, intv q)
{
    const intv even_words = (intv)(0x00020000, 0x00060004, 0x000a0008, 0x000e000c, 0x00120010, 0x00160014, 0x001a0018,
                                   0x001e001c, 0x00220020, 0x00260024, 0x002a0028, 0x002e002c, 0x00320030, 0x00360034,
                                   0x003a0038, 0x003e003c);
    __asm__("vpermt2w %2, %1, %0" : "+v"(p) : "v"(even_words), "v"(q));
    return p;
}

static uint8 step_codes(intv index, intv found, int split)
{
    intv x;
    uint8 codes;
    __asm__("vpsllw $3, %1, %0" : "=v"(x) : "v"(index));
    x &= WORDS(0xf8);
    __asm__("vpcmpltuw %2, %1, %%k1\n\tvpsubw %0, %3, %0%{%%k1%}"
            : "+v"(x)
            : "v"(index), "v"(WORDS(split)), "v"(WORDS(0xf8))
            : "k1");
    __asm__("vpaddw %1, %0, %0\n\tvpsrlw $8, %0, %0" : "+v"(found) : "v"(x));
    __asm__("vpmovwb %1, %0" : "=v"(codes) : "v"(found));
    return codes;
}

/* Two rows of 48 columns at once: 32 of each, then the last 16 of both. They share the loads of the numbers. */
static void put_steps(__global const int *numbers, int split, __global uchar *out0, __global uchar *out1, intv index0,
                      intv index1, intv index2)
{
    intv found0, found1, found2, segment0, segment1, segment2;
    __asm__("vpsrlw $5, %1, %0" : "=v"(found0) : "v"(index0));
    __asm__("vpsrlw $5, %1, %0" : "=v"(found1) : "v"(index1));
    __asm__("vpsrlw $5, %1, %0" : "=v"(found2) : "v"(index2));
    __asm__("vpsrlw $11, %1, %0" : "=v"(segment0) : "v"(index0));
    __asm__("vpsrlw $11, %1, %0" : "=v"(segment1) : "v"(index1));
    __asm__("vpsrlw $11, %1, %0" : "=v"(segment2) : "v"(index2));
    LOOK_UP(0)
#if STEP_SEGMENTS > 1
    LOOK_UP(1)
    LOOK_UP(2)
    LOOK_UP(3)
#endif
#if STEP_SEGMENTS > 4
    LOOK_UP(4)
    LOOK_UP(5)
    LOOK_UP(6)
    LOOK_UP(7)
#endif
    ((__global unaligned_codes *)out0)->v = step_codes(index0, found0, split);
    ((__global unaligned_codes *)out1)->v = step_codes(index1, found1, split);
    const uint8 last = step_codes(index2, found2, split);
    ((__global unaligned_half *)(out0 + 32))->v = last.lo;
    ((__global unaligned_half *)(out1 + 32))->v = last.hi;
}
#endif

#if USE_RUNS
/* Codebooks' tables: runs of equal values, too far apart for steps. ops/table_runs.h says how the search goes; its rows of
 * 32 words are 8 of edges, the last step's being two, then the values. */
typedef ushort words __attribute__((ext_vector_type(32)));
typedef struct __attribute__((packed)) unaligned_words {
    words v;
} unaligned_words;
#define RUN_ROW(i) (((__global const unaligned_words *)runs)[i].v)

static words permute(words table, words index)
{
    words out;
    __asm__("vpermw %1, %2, %0" : "=v"(out) : "v"(table), "v"(index));
    return out;
}

static words permute_two(words low, words high, words index)
{
    __asm__("vpermi2w %2, %1, %0" : "+v"(index) : "v"(low), "v"(high));
    return index;
}

/* Values of 32 entries. */
static words __attribute__((always_inline)) values_of(__global const ushort *runs, words x)
{
    words i = __builtin_astype(x >= RUN_ROW(0), words) & (ushort)1;
#pragma unroll
    for (int s = 1; s < (RUN_STEPS < 6 ? RUN_STEPS : 6); s++)
        i = x >= permute(RUN_ROW(s), i) ? i + (ushort)(1 << s) : i;
#if RUN_STEPS == 7
    const words edge = permute_two(RUN_ROW(6), RUN_ROW(7), i), low = permute_two(RUN_ROW(8), RUN_ROW(9), i);
    return x >= edge ? permute_two(RUN_ROW(10), RUN_ROW(11), i) : low;
#elif RUN_STEPS == 6
    return permute_two(RUN_ROW(8), RUN_ROW(9), i);
#else
    return permute(RUN_ROW(8), i);
#endif
}

/* The values of two vectors of entries, in order. */
static words __attribute__((always_inline)) look_up(__global const ushort *runs, int last, intv p, intv q)
{
    words x;
    __asm__("vpackusdw %2, %1, %0" : "=v"(x) : "v"(p), "v"(q));
    x = x < (ushort)last ? x : (words)((ushort)last);
    const ulong8 quarters = __builtin_astype(x, ulong8); /* the instruction works within 128 bits */
    return values_of(runs, __builtin_astype(quarters.s02461357, words));
}

/* Codes of the values' bytes, of one plane. */
static uint8 codes_of(words values, int low)
{
    return __builtin_astype(__builtin_convertvector(low ? values : values >> (ushort)8, uchar32), uint8);
}

/* Two rows of 48 columns at once: 32 of each, then the last 16 of both. */
static void __attribute__((always_inline)) put_runs(__global const ushort *runs, int last, int c_plane,
                                                    __global uchar *out0, __global uchar *out1, const intv *a,
                                                    const intv *b)
{
    const words x = look_up(runs, last, a[0], a[1]), y = look_up(runs, last, b[0], b[1]);
    const words z = look_up(runs, last, a[2], b[2]);
#pragma unroll
    for (int plane = 0; plane < C_PLANES; plane++, out0 += c_plane, out1 += c_plane) {
        const int low = C_PLANES == 1 || plane == 1;
        const uint8 rest = codes_of(z, low);
        ((__global unaligned_codes *)out0)->v = codes_of(x, low);
        ((__global unaligned_codes *)out1)->v = codes_of(y, low);
        ((__global unaligned_half *)(out0 + 32))->v = rest.lo;
        ((__global unaligned_half *)(out1 + 32))->v = rest.hi;
    }
}
#endif

#if USE_BUCKETS
#include "lookup_bytes.h"

/* Buckets of entries within which the value changes once at most (ops/gemm_s8_table.c): rows of where it does, less 1, then
 * of the values, that after a change being the next bucket's. Two rows of 16 columns at once. */
static void __attribute__((always_inline)) put_buckets(__global const uchar *rows, int bits, int last,
                                                       __global uchar *out0, __global uchar *out1, const intv *a,
                                                       const intv *b)
{
    const ushort16 most = (ushort16)((ushort)last), below = (ushort16)((ushort)((1 << bits) - 1));
    const ushort16 x = min(pack_words(a[0], a[1]), most), y = min(pack_words(b[0], b[1]), most);
    uchar32 changes[BUCKET_TABLES], values[BUCKET_TABLES];
#pragma unroll
    for (int k = 0; k < BUCKET_TABLES; k++) {
        const uchar16 change = LOAD_AT(uchar16, rows + 16 * k), value = LOAD_AT(uchar16, rows + 16 * (k + BUCKET_TABLES));
        changes[k] = (uchar32)(change, change);
        values[k] = (uchar32)(value, value);
    }
    const uchar32 bucket = pack_bytes(x >> (ushort)bits, y >> (ushort)bits), place = pack_bytes(x & below, y & below);
    const uchar32 change = look_up_bytes(changes, BUCKET_TABLES, bucket);
    const uchar32 changed = __builtin_astype(__builtin_astype(place, char32) > __builtin_astype(change, char32), uchar32);
    const uint8 codes = __builtin_astype(look_up_bytes(values, BUCKET_TABLES, bucket - changed), uint8).s04152637;
    ((__global unaligned_half *)out0)->v = codes.lo;
    ((__global unaligned_half *)out1)->v = codes.hi;
}
#endif

#endif
