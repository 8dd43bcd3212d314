/* Pillow's resize for 8-bit images: a separable convolution whose filter is stretched when the image shrinks,
 * horizontal pass first, rounded to 8 bits between the passes, coefficients in fixed point. Every rounding here is
 * Pillow's. Pillow 13 began to take the vertical pass first for some tall images; models were trained and published
 * with the order kept here. */
#include <math.h>
#include <stdlib.h>

#include "image/pixels.h"

enum {
    PRECISION_BITS = 32 - 8 - 2, /* 8 bits of pixel, 2 bits for the overshoot of the filter */
    HALF = 1 << (PRECISION_BITS - 1)
};

/* The filter of every wanted output position: out = sum of weight[i*size + t] * in[first[i] + t], t < count[i]. */
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

static void make_filter(filter_bank *f, int i, const vq_side *side, double support, vq_resample kind, double *k)
{
    const double scale = (double)side->in / (double)side->out, inverse = 1.0 / (scale < 1.0 ? 1.0 : scale);
    const double center = ((double)(side->first + i) + 0.5) * scale;
    const int first = VQ_MAX((int)(center - support + 0.5), 0), end = VQ_MIN((int)(center + support + 0.5), side->in);
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

/* A side that does not change gets filters of one tap, which copy. */
static vq_status filter_bank_make(filter_bank *f, const vq_side *side, vq_resample kind)
{
    const double scale = (double)side->in / (double)side->out;
    const double support = (kind == VQ_RESAMPLE_BICUBIC ? 2.0 : 1.0) * (scale < 1.0 ? 1.0 : scale);
    const bool same = side->in == side->out;
    double *k = NULL;
    vq_status status = VQ_OK;
    f->size = same ? 1 : (int)ceil(support) * 2 + 1;
    VQ_GO(vq_alloc(&k, (size_t)f->size, sizeof *k, "resize"));
    VQ_GO(vq_alloc(&f->first, (size_t)side->count, sizeof *f->first, "resize"));
    VQ_GO(vq_alloc(&f->count, (size_t)side->count, sizeof *f->count, "resize"));
    VQ_GO(vq_alloc(&f->weight, (size_t)side->count * (size_t)f->size, sizeof *f->weight, "resize"));
    for (int i = 0; i < side->count; i++) {
        if (same) {
            f->first[i] = (int)side->first + i;
            f->count[i] = 1;
            f->weight[i] = 1 << PRECISION_BITS;
        } else {
            make_filter(f, i, side, support, kind, k);
        }
    }
done:
    free(k);
    return status;
}

static uint8_t round_pixel(int32_t sum)
{
    const int32_t v = sum >> PRECISION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void filter_row_1(uint8_t *out, const uint8_t *in, int out_width, const filter_bank *f)
{
    for (int x = 0; x < out_width; x++) {
        const int32_t *const w = f->weight + (size_t)x * (size_t)f->size;
        const uint8_t *const p = in + f->first[x];
        int32_t sum = HALF;
        for (int t = 0; t < f->count[x]; t++) sum += p[t] * w[t];
        out[x] = round_pixel(sum);
    }
}

static void filter_row_3(uint8_t *out, const uint8_t *in, int out_width, const filter_bank *f)
{
    for (int x = 0; x < out_width; x++, out += 3) {
        const int32_t *const w = f->weight + (size_t)x * (size_t)f->size;
        const uint8_t *p = in + 3 * (size_t)f->first[x];
        int32_t r = HALF, g = HALF, b = HALF;
        for (int t = 0; t < f->count[x]; t++, p += 3) {
            r += p[0] * w[t];
            g += p[1] * w[t];
            b += p[2] * w[t];
        }
        out[0] = round_pixel(r);
        out[1] = round_pixel(g);
        out[2] = round_pixel(b);
    }
}

/* Row by row into the sums, so that memory is read in order and the loop vectorizes. in starts at row `top`. */
static void filter_columns(uint8_t *out, const uint8_t *in, int top, int row_bytes, int out_height,
                           const filter_bank *f, int32_t *sums)
{
    for (int y = 0; y < out_height; y++, out += row_bytes) {
        const int32_t *const w = f->weight + (size_t)y * (size_t)f->size;
        const uint8_t *p = in + (size_t)(f->first[y] - top) * (size_t)row_bytes;
        for (int x = 0; x < row_bytes; x++) sums[x] = HALF;
        for (int t = 0; t < f->count[y]; t++, p += row_bytes)
            for (int x = 0; x < row_bytes; x++) sums[x] += p[x] * w[t];
        for (int x = 0; x < row_bytes; x++) out[x] = round_pixel(sums[x]);
    }
}

/* Rows of the input that any wanted row of the output reads. */
static void rows_needed(int *top, int *end, const filter_bank *f, int count)
{
    *top = f->first[0];
    *end = 0;
    for (int i = 0; i < count; i++) {
        *top = VQ_MIN(*top, f->first[i]);
        *end = VQ_MAX(*end, f->first[i] + f->count[i]);
    }
}

vq_status vq_resize(vq_pixels *out, const vq_pixels *in, const vq_side *rows, const vq_side *columns,
                    vq_resample filter)
{
    const size_t chans = (size_t)in->chans, row_bytes = (size_t)columns->count * chans;
    filter_bank across = {0}, down = {0};
    uint8_t *middle = NULL;
    int32_t *sums = NULL;
    int top, end;
    vq_status status = VQ_OK;
    *out = (vq_pixels){rows->count, columns->count, in->chans, NULL};
    VQ_GO(filter_bank_make(&across, columns, filter));
    VQ_GO(filter_bank_make(&down, rows, filter));
    rows_needed(&top, &end, &down, rows->count);
    VQ_GO(vq_alloc(&middle, (size_t)(end - top), row_bytes, "resize"));
    VQ_GO(vq_alloc(&sums, row_bytes, sizeof *sums, "resize"));
    VQ_GO(vq_alloc(&out->data, (size_t)rows->count, row_bytes, "resize"));
    for (int y = top; y < end; y++)
        (in->chans == 3 ? filter_row_3 : filter_row_1)(middle + (size_t)(y - top) * row_bytes,
                                                       in->data + (size_t)y * (size_t)in->width * chans, columns->count,
                                                       &across);
    filter_columns(out->data, middle, top, (int)row_bytes, rows->count, &down, sums);
done:
    filter_bank_clear(&across);
    filter_bank_clear(&down);
    free(middle);
    free(sums);
    if (status != VQ_OK) {
        free(out->data);
        *out = (vq_pixels){0};
    }
    return status;
}
