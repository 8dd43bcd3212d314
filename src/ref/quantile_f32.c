/* Witness of quantile_f32: copies every group and sorts it. */
#include "ref/ref_f32.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

vq_status vq_ref_quantile_f32(const vq_groups *g, const float *x, const size_t *ranks, int num_ranks, float *out)
{
    const size_t n = g->count / (size_t)g->groups;
    float *sorted = NULL;
    VQ_TRY(vq_alloc(&sorted, n, sizeof *sorted, "sorted group"));
    for (size_t group = 0; group < (size_t)g->groups; group++) {
        size_t at = 0;
        for (size_t start = group * g->inner; start < g->count; start += (size_t)g->groups * g->inner)
            for (size_t i = 0; i < g->inner; i++) sorted[at++] = x[start + i];
        qsort(sorted, n, sizeof *sorted, ascending);
        for (int r = 0; r < num_ranks; r++) out[group * (size_t)num_ranks + (size_t)r] = sorted[ranks[r]];
    }
    free(sorted);
    return VQ_OK;
}
