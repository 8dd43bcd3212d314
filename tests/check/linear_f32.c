/* linear_f32 with every epilogue; the sum may replace what is added. */
#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int m, n, k;
} shapes[] = {{1, 1, 1},    {5, 3, 7},       {13, 33, 515}, {12, 32, 64},    {7, 31, 1030},
              {25, 17, 16}, {64, 65, 63},    {65, 64, 17},  {1, 1000, 192},  {3, 10, 33},
              {37, 97, 40}, {197, 192, 768}, {1, 5, 3000},  {197, 768, 192}, {1576, 576, 192}};

typedef struct args {
    vq_linear_f32 *op;
    int m;
    check_buf *x, *bias, *other, *y;
    vq_linear_epilogue epilogue;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    const vq_linear_f32_io io = {.x = a->x->buf,
                                 .bias = a->bias ? a->bias->buf : NULL,
                                 .other = a->other ? a->other->buf : NULL,
                                 .y = a->y->buf,
                                 .m = a->m,
                                 .epilogue = a->epilogue};
    return vq_linear_f32_run(dev, a->op, &io);
}

static void check_shape(check *ck, int m, int n, int k, int which)
{
    static const char *const names[] = {"plain", "gelu", "add", "add_in_place"};
    const vq_linear_epilogue epilogue = (vq_linear_epilogue)VQ_MIN(which, 2);
    const size_t count = (size_t)m * (size_t)n, weights = (size_t)n * (size_t)k;
    const double work = (double)count * k;
    /* kernels compute whole tiles, however few rows and columns they have */
    const double most = (double)VQ_ROUND_UP(m, 16) * VQ_ROUND_UP(n, 16) * k;
    const bool has_bias = (m + which) % 3 != 1;
    if (!check_case(ck, most, "m%d_n%d_k%d_%s%s", m, n, k, names[which], has_bias ? "_bias" : "")) return;
    float *const w = check_alloc(ck, weights * sizeof *w);
    args a = {.m = m, .epilogue = epilogue, .x = check_in_f32(ck, (size_t)m * (size_t)k, -1, 2)};
    check_fill_f32(ck, w, weights, -2, 1);
    if (has_bias) a.bias = check_in_f32(ck, (size_t)n, -3, 3);
    if (epilogue == VQ_LINEAR_ADD) a.other = check_in_f32(ck, count, -9, 9);
    a.y = which == 3 ? a.other : check_out(ck, count * sizeof(float));
    vq_ref_linear_f32(m, n, k, a.x->host, w, has_bias ? a.bias->host : NULL, epilogue, a.other ? a.other->host : NULL,
                      a.y->want);
    const bool made = vq_linear_f32_create(&a.op, check_device(ck), n, k) == VQ_OK &&
                      vq_linear_f32_set(a.op, check_device(ck), w) == VQ_OK;
    check_that(ck, made, "no layer");
    if (made && check_run(ck, run, &a)) {
        check_near_f32(ck, "y", a.y, (size_t)n, (size_t)n, 1e-10, 1e-6 * (10 + k), 4);
        check_bench(ck, 2 * work, 4 * ((double)m * k + (double)weights + (which > 1 ? 2 : 1) * (double)count));
    }
    vq_linear_f32_destroy(&a.op);
}

void check_linear_f32(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_LINEAR_F32); v; v = check_next(ck))
        for (size_t i = 0; i < 4 * VQ_ARRAY_LEN(shapes); i++)
            check_shape(ck, shapes[i / 4].m, shapes[i / 4].n, shapes[i / 4].k, (int)(i % 4));
}
