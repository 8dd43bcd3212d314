/* gelu_f32 for CPUs: one work-item per VQ_P0 elements (a multiple of 16), 16 at a time. Grid: (count / VQ_P0),
 * work-groups of one. */
#include "gelu_f32.h"
#include "vq_vector.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gelu_f32(__global const float *x, __global float *y,
                                                                      int count)
{
    const size_t first = get_group_id(0) * (size_t)VQ_P0;
    const size_t end = min(first + VQ_P0, (size_t)count);
    size_t i = first;
    for (; i + 16 <= end; i += 16) STORE_AT(float16, y + i) = gelu(LOAD_AT(float16, x + i));
    if (i == end) return;
    float tail[16] __attribute__((aligned(64)));
    for (int j = 0; j < 16; j++) tail[j] = i + j < end ? x[i + j] : 0.0f;
    *(float16 *)tail = gelu(*(float16 *)tail);
    for (int j = 0; i + j < end; j++) y[i + j] = tail[j];
}
