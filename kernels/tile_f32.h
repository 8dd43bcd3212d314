/* Register tiles of floats, for CPUs: ROWS rows by PANEL columns, of which row r's sums are p##r and, with two vectors,
 * q##r and u##r. Per step of k a tile takes ROWS broadcast loads and ROWS * VECTORS fused multiply-adds.
 *
 * VQ_P0 ROWS: 6, 8 or 12; VQ_P1 VECTORS of 16 columns: 1 to 3. 12 x 2 and 8 x 3 fill 32 512-bit registers, 6 x 1 fills 16
 * 256-bit registers. 8 x 3 takes fewer loads a step than 12 x 2, and its rows' addresses fit the other registers. */
#ifndef TILE_F32_H
#define TILE_F32_H

#include "vq_local.h"

#define ROWS    VQ_P0
#define VECTORS VQ_P1
#define PANEL   (16 * VECTORS)

#if ROWS == 12
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#elif ROWS == 8
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif
#if VECTORS > 1
#define SECOND(x) x
#else
#define SECOND(x)
#endif
#if VECTORS > 2
#define THIRD(x) x
#else
#define THIRD(x)
#endif

/* One step: LOAD_PANEL, then EACH_ROW(STEP), where A_AT(r) is the step's element of row r. */
#define LOAD_PANEL(space, from)                                       \
    const float16 b0 = *(space const float16 *)(from);                \
    SECOND(const float16 b1 = *(space const float16 *)((from) + 16);) \
    THIRD(const float16 b2 = *(space const float16 *)((from) + 32);)
#define STEP(r)                            \
    {                                      \
        const float16 v = A_AT(r);         \
        p##r = fma(v, b0, p##r);           \
        SECOND(q##r = fma(v, b1, q##r);)   \
        THIRD(u##r = fma(v, b2, u##r);)    \
    }

/* Into float16 sums[ROWS * VECTORS]. */
#define KEEP(r)                           \
    sums[(r)*VECTORS] = p##r;             \
    SECOND(sums[(r)*VECTORS + 1] = q##r;) \
    THIRD(sums[(r)*VECTORS + 2] = u##r;)

/* count elements of rows j to j+3 of x, ld elements apart, as columns: to[i * PANEL .. + 3] are element i of each. Rows
 * beyond the last repeat that. */
VQ_LOCAL_FUNCTION void transpose_four(__local float *to, __global const float *x, int ld, int j, int last, int count)
{
    __global const float *const r0 = x + (size_t)min(j, last) * ld, *const r1 = x + (size_t)min(j + 1, last) * ld;
    __global const float *const r2 = x + (size_t)min(j + 2, last) * ld, *const r3 = x + (size_t)min(j + 3, last) * ld;
    int i = 0;
    for (; i + 4 <= count; i += 4, to += 4 * PANEL) {
        const float4 v0 = vload4(0, r0 + i), v1 = vload4(0, r1 + i), v2 = vload4(0, r2 + i), v3 = vload4(0, r3 + i);
        const float4 a = (float4)(v0.s0, v1.s0, v0.s1, v1.s1), c = (float4)(v0.s2, v1.s2, v0.s3, v1.s3);
        const float4 b = (float4)(v2.s0, v3.s0, v2.s1, v3.s1), d = (float4)(v2.s2, v3.s2, v2.s3, v3.s3);
        vstore4((float4)(a.s01, b.s01), 0, to);
        vstore4((float4)(a.s23, b.s23), 0, to + PANEL);
        vstore4((float4)(c.s01, d.s01), 0, to + 2 * PANEL);
        vstore4((float4)(c.s23, d.s23), 0, to + 3 * PANEL);
    }
    for (; i < count; i++, to += PANEL) vstore4((float4)(r0[i], r1[i], r2[i], r3[i]), 0, to);
}

#endif
