/* linear_f32 on a device. */
#include <string.h>

#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/row_chain.h"
#include "ops/variant_f32.h"

struct vq_linear_f32 {
    const vq_variant *variant;
    vq_buf *w; /* [panels][k][cols], zeros beyond n */
    int n, k;
};

/* Columns of a panel. */
static size_t panel_cols(const vq_variant *variant)
{
    return (size_t)variant->p[1] * (vq_variant_is_wide(variant) ? 16 : (size_t)variant->p[0]);
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

/* Tiles of rows that stay in the second cache while panel after panel passes by. */
static int most_tiles(const vq_linear_f32 *op)
{
    enum { CACHED = 96 << 10 };
    return VQ_MAX(CACHED / op->k / op->variant->p[0], 1);
}

/* Rows for one work-item of the wide kernel: no more than stay cached, and such that the threads share the work evenly.
 */
static int rows_per_item(const vq_device *dev, const vq_linear_f32 *op, int m, int panels)
{
    enum { ITEMS_PER_UNIT = 12 };
    const int tile = op->variant->p[0], tiles = VQ_CEIL_DIV(m, tile);
    const int items = ITEMS_PER_UNIT * VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    const int blocks = VQ_MIN(VQ_MAX(VQ_CEIL_DIV(tiles, most_tiles(op)), VQ_CEIL_DIV(items, panels)), tiles);
    return VQ_CEIL_DIV(tiles, blocks) * tile;
}

static const char name[] = "linear_f32";

static vq_status check_io(const vq_linear_f32 *op, const vq_linear_f32_io *io)
{
    const size_t rows = (size_t)io->m, x_count = rows * (size_t)op->k, y_count = rows * (size_t)op->n;
    if (io->m < 1) return vq_fail(VQ_ERR_SHAPE, "%s: M %d must be positive", name, io->m);
    VQ_TRY(vq_need(name, "x", io->x, x_count, sizeof(float)));
    VQ_TRY(vq_need(name, "y", io->y, y_count, sizeof(float)));
    if (io->bias) VQ_TRY(vq_need(name, "bias", io->bias, (size_t)op->n, sizeof(float)));
    return io->epilogue == VQ_LINEAR_ADD ? vq_need(name, "other", io->other, y_count, sizeof(float)) : VQ_OK;
}

enum { NUM_ARGS = 11 };

static void list_args(vq_arg args[NUM_ARGS], const vq_linear_f32 *op, const vq_linear_f32_io *io, int rows)
{
    const vq_arg all[NUM_ARGS] = {VQ_A_BUF(io->x),
                                  VQ_A_BUF(op->w),
                                  VQ_A_BUF(io->bias ? io->bias : io->x),
                                  VQ_A_BUF(io->epilogue == VQ_LINEAR_ADD ? io->other : io->x),
                                  VQ_A_BUF(io->y),
                                  VQ_A_I32(io->bias != NULL),
                                  VQ_A_I32((int)io->epilogue),
                                  VQ_A_I32(io->m),
                                  VQ_A_I32(op->n),
                                  VQ_A_I32(op->k),
                                  VQ_A_I32(rows)};
    memcpy(args, all, sizeof all);
}

vq_status vq_linear_f32_run(vq_device *dev, const vq_linear_f32 *op, const vq_linear_f32_io *io)
{
    const vq_variant *const variant = op->variant;
    const bool wide = vq_variant_is_wide(variant);
    const int panels = (int)VQ_CEIL_DIV((size_t)op->n, panel_cols(variant));
    vq_arg args[NUM_ARGS];
    vq_kernel *kernel = NULL;
    VQ_TRY(check_io(op, io));
    const int each = wide ? rows_per_item(dev, op, io->m, panels) : variant->p[0] * variant->p[1];
    const size_t side = wide ? 1 : (size_t)variant->p[0];
    const vq_grid grid = {{(size_t)panels, (size_t)VQ_CEIL_DIV(io->m, each)}, {side, side}};
    VQ_TRY(vq_kernel_get(&kernel, dev, variant, name, NULL));
    list_args(args, op, io, each);
    return vq_launch(dev, kernel, grid, args, NUM_ARGS);
}

/* ---- as a part of a chain of rows -------------------------------------------------------------------------------- */

void vq_linear_f32_part(vq_row_part *part, const vq_linear_f32 *op)
{
    static const char params[] = "__global const float *,__global const float *,__global const float *,"
                                 "__global const float *,__global float *,int,int,int,int,int,int";
    const int tile = op->variant->p[0];
    *part =
        (vq_row_part){.kernel = {op->variant, name, "", params}, .tile_rows = tile, .most_rows = most_tiles(op) * tile};
}

vq_status vq_linear_f32_part_args(vq_arg *args, int *count, const vq_linear_f32 *op, const vq_linear_f32_io *io,
                                  vq_row_share share)
{
    VQ_TRY(check_io(op, io));
    list_args(args, op, io, share.tile);
    *count = NUM_ARGS;
    return VQ_OK;
}
