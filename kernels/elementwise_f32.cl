/* The small memory-bound ops, for any device: one element per work-item. Grid: (count / VQ_P0), further dimensions as
 * said. Here and in the other portable kernels a / b and a % b do not stand side by side: the compiler would make an
 * instruction of them (freeze) that Oclgrind does not know. */
#include "vq_real.h"

#pragma OPENCL FP_CONTRACT OFF

#define OP __kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void

OP add_f32(__global const float *a, __global const float *b, __global float *y, int count)
{
    const size_t i = get_global_id(0);
    if (i < (size_t)count) y[i] = a[i] + b[i];
}

/* Grid: (count / VQ_P0, images). */
OP broadcast_f32(__global const float *init, __global float *out, int count)
{
    const size_t i = get_global_id(0);
    if (i < (size_t)count) out[get_group_id(1) * count + i] = init[i];
}

/* Grid: (x_count / VQ_P0, images). */
OP add_rows_f32(__global const float *x, int x_count, __global float *y, int y_count, int first)
{
    const size_t i = get_global_id(0);
    if (i < (size_t)x_count) y[get_group_id(1) * y_count + first + i] += x[get_group_id(1) * x_count + i];
}

/* Grid: (cols / VQ_P0, images). */
OP mean_rows_f32(__global const float *x, int rows, int cols, int first, int count, __global float *y, int y_cols,
                 int y_first)
{
    const size_t i = get_global_id(0), image = get_group_id(1);
    if (i >= (size_t)cols) return;
    __global const float *const from = x + (image * rows + first) * cols + i;
    vq_real sum = 0;
    for (int r = 0; r < count; r++) sum += (vq_real)from[(size_t)r * cols];
    y[image * y_cols + y_first + i] = (float)(sum / count);
}

/* Row r of the output is row map[r] of the input, or pad where that is negative. Grid: (rows * cols / VQ_P0, images). */
OP gather_rows_f32(__global const float *x, int x_rows, __global const int *map, __global const float *pad,
                   __global float *y, int rows, int cols)
{
    const int i = (int)get_global_id(0), row = i / cols, col = i - row * cols;
    const size_t image = get_group_id(1);
    if (row >= rows) return;
    const int from = map[row];
    y[(image * rows + row) * cols + col] = from < 0 ? pad[col] : x[(image * x_rows + from) * cols + col];
}

/* Scores of windows [images][windows][heads][t][t]: bias [heads][t][t] is added, and mask where the regions [windows][t]
 * of the two tokens differ. Grid: (t * t / VQ_P0, windows * heads, images). */
OP window_bias_f32(__global float *y, __global const float *bias, __global const int *region, float mask, int heads,
                   int t)
{
    const int i = (int)get_global_id(0), row = i / t, col = i - row * t;
    const int all = (int)get_num_groups(1), at = (int)get_group_id(1), window = at / heads, head = at - window * heads;
    const size_t square = (size_t)t * t, first = (get_group_id(2) * all + at) * square;
    if (row >= t) return;
    const int apart = region[window * t + row] != region[window * t + col];
    y[first + i] += bias[head * square + i] + (apart ? mask : 0.0f);
}

/* Grid: (count / VQ_P0). */
OP scale_columns_f32(__global float *x, __global const float *factor, int cols, int count)
{
    const size_t i = get_global_id(0);
    if (i < (size_t)count) x[i] *= factor[i % cols];
}

/* Grid: (cols / VQ_P0, rows, planes). With by_row, row r of every plane has a factor, else column c. */
OP rescale_f32(__global float *y, __global const float *low, int has_low, __global const float *scale, int by_row,
               __global const float *bias, int has_bias, int cols)
{
    const size_t c = get_global_id(0), r = get_group_id(1);
    if (c >= (size_t)cols) return;
    const size_t at = (get_group_id(2) * get_num_groups(1) + r) * cols + c;
    float v = y[at];
    if (has_low) v = v * 256.0f + low[at];
    v *= scale[by_row ? r : c];
    y[at] = has_bias ? v + bias[c] : v;
}
