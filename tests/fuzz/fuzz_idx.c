/* Any bytes as an IDX file, from memory and, where they are gzip, from a file. */
#include <stdlib.h>

#include "fuzz.h"
#include "image/pixels.h"

static void check(const vq_idx *idx, vq_status status)
{
    size_t count = 1;
    fuzz_require((status == VQ_OK) == (idx->data != NULL));
    for (int i = 0; i < idx->num_dims && idx->data; i++) count *= idx->dims[i];
    if (idx->data) fuzz_touch(idx->data, count);
    free(idx->data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_idx idx;
    fuzz_quiet();
    const vq_status status = vq_idx_parse(&idx, "input", data, bytes);
    check(&idx, status);
    if (bytes < 2 || data[0] != 0x1f || data[1] != 0x8b) return 0;
    const char *const path = fuzz_file(data, bytes);
    const vq_status read = vq_idx_read(&idx, path);
    check(&idx, read);
    fuzz_require(read != VQ_OK || vq_idx_is(path));
    return 0;
}
