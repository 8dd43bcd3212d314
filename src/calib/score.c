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

static vq_status tensor_uniform(const vq_score *s, const float *scale, const float *zero, int num, int levels,
                                double *error)
{
    const int groups = s->groups.groups;
    const size_t most = (size_t)groups * VQ_MAX_CANDIDATES;
    float *part = NULL;
    double *errors = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&part, 2 * most, sizeof *part, "candidates"));
    VQ_GO(vq_alloc(&errors, most, sizeof *errors, "candidates"));
    for (int first = 0; first < num; first += VQ_MAX_CANDIDATES) {
        const int count = VQ_MIN(VQ_MAX_CANDIDATES, num - first);
        slice(part, scale, groups, num, first, count);
        slice(part + most, zero, groups, num, first, count);
        VQ_GO(vq_quant_error_uniform_run(s->dev, &s->groups, s->x, part, part + most, count, levels, errors));
        for (int g = 0; g < groups; g++)
            memcpy(error + (size_t)g * (size_t)num + (size_t)first, errors + (size_t)g * (size_t)count,
                   (size_t)count * sizeof *error);
    }
done:
    free(part);
    free(errors);
    return status;
}

static vq_status tensor_codebook(const vq_score *s, const vq_quantizer *candidates, int num, double *error)
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
        VQ_GO(vq_quant_error_codebook_run(s->dev, &s->groups, s->x, thresholds, values, count, levels, error + first));
    }
done:
    free(thresholds);
    free(values);
    return status;
}

vq_score vq_score_of_tensor(vq_device *dev, const vq_groups *groups, const vq_buf *x)
{
    return (vq_score){.dev = dev, .groups = *groups, .x = x, .uniform = tensor_uniform, .codebook = tensor_codebook};
}

vq_status vq_sample_rows(vq_buf **out, int *out_rows, vq_device *dev, const vq_buf *x, int rows, int cols, int levels)
{
    const size_t row_bytes = (size_t)cols * sizeof(float);
    const double most = 0x1p24 / ((double)cols * levels);
    const int wanted = VQ_MIN(rows, (int)VQ_MAX(most, 64));
    vq_status status = VQ_OK;
    *out_rows = wanted;
    VQ_TRY(vq_buf_create(out, dev, (size_t)wanted * row_bytes));
    if (wanted == rows) VQ_GO(vq_buf_copy(dev, *out, 0, x, 0, (size_t)rows * row_bytes));
    for (int i = 0; wanted < rows && i < wanted; i++) {
        const size_t from = (size_t)((int64_t)i * rows / wanted);
        VQ_GO(vq_buf_copy(dev, *out, (size_t)i * row_bytes, x, from * row_bytes, row_bytes));
    }
done:
    if (status != VQ_OK) vq_buf_destroy(out);
    return status;
}
