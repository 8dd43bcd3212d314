/* The epilogue of gemm_s8_wide.cl: sums of a tile requantized, looked up or added to the residual stream, and stored. Included
 * where its vectors, parameters and REG are defined (see there). */
#ifndef GEMM_S8_PUT_H
#define GEMM_S8_PUT_H

/* Constants of LANES columns. */
typedef struct lane_consts {
    intv mult, odd_mult, add, shift, pre, w_zero; /* odd_mult: mult of odd lanes, in even ones */
} lane_consts;

static lane_consts load_consts(const gemm_shape *s, __global const int *consts, int col)
{
    lane_consts v;
    v.mult = VLOAD(consts + FIELD_MULT * s->n_pad + col);
    v.odd_mult = AS_INTV(AS_LONGV(v.mult) >> 32);
    v.add = VLOAD(consts + FIELD_ADD * s->n_pad + col);
    v.shift = VLOAD(consts + FIELD_SHIFT * s->n_pad + col);
    v.pre = VLOAD(consts + FIELD_PRE * s->n_pad + col);
    v.w_zero = VLOAD(consts + FIELD_W_ZERO * s->n_pad + col);
    return v;
}

#if REQUANT < 2
/* High halves of the products of lanes with mult, by way of even and odd lanes' 64-bit products: compilers make it
 * vpmuldq. */
static intv mul_high(intv x, const lane_consts *v)
{
    const longv even = ((AS_LONGV(x) << 32) >> 32) * ((AS_LONGV(v->mult) << 32) >> 32);
    const longv odd = (AS_LONGV(x) >> 32) * ((AS_LONGV(v->odd_mult) << 32) >> 32);
#if defined(ODD_OF_PAIRS)
    return ODD_OF_PAIRS(AS_INTV(even), AS_INTV(odd));
#endif
    return AS_INTV((AS_ULONGV(odd) & (ulongv)(0xffffffff00000000UL)) | (AS_ULONGV(even) >> 32));
}

/* Where zeros are pairs, sums begin with them. */
static intv with_zero(const lane_consts *v, intv acc, int row_sum)
{
#if W_ZERO == 1
    acc += v->w_zero * row_sum;
#endif
    return acc;
}

/* Shifts by less than 32, which the instructions need not be told. */
#if DOT
static intv shift_left(intv x, intv by)
{
    intv out;
    __asm__("vpsllvd %2, %1, %0" : "=" REG(out) : REG(x), REG(by));
    return out;
}

static intv shift_right(intv x, intv by)
{
    intv out;
    __asm__("vpsravd %2, %1, %0" : "=" REG(out) : REG(x), REG(by));
    return out;
}
#else
#define shift_left(x, by)  ((x) << (by))
#define shift_right(x, by) ((x) >> (by))
#endif

static intv requant(const lane_consts *v, intv acc)
{
#if REQUANT == 1
    acc = shift_left(acc, v->pre);
#endif
    return shift_right(mul_high(acc, v) + v->add, v->shift);
}

#if EPILOGUE == 0 && DOT && PANEL >= 2 * LANES
#define PACK(instruction, out, x, y) __asm__(instruction " %2, %1, %0" : "=" REG(out) : REG(x), REG(y))

/* One row of codes. vpackusdw and vpackuswb leave the lanes of both operands in turn, 4 codes at a time. */
static void put_row(const gemm_shape *s, const intv *r, __global result_t *out)
{
    const intv most = (intv)(s->code_max * 0x00010001);
    intv p, q;
    PACK("vpackusdw", p, r[0], r[1]);
    PACK("vpminuw", p, p, most);
#if VECTORS == 3
    const intv order = (intv)(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    PACK("vpackusdw", q, r[2], r[2]);
    PACK("vpminuw", q, q, most);
    PACK("vpackuswb", p, p, q);
    PACK("vpermd", p, order, p);
    ((__global unaligned_codes *)out)->v = as_uint16(p).lo;
    ((__global unaligned_half *)(out + 32))->v = as_uint16(p).hi.lo;
#else
    const intv order = (intv)(0, 4, 1, 5, 2, 6, 3, 7);
    PACK("vpackuswb", p, p, p);
    PACK("vpermd", q, order, p);
    ((__global unaligned_half *)out)->v = as_uint8(q).lo;
#endif
}
#elif EPILOGUE == 0
static void put_row(const gemm_shape *s, const intv *r, __global result_t *out)
{
    for (int v = 0; v < VECTORS; v++)
        STORE_BYTES(TO_UCHARV(min(max(r[v], (intv)(0)), (intv)(s->code_max))), out + v * LANES);
}
#elif EPILOGUE == 1 && DOT && LANES == 8 && VECTORS == 2
#define INDEX_ROWS
#include "lookup_bytes.h"

/* Where pack_words has column j. */
#define PACKED_LANE(j) (((j) & 3) | ((j) & 4) << 1 | ((j) & 8) >> 1)

/* Where a row's entries are in the table, in the order of pack_words. */
static ushort16 index_row(const gemm_shape *s, const intv *r)
{
    return min(pack_words(r[0], r[1]), (ushort16)((ushort)s->code_max));
}

static void put_entries(const gemm_shape *s, const ushort16 *indices, __global result_t *out, __global const uchar *table)
{
    const ushort *const index = (const ushort *)indices;
#if C_PLANES == 2
#pragma unroll
    for (int j = 0; j < PANEL; j++) {
        const ushort pair = ((__global const ushort *)table)[index[PACKED_LANE(j)]];
        out[j] = (uchar)pair;
        out[j + s->c_plane] = (uchar)(pair >> 8);
    }
#else
    uchar16 codes;
#pragma unroll
    for (int j = 0; j < PANEL; j++) codes[j] = table[index[PACKED_LANE(j)]];
    ((__global unaligned_half *)out)->v = as_uint4(codes);
#endif
}

static void put_row(const gemm_shape *s, const intv *r, __global result_t *out, __global const uchar *table)
{
    ushort16 indices = index_row(s, r);
    __asm__("" : "+m"(indices)); /* else each is taken out of the register, which costs twice the instructions */
    put_entries(s, &indices, out, table);
}
#elif EPILOGUE == 1
static void put_row(const gemm_shape *s, const intv *r, __global result_t *out, __global const uchar *table)
{
    for (int v = 0; v < VECTORS; v++, out += LANES) {
        const intv indices = min(max(r[v], (intv)(0)), (intv)(s->code_max));
        const int *const index = (const int *)&indices;
#if C_PLANES == 2
        intv pairs;
        int *const pair = (int *)&pairs;
#pragma unroll
        for (int j = 0; j < LANES; j++) pair[j] = ((__global const ushort *)table)[index[j]];
        STORE_BYTES(TO_UCHARV(pairs & 255), out);
        STORE_BYTES(TO_UCHARV(pairs >> 8), out + s->c_plane);
#else
#pragma unroll
        for (int j = 0; j < LANES; j++) out[j] = table[index[j]];
#endif
    }
}
#elif EPILOGUE == 2
#if DOT && LANES == 16
static int any_negative(intv x)
{
    uint signs;
    __asm__("vpmovd2m %1, %%k1\n\tkmovw %%k1, %0" : "=r"(signs) : "v"(x) : "k1");
    return signs != 0;
}
#elif DOT
static int any_negative(intv x)
{
    uint signs;
    __asm__("vmovmskps %1, %0" : "=r"(signs) : "x"(x));
    return signs != 0;
}
#else
#define any_negative(x) any((x) < 0)
#endif

/* Negative where x + y = sum went beyond 32 bits: both signs differ from the sum's. */
static intv wrapped(intv x, intv y, intv sum)
{
#if DOT && LANES == 16
    __asm__("vpternlogd $0x42, %2, %1, %0" : "+v"(x) : "v"(y), "v"(sum));
    return x;
#else
    return (x ^ sum) & (y ^ sum);
#endif
}

/* One row onto the residual stream, which saturates: so seldom that a whole tile is only asked whether one sum does, which
 * makes `over` negative. */
static void put_row(const gemm_shape *s, const intv *r, __global result_t *out, intv *over)
{
    intv any = *over;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const intv x = VLOAD(out + v * LANES), sum = AS_INTV(AS_UINTV(x) + AS_UINTV(r[v]));
        any |= wrapped(x, r[v], sum);
        STORE_INTS(sum, out + v * LANES);
    }
    *over = any;
}

/* A row that put_row put there, this time saturated. */
static void saturate_row(const intv *r, __global result_t *out)
{
    for (int v = 0; v < VECTORS; v++, out += LANES)
        STORE_INTS(add_sat(AS_INTV(AS_UINTV(VLOAD(out)) - AS_UINTV(r[v])), r[v]), out);
}
#else
static void put_row(const gemm_shape *s, const intv *r, __global result_t *out)
{
    for (int v = 0; v < VECTORS; v++) STORE_INTS(r[v], out + v * LANES);
}
#endif
#endif

#include "gemm_s8_lookup.h"

/* A tile whose sums wait: its epilogue runs in parts between the products of the next tile, whose instructions leave
 * room for it. */
typedef struct waiting {
    const lane_consts *consts; /* [VECTORS] */
    const int *row_sums;
    int m0, n0, rows; /* 0 rows: none waits */
#if EPILOGUE == 2
    intv *over; /* negative where a sum of this tile has to saturate */
#endif
#if USE_STEPS && VBMI
    steps_row *steps; /* of the row before: its look-ups have nothing to wait for beside the next row's arithmetic */
#endif
} waiting;

#if REQUANT < 2
#if USE_RUNS || USE_BUCKETS || (USE_STEPS && !VBMI)
#define PART 2 /* rows of sums that a part takes */
#else
#define PART 1
#endif

static void __attribute__((always_inline)) requant_row(intv *x, const waiting *t, const intv *sums, int r)
{
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
        x[v] = requant(&t->consts[v], with_zero(&t->consts[v], sums[r * VECTORS + v], t->row_sums[r]));
}

/* PART rows of PANEL sums each, from row r of the tile, to their places. */
static void __attribute__((always_inline)) put_part(const gemm_shape *s, const waiting *t, __global const uchar *table,
                                                    __global result_t *c, const intv *sums, int r)
{
    if (r >= t->rows) return;
#if USE_STEPS && VBMI
    intv x[VECTORS];
    finish_steps(t->steps, (__global const char *)table + ((s->code_max + 64) & ~63));
#pragma unroll
    for (int i = 0; i < VECTORS; i++) x[i] = table_entry(&t->consts[i], sums[r * VECTORS + i], t->row_sums[r]);
    start_steps(t->steps, s->code_max, c + (size_t)(t->m0 + r) * s->ldc + t->n0, x[0], x[1], x[2]);
#elif USE_STEPS || USE_RUNS || USE_BUCKETS
    __global const uchar *const registers = table + ((s->code_max * C_PLANES + C_PLANES + 63) & ~63);
    const int r1 = min(r + 1, t->rows - 1); /* an odd row out counts twice */
    __global uchar *const out = c + (size_t)(t->m0 + r) * s->ldc + t->n0, *const out1 = out + (size_t)(r1 - r) * s->ldc;
    intv a[VECTORS], b[VECTORS];
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        a[i] = table_entry(&t->consts[i], sums[r * VECTORS + i], t->row_sums[r]);
        b[i] = table_entry(&t->consts[i], sums[r1 * VECTORS + i], t->row_sums[r1]);
    }
#if USE_RUNS
    put_runs((__global const ushort *)registers, s->code_max, s->c_plane, out, out1, a, b);
#elif USE_BUCKETS
    put_buckets(registers, s->split, s->code_max, out, out1, a, b);
#else
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        a[i] = bound(a[i], s->code_max);
        b[i] = bound(b[i], s->code_max);
    }
    put_steps((__global const int *)registers, s->split, out, out1, words_of(a[0], a[1]), words_of(b[0], b[1]),
              words_of(a[2], b[2]));
#endif
#else
    intv x[VECTORS];
    requant_row(x, t, sums, r);
#if EPILOGUE == 1
    put_row(s, x, c + (size_t)(t->m0 + r) * s->ldc + t->n0, table);
#elif EPILOGUE == 2
    put_row(s, x, c + (size_t)c_row(s, t->m0 + r) * s->ldc + t->n0, t->over);
#else
    put_row(s, x, c + (size_t)c_row(s, t->m0 + r) * s->ldc + t->n0);
#endif
#endif
}

/* After all parts of a tile. */
static void put_end(const gemm_shape *s, const waiting *t, __global result_t *c, const intv *sums)
{
#if EPILOGUE == 2
    if (!any_negative(*t->over)) return;
    *t->over = (intv)(0);
    for (int r = 0; r < t->rows; r++) {
        intv x[VECTORS];
        requant_row(x, t, sums, r);
        saturate_row(x, c + (size_t)c_row(s, t->m0 + r) * s->ldc + t->n0);
    }
#endif
}

#if defined(INDEX_ROWS) && !USE_BUCKETS
/* The same for a whole tile: entries that are looked up right behind their indices would wait for them. */
static void put_rest(const gemm_shape *s, const waiting *t, __global const uchar *table, __global result_t *c,
                     const intv *sums)
{
    ushort16 indices[ROWS];
    for (int r = 0; r < t->rows; r++) {
        intv x[VECTORS];
        requant_row(x, t, sums, r);
        indices[r] = index_row(s, x);
    }
    __asm__("" : "+m"(indices));
    for (int r = 0; r < t->rows; r++)
        put_entries(s, indices + r, c + (size_t)(t->m0 + r) * s->ldc + t->n0, table);
}
#else
static void put_rest(const gemm_shape *s, const waiting *t, __global const uchar *table, __global result_t *c,
                     const intv *sums)
{
    for (int r = 0; r < t->rows; r += PART) put_part(s, t, table, c, sums, r);
    put_end(s, t, c, sums);
#if USE_STEPS && VBMI
    finish_steps(t->steps, (__global const char *)table + ((s->code_max + 64) & ~63));
#endif
}
#endif
#endif

/* Rows of sums, from n0, to their places, for panels that reach beyond n and for 64-bit requantization; row_sums belong
 * to the same rows. */
static void put_rows(const gemm_shape *s, __global const int *consts, __global const uchar *table, __global result_t *c,
                     const intv *sums, const int *row_sums, int m0, int rows, int n0)
{
    const int cols = min(PANEL, s->n - n0);
    for (int r = 0; r < rows; r++) {
        __global result_t *const out = c + (size_t)c_row(s, m0 + r) * s->ldc + n0;
        for (int j = 0; j < cols; j++) {
            int acc = ((const int *)(sums + r * VECTORS))[j];
#if W_ZERO == 1
            acc += consts[FIELD_W_ZERO * s->n_pad + n0 + j] * row_sums[r];
#endif
            put_one(s, consts, table, out + j, n0 + j, acc);
        }
    }
}

#endif
