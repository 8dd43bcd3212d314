/* attention_f32 on every variant. */
#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int batch, t, heads, d;
} shapes[] = {{1, 1, 1, 1},  {2, 5, 3, 7},    {1, 13, 2, 16},  {3, 17, 1, 33},  {1, 31, 4, 20},  {2, 32, 2, 32},
              {1, 50, 3, 8}, {1, 65, 12, 40}, {1, 197, 3, 64}, {8, 197, 3, 64}, {1, 577, 2, 80}, {2, 96, 1, 100}};

typedef struct args {
    check_buf *qkv, *out;
    int batch, t, heads, d;
    float scale;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_attention_f32_run(dev, a->qkv->buf, a->t, a->heads, a->d, a->scale, a->out->buf, a->batch);
}

static void check_shape(check *ck, int batch, int t, int heads, int d)
{
    const size_t width = (size_t)heads * (size_t)d, count = (size_t)batch * (size_t)t * width;
    const double work = 2.0 * (double)count * t;
    if (!check_case(ck, work, "b%d_t%d_h%d_d%d", batch, t, heads, d)) return;
    args a = {.qkv = check_in_f32(ck, 3 * count, -3, 2),
              .out = check_out(ck, count * sizeof(float)),
              .batch = batch,
              .t = t,
              .heads = heads,
              .d = d,
              .scale = 1.0f / (float)(1 + d / 4)};
    check_that(ck, vq_attention_f32_fits(check_device(ck), t, d), "does not fit");
    check_that(ck, vq_ref_attention_f32(a.qkv->host, t, heads, d, a.scale, a.out->want, batch) == VQ_OK, "memory");
    if (!check_run(ck, run, &a)) return;
    /* scores of up to 36 are off by some 2^-24 of that, and their exponentials with them */
    check_near_f32(ck, "out", a.out, width, width, 1e-10, 5e-5, 16);
    check_bench(ck, 2 * work, 16.0 * (double)count);
}

void check_attention_f32(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_ATTENTION_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++)
            check_shape(ck, shapes[i].batch, shapes[i].t, shapes[i].heads, shapes[i].d);
}
