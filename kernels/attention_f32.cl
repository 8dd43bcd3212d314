/* attention_f32 for any device: a work-group of ITEMS per row of queries of one head. p holds the row's t scores.
 * Grid: (rows, heads, images).
 *
 * VQ_P0 ITEMS. */
#include "vq_local.h"

#define ITEMS VQ_P0

/* What all items hold, combined: their sum, or with `top` the largest. */
VQ_LOCAL_FUNCTION float of_group(__local float *each, float mine, int top)
{
    const int item = (int)get_local_id(0);
    float all = mine;
    each[item] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 1; i < ITEMS; i++) {
        const float other = each[(item + i) % ITEMS];
        all = top ? fmax(all, other) : all + other;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return all;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_f32(__global const float *qkv, __global float *out, int t, int d, float scale, int rows_per_item,
              __local float *p)
{
    __local float each[ITEMS];
    const int item = (int)get_local_id(0), head = (int)get_group_id(1), width = (int)get_num_groups(1) * d;
    const size_t image = get_group_id(2), row = image * t + get_group_id(0);
    __global const float *const q = qkv + row * 3 * width + head * d;
    __global const float *const k = qkv + image * t * 3 * width + width + head * d, *const v = k + width;
    float top = -INFINITY, sum = 0.0f;
    for (int j = item; j < t; j += ITEMS) {
        float s = 0.0f;
        for (int i = 0; i < d; i++) s = fma(q[i], k[(size_t)j * 3 * width + i], s);
        p[j] = s * scale;
        top = fmax(top, p[j]);
    }
    top = of_group(each, top, 1);
    for (int j = item; j < t; j += ITEMS) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    sum = of_group(each, sum, 0);
    for (int i = item; i < d; i += ITEMS) {
        float y = 0.0f;
        for (int j = 0; j < t; j++) y = fma(p[j], v[(size_t)j * 3 * width + i], y);
        out[row * width + head * d + i] = y / sum;
    }
}
