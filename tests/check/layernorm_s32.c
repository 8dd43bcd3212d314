/* layernorm_s32 on every variant: ordinary rows, and rows at the ends of every range. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

#include <stdio.h>

typedef struct shape {
    int m, c;
    bool wild; /* any s32 values and any constants, not those of a layer */
    int h, w;  /* not 0: rows merged from grids of this size; m counts the merged ones */
    int limit; /* not 0: values are -limit .. limit - 1 */
} shape;

typedef struct args {
    vq_layernorm_s32 *op;
    const check_buf *x, *codes;
    int ldx, ld_codes, m;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    const vq_layernorm_s32_io io = {a->x->buf, a->codes->buf, a->m, a->ldx, a->ld_codes};
    return vq_layernorm_s32_run(dev, a->op, &io);
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
    return (vq_layernorm_s32_weights){s->c, eps, mult, shift, bias, bits, set, s->h, s->w};
}

static void check_shape(check *ck, const shape *s, bool set)
{
    const int cols = s->h ? s->c / 4 : s->c, ldx = cols + (s->wild ? 3 : 0),
              ld_codes = VQ_ROUND_UP(s->c, VQ_CODE_PITCH) + (s->wild ? 16 : 0);
    const int merged = (s->h + 1) / 2 * ((s->w + 1) / 2);
    const size_t m = (size_t)s->m, rows = merged ? m / (size_t)merged * (size_t)(s->h * s->w) : m;
    char grid[32] = "";
    if (s->limit) snprintf(grid, sizeof grid, "_below%d", s->limit);
    if (s->h) snprintf(grid, sizeof grid, "_merge%dx%d", s->h, s->w);
    if (!check_case(ck, 30.0 * s->m * s->c, "m%d_c%d%s%s%s", s->m, s->c, grid, s->wild ? "_wild" : "",
                    set ? "_set" : ""))
        return;
    const vq_layernorm_s32_weights w = make_weights(ck, s, set);
    const int32_t limit = s->wild ? INT32_MAX : s->limit ? s->limit - 1 : 50 << VQ_RESIDUAL_BITS;
    const int32_t least = s->wild ? INT32_MIN : s->limit ? -s->limit : -limit;
    check_buf *const x = check_in_s32(ck, rows * (size_t)ldx, least, limit);
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
        {1, 1, false, 0, 0, 0},
        {3, 7, false, 0, 0, 0},
        {2, 16, false, 0, 0, 0},
        {5, 33, false, 0, 0, 0},
        {17, 96, false, 0, 0, 0},
        {1, 1, true, 0, 0, 0},
        {4, 5, true, 0, 0, 0},
        {3, 15, true, 0, 0, 0},
        {20, 48, true, 0, 0, 0},
        {9, 17, true, 0, 0, 0},
        {33, 31, true, 0, 0, 0},
        {6, 129, true, 0, 0, 0},
        {2, 4095, true, 0, 0, 0},
        {3, 768, false, 0, 0, 0},
        {3, 2048, true, 0, 0, 0},
        {1, 4095, false, 0, 0, 0},
        {50, 192, false, 0, 0, 0},
        {1576, 192, false, 0, 0, 0},
        {1, 4, true, 1, 1, 0},
        {12, 20, false, 3, 4, 0},
        {18, 64, true, 5, 5, 0},
        {32, 384, false, 8, 8, 0},
        {3, 60, true, 2, 6, 0},
        {2, 3072, true, 2, 2, 0},
        /* where one pass is enough, and one value more than that (kernels/layernorm_s32_wide.cl) */
        {33, 1024, false, 0, 0, 1 << 25},
        {33, 1024, false, 0, 0, (1 << 25) + 1},
        {17, 40, false, 0, 0, 1 << 25},
        {3, 1041, false, 0, 0, (1 << 30) / 33},
        {2, 4095, false, 0, 0, 1 << 23},
        {2, 3000, false, 0, 0, 1 << 24}};
    for (const vq_variant *v = check_first(ck, VQ_OP_LAYERNORM_S32); v; v = check_next(ck))
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i / 2], i % 2);
}
