/* Any bytes as a model.safetensors.index.json: what is accepted names plain files, each tensor once. */
#include <string.h>

#include "fuzz.h"
#include "graph/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_shard_index index;
    fuzz_quiet();
    if (vq_shard_index_parse(&index, "input", (const char *)data, bytes) != VQ_OK) return 0;
    fuzz_require(index.num_shards > 0 && index.num_entries >= index.num_shards);
    for (int i = 0; i < index.num_shards; i++) fuzz_require(!strchr(index.shards[i], '/') && index.shards[i][0] != '.');
    for (int i = 0; i < index.num_entries; i++) {
        fuzz_require(index.entries[i].shard >= 0 && index.entries[i].shard < index.num_shards);
        fuzz_require(i == 0 || strcmp(index.entries[i - 1].tensor, index.entries[i].tensor) < 0);
    }
    vq_shard_index_clear(&index);
    return 0;
}
