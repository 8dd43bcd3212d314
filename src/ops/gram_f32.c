/* x'y through transposes, which are products with the identity. */
#include <stdlib.h>

#include "ops/ops_f32.h"

static vq_status transpose(vq_device *dev, const vq_buf *x, int m, int k, const vq_buf *out)
{
    const vq_gemm_f32_shape shape = {.m = k, .n = m, .k = k, .lda = k, .ldb = k, .ldc = m, .trans_b = true};
    float *one = NULL;
    vq_buf *identity = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&one, (size_t)k * (size_t)k, sizeof *one, "identity"));
    for (int i = 0; i < k; i++) one[(size_t)i * (size_t)k + (size_t)i] = 1;
    VQ_GO(vq_buf_create_from(&identity, dev, one, (size_t)k * (size_t)k * sizeof *one));
    VQ_GO(vq_gemm_f32_run(dev, &shape, identity, x, NULL, out));
    VQ_GO(vq_device_finish(dev));
done:
    free(one);
    vq_buf_destroy(&identity);
    return status;
}

vq_status vq_gram_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, int m, int kx, int ky, double *out)
{
    const vq_gemm_f32_shape shape = {.m = kx, .n = ky, .k = m, .lda = m, .ldb = m, .ldc = ky, .trans_b = true};
    const size_t count = (size_t)kx * (size_t)ky;
    vq_buf *xt = NULL, *yt = NULL, *g = NULL;
    float *f = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_buf_create(&xt, dev, (size_t)m * (size_t)kx * sizeof(float)));
    VQ_GO(vq_buf_create(&yt, dev, (size_t)m * (size_t)ky * sizeof(float)));
    VQ_GO(vq_buf_create(&g, dev, count * sizeof(float)));
    VQ_GO(vq_alloc(&f, count, sizeof *f, "Gram matrix"));
    VQ_GO(transpose(dev, x, m, kx, xt));
    VQ_GO(transpose(dev, y, m, ky, yt));
    VQ_GO(vq_gemm_f32_run(dev, &shape, xt, yt, NULL, g));
    VQ_GO(vq_buf_read(dev, g, 0, f, count * sizeof *f));
    for (size_t i = 0; i < count; i++) out[i] = (double)f[i];
done:
    free(f);
    vq_buf_destroy(&xt);
    vq_buf_destroy(&yt);
    vq_buf_destroy(&g);
    return status;
}
