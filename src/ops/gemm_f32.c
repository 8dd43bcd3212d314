/* gemm_f32 on a device: our kernels, or CLBlast's with a start from the bias. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"

#include <string.h>

/* Elements of an operand from its offset to its last one. */
static size_t extent(size_t rows, size_t cols, int ld, size_t outer, size_t outer_stride, size_t inner,
                     size_t inner_stride)
{
    return (outer - 1) * outer_stride + (inner - 1) * inner_stride + (rows - 1) * (size_t)ld + cols;
}

static size_t c_rows(const vq_gemm_f32_shape *s)
{
    const int last = s->m - 1;
    return (size_t)(s->rows_in ? last / s->rows_in * s->rows_out + last % s->rows_in + s->row_first : last) + 1;
}

static vq_status need_operand(const char *what, const vq_buf *buf, size_t offset, size_t elements)
{
    if (!buf || buf->bytes / sizeof(float) < offset + elements)
        return vq_fail(VQ_ERR_SHAPE, "gemm_f32: %s needs %zu elements, its buffer has %zu bytes", what,
                       offset + elements, buf ? buf->bytes : 0);
    return VQ_OK;
}

static vq_status check(const vq_gemm_f32_shape *s, const vq_buf *a, const vq_buf *b, const vq_buf *bias,
                       const vq_buf *c)
{
    if (s->m < 1 || s->n < 1 || s->k < 1 || s->outer < 1 || s->inner < 1)
        return vq_fail(VQ_ERR_SHAPE, "gemm_f32: M %d, N %d, K %d, batch %d x %d must be positive", s->m, s->n, s->k,
                       s->outer, s->inner);
    if (s->lda < (s->trans_a ? s->m : s->k) || s->ldb < (s->trans_b ? s->k : s->n) || s->ldc < s->n)
        return vq_fail(VQ_ERR_SHAPE, "gemm_f32: rows overlap: M %d, N %d, K %d with lda %d, ldb %d, ldc %d", s->m, s->n,
                       s->k, s->lda, s->ldb, s->ldc);
    if (s->rows_in && (s->rows_in < 0 || s->row_first < 0 || s->rows_out < s->rows_in || s->outer * s->inner != 1))
        return vq_fail(VQ_ERR_SHAPE, "gemm_f32: row map %d of %d from %d does not fit batch %d x %d", s->rows_in,
                       s->rows_out, s->row_first, s->outer, s->inner);
    const size_t outer = (size_t)s->outer, inner = (size_t)s->inner, m = (size_t)s->m, n = (size_t)s->n,
                 k = (size_t)s->k;
    VQ_TRY(need_operand("A", a, s->a_offset,
                        extent(s->trans_a ? k : m, s->trans_a ? m : k, s->lda, outer, s->a_outer, inner, s->a_inner)));
    VQ_TRY(need_operand("B", b, s->b_offset,
                        extent(s->trans_b ? n : k, s->trans_b ? k : n, s->ldb, outer, s->b_outer, inner, s->b_inner)));
    VQ_TRY(need_operand("C", c, s->c_offset, extent(c_rows(s), n, s->ldc, outer, s->c_outer, inner, s->c_inner)));
    return bias ? need_operand("bias", bias, 0, n) : VQ_OK;
}

/* ---- our kernels ------------------------------------------------------------------------------------------------- */

/* Rows for one work-item of the wide kernel: every item packs its panel of B anew, so few of them; but enough for the
 * threads to share the work evenly. */
static int rows_per_item(const vq_device *dev, const vq_gemm_f32_shape *s, size_t panels, int tile_rows)
{
    enum { ITEMS_PER_UNIT = 16, MAX_ROWS = 768 };
    const size_t batch = (size_t)s->outer * (size_t)s->inner;
    const size_t items = ITEMS_PER_UNIT * (size_t)vq_device_get_info(dev)->compute_units;
    const size_t chunks = VQ_MAX(VQ_CEIL_DIV(items, panels * batch), (size_t)VQ_CEIL_DIV(s->m, MAX_ROWS));
    return VQ_ROUND_UP((int)VQ_CEIL_DIV((size_t)s->m, chunks), tile_rows);
}

static vq_status run_kernel(vq_device *dev, const vq_variant *variant, const vq_gemm_f32_shape *s, const vq_buf *a,
                            const vq_buf *b, const vq_buf *bias, const vq_buf *c)
{
    const bool wide = strstr(variant->file, "wide") != NULL;
    const size_t tile_cols = (size_t)variant->p[1] * (wide ? 16 : (size_t)variant->p[0]);
    const size_t side = wide ? 1 : (size_t)variant->p[0], panels = VQ_CEIL_DIV((size_t)s->n, tile_cols);
    const int rows = wide ? rows_per_item(dev, s, panels, variant->p[0]) : variant->p[0] * variant->p[1];
    const vq_grid grid = {{panels, (size_t)VQ_CEIL_DIV(s->m, rows), (size_t)s->outer * (size_t)s->inner},
                          {side, side, 1}};
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, "gemm_f32", NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(a), VQ_A_BUF(b), VQ_A_BUF(bias ? bias : b), VQ_A_BUF(c),
                     VQ_A_I32(bias != NULL), VQ_A_I32(s->m), VQ_A_I32(s->n), VQ_A_I32(s->k), VQ_A_I32(s->lda),
                     VQ_A_I32(s->ldb), VQ_A_I32(s->ldc), VQ_A_I32(s->trans_a), VQ_A_I32(s->trans_b),
                     VQ_A_I32(s->accumulate), VQ_A_F32(s->alpha), VQ_A_I32(s->inner), VQ_A_I64((int64_t)s->a_offset),
                     VQ_A_I64((int64_t)s->b_offset), VQ_A_I64((int64_t)s->c_offset), VQ_A_I64((int64_t)s->a_outer),
                     VQ_A_I64((int64_t)s->a_inner), VQ_A_I64((int64_t)s->b_outer), VQ_A_I64((int64_t)s->b_inner),
                     VQ_A_I64((int64_t)s->c_outer), VQ_A_I64((int64_t)s->c_inner), VQ_A_I32(s->rows_in),
                     VQ_A_I32(s->rows_out), VQ_A_I32(s->row_first), VQ_A_I32(rows));
}

/* ---- CLBlast ----------------------------------------------------------------------------------------------------- */

static vq_status start_from_bias(vq_device *dev, const vq_variant *variant, const vq_gemm_f32_shape *s,
                                 const vq_buf *bias, const vq_buf *c, size_t c_offset)
{
    const size_t width = (size_t)variant->p[0];
    const vq_grid grid = vq_grid_over((size_t)s->m * (size_t)s->n, width);
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, "gemm_f32_bias", NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(bias), VQ_A_BUF(c), VQ_A_I64((int64_t)c_offset), VQ_A_I32(s->m),
                     VQ_A_I32(s->n), VQ_A_I32(s->ldc), VQ_A_I32(s->accumulate), VQ_A_I32(s->rows_in),
                     VQ_A_I32(s->rows_out), VQ_A_I32(s->row_first));
}

/* A row map is a batch of products with the same B: whole runs of rows_in rows, then the rest. */
static vq_status run_mapped(vq_device *dev, const vq_gemm_f32_shape *s, vq_clblast_sgemm call)
{
    const int runs = s->m / s->rows_in, rest = s->m % s->rows_in;
    call.c_offset += (size_t)s->row_first * (size_t)s->ldc;
    call.a_stride = (size_t)s->rows_in * (s->trans_a ? 1 : (size_t)s->lda);
    call.c_stride = (size_t)s->rows_out * (size_t)s->ldc;
    call.b_stride = 0;
    call.m = s->rows_in;
    call.batch = runs;
    if (runs) VQ_TRY(vq_clblast_run(dev, &call));
    if (!rest) return VQ_OK;
    call.a_offset += (size_t)runs * call.a_stride;
    call.c_offset += (size_t)runs * call.c_stride;
    call.m = rest;
    call.batch = 1;
    return vq_clblast_run(dev, &call);
}

static vq_status run_clblast(vq_device *dev, const vq_variant *variant, const vq_gemm_f32_shape *s, const vq_buf *a,
                             const vq_buf *b, const vq_buf *bias, const vq_buf *c)
{
    for (size_t o = 0; o < (size_t)s->outer; o++) {
        const vq_clblast_sgemm call = {.a = a,
                                       .b = b,
                                       .c = c,
                                       .a_offset = s->a_offset + o * s->a_outer,
                                       .b_offset = s->b_offset + o * s->b_outer,
                                       .c_offset = s->c_offset + o * s->c_outer,
                                       .m = s->m,
                                       .n = s->n,
                                       .k = s->k,
                                       .lda = s->lda,
                                       .ldb = s->ldb,
                                       .ldc = s->ldc,
                                       .trans_a = s->trans_a,
                                       .trans_b = s->trans_b,
                                       .alpha = s->alpha,
                                       .beta = s->accumulate || bias ? 1.0f : 0.0f,
                                       .batch = s->inner,
                                       .a_stride = s->a_inner,
                                       .b_stride = s->b_inner,
                                       .c_stride = s->c_inner};
        for (size_t i = 0; bias && i < (size_t)s->inner; i++)
            VQ_TRY(start_from_bias(dev, variant, s, bias, c, call.c_offset + i * s->c_inner));
        VQ_TRY(s->rows_in ? run_mapped(dev, s, call) : vq_clblast_run(dev, &call));
    }
    return VQ_OK;
}

vq_status vq_gemm_f32_run(vq_device *dev, const vq_gemm_f32_shape *shape, const vq_buf *a, const vq_buf *b,
                          const vq_buf *bias, const vq_buf *c)
{
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_GEMM_F32);
    vq_gemm_f32_shape s = *shape;
    if (s.alpha == 0.0f) s.alpha = 1.0f;
    if (!s.outer) s.outer = 1;
    if (!s.inner) s.inner = 1;
    VQ_TRY(check(&s, a, b, bias, c));
    if (variant->needs & VQ_CAP_CLBLAST) return run_clblast(dev, variant, &s, a, b, bias, c);
    return run_kernel(dev, variant, &s, a, b, bias, c);
}
