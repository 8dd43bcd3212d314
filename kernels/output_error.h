/* What the output_error kernels share: arguments and addresses. base/float_ops.h says what is computed,
 * ops/output_error.c fills the tables.
 *
 * Row m of batch (outer, inner) of x starts at x_offset + outer * x_outer + inner * x_inner + m * x_row elements; y alike.
 * consts s32 [batches][3][n_pad]: bits of the float scale, sum of the weights, w_zero; bias f32 [n_pad]; zero beyond n.
 * thresholds f32 [num][levels - 1]; values [num][levels]: s32, or f32 for error_f32.
 * partial f32 [batch][row panels][num]: sums of d^2, d being what the product lacks of the target without the bias. With
 * COSINE [batch][row panels][num][3]: sums of d^2, d p and p^2, p being the product.
 *
 * A candidate's operand is unit * (low - z_low + 256 * (high - z_high)) with low and high the two bytes of a code or of a
 * codebook's value; `high` only where planes is 2. */
#include "quantizer_f32.h"
#include "vq_local.h"

typedef struct candidate {
    float scale, zero, unit;
    int z_low, z_high, planes, unused0, unused1;
} candidate;

enum { FIELD_SCALE, FIELD_SUM, FIELD_W_ZERO, NUM_FIELDS };

#ifndef W_ZERO
#define W_ZERO 1
#endif

#define ERROR_ARGS(weight)                                                                                             \
    __global const float *restrict x, __global const float *restrict y, __global const weight *restrict w,             \
        __global const int *restrict consts, __global const float *restrict bias,                                      \
        __global const candidate *restrict candidates, __global const float *restrict thresholds,                      \
        __global const int *restrict values, __global float *restrict partial, int m, int n, int k, int n_pad,         \
        int num, int levels, int codebook, int inner, long x_offset, long x_outer, long x_inner, long x_row,           \
        long y_offset, long y_outer, long y_inner, long y_row, long w_batch, long consts_batch, int rows_per_item

/* Moves the operands to this work-group's batch: the grid's second dimension. */
#define TO_BATCH                                                                                                       \
    {                                                                                                                  \
        const long z = (long)get_group_id(1), z_outer = (int)z / inner;                                                \
        x += x_offset + z * x_inner + z_outer * (x_outer - inner * x_inner);                                           \
        y += y_offset + z * y_inner + z_outer * (y_outer - inner * y_inner);                                           \
        w += z * w_batch;                                                                                              \
    }

#define TO_CONSTS consts += (long)get_group_id(1) * consts_batch;

#ifndef COSINE
#define COSINE 0
#endif
#define TERMS (COSINE ? 3 : 1)

/* Where this work-group's sums for candidate j belong. */
#define PARTIAL_AT(j) (((get_group_id(1) * get_num_groups(0) + get_group_id(0)) * (size_t)num + (size_t)(j)) * TERMS)
