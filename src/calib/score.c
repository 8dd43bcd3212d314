#include "calib/score.h"

#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"

/* Candidates first .. first + count of [groups][num] as [groups][count]. */
static void slice(float *out, const float *x, int groups, int num, int first, int count)
{
    for (int g = 0; g < groups; g++)
        memcpy(out + (size_t)g * (size_t)count, x + (size_t)g * (size_t)num + (size_t)first, (size_t)count * sizeof *x);
}

/* One set of at most VQ_MAX_CANDIDATES after the other; sum is what the parts so far gave, set after set. */
static vq_status add_uniform(const vq_score *s, const vq_groups *part, const vq_buf *x, const float *scale,
                             const float *zero, int num, int levels, double *sum)
{
    const int groups = s->groups.groups;
    const size_t most = (size_t)groups * VQ_MAX_CANDIDATES;
    float *set = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&set, 2 * most, sizeof *set, "candidates"));
    for (int first = 0; first < num; first += VQ_MAX_CANDIDATES) {
        const int count = VQ_MIN(VQ_MAX_CANDIDATES, num - first);
        slice(set, scale, groups, num, first, count);
        slice(set + most, zero, groups, num, first, count);
        VQ_GO(vq_quant_error_uniform_add(s->dev, part, x, set, set + most, count, levels,
                                         sum + (size_t)groups * (size_t)first));
    }
done:
    free(set);
    return status;
}

/* The part of the tensor's groups that n elements are. */
static vq_groups part_of(const vq_groups *g, size_t n)
{
    return (vq_groups){n, g->groups == 1 ? n : g->inner, g->groups};
}

static vq_status tensor_uniform(const vq_score *s, const float *scale, const float *zero, int num, int levels,
                                double *error)
{
    const vq_groups *const g = &s->groups;
    const size_t step = vq_rows_step(s->x, g->count, vq_quant_error_part(g)), groups = (size_t)g->groups;
    double *sum = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&sum, groups * (size_t)num, sizeof *sum, "candidates"));
    for (size_t at = 0; at < g->count; at += step) {
        const vq_groups part = part_of(g, VQ_MIN(step, g->count - at));
        const vq_buf *x = NULL;
        VQ_GO(vq_rows_load(&x, s->x, at, part.count));
        VQ_GO(add_uniform(s, &part, x, scale, zero, num, levels, sum));
    }
    for (int j = 0; j < num; j++) {
        const int first = j / VQ_MAX_CANDIDATES * VQ_MAX_CANDIDATES, set = VQ_MIN(VQ_MAX_CANDIDATES, num - first);
        for (size_t i = 0; i < groups; i++)
            error[i * (size_t)num + (size_t)j] =
                sum[groups * (size_t)first + i * (size_t)set + (size_t)(j - first)] / (double)(g->count / groups);
    }
done:
    free(sum);
    return status;
}

static vq_status add_codebooks(const vq_score *s, const vq_groups *part, const vq_buf *x,
                               const vq_quantizer *candidates, int num, double *sum)
{
    const int levels = candidates[0].levels;
    float *thresholds = NULL, *values = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&thresholds, (size_t)VQ_MAX_CANDIDATES * (size_t)(levels - 1), sizeof *thresholds, "candidates"));
    VQ_GO(vq_alloc(&values, (size_t)VQ_MAX_CANDIDATES * (size_t)levels, sizeof *values, "candidates"));
    for (int first = 0; first < num; first += VQ_MAX_CANDIDATES) {
        const int count = VQ_MIN(VQ_MAX_CANDIDATES, num - first);
        for (int j = 0; j < count; j++) {
            const vq_quantizer *const q = &candidates[first + j];
            memcpy(thresholds + j * (levels - 1), q->thresholds, (size_t)(levels - 1) * sizeof *thresholds);
            for (int l = 0; l < levels; l++) values[j * levels + l] = ((float)q->values[l] - q->zero[0]) * q->scale[0];
        }
        VQ_GO(vq_quant_error_codebook_add(s->dev, part, x, thresholds, values, count, levels, sum + first));
    }
done:
    free(thresholds);
    free(values);
    return status;
}

static vq_status tensor_codebook(const vq_score *s, const vq_quantizer *candidates, int num, double *error)
{
    const size_t count = s->groups.count, step = vq_rows_step(s->x, count, vq_quant_error_part(&s->groups));
    for (int j = 0; j < num; j++) error[j] = 0;
    for (size_t at = 0; at < count; at += step) {
        const vq_groups part = part_of(&s->groups, VQ_MIN(step, count - at));
        const vq_buf *x = NULL;
        VQ_TRY(vq_rows_load(&x, s->x, at, part.count));
        VQ_TRY(add_codebooks(s, &part, x, candidates, num, error));
    }
    for (int j = 0; j < num; j++) error[j] /= (double)count;
    return VQ_OK;
}

vq_score vq_score_of_tensor(vq_device *dev, const vq_groups *groups, vq_rows *x)
{
    return (vq_score){
        .dev = dev, .groups = *groups, .x = x, .all = *groups, .uniform = tensor_uniform, .codebook = tensor_codebook};
}

vq_status vq_sample_rows(vq_buf **out, int *out_rows, vq_device *dev, const vq_rows *x, int rows, int cols, int levels)
{
    const size_t row_bytes = (size_t)cols * sizeof(float);
    const double most = 0x1p24 / ((double)cols * levels);
    const int wanted = VQ_MIN(rows, (int)VQ_MAX(most, 64));
    vq_status status = VQ_OK;
    *out_rows = wanted;
    VQ_TRY(vq_buf_create(out, dev, (size_t)wanted * row_bytes));
    if (wanted == rows) VQ_GO(vq_rows_read(x, 0, (size_t)rows * (size_t)cols, *out, 0));
    for (int i = 0; wanted < rows && i < wanted; i++) {
        const size_t from = (size_t)((int64_t)i * rows / wanted);
        VQ_GO(vq_rows_read(x, from * (size_t)cols, (size_t)cols, *out, (size_t)i * (size_t)cols));
    }
done:
    if (status != VQ_OK) vq_buf_destroy(out);
    return status;
}
