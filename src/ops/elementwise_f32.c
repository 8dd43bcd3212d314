/* The small memory-bound float ops on a device. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"

/* The kernel, and a grid of its work-groups over count elements in each of rows x planes. */
static vq_status prepare(vq_kernel **kernel, vq_grid *grid, vq_device *dev, const char *function, size_t count,
                         size_t rows, size_t planes)
{
    const vq_variant *const variant = vq_variant_choose(dev, VQ_OP_ELEMENTWISE_F32);
    const size_t width = (size_t)variant->p[0];
    *grid = (vq_grid){{VQ_CEIL_DIV(count, width), rows, planes}, {width, 1, 1}};
    return vq_kernel_get(kernel, dev, variant, function, NULL);
}

vq_status vq_add_f32_run(vq_device *dev, const vq_buf *a, const vq_buf *b, const vq_buf *y, size_t count)
{
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (!count) return VQ_OK;
    VQ_TRY(vq_need("add_f32", "a", a, count, sizeof(float)));
    VQ_TRY(vq_need("add_f32", "b", b, count, sizeof(float)));
    VQ_TRY(vq_need("add_f32", "y", y, count, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, "add_f32", count, 1, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(a), VQ_A_BUF(b), VQ_A_BUF(y), VQ_A_I32((int)count));
}

vq_status vq_broadcast_f32_run(vq_device *dev, const vq_buf *init, size_t count, const vq_buf *out, int batch)
{
    static const char op[] = "broadcast_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (!count || batch < 1) return vq_fail(VQ_ERR_SHAPE, "%s: %d images of %zu must be positive", op, batch, count);
    VQ_TRY(vq_need(op, "init", init, count, sizeof(float)));
    VQ_TRY(vq_need(op, "out", out, count * (size_t)batch, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, count, (size_t)batch, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(init), VQ_A_BUF(out), VQ_A_I32((int)count));
}

vq_status vq_add_rows_f32_run(vq_device *dev, const vq_buf *x, size_t x_count, const vq_buf *y, size_t y_count,
                              size_t first, int batch)
{
    static const char op[] = "add_rows_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (!x_count || batch < 1 || first > y_count || x_count > y_count - first)
        return vq_fail(VQ_ERR_SHAPE, "%s: %zu elements from %zu do not fit into %zu, batch %d", op, x_count, first,
                       y_count, batch);
    VQ_TRY(vq_need(op, "x", x, x_count * (size_t)batch, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, y_count * (size_t)batch, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, x_count, (size_t)batch, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32((int)x_count), VQ_A_BUF(y), VQ_A_I32((int)y_count),
                     VQ_A_I32((int)first));
}

vq_status vq_mean_rows_f32_run(vq_device *dev, const vq_buf *x, int rows, int cols, int first, int count,
                               const vq_buf *y, int y_cols, int y_first, int batch)
{
    static const char op[] = "mean_rows_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (cols < 1 || count < 1 || first < 0 || first > rows - count || y_first < 0 || y_first > y_cols - cols ||
        batch < 1)
        return vq_fail(VQ_ERR_SHAPE, "%s: rows %d to %d of %d, %d columns to column %d of %d, batch %d", op, first,
                       first + count - 1, rows, cols, y_first, y_cols, batch);
    VQ_TRY(vq_need(op, "x", x, (size_t)batch * (size_t)rows * (size_t)cols, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, (size_t)batch * (size_t)y_cols, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, (size_t)cols, (size_t)batch, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(rows), VQ_A_I32(cols), VQ_A_I32(first), VQ_A_I32(count),
                     VQ_A_BUF(y), VQ_A_I32(y_cols), VQ_A_I32(y_first));
}

vq_status vq_gather_rows_f32_run(vq_device *dev, const vq_buf *x, int x_rows, const vq_buf *map, const vq_buf *pad,
                                 const vq_buf *y, int rows, int cols, int batch)
{
    static const char op[] = "gather_rows_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (x_rows < 1 || rows < 1 || cols < 1 || batch < 1 || rows > (INT32_MAX - 65536) / cols)
        return vq_fail(VQ_ERR_SHAPE, "%s: %d rows of %d from %d, batch %d", op, rows, cols, x_rows, batch);
    VQ_TRY(vq_need(op, "x", x, (size_t)batch * (size_t)x_rows * (size_t)cols, sizeof(float)));
    VQ_TRY(vq_need(op, "map", map, (size_t)rows, sizeof(int32_t)));
    VQ_TRY(vq_need(op, "pad", pad, (size_t)cols, sizeof(float)));
    VQ_TRY(vq_need(op, "y", y, (size_t)batch * (size_t)rows * (size_t)cols, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, (size_t)rows * (size_t)cols, (size_t)batch, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_I32(x_rows), VQ_A_BUF(map), VQ_A_BUF(pad), VQ_A_BUF(y),
                     VQ_A_I32(rows), VQ_A_I32(cols));
}

vq_status vq_window_bias_f32_run(vq_device *dev, const vq_buf *y, const vq_buf *bias, const vq_buf *region, float mask,
                                 int windows, int heads, int t, int batch)
{
    static const char op[] = "window_bias_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (windows < 1 || heads < 1 || t < 1 || t > 4095 || batch < 1)
        return vq_fail(VQ_ERR_SHAPE, "%s: %d windows of %d tokens, %d heads, batch %d", op, windows, t, heads, batch);
    const size_t square = (size_t)t * (size_t)t;
    VQ_TRY(vq_need(op, "y", y, (size_t)batch * (size_t)windows * (size_t)heads * square, sizeof(float)));
    VQ_TRY(vq_need(op, "bias", bias, (size_t)heads * square, sizeof(float)));
    VQ_TRY(vq_need(op, "region", region, (size_t)windows * (size_t)t, sizeof(int32_t)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, square, (size_t)windows * (size_t)heads, (size_t)batch));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(y), VQ_A_BUF(bias), VQ_A_BUF(region), VQ_A_F32(mask), VQ_A_I32(heads),
                     VQ_A_I32(t));
}

vq_status vq_scale_columns_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *factor, size_t rows, int cols)
{
    static const char op[] = "scale_columns_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (!rows || cols < 1) return vq_fail(VQ_ERR_SHAPE, "%s: %zu rows of %d must be positive", op, rows, cols);
    VQ_TRY(vq_need(op, "x", x, rows * (size_t)cols, sizeof(float)));
    VQ_TRY(vq_need(op, "factor", factor, (size_t)cols, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, rows * (size_t)cols, 1, 1));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(x), VQ_A_BUF(factor), VQ_A_I32(cols),
                     VQ_A_I32((int)(rows * (size_t)cols)));
}

vq_status vq_rescale_f32_run(vq_device *dev, const vq_buf *y, const vq_buf *low, const vq_buf *scale, bool by_row,
                             const vq_buf *bias, int planes, int rows, int cols)
{
    static const char op[] = "rescale_f32";
    vq_kernel *kernel = NULL;
    vq_grid grid;
    if (planes < 1 || rows < 1 || cols < 1)
        return vq_fail(VQ_ERR_SHAPE, "%s: %d planes of %d x %d must be positive", op, planes, rows, cols);
    const size_t count = (size_t)planes * (size_t)rows * (size_t)cols;
    VQ_TRY(vq_need(op, "y", y, count, sizeof(float)));
    if (low) VQ_TRY(vq_need(op, "low", low, count, sizeof(float)));
    VQ_TRY(vq_need(op, "scale", scale, (size_t)(by_row ? rows : cols), sizeof(float)));
    if (bias) VQ_TRY(vq_need(op, "bias", bias, (size_t)cols, sizeof(float)));
    VQ_TRY(prepare(&kernel, &grid, dev, op, (size_t)cols, (size_t)rows, (size_t)planes));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(y), VQ_A_BUF(low ? low : y), VQ_A_I32(low != NULL), VQ_A_BUF(scale),
                     VQ_A_I32(by_row), VQ_A_BUF(bias ? bias : scale), VQ_A_I32(bias != NULL), VQ_A_I32(cols));
}
