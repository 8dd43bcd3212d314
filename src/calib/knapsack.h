/* Choosing one option of every item at the least total error within a limit of total cost: the multiple-choice
 * knapsack. */
#ifndef VQ_SRC_KNAPSACK_H
#define VQ_SRC_KNAPSACK_H

#include "base/base.h"

enum { VQ_MAX_OPTIONS = 8 };

typedef struct vq_knapsack_item {
    int num_options;
    double cost[VQ_MAX_OPTIONS], error[VQ_MAX_OPTIONS]; /* finite, >= 0 */
} vq_knapsack_item;

typedef struct vq_knapsack_result {
    double cost, error;
    double bound; /* no choice within the limit has a smaller error; equal to error where the choice is proven best */
} vq_knapsack_result;

/* Fills choice [num_items]; equal problems have equal choices. Fails with VQ_ERR_INVALID_ARG where even the cheapest
 * options together are over the limit; *out then has their cost.
 * Exact unless more than 2^16 partial choices, none of them better than another in both cost and error, stay in
 * question; then the best of those of nearly equal cost are kept, and the bound says how far off the result may be. */
vq_status vq_knapsack_solve(int *choice, vq_knapsack_result *out, const vq_knapsack_item *items, int num_items,
                            double limit);

#endif
