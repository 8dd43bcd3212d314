/* Sums of outer products, x^T y: products of chunks of rows in float, added up here in double and in a fixed order. */
#include "ops/ops_f32.h"

#include <stdlib.h>

/* Rows of a chunk, whose sums are floats; columns of a block. */
enum { CHUNK = VQ_GRAM_ROWS, BLOCK = 512 };

typedef struct gram {
    const vq_buf *x, *y;
    int m, kx, ky;
    vq_buf *product; /* [BLOCK][ky] */
    float *host;
    double *out;
} gram;

/* The columns [first, first + count) of x with the columns [from, ky) of y. */
static vq_status add_block(const gram *g, vq_device *dev, int first, int count, int from)
{
    const int cols = g->ky - from;
    const size_t elements = (size_t)count * (size_t)cols;
    for (int row = 0; row < g->m; row += CHUNK) {
        const vq_gemm_f32_shape shape = {.m = count,
                                         .n = cols,
                                         .k = VQ_MIN(CHUNK, g->m - row),
                                         .lda = g->kx,
                                         .ldb = g->ky,
                                         .ldc = cols,
                                         .trans_a = true,
                                         .a_offset = (size_t)row * (size_t)g->kx + (size_t)first,
                                         .b_offset = (size_t)row * (size_t)g->ky + (size_t)from};
        VQ_TRY(vq_gemm_f32_run(dev, &shape, g->x, g->y, NULL, g->product));
        VQ_TRY(vq_buf_read(dev, g->product, 0, g->host, elements * sizeof(float)));
        for (int i = 0; i < count; i++) {
            double *const out = g->out + (size_t)(first + i) * (size_t)g->ky + (size_t)from;
            for (int j = 0; j < cols; j++) out[j] += (double)g->host[(size_t)i * (size_t)cols + (size_t)j];
        }
    }
    return VQ_OK;
}

vq_status vq_gram_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, int m, int kx, int ky, double *out)
{
    for (size_t i = 0; kx > 0 && ky > 0 && i < (size_t)kx * (size_t)ky; i++) out[i] = 0.0;
    return vq_gram_f32_add(dev, x, y, m, kx, ky, out);
}

vq_status vq_gram_f32_add(vq_device *dev, const vq_buf *x, const vq_buf *y, int m, int kx, int ky, double *out)
{
    gram g = {.x = x, .y = y, .m = m, .kx = kx, .ky = ky, .out = out};
    vq_status status = VQ_OK;
    if (m < 1 || kx < 1 || ky < 1 || (x == y && kx != ky))
        return vq_fail(VQ_ERR_SHAPE, "gram_f32: x [%d][%d]%s and y [%d][%d]", m, kx, x == y ? ", the same," : "", m,
                       ky);
    const size_t elements = (size_t)VQ_MIN(BLOCK, kx) * (size_t)ky;
    VQ_GO(vq_alloc(&g.host, elements, sizeof *g.host, "a block of a Gram matrix"));
    VQ_GO(vq_buf_create(&g.product, dev, elements * sizeof(float)));
    for (int first = 0; first < kx; first += BLOCK)
        VQ_GO(add_block(&g, dev, first, VQ_MIN(BLOCK, kx - first), x == y ? first : 0));
    for (size_t i = 0; x == y && i < (size_t)kx; i++) /* what lies below the diagonal's blocks, and their rounding */
        for (size_t j = 0; j < i; j++) out[i * (size_t)kx + j] = out[j * (size_t)kx + i];
done:
    vq_buf_destroy(&g.product);
    free(g.host);
    return status;
}
