/* A warp's products of tiles by NVIDIA's tensor cores, and the copies that feed them, each behind one macro. VQ_MMA 1: inline
 * PTX, sm_80 and later. VQ_MMA 0: the same by OpenCL C, lanes exchanging operands through local memory where the PTX ISA
 * says which lane holds what; every item of the work-group must come by. `scratch` is the warp's, of 32 * 6 uints.
 *
 * mma.m16n8k32 .s32.u8.s8: group = lane / 4, place = lane % 4. One register holds four neighbouring k.
 *   a[r]: row group + 8 * (r % 2), k from 4 * place + 16 * (r / 2)   b[r]: k from 4 * place + 16 * r, column group
 *   c[r]: row group + 8 * (r / 2), column 2 * place + r % 2
 * mma.m16n8k64 .s32.u4.u4: the same with eight neighbouring k of 4 bits in a register, so 8 * place, 32 * (r / 2) and 32 * r.
 * ldmatrix.x4: lane 8 i + j holds the address of row j of matrix i, 16 bytes; r[i] is bytes 4 * place of row group of matrix
 * i. */
#ifndef VQ_MMA_H
#define VQ_MMA_H

#include "vq_local.h"

#ifndef VQ_MMA
#define VQ_MMA 0
#endif

#define MMA_SCRATCH (32 * 6) /* uints of a warp */

/* Fragments stay in registers where the loops over them vanish; emulated, they need not. */
#if VQ_MMA == 1
#define FRAGMENTS _Pragma("unroll")
#else
#define FRAGMENTS _Pragma("unroll 1")
#endif

#if VQ_MMA == 1

#define MMA_S32_U8_S8(c, a, b, scratch, lane)                                                                          \
    __asm__ volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "         \
                     "{%0,%1,%2,%3};"                                                                                  \
                     : "+r"((c)[0]), "+r"((c)[1]), "+r"((c)[2]), "+r"((c)[3])                                          \
                     : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#define MMA_S32_U4_U4(c, a, b, scratch, lane)                                                                          \
    __asm__ volatile("mma.sync.aligned.m16n8k64.row.col.s32.u4.u4.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "         \
                     "{%0,%1,%2,%3};"                                                                                  \
                     : "+r"((c)[0]), "+r"((c)[1]), "+r"((c)[2]), "+r"((c)[3])                                          \
                     : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "r"((b)[0]), "r"((b)[1]))
#define LDMATRIX_X4(r, from, scratch, lane)                                                                            \
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"                                   \
                     : "=r"((r)[0]), "=r"((r)[1]), "=r"((r)[2]), "=r"((r)[3])                                          \
                     : "r"((uint)(size_t)(from))                                                                       \
                     : "memory")
/* 16 bytes to local memory, of which the first `bytes` are read and the others 0. */
#define COPY_ASYNC(to, from, bytes)                                                                                    \
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint)(size_t)(to)), "l"(from), "r"(bytes)  \
                     : "memory")
#define COPY_COMMIT() __asm__ volatile("cp.async.commit_group;" ::: "memory")
/* All groups but the latest `pending` have arrived. */
#define COPY_WAIT(pending) __asm__ volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory")

#else

VQ_LOCAL_FUNCTION void mma_emulated(int *c, const uint *a, const uint *b, __local uint *scratch, int lane)
{
    for (int r = 0; r < 4; r++) scratch[6 * lane + r] = a[r];
    for (int r = 0; r < 2; r++) scratch[6 * lane + 4 + r] = b[r];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < 4; r++) {
        const int column = 2 * (lane & 3) + (r & 1), lower = r >> 1;
        uint sum = (uint)c[r];
        for (int k = 0; k < 8; k++) { /* fours */
            const uchar4 x = as_uchar4(scratch[6 * ((lane & ~3) + (k & 3)) + lower + 2 * (k >> 2)]);
            const char4 y = as_char4(scratch[6 * (4 * column + (k & 3)) + 4 + (k >> 2)]);
            sum += (uint)(x.s0 * y.s0 + x.s1 * y.s1 + x.s2 * y.s2 + x.s3 * y.s3);
        }
        c[r] = (int)sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#define MMA_S32_U8_S8(c, a, b, scratch, lane) mma_emulated(c, a, b, scratch, lane)

VQ_LOCAL_FUNCTION void mma_u4_emulated(int *c, const uint *a, const uint *b, __local uint *scratch, int lane)
{
    for (int r = 0; r < 4; r++) scratch[6 * lane + r] = a[r];
    for (int r = 0; r < 2; r++) scratch[6 * lane + 4 + r] = b[r];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < 4; r++) {
        const int column = 2 * (lane & 3) + (r & 1), lower = r >> 1;
        for (int k = 0; k < 64; k++) {
            const int place = k >> 3 & 3, far = k >> 5, bit = 4 * (k & 7);
            const uint x = scratch[6 * ((lane & ~3) + place) + lower + 2 * far] >> bit & 15;
            const uint y = scratch[6 * (4 * column + place) + 4 + far] >> bit & 15;
            c[r] += (int)(x * y);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#define MMA_S32_U4_U4(c, a, b, scratch, lane) mma_u4_emulated(c, a, b, scratch, lane)

VQ_LOCAL_FUNCTION void ldmatrix_emulated(uint *r, __local const uint *from, __local uint *scratch, int lane)
{
    for (int i = 0; i < 4; i++) scratch[4 * lane + i] = from[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < 4; i++) r[i] = scratch[4 * (8 * i + (lane >> 2)) + (lane & 3)];
    barrier(CLK_LOCAL_MEM_FENCE);
}
#define LDMATRIX_X4(r, from, scratch, lane) ldmatrix_emulated(r, from, scratch, lane)

VQ_LOCAL_FUNCTION void copy_emulated(__local uint *to, __global const uchar *from, int bytes)
{
    for (int i = 0; i < 4; i++) {
        uint four = 0;
        for (int j = 0; j < 4; j++)
            if (4 * i + j < bytes) four |= (uint)from[4 * i + j] << (8 * j);
        to[i] = four;
    }
}
#define COPY_ASYNC(to, from, bytes) copy_emulated(to, from, bytes)
#define COPY_COMMIT()
#define COPY_WAIT(pending)

#endif

#endif
