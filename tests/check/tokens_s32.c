/* tokens_s32 on every variant. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

typedef struct args {
    const check_buf *init, *out;
    int count, batch;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_tokens_s32_run(dev, a->init->buf, a->count, a->out->buf, a->batch);
}

void check_tokens_s32(check *ck)
{
    static const int shapes[][2] = {{1, 1}, {15, 3}, {16, 2}, {257, 4}, {4097, 2}, {197 * 192, 8}};
    for (const vq_variant *v = check_first(ck, VQ_OP_TOKENS_S32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) {
            const int count = shapes[i][0], batch = shapes[i][1];
            const size_t values = (size_t)count * (size_t)batch;
            if (!check_case(ck, 10.0 * (double)values, "n%d_b%d", count, batch)) continue;
            check_buf *const init = check_in_s32(ck, (size_t)count, INT32_MIN, INT32_MAX);
            check_buf *const out = check_out(ck, values * sizeof(int32_t));
            args a = {init, out, count, batch};
            vq_ref_tokens_s32(init->host, count, out->want, batch);
            if (!check_run(ck, run, &a)) continue;
            check_equal_s32(ck, "out", out, (size_t)count, (size_t)count);
            check_bench(ck, 0, 4.0 * (double)values);
        }
}
