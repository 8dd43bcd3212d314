/* quant_error_f32: the errors are float sums of short chunks, added up in double. */
#include <math.h>

#include "check.h"
#include "groups_f32.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

/* A chunk's sum has at most 256 roundings in a row. */
#define BOUND 2e-5

typedef struct args {
    const vq_groups *g;
    check_buf *x;
    float *p0, *p1;
    int num, levels;
    double *error;
} args;

static vq_status run_uniform(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_quant_error_uniform_run(dev, t->g, t->x->buf, t->p0, t->p1, t->num, t->levels, t->error);
}

static vq_status run_codebook(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_quant_error_codebook_run(dev, t->g, t->x->buf, t->p0, t->p1, t->num, t->levels, t->error);
}

static void compare(check *ck, const args *t, const double *want)
{
    for (size_t i = 0; i < (size_t)t->g->groups * (size_t)t->num; i++)
        if (!(fabs(t->error[i] - want[i]) <= BOUND * want[i])) {
            check_that(ck, false, "group %zu, candidate %zu: want %.9g got %.9g", i / (size_t)t->num,
                       i % (size_t)t->num, want[i], t->error[i]);
            return;
        }
    check_bench(ck, (double)t->g->count * t->num, 4.0 * (double)t->g->count);
}

static bool begin(check *ck, args *t, const char *kind)
{
    if (!check_case(ck, (double)t->g->count * t->num * t->levels, "%s_n%zu_i%zu_g%d_c%d_l%d", kind, t->g->count,
                    t->g->inner, t->g->groups, t->num, t->levels))
        return false;
    t->x = check_in_f32(ck, t->g->count, -5, 6);
    t->error = check_alloc(ck, (size_t)t->g->groups * (size_t)t->num * sizeof *t->error);
    return true;
}

static void check_uniform(check *ck, const vq_groups *g, int num, int levels)
{
    args t = {.g = g, .num = num, .levels = levels};
    if (!begin(ck, &t, "uniform")) return;
    const size_t params = (size_t)g->groups * (size_t)num;
    double *const want = check_alloc(ck, params * sizeof *want);
    t.p0 = check_alloc(ck, params * sizeof *t.p0);
    t.p1 = check_alloc(ck, params * sizeof *t.p1);
    check_fill_f32(ck, t.p0, params, 0.02f, 0.8f);
    for (size_t i = 0; i < params; i++) t.p1[i] = (float)check_between(ck, -2, levels + 2);
    vq_ref_quant_error_uniform(g, t.x->host, t.p0, t.p1, num, levels, want);
    if (check_run(ck, run_uniform, &t)) compare(ck, &t, want);
}

static void check_codebook(check *ck, const vq_groups *g, int num, int levels)
{
    args t = {.g = g, .num = num, .levels = levels};
    if (!begin(ck, &t, "codebook")) return;
    const size_t params = (size_t)g->groups * (size_t)num, steps = (size_t)(levels - 1);
    double *const want = check_alloc(ck, params * sizeof *want);
    t.p0 = check_alloc(ck, params * steps * sizeof *t.p0);
    t.p1 = check_alloc(ck, params * (size_t)levels * sizeof *t.p1);
    for (size_t i = 0; i < params * steps; i++)
        t.p0[i] = (i % steps ? t.p0[i - 1] : -4.0f) + vq_rng_uniform(check_rng(ck)) * 16.0f / (float)steps;
    check_fill_f32(ck, t.p1, params * (size_t)levels, -5, 5);
    vq_ref_quant_error_codebook(g, t.x->host, t.p0, t.p1, num, levels, want);
    if (check_run(ck, run_codebook, &t)) compare(ck, &t, want);
}

void check_quant_error_f32(check *ck)
{
    static const int nums[] = {3, 1, 16}, levels[] = {16, 2, 64, 256};
    for (const vq_variant *v = check_first(ck, VQ_OP_QUANT_ERROR_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(check_groups); i++) {
            const int num = nums[i % VQ_ARRAY_LEN(nums)], l = levels[i % VQ_ARRAY_LEN(levels)];
            check_uniform(ck, &check_groups[i], num, l);
            check_codebook(ck, &check_groups[i], num, l);
        }
}
