/* What checks of softmax ops share: in place and not, and far below 0. */
#ifndef SOFTMAX_H
#define SOFTMAX_H

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

static const struct {
    int rows, t;
} shapes[] = {{1, 1}, {3, 2}, {5, 7}, {5, 15}, {17, 8}, {17, 16}, {2, 63}, {33, 65}, {7, 197}, {1, 1031}, {591, 197}};

/* How near an op comes to the witness, as check_near_f32 takes it. */
typedef struct form {
    vq_op op;
    vq_status (*run)(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t);
    double max_nmse, abs_bound;
    int ulps;
} form;

typedef struct args {
    const form *form;
    check_buf *x, *y;
    int rows, t;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const t = user;
    return t->form->run(dev, t->x->buf, t->y->buf, (size_t)t->rows, t->t);
}

static void check_softmax(check *ck, const form *f)
{
    for (const vq_variant *v = check_first(ck, f->op); v; v = check_next(ck))
        for (size_t i = 0; i < 3 * VQ_ARRAY_LEN(shapes); i++) {
            const int rows = shapes[i / 3].rows, cols = shapes[i / 3].t, low = i % 3 == 2 ? -900 : -40;
            const size_t count = (size_t)rows * (size_t)cols;
            const bool in_place = i % 3 == 1;
            if (!check_case(ck, 4.0 * rows * cols, "rows%d_t%d_from%d%s", rows, cols, low, in_place ? "_in_place" : ""))
                continue;
            args t = {f, check_in_f32(ck, count, (float)low, 30), NULL, rows, cols};
            t.y = in_place ? t.x : check_out(ck, count * sizeof(float));
            vq_ref_softmax_f32(t.x->host, t.y->want, (size_t)rows, cols);
            if (!check_run(ck, run, &t)) continue;
            check_near_f32(ck, "y", t.y, (size_t)cols, (size_t)cols, f->max_nmse, f->abs_bound, f->ulps);
            if (i % 3 == 0) check_bench(ck, 8.0 * rows * cols, 8.0 * rows * cols);
        }
}

#endif
