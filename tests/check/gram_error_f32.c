#include <math.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

typedef struct args {
    check_buf *w, *gram, *cross, *along; /* along: terms */
    float *scale, *zero, *error;
    int n, k, num, levels;
    bool diagonal;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    if (a->along)
        return vq_gram_terms_run(dev, a->w->buf, a->gram->buf, a->cross->buf, a->along->buf, a->scale, a->zero, a->n,
                                 a->k, a->num, a->levels, a->diagonal, a->error);
    return vq_gram_error_run(dev, a->w->buf, a->gram->buf, a->cross->buf, a->scale, a->zero, a->n, a->k, a->num,
                             a->levels, a->diagonal, a->error);
}

/* What the terms of the sum add up to in size bounds its rounding errors. */
static double size_of(const args *a, int r, int j)
{
    const float *const w = (const float *)a->w->host + (size_t)r * (size_t)a->k;
    const float *const c = (const float *)a->cross->host + (size_t)r * (size_t)a->k, *const g = a->gram->host;
    const double reach = a->scale[r * a->num + j] * (double)a->levels + 1;
    double sum = 0;
    for (int x = 0; x < a->k; x++) {
        for (int y = 0; y < a->k; y++) sum += fabs((double)g[(size_t)x * (size_t)a->k + (size_t)y]) * reach * reach;
        sum += 2 * fabs((double)c[x]) * (reach + fabs((double)w[x]));
    }
    return sum;
}

static void check_shape(check *ck, int n, int k, int num, int levels, bool diagonal, bool terms)
{
    args a = {.n = n, .k = k, .num = num, .levels = levels, .diagonal = diagonal};
    const size_t all = (size_t)n * (size_t)num, results = all * (terms ? 3 : 1), square = (size_t)k * (size_t)k;
    if (!check_case(ck, (double)all * (double)square, "n%d_k%d_c%d_l%d%s%s", n, k, num, levels, diagonal ? "_diag" : "",
                    terms ? "_terms" : ""))
        return;
    double *const want = check_alloc(ck, results * sizeof *want);
    float *const gram = check_alloc(ck, square * sizeof *gram);
    check_fill_f32(ck, gram, square, -2, 3);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < i; j++) gram[i * k + j] = gram[j * k + i];
    a.w = check_in_f32(ck, (size_t)n * (size_t)k, -1, 1);
    a.gram = check_in(ck, gram, square * sizeof *gram);
    a.cross = check_in_f32(ck, (size_t)n * (size_t)k, -1, 1);
    a.scale = check_alloc(ck, all * sizeof(float));
    a.zero = check_alloc(ck, all * sizeof(float));
    a.error = check_alloc(ck, results * sizeof(float));
    if (terms) a.along = check_in_f32(ck, (size_t)n * (size_t)k, -1, 1);
    check_fill_f32(ck, a.scale, all, 0.02f, 0.4f);
    for (size_t i = 0; i < all; i++) a.zero[i] = (float)check_between(ck, -2, levels + 2);
    if (terms)
        vq_ref_gram_terms(a.w->host, a.gram->host, a.cross->host, a.along->host, a.scale, a.zero, n, k, num, levels,
                          diagonal, want);
    else
        vq_ref_gram_error(a.w->host, a.gram->host, a.cross->host, a.scale, a.zero, n, k, num, levels, diagonal, want);
    if (!check_run(ck, run, &a)) return;
    for (int i = 0; i < (int)results; i++) {
        const int at = i / (terms ? 3 : 1);
        if (!(fabs((double)a.error[i] - want[i]) <= 2e-6 * size_of(&a, at / num, at % num))) {
            check_that(ck, false, "row %d, candidate %d: want %.9g got %.9g", at / num, at % num, want[i],
                       (double)a.error[i]);
            return;
        }
    }
    check_bench(ck, (double)all * (double)square, 4.0 * (double)square);
}

void check_gram_error_f32(check *ck)
{
    static const int shapes[][4] = {{1, 1, 1, 2},   {3, 7, 5, 16},     {5, 8, 16, 4},  {17, 33, 17, 16},
                                    {2, 64, 40, 8}, {31, 19, 33, 256}, {9, 100, 3, 16}};
    for (const vq_variant *v = check_first(ck, VQ_OP_GRAM_ERROR_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++)
            for (int how = 0; how < 4; how++)
                check_shape(ck, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], how % 2, how / 2);
}
