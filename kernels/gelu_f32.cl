/* gelu_f32 for any device: one element per work-item. Grid: (count / VQ_P0). */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void gelu_f32(__global const float *x, __global float *y,
                                                                          int count)
{
    const size_t i = get_global_id(0);
    if (i < (size_t)count) y[i] = 0.5f * x[i] * (1.0f + erf(x[i] * 0.707106781f));
}
