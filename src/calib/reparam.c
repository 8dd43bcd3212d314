#include "calib/reparam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"

vq_status vq_matrix_vector(vq_device *dev, const vq_buf *weight, const float *v, float *out, int n, int width)
{
    vq_buf *in_buf = NULL, *out_buf = NULL;
    const vq_gemm_f32_shape shape = {.m = 1, .n = n, .k = width, .lda = width, .ldb = width, .ldc = n, .trans_b = true};
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create_from(&in_buf, dev, v, (size_t)width * sizeof *v));
    VQ_GO(vq_buf_create(&out_buf, dev, (size_t)n * sizeof *out));
    VQ_GO(vq_gemm_f32_run(dev, &shape, in_buf, weight, NULL, out_buf));
    VQ_GO(vq_buf_read(dev, out_buf, 0, out, (size_t)n * sizeof *out));
done:
    vq_buf_destroy(&in_buf);
    vq_buf_destroy(&out_buf);
    return status;
}

static vq_status scale_columns(vq_device *dev, const vq_buf *weight, const float *factor, int n, int width)
{
    vq_buf *buf = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create_from(&buf, dev, factor, (size_t)width * sizeof *factor));
    VQ_GO(vq_scale_columns_f32_run(dev, weight, buf, (size_t)n, width));
    VQ_GO(vq_device_finish(dev));
done:
    vq_buf_destroy(&buf);
    return status;
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static vq_status center(float *out, vq_reparam how, const float *x, int count)
{
    double sum = 0;
    float *sorted = NULL;
    if (how != VQ_REPARAM_MOSF) {
        for (int i = 0; i < count; i++) sum += x[i];
        *out = (float)(sum / count);
        return VQ_OK;
    }
    VQ_TRY(vq_alloc(&sorted, (size_t)count, sizeof *sorted, "median"));
    memcpy(sorted, x, (size_t)count * sizeof *x);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    *out = 0.5f * (sorted[(count - 1) / 2] + sorted[count / 2]);
    free(sorted);
    return VQ_OK;
}

vq_status vq_reparam_layernorm(vq_device *dev, vq_reparam how, vq_quantizer *channelwise, bool fractional, float *gamma,
                               float *beta, const vq_buf *weight, float *bias, int n, int width)
{
    vq_quantizer tensorwise = {0};
    float *r1 = NULL, *move = NULL, *shift = NULL;
    float scale, zero;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&r1, (size_t)width, sizeof *r1, "reparameterization"));
    VQ_GO(vq_alloc(&move, (size_t)width, sizeof *move, "reparameterization"));
    VQ_GO(vq_alloc(&shift, (size_t)n, sizeof *shift, "reparameterization"));
    VQ_GO(vq_quantizer_uniform(&tensorwise, VQ_PER_TENSOR, 1, channelwise->bits));
    VQ_GO(center(&scale, how, channelwise->scale, width));
    VQ_GO(center(&zero, how, channelwise->zero, width));
    if (!fractional) zero = rintf(zero);
    for (int c = 0; c < width; c++) {
        r1[c] = channelwise->scale[c] / scale;
        move[c] = channelwise->scale[c] * (channelwise->zero[c] - zero);
        gamma[c] /= r1[c];
        beta[c] = (beta[c] + move[c]) / r1[c];
    }
    VQ_GO(vq_matrix_vector(dev, weight, move, shift, n, width)); /* the original W, so before it is scaled */
    for (int o = 0; o < n; o++) bias[o] -= shift[o];
    VQ_GO(scale_columns(dev, weight, r1, n, width));
    tensorwise.scale[0] = scale;
    tensorwise.zero[0] = zero;
    vq_quantizer_clear(channelwise);
    *channelwise = tensorwise;
    tensorwise = (vq_quantizer){0};
done:
    vq_quantizer_clear(&tensorwise);
    free(r1);
    free(move);
    free(shift);
    return status;
}
