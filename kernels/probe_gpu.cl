/* Known-answer kernel of the GPU's ways to multiply: C [32][32] += A u8 [32][32] * W s8 [32][32] transposed, by the macros
 * that the kernels use. A row that needs a capability runs only where this gave the answer of plain C. */
#include "vq_dot.h"

#define SIZE 32

__kernel __attribute__((reqd_work_group_size(16, 16, 1))) void probe(__global const uint *a, __global const uint *w,
                                                                     __global int *c)
{
    for (int row = (int)get_local_id(1); row < SIZE; row += 16)
        for (int col = (int)get_local_id(0); col < SIZE; col += 16) {
            int acc = c[row * SIZE + col], sum = 0;
            for (int k = 0; k < SIZE / 4; k++) {
                acc = DOT4(acc, a[row * (SIZE / 4) + k], FLIP4(w[col * (SIZE / 4) + k]));
                sum = DOT4(sum, a[row * (SIZE / 4) + k], 0x01010101u);
            }
            c[row * SIZE + col] = acc - DOT4_BIAS * sum;
        }
}
