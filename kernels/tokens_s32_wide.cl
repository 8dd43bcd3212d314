/* tokens_s32 for CPUs: one work-item copies VQ_P0 values. Grid: (count / VQ_P0, images), work-groups of one. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void tokens_s32(__global const int *init, __global int *out,
                                                                       int count)
{
    const int end = min((int)(get_group_id(0) + 1) * VQ_P0, count);
    __global int *const row = out + (size_t)get_group_id(1) * count;
    int i = (int)get_group_id(0) * VQ_P0;
    for (; i + 16 <= end; i += 16) vstore16(vload16(0, init + i), 0, row + i);
    for (; i < end; i++) row[i] = init[i];
}
