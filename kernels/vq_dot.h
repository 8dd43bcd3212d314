/* DOT4(acc, codes, weights): acc + the sum of 4 products of bytes, modulo 2^32, in one instruction of a GPU. VQ_DOT says how:
 *
 *   0  OpenCL C: what the others stand for; runs anywhere
 *   1  cl_khr_integer_dot_product
 *   2  NVIDIA from sm_61 on: dp4a as inline PTX
 *   3  AMD from gfx906 on: v_dot4_u32_u8
 *
 * Codes are u8. Weights are s8, or with DOT4_UNSIGNED u8: the weight plus 128, which FLIP4 makes of four of them; the
 * caller then takes 128 times the sum of the codes off the result. -DDOT4_UNSIGNED=1 with way 0 runs that arithmetic. */
#ifndef VQ_DOT_H
#define VQ_DOT_H

#ifndef VQ_DOT
#define VQ_DOT 0
#endif
#if VQ_DOT == 3
#undef DOT4_UNSIGNED
#define DOT4_UNSIGNED 1
#endif
#ifndef DOT4_UNSIGNED
#define DOT4_UNSIGNED 0
#endif

#if DOT4_UNSIGNED
#define FLIP4(weights) ((weights) ^ 0x80808080u)
#define DOT4_BIAS      128
#else
#define FLIP4(weights) (weights)
#define DOT4_BIAS      0
#endif

#if VQ_DOT == 1
#define DOT4(acc, codes, weights) ((acc) + dot_4x8packed_us_int(codes, weights))
#elif VQ_DOT == 2
static int vq_dp4a(int acc, uint codes, uint weights)
{
    __asm__("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(acc) : "r"(codes), "r"(weights));
    return acc;
}
#define DOT4(acc, codes, weights) vq_dp4a(acc, codes, weights)
#elif VQ_DOT == 3
#define DOT4(acc, codes, weights) ((int)__builtin_amdgcn_udot4(codes, weights, (uint)(acc), false))
#else
static int vq_dot4(int acc, uint codes, uint weights)
{
    const uchar4 x = as_uchar4(codes);
#if DOT4_UNSIGNED
    const uchar4 y = as_uchar4(weights);
#else
    const char4 y = as_char4(weights);
#endif
    return (int)((uint)acc + (uint)(x.s0 * y.s0 + x.s1 * y.s1 + x.s2 * y.s2 + x.s3 * y.s3));
}
#define DOT4(acc, codes, weights) vq_dot4(acc, codes, weights)
#endif

#endif
