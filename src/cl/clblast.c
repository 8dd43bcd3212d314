/* SGEMM by CLBlast on the queue of a device's lane. */
#include "cl/internal.h"

#include <clblast_c.h>

static vq_status check_operand(const char *name, const vq_buf *buf, size_t offset, size_t rows, size_t cols, int ld,
                               size_t stride, int batch)
{
    if (!buf) return vq_fail(VQ_ERR_INVALID_ARG, "sgemm: %s is NULL", name);
    if (ld < 1 || (size_t)ld < cols) {
        return vq_fail(VQ_ERR_INVALID_ARG, "sgemm: rows of %s have %zu elements but start %d apart", name, cols, ld);
    }
    const size_t end = offset + (size_t)(batch - 1) * stride + (rows - 1) * (size_t)ld + cols;
    if (end > buf->bytes / sizeof(float)) {
        return vq_fail(VQ_ERR_SHAPE, "sgemm: %s reaches element %zu of a buffer of %zu", name, end,
                       buf->bytes / sizeof(float));
    }
    return VQ_OK;
}

static vq_status check(const vq_clblast_sgemm *g, int batch)
{
    if (g->m < 1 || g->n < 1 || g->k < 1 || batch < 1) {
        return vq_fail(VQ_ERR_SHAPE, "sgemm: M %d, N %d, K %d, batch %d must be positive", g->m, g->n, g->k, batch);
    }
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    VQ_TRY(check_operand("A", g->a, g->a_offset, g->trans_a ? k : m, g->trans_a ? m : k, g->lda, g->a_stride, batch));
    VQ_TRY(check_operand("B", g->b, g->b_offset, g->trans_b ? n : k, g->trans_b ? k : n, g->ldb, g->b_stride, batch));
    return check_operand("C", g->c, g->c_offset, m, n, g->ldc, g->c_stride, batch);
}

static CLBlastStatusCode enqueue(vq_device *dev, const vq_clblast_sgemm *g, int batch, cl_event *event)
{
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    const size_t lda = (size_t)g->lda, ldb = (size_t)g->ldb, ldc = (size_t)g->ldc;
    cl_command_queue queue = vq_queue_of(dev);
    const CLBlastTranspose trans_a = g->trans_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    const CLBlastTranspose trans_b = g->trans_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    if (batch == 1) {
        return CLBlastSgemm(CLBlastLayoutRowMajor, trans_a, trans_b, m, n, k, g->alpha, g->a->mem, g->a_offset, lda,
                            g->b->mem, g->b_offset, ldb, g->beta, g->c->mem, g->c_offset, ldc, &queue, event);
    }
    return CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, trans_a, trans_b, m, n, k, g->alpha, g->a->mem,
                                      g->a_offset, lda, g->a_stride, g->b->mem, g->b_offset, ldb, g->b_stride, g->beta,
                                      g->c->mem, g->c_offset, ldc, g->c_stride, (size_t)batch, &queue, event);
}

vq_status vq_clblast_run(vq_device *dev, const vq_clblast_sgemm *args)
{
    const int batch = args->batch ? args->batch : 1;
    if (!(dev->info.caps & VQ_CAP_CLBLAST)) {
        return vq_fail(VQ_ERR_UNSUPPORTED, "device %s: CLBlast does not run here", dev->info.name);
    }
    VQ_TRY(check(args, batch));
    vq_status status = VQ_OK;
    cl_event event = NULL;
    pthread_mutex_lock(&dev->lock);
    const CLBlastStatusCode code = enqueue(dev, args, batch, dev->profile ? &event : NULL);
    if (code != CLBlastSuccess) {
        status =
            vq_cl_fail(dev, (cl_int)code, "CLBlast sgemm M %d N %d K %d batch %d", args->m, args->n, args->k, batch);
    } else if (event) {
        status = vq_profile_add(dev, event, "clblast_sgemm");
    }
    pthread_mutex_unlock(&dev->lock);
    return status;
}
