/* quantile_f32: order statistics equal to those of a sort, and NaN refused. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "groups_f32.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

typedef struct args {
    const vq_groups *g;
    check_buf *x;
    size_t ranks[VQ_MAX_RANKS];
    int num_ranks;
    float *out;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_quantile_f32_run(dev, t->g, t->x->buf, t->ranks, t->num_ranks, t->out);
}

/* The first, the last, one twice, the rest anywhere. */
static void make_ranks(check *ck, args *t, size_t n, int max_ranks)
{
    t->num_ranks = check_between(ck, 3, max_ranks);
    for (int i = 0; i < t->num_ranks; i++) t->ranks[i] = vq_rng_below(check_rng(ck), (uint32_t)n);
    t->ranks[0] = n - 1;
    t->ranks[1] = t->ranks[2];
    t->ranks[t->num_ranks - 1] = 0;
}

/* kinds: 0 the harness' patterns; 1 values over all magnitudes; 2 few different values; 3 infinities and signed zeros
 */
static void make_values(check *ck, float *x, size_t count, int kind)
{
    static const float few[] = {-INFINITY, -1.5f, -0.0f, 0.0f, 1e-40f, INFINITY};
    check_fill_f32(ck, x, count, -3, 5);
    for (size_t i = 0; kind && i < count; i++) {
        if (kind == 1) x[i] = ldexpf(x[i], check_between(ck, -130, 120));
        if (kind == 2) x[i] = rintf(x[i]);
        if (kind == 3) x[i] = few[vq_rng_below(check_rng(ck), (uint32_t)VQ_ARRAY_LEN(few))];
    }
}

/* work: elements looked at by the device, which for small groups is far more than the witness's; it decides what a
 * simulator runs. */
static void check_ranks(check *ck, const vq_groups *g, int kind, int max_ranks, double work)
{
    const size_t n = g->count / (size_t)g->groups;
    if (!check_case(ck, work * (double)g->count, "n%zu_i%zu_g%d_kind%d", g->count, g->inner, g->groups, kind)) return;
    args t = {.g = g};
    make_ranks(ck, &t, n, max_ranks);
    const size_t results = (size_t)g->groups * (size_t)t.num_ranks;
    float *const x = check_alloc(ck, g->count * sizeof *x), *const want = check_alloc(ck, results * sizeof *want);
    t.out = check_alloc(ck, results * sizeof *t.out);
    make_values(ck, x, g->count, kind);
    t.x = check_in(ck, x, g->count * sizeof *x);
    check_that(ck, vq_ref_quantile_f32(g, x, t.ranks, t.num_ranks, want) == VQ_OK, "the witness has no memory");
    if (!check_run(ck, run, &t)) return;
    for (size_t i = 0; i < results; i++)
        if (t.out[i] != want[i]) { /* -0 equals 0 */
            check_that(ck, false, "group %zu, rank %zu: want %.9g got %.9g", i / (size_t)t.num_ranks,
                       t.ranks[i % (size_t)t.num_ranks], (double)want[i], (double)t.out[i]);
            return;
        }
    check_bench(ck, (double)g->count, 4.0 * (double)g->count);
}

/* One NaN, of either sign, is refused. The message of the op is expected. */
static void check_nan(check *ck, const vq_groups *g, float nan_value)
{
    if (!check_case(ck, 20.0 * (double)g->count, "n%zu_i%zu_g%d_nan%d", g->count, g->inner, g->groups,
                    signbit(nan_value) != 0))
        return;
    args t = {.g = g, .ranks = {0}, .num_ranks = 1};
    float *const x = check_alloc(ck, g->count * sizeof *x);
    t.out = check_alloc(ck, (size_t)g->groups * sizeof *t.out);
    check_fill_f32(ck, x, g->count, -3, 5);
    x[vq_rng_below(check_rng(ck), (uint32_t)g->count)] = nan_value;
    t.x = check_in(ck, x, g->count * sizeof *x);
    check_that(ck, run(&t, check_device(ck)) == VQ_ERR_INVALID_ARG, "a NaN was accepted");
}

void check_quantile_f32(check *ck)
{
    /* beyond the limits of the path for small groups */
    static const vq_groups smallest_large = {16400, 16400, 1};
    static const vq_groups large[] = {{40001, 40001, 1}, {2 * 3 * 9001, 9001, 3}, {20001 * 2, 1, 2}};
    for (const vq_variant *v = check_first(ck, VQ_OP_QUANTILE_F32); v; v = check_next(ck)) {
        for (int kind = 0; kind < 4; kind++) {
            for (size_t i = 0; i < VQ_ARRAY_LEN(check_groups); i++)
                check_ranks(ck, &check_groups[i], kind, VQ_MAX_RANKS, 300);
            for (size_t i = 0; i < VQ_ARRAY_LEN(large); i++) check_ranks(ck, &large[i], kind, VQ_MAX_RANKS, 60);
        }
        check_ranks(ck, &smallest_large, 0, 3, 10);
        check_nan(ck, &check_groups[7], NAN);
        check_nan(ck, &check_groups[3], -NAN);
        check_nan(ck, &large[0], -NAN);
        check_nan(ck, &large[1], NAN);
    }
}
