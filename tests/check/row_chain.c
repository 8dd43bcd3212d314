/* Chains of row-wise ops on every variant of gemm_s8 that can be part of one: each op's result against its witness,
 * which reads what the witnesses before it have made. */
#include "check.h"
#include "ops/row_chain.h"
#include "ref/ref_int.h"

enum { PROJ, NORM, FC1, FC2, QKV, NUM_OPS };

typedef struct shape {
    int m, c, hidden;
} shape;

typedef struct args {
    const vq_gemm_s8_weights *gemm[NUM_OPS];
    const vq_layernorm_s32_weights *norm;
    vq_row_io ios[NUM_OPS];
} args;

/* Ops and chain anew, so that creation is part of what is checked. */
static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    vq_gemm_s8 *gemm[NUM_OPS] = {NULL};
    vq_layernorm_s32 *norm = NULL;
    vq_row_op ops[NUM_OPS];
    vq_row_chain *chain = NULL;
    vq_status status = VQ_OK;
    for (int i = 0; i < NUM_OPS; i++) {
        if (i == NORM)
            VQ_GO(vq_layernorm_s32_create_part(&norm, dev, a->norm));
        else
            VQ_GO(vq_gemm_s8_create_part(&gemm[i], dev, a->gemm[i], VQ_STORAGE_DEFAULT));
        ops[i] = (vq_row_op){.gemm = gemm[i], .layernorm = i == NORM ? norm : NULL};
    }
    VQ_GO(vq_row_chain_create(&chain, dev, ops, NUM_OPS));
    VQ_GO(vq_row_chain_run(dev, chain, a->ios));
    VQ_GO(vq_device_finish(dev));
done:
    vq_row_chain_destroy(&chain);
    vq_layernorm_s32_destroy(&norm);
    for (int i = 0; i < NUM_OPS; i++) vq_gemm_s8_destroy(&gemm[i]);
    return status;
}

/* Codes of 8 bits; weights of 8 bits with zero points, or, where w_max is 7, such as are packed. */
static vq_gemm_s8_weights *make_gemm(check *ck, vq_gemm_epilogue epilogue, int n, int k, int w_max)
{
    const size_t rows = (size_t)n, count = rows * (size_t)k;
    vq_gemm_s8_weights *const w = check_alloc(ck, sizeof *w);
    int8_t *const values = check_alloc(ck, count);
    int32_t *const ints = check_alloc(ck, 4 * rows * sizeof *ints);
    uint8_t *const shift = check_alloc(ck, rows), *const table = check_alloc(ck, 1024);
    check_fill_s8(ck, values, count, -w_max, w_max);
    check_fill_s32(ck, ints, rows, -100000, 100000);
    for (size_t i = 0; i < rows; i++) {
        ints[rows + i] = check_between(ck, 1 << 30, INT32_MAX);
        ints[2 * rows + i] = epilogue == VQ_GEMM_TABLE ? 512 : 128;
        ints[3 * rows + i] = check_between(ck, -128, 128);
        shift[i] = (uint8_t)(epilogue >= VQ_GEMM_ADD ? 30 : 42);
    }
    for (int i = 0; i < 1024; i++) table[i] = (uint8_t)(i / 4);
    *w = (vq_gemm_s8_weights){.n = n,
                              .k = k,
                              .a_max = 255,
                              .w_abs_max = w_max,
                              .w = values,
                              .bias = ints,
                              .mult = ints + rows,
                              .zero = ints + 2 * rows,
                              .w_zero = w_max > 7 ? ints + 3 * rows : NULL,
                              .shift = shift,
                              .epilogue = epilogue,
                              .bits = 8};
    if (epilogue == VQ_GEMM_TABLE) {
        w->table = table;
        w->table_len = 1024;
    }
    return w;
}

static vq_layernorm_s32_weights *make_norm(check *ck, int c)
{
    vq_layernorm_s32_weights *const w = check_alloc(ck, sizeof *w);
    int32_t *const mult = check_alloc(ck, (size_t)c * sizeof *mult);
    int64_t *const bias = check_alloc(ck, (size_t)c * sizeof *bias);
    uint8_t *const shift = check_alloc(ck, (size_t)c);
    check_fill_s32(ck, mult, (size_t)c, -INT32_MAX, INT32_MAX);
    check_fill_u8(ck, shift, (size_t)c, 42, 50);
    for (int i = 0; i < c; i++) bias[i] = (int64_t)check_between(ck, -255, 255) << shift[i];
    *w = (vq_layernorm_s32_weights){.c = c, .eps = 4295, .mult = mult, .shift = shift, .bias = bias, .bits = 8};
    return w;
}

static void check_shape(check *ck, const shape *s)
{
    const int ld_a = VQ_ROUND_UP(s->c, VQ_CODE_PITCH), ld_x = s->c, ld_h = VQ_ROUND_UP(s->hidden, VQ_CODE_PITCH);
    const int ld_qkv = VQ_ROUND_UP(3 * s->c, VQ_CODE_PITCH), m = s->m;
    const size_t rows = (size_t)m;
    const double work = (double)m * s->c * (4.0 * s->c + 2.0 * s->hidden);
    if (!check_case(ck, work, "chain_m%d_c%d_h%d", m, s->c, s->hidden)) return;
    const vq_gemm_s8_weights *const proj = make_gemm(ck, VQ_GEMM_ADD, s->c, s->c, 127),
                                    *const fc1 = make_gemm(ck, VQ_GEMM_TABLE, s->hidden, s->c, 127),
                                    *const fc2 = make_gemm(ck, VQ_GEMM_ADD, s->c, s->hidden, 7),
                                    *const qkv = make_gemm(ck, VQ_GEMM_CODES, 3 * s->c, s->c, 7);
    const vq_layernorm_s32_weights *const norm = make_norm(ck, s->c);
    check_buf *const a = check_in_u8(ck, rows * (size_t)ld_a, 0, 255);
    check_buf *const x = check_in_s32(ck, rows * (size_t)ld_x, -(9 << 16), 9 << 16);
    check_buf *const normed = check_out(ck, rows * (size_t)ld_a), *const hidden = check_out(ck, rows * (size_t)ld_h);
    check_buf *const out = check_out(ck, rows * (size_t)ld_qkv);
    vq_ref_gemm_s8(proj, a->host, ld_a, x->want, ld_x, m, 0, 0, 0);
    vq_ref_layernorm_s32(norm, x->want, ld_x, normed->want, ld_a, m);
    vq_ref_gemm_s8(fc1, normed->want, ld_a, hidden->want, ld_h, m, 0, 0, 0);
    vq_ref_gemm_s8(fc2, hidden->want, ld_h, x->want, ld_x, m, 0, 0, 0);
    vq_ref_gemm_s8(qkv, normed->want, ld_a, out->want, ld_qkv, m, 0, 0, 0);
    args r = {.gemm = {proj, NULL, fc1, fc2, qkv}, .norm = norm};
    r.ios[PROJ].gemm = (vq_gemm_s8_io){.a = a->buf, .c = x->buf, .m = m, .lda = ld_a, .ldc = ld_x};
    r.ios[NORM].layernorm = (vq_layernorm_s32_io){x->buf, normed->buf, m, ld_x, ld_a};
    r.ios[FC1].gemm = (vq_gemm_s8_io){.a = normed->buf, .c = hidden->buf, .m = m, .lda = ld_a, .ldc = ld_h};
    r.ios[FC2].gemm = (vq_gemm_s8_io){.a = hidden->buf, .c = x->buf, .m = m, .lda = ld_h, .ldc = ld_x};
    r.ios[QKV].gemm = (vq_gemm_s8_io){.a = normed->buf, .c = out->buf, .m = m, .lda = ld_a, .ldc = ld_qkv};
    if (!check_run(ck, run, &r)) return;
    check_equal_s32(ck, "x", x, (size_t)s->c, (size_t)ld_x);
    check_equal_u8(ck, "normed", normed, (size_t)s->c, (size_t)ld_a);
    check_equal_u8(ck, "hidden", hidden, (size_t)s->hidden, (size_t)ld_h);
    check_equal_u8(ck, "qkv", out, (size_t)(3 * s->c), (size_t)ld_qkv);
}

void check_row_chain(check *ck)
{
    static const shape shapes[] = {{5, 33, 70}, {1, 48, 192}, {401, 48, 192}};
    for (const vq_variant *v = check_first(ck, VQ_OP_GEMM_S8); v; v = check_next(ck))
        if (vq_row_chain_fits(check_device(ck), VQ_OP_GEMM_S8, VQ_OP_LAYERNORM_S32))
            for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, &shapes[i]);
}
