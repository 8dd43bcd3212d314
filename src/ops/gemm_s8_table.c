/* Forms of gemm_s8's table that its kernels look up in registers. */
#include "ops/gemm_s8_table.h"

#include <stdlib.h>
#include <string.h>

#include "cl/cl.h"
#include "ops/table_runs.h"

enum { STEP_BLOCK = 32, STEP_BLOCKS = 512 };

/* A block of 32 entries as one number, see kernels/gemm_s8_wide.cl; false where it changes more than once, by more than
 * 1, or the other way than `falls` says. */
static bool block_number(uint16_t *number, const uint8_t *table, int len, int block, bool falls)
{
    int entries[STEP_BLOCK], at = STEP_BLOCK;
    for (int i = 0; i < STEP_BLOCK; i++) {
        const int x = block * STEP_BLOCK + (falls ? STEP_BLOCK - 1 - i : i);
        entries[i] = table[VQ_MIN(x, len - 1)];
    }
    for (int i = STEP_BLOCK - 1; i > 0; i--) {
        if (entries[i] == entries[i - 1]) continue;
        if (at != STEP_BLOCK || entries[i] != entries[i - 1] + 1) return false;
        at = i;
    }
    *number = (uint16_t)(entries[0] << 8 | (256 - 8 * at));
    return true;
}

/* The table as steps: falling blocks, then rising ones. Returns the number of segments of 64 blocks, rounded to 1, 4 or
 * 8, as every number is a kernel to compile, or 0 where the table has no such form. */
static int step_table(uint16_t numbers[STEP_BLOCKS], int *split, const uint8_t *table, int len)
{
    const int blocks = VQ_CEIL_DIV(len, STEP_BLOCK);
    int segments = 1, b = 0;
    if (blocks > STEP_BLOCKS) return 0;
    while (b < blocks && block_number(&numbers[b], table, len, b, true)) b++;
    *split = b * STEP_BLOCK;
    while (b < blocks && block_number(&numbers[b], table, len, b, false)) b++;
    if (b < blocks) return 0;
    while (segments * 64 < blocks) segments = segments == 1 ? 4 : 8;
    return segments;
}

/* The same blocks as two bytes each, for variants with VBMI. Entry x of a block is first + (x >= change, signed)
 * - ((x | 128) >= change, unsigned): a change from 1 to 32 lets it rise there, the second term then always being 1; one
 * that is negative as signed lets it fall, the first term being 1. */
static void step_bytes(uint8_t first[STEP_BLOCKS], uint8_t change[STEP_BLOCKS], const uint16_t numbers[STEP_BLOCKS],
                       int split)
{
    for (int b = 0; b < STEP_BLOCKS; b++) {
        const bool falls = b * STEP_BLOCK < split;
        const int at = STEP_BLOCK - (numbers[b] & 255) / 8;
        first[b] = (uint8_t)((numbers[b] >> 8) + !falls);
        change[b] = (uint8_t)(falls ? 128 + STEP_BLOCK - at : at);
    }
}

/* Entries of two planes side by side: one look-up finds both. */
static void put_entries(uint8_t *out, const vq_gemm_s8_weights *w)
{
    if (!w->table_low) memcpy(out, w->table, (size_t)w->table_len);
    for (int i = 0; i < w->table_len && w->table_low; i++) {
        out[2 * i] = w->table[i];
        out[2 * i + 1] = w->table_low[i];
    }
}

enum { RUN_EDGES = (VQ_MAX_RUN_STEPS + 1) * VQ_RUN_WORDS }; /* the last step's take two rows */

/* The table's runs in 5 to 7 steps; returns 0 where there are too many. Values have the first plane in their high
 * bytes, or are the one plane. */
static int run_table(uint16_t out[RUN_EDGES + VQ_MAX_RUNS], const uint8_t *entries, int len, bool pairs,
                     uint16_t *values)
{
    vq_table_runs runs;
    int steps = 5;
    for (int i = 0; i < len; i++) values[i] = pairs ? (uint16_t)(entries[2 * i] << 8 | entries[2 * i + 1]) : entries[i];
    vq_table_runs_find(&runs, values, len);
    if (runs.count > VQ_MAX_RUNS) return 0;
    while (runs.count > 1 << steps) steps++;
    vq_table_runs_fill(out, out + RUN_EDGES, &runs, steps);
    return steps;
}

enum { BUCKETS = 128, MOST_BUCKET_SHIFT = 7 };

/* Buckets of 2^shift entries: where in it the value changes, less 1, which no place exceeds where it does not; and the
 * value it begins with, from the change on being the next one's. False where a bucket changes more than once. There are
 * fewer than BUCKETS. */
static bool make_buckets(uint8_t changes[BUCKETS], uint8_t values[BUCKETS], const uint8_t *table, int len, int shift)
{
    const int count = ((len - 1) >> shift) + 1, size = 1 << shift;
    for (int i = 0; i < count; i++) {
        const int first = i << shift, end = VQ_MIN(first + size, len);
        const uint8_t next = table[VQ_MIN(end, len - 1)];
        int at = first + 1;
        values[i] = table[first];
        values[i + 1] = next;
        while (at < end && table[at] == table[first]) at++;
        changes[i] = (uint8_t)((at < end ? at - first : size) - 1);
        for (; at < end; at++)
            if (table[at] != next) return false;
    }
    return true;
}

/* The largest buckets that do, as rows of changes, then of values; returns how many rows each has, 2, 4 or 8, as every
 * number is a kernel to compile, or 0 where none do. */
static int bucket_table(uint8_t out[2 * BUCKETS], int *shift, const uint8_t *table, int len)
{
    for (*shift = MOST_BUCKET_SHIFT; *shift > 0 && (len - 1) >> *shift < BUCKETS - 1; --*shift) {
        uint8_t changes[BUCKETS] = {0}, values[BUCKETS] = {0};
        if (!make_buckets(changes, values, table, len, *shift)) continue;
        const int needed = VQ_CEIL_DIV(((len - 1) >> *shift) + 2, VQ_BYTE_ROW), rows = needed <= 2   ? 2
                                                                                       : needed <= 4 ? 4
                                                                                                     : 8;
        vq_table_differences(out, changes, rows * VQ_BYTE_ROW);
        vq_table_differences(out + rows * VQ_BYTE_ROW, values, rows * VQ_BYTE_ROW);
        return rows;
    }
    return 0;
}

vq_status vq_gemm_s8_table_create(uint8_t **out, size_t *size, vq_gemm_s8_form *form, const vq_gemm_s8_weights *w,
                                  unsigned needs)
{
    const bool pairs = w->table_low != NULL, of_512 = needs & (VQ_CAP_AVX512BW | VQ_CAP_AVX512VNNI),
               of_256 = needs & (VQ_CAP_AVX2 | VQ_CAP_AVXVNNI);
    const size_t len = (size_t)w->table_len, raw = VQ_ROUND_UP(len << pairs, 64);
    uint16_t numbers[STEP_BLOCKS] = {0}, runs[RUN_EDGES + VQ_MAX_RUNS] = {0}, *values = NULL;
    uint8_t buckets[2 * BUCKETS] = {0}, *bytes = NULL;
    const size_t most = VQ_MAX(sizeof numbers, sizeof runs);
    vq_status status = VQ_OK;
    *out = NULL;
    *form = (vq_gemm_s8_form){0};
    VQ_GO(vq_alloc(&bytes, raw + most, 1, "a table"));
    VQ_GO(vq_alloc(&values, len, sizeof *values, "a table"));
    put_entries(bytes, w);
    if (of_512 && !pairs) form->segments = step_table(numbers, &form->split, w->table, w->table_len);
    if (of_512 && !form->segments) form->run_steps = run_table(runs, bytes, w->table_len, pairs, values);
    if (of_256 && !pairs) form->buckets = bucket_table(buckets, &form->split, w->table, w->table_len);
    if (form->buckets)
        memcpy(bytes + raw, buckets, sizeof buckets);
    else if (form->run_steps)
        memcpy(bytes + raw, runs, sizeof runs);
    else if (needs & VQ_CAP_AVX512VBMI)
        step_bytes(bytes + raw, bytes + raw + STEP_BLOCKS, numbers, form->split);
    else
        memcpy(bytes + raw, numbers, sizeof numbers);
    *size = raw + most;
    *out = bytes;
    bytes = NULL;
done:
    free(values);
    free(bytes);
    return status;
}
