#include "calib/output_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

vq_status vq_output_layer_codes(vq_output_layer *l, vq_device *dev, const uint8_t *codes, const vq_quantizer *q, int n,
                                int k, const float *bias)
{
    const size_t count = (size_t)n * (size_t)k;
    vq_output_error_s8 w = {.n = n, .k = k, .a_max = 255, .w_abs_max = 128, .scale = q->scale};
    int8_t *s8 = NULL;
    int32_t *zero = NULL;
    vq_buf *bias_buf = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&s8, count, 1, "weights"));
    VQ_GO(vq_alloc(&zero, (size_t)n, sizeof *zero, "weights"));
    for (size_t i = 0; i < count; i++) s8[i] = (int8_t)(codes[i] - 128);
    for (int i = 0; i < n; i++) zero[i] = 128 - (int32_t)q->zero[i];
    w.w = s8;
    w.w_zero = zero;
    if (bias) VQ_GO(vq_buf_create_from(&bias_buf, dev, bias, (size_t)n * sizeof *bias));
    VQ_GO(vq_output_error_create_s8(&l->op, dev, &w, bias_buf));
done:
    vq_buf_destroy(&bias_buf);
    free(s8);
    free(zero);
    return status;
}

vq_status vq_output_layer_floats(vq_output_layer *l, vq_device *dev, const vq_matrix *w, int items, int n, int k)
{
    const vq_output_error_f32 shape = {
        .n = n, .k = k, .ld = w->ld, .outer = items, .inner = 1, .offset = w->offset, .stride_outer = w->stride};
    vq_output_error_destroy(&l->op);
    return vq_output_error_create_f32(&l->op, dev, &shape, w->buf, NULL);
}

void vq_output_layer_end(vq_output_layer *l)
{
    vq_output_error_destroy(&l->op);
}

/* Items, or rows that count: loads them, and scores them where there is a sweep. */
static vq_status add_part(vq_output_layer *l, vq_output_sweep *sweep, vq_device *dev, int first, int count)
{
    if (l->load && (l->loaded_first != first || l->loaded_count != count)) {
        l->loaded_count = 0;
        VQ_TRY(l->load(l, first, count));
        l->loaded_first = first;
        l->loaded_count = count;
    }
    if (!sweep) return VQ_OK;
    const vq_output_error_shape shape = {.m = l->by_rows ? count : l->m,
                                         .row_step = l->by_rows ? 1 : l->row_step,
                                         .ldx = l->x.ld,
                                         .ldy = l->y.ld,
                                         .outer = l->by_rows ? 1 : count,
                                         .inner = 1,
                                         .x_offset = l->x.offset,
                                         .x_outer = l->x.stride,
                                         .y_offset = l->y.offset,
                                         .y_outer = l->y.stride};
    return vq_output_sweep_add(sweep, dev, l->op, &shape, l->x.buf, l->y.buf);
}

static vq_status run(const vq_score *s, const vq_candidates *candidates, double *error)
{
    vq_output_layer *const l = s->layer;
    const int rows = VQ_CEIL_DIV(l->m, l->row_step), total = l->by_rows ? rows : l->batch;
    int step = l->load ? VQ_MIN(l->at_once, total) : total;
    vq_output_sweep *sweep = NULL;
    vq_status status = VQ_OK;
    if (l->load && !l->op) VQ_TRY(add_part(l, NULL, s->dev, 0, step)); /* n and k are those of every part */
    VQ_GO(vq_output_sweep_begin(&sweep, s->dev, l->op, rows, (size_t)l->batch, candidates));
    if (l->by_rows && step < total) {
        const int panel = vq_output_sweep_panel(sweep);
        step = VQ_MAX(step / panel, 1) * panel;
    }
    for (int first = 0; first < total; first += step)
        VQ_GO(add_part(l, sweep, s->dev, first, VQ_MIN(step, total - first)));
    vq_output_sweep_errors(sweep, l->op, error);
done:
    vq_output_sweep_end(&sweep);
    return status;
}

static vq_status output_uniform(const vq_score *s, const float *scale, const float *zero, int num, int levels,
                                double *error)
{
    const vq_output_layer *const l = s->layer;
    return run(s,
               &(const vq_candidates){.num = num, .levels = levels, .cosine = l->cosine, .scale = scale, .zero = zero},
               error);
}

static vq_status output_codebook(const vq_score *s, const vq_quantizer *candidates, int num, double *error)
{
    const size_t levels = (size_t)candidates[0].levels;
    const vq_output_layer *const l = s->layer;
    vq_candidates c = {.num = num, .levels = (int)levels, .cosine = l->cosine};
    float *f = NULL;
    uint16_t *values = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&f, (size_t)num * (levels + 1), sizeof *f, "candidates"));
    VQ_GO(vq_alloc(&values, (size_t)num * levels, sizeof *values, "candidates"));
    float *const thresholds = f + 2 * num;
    for (int j = 0; j < num; j++) {
        const vq_quantizer *const q = &candidates[j];
        f[j] = q->scale[0];
        f[num + j] = q->zero[0];
        memcpy(thresholds + (size_t)j * (levels - 1), q->thresholds, (levels - 1) * sizeof *f);
        memcpy(values + (size_t)j * levels, q->values, levels * sizeof *values);
    }
    c.scale = f;
    c.zero = f + num;
    c.thresholds = thresholds;
    c.values = values;
    VQ_GO(run(s, &c, error));
done:
    free(f);
    free(values);
    return status;
}

vq_score vq_score_of_output(vq_device *dev, const vq_groups *all, int group, vq_rows *x, vq_output_layer *layer)
{
    const size_t n = all->count / (size_t)all->groups;
    return (vq_score){.dev = dev,
                      .groups = {n, n, 1},
                      .x = x,
                      .all = *all,
                      .first = group,
                      .uniform = output_uniform,
                      .codebook = output_codebook,
                      .cosine = layer->cosine,
                      .layer = layer};
}
