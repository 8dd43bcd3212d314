/* peak on every variant: the number of products taken, and copies of sizes that vectors and groups do not divide. */
#include "check.h"
#include "ops/peak.h"

typedef struct args {
    vq_peak_kind kind;
    int steps, passes;
    const check_buf *in, *out;
} args;

static vq_status run_products(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_peak_run(dev, a->kind, a->out->buf, a->steps, a->passes);
}

static vq_status run_copy(void *user, vq_device *dev)
{
    const args *const a = user;
    VQ_TRY(vq_peak_nothing_run(dev));
    return vq_peak_copy_run(dev, a->in->buf, a->out->buf, a->in->bytes);
}

static void check_products(check *ck, vq_peak_kind kind, int steps, int passes)
{
    const size_t items = vq_peak_items(check_device(ck));
    const int products = vq_peak_products(check_device(ck), kind);
    const double total = (double)items * products * steps * passes;
    if (!check_case(ck, total / 16, "%s_s%d_p%d", kind == VQ_PEAK_S8 ? "s8" : "f32", steps, passes)) return;
    check_buf *const out = check_out(ck, items * sizeof(int32_t));
    for (size_t i = 0; i < items; i++)
        ((uint32_t *)out->want)[i] = (uint32_t)products * (uint32_t)steps * (uint32_t)passes;
    args a = {kind, steps, passes, NULL, out};
    if (!check_run(ck, run_products, &a)) return;
    check_equal_s32(ck, "products", out, items, items);
    check_bench(ck, 2 * total, 0);
}

static void check_copy(check *ck, int vectors)
{
    const size_t count = 4 * (size_t)vectors;
    if (!check_case(ck, (double)count, "copy_%d", vectors)) return;
    check_buf *const in = check_in_s32(ck, count, INT32_MIN, INT32_MAX), *const out = check_out(ck, in->bytes);
    for (size_t i = 0; i < count; i++) ((int32_t *)out->want)[i] = ((const int32_t *)in->host)[i];
    args a = {VQ_PEAK_S8, 0, 0, in, out};
    if (!check_run(ck, run_copy, &a)) return;
    check_equal_s32(ck, "copy", out, count, count);
    check_bench(ck, 0, 8.0 * (double)count);
}

void check_peak(check *ck)
{
    static const int copies[] = {1, 3, 4, 5, 17, 64, 1023, 4099, 100001};
    for (const vq_variant *v = check_first(ck, VQ_OP_PEAK); v; v = check_next(ck)) {
        for (int kind = VQ_PEAK_S8; kind <= VQ_PEAK_F32; kind++) {
            check_products(ck, (vq_peak_kind)kind, 1, 1);
            check_products(ck, (vq_peak_kind)kind, 3, 2);
            check_products(ck, (vq_peak_kind)kind, VQ_PEAK_MAX_STEPS, 5);
        }
        for (size_t i = 0; i < VQ_ARRAY_LEN(copies); i++) check_copy(ck, copies[i]);
    }
}
