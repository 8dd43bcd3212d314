/* What a device can do at most, for vitq-bench: multiply-adds on registers alone, copies, a launch of nothing.
 *
 * peak_s8, peak_f32: every work-item has VQ_P1 sums; a step adds to each of them the product of x and y (of four codes and
 * four weights, or of two floats), whose elements are all 1. A pass is `steps` steps, after which the sums go into one
 * integer, and `passes` of them leave in out[item] the number of products taken, modulo 2^32: the known answer.
 * `none` is 0, which the compiler does not know: operands that change by it stay in the loop, sums that start from it stay
 * apart. steps * 4 < 2^24, so that floats are exact. Work-groups of VQ_P0 items. */
#define SUMS VQ_P1

static int dot4(uint a, uint w, int acc)
{
    const uchar4 x = as_uchar4(a);
    const char4 y = as_char4(w);
    return acc + x.s0 * y.s0 + x.s1 * y.s1 + x.s2 * y.s2 + x.s3 * y.s3;
}

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void peak_s8(__global int *out, int steps, int passes,
                                                                        int none)
{
    uint x = 0x01010101u, total = 0;
    const uint y = 0x01010101u + (uint)none;
    for (int p = 0; p < passes; p++) {
        int sums[SUMS];
        for (int j = 0; j < SUMS; j++) sums[j] = j * none;
        for (int i = 0; i < steps; i++) {
            for (int j = 0; j < SUMS; j++) sums[j] = dot4(x, y, sums[j]);
            x += (uint)none;
        }
        for (int j = 0; j < SUMS; j++) total += (uint)sums[j];
    }
    out[get_global_id(0)] = (int)total;
}

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void peak_f32(__global int *out, int steps, int passes,
                                                                         int none)
{
    const float x = 1.0f + (float)none, y = 1.0f - (float)none;
    uint total = 0;
    for (int p = 0; p < passes; p++) {
        float sums[SUMS];
        for (int j = 0; j < SUMS; j++) sums[j] = (float)(j * none);
        for (int i = 0; i < steps; i++)
            for (int j = 0; j < SUMS; j++) sums[j] = mad(x, y, sums[j]);
        for (int j = 0; j < SUMS; j++) total += (uint)sums[j];
    }
    out[get_global_id(0)] = (int)total;
}

/* `count` vectors of four floats, the items of a launch side by side. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void peak_copy(__global const float4 *x,
                                                                          __global float4 *y, int count)
{
    for (int i = (int)get_global_id(0); i < count; i += (int)get_global_size(0)) y[i] = x[i];
}

__kernel void peak_nothing(int value) {}
