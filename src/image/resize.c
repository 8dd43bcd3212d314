/* Pillow's resize for 8-bit images: a separable convolution whose filter is stretched when the image shrinks,
 * horizontal pass first, rounded to 8 bits between the passes, coefficients in fixed point. Every rounding here is
 * Pillow's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image/pixels.h"

enum { PRECISION_BITS = 32 - 8 - 2 }; /* 8 bits of pixel, 2 bits for the overshoot of the filter */

/* The filter of every output position: out = sum of weight[i*size + t] * in[first[i] + t], t < count[i]. */
typedef struct filter_bank {
    int size;
    int *first, *count;
    int32_t *weight;
} filter_bank;

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static void filter_bank_clear(filter_bank *f)
{
    free(f->first);
    free(f->count);
    free(f->weight);
    *f = (filter_bank){0};
}

static void make_filter(filter_bank *f, int i, int in_size, double scale, double support, vq_resample kind, double *k)
{
    const double center = (i + 0.5) * scale, stretch = scale < 1.0 ? 1.0 : scale, inverse = 1.0 / stretch;
    const int first = VQ_MAX((int)(center - support + 0.5), 0), end = VQ_MIN((int)(center + support + 0.5), in_size);
    double sum = 0;
    for (int t = 0; t < end - first; t++) {
        const double x = (t + first - center + 0.5) * inverse;
        k[t] = kind == VQ_RESAMPLE_BICUBIC ? bicubic(x) : bilinear(x);
        sum += k[t];
    }
    for (int t = 0; t < end - first; t++) {
        const double w = (sum != 0.0 ? k[t] / sum : k[t]) * (1 << PRECISION_BITS);
        f->weight[(size_t)i * (size_t)f->size + (size_t)t] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    f->first[i] = first;
    f->count[i] = end - first;
}

static vq_status filter_bank_make(filter_bank *f, int in_size, int out_size, vq_resample kind)
{
    const double scale = (double)in_size / out_size;
    const double support = (kind == VQ_RESAMPLE_BICUBIC ? 2.0 : 1.0) * (scale < 1.0 ? 1.0 : scale);
    double *k = NULL;
    vq_status status = VQ_OK;
    f->size = (int)ceil(support) * 2 + 1;
    VQ_GO(vq_alloc(&k, (size_t)f->size, sizeof *k, "resize"));
    VQ_GO(vq_alloc(&f->first, (size_t)out_size, sizeof *f->first, "resize"));
    VQ_GO(vq_alloc(&f->count, (size_t)out_size, sizeof *f->count, "resize"));
    VQ_GO(vq_alloc(&f->weight, (size_t)out_size * (size_t)f->size, sizeof *f->weight, "resize"));
    for (int i = 0; i < out_size; i++) make_filter(f, i, in_size, scale, support, kind, k);
done:
    free(k);
    return status;
}

static uint8_t round_pixel(int32_t sum)
{
    const int32_t v = sum >> PRECISION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void filter_rows(uint8_t *out, const uint8_t *in, int height, int in_width, int out_width, int chans,
                        const filter_bank *f)
{
    for (int y = 0; y < height; y++, in += (size_t)in_width * (size_t)chans)
        for (int x = 0; x < out_width; x++) {
            const int32_t *const w = f->weight + (size_t)x * (size_t)f->size;
            for (int c = 0; c < chans; c++) {
                const uint8_t *p = in + (size_t)f->first[x] * (size_t)chans + c;
                int32_t sum = 1 << (PRECISION_BITS - 1);
                for (int t = 0; t < f->count[x]; t++, p += chans) sum += *p * w[t];
                *out++ = round_pixel(sum);
            }
        }
}

static void filter_columns(uint8_t *out, const uint8_t *in, int row_bytes, int out_height, const filter_bank *f)
{
    for (int y = 0; y < out_height; y++) {
        const int32_t *const w = f->weight + (size_t)y * (size_t)f->size;
        for (int x = 0; x < row_bytes; x++) {
            const uint8_t *p = in + (size_t)f->first[y] * (size_t)row_bytes + x;
            int32_t sum = 1 << (PRECISION_BITS - 1);
            for (int t = 0; t < f->count[y]; t++, p += row_bytes) sum += *p * w[t];
            *out++ = round_pixel(sum);
        }
    }
}

vq_status vq_resize(vq_pixels *out, const vq_pixels *in, int height, int width, vq_resample filter)
{
    const size_t chans = (size_t)in->chans;
    filter_bank across = {0}, down = {0};
    uint8_t *middle = NULL;
    vq_status status = VQ_OK;
    *out = (vq_pixels){height, width, in->chans, NULL};
    VQ_GO(vq_alloc(&middle, (size_t)in->height * (size_t)width, chans, "resize"));
    VQ_GO(vq_alloc(&out->data, (size_t)height * (size_t)width, chans, "resize"));
    if (width != in->width) {
        VQ_GO(filter_bank_make(&across, in->width, width, filter));
        filter_rows(middle, in->data, in->height, in->width, width, in->chans, &across);
    } else {
        memcpy(middle, in->data, (size_t)in->height * (size_t)width * chans);
    }
    if (height != in->height) {
        VQ_GO(filter_bank_make(&down, in->height, height, filter));
        filter_columns(out->data, middle, width * in->chans, height, &down);
    } else {
        memcpy(out->data, middle, (size_t)height * (size_t)width * chans);
    }
done:
    filter_bank_clear(&across);
    filter_bank_clear(&down);
    free(middle);
    if (status != VQ_OK) {
        free(out->data);
        *out = (vq_pixels){0};
    }
    return status;
}
