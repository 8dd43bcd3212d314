/* Greedy by size, as most planners of static graphs do: the largest items are placed first, each at the lowest offset
 * where nothing alive at the same time lies. */
#include "graph/plan.h"

#include <stdlib.h>

static bool alive_together(const vq_plan_item *a, const vq_plan_item *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int larger_first(const void *x, const void *y)
{
    const vq_plan_item *a = *(const vq_plan_item *const *)x, *b = *(const vq_plan_item *const *)y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a < b ? -1 : a > b;
}

static int lower_offset_first(const void *x, const void *y)
{
    const vq_plan_item *a = *(const vq_plan_item *const *)x, *b = *(const vq_plan_item *const *)y;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

vq_status vq_plan_memory(vq_plan_item *items, int num_items, size_t align, size_t *total)
{
    vq_plan_item **order = NULL, **busy = NULL;
    vq_status status = VQ_OK;
    *total = 0;
    VQ_GO(vq_alloc(&order, (size_t)num_items, sizeof *order, "memory plan"));
    VQ_GO(vq_alloc(&busy, (size_t)num_items, sizeof *busy, "memory plan"));
    for (int i = 0; i < num_items; i++) order[i] = &items[i];
    qsort(order, (size_t)num_items, sizeof *order, larger_first);

    for (int i = 0; i < num_items; i++) {
        vq_plan_item *const item = order[i];
        int num_busy = 0;
        item->offset = 0;
        if (item->bytes == 0) continue;
        for (int j = 0; j < i; j++)
            if (alive_together(item, order[j])) busy[num_busy++] = order[j];
        qsort(busy, (size_t)num_busy, sizeof *busy, lower_offset_first);
        for (int j = 0; j < num_busy; j++) {
            if (item->offset + item->bytes <= busy[j]->offset) break;
            item->offset = VQ_MAX(item->offset, VQ_ROUND_UP(busy[j]->offset + busy[j]->bytes, align));
        }
        *total = VQ_MAX(*total, item->offset + item->bytes);
    }
done:
    free(order);
    free(busy);
    return status;
}
