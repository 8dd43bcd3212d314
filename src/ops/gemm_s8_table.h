/* The table of gemm_s8's epilogue in the forms that kernels/gemm_s8_wide.cl looks up in registers. */
#ifndef VQ_SRC_GEMM_S8_TABLE_H
#define VQ_SRC_GEMM_S8_TABLE_H

#include "base/int_ops.h"

typedef struct vq_gemm_s8_form {
    int segments;  /* of the table as steps; 0: it is not */
    int run_steps; /* of a search for the run of an entry; 0: there is none */
    int buckets;   /* rows of 16 buckets; 0: it has not that form */
    int split;     /* as steps: where falling blocks end; in buckets: the bits of an entry below its bucket */
} vq_gemm_s8_form;

/* The entries, those of two planes side by side, and from the next multiple of 64 bytes on what finds them in
 * registers. needs: VQ_CAP_* that the kernel's variant relies on. free() releases *out. Fails only for memory. */
vq_status vq_gemm_s8_table_create(uint8_t **out, size_t *size, vq_gemm_s8_form *form, const vq_gemm_s8_weights *w,
                                  unsigned needs);

#endif
