/* tokens_s32: every image starts from the same init[count]. Grid: (count / VQ_P0, images), one work-item per value. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void tokens_s32(__global const int *init,
                                                                           __global int *out, int count)
{
    const int i = (int)get_global_id(0);
    if (i < count) out[(size_t)get_group_id(1) * count + i] = init[i];
}
