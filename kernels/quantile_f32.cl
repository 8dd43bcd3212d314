/* quantile_f32 for any device. Small groups: one work-group each, every rank found digit by digit with a histogram in
 * local memory. A large group: histograms of chunks, which the host adds up and narrows down. */
#include "quantile_f32.h"
#include "vq_local.h"

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

/* The work of one group on one rank: keys that begin with prefix are still in question, rank counts among them. */
typedef struct search {
    uint bins[256], prefix, rank;
    int nans;
} search;

/* Counts the next 8 bits of the keys in question and appends the digit that holds the rank to prefix. */
VQ_LOCAL_FUNCTION void narrow(__local search *s, __global const float *x, uint g, uint inner, uint groups, uint n,
                              int shift)
{
    for (int b = (int)get_local_id(0); b < 256; b += VQ_P0) s->bins[b] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint e = (uint)get_local_id(0); e < n; e += VQ_P0) {
        const uint key = key_of(x[place(e, g, inner, groups)]);
        if (is_nan_key(key)) s->nans = 1;
        if (shift == 24 || key >> (shift + 8) == s->prefix) atomic_inc(&s->bins[(key >> shift) & 255]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) == 0) {
        uint b = 0;
        while (b < 255 && s->rank >= s->bins[b]) s->rank -= s->bins[b++];
        s->prefix = s->prefix << 8 | b;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* out [group][num_ranks], all NaN where the group has one. scratch is not used. Grid: (num_groups from first_group). */
OP quantile_groups(__global const float *x, __global uint *scratch, __global const int *ranks, __global float *out,
                   int inner, int groups, int n, int num_ranks, int first_group)
{
    __local search s;
    const uint g = (uint)get_group_id(0) + first_group;
    if (get_local_id(0) == 0) s.nans = 0;
    for (int r = 0; r < num_ranks; r++) {
        if (get_local_id(0) == 0) {
            s.prefix = 0;
            s.rank = (uint)ranks[r];
        }
        for (int shift = 24; shift >= 0; shift -= 8) narrow(&s, x, g, inner, groups, n, shift);
        if (get_local_id(0) == 0) out[g * (size_t)num_ranks + r] = s.nans ? NAN : value_of(s.prefix);
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
