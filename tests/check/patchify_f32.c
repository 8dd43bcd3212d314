/* patchify_f32 on every variant; its witness is the loop here. */
#include "check.h"
#include "ops/ops_f32.h"

typedef struct args {
    check_buf *a, *y;
    int batch, height, width, chans, patch;
} args;

static vq_status run_patchify(void *user, vq_device *dev)
{
    const args *const t = user;
    return vq_patchify_f32_run(dev, t->batch, t->height, t->width, t->chans, t->patch, t->a->buf, t->y->buf);
}

static void patchify(const args *t)
{
    const uint8_t *pixel = t->a->host;
    const int across = t->width / t->patch, patches = t->height / t->patch * across;
    for (int b = 0; b < t->batch; b++)
        for (int y = 0; y < t->height; y++)
            for (int x = 0; x < t->width; x++)
                for (int c = 0; c < t->chans; c++) {
                    const int row = b * patches + y / t->patch * across + x / t->patch;
                    const int col = (c * t->patch + y % t->patch) * t->patch + x % t->patch;
                    ((float *)t->y->want)[row * t->chans * t->patch * t->patch + col] = *pixel++;
                }
}

static void check_patchify(check *ck, int batch, int height, int width, int chans, int patch)
{
    const size_t count = (size_t)batch * (size_t)height * (size_t)width * (size_t)chans;
    if (!check_case(ck, (double)count, "b%d_%dx%dx%d_p%d", batch, height, width, chans, patch)) return;
    args t = {.batch = batch, .height = height, .width = width, .chans = chans, .patch = patch};
    t.a = check_in_u8(ck, count, 0, 255);
    t.y = check_out(ck, count * sizeof(float));
    patchify(&t);
    if (!check_run(ck, run_patchify, &t)) return;
    check_near_f32(ck, "out", t.y, count, count, 0, 0, 0);
    check_bench(ck, (double)count, 5.0 * (double)count);
}

void check_patchify_f32(check *ck)
{
    static const int shapes[][5] = {{1, 1, 1, 1, 1},    {3, 12, 8, 3, 4},     {2, 28, 28, 1, 7}, {1, 32, 48, 3, 16},
                                    {2, 34, 17, 3, 17}, {1, 64, 32, 3, 32},   {1, 20, 30, 4, 5}, {2, 42, 70, 3, 14},
                                    {1, 32, 40, 3, 8},  {2, 224, 224, 3, 16}, {1, 99, 66, 3, 33}};
    for (const vq_variant *v = check_first(ck, VQ_OP_PATCHIFY_F32); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++)
            check_patchify(ck, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], shapes[i][4]);
}
