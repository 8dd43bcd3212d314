/* gelu_rational_f32, in place and not: to the bit, and near to GELU itself. */
#include <math.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const size_t counts[] = {1, 63, 64, 65, 4097, 151296};

typedef struct args {
    check_buf *x, *y;
    size_t count;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_gelu_rational_f32_run(dev, t->x->buf, t->y->buf, t->count);
}

/* Far left, GELU's own sums cancel: an absolute bound there. */
static void check_witness(check *ck, const args *t)
{
    float *const gelu = check_alloc(ck, t->count * sizeof *gelu);
    const float *const got = t->y->want;
    vq_ref_gelu_f32(t->x->host, gelu, t->count);
    float worst = 0;
    for (size_t i = 0; i < t->count; i++) worst = fmaxf(worst, fabsf(got[i] - gelu[i]) - fabsf(gelu[i]) * 0x1p-22f);
    check_that(ck, worst <= 1e-6f, "the witness is off by %g from GELU", (double)worst);
}

void check_gelu_rational_f32(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_GELU_RATIONAL_F32); v; v = check_next(ck))
        for (size_t i = 0; i < 3 * VQ_ARRAY_LEN(counts); i++) {
            const size_t count = counts[i / 3];
            const float width = i % 3 == 2 ? 1000.0f : 7.0f;
            const bool in_place = i % 3 == 1;
            if (!check_case(ck, (double)count, "n%zu_to%.0f%s", count, (double)width, in_place ? "_in_place" : ""))
                continue;
            args t = {check_in_f32(ck, count, -width, width), NULL, count};
            t.y = in_place ? t.x : check_out(ck, count * sizeof(float));
            vq_ref_gelu_rational_f32(t.x->host, t.y->want, count);
            check_witness(ck, &t);
            if (!check_run(ck, run, &t)) continue;
            check_near_f32(ck, "y", t.y, count, count, 0, 0, 0);
            if (i % 3 == 0) check_bench(ck, (double)count, 8.0 * (double)count);
        }
}
