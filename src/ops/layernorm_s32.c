/* layernorm_s32 on a device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/args_int.h"
#include "ops/ops_int.h"
#include "ops/row_chain.h"

enum { MAX_C = 4095, LANES = 16 };

struct vq_layernorm_s32 {
    const vq_variant *variant;
    char options[48];
    vq_kernel *kernel; /* NULL: only a part of chains */
    vq_buf *mult, *bias, *shift;
    int c, code_max, rows_per_group;
    int merge_h, merge_w;
    bool one_item, set;
    int64_t c_eps;
    int32_t root; /* sqrt(C) * 2^23 */
    int local;
};

static vq_status check_weights(const vq_layernorm_s32_weights *w)
{
    if (w->c < 1 || w->c > MAX_C || (!w->set && (w->bits < 1 || w->bits > 8)) || w->eps < 1 || w->eps >> 32)
        return vq_fail(VQ_ERR_INVALID_ARG, "layernorm_s32: %d channels, %d bits, eps %llu * 2^-32", w->c, w->bits,
                       (unsigned long long)w->eps);
    if (w->merge_h < 0 || w->merge_w < 0 || !w->merge_h != !w->merge_w || (w->merge_h && w->c % 4))
        return vq_fail(VQ_ERR_INVALID_ARG, "layernorm_s32: %d channels merged from a grid of %d x %d", w->c, w->merge_h,
                       w->merge_w);
    for (int i = 0; i < w->c; i++)
        if (w->shift[i] < 1 || w->shift[i] > 62 || w->mult[i] == INT32_MIN || w->bias[i] >= (int64_t)1 << 61 ||
            w->bias[i] <= -((int64_t)1 << 61))
            return vq_fail(VQ_ERR_INVALID_ARG, "layernorm_s32: channel %d has multiplier %d, bias %lld, shift %d", i,
                           w->mult[i], (long long)w->bias[i], w->shift[i]);
    return VQ_OK;
}

static int32_t root_of(uint64_t v)
{
    uint64_t r = 0;
    for (uint64_t bit = (uint64_t)1 << 29; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= v) r += bit;
    return (int32_t)r;
}

/* Place of channel i among spread ones (kernels/layernorm_s32.h). */
static size_t spread(size_t i)
{
    return i / LANES * LANES + i % 2 * (LANES / 2) + i % LANES / 2;
}

static vq_status create_consts(vq_layernorm_s32 *op, vq_device *dev, const vq_layernorm_s32_weights *w)
{
    const size_t c = (size_t)w->c, padded = VQ_ROUND_UP(c, LANES);
    int32_t *mult = NULL;
    int64_t *bias = NULL;
    uint64_t *shift = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&mult, padded, sizeof *mult, "layernorm_s32 multipliers"));
    VQ_GO(vq_alloc(&bias, padded, sizeof *bias, "layernorm_s32 biases"));
    VQ_GO(vq_alloc(&shift, padded, sizeof *shift, "layernorm_s32 shifts"));
    for (size_t i = 0; i < c; i++) {
        mult[i] = w->mult[i];
        bias[spread(i)] = w->bias[i] + ((int64_t)1 << (w->shift[i] - 1));
        shift[spread(i)] = w->shift[i];
    }
    VQ_GO(vq_buf_create_from(&op->mult, dev, mult, padded * sizeof *mult));
    VQ_GO(vq_buf_create_from(&op->bias, dev, bias, padded * sizeof *bias));
    VQ_GO(vq_buf_create_from(&op->shift, dev, shift, padded * sizeof *shift));
done:
    free(mult);
    free(bias);
    free(shift);
    return status;
}

static vq_status create(vq_layernorm_s32 *op, vq_device *dev, const vq_layernorm_s32_weights *w)
{
    VQ_TRY(check_weights(w));
    op->variant = vq_variant_choose(dev, VQ_OP_LAYERNORM_S32);
    op->c = w->c;
    op->merge_h = w->merge_h;
    op->merge_w = w->merge_w;
    op->set = w->set;
    op->code_max = w->set ? 0 : (1 << w->bits) - 1;
    op->c_eps = (int64_t)((uint64_t)w->c * w->eps);
    op->root = root_of((uint64_t)w->c << 46);
    op->one_item = vq_variant_is_wide(op->variant);
    op->local = op->one_item ? 1 : op->variant->p[0];
    op->rows_per_group = op->one_item ? op->variant->p[0] : 1;
    snprintf(op->options, sizeof op->options, "%s%s", w->set ? "-DLAYERNORM_SET " : "",
             w->merge_h ? "-DLAYERNORM_MERGE" : "");
    return create_consts(op, dev, w);
}

vq_status vq_layernorm_s32_create_part(vq_layernorm_s32 **out, vq_device *dev, const vq_layernorm_s32_weights *weights)
{
    VQ_TRY(vq_alloc(out, 1, sizeof **out, "a layer normalization"));
    const vq_status status = create(*out, dev, weights);
    if (status != VQ_OK) vq_layernorm_s32_destroy(out);
    return status;
}

vq_status vq_layernorm_s32_create(vq_layernorm_s32 **out, vq_device *dev, const vq_layernorm_s32_weights *weights)
{
    VQ_TRY(vq_layernorm_s32_create_part(out, dev, weights));
    vq_layernorm_s32 *const op = *out;
    const vq_status status = vq_kernel_get(&op->kernel, dev, op->variant, "layernorm_s32", op->options);
    if (status != VQ_OK) vq_layernorm_s32_destroy(out);
    return status;
}

size_t vq_layernorm_s32_device_bytes(const vq_layernorm_s32 *op)
{
    return vq_buf_bytes(op->mult) + vq_buf_bytes(op->bias) + vq_buf_bytes(op->shift);
}

void vq_layernorm_s32_destroy(vq_layernorm_s32 **op_ptr)
{
    vq_layernorm_s32 *const op = *op_ptr;
    if (!op) return;
    vq_buf_destroy(&op->shift);
    vq_buf_destroy(&op->bias);
    vq_buf_destroy(&op->mult);
    free(op);
    *op_ptr = NULL;
}

static vq_status check_io(const vq_layernorm_s32 *op, const vq_layernorm_s32_io *io)
{
    const int merged = VQ_CEIL_DIV(op->merge_h, 2) * VQ_CEIL_DIV(op->merge_w, 2), cols = merged ? op->c / 4 : op->c;
    const int m = io->m;
    if (m < 1 || io->ldx < cols || io->ld_codes < op->c || (merged && m % merged))
        return vq_fail(VQ_ERR_SHAPE, "layernorm_s32: M %d, C %d, row strides %d and %d", m, op->c, io->ldx,
                       io->ld_codes);
    const size_t rows = merged ? (size_t)(m / merged) * (size_t)op->merge_h * (size_t)op->merge_w : (size_t)m;
    VQ_TRY(vq_need_bytes("layernorm_s32", "x", io->x, vq_rows_bytes(rows, io->ldx, cols, sizeof(int32_t))));
    return vq_need_bytes("layernorm_s32", "codes", io->codes,
                         vq_rows_bytes((size_t)m, io->ld_codes, op->c, op->set ? sizeof(int32_t) : 1));
}

enum { NUM_ARGS = 15 };

static void list_args(vq_arg args[NUM_ARGS], const vq_layernorm_s32 *op, const vq_layernorm_s32_io *io, int rows)
{
    const vq_arg all[NUM_ARGS] = {
        VQ_A_BUF(io->x),     VQ_A_I32(io->ldx),      VQ_A_BUF(op->mult),    VQ_A_BUF(op->bias),    VQ_A_BUF(op->shift),
        VQ_A_BUF(io->codes), VQ_A_I32(io->ld_codes), VQ_A_I32(io->m),       VQ_A_I32(op->c),       VQ_A_I64(op->c_eps),
        VQ_A_I32(op->root),  VQ_A_I32(op->code_max), VQ_A_I32(op->merge_h), VQ_A_I32(op->merge_w), VQ_A_I32(rows)};
    memcpy(args, all, sizeof all);
}

vq_status vq_layernorm_s32_run(vq_device *dev, const vq_layernorm_s32 *op, const vq_layernorm_s32_io *io)
{
    vq_arg args[NUM_ARGS];
    VQ_TRY(check_io(op, io));
    const vq_grid grid = {{VQ_CEIL_DIV((size_t)io->m, (size_t)op->rows_per_group)}, {(size_t)op->local}};
    list_args(args, op, io, op->rows_per_group);
    return vq_launch(dev, op->kernel, grid, args, NUM_ARGS);
}

/* ---- as a part of a chain of rows -------------------------------------------------------------------------------- */

/* LAYERNORM_ARGS, for results of bytes and of ints */
#define PARAMS(type)                                                                                            \
    "__global const int *,int,__global const int *,__global const long *,__global const ulong *,__global " type \
    " *,int,int,int,ulong,uint,int,int,int,int"

void vq_layernorm_s32_part(vq_row_part *part, const vq_layernorm_s32 *op)
{
    const char *const types = op->set ? PARAMS("int") : PARAMS("uchar");
    *part = (vq_row_part){.kernel = {op->variant, "layernorm_s32", op->options, types}, .tile_rows = 1};
}

vq_status vq_layernorm_s32_part_args(vq_arg *args, int *count, const vq_layernorm_s32 *op,
                                     const vq_layernorm_s32_io *io, vq_row_share share)
{
    VQ_TRY(check_io(op, io));
    list_args(args, op, io, share.tile);
    *count = NUM_ARGS;
    return VQ_OK;
}
