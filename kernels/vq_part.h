/* Kernels of one work-item a work-group that a chain of kernels (src/cl/chain.c) may call as functions: with VQ_PART they
 * are compiled as such. */
#ifndef VQ_PART_H
#define VQ_PART_H

/* The first of m rows that a work-group takes, m behind the last group. As a kernel: each takes `rows`. In a chain: as equal
 * shares of tiles of so many rows as there are work-groups. */
#ifdef VQ_PART
#define VQ_ONE_ITEM_KERNEL
#define VQ_FIRST_ROW(group, rows, m) vq_row_of_share((int)(group), (rows), (m))
static int vq_row_of_share(int group, int rows, int m)
{
    const int tiles = (m + rows - 1) / rows, groups = (int)get_num_groups(0);
    return min((group * tiles + groups - 1) / groups * rows, m);
}
#else
#define VQ_ONE_ITEM_KERNEL           __kernel __attribute__((reqd_work_group_size(1, 1, 1)))
#define VQ_FIRST_ROW(group, rows, m) min((int)(group) * (rows), (m))
#endif

#endif
