/* The weights of a model folder: one safetensors file, or the shards that a model.safetensors.index.json lists. */
#ifndef VQ_SRC_GRAPH_WEIGHTS_H
#define VQ_SRC_GRAPH_WEIGHTS_H

#include "base/safetensors.h"

typedef struct vq_weights vq_weights;

/* path: a .safetensors file, or (it ends in ".json") an index, whose shards lie beside it. Every tensor that an index lists
 * is in the shard it names, and no other tensor is in any. Names of shards that are not plain file names, missing
 * shards, tensors listed twice or not at all fail with a line that names them. */
vq_status vq_weights_open(vq_weights **out, const char *path);
void vq_weights_destroy(vq_weights **weights);

int vq_weights_count(const vq_weights *weights);
/* Tensor i, and (where st is not NULL) the file that holds it. */
const vq_st_tensor *vq_weights_at(const vq_weights *weights, int i, const vq_safetensors **st);
const vq_st_tensor *vq_weights_find(const vq_weights *weights, const char *name, const vq_safetensors **st);
const char *vq_weights_path(const vq_weights *weights); /* as opened, for messages */
/* XXH3 of the file, or of the shards' hashes in the order of their names. */
vq_status vq_weights_hash(char out[33], const vq_weights *weights);

/* ---- the index alone: tests and fuzzing ---------------------------------------------------------------------------- */

typedef struct vq_shard_entry {
    char *tensor;
    int shard;
} vq_shard_entry;

typedef struct vq_shard_index {
    int num_shards, num_entries;
    char **shards;           /* file names, sorted, each once */
    vq_shard_entry *entries; /* sorted by tensor, each once */
} vq_shard_index;

vq_status vq_shard_index_parse(vq_shard_index *out, const char *path, const char *json, size_t bytes);
void vq_shard_index_clear(vq_shard_index *index);

#endif
