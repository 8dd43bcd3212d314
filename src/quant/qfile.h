/* Layout of OUT.vitq.safetensors, shared by reading and writing.
 *
 * __metadata__ "vitq": a JSON document
 *   format      VQ_FILE_FORMAT; any other fails with VQ_ERR_VERSION
 *   graph       the model's config as timm's hub writes it (architecture, model_args, pretrained_cfg, label_names),
 * with ln_eps and source_hash; values and nodes follow from it quantizers  one entry per quantized operand "NODE.SLOT":
 * kind, method, per, bits, levels, groups integer     whether the parameters of the integer graph are there manifest
 * recipe, seed, hashes, version, device: as the recipe wrote it Tensors: NODE.weight             codes, each of as many
 * bits as its quantizer has, the first in the lowest bits of the first byte, rows padded to whole bytes NODE.SLOT.scale .zero   F32 [groups];
 * .thresholds F32 [groups][levels-1] and .values U16 [groups][levels]: codebooks other parameters        F32, as in the
 * graph (biases, LayerNorms, position embedding), for the fake-quant mode int.NODE.*              parameters of the
 * integer graph (src/quant/lower_*.c) */
#ifndef VQ_SRC_QUANT_QFILE_H
#define VQ_SRC_QUANT_QFILE_H

#include "base/json.h"
#include "quant/quant.h"

#define VQ_FILE_FORMAT 1
#define VQ_FILE_KEY    "vitq"
#define VQ_CODES_KEY   "codes" /* how codes are packed; files of 0.1 have none, see qmodel_load.c */
#define VQ_CODES_DENSE "dense"

enum { VQ_NUM_SLOTS = 3 }; /* in[0], in[1], weight */

/* What a slot of a node is called, NULL where the node has no such operand. */
const char *vq_slot_name(vq_node_op op, int slot);
vq_quantizer *vq_slot(vq_qnode *qn, int slot);

/* "NODE.SLOT" and "NODE.SLOT.what". */
#define VQ_KEY_MAX 160
void vq_slot_key(char out[VQ_KEY_MAX], const vq_node *n, int slot);
void vq_slot_tensor(char out[VQ_KEY_MAX], const vq_node *n, int slot, const char *what);

extern const char *const vq_kind_names[3];        /* by vq_quantizer_kind */
extern const char *const vq_granularity_names[4]; /* by vq_granularity */

/* Bytes of a row of k codes of that many bits. */
int vq_packed_row(int k, int bits);

#endif
