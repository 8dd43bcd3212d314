/* linear_f32 on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

struct vq_linear_f32 {
    const vq_variant *variant;
    vq_buf *w; /* [panels][k][cols], zeros beyond n */
    int n, k;
};

/* Columns of a panel. */
static size_t panel_cols(const vq_variant *variant)
{
    return (size_t)variant->p[1] * (vq_is_wide(variant) ? 16 : (size_t)variant->p[0]);
}

vq_status vq_linear_f32_create(vq_linear_f32 **out, vq_device *dev, int n, int k)
{
    vq_linear_f32 *op = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    if (n < 1 || k < 1 || (size_t)n * (size_t)k > INT32_MAX)
        return vq_fail(VQ_ERR_SHAPE, "linear_f32: N %d, K %d", n, k);
    VQ_TRY(vq_alloc(&op, 1, sizeof *op, "a linear layer"));
    op->variant = vq_variant_choose(dev, VQ_OP_LINEAR_F32);
    op->n = n;
    op->k = k;
    const size_t rows = VQ_ROUND_UP((size_t)n, panel_cols(op->variant));
    VQ_GO(vq_buf_create(&op->w, dev, rows * (size_t)k * sizeof(float)));
    *out = op;
    op = NULL;
done:
    vq_linear_f32_destroy(&op);
    return status;
}

void vq_linear_f32_destroy(vq_linear_f32 **op)
{
    if (!*op) return;
    vq_buf_destroy(&(*op)->w);
    free(*op);
    *op = NULL;
}

size_t vq_linear_f32_bytes(const vq_linear_f32 *op)
{
    return op->w->bytes;
}

vq_status vq_linear_f32_set(vq_linear_f32 *op, vq_device *dev, const float *w)
{
    const size_t cols = panel_cols(op->variant), n = (size_t)op->n, k = (size_t)op->k;
    float *packed = NULL;
    VQ_TRY(vq_alloc(&packed, op->w->bytes / sizeof *packed, sizeof *packed, "packed weights"));
    for (size_t first = 0; first < n; first += cols)
        for (size_t i = 0; i < k; i++)
            for (size_t j = first; j < VQ_MIN(first + cols, n); j++)
                packed[(first * k) + i * cols + j - first] = w[j * k + i];
    const vq_status status = vq_buf_write(dev, op->w, 0, packed, op->w->bytes);
    free(packed);
    return status;
}

/* Rows for one work-item of the wide kernel: few enough that they stay in the second cache while panel after panel
 * passes by, and that the threads share the work evenly. */
static int rows_per_item(const vq_device *dev, const vq_linear_f32 *op, int m, int panels)
{
    enum { ITEMS_PER_UNIT = 12, CACHED = 96 << 10 };
    const int tile = op->variant->p[0], tiles = VQ_CEIL_DIV(m, tile);
    const int items = ITEMS_PER_UNIT * VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    const int most = VQ_MAX(CACHED / op->k / tile, 1);
    const int blocks = VQ_MIN(VQ_MAX(VQ_CEIL_DIV(tiles, most), VQ_CEIL_DIV(items, panels)), tiles);
    return VQ_CEIL_DIV(tiles, blocks) * tile;
}

vq_status vq_linear_f32_run(vq_device *dev, const vq_linear_f32 *op, int m, const vq_buf *x, const vq_buf *bias,
                            vq_linear_epilogue epilogue, const vq_buf *other, const vq_buf *y)
{
    static const char name[] = "linear_f32";
    const vq_variant *const variant = op->variant;
    const bool wide = vq_is_wide(variant);
    const int panels = (int)VQ_CEIL_DIV((size_t)op->n, panel_cols(variant));
    const size_t rows = (size_t)m, x_count = rows * (size_t)op->k, y_count = rows * (size_t)op->n;
    if (m < 1) return vq_fail(VQ_ERR_SHAPE, "%s: M %d must be positive", name, m);
    VQ_TRY(vq_need(name, "x", x, x_count, sizeof(float)));
    VQ_TRY(vq_need(name, "y", y, y_count, sizeof(float)));
    if (bias) VQ_TRY(vq_need(name, "bias", bias, (size_t)op->n, sizeof(float)));
    if (epilogue == VQ_LINEAR_ADD) VQ_TRY(vq_need(name, "other", other, y_count, sizeof(float)));
    const int each = wide ? rows_per_item(dev, op, m, panels) : variant->p[0] * variant->p[1];
    const size_t side = wide ? 1 : (size_t)variant->p[0];
    const vq_grid grid = {{(size_t)panels, (size_t)VQ_CEIL_DIV(m, each)}, {side, side}};
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, name, NULL));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_BUF(op->w), VQ_A_BUF(bias ? bias : x),
                     VQ_A_BUF(epilogue == VQ_LINEAR_ADD ? other : x), VQ_A_BUF(y), VQ_A_I32(bias != NULL),
                     VQ_A_I32((int)epilogue), VQ_A_I32(m), VQ_A_I32(op->n), VQ_A_I32(op->k), VQ_A_I32(each));
}
