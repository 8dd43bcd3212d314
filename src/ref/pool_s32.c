/* Witness of pool_s32. */
#include "ref/ref_int.h"

static int32_t mean_of(const int32_t *x, int rows, int pitch)
{
    int64_t sum = 0;
    for (int r = 0; r < rows; r++) sum += x[(size_t)r * (size_t)pitch];
    const int64_t a = 2 * sum + rows, b = 2 * (int64_t)rows;
    return (int32_t)(a / b - (a % b < 0)); /* towards minus infinity */
}

void vq_ref_pool_s32(const vq_pool_s32_weights *w, const int32_t *x, void *out, int ld_out, int batch)
{
    for (int b = 0; b < batch; b++)
        for (int p = 0; p < w->parts; p++)
            for (int c = 0; c < w->c; c++) {
                const size_t row = (size_t)b * (size_t)w->rows + (size_t)w->first[p];
                const size_t to = (size_t)b * (size_t)ld_out + (size_t)p * (size_t)w->c + (size_t)c;
                const int32_t mean = mean_of(x + row * (size_t)w->c + c, w->count[p], w->c);
                if (w->set) {
                    ((int32_t *)out)[to] = mean;
                    continue;
                }
                const int64_t code = (int64_t)vq_ref_requant(mean, w->mult, w->shift) + w->zero;
                const int64_t most = ((int64_t)1 << w->bits) - 1;
                ((uint8_t *)out)[to] = (uint8_t)(code < 0 ? 0 : code > most ? most : code);
            }
}
