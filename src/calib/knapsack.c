/* Lagrangian relaxation for a first choice and a bound, then dynamic programming over the partial choices that the
 * bound leaves in question. */
#include "calib/knapsack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STATES = 1 << 16, HALVINGS = 200 };

/* Choices for the items so far. */
typedef struct state {
    double cost, error;
    int32_t parent; /* in the list before */
    int32_t option;
} state;

typedef struct link {
    int32_t parent, option;
} link;

typedef struct knapsack {
    const vq_knapsack_item *items;
    int n;
    double limit, price;            /* error per unit of cost at which the relaxation is best */
    double *rest_error, *rest_cost; /* [n + 1] of items i.. : least error + price * cost; least cost */
    int *best;                      /* [n] the best choice known */
    double best_error;
    state *list, *next; /* sorted by cost, error falling */
    int count, capacity;
    link **links; /* [n][states] */
    bool merged;
} knapsack;

static void totals(const knapsack *k, const int *choice, double *cost, double *error)
{
    *cost = *error = 0;
    for (int i = 0; i < k->n; i++) {
        *cost += k->items[i].cost[choice[i]];
        *error += k->items[i].error[choice[i]];
    }
}

/* ---- relaxation ----------------------------------------------------------------------------------------------------
 */

/* The option with the least error + price * cost; of equal ones the cheapest. */
static int cheapest_at(const vq_knapsack_item *item, double price)
{
    int best = 0;
    for (int j = 1; j < item->num_options; j++) {
        const double a = item->error[j] + price * item->cost[j], b = item->error[best] + price * item->cost[best];
        if (a < b || (a == b && item->cost[j] < item->cost[best])) best = j;
    }
    return best;
}

static double cost_at(const knapsack *k, double price)
{
    double cost = 0;
    for (int i = 0; i < k->n; i++) cost += k->items[i].cost[cheapest_at(&k->items[i], price)];
    return cost;
}

static double least_cost(const vq_knapsack_item *item)
{
    double least = item->cost[0];
    for (int j = 1; j < item->num_options; j++) least = fmin(least, item->cost[j]);
    return least;
}

/* The smallest price (nearly) at which what every item would choose by itself is within the limit. */
static double find_price(const knapsack *k)
{
    double low = 0, high = 1e-12;
    if (cost_at(k, 0) <= k->limit) return 0;
    while (cost_at(k, high) > k->limit && high < 1e300) high *= 2;
    for (int i = 0; i < HALVINGS && low < high; i++) {
        const double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        if (cost_at(k, middle) > k->limit)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* What the relaxation leaves of the limit goes to single options of less error, the largest gain first. */
static void improve(const knapsack *k, int *choice)
{
    for (;;) {
        double cost, error, most = 0;
        int item = -1, option = 0;
        totals(k, choice, &cost, &error);
        for (int i = 0; i < k->n; i++) {
            const vq_knapsack_item *const it = &k->items[i];
            for (int j = 0; j < it->num_options; j++) {
                const double gain = it->error[choice[i]] - it->error[j];
                if (gain <= most || cost + it->cost[j] - it->cost[choice[i]] > k->limit) continue;
                most = gain;
                item = i;
                option = j;
            }
        }
        if (item < 0) return;
        choice[item] = option;
    }
}

static vq_status relax(knapsack *k)
{
    double cost;
    VQ_TRY(vq_alloc(&k->rest_error, (size_t)k->n + 1, sizeof *k->rest_error, "knapsack"));
    VQ_TRY(vq_alloc(&k->rest_cost, (size_t)k->n + 1, sizeof *k->rest_cost, "knapsack"));
    k->price = find_price(k);
    for (int i = k->n - 1; i >= 0; i--) {
        const vq_knapsack_item *const it = &k->items[i];
        const int j = cheapest_at(it, k->price);
        k->best[i] = j;
        k->rest_error[i] = k->rest_error[i + 1] + it->error[j] + k->price * it->cost[j];
        k->rest_cost[i] = k->rest_cost[i + 1] + least_cost(it);
    }
    totals(k, k->best, &cost, &k->best_error);
    if (cost > k->limit) /* prices ended before the limit was met: errors are all equal or absurd */
        for (int i = 0; i < k->n; i++) k->best[i] = cheapest_at(&k->items[i], 1e300);
    improve(k, k->best);
    totals(k, k->best, &cost, &k->best_error);
    return VQ_OK;
}

/* No way to go on from there has a smaller error. */
static double bound_of(const knapsack *k, int items_done, double cost, double error)
{
    return error + k->rest_error[items_done] - k->price * (k->limit - cost);
}

/* ---- dynamic programming -------------------------------------------------------------------------------------------
 */

static int by_cost(const void *a, const void *b)
{
    const state *const x = a, *const y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    if (x->error != y->error) return x->error < y->error ? -1 : 1;
    if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
    return (x->option > y->option) - (x->option < y->option);
}

static vq_status reserve(knapsack *k, size_t count)
{
    if (count <= (size_t)k->capacity) return VQ_OK;
    state *const grown = realloc(k->next, count * sizeof *grown);
    if (!grown) return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for %zu partial choices of bits", count);
    k->next = grown;
    k->capacity = (int)count;
    return VQ_OK;
}

/* Keeps those with less error than every cheaper one. */
static int drop_dominated(state *s, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (kept == 0 || s[i].error < s[kept - 1].error) s[kept++] = s[i];
    return kept;
}

/* Of states of nearly equal cost the one with the least error, which in such a list is the last. */
static int merge_near(state *s, int count)
{
    const double first = s[0].cost, width = (s[count - 1].cost - first) / (MOST_STATES - 1);
    int kept = 0;
    double bucket = -1;
    for (int i = 0; i < count; i++) {
        const double b = floor((s[i].cost - first) / width);
        if (b > bucket) kept++;
        s[kept - 1] = s[i];
        bucket = b;
    }
    return kept;
}

static vq_status add_item(knapsack *k, int i)
{
    const vq_knapsack_item *const it = &k->items[i];
    int count = 0;
    VQ_TRY(reserve(k, (size_t)k->count * (size_t)it->num_options));
    for (int s = 0; s < k->count; s++)
        for (int j = 0; j < it->num_options; j++) {
            const state new = {k->list[s].cost + it->cost[j], k->list[s].error + it->error[j], s, j};
            if (new.cost + k->rest_cost[i + 1] > k->limit) continue;
            if (bound_of(k, i + 1, new.cost, new.error) >= k->best_error) continue;
            k->next[count++] = new;
        }
    if (count) qsort(k->next, (size_t)count, sizeof *k->next, by_cost);
    count = drop_dominated(k->next, count);
    if (count > MOST_STATES) {
        count = merge_near(k->next, count);
        k->merged = true;
    }
    VQ_TRY(vq_alloc(&k->links[i], (size_t)count, sizeof *k->links[i], "knapsack"));
    for (int s = 0; s < count; s++) k->links[i][s] = (link){k->next[s].parent, k->next[s].option};
    free(k->list);
    k->list = k->next;
    k->next = NULL;
    k->count = count;
    k->capacity = 0;
    return VQ_OK;
}

static vq_status search(knapsack *k)
{
    VQ_TRY(vq_alloc(&k->links, (size_t)k->n, sizeof *k->links, "knapsack"));
    VQ_TRY(vq_alloc(&k->list, 1, sizeof *k->list, "knapsack"));
    k->count = 1;
    for (int i = 0; i < k->n && k->count > 0; i++) VQ_TRY(add_item(k, i));
    if (k->count == 0) return VQ_OK; /* nothing is better than the best known */
    int at = k->count - 1;           /* the dearest has the least error */
    if (k->list[at].error >= k->best_error) return VQ_OK;
    k->best_error = k->list[at].error;
    for (int i = k->n - 1; i >= 0; i--) {
        k->best[i] = k->links[i][at].option;
        at = k->links[i][at].parent;
    }
    return VQ_OK;
}

vq_status vq_knapsack_solve(int *choice, vq_knapsack_result *out, const vq_knapsack_item *items, int num_items,
                            double limit)
{
    knapsack k = {.items = items, .n = num_items, .limit = limit, .best = choice};
    vq_status status = VQ_OK;
    *out = (vq_knapsack_result){0};
    for (int i = 0; i < num_items; i++) out->cost += least_cost(&items[i]);
    if (out->cost > limit)
        return vq_fail(VQ_ERR_INVALID_ARG, "the least cost, %.0f, is over the limit, %.0f", out->cost, limit);
    VQ_GO(relax(&k));
    const double relaxed = bound_of(&k, 0, 0, 0);
    VQ_GO(search(&k));
    totals(&k, choice, &out->cost, &out->error);
    out->bound = k.merged ? fmin(fmax(relaxed, 0), out->error) : out->error;
done:
    for (int i = 0; k.links && i < num_items; i++) free(k.links[i]);
    free(k.links);
    free(k.list);
    free(k.next);
    free(k.rest_error);
    free(k.rest_cost);
    return status;
}
