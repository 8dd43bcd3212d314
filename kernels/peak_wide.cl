/* peak for CPUs: as peak.cl has it, one work-item per work-group, its sums in VQ_P0 vectors of VQ_P1 lanes.
 * VQ_P3 DOT  0 plain OpenCL C: float lanes hold integers, as in gemm_s8_wide.cl
 *            1 vpmaddubsw, 2 vpmaddwd on operands of 16 bits, 3 vpdpbusd (dot_wide.h)
 * steps * 2 < 2^15: 16-bit sums hold a pass. */
#include "vq_vector.h"

#define DOT   VQ_P3
#define LANES VQ_P1
#define EACH_SUM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) /* VQ_P0 of them */

#if LANES == 16
typedef int16 intv;
typedef float16 floatv;
#define TO_INTS convert_int16
#define ADD_LANES(v)                                                                                                   \
    ((v).s0 + (v).s1 + (v).s2 + (v).s3 + (v).s4 + (v).s5 + (v).s6 + (v).s7 + (v).s8 + (v).s9 + (v).sa + (v).sb +       \
     (v).sc + (v).sd + (v).se + (v).sf)
#else
typedef int8 intv;
typedef float8 floatv;
#define TO_INTS convert_int8
#define ADD_LANES(v) ((v).s0 + (v).s1 + (v).s2 + (v).s3 + (v).s4 + (v).s5 + (v).s6 + (v).s7)
#endif

/* Products of the same registers over and over must not be taken once. */
#define DOT_ASM __asm__ volatile
#include "dot_wide.h"

#if DOT == 0
typedef floatv sumv;
#define ONES          (floatv)(1.0f)
#define START(n)      (floatv)((float)(n))
#define TO_SUM        TO_INTS
#define MAC(sum, x, y) sum += x * y;
#else
typedef intv sumv;
#if DOT == 2
#define ONES (intv)(0x00010001)
#else
#define ONES (intv)(0x01010101)
#endif
#define START(n) (intv)(n)
#if DOT == 1
#define TO_SUM to_sum
#else
#define TO_SUM
#endif
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void peak_s8(__global int *out, int steps, int passes, int none)
{
    sumv x = ONES, y = ONES + START(none);
    intv total = (intv)(0);
    for (int p = 0; p < passes; p++) {
#define DECLARE(r) sumv s##r = START(r * none);
        EACH_SUM(DECLARE)
        for (int i = 0; i < steps; i++) {
#define STEP(r) MAC(s##r, x, y)
            EACH_SUM(STEP)
        }
#define ADD(r) total += TO_SUM(s##r);
        EACH_SUM(ADD)
        x += START(none);
    }
    out[get_group_id(0)] = ADD_LANES(total);
}

/* AVX-512 has fused multiply-adds of 512 bits, which compilers may prefer to split. */
#if LANES == 16 && DOT > 0
#define FMA(sum, x, y) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
#else
#define FMA(sum, x, y) sum = fma(x, y, sum);
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void peak_f32(__global int *out, int steps, int passes, int none)
{
    const floatv x = (floatv)(1.0f + (float)none), y = (floatv)(1.0f - (float)none);
    intv total = (intv)(0);
    for (int p = 0; p < passes; p++) {
#define DECLARE_F32(r) floatv f##r = (floatv)((float)(r * none));
        EACH_SUM(DECLARE_F32)
        for (int i = 0; i < steps; i++) {
#define STEP_F32(r) FMA(f##r, x, y)
            EACH_SUM(STEP_F32)
        }
#define ADD_F32(r) total += TO_INTS(f##r);
        EACH_SUM(ADD_F32)
    }
    out[get_group_id(0)] = ADD_LANES(total);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void peak_copy(__global const float4 *x, __global float4 *y,
                                                                      int count)
{
    const int each = (int)((count / 4 + get_num_groups(0) - 1) / get_num_groups(0)) * 4;
    const int first = (int)get_group_id(0) * each, end = min(first + each, count);
    int i = first;
    for (; i + 4 <= end; i += 4) STORE_AT(int16, y + i) = LOAD_AT(int16, x + i);
    for (; i < end; i++) y[i] = x[i];
    /* what is no multiple of four vectors is the last group's */
    if (get_group_id(0) == get_num_groups(0) - 1)
        for (i = max(end, each * (int)get_num_groups(0)); i < count; i++) y[i] = x[i];
}

__kernel void peak_nothing(int value) {}
