/* Static memory plan: values with known lifetimes share one arena. Plain host code, no device. */
#ifndef VQ_SRC_PLAN_H
#define VQ_SRC_PLAN_H

#include "base/base.h"

/* Something that must stay in memory while steps first..last run (inclusive). */
typedef struct vq_plan_item {
    size_t bytes;
    int first, last;
    size_t offset; /* out: multiple of the alignment; items whose lifetimes meet never overlap */
} vq_plan_item;

/* Places the items largest first at the lowest offset that is free for their lifetime; *total is the arena's size.
 * align is a power of two. Items of 0 bytes get offset 0. Fails only for memory. */
vq_status vq_plan_memory(vq_plan_item *items, int num_items, size_t align, size_t *total);

#endif
