/* layernorm_f64: the witness's figures, but for the last bit now and then. */
#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int m, c;
} shapes[] = {{1, 1}, {3, 2}, {5, 15}, {16, 16}, {17, 63}, {33, 65}, {7, 192}, {2, 1000}, {1576, 192}};

typedef struct args {
    check_buf *x, *gamma, *beta, *y;
    int m, c;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_layernorm_f64_run(dev, t->x->buf, t->gamma->buf, t->beta->buf, 1e-6f, t->y->buf, t->m, t->c);
}

void check_layernorm_f64(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_LAYERNORM_F64); v; v = check_next(ck))
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(shapes); i++) {
            const int m = shapes[i / 2].m, c = shapes[i / 2].c;
            const size_t count = (size_t)m * (size_t)c;
            const bool far = i % 2; /* a mean of a thousand deviations */
            if (!check_case(ck, 3.0 * m * c, "m%d_c%d%s", m, c, far ? "_far" : "")) continue;
            args t = {check_in_f32(ck, count, far ? 1000 : -4, far ? 1004 : 20),
                      check_in_f32(ck, (size_t)c, -2, 2),
                      check_in_f32(ck, (size_t)c, -1, 1),
                      check_out(ck, count * sizeof(float)),
                      m,
                      c};
            vq_ref_layernorm_f32(t.x->host, c, t.gamma->host, t.beta->host, 1e-6f, t.y->want, m, c);
            if (!check_run(ck, run, &t)) continue;
            check_near_f32(ck, "y", t.y, (size_t)c, (size_t)c, 1e-15, 1e-12, 1);
            if (!far) check_bench(ck, 8.0 * m * c, 8.0 * m * c);
        }
}
