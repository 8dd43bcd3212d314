/* quantile_f32 for any device. Small groups: one work-group each, every rank found digit by digit with a histogram in
 * local memory. A large group: histograms of chunks, which the host adds up and narrows down. */
#include "quantile_f32.h"
#include "vq_local.h"

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

/* Narrows the keys of one group down by 8 bits: those that agree with prefix above the digit are counted, the digit
 * that holds *rank is appended. A NaN counts as *nans. */
VQ_LOCAL_FUNCTION uint narrow(__local uint *bins, __local int *nans, __global const float *x, uint g, uint inner,
                              uint groups, uint n, uint prefix, int shift, uint *rank)
{
    for (int b = (int)get_local_id(0); b < 256; b += VQ_P0) bins[b] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint e = (uint)get_local_id(0); e < n; e += VQ_P0) {
        const uint key = key_of(x[place(e, g, inner, groups)]);
        if (is_nan_key(key)) *nans = 1;
        if (shift == 24 || key >> (shift + 8) == prefix) atomic_inc(&bins[(key >> shift) & 255]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    uint b = 0, left = *rank;
    while (b < 255 && left >= bins[b]) left -= bins[b++];
    barrier(CLK_LOCAL_MEM_FENCE);
    *rank = left;
    return prefix << 8 | b;
}

/* out [group][num_ranks], all NaN where the group has one. scratch is not used. Grid: (num_groups from first_group). */
OP quantile_groups(__global const float *x, __global uint *scratch, __global const int *ranks, __global float *out,
                   int inner, int groups, int n, int num_ranks, int first_group)
{
    __local uint bins[256];
    __local int nans;
    const uint g = (uint)get_group_id(0) + first_group;
    if (get_local_id(0) == 0) nans = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < num_ranks; r++) {
        uint rank = (uint)ranks[r], prefix = 0;
        for (int shift = 24; shift >= 0; shift -= 8)
            prefix = narrow(bins, &nans, x, g, inner, groups, n, prefix, shift, &rank);
        if (get_local_id(0) == 0) out[g * (size_t)num_ranks + r] = nans ? NAN : value_of(prefix);
    }
}

/* Group g as a dense run. Grid: (n / VQ_P0). */
OP quantile_gather(__global const float *x, __global float *out, int inner, int groups, int n, int g)
{
    const uint e = (uint)get_global_id(0);
    if (e < (uint)n) out[e] = x[place(e, g, inner, groups)];
}

/* partial [chunk][slots][BINS]; nans [chunk] in pass 0. Grid: (chunks, slots). */
OP quantile_histogram(__global const float *x, int n, int chunk_len, int pass, int slots, __global const uchar *map0,
                      __global const uchar *map1, __global uint *partial, __global int *nans)
{
    __local uint bins[BINS];
    __local int any_nan;
    const uint first = (uint)get_group_id(0) * chunk_len, end = min(first + chunk_len, (uint)n);
    const int slot = (int)get_group_id(1);
    if (get_local_id(0) == 0) any_nan = 0;
    for (int b = (int)get_local_id(0); b < BINS; b += VQ_P0) bins[b] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = first + (uint)get_local_id(0); i < end; i += VQ_P0) {
        const uint key = key_of(x[i]);
        if (is_nan_key(key)) any_nan = 1;
        if (slot_of(key, pass, map0, map1) == slot) atomic_inc(&bins[digit_of(key, pass)]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    __global uint *const out = partial + (get_group_id(0) * slots + slot) * BINS;
    for (int b = (int)get_local_id(0); b < BINS; b += VQ_P0) out[b] = bins[b];
    if (get_local_id(0) == 0 && pass == 0) nans[get_group_id(0)] = any_nan;
}

/* The chunks' histograms added up, into the first one. Grid: (slots * BINS / VQ_P0). */
OP quantile_sum(__global uint *partial, int chunks, int size)
{
    const size_t b = get_global_id(0);
    uint sum = 0;
    if (b >= (size_t)size) return;
    for (int i = 0; i < chunks; i++) sum += partial[(size_t)i * size + b];
    partial[b] = sum;
}
