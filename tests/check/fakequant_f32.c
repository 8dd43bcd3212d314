/* fakequant_f32: exact against the witness, ties and values far outside the range included. */
#include "check.h"
#include "groups_f32.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

typedef struct args {
    const vq_groups *g;
    check_buf *x, *p0, *p1, *y;
    int levels;
} args;

static vq_status run_fakequant(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_fakequant_uniform_run(dev, t->g, t->x->buf, t->p0->buf, t->p1->buf, t->levels, t->y->buf);
}

static vq_status run_whole(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_whole_uniform_run(dev, t->g, t->x->buf, t->p0->buf, t->p1->buf, t->levels, t->y->buf);
}

static vq_status run_quantize(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_quantize_uniform_run(dev, t->g, t->x->buf, t->p0->buf, t->p1->buf, t->levels, t->y->buf);
}

static vq_status run_codebook(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_fakequant_codebook_run(dev, t->g, t->x->buf, t->p0->buf, t->p1->buf, t->levels, t->y->buf);
}

/* Scales, and every fourth element on a tie between two codes of its group. */
static void make_uniform(check *ck, args *t, bool fractional)
{
    const size_t groups = (size_t)t->g->groups;
    float *const scale = check_alloc(ck, groups * sizeof *scale), *const zero = check_alloc(ck, groups * sizeof *zero);
    float *const x = check_alloc(ck, t->g->count * sizeof *x);
    check_fill_f32(ck, scale, groups, 0.01f, 0.9f);
    check_fill_f32(ck, x, t->g->count, -9, 11);
    for (size_t i = 0; i < groups; i++)
        zero[i] = (float)check_between(ck, -3, t->levels + 3) + (fractional ? 0.37f : 0.0f);
    for (size_t i = 0; i < t->g->count; i += 4) {
        const size_t group = i / t->g->inner % groups;
        x[i] = ((float)(check_between(ck, -2, t->levels + 1)) + 0.5f) * scale[group];
    }
    t->x = check_in(ck, x, t->g->count * sizeof *x);
    t->p0 = check_in(ck, scale, groups * sizeof *scale);
    t->p1 = check_in(ck, zero, groups * sizeof *zero);
}

static void check_uniform(check *ck, const vq_groups *g, int levels, bool in_place)
{
    args t = {.g = g, .levels = levels};
    if (!check_case(ck, (double)g->count, "uniform_n%zu_i%zu_g%d_l%d%s", g->count, g->inner, g->groups, levels,
                    in_place ? "_in_place" : ""))
        return;
    make_uniform(ck, &t, in_place);
    t.y = in_place ? t.x : check_out(ck, g->count * sizeof(float));
    vq_ref_fakequant_uniform(g, t.x->host, t.p0->host, t.p1->host, levels, t.y->want);
    if (!check_run(ck, run_fakequant, &t)) return;
    check_near_f32(ck, "y", t.y, g->count, g->count, 0, 0, 0);
    if (!in_place) check_bench(ck, (double)g->count, 8.0 * (double)g->count);
}

static void check_codes(check *ck, const vq_groups *g, int levels)
{
    args t = {.g = g, .levels = levels};
    if (!check_case(ck, (double)g->count, "codes_n%zu_i%zu_g%d_l%d", g->count, g->inner, g->groups, levels)) return;
    make_uniform(ck, &t, false);
    t.y = check_out(ck, g->count);
    vq_ref_quantize_uniform(g, t.x->host, t.p0->host, t.p1->host, levels, t.y->want);
    if (!check_run(ck, run_quantize, &t)) return;
    check_equal_u8(ck, "codes", t.y, g->count, g->count);
    check_bench(ck, (double)g->count, 5.0 * (double)g->count);
}

static void check_whole(check *ck, const vq_groups *g, int levels)
{
    args t = {.g = g, .levels = levels};
    if (!check_case(ck, (double)g->count, "whole_n%zu_i%zu_g%d_l%d", g->count, g->inner, g->groups, levels)) return;
    make_uniform(ck, &t, false);
    t.y = check_out(ck, g->count * sizeof(float));
    uint8_t *const codes = check_alloc(ck, g->count);
    vq_ref_quantize_uniform(g, t.x->host, t.p0->host, t.p1->host, levels, codes);
    for (size_t i = 0; i < g->count; i++)
        ((float *)t.y->want)[i] = codes[i] - ((const float *)t.p1->host)[i / g->inner % (size_t)g->groups];
    if (!check_run(ck, run_whole, &t)) return;
    check_near_f32(ck, "y", t.y, g->count, g->count, 0, 0, 0);
}

/* Ascending thresholds from -4 up, and every fifth element equal to one of its group. */
static void make_codebook(check *ck, args *t)
{
    const size_t groups = (size_t)t->g->groups, steps = (size_t)(t->levels - 1);
    float *const thresholds = check_alloc(ck, groups * steps * sizeof *thresholds);
    float *const x = check_alloc(ck, t->g->count * sizeof *x);
    for (size_t i = 0; i < groups * steps; i++)
        thresholds[i] = (i % steps ? thresholds[i - 1] : -4.0f) + vq_rng_uniform(check_rng(ck)) * 16.0f / (float)steps;
    check_fill_f32(ck, x, t->g->count, -6, 6);
    for (size_t i = 0; i < t->g->count; i += 5)
        x[i] = thresholds[i / t->g->inner % groups * steps + vq_rng_below(check_rng(ck), (uint32_t)steps)];
    t->x = check_in(ck, x, t->g->count * sizeof *x);
    t->p0 = check_in(ck, thresholds, groups * steps * sizeof *thresholds);
    t->p1 = check_in_f32(ck, groups * (size_t)t->levels, -5, 5);
}

static void check_codebook(check *ck, const vq_groups *g, int levels, bool in_place)
{
    args t = {.g = g, .levels = levels};
    if (!check_case(ck, (double)g->count * levels, "codebook_n%zu_i%zu_g%d_l%d%s", g->count, g->inner, g->groups,
                    levels, in_place ? "_in_place" : ""))
        return;
    make_codebook(ck, &t);
    t.y = in_place ? t.x : check_out(ck, g->count * sizeof(float));
    vq_ref_fakequant_codebook(g, t.x->host, t.p0->host, t.p1->host, levels, t.y->want);
    if (!check_run(ck, run_codebook, &t)) return;
    check_near_f32(ck, "y", t.y, g->count, g->count, 0, 0, 0);
    if (!in_place) check_bench(ck, (double)g->count, 8.0 * (double)g->count);
}

void check_fakequant_f32(check *ck)
{
    static const int levels[] = {2, 8, 16, 17, 256};
    for (const vq_variant *v = check_first(ck, VQ_OP_FAKEQUANT_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(check_groups); i++) {
            const vq_groups *const g = &check_groups[i];
            const int l = levels[i % VQ_ARRAY_LEN(levels)];
            check_uniform(ck, g, l, false);
            check_uniform(ck, g, 16, true);
            check_codes(ck, g, l);
            check_whole(ck, g, l);
            check_codebook(ck, g, l, false);
            check_codebook(ck, g, 257, true);
        }
}
