#include "graph/resample.h"

#include <math.h>
#include <stdlib.h>

/* Weights of the inputs that make one output: inputs first .. first + count - 1 (clamped to the border when used). */
typedef struct taps {
    int first, count;
    double *weight; /* borrowed: [max_count] */
} taps;

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static void taps_plain(taps *t, int i, int in, int out)
{
    const double at = (double)in / out * (i + 0.5) - 0.5, low = floor(at);
    t->first = (int)low - 1;
    t->count = 4;
    for (int k = 0; k < 4; k++) t->weight[k] = cubic(at - (low - 1 + k), -0.75);
}

static void taps_antialias(taps *t, int i, int in, int out)
{
    const double scale = (double)in / out, stretch = fmax(scale, 1), center = scale * (i + 0.5);
    const int end = (int)fmin(center + 2 * stretch + 0.5, in);
    double sum = 0;
    t->first = (int)fmax(center - 2 * stretch + 0.5, 0);
    t->count = end - t->first;
    for (int k = 0; k < t->count; k++) sum += t->weight[k] = cubic((k + t->first - center + 0.5) / stretch, -0.5);
    for (int k = 0; k < t->count; k++) t->weight[k] /= sum;
}

/* Along the middle dimension: in [outer][count][inner] to out [outer][to][inner]. */
static void resample_axis(float *out, const float *in, int outer, int count, int to, int inner, bool antialias,
                          double *weight)
{
    for (int i = 0; i < to; i++) {
        taps t = {.weight = weight};
        if (antialias)
            taps_antialias(&t, i, count, to);
        else
            taps_plain(&t, i, count, to);
        for (int o = 0; o < outer; o++)
            for (int c = 0; c < inner; c++) {
                double sum = 0;
                for (int k = 0; k < t.count; k++) {
                    const int from = VQ_MIN(VQ_MAX(t.first + k, 0), count - 1);
                    sum += t.weight[k] * in[((size_t)o * (size_t)count + (size_t)from) * (size_t)inner + (size_t)c];
                }
                out[((size_t)o * (size_t)to + (size_t)i) * (size_t)inner + (size_t)c] = (float)sum;
            }
    }
}

vq_status vq_resample_embedding(float *out, const float *in, int side, int dim, int height, int width, bool antialias)
{
    float *rows = NULL;
    double *weight = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&rows, (size_t)side * (size_t)width, (size_t)dim * sizeof *rows, "position embedding"));
    VQ_GO(vq_alloc(&weight, (size_t)side * 4 + 8, sizeof *weight, "position embedding"));
    resample_axis(rows, in, side, side, width, dim, antialias, weight);
    resample_axis(out, rows, 1, side, height, width * dim, antialias, weight);
done:
    free(rows);
    free(weight);
    return status;
}
