/* gemm_f32 for CPUs: one work-item computes `rows_per_item` rows x one panel of columns of C. It packs its panel of B,
 * K_BLOCK rows at a time, as [k][PANEL] into local memory (which on a CPU is ordinary, cached memory) and runs register
 * tiles over it (tile_f32.h, VQ_P0 and VQ_P1, too). Grid: (panels, row chunks, batch), work-groups of one. */
#include "tile_f32.h"
#include "vq_vector.h"

#define K_BLOCK 512

typedef struct tile_args {
    int m, n, a_row, a_step, ldc, accumulate, rows_in, rows_out, row_first;
    float alpha;
} tile_args;

/* Packs B[k0 .. k0+k_len)[n0 .. n0+PANEL) as [k][PANEL]; columns beyond n become zeros. */
VQ_LOCAL_FUNCTION void pack_panel(__local float *panel, __global const float *b, int ldb, int trans_b, int n0, int n,
                                  int k0, int k_len)
{
    const int cols = min(PANEL, n - n0);
    if (!trans_b) {
        for (int k = 0; k < k_len; k++) {
            __global const float *const row = b + (size_t)(k0 + k) * ldb + n0;
            int j = 0;
            for (; j + 16 <= cols; j += 16) *(__local float16 *)(panel + k * PANEL + j) = LOAD_AT(float16, row + j);
            for (; j < PANEL; j++) panel[k * PANEL + j] = j < cols ? row[j] : 0.0f;
        }
        return;
    }
    for (int j = 0; j < PANEL; j += 4) transpose_four(panel + j, b + (size_t)n0 * ldb + k0, ldb, j, cols - 1, k_len);
}

/* One row of 16 columns at c, of which `cols` exist. */
static void store_row(__global float *c, float16 sum, float alpha, int cols, __global const float *bias, int add_c)
{
    float16 value = alpha * sum;
    if (cols >= 16) {
        if (bias) value += LOAD_AT(float16, bias);
        if (add_c) value += LOAD_AT(float16, c);
        STORE_AT(float16, c) = value;
        return;
    }
    float spill[16] __attribute__((aligned(64)));
    *(float16 *)spill = value;
    for (int j = 0; j < cols; j++) c[j] = spill[j] + (bias ? bias[j] : 0.0f) + (add_c ? c[j] : 0.0f);
}

static int c_row(const tile_args *t, int m)
{
    return t->rows_in ? m + m / t->rows_in * (t->rows_out - t->rows_in) + t->row_first : m;
}

/* ROWS x PANEL of C from row m0: rows beyond m repeat the last one and are not stored. */
VQ_LOCAL_FUNCTION void tile(const tile_args *t, __global const float *a, __local const float *panel,
                            __global const float *bias, __global float *c, int m0, int n0, int k_len)
{
#define ROW_START(r) __global const float *const a##r = a + (size_t)min(m0 + r, t->m - 1) * t->a_row;
    EACH_ROW(ROW_START)
#define ZERO(r) float16 p##r = 0.0f; SECOND(float16 q##r = 0.0f;) THIRD(float16 u##r = 0.0f;)
    EACH_ROW(ZERO)
    long at = 0; /* of the same k in each row */
    for (int k = 0; k < k_len; k++, at += t->a_step) {
#define A_AT(r) a##r[at]
        LOAD_PANEL(__local, panel + k * PANEL)
        EACH_ROW(STEP)
    }
    float16 sums[ROWS * VECTORS];
    EACH_ROW(KEEP)
    for (int r = 0; r < ROWS && m0 + r < t->m; r++) {
        __global float *const row = c + (size_t)c_row(t, m0 + r) * t->ldc;
        for (int v = 0; v < VECTORS && n0 + 16 * v < t->n; v++) {
            const int n = n0 + 16 * v;
            store_row(row + n, sums[r * VECTORS + v], t->alpha, t->n - n, bias ? bias + n : bias, t->accumulate);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_f32(__global const float *a, __global const float *b, __global const float *bias, __global float *c, int has_bias,
         int m, int n, int k, int lda, int ldb, int ldc, int trans_a, int trans_b, int accumulate, float alpha, int inner,
         long a_offset, long b_offset, long c_offset, long a_outer, long a_inner, long b_outer, long b_inner,
         long c_outer, long c_inner, int rows_in, int rows_out, int row_first, int rows_per_item)
{
    __local float panel[K_BLOCK * PANEL] __attribute__((aligned(64)));
    const int n0 = (int)get_group_id(0) * PANEL, first = (int)get_group_id(1) * rows_per_item;
    const long z = (long)get_group_id(2), z_outer = (int)z / inner;
    const int end = min(first + rows_per_item, m);
    tile_args t = {m, n, trans_a ? 1 : lda, trans_a ? lda : 1, ldc, accumulate, rows_in, rows_out, row_first, alpha};
    a += a_offset + z * a_inner + z_outer * (a_outer - inner * a_inner);
    b += b_offset + z * b_inner + z_outer * (b_outer - inner * b_inner);
    c += c_offset + z * c_inner + z_outer * (c_outer - inner * c_inner);
    for (int k0 = 0; k0 < k; k0 += K_BLOCK) {
        const int k_len = min(K_BLOCK, k - k0);
        pack_panel(panel, b, ldb, trans_b, n0, n, k0, k_len);
        for (int m0 = first; m0 < end; m0 += ROWS)
            tile(&t, a + (size_t)k0 * t.a_step, panel, has_bias && k0 == 0 ? bias : 0, c, m0, n0, k_len);
        t.accumulate = 1;
    }
}
