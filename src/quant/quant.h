/* Quantizers, quantized models, and their lowering to integers. No device. */
#ifndef VQ_SRC_QUANT_H
#define VQ_SRC_QUANT_H

#include "base/float_ops.h"
#include "base/int_ops.h"
#include "graph/graph.h"

typedef enum vq_quantizer_kind { VQ_QUANTIZER_NONE, VQ_QUANTIZER_UNIFORM, VQ_QUANTIZER_CODEBOOK } vq_quantizer_kind;

/* Along what the parameters of a quantizer differ (base/float_ops.h, vq_groups). */
typedef enum vq_granularity { VQ_PER_TENSOR, VQ_PER_HEAD, VQ_PER_CHANNEL, VQ_PER_ROW } vq_granularity;

/* Uniform or codebook; {0} quantizes nothing. Arrays are owned.
 * uniform:  q = clip(rint(x / scale) + zero, 0, levels-1),  x^ = (q - zero) * scale
 * codebook: q = number of thresholds <= x,                  x^ = (values[q] - zero) * scale;  values ascending, 16-bit
 *           fixed point whose largest entry is 65535 (for uniform ones 255 * 256 or a little less: all low bytes are
 *           zero); what softmax gives has zero 0 */
typedef struct vq_quantizer {
    vq_quantizer_kind kind;
    vq_granularity granularity;
    int bits, levels;    /* levels == 2^bits, but for recipes that imitate official code (levels 2^bits + 1, not lowered) */
    int groups;
    float *scale;        /* [groups] > 0 */
    float *zero;         /* [groups], integral except in imitations of official code; a codebook's is 0..65535 */
    float *thresholds;   /* codebook: [groups][levels-1], ascending */
    uint16_t *values;    /* codebook: [groups][levels] */
    char method[24];     /* "uniform", "log_sqrt2", ... */
} vq_quantizer;

vq_status vq_quantizer_uniform(vq_quantizer *out, vq_granularity granularity, int groups, int bits);
void vq_quantizer_clear(vq_quantizer *q);
vq_status vq_quantizer_clone(vq_quantizer *out, const vq_quantizer *q);

/* Uniform parameters from a range, as RepQ-ViT: scale = (hi - lo) / (levels - 1), zero = rint(-lo / scale). A degenerate
 * range (hi - lo below FLT_MIN*levels) gets a scale that represents the constant exactly enough and never NaN. */
void vq_uniform_from_range(float *scale, float *zero, float lo, float hi, int levels);

/* Real factor > 0 (or 0) to mult in [2^30, 2^31) and shift in [1, 62] with factor ~= mult * 2^-shift (half up; 0 gives mult
 * 0). False where the factor is too large or small for them. */
bool vq_mult_shift(int32_t *mult, uint8_t *shift, double factor);

/* Bits of one node: of its weights, and of its inputs (Q, K and V at the SCORES node, probabilities at the CONTEXT). */
typedef struct vq_bits {
    uint8_t weight, input;
} vq_bits;

/* A quantized model: the graph, whose weights are gone, its quantizers, codes, and where it can be lowered the integers. */
typedef struct vq_qnode {
    vq_quantizer in[2];  /* of the node's inputs: LINEAR in[0]; SCORES in[0] = Q, in[1] = K; CONTEXT in[0] = P, in[1] = V */
    vq_quantizer weight; /* PATCH_EMBED and LINEAR; VQ_PER_ROW */
    uint8_t *codes;      /* weight codes [N][K], 0 .. levels-1 */
} vq_qnode;

typedef struct vq_int_graph vq_int_graph;

typedef struct vq_qmodel {
    vq_graph *graph;     /* LayerNorms and biases as the recipe left them; data of quantized weights is NULL */
    vq_qnode *nodes;     /* [graph->num_nodes] */
    vq_int_graph *ints;  /* NULL where official_levels made lowering impossible */
    char *manifest;      /* JSON object: recipe, bits, seed, samples, hashes, version, device */
} vq_qmodel;

void vq_qmodel_destroy(vq_qmodel **m);
/* W^ = (code - zero) * scale of node i into out [N*K]. */
void vq_qmodel_weight_f32(float *out, const vq_qmodel *m, int node);
/* The same without the scale: code - zero. */
void vq_qmodel_weight_whole(float *out, const vq_qmodel *m, int node);

/* ---- The integer graph: what src/run executes in VQ_MODE_INT, from u8 pixels to s32 logits. ---------------------- */

typedef enum vq_int_op { VQ_INT_PATCHIFY, VQ_INT_TOKENS, VQ_INT_GEMM, VQ_INT_LAYERNORM, VQ_INT_ATTENTION, VQ_INT_POOL } vq_int_op;

/* Per image [rows][pitch]; codes u8 with pitch a multiple of VQ_CODE_PITCH, or s32 with pitch == cols. A second plane, of
 * low bytes, begins plane_pitch columns behind the first where pitch is 2 * plane_pitch. */
typedef struct vq_int_value {
    int rows, cols, pitch, plane_pitch;
    bool s32;
} vq_int_value;

typedef struct vq_int_node {
    vq_int_op op;
    char *name;          /* of the graph node that ends in it */
    int in, out;         /* values; TOKENS has in == -1; a GEMM with epilogue ADD adds into out */
    union {
        vq_patchify_shape patchify;                              /* batch unused */
        struct { int32_t *init; int count; } tokens;
        struct { vq_gemm_s8_weights w; int rows, row_step, rows_in, rows_out, row_first; } gemm; /* as layernorm's */
        struct { vq_layernorm_s32_weights w; int rows, row_step; } layernorm; /* rows per image; row r reads row r*row_step */
        struct { vq_attention_u8_weights w; int tokens; } attention;
        vq_pool_s32_weights pool;
    } u;                 /* the arrays behind the const pointers are owned by the int graph */
} vq_int_node;

struct vq_int_graph {
    int num_values, num_nodes;
    vq_int_value *values; /* value 0: pixels u8 [height*width][chans] (pitch == cols) */
    vq_int_node *nodes;   /* the last one's out: logits s32 [1][num_classes], VQ_RESIDUAL_BITS fraction bits */
};

/* Lowers a calibrated model (graph, quantizers, codes) to integers. Proves the bounds of base/int_ops.h from the code
 * ranges and fails with VQ_ERR_UNSUPPORTED and the node's name where one does not hold. */
vq_status vq_lower(vq_int_graph **out, const vq_qmodel *m);
void vq_int_graph_destroy(vq_int_graph **g);

/* ---- Files: OUT.vitq.safetensors ---------------------------------------------------------------------------------- */
/* Bytes of the file that save would write. */
vq_status vq_qmodel_file_bytes(double *bytes, const vq_qmodel *m);
vq_status vq_qmodel_save(const vq_qmodel *m, const char *path);
/* Everything is checked: the integer graph of a hostile file never makes a kernel read or write out of bounds. */
vq_status vq_qmodel_load(vq_qmodel **out, const char *path);
bool vq_qmodel_is_file(const vq_safetensors *st); /* has our metadata key */

#endif
