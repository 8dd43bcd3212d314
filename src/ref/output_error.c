/* Witness of output_error: one row and one candidate at a time. Codes are a matter of float32 arithmetic, what follows
 * them is in double. */
#include "ref/ref_f32.h"

#include <math.h>
#include <stdlib.h>

static double uniform_value(float x, float scale, float zero, int levels)
{
    const float code = fminf(fmaxf(rintf(x / scale) + zero, 0.0f), (float)(levels - 1));
    return ((double)code - (double)zero) * (double)scale;
}

static double value_of(const vq_candidates *c, int j, float x)
{
    const float scale = c->scale[j], zero = c->zero[j];
    const size_t steps = (size_t)(c->levels - 1);
    int code = 0;
    if (!c->thresholds) return uniform_value(x, scale, zero, c->levels);
    while (code < c->levels - 1 && c->thresholds[(size_t)j * steps + (size_t)code] <= x) code++;
    return ((double)c->values[(size_t)j * (size_t)c->levels + (size_t)code] - (double)zero) * (double)scale;
}

/* Sums over rows and columns: squared errors, and the three that a cosine is made of. */
typedef struct sums {
    double error, target, product, both;
} sums;

static void add_row(sums *s, int n, int k, const double *operand, const double *weights, const float *bias,
                    const float *y)
{
    for (int i = 0; i < n; i++) {
        const double target = (double)y[i] - (bias ? (double)bias[i] : 0.0);
        double product = 0.0;
        for (int at = 0; at < k; at++) product += operand[at] * weights[(size_t)i * (size_t)k + (size_t)at];
        s->error += (target - product) * (target - product);
        s->target += target * target;
        s->product += product * product;
        s->both += target * product;
    }
}

vq_status vq_ref_output_error(const vq_output_error_shape *shape, int n, int k, int batches, const double *weights,
                              const float *bias, const float *x, const float *y, const vq_candidates *candidates,
                              double *error)
{
    const int step = shape->row_step ? shape->row_step : 1;
    const size_t outer = shape->outer ? (size_t)shape->outer : 1, inner = shape->inner ? (size_t)shape->inner : 1;
    double *operand = NULL;
    sums *all = NULL;
    size_t rows = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&operand, (size_t)k, sizeof *operand, "a row"));
    VQ_GO(vq_alloc(&all, (size_t)candidates->num, sizeof *all, "sums"));
    for (size_t b = 0; b < outer * inner; b++)
        for (int m = 0; m < shape->m; m += step, rows++) {
            const float *const in = x + shape->x_offset + b / inner * shape->x_outer + b % inner * shape->x_inner +
                                    (size_t)m * (size_t)shape->ldx;
            const float *const want = y + shape->y_offset + b / inner * shape->y_outer + b % inner * shape->y_inner +
                                      (size_t)m * (size_t)shape->ldy;
            const double *const w = weights + (batches > 1 ? b : 0) * (size_t)n * (size_t)k;
            for (int j = 0; j < candidates->num; j++) {
                for (int i = 0; i < k; i++) operand[i] = value_of(candidates, j, in[i]);
                add_row(&all[j], n, k, operand, w, bias, want);
            }
        }
    for (int j = 0; j < candidates->num; j++) {
        const double sizes = sqrt(all[j].target) * sqrt(all[j].product);
        error[j] = !candidates->cosine ? all[j].error / ((double)rows * n) : sizes > 0 ? 1 - all[j].both / sizes : 1;
    }
done:
    free(operand);
    free(all);
    return status;
}
