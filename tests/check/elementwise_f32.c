/* The small float ops; their witnesses are the loops here. */
#include "check.h"
#include "ops/ops_f32.h"

/* Buffers and numbers of any of them. */
typedef struct args {
    check_buf *a, *b, *y;
    size_t count, total, first;
    int batch, height, width, chans, patch;
} args;

/* ---- add --------------------------------------------------------------------------------------------------------- */

static vq_status run_add(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_add_f32_run(dev, t->a->buf, t->b->buf, t->y->buf, t->count);
}

static void check_add(check *ck, size_t count, bool in_place)
{
    if (!check_case(ck, (double)count, "add_n%zu%s", count, in_place ? "_in_place" : "")) return;
    args t = {.a = check_in_f32(ck, count, -9, 9), .b = check_in_f32(ck, count, -9, 9), .count = count};
    t.y = in_place ? t.a : check_out(ck, count * sizeof(float));
    const float *const a = t.a->host, *const b = t.b->host;
    for (size_t i = 0; i < count; i++) ((float *)t.y->want)[i] = a[i] + b[i];
    if (!check_run(ck, run_add, &t)) return;
    check_near_f32(ck, "y", t.y, count, count, 0, 0, 0);
    check_bench(ck, (double)count, 12.0 * (double)count);
}

/* ---- broadcast, add_rows, scale_columns -------------------------------------------------------------------------- */

static vq_status run_broadcast(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_broadcast_f32_run(dev, t->a->buf, t->count, t->y->buf, t->batch);
}

static void check_broadcast(check *ck, size_t count, int batch)
{
    const size_t total = count * (size_t)batch;
    if (!check_case(ck, (double)total, "broadcast_n%zu_b%d", count, batch)) return;
    args t = {.a = check_in_f32(ck, count, -9, 9), .count = count, .batch = batch};
    t.y = check_out(ck, total * sizeof(float));
    for (size_t i = 0; i < total; i++) ((float *)t.y->want)[i] = ((const float *)t.a->host)[i % count];
    if (!check_run(ck, run_broadcast, &t)) return;
    check_near_f32(ck, "out", t.y, total, total, 0, 0, 0);
}

static vq_status run_add_rows(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_add_rows_f32_run(dev, t->a->buf, t->count, t->y->buf, t->total, t->first, t->batch);
}

static void check_add_rows(check *ck, size_t count, size_t total, size_t first, int batch)
{
    if (!check_case(ck, (double)(count * (size_t)batch), "add_rows_n%zu_of%zu_b%d", count, total, batch)) return;
    args t = {.a = check_in_f32(ck, count * (size_t)batch, -9, 9), .y = check_in_f32(ck, total * (size_t)batch, -9, 9)};
    t.count = count;
    t.total = total;
    t.first = first;
    t.batch = batch;
    for (size_t b = 0; b < (size_t)batch; b++)
        for (size_t i = 0; i < count; i++)
            ((float *)t.y->want)[b * total + first + i] += ((const float *)t.a->host)[b * count + i];
    if (!check_run(ck, run_add_rows, &t)) return;
    check_near_f32(ck, "y", t.y, total, total, 0, 0, 0);
}

static vq_status run_mean_rows(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_mean_rows_f32_run(dev, t->a->buf, t->height, t->width, t->patch, (int)t->count, t->y->buf, (int)t->total,
                                (int)t->first, t->batch);
}

static void check_mean_rows(check *ck, int rows, int cols, int first, int count, int batch)
{
    if (!check_case(ck, (double)rows * cols * batch, "mean_rows_r%d_c%d_n%d_b%d", rows, cols, count, batch)) return;
    const size_t total = (size_t)cols + 5;
    args t = {.a = check_in_f32(ck, (size_t)rows * (size_t)cols * (size_t)batch, -9, 9),
              .y = check_in_f32(ck, total * (size_t)batch, -9, 9),
              .height = rows,
              .width = cols,
              .patch = first,
              .count = (size_t)count,
              .total = total,
              .first = 3,
              .batch = batch};
    for (int b = 0; b < batch; b++)
        for (int c = 0; c < cols; c++) {
            double sum = 0;
            for (int r = first; r < first + count; r++) sum += ((const float *)t.a->host)[(b * rows + r) * cols + c];
            ((float *)t.y->want)[(size_t)b * total + 3 + (size_t)c] = (float)(sum / count);
        }
    if (!check_run(ck, run_mean_rows, &t)) return;
    check_near_f32(ck, "y", t.y, total, total, 1e-9, 2e-5, 64);
}

static vq_status run_scale_columns(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_scale_columns_f32_run(dev, t->y->buf, t->a->buf, t->total, (int)t->count);
}

static void check_scale_columns(check *ck, size_t rows, size_t cols)
{
    if (!check_case(ck, (double)(rows * cols), "scale_columns_r%zu_c%zu", rows, cols)) return;
    args t = {
        .a = check_in_f32(ck, cols, -3, 3), .y = check_in_f32(ck, rows * cols, -9, 9), .count = cols, .total = rows};
    for (size_t i = 0; i < rows * cols; i++) ((float *)t.y->want)[i] *= ((const float *)t.a->host)[i % cols];
    if (!check_run(ck, run_scale_columns, &t)) return;
    check_near_f32(ck, "x", t.y, cols, cols, 0, 0, 0);
}

/* scale and bias of rows or columns behind a product of whole numbers. */
typedef struct rescale_args {
    check_buf *y, *low, *scale, *bias;
    int planes, rows, cols;
    bool by_row;
} rescale_args;

static vq_status run_rescale(void *user, vq_device *dev)
{
    const rescale_args *const t = user;
    return vq_rescale_f32_run(dev, t->y->buf, t->low ? t->low->buf : NULL, t->scale->buf, t->by_row,
                              t->bias ? t->bias->buf : NULL, t->planes, t->rows, t->cols);
}

static void check_rescale(check *ck, int planes, int rows, int cols, bool by_row, bool low, bool bias)
{
    const size_t width = (size_t)cols, count = (size_t)planes * (size_t)rows * width;
    if (!check_case(ck, 2.0 * (double)count, "rescale_p%d_r%d_c%d%s%s%s", planes, rows, cols, by_row ? "_by_row" : "",
                    low ? "_low" : "", bias ? "_bias" : ""))
        return;
    rescale_args t = {.y = check_in_f32(ck, count, -1e6f, 1e6f),
                      .low = low ? check_in_f32(ck, count, -1e6f, 1e6f) : NULL,
                      .scale = check_in_f32(ck, (size_t)(by_row ? rows : cols), 1e-4f, 1e-3f),
                      .bias = bias ? check_in_f32(ck, width, -9, 9) : NULL,
                      .planes = planes,
                      .rows = rows,
                      .cols = cols,
                      .by_row = by_row};
    for (size_t i = 0; i < count; i++) {
        const size_t c = i % width, r = i / width % (size_t)rows;
        float v = ((const float *)t.y->host)[i];
        if (low) v = v * 256.0f + ((const float *)t.low->host)[i];
        v *= ((const float *)t.scale->host)[by_row ? r : c];
        ((float *)t.y->want)[i] = bias ? v + ((const float *)t.bias->host)[c] : v;
    }
    if (!check_run(ck, run_rescale, &t)) return;
    check_near_f32(ck, "y", t.y, width, width, 0, 0, 0);
    check_bench(ck, 2.0 * (double)count, 8.0 * (double)count);
}

/* Rows in another order, some of them padding; a map repeats itself in every image. */
typedef struct gather_args {
    const check_buf *x, *map, *pad, *bias, *region;
    check_buf *y;
    int x_rows, rows, cols, batch, windows, heads;
} gather_args;

static vq_status run_gather_rows(void *user, vq_device *dev)
{
    const gather_args *const t = user;
    return vq_gather_rows_f32_run(dev, t->x->buf, t->x_rows, t->map->buf, t->pad->buf, t->y->buf, t->rows, t->cols,
                                  t->batch);
}

static void check_gather_rows(check *ck, int x_rows, int rows, int cols, int batch)
{
    if (!check_case(ck, (double)rows * cols * batch, "gather_rows_x%d_r%d_c%d_b%d", x_rows, rows, cols, batch)) return;
    const size_t width = (size_t)cols;
    gather_args t = {.x = check_in_f32(ck, (size_t)batch * (size_t)x_rows * width, -9, 9),
                     .map = check_in_s32(ck, (size_t)rows, -1, x_rows - 1),
                     .pad = check_in_f32(ck, width, -9, 9),
                     .y = check_in_f32(ck, (size_t)batch * (size_t)rows * width, -9, 9),
                     .x_rows = x_rows,
                     .rows = rows,
                     .cols = cols,
                     .batch = batch};
    for (int r = 0; r < batch * rows; r++) {
        const int from = ((const int32_t *)t.map->host)[r % rows];
        const float *const row =
            from < 0 ? t.pad->host : (const float *)t.x->host + (size_t)(r / rows * x_rows + from) * width;
        for (size_t c = 0; c < width; c++) ((float *)t.y->want)[(size_t)r * width + c] = row[c];
    }
    if (!check_run(ck, run_gather_rows, &t)) return;
    check_near_f32(ck, "y", t.y, width, width, 0, 0, 0);
}

static vq_status run_window_bias(void *user, vq_device *dev)
{
    const gather_args *const t = user;
    return vq_window_bias_f32_run(dev, t->y->buf, t->bias->buf, t->region->buf, -100, t->windows, t->heads, t->rows,
                                  t->batch);
}

static void check_window_bias(check *ck, int windows, int heads, int tokens, int batch)
{
    const size_t t = (size_t)tokens, square = t * t, parts = (size_t)batch * (size_t)windows * (size_t)heads;
    if (!check_case(ck, (double)(parts * square), "window_bias_w%d_h%d_t%d_b%d", windows, heads, tokens, batch)) return;
    gather_args a = {.y = check_in_f32(ck, parts * square, -9, 9),
                     .bias = check_in_f32(ck, (size_t)heads * square, -9, 9),
                     .region = check_in_s32(ck, (size_t)windows * t, 0, 2),
                     .rows = tokens,
                     .batch = batch,
                     .windows = windows,
                     .heads = heads};
    for (size_t i = 0; i < parts * square; i++) {
        const size_t part = i / square, head = part % (size_t)heads, window = part / (size_t)heads % (size_t)windows;
        const int32_t *const region = (const int32_t *)a.region->host + window * t;
        const bool apart = region[i / t % t] != region[i % t];
        ((float *)a.y->want)[i] += ((const float *)a.bias->host)[head * square + i % square] + (apart ? -100 : 0);
    }
    if (!check_run(ck, run_window_bias, &a)) return;
    check_near_f32(ck, "y", a.y, t, t, 0, 0, 0);
}

void check_elementwise_f32(check *ck)
{
    static const size_t counts[] = {1, 255, 256, 257, 302592};
    for (const vq_variant *v = check_first(ck, VQ_OP_ELEMENTWISE_F32); v; v = check_next(ck)) {
        for (size_t i = 0; i < 2 * VQ_ARRAY_LEN(counts); i++) check_add(ck, counts[i / 2], i % 2);
        check_broadcast(ck, 1, 1);
        check_broadcast(ck, 197, 5);
        check_broadcast(ck, 513, 2);
        check_add_rows(ck, 1, 1, 0, 1);
        check_add_rows(ck, 196 * 3, 197 * 3, 3, 4);
        check_add_rows(ck, 100, 300, 150, 3);
        check_mean_rows(ck, 1, 1, 0, 1, 1);
        check_mean_rows(ck, 197, 33, 1, 196, 3);
        check_mean_rows(ck, 7, 300, 2, 4, 2);
        check_rescale(ck, 1, 1, 1, false, false, false);
        check_rescale(ck, 1, 5, 257, false, true, true);
        check_rescale(ck, 3, 7, 255, true, true, false);
        check_rescale(ck, 1, 1576, 192, false, false, true);
        check_rescale(ck, 2, 3, 38809, true, false, false);
        check_gather_rows(ck, 1, 1, 1, 1);
        check_gather_rows(ck, 35, 54, 33, 3);
        check_gather_rows(ck, 3136, 3136, 288, 2);
        check_window_bias(ck, 1, 1, 1, 1);
        check_window_bias(ck, 4, 3, 9, 3);
        check_window_bias(ck, 64, 3, 49, 2);
        check_scale_columns(ck, 1, 1);
        check_scale_columns(ck, 7, 193);
        check_scale_columns(ck, 768, 192);
    }
}
