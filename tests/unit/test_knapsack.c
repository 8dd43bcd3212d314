/* The choice of widths within a budget, against trying everything. No device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calib/knapsack.h"

enum { MOST_ITEMS = 64 };

static char last_error[1024];

static void keep_error(void *user, vq_log_level level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(last_error, sizeof last_error, "%s", message);
}

static double total(const vq_knapsack_item *items, const int *choice, int n, bool cost)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += cost ? items[i].cost[choice[i]] : items[i].error[choice[i]];
    return sum;
}

/* The least error of any choice within the limit, INFINITY where there is none. */
static double try_all(const vq_knapsack_item *items, int n, double limit)
{
    if (limit < 0) return INFINITY;
    if (n == 0) return 0;
    double best = INFINITY;
    for (int j = 0; j < items[0].num_options; j++)
        best = fmin(best, items[0].error[j] + try_all(items + 1, n - 1, limit - items[0].cost[j]));
    return best;
}

typedef enum kind { WIDTHS, ANYTHING, EQUAL_ERRORS, EQUAL_COSTS, NO_ERRORS, NUM_KINDS } kind;

static void make_items(vq_knapsack_item *items, int n, int options, kind k, vq_rng *rng)
{
    for (int i = 0; i < n; i++) {
        vq_knapsack_item *const it = &items[i];
        const double size = 1 + vq_rng_below(rng, 12), weight = vq_rng_uniform(rng);
        *it = (vq_knapsack_item){.num_options = 1 + (int)vq_rng_below(rng, (uint32_t)options)};
        for (int j = 0; j < it->num_options; j++) {
            const bool widths = k == WIDTHS;
            it->cost[j] = widths ? size * (j + 2) : k == EQUAL_COSTS ? 3 : vq_rng_below(rng, 30);
            it->error[j] = widths              ? (double)weight * ldexp(1, -2 * j)
                           : k == EQUAL_ERRORS ? 1
                           : k == NO_ERRORS    ? 0
                                               : (double)vq_rng_uniform(rng);
        }
    }
}

static void test_knapsack__as_good_as_trying_all(void **state)
{
    vq_rng rng;
    int solved = 0, refused = 0;
    (void)state;
    vq_rng_seed(&rng, 11);
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    for (int trial = 0; trial < 3000; trial++) {
        vq_knapsack_item items[7];
        vq_knapsack_result r;
        int choice[7];
        const int n = 1 + (int)vq_rng_below(&rng, 7);
        make_items(items, n, 5, (kind)(trial % NUM_KINDS), &rng);
        const double limit = vq_rng_below(&rng, (uint32_t)(40 * n)), best = try_all(items, n, limit);
        const vq_status status = vq_knapsack_solve(choice, &r, items, n, limit);
        if (isinf(best)) {
            assert_int_equal(status, VQ_ERR_INVALID_ARG);
            assert_true(r.cost > limit);
            refused++;
            continue;
        }
        assert_int_equal(status, VQ_OK);
        for (int i = 0; i < n; i++) assert_in_range(choice[i], 0, items[i].num_options - 1);
        assert_true(total(items, choice, n, true) <= limit);
        assert_true(fabs(r.error - total(items, choice, n, false)) < 1e-12);
        if (r.error > best + 1e-9) fail_msg("trial %d: error %.12g, best is %.12g", trial, r.error, best);
        assert_true(r.bound == r.error);
        solved++;
    }
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    assert_true(solved > 1000 && refused > 50);
}

static void test_knapsack__limits(void **state)
{
    static const vq_knapsack_item items[2] = {{3, {20, 30, 40}, {0.5, 0.2, 0.1}}, {3, {2, 3, 4}, {9, 4, 1}}};
    vq_knapsack_result r;
    int choice[2];
    (void)state;
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 2, 44), VQ_OK); /* all there is */
    assert_true(choice[0] == 2 && choice[1] == 2 && r.cost == 44);
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 2, 1e18), VQ_OK);
    assert_true(choice[0] == 2 && choice[1] == 2);
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 2, 22), VQ_OK); /* only the least */
    assert_true(choice[0] == 0 && choice[1] == 0 && r.error == 9.5);
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 2, 33), VQ_OK);
    assert_true(choice[0] == 0 && choice[1] == 2 && r.error == 1.5);
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 0, 0), VQ_OK);
    assert_true(r.cost == 0 && r.error == 0);
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    assert_int_equal(vq_knapsack_solve(choice, &r, items, 2, 21.9), VQ_ERR_INVALID_ARG);
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    assert_non_null(strstr(last_error, "22"));
    assert_null(strchr(last_error, '\n'));
}

/* Of more items than can be tried: never worse than what Lagrange's prices give, and within its bound. Costs without a
 * common divisor and errors without any order make as many partial choices as there can be. */
static void test_knapsack__many_items(void **state)
{
    vq_rng rng;
    (void)state;
    vq_rng_seed(&rng, 3);
    for (int trial = 0; trial < 20; trial++) {
        vq_knapsack_item items[MOST_ITEMS];
        vq_knapsack_result r;
        int choice[MOST_ITEMS];
        double least = 0, most = 0, before = INFINITY;
        for (int i = 0; i < MOST_ITEMS; i++) {
            items[i].num_options = 7;
            const double size = 1e5 + vq_rng_below(&rng, 1 << 20), weight = exp(4.0 * (double)vq_rng_normal(&rng));
            for (int j = 0; j < 7; j++) {
                items[i].cost[j] = trial % 2 ? size * (j + 2) : 1 + vq_rng_below(&rng, 1 << 30);
                items[i].error[j] = trial % 2 ? weight * ldexp(1, -2 * j) : (double)vq_rng_uniform(&rng);
            }
            double low = items[i].cost[0], high = low;
            for (int j = 1; j < 7; j++) {
                low = fmin(low, items[i].cost[j]);
                high = fmax(high, items[i].cost[j]);
            }
            least += low;
            most += high;
        }
        for (int step = 1; step < 10; step++) {
            const double limit = least + (most - least) * step / 10;
            assert_int_equal(vq_knapsack_solve(choice, &r, items, MOST_ITEMS, limit), VQ_OK);
            assert_true(total(items, choice, MOST_ITEMS, true) <= limit);
            assert_true(r.bound <= r.error && r.bound >= 0.99 * r.error);
            assert_true(r.error <= before);
            before = r.error;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knapsack__as_good_as_trying_all),
        cmocka_unit_test(test_knapsack__limits),
        cmocka_unit_test(test_knapsack__many_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
