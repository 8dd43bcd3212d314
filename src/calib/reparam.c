#include "calib/reparam.h"

#include <math.h>
#include <stdlib.h>

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

vq_status vq_reparam_layernorm(vq_device *dev, vq_quantizer *channelwise, bool fractional, float *gamma, float *beta,
                               const vq_buf *weight, float *bias, int n, int width)
{
    vq_quantizer tensorwise = {0};
    float *r1 = NULL, *move = NULL, *shift = NULL;
    double scale_sum = 0, zero_sum = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&r1, (size_t)width, sizeof *r1, "reparameterization"));
    VQ_GO(vq_alloc(&move, (size_t)width, sizeof *move, "reparameterization"));
    VQ_GO(vq_alloc(&shift, (size_t)n, sizeof *shift, "reparameterization"));
    VQ_GO(vq_quantizer_uniform(&tensorwise, VQ_PER_TENSOR, 1, channelwise->bits));
    for (int c = 0; c < width; c++) {
        scale_sum += channelwise->scale[c];
        zero_sum += channelwise->zero[c];
    }
    const float scale = (float)(scale_sum / width), mean_zero = (float)(zero_sum / width);
    const float zero = fractional ? mean_zero : rintf(mean_zero);
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
