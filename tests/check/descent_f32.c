#include <math.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

typedef struct args {
    check_buf *w, *gram, *codes, *values;
    float *scale, *zero, *error;
    uint8_t *before;
    int n, k, levels;
} args;

/* May run several times, always from the same codes. */
static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    VQ_TRY(vq_buf_write(dev, a->codes->buf, 0, a->before, (size_t)a->n * (size_t)a->k));
    return vq_descent_run(dev, a->w->buf, a->gram->buf, a->scale, a->zero, a->n, a->k, a->levels, a->codes->buf,
                          a->values->buf, a->error);
}

/* The codes must be those that the witness accepts, values and errors theirs. */
static void compare(check *ck, args *a)
{
    const size_t count = (size_t)a->n * (size_t)a->k;
    uint8_t *const codes = check_alloc(ck, count);
    double *const error = check_alloc(ck, (size_t)a->n * sizeof *error);
    float *const values = a->values->want;
    double furthest;
    check_that(ck, vq_buf_read(check_device(ck), a->codes->buf, 0, codes, count) == VQ_OK, "reading the codes");
    for (size_t i = 0; i < count; i++) {
        const size_t r = i / (size_t)a->k;
        values[i] = ((float)codes[i] - a->zero[r]) * a->scale[r];
        ((uint8_t *)a->codes->want)[i] = codes[i];
    }
    check_that(ck,
               vq_ref_descent(a->w->host, a->gram->host, a->scale, a->zero, a->n, a->k, a->levels, a->before, codes,
                              error, &furthest) == VQ_OK,
               "witness");
    check_that(ck, furthest <= 0.5 + 1e-3, "a code is %.4f from the value it stands for", furthest);
    for (int r = 0; r < a->n; r++)
        check_that(ck, (double)a->error[r] >= 0.999 * error[r] - 1e-4 && (double)a->error[r] <= 1.001 * error[r] + 1e-4,
                   "error of row %d is %g, expected %g", r, (double)a->error[r], error[r]);
    check_equal_u8(ck, "codes", a->codes, (size_t)a->k, (size_t)a->k);
    check_near_f32(ck, "values", a->values, (size_t)a->k, (size_t)a->k, 1e-6, 1e-6, 4);
    check_bench(ck, 4 * (double)count * (double)a->k, 4.0 * (double)a->k * (double)a->k);
}

/* X'X of k + 3 rows, and a little more on the diagonal. */
static float *random_gram(check *ck, int k)
{
    const int rows = k + 3;
    float *const x = check_alloc(ck, (size_t)rows * (size_t)k * sizeof *x);
    float *const gram = check_alloc(ck, (size_t)k * (size_t)k * sizeof *gram);
    check_fill_f32(ck, x, (size_t)rows * (size_t)k, -1, 1);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            double sum = i == j ? 0.1 : 0;
            for (int r = 0; r < rows; r++) sum += (double)x[r * k + i] * (double)x[r * k + j];
            gram[(size_t)i * (size_t)k + (size_t)j] = (float)sum;
        }
    return gram;
}

static void check_shape(check *ck, int n, int k, int levels)
{
    args a = {.n = n, .k = k, .levels = levels};
    const size_t count = (size_t)n * (size_t)k;
    if (!check_case(ck, 2 * (double)count * (double)k, "n%d_k%d_l%d", n, k, levels)) return;
    a.w = check_in_f32(ck, count, -1, 1);
    a.gram = check_in(ck, random_gram(ck, k), (size_t)k * (size_t)k * sizeof(float));
    a.codes = check_out(ck, count);
    a.values = check_out(ck, count * sizeof(float));
    a.scale = check_alloc(ck, (size_t)n * sizeof(float));
    a.zero = check_alloc(ck, (size_t)n * sizeof(float));
    a.error = check_alloc(ck, (size_t)n * sizeof(float));
    a.before = check_alloc(ck, count);
    check_fill_f32(ck, a.scale, (size_t)n, 0.02f, 0.4f);
    for (int i = 0; i < n; i++) a.zero[i] = (float)check_between(ck, 0, levels - 1);
    for (size_t i = 0; i < count; i++) { /* near the nearest, so that sums do not cancel down from far away */
        const size_t r = i / (size_t)k;
        const double x = (double)((const float *)a.w->host)[i] / (double)a.scale[r] + (double)a.zero[r];
        a.before[i] = (uint8_t)fmin(fmax(rint(x) + (double)check_between(ck, -1, 1), 0), levels - 1);
    }
    if (check_run(ck, run, &a)) compare(ck, &a);
}

void check_descent_f32(check *ck)
{
    static const int shapes[][3] = {{1, 1, 2},  {3, 7, 16},    {16, 16, 4},  {17, 33, 16},
                                    {5, 64, 8}, {33, 19, 256}, {48, 100, 16}};
    for (const vq_variant *v = check_first(ck, VQ_OP_DESCENT_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, shapes[i][0], shapes[i][1], shapes[i][2]);
}
