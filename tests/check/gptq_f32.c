#include <math.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

typedef struct args {
    check_buf *w, *factor, *codes, *values;
    int32_t *order;
    float *scale, *zero;
    int n, k, levels;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_gptq_run(dev, a->w->buf, a->factor->buf, a->order, a->scale, a->zero, a->n, a->k, a->levels,
                       a->codes->buf, a->values->buf);
}

/* The codes must be those that the witness accepts, and the values theirs. */
static void compare(check *ck, args *a)
{
    const size_t count = (size_t)a->n * (size_t)a->k;
    uint8_t *const codes = check_alloc(ck, count);
    float *const values = a->values->want;
    double furthest;
    check_that(ck, vq_buf_read(check_device(ck), a->codes->buf, 0, codes, count) == VQ_OK, "reading the codes");
    for (size_t i = 0; i < count; i++) {
        const size_t r = i / (size_t)a->k;
        values[i] = ((float)codes[i] - a->zero[r]) * a->scale[r];
        ((uint8_t *)a->codes->want)[i] = codes[i];
    }
    check_that(ck,
               vq_ref_gptq(a->w->host, a->factor->host, a->order, a->scale, a->zero, a->n, a->k, a->levels, codes,
                           &furthest) == VQ_OK,
               "witness");
    check_that(ck, furthest <= 0.5 + 1e-3, "a code is %.4f from the value it stands for", furthest);
    check_equal_u8(ck, "codes", a->codes, (size_t)a->k, (size_t)a->k);
    check_near_f32(ck, "values", a->values, (size_t)a->k, (size_t)a->k, 1e-6, 1e-6, 4);
    check_bench(ck, (double)count * (double)a->k, 4.0 * (double)a->k * (double)a->k);
}

static void check_shape(check *ck, int n, int k, int levels)
{
    args a = {.n = n, .k = k, .levels = levels};
    if (!check_case(ck, (double)n * (double)k * (double)k, "n%d_k%d_l%d", n, k, levels)) return;
    float *const factor = check_alloc(ck, (size_t)k * (size_t)k * sizeof *factor);
    for (int i = 0; i < k; i++)
        for (int l = 0; l < k; l++)
            factor[(size_t)i * (size_t)k + (size_t)l] = l < i    ? NAN
                                                        : l == i ? 1.0f
                                                                 : (vq_rng_uniform(check_rng(ck)) - 0.5f) / (float)k;
    a.order = check_alloc(ck, (size_t)k * sizeof *a.order);
    for (int i = 0; i < k; i++) a.order[i] = (int32_t)((i * 7 + 3) % k);
    for (int i = 0; k % 7 == 0 && i < k; i++) a.order[i] = i;
    a.w = check_in_f32(ck, (size_t)n * (size_t)k, -1, 1);
    a.factor = check_in(ck, factor, (size_t)k * (size_t)k * sizeof *factor);
    a.codes = check_out(ck, (size_t)n * (size_t)k);
    a.values = check_out(ck, (size_t)n * (size_t)k * sizeof(float));
    a.scale = check_alloc(ck, (size_t)n * sizeof(float));
    a.zero = check_alloc(ck, (size_t)n * sizeof(float));
    check_fill_f32(ck, a.scale, (size_t)n, 0.02f, 0.4f);
    for (int i = 0; i < n; i++) a.zero[i] = (float)check_between(ck, 0, levels - 1);
    if (check_run(ck, run, &a)) compare(ck, &a);
}

void check_gptq_f32(check *ck)
{
    static const int shapes[][3] = {{1, 1, 2},  {3, 7, 16},    {16, 16, 4},  {17, 33, 16},
                                    {5, 64, 8}, {33, 19, 256}, {48, 100, 16}};
    for (const vq_variant *v = check_first(ck, VQ_OP_GPTQ_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, shapes[i][0], shapes[i][1], shapes[i][2]);
}
