/* Several row-wise ops in one launch: a work-group takes some rows through all of them, one after the other. Rows of codes
 * and hidden values that pass between the ops stay in the caches, and threads meet once a chain instead of once an op. For
 * devices whose variants of the ops give a work-group one work-item. */
#ifndef VQ_SRC_ROW_CHAIN_H
#define VQ_SRC_ROW_CHAIN_H

#include "ops/ops_f32.h"
#include "ops/ops_int.h"

enum { VQ_ROW_CHAIN_MOST = VQ_MOST_PARTS };

/* Whether the variants that the device uses of a product and a LayerNorm can be parts of a chain. */
bool vq_row_chain_fits(vq_device *dev, vq_op product, vq_op layernorm);

/* Ops without kernels of their own, to be parts alone; else as those of ops_int.h. */
vq_status vq_gemm_s8_create_part(vq_gemm_s8 **out, vq_device *dev, const vq_gemm_s8_weights *weights, vq_storage storage);
vq_status vq_layernorm_s32_create_part(vq_layernorm_s32 **out, vq_device *dev, const vq_layernorm_s32_weights *weights);

/* An op, one of them or with none of them a layernorm_f32, and where it reads and writes. Row r of its output depends on row r of its input and of earlier
 * ops' outputs alone; m is the same for all; products are of one variant and have no row map, LayerNorms merge nothing. */
typedef struct vq_row_op {
    const vq_gemm_s8 *gemm;
    const vq_layernorm_s32 *layernorm;
    const vq_linear_f32 *linear;
} vq_row_op;
typedef union vq_row_io {
    vq_gemm_s8_io gemm;
    vq_layernorm_s32_io layernorm;
    vq_linear_f32_io linear;
    vq_layernorm_f32_io layernorm_f32;
} vq_row_io;

/* Does some ops in one launch; they outlive it. VQ_ERR_BUILD where the compiler refuses it, after a warning: they can
 * still run one by one, created anew. count: 1 to VQ_ROW_CHAIN_MOST. One thread at a time. */
typedef struct vq_row_chain vq_row_chain;
/* Whether two chains of so many ops are one kernel, which is compiled once. */
bool vq_row_chain_alike(vq_device *dev, const vq_row_op *a, const vq_row_op *b, int count);
vq_status vq_row_chain_create(vq_row_chain **out, vq_device *dev, const vq_row_op *ops, int count);
void vq_row_chain_destroy(vq_row_chain **chain);
/* ios [count]. Enqueued, not waited for. */
vq_status vq_row_chain_run(vq_device *dev, const vq_row_chain *chain, const vq_row_io *ios);

/* ---- between the ops and the chain ------------------------------------------------------------------------------- */

typedef struct vq_row_part {
    vq_kernel_part kernel;
    int tile_rows, most_rows; /* of a work-group; most_rows 0: any number */
} vq_row_part;

enum { VQ_PART_ARGS = 24 }; /* at most */

/* Work-groups take shares of tiles of so many rows, `most` rows at most (kernels/vq_part.h). */
typedef struct vq_row_share {
    int tile, most;
} vq_row_share;

/* args [VQ_PART_ARGS] */
void vq_gemm_s8_part(vq_row_part *part, const vq_gemm_s8 *op);
vq_status vq_gemm_s8_part_args(vq_arg *args, int *count, const vq_gemm_s8 *op, const vq_gemm_s8_io *io, vq_row_share share);
void vq_layernorm_s32_part(vq_row_part *part, const vq_layernorm_s32 *op);
vq_status vq_layernorm_s32_part_args(vq_arg *args, int *count, const vq_layernorm_s32 *op,
                                     const vq_layernorm_s32_io *io, vq_row_share share);
void vq_linear_f32_part(vq_row_part *part, const vq_linear_f32 *op);
vq_status vq_linear_f32_part_args(vq_arg *args, int *count, const vq_linear_f32 *op, const vq_linear_f32_io *io,
                                  vq_row_share share);
void vq_layernorm_f32_part(vq_row_part *part, vq_device *dev);
vq_status vq_layernorm_f32_part_args(vq_arg *args, int *count, const vq_layernorm_f32_io *io, vq_row_share share);

#endif
