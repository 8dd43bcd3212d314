/* patchify_u8 on every variant. */
#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

typedef struct args {
    vq_patchify_shape shape;
    const check_buf *image, *out;
    int ld_out;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    return vq_patchify_u8_run(dev, &a->shape, a->image->buf, a->out->buf, a->ld_out);
}

static void check_shape(check *ck, vq_patchify_shape s, int surplus)
{
    const int cols = s.chans * s.patch * s.patch, ld = VQ_ROUND_UP(cols, VQ_CODE_PITCH) + surplus;
    const size_t pixels = (size_t)s.batch * (size_t)s.height * (size_t)s.width;
    const size_t rows = pixels / (size_t)(s.patch * s.patch), bytes = pixels * (size_t)s.chans;
    if (!check_case(ck, (double)bytes, "b%d_%dx%dx%d_p%d_ld%d", s.batch, s.height, s.width, s.chans, s.patch, ld))
        return;
    args a = {s, check_in_u8(ck, bytes, 0, 255), NULL, ld};
    check_buf *const out = check_out(ck, rows * (size_t)ld);
    a.out = out;
    vq_ref_patchify_u8(&s, a.image->host, out->want, ld);
    if (!check_run(ck, run, &a)) return;
    check_equal_u8(ck, "out", out, (size_t)ld, (size_t)ld);
    check_bench(ck, 0, 2.0 * (double)bytes);
}

void check_patchify_u8(check *ck)
{
    static const vq_patchify_shape shapes[] = {{1, 1, 1, 1, 1},    {2, 6, 9, 3, 3},      {3, 28, 28, 1, 7},
                                               {1, 32, 48, 3, 16}, {2, 34, 17, 3, 17},   {1, 64, 32, 3, 32},
                                               {1, 20, 30, 4, 5},  {8, 224, 224, 3, 16}, {2, 42, 70, 3, 14},
                                               {1, 32, 40, 3, 8},  {1, 518, 518, 3, 14}};
    for (const vq_variant *v = check_first(ck, VQ_OP_PATCHIFY_U8); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(shapes); i++) check_shape(ck, shapes[i], i % 2 ? 0 : VQ_CODE_PITCH);
}
