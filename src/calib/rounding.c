#include "calib/rounding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/linalg.h"
#include "ops/ops_f32.h"

typedef struct rounding {
    vq_device *dev;
    const vq_rounding_task *task;
    int32_t *order;
    vq_buf *factor, *gram; /* both of the damped matrix */
    const vq_buf *codes, *values;
    /* what every row keeps, and its error */
    float *scale, *zero, *least;
    uint8_t *kept;
    /* of one trial */
    float *trial_scale, *trial_zero, *error;
    uint8_t *trial;
} rounding;

/* Inputs of the most energy first: their errors have the most others left to make up for them. */
static vq_status order_by_diagonal(int32_t **out, const double *gram, int k)
{
    VQ_TRY(vq_alloc(out, (size_t)k, sizeof **out, "order"));
    for (int i = 0; i < k; i++) { /* insertion: k is a layer's width, and the factorization costs k^3 */
        const double d = gram[(size_t)i * (size_t)k + (size_t)i];
        int at = i;
        for (; at > 0; at--) {
            const size_t before = (size_t)(*out)[at - 1];
            if (gram[before * (size_t)k + before] >= d) break;
            (*out)[at] = (*out)[at - 1];
        }
        (*out)[at] = i;
    }
    return VQ_OK;
}

static vq_status upload_damped(vq_buf **out, vq_device *dev, const vq_rounding_task *t)
{
    const size_t k = (size_t)t->k;
    double mean = 0;
    float *h = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&h, k * k, sizeof *h, "Gram matrix"));
    for (size_t i = 0; i < k; i++) mean += t->gram[i * k + i] / (double)k;
    for (size_t i = 0; i < k * k; i++) h[i] = (float)t->gram[i];
    for (size_t i = 0; i < k; i++) h[i * k + i] = (float)(t->gram[i * k + i] + (mean > 0 ? t->damping * mean : 1));
    VQ_GO(vq_buf_create_from(out, dev, h, k * k * sizeof *h));
done:
    free(h);
    return status;
}

static vq_status rounding_begin(rounding *r)
{
    const vq_rounding_task *const t = r->task;
    const size_t n = (size_t)t->n, k = (size_t)t->k;
    float *factor = NULL;
    vq_status status = VQ_OK;
    VQ_GO(order_by_diagonal(&r->order, t->gram, t->k));
    VQ_GO(vq_alloc(&factor, k * k, sizeof *factor, "factorization"));
    VQ_GO(vq_inverse_factor(factor, t->gram, r->order, t->k, t->damping));
    VQ_GO(vq_buf_create_from(&r->factor, r->dev, factor, k * k * sizeof *factor));
    VQ_GO(upload_damped(&r->gram, r->dev, t));
    float **const arrays[] = {&r->scale, &r->zero, &r->least, &r->trial_scale, &r->trial_zero, &r->error};
    for (size_t i = 0; i < VQ_ARRAY_LEN(arrays); i++) VQ_GO(vq_alloc(arrays[i], n, sizeof(float), "rounding"));
    VQ_GO(vq_alloc(&r->kept, n, k, "rounding"));
    VQ_GO(vq_alloc(&r->trial, n, k, "rounding"));
done:
    free(factor);
    return status;
}

static void rounding_end(rounding *r)
{
    vq_buf_destroy(&r->factor);
    vq_buf_destroy(&r->gram);
    free(r->order);
    free(r->scale);
    free(r->zero);
    free(r->least);
    free(r->kept);
    free(r->trial_scale);
    free(r->trial_zero);
    free(r->error);
    free(r->trial);
}

/* Rounds with the ranges of the trial; rows that are better than what they have keep it. */
static vq_status try_ranges(rounding *r, int levels)
{
    const vq_rounding_task *const t = r->task;
    const size_t k = (size_t)t->k;
    VQ_TRY(vq_gptq_run(r->dev, t->weight, r->factor, r->order, r->trial_scale, r->trial_zero, t->n, t->k, levels,
                       r->codes, r->values));
    for (int i = 0; i < t->sweeps; i++)
        VQ_TRY(vq_descent_run(r->dev, t->weight, r->gram, r->trial_scale, r->trial_zero, t->n, t->k, levels, r->codes,
                              r->values, i + 1 == t->sweeps ? r->error : NULL));
    VQ_TRY(vq_buf_read(r->dev, r->codes, 0, r->trial, (size_t)t->n * k));
    for (int i = 0; i < t->n; i++) {
        if (!(r->error[i] < r->least[i])) continue;
        r->least[i] = r->error[i];
        r->scale[i] = r->trial_scale[i];
        r->zero[i] = r->trial_zero[i];
        memcpy(r->kept + (size_t)i * k, r->trial + (size_t)i * k, k);
    }
    return VQ_OK;
}

static vq_status try_all(rounding *r, const vq_quantizer *q)
{
    const int n = r->task->n;
    for (int i = 0; i < n; i++) r->least[i] = INFINITY;
    for (int j = 0; j < r->task->ranges; j++) {
        for (int i = 0; i < n; i++) {
            r->trial_scale[i] = q->scale[i] * (1.05f - 0.05f * (float)j);
            r->trial_zero[i] = q->zero[i];
        }
        VQ_TRY(try_ranges(r, q->levels));
    }
    for (int side = -1; side <= 1; side += 2) {
        for (int i = 0; i < n; i++) {
            r->trial_scale[i] = r->scale[i];
            r->trial_zero[i] = fminf(fmaxf(q->zero[i] + (float)side, 0), (float)(q->levels - 1));
        }
        VQ_TRY(try_ranges(r, q->levels));
    }
    return VQ_OK;
}

/* codes and values become those kept. */
static vq_status keep(rounding *r, vq_quantizer *q)
{
    const size_t n = (size_t)r->task->n, k = (size_t)r->task->k;
    float *value = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&value, n * k, sizeof *value, "rounding"));
    for (size_t i = 0; i < n; i++) {
        if (r->least[i] == INFINITY)
            VQ_GO(vq_fail(VQ_ERR_INVALID_ARG, "a row of weights has no finite rounding error"));
        q->scale[i] = r->scale[i];
        q->zero[i] = r->zero[i];
        for (size_t j = 0; j < k; j++) value[i * k + j] = ((float)r->kept[i * k + j] - r->zero[i]) * r->scale[i];
    }
    VQ_GO(vq_buf_write(r->dev, r->codes, 0, r->kept, n * k));
    VQ_GO(vq_buf_write(r->dev, r->values, 0, value, n * k * sizeof *value));
done:
    free(value);
    return status;
}

vq_status vq_round_gptq(vq_device *dev, const vq_rounding_task *task, vq_quantizer *q, const vq_buf *codes,
                        const vq_buf *values)
{
    rounding r = {.dev = dev, .task = task, .codes = codes, .values = values};
    vq_status status = VQ_OK;
    VQ_GO(rounding_begin(&r));
    if (task->ranges > 1) {
        VQ_GO(try_all(&r, q));
        VQ_GO(keep(&r, q));
    } else {
        VQ_GO(vq_gptq_run(dev, task->weight, r.factor, r.order, q->scale, q->zero, task->n, task->k, q->levels, codes,
                          values));
        for (int i = 0; i < task->sweeps; i++)
            VQ_GO(vq_descent_run(dev, task->weight, r.gram, q->scale, q->zero, task->n, task->k, q->levels, codes,
                                 values, NULL));
    }
done:
    rounding_end(&r);
    return status;
}
