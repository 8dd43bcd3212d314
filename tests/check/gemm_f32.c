/* gemm_f32: plain, batched, accumulating, transposed and row-mapped products; and the Gram matrices made of them. */
#include <math.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

/* Rows of the operands get `surplus` more elements than they need. */
typedef struct shape {
    int m, n, k, trans_a, trans_b, accumulate, bias, outer, inner, rows_in, rows_out, row_first, surplus;
    float alpha;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0.0f},        {5, 3, 7, 0, 0, 0, 1, 1, 1, 0, 0, 0, 3, 0.5f},
    {13, 33, 515, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0.0f},    {12, 32, 64, 0, 1, 0, 1, 2, 3, 0, 0, 0, 0, 0.125f},
    {7, 31, 1030, 0, 0, 1, 0, 1, 2, 0, 0, 0, 5, 2.0f},    {25, 17, 16, 0, 1, 0, 1, 1, 1, 4, 6, 1, 2, 0.0f},
    {64, 65, 63, 0, 0, 1, 1, 1, 1, 16, 17, 1, 0, 0.0f},   {65, 64, 17, 0, 1, 0, 0, 3, 1, 0, 0, 0, 0, 0.0f},
    {197, 197, 64, 0, 1, 0, 0, 1, 2, 0, 0, 0, 4, 0.125f}, {197, 64, 197, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0.0f},
    {197, 192, 768, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0.0f},  {1576, 576, 192, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0.0f},
    {5, 3, 7, 1, 1, 0, 1, 1, 1, 0, 0, 0, 3, 0.5f},        {13, 33, 515, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0.0f},
    {31, 17, 40, 1, 0, 0, 0, 2, 3, 0, 0, 0, 2, 0.0f},     {25, 17, 16, 1, 1, 0, 1, 1, 1, 4, 6, 1, 2, 0.0f},
    {192, 192, 1024, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0.0f},
};

typedef struct args {
    vq_gemm_f32_shape shape;
    check_buf *a, *b, *bias, *c;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_gemm_f32_run(dev, &t->shape, t->a->buf, t->b->buf, t->bias ? t->bias->buf : NULL, t->c->buf);
}

static vq_gemm_f32_shape gemm_of(const shape *s)
{
    const int ldb = (s->trans_b ? s->k : s->n) + s->surplus, b_rows = s->trans_b ? s->n : s->k;
    vq_gemm_f32_shape g = {.m = s->m,
                           .n = s->n,
                           .k = s->k,
                           .lda = (s->trans_a ? s->m : s->k) + s->surplus,
                           .ldb = ldb,
                           .ldc = s->n + s->surplus,
                           .trans_a = s->trans_a,
                           .trans_b = s->trans_b,
                           .accumulate = s->accumulate,
                           .alpha = s->alpha,
                           .outer = s->outer,
                           .inner = s->inner,
                           .rows_in = s->rows_in,
                           .rows_out = s->rows_out,
                           .row_first = s->row_first,
                           .a_offset = (size_t)s->surplus,
                           .b_offset = 2 * (size_t)s->surplus};
    g.a_inner = (size_t)(s->trans_a ? s->k : s->m) * (size_t)g.lda;
    g.b_inner = (size_t)b_rows * (size_t)g.ldb;
    g.c_inner = (size_t)s->m * (size_t)g.ldc;
    g.a_outer = (size_t)s->inner * g.a_inner;
    g.b_outer = (size_t)s->inner * g.b_inner;
    g.c_outer = (size_t)s->inner * g.c_inner;
    return g;
}

static void check_shape(check *ck, const shape *s)
{
    const vq_gemm_f32_shape g = gemm_of(s);
    const size_t batch = (size_t)s->outer * (size_t)s->inner;
    const size_t c_rows = s->rows_in ? (size_t)(s->m / s->rows_in + 1) * (size_t)s->rows_out + (size_t)s->row_first
                                     : (size_t)s->m * batch;
    const double work = (double)batch * s->m * s->n * s->k;
    if (!check_case(ck, work, "m%d_n%d_k%d%s%s%s%s_z%zu%s", s->m, s->n, s->k, s->trans_a ? "_at" : "",
                    s->trans_b ? "_bt" : "", s->accumulate ? "_acc" : "", s->bias ? "_bias" : "", batch,
                    s->rows_in ? "_map" : ""))
        return;
    args t = {g, check_in_f32(ck, g.a_offset + g.a_inner * batch, -1, 2),
              check_in_f32(ck, g.b_offset + g.b_inner * batch, -2, 1),
              s->bias ? check_in_f32(ck, (size_t)s->n, -3, 3) : NULL, check_in_f32(ck, c_rows * (size_t)g.ldc, -1, 1)};
    vq_ref_gemm_f32(&g, t.a->host, t.b->host, t.bias ? t.bias->host : NULL, t.c->want);
    if (!check_run(ck, run, &t)) return;
    /* k roundings, to 2^-24, of a sum of up to 4 k; they add up like a random walk, not to 4 k^2 2^-24 */
    const double alpha = s->alpha == 0.0f ? 1.0 : (double)s->alpha;
    check_near_f32(ck, "c", t.c, (size_t)s->n, (size_t)g.ldc, 1e-10, 1e-6 * (1 + alpha * s->k), 4);
    check_bench(ck, 2 * work, 4 * (double)batch * ((double)s->m * s->k + (double)s->n * s->k + (double)s->m * s->n));
}

/* ---- gram_f32 ---------------------------------------------------------------------------------------------------- */

typedef struct gram_args {
    int m, kx, ky;
    check_buf *x, *y;
    double *out;
} gram_args;

static vq_status run_gram(void *user, vq_device *dev)
{
    const gram_args *const t = user;
    return vq_gram_f32_run(dev, t->x->buf, t->y->buf, t->m, t->kx, t->ky, t->out);
}

/* same: y is x. */
static void check_gram(check *ck, int m, int kx, int ky, bool same)
{
    const size_t count = (size_t)kx * (size_t)ky;
    const double work = (double)m * (double)count;
    if (!check_case(ck, work, "gram_m%d_kx%d_ky%d%s", m, kx, ky, same ? "_same" : "")) return;
    gram_args t = {.m = m, .kx = kx, .ky = ky, .out = check_alloc(ck, count * sizeof(double))};
    t.x = check_in_f32(ck, (size_t)m * (size_t)kx, -2, 3);
    t.y = same ? t.x : check_in_f32(ck, (size_t)m * (size_t)ky, -1, 1);
    double *const want = check_alloc(ck, count * sizeof *want);
    vq_ref_gram_f32(t.x->host, t.y->host, m, kx, ky, want);
    if (!check_run(ck, run_gram, &t)) return;
    for (size_t i = 0; i < count; i++) {
        /* at most 512 roundings in a row, of sums below 9 * 512, for every 512 rows */
        const double bound = 1e-6 * (double)VQ_MIN(m, 512) + 2e-6 * m;
        const size_t turned = i % (size_t)ky * (size_t)kx + i / (size_t)ky;
        if (!(fabs(t.out[i] - want[i]) <= bound) || (same && t.out[i] != t.out[turned])) {
            check_that(ck, false, "[%zu][%zu]: want %.9g got %.9g%s", i / (size_t)ky, i % (size_t)ky, want[i], t.out[i],
                       same && t.out[i] != t.out[turned] ? ", not symmetric" : "");
            return;
        }
    }
    check_bench(ck, (same ? 1 : 2) * work, 4.0 * m * (kx + ky));
}

void check_gemm_f32(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_GEMM_F32); v; v = check_next(ck)) {
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i]);
        check_gram(ck, 1, 1, 1, true);
        check_gram(ck, 7, 5, 3, false);
        check_gram(ck, 19, 33, 33, true);
        check_gram(ck, 1100, 40, 17, false);
        check_gram(ck, 513, 600, 600, true);
    }
}
