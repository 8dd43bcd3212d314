/* linear_f32 for CPUs: one work-item computes rows_per_item rows of one panel of columns, in register tiles (tile_f32.h,
 * VQ_P0 and VQ_P1, too). Weights are packed as [panel][k][PANEL], zeros beyond n. Grid: (panels, row blocks), work-groups
 * of one; as a part of a chain (row blocks), of all panels. */
#include "gelu_f32.h"
#include "tile_f32.h"
#include "vq_part.h"
#include "vq_vector.h"

/* 16 columns of a row, of which `cols` exist; epilogue: 1 GELU, 2 adds other. */
static void finish(__global float *y, __global const float *other, float16 value, int cols, int epilogue)
{
    if (epilogue == 1) value = gelu(value);
    if (cols >= 16) {
        if (epilogue == 2) value += LOAD_AT(float16, other);
        STORE_AT(float16, y) = value;
        return;
    }
    float spill[16] __attribute__((aligned(64)));
    *(float16 *)spill = value;
    for (int j = 0; j < cols; j++) y[j] = epilogue == 2 ? spill[j] + other[j] : spill[j];
}

/* ROWS x PANEL sums from row m0; rows beyond m repeat the last one. */
static void tile(float16 *sums, __global const float *x, __global const float *panel, const float16 *bias, int m0,
                 int m, int k)
{
#define ROW_START(r) __global const float *const x##r = x + (size_t)min(m0 + r, m - 1) * k;
    EACH_ROW(ROW_START)
#define SUM_START(r) float16 p##r = bias[0]; SECOND(float16 q##r = bias[1];) THIRD(float16 u##r = bias[2];)
    EACH_ROW(SUM_START)
    for (int i = 0; i < k; i++) {
#define A_AT(r) x##r[i]
        LOAD_PANEL(__global, panel + (size_t)i * PANEL)
        EACH_ROW(STEP)
    }
    EACH_ROW(KEEP)
}

/* Rows first..end-1 of the panel from column n0. */
static void columns(__global const float *x, __global const float *w, __global const float *bias,
                  __global const float *other, __global float *y, int has_bias, int epilogue, int first, int end, int n,
                  int k, int n0)
{
    float start[PANEL] __attribute__((aligned(64)));
    float16 sums[ROWS * VECTORS];
    for (int j = 0; j < PANEL; j++) start[j] = has_bias && n0 + j < n ? bias[n0 + j] : 0.0f;
    for (int m0 = first; m0 < end; m0 += ROWS) {
        tile(sums, x, w + (size_t)n0 * k, (const float16 *)start, m0, end, k);
        for (int r = 0; r < ROWS && m0 + r < end; r++)
            for (int v = 0; v < VECTORS && n0 + 16 * v < n; v++) {
                const size_t at = (size_t)(m0 + r) * n + n0 + 16 * v;
                finish(y + at, other + at, sums[r * VECTORS + v], n - n0 - 16 * v, epilogue);
            }
    }
}

VQ_ONE_ITEM_KERNEL void
linear_f32(__global const float *x, __global const float *w, __global const float *bias, __global const float *other,
           __global float *y, int has_bias, int epilogue, int m, int n, int k, int rows_per_item)
{
#ifdef VQ_PART
    const int first = VQ_FIRST_ROW(get_group_id(0), rows_per_item, m);
    const int end = VQ_FIRST_ROW(get_group_id(0) + 1, rows_per_item, m);
    for (int n0 = 0; n0 < n; n0 += PANEL)
        columns(x, w, bias, other, y, has_bias, epilogue, first, end, n, k, n0);
#else
    const int first = (int)get_group_id(1) * rows_per_item, end = min(first + rows_per_item, m);
    columns(x, w, bias, other, y, has_bias, epilogue, first, end, n, k, (int)get_group_id(0) * PANEL);
#endif
}
