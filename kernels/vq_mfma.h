/* A wave's product of tiles by AMD's matrix cores, behind one macro. VQ_MMA 2: v_mfma_i32_32x32x8i8 of gfx908 and gfx90a,
 * or v_mfma_i32_16x16x16i8 where MFMA_SIDE is 16.
 * VQ_MMA 0: the same by OpenCL C, lanes exchanging operands through local memory where the ISA says which lane holds
 * what; every item of the work-group must come by. `scratch` is the wave's, of 64 * 2 uints.
 *
 * i = lane % SIDE, place = lane / SIDE. a: s8 codes k 4 * place .. + 3 of row i; b: the same of column i.
 * c[r]: row 4 * PLACES * (r / 4) + 4 * place + r % 4, column i. */
#ifndef VQ_MFMA_H
#define VQ_MFMA_H

#include "vq_local.h"

#ifndef VQ_MMA
#define VQ_MMA 0
#endif

#ifndef MFMA_SIDE
#define MFMA_SIDE 32
#endif
#define MFMA_PLACES       (64 / MFMA_SIDE)             /* fours of k in an instruction */
#define MFMA_SUMS         (MFMA_SIDE * MFMA_SIDE / 64) /* of a lane */
#define MFMA_ROW(r, lane) (4 * MFMA_PLACES * ((r) >> 2) + 4 * ((lane) / MFMA_SIDE) + ((r) & 3))

#define MFMA_SCRATCH (64 * 2) /* uints of a wave */

#if VQ_MMA == 2

typedef int mfma_sums __attribute__((ext_vector_type(MFMA_SUMS)));
#define FRAGMENTS                      _Pragma("unroll")
#if MFMA_SIDE == 32
#define MFMA(c, a, b, scratch, lane)   c = __builtin_amdgcn_mfma_i32_32x32x8i8((int)(a), (int)(b), c, 0, 0, 0)
#else
#define MFMA(c, a, b, scratch, lane)   c = __builtin_amdgcn_mfma_i32_16x16x16i8((int)(a), (int)(b), c, 0, 0, 0)
#endif
#define MFMA_AT(c, r)                  ((c)[r])

#else

typedef struct mfma_sums {
    int at[MFMA_SUMS];
} mfma_sums;
#define FRAGMENTS     _Pragma("unroll 1")
#define MFMA_AT(c, r) ((c).at[r])

VQ_LOCAL_FUNCTION void mfma_emulated(mfma_sums *c, uint a, uint b, __local uint *scratch, int lane)
{
    scratch[2 * lane] = a;
    scratch[2 * lane + 1] = b;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < MFMA_SUMS; r++) {
        const int row = MFMA_ROW(r, lane), column = lane % MFMA_SIDE;
        for (int from = 0; from < 64; from += MFMA_SIDE) {
            const char4 x = as_char4(scratch[2 * (row + from)]), y = as_char4(scratch[2 * (column + from) + 1]);
            c->at[r] = (int)((uint)c->at[r] + (uint)(x.s0 * y.s0 + x.s1 * y.s1 + x.s2 * y.s2 + x.s3 * y.s3));
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#define MFMA(c, a, b, scratch, lane) mfma_emulated(&(c), a, b, scratch, lane)

#endif

#endif
