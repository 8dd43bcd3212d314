/* Inner parts of the lowering. The structure of the integer graph follows from the float graph alone (lower.c); its
 * parameters are either computed from the quantizers, or read from a file that was written after they had been. Both
 * end in the same proofs (prove.c), so what a kernel relies on holds for a hostile file too. */
#ifndef VQ_SRC_QUANT_LOWER_H
#define VQ_SRC_QUANT_LOWER_H

#include "quant/quant.h"

typedef struct vq_lowering {
    const vq_qmodel *m;
    const vq_safetensors *st; /* NULL: parameters are computed; else read from it */
    vq_int_graph *g;
    int *value_of; /* [graph->num_values] the integer value that holds it, -1: none */
} vq_lowering;

/* The same as vq_lower with parameters from the file. */
vq_status vq_lower_from_file(vq_int_graph **out, const vq_qmodel *m, const vq_safetensors *st);

/* Name of parameter `what` of an integer node in a file: "int.blocks.0.attn.qkv.bias". */
#define VQ_TENSOR_NAME_MAX 160
void vq_int_tensor_name(char out[VQ_TENSOR_NAME_MAX], const char *node, const char *what);

/* A fresh array for parameter `what` of a node: zeros when parameters are computed, else its contents in the file,
 * whose type and shape must be these. */
vq_status vq_lower_array(const vq_lowering *l, void *out_ptr, const char *node, const char *what, vq_dtype dtype,
                         vq_shape shape);
/* The same for a list of min..max elements whose length *count only the file knows. Only when reading. */
vq_status vq_lower_read_list(const vq_lowering *l, void *out_ptr, int *count, const char *node, const char *what,
                             vq_dtype dtype, int min, int max);
/* The same for one such list, or `lists` > 1 of one length: *num_lists is then 1 or lists. */
vq_status vq_lower_read_lists(const vq_lowering *l, void *out_ptr, int *num_lists, int *count, const char *node,
                              const char *what, vq_dtype dtype, int lists, int min, int max);

/* Fails unless q is uniform with 2..8 bits, 2^bits levels and integral zero points. node and what are for the message.
 */
vq_status vq_lower_check_uniform(const vq_quantizer *q, const char *node, const char *what);
/* Zero point of a checked quantizer's group. */
int64_t vq_lower_zero(const vq_quantizer *q, int group);

/* How the integer runtime sees the input of a linear node: real value = (a - zero) * scale with a in 0..a_max, in two bytes
 * where planes is 2. Of a uniform quantizer a is the code; of a codebook its decode value, without as many low bits as
 * keep the sums of any inputs in 32 bits (drop), and in one byte where the low bytes are all zero. */
typedef struct vq_input_form {
    double scale, zero; /* zero is whole for uniform quantizers */
    int a_max, planes, drop;
    bool spread; /* codes are not near that of 0 */
} vq_input_form;
vq_status vq_lower_input_form(vq_input_form *out, const vq_lowering *l, int linear);
/* a for code i of the node's input quantizer. */
int vq_lower_input_value(const vq_quantizer *q, const vq_input_form *form, int i);

/* What a GEMM's accumulator becomes: column n is rint(real value / step[n]) + offset[n]. */
typedef struct vq_gemm_target {
    vq_gemm_epilogue epilogue;
    int bits;              /* CODES */
    const double *step;    /* [n] */
    const int64_t *offset; /* [n] */
} vq_gemm_target;

/* Fills w (all zero before) for the LINEAR or PATCH_EMBED node with such an input. For TABLE the caller sets table,
 * table_low and table_len before. name is that of the integer node. */
vq_status vq_lower_gemm(const vq_lowering *l, vq_gemm_s8_weights *w, const char *name, int node,
                        const vq_input_form *input, const vq_gemm_target *target);

/* GELU and the next layer's input quantizer q as one table, w->table (and w->table_low where its form has two planes): a
 * of x is table[clip(rint(x / step) + offset)]. When reading from a file, step and offset are not needed and 1 and 0. */
vq_status vq_lower_gelu(const vq_lowering *l, vq_gemm_s8_weights *w, double *step, int64_t *offset, const char *name,
                        const vq_quantizer *q, const vq_input_form *form);

/* out_quantizer NULL: s32 with VQ_RESIDUAL_BITS fraction bits. */
vq_status vq_lower_layernorm(const vq_lowering *l, vq_layernorm_s32_weights *w, const char *name, int node,
                             const vq_quantizer *out_quantizer);
/* The same for a POOL node. */
vq_status vq_lower_pool(const vq_lowering *l, vq_pool_s32_weights *w, const char *name, int node,
                        const vq_quantizer *out_quantizer);

/* scores and context are the two nodes; out_quantizer is that of the linear behind them. */
vq_status vq_lower_attention(const vq_lowering *l, vq_attention_u8_weights *w, const char *name, int scores,
                             int context, const vq_quantizer *out_quantizer);

/* Leaves out the rows that nothing reads (prune_rows.c). */
vq_status vq_int_prune_rows(vq_int_graph *g);
/* vq_lower without that: the graph that a pruned one must agree with. */
vq_status vq_lower_all_rows(vq_int_graph **out, const vq_qmodel *m);

/* ---- proofs: the bounds that base/int_ops.h states ------------------------------------------------------------------
 */

vq_status vq_prove_gemm(const vq_gemm_s8_weights *w, const char *name);
vq_status vq_prove_layernorm(const vq_layernorm_s32_weights *w, const char *name);
vq_status vq_prove_pool(const vq_pool_s32_weights *w, const char *name);
vq_status vq_prove_attention(const vq_attention_u8_weights *w, const char *name, int tokens);
/* Largest sum over a row of probabilities in units of prob[]. */
double vq_attention_prob_sum(const uint16_t *prob, int prob_len, int prob_shift, int tokens);

#endif
