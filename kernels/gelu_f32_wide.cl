/* gelu_f32 for CPUs: one work-item per VQ_P0 elements (a multiple of 16), 16 at a time: the vector erf is far faster than
 * one erf per work-item. Grid: (count / VQ_P0), work-groups of one. */
static float16 gelu(float16 x)
{
    return 0.5f * x * (1.0f + erf(x * 0.707106781f));
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gelu_f32(__global const float *x, __global float *y, int count)
{
    const size_t first = get_group_id(0) * (size_t)VQ_P0;
    const size_t end = min(first + VQ_P0, (size_t)count);
    size_t i = first;
    for (; i + 16 <= end; i += 16) vstore16(gelu(vload16(0, x + i)), 0, y + i);
    if (i == end) return;
    float tail[16];
    for (int j = 0; j < 16; j++) tail[j] = i + j < end ? x[i + j] : 0.0f;
    vstore16(gelu(vload16(0, tail)), 0, tail);
    for (int j = 0; i + j < end; j++) y[i + j] = tail[j];
}
