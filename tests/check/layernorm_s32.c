/* layernorm_s32 on every variant: ordinary rows, and rows at the ends of every range. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

typedef struct shape {
    int m, c;
    bool wild; /* any s32 values and any constants, not those of a layer */
} shape;

typedef struct args {
    vq_layernorm_s32 *op;
    const check_buf *x, *codes;
    int ldx, ld_codes, m;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_layernorm_s32_run(dev, a->op, a->x->buf, a->ldx, a->codes->buf, a->ld_codes, a->m);
}

static vq_layernorm_s32_weights make_weights(check *ck, const shape *s, bool set)
{
    const size_t c = (size_t)s->c;
    int32_t *const mult = check_alloc(ck, c * sizeof *mult);
    int64_t *const bias = check_alloc(ck, c * sizeof *bias);
    uint8_t *const shift = check_alloc(ck, c);
    const int bits = check_between(ck, 1, 8);
    check_fill_s32(ck, mult, c, -INT32_MAX, INT32_MAX);
    check_fill_u8(ck, shift, c, s->wild ? 1 : 42, s->wild ? 62 : 50);
    for (size_t i = 0; i < c; i++) {
        const int64_t limit = s->wild ? ((int64_t)1 << 61) - 1 : (int64_t)1 << (shift[i] + bits);
        bias[i] = (int64_t)((double)vq_rng_uniform(check_rng(ck)) * 2 * (double)limit * 0.99) - limit;
        if (s->wild && i % 5 == 0) bias[i] = i % 2 ? limit : -limit;
    }
    const uint64_t eps = s->wild ? (uint64_t)check_between(ck, 1, 3) : 4295;
    return (vq_layernorm_s32_weights){s->c, eps, mult, shift, bias, bits, set};
}

static void check_shape(check *ck, const shape *s, bool set)
{
    const int ldx = s->c + (s->wild ? 3 : 0), ld_codes = VQ_ROUND_UP(s->c, VQ_CODE_PITCH) + (s->wild ? 16 : 0);
    const size_t m = (size_t)s->m;
    if (!check_case(ck, 30.0 * s->m * s->c, "m%d_c%d%s%s", s->m, s->c, s->wild ? "_wild" : "", set ? "_set" : ""))
        return;
    const vq_layernorm_s32_weights w = make_weights(ck, s, set);
    const int32_t limit = s->wild ? INT32_MAX : 50 << VQ_RESIDUAL_BITS;
    check_buf *const x = check_in_s32(ck, m * (size_t)ldx, s->wild ? INT32_MIN : -limit, limit);
    check_buf *const codes = check_out(ck, m * (size_t)ld_codes * (set ? sizeof(int32_t) : 1));
    args a = {NULL, x, codes, ldx, ld_codes, s->m};
    const vq_status status = vq_layernorm_s32_create(&a.op, check_device(ck), &w);
    check_that(ck, status == VQ_OK, "the op could not be created: %s", vq_status_name(status));
    if (status != VQ_OK) return;
    vq_ref_layernorm_s32(&w, x->host, ldx, codes->want, ld_codes, s->m);
    if (check_run(ck, run, &a)) {
        if (set)
            check_equal_s32(ck, "results", codes, (size_t)s->c, (size_t)ld_codes);
        else
            check_equal_u8(ck, "codes", codes, (size_t)s->c, (size_t)ld_codes);
        check_bench(ck, (double)s->m * s->c, 5.0 * s->m * s->c);
    }
    vq_layernorm_s32_destroy(&a.op);
}

void check_layernorm_s32(check *ck)
{
    static const shape shapes[] = {
        {1, 1, false},   {3, 7, false},   {2, 16, false},  {5, 33, false},   {17, 96, false},  {1, 1, true},
        {4, 5, true},    {3, 15, true},   {20, 48, true},  {9, 17, true},    {33, 31, true},   {6, 129, true},
        {2, 4095, true}, {3, 768, false}, {3, 2048, true}, {1, 4095, false}, {50, 192, false}, {1576, 192, false}};
    for (const vq_variant *v = check_first(ck, VQ_OP_LAYERNORM_S32); v; v = check_next(ck))
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i / 2], i % 2);
}
