/* layernorm_f32. */
#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int m, c, surplus;
} shapes[] = {{1, 1, 0},   {3, 2, 1},   {5, 15, 0},   {16, 16, 3},   {17, 63, 0},
              {33, 65, 5}, {7, 192, 0}, {2, 1000, 7}, {1576, 192, 0}};

typedef struct args {
    check_buf *x, *gamma, *beta, *y;
    int ldx, m, c;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    const vq_layernorm_f32_io io = {t->x->buf, t->gamma->buf, t->beta->buf, t->y->buf, t->m, t->c, t->ldx, 1e-6f};
    return vq_layernorm_f32_run(dev, &io);
}

void check_layernorm_f32(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_LAYERNORM_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) {
            const int m = shapes[i].m, c = shapes[i].c, ldx = c + shapes[i].surplus;
            const size_t count = (size_t)m * (size_t)c;
            if (!check_case(ck, 3.0 * m * c, "m%d_c%d_ld%d", m, c, ldx)) continue;
            args t = {check_in_f32(ck, (size_t)(m - 1) * (size_t)ldx + (size_t)c, -4, 20),
                      check_in_f32(ck, (size_t)c, -2, 2),
                      check_in_f32(ck, (size_t)c, -1, 1),
                      check_out(ck, count * sizeof(float)),
                      ldx,
                      m,
                      c};
            vq_ref_layernorm_f32(t.x->host, ldx, t.gamma->host, t.beta->host, 1e-6f, t.y->want, m, c);
            if (!check_run(ck, run, &t)) continue;
            check_near_f32(ck, "y", t.y, (size_t)c, (size_t)c, 1e-10, 2e-5, 4);
            check_bench(ck, 8.0 * m * c, 8.0 * m * c);
        }
}
