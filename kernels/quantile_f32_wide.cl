/* quantile_f32 for CPUs. Small groups: one work-item sorts a group's keys, digit by digit, and picks all ranks. A large
 * group: histograms of chunks, one work-item each. VQ_P0 is the width of the two elementwise kernels. */
#include "quantile_f32.h"

#define OP   __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
#define TILE 16 /* channels sorted by one work-item: a cache line of every row */

/* Stable sort by digits from the lowest one; every digit's histogram comes from one pass over the keys. Returns where
 * the result lies: keys or spare. */
static __global uint *sort_keys(__global uint *keys, __global uint *spare, uint n)
{
    const int bits = n < 2048 ? 8 : 11, passes = n < 2048 ? 4 : 3;
    const uint size = 1u << bits, mask = size - 1;
    uint start[3 * 2048];
    for (uint b = 0; b < size * passes; b++) start[b] = 0;
    for (uint i = 0; i < n; i++)
        for (int p = 0; p < passes; p++) start[p * size + ((keys[i] >> (p * bits)) & mask)]++;
    for (int p = 0; p < passes; p++) {
        uint *const at = start + p * size;
        if (at[(keys[0] >> (p * bits)) & mask] == n) continue; /* all the same digit */
        uint sum = 0;
        for (uint b = 0; b < size; b++) {
            const uint count = at[b];
            at[b] = sum;
            sum += count;
        }
        for (uint i = 0; i < n; i++) spare[at[(keys[i] >> (p * bits)) & mask]++] = keys[i];
        __global uint *const done = spare;
        spare = keys;
        keys = done;
    }
    return keys;
}

static void pick(__global const uint *sorted, uint n, __global const int *ranks, int num_ranks, __global float *out)
{
    const int nans = is_nan_key(sorted[0]) || is_nan_key(sorted[n - 1]);
    for (int r = 0; r < num_ranks; r++) out[r] = nans ? NAN : value_of(sorted[ranks[r]]);
}

/* out [group][num_ranks], all NaN where the group has one; scratch [work-group][TILE + 1][n].
 * Grid: (tiles of TILE groups from first_group). */
OP quantile_groups(__global const float *x, __global uint *scratch, __global const int *ranks, __global float *out,
                   int inner, int groups, int n, int num_ranks, int first_group)
{
    __global uint *const keys = scratch + get_group_id(0) * (TILE + 1) * (size_t)n, *const spare =
                                                                                        keys + TILE * (size_t)n;
    const int g0 = first_group + (int)get_group_id(0) * TILE, tile = min(TILE, groups - g0);
    __global const float *in = x + (size_t)g0 * inner;
    for (int e = 0; e < n; e += inner, in += (size_t)groups * inner)
        for (int g = 0; g < tile; g++)
            for (int i = 0; i < inner; i++) keys[g * (size_t)n + e + i] = key_of(in[g * (size_t)inner + i]);
    for (int g = 0; g < tile; g++)
        pick(sort_keys(keys + g * (size_t)n, spare, n), n, ranks, num_ranks, out + (g0 + g) * (size_t)num_ranks);
}

/* Group g as a dense run. Grid: (n / VQ_P0). */
OP quantile_gather(__global const float *x, __global float *out, int inner, int groups, int n, int g)
{
    const uint first = (uint)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, (uint)n);
    for (uint e = first, run; e < end; e += run) {
        __global const float *const in = x + place(e, g, inner, groups);
        run = min(inner - e % inner, end - e);
        for (uint i = 0; i < run; i++) out[e + i] = in[i];
    }
}

/* partial [chunk][slots][BINS]; nans [chunk] in pass 0. Grid: (chunks). */
OP quantile_histogram(__global const float *x, int n, int chunk_len, int pass, int slots, __global const uchar *map0,
                      __global const uchar *map1, __global uint *partial, __global int *nans)
{
    const uint first = (uint)get_group_id(0) * chunk_len, end = min(first + chunk_len, (uint)n);
    __global uint *const out = partial + get_group_id(0) * slots * BINS;
    for (int b = 0; b < slots * BINS; b++) out[b] = 0;
    if (pass == 0) {
        int any_nan = 0;
        for (uint i = first; i < end; i++) {
            const uint key = key_of(x[i]);
            any_nan |= is_nan_key(key);
            out[key >> 21]++;
        }
        nans[get_group_id(0)] = any_nan;
        return;
    }
    for (uint i = first; i < end; i++) {
        const uint key = key_of(x[i]);
        const int slot = slot_of(key, pass, map0, map1);
        if (slot != NO_SLOT) out[slot * BINS + digit_of(key, pass)]++;
    }
}

/* The chunks' histograms added up, into the first one. Grid: (size / VQ_P0). */
OP quantile_sum(__global uint *partial, int chunks, int size)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, size);
    for (int i = 1; i < chunks; i++)
        for (int b = first; b < end; b++) partial[b] += partial[(size_t)i * size + b];
}
