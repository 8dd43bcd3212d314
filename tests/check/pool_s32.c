/* pool_s32 on every variant: one and two parts, s32 and codes, rows at the ends of the range. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

typedef struct args {
    vq_pool_s32_weights w;
    const check_buf *x, *out;
    int ld_out, batch;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_pool_s32_run(dev, &a->w, a->x->buf, a->out->buf, a->ld_out, a->batch);
}

typedef struct shape {
    int rows, c, first, count, batch;
    int token; /* a second part, that row; -1: none */
} shape;

static void check_shape(check *ck, const shape *s, bool set)
{
    const int parts = s->token < 0 ? 1 : 2;
    const size_t values = (size_t)s->rows * (size_t)s->c * (size_t)s->batch;
    if (!check_case(ck, 2.0 * (double)values, "r%d_c%d_n%d_b%d%s%s", s->rows, s->c, s->count, s->batch,
                    parts > 1 ? "_two" : "", set ? "_set" : ""))
        return;
    args a = {.w = {.rows = s->rows,
                    .c = s->c,
                    .parts = parts,
                    .first = {s->first, s->token},
                    .count = {s->count, 1},
                    .set = set,
                    .mult = check_between(ck, 1 << 30, INT32_MAX),
                    .shift = check_between(ck, 24, 55),
                    .zero = check_between(ck, -40, 300),
                    .bits = check_between(ck, 2, 8)},
              .ld_out = VQ_ROUND_UP(parts * s->c, VQ_CODE_PITCH) + (s->rows % 2 ? 16 : 0),
              .batch = s->batch};
    a.x = check_in_s32(ck, values, INT32_MIN, INT32_MAX);
    check_buf *const out = check_out(ck, (size_t)s->batch * (size_t)a.ld_out * (set ? sizeof(int32_t) : 1));
    a.out = out;
    vq_ref_pool_s32(&a.w, a.x->host, out->want, a.ld_out, s->batch);
    if (!check_run(ck, run, &a)) return;
    if (set)
        check_equal_s32(ck, "out", out, (size_t)(parts * s->c), (size_t)a.ld_out);
    else
        check_equal_u8(ck, "out", out, (size_t)(parts * s->c), (size_t)a.ld_out);
    check_bench(ck, 0, 4.0 * (double)values);
}

void check_pool_s32(check *ck)
{
    static const shape shapes[] = {
        {1, 1, 0, 1, 1, -1},    {2, 5, 1, 1, 3, 0},        {7, 16, 2, 4, 2, -1},    {5, 17, 0, 5, 2, 4},
        {50, 33, 1, 49, 2, 0},  {4095, 3, 0, 4095, 1, -1}, {257, 65, 1, 256, 1, 0}, {197, 192, 1, 196, 4, -1},
        {198, 192, 0, 1, 8, 1}, {49, 768, 0, 49, 4, -1},
    };
    for (const vq_variant *v = check_first(ck, VQ_OP_POOL_S32); v; v = check_next(ck))
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i / 2], i % 2);
}
