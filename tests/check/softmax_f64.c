/* softmax_f64, in place and not: the witness's figures, but for the last bit now and then. */
#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int rows, t;
} shapes[] = {{1, 1}, {3, 2}, {5, 7}, {17, 8}, {2, 63}, {33, 65}, {7, 197}, {1, 1031}, {591, 197}};

typedef struct args {
    check_buf *x, *y;
    int rows, t;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_softmax_f64_run(dev, t->x->buf, t->y->buf, (size_t)t->rows, t->t);
}

void check_softmax_f64(check *ck)
{
    for (const vq_variant *v = check_first(ck, VQ_OP_SOFTMAX_F64); v; v = check_next(ck))
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(shapes); i++) {
            const int rows = shapes[i / 2].rows, cols = shapes[i / 2].t;
            const size_t count = (size_t)rows * (size_t)cols;
            const bool in_place = i % 2;
            if (!check_case(ck, 4.0 * rows * cols, "rows%d_t%d%s", rows, cols, in_place ? "_in_place" : "")) continue;
            args t = {check_in_f32(ck, count, in_place ? -900 : -40, 30), NULL, rows, cols};
            t.y = in_place ? t.x : check_out(ck, count * sizeof(float));
            vq_ref_softmax_f32(t.x->host, t.y->want, (size_t)rows, cols);
            if (!check_run(ck, run, &t)) continue;
            check_near_f32(ck, "y", t.y, (size_t)cols, (size_t)cols, 1e-15, 1e-38, 1);
            if (!in_place) check_bench(ck, 8.0 * rows * cols, 8.0 * rows * cols);
        }
}
