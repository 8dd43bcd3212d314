/* What a device can do at most, for vitq-bench: multiply-adds on registers alone, copies, a launch of nothing.
 *
 * peak_s8, peak_f32: every work-item has VQ_P1 sums; a step adds to each of them the product of x and y (of four codes and
 * four weights, or of two floats), whose elements are all 1. A pass is `steps` steps, after which the sums go into one
 * integer, and `passes` of them leave in out[item] the number of products taken, modulo 2^32: the known answer.
 * `none` is 0, which the compiler does not know: operands that change by it stay in the loop, sums that start from it stay
 * apart. steps * 4 < 2^24, so that floats are exact. Work-groups of VQ_P0 items. */
#define SUMS VQ_P1

#ifdef PEAK_MATRIX /* a step is a product of matrices of ones for each of SUMS fragments, whose sums an item adds up */
#if PEAK_MATRIX == 1
#include "vq_mma.h"
typedef int fragment[4];
#define WARP                32
#define SCRATCH             MMA_SCRATCH
#define FRAGMENT_SUMS       4
#define FRAGMENT_AT(f, r)   (f)[r]
#define FRAGMENT_STEP(f, x, y) MMA_S32_U8_S8(f, x, y, scratch, lane)
#else
#include "vq_mfma.h"
typedef mfma_sums fragment;
#define WARP                64
#define SCRATCH             MFMA_SCRATCH
#define FRAGMENT_SUMS       16
#define FRAGMENT_AT(f, r)   MFMA_AT(f, r)
#define FRAGMENT_STEP(f, x, y) MFMA(f, (x)[0], (y)[0], scratch, lane)
#endif

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void peak_s8(__global int *out, int steps, int passes,
                                                                        int none)
{
#if VQ_MMA == 0
    __local uint scratches[VQ_P0 / WARP * SCRATCH];
    __local uint *const scratch = scratches + get_local_id(0) / WARP * SCRATCH;
    const int lane = (int)get_local_id(0) & (WARP - 1);
#endif
    const uint one = 0x01010101u + (uint)none, x[4] = {one, one, one, one}, y[2] = {one, one};
    uint total = 0;
    for (int p = 0; p < passes; p++) {
        fragment sums[SUMS];
        FRAGMENTS
        for (int j = 0; j < SUMS; j++)
            FRAGMENTS
            for (int r = 0; r < FRAGMENT_SUMS; r++) FRAGMENT_AT(sums[j], r) = j * none;
        for (int i = 0; i < steps; i++)
            FRAGMENTS
            for (int j = 0; j < SUMS; j++) FRAGMENT_STEP(sums[j], x, y);
        FRAGMENTS
        for (int j = 0; j < SUMS; j++)
            FRAGMENTS
            for (int r = 0; r < FRAGMENT_SUMS; r++) total += (uint)FRAGMENT_AT(sums[j], r);
    }
    out[get_global_id(0)] = (int)total;
}

#else
#include "vq_dot.h"
#if VQ_DOT == 1
#define OPERANDS SUMS /* a product that is not one with its addition would be taken once for all sums */
#else
#define OPERANDS 1
#endif
#if VQ_DOT
#define UNROLL_STEPS _Pragma("unroll 8") /* what counts steps takes time too */
#else
#define UNROLL_STEPS
#endif

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void peak_s8(__global int *out, int steps, int passes,
                                                                        int none)
{
    uint x = 0x01010101u, y[OPERANDS], total = 0; /* bytes of either sign */
    for (int j = 0; j < OPERANDS; j++) y[j] = 0x01010101u + (uint)(j * none + none);
    for (int p = 0; p < passes; p++) {
        int sums[SUMS];
        for (int j = 0; j < SUMS; j++) sums[j] = j * none;
        UNROLL_STEPS
        for (int i = 0; i < steps; i++) {
            for (int j = 0; j < SUMS; j++) sums[j] = DOT4(sums[j], x, y[j % OPERANDS]);
            x += (uint)none;
        }
        for (int j = 0; j < SUMS; j++) total += (uint)sums[j];
    }
    out[get_global_id(0)] = (int)total;
}
#endif

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
