/* Kernels of one work-item a work-group that a chain of kernels (src/cl/chain.c) may call as functions: with VQ_PART they
 * are compiled as such. */
#ifndef VQ_PART_H
#define VQ_PART_H

#ifdef VQ_PART
#define VQ_ONE_ITEM_KERNEL
#else
#define VQ_ONE_ITEM_KERNEL __kernel __attribute__((reqd_work_group_size(1, 1, 1)))
#endif

#endif
