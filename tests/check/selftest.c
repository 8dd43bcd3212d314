/* The harness must pass the right kernel of broken.cl and report every broken one. */
#include "check_state.h"

#include <stdio.h>

enum { ROWS = 13, COLS = 37, LD = 48, LOCAL = 32, NUM_BUGS = 5 };

#define BROKEN(bug)                                                                                      \
    {                                                                                                    \
        .op = VQ_OP_COUNT, .name = "broken", .file = VQ_CHECK_DIR "/broken.cl", .options = "-DBUG=" #bug \
    }

typedef struct args {
    const vq_variant *variant;
    const check_buf *x, *out;
} args;

static vq_status run(void *user, vq_device *dev)
{
    const args *const a = user;
    vq_kernel *kernel;
    VQ_TRY(vq_kernel_get(&kernel, dev, a->variant, "broken", NULL));
    const vq_grid grid = {{VQ_CEIL_DIV(ROWS * COLS, LOCAL)}, {LOCAL}};
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(a->x->buf), VQ_A_BUF(a->out->buf), VQ_A_I32(ROWS), VQ_A_I32(COLS),
                     VQ_A_I32(LD));
}

static void witness(const uint8_t *x, uint8_t *out)
{
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) out[r * LD + c] = (uint8_t)((x[r * LD + c] * 3 + 2) / 4);
}

/* Whether the harness reports a failure of the kernel with this bug. */
static bool reports(check *ck, int bug)
{
    /* Each its own object: the device keeps compiled kernels by their variant. */
    static const vq_variant variants[NUM_BUGS + 1] = {BROKEN(0), BROKEN(1), BROKEN(2), BROKEN(3), BROKEN(4), BROKEN(5)};
    const vq_variant *const variant = &variants[bug];
    const int failed = ck->failed;
    check_variant_begin(ck, variant, false);
    if (check_case(ck, ROWS * COLS, "bug%d", bug)) {
        uint8_t codes[ROWS * LD];
        for (int i = 0; i < ROWS * LD; i++) codes[i] = (uint8_t)(i * 7);
        check_buf *const x = check_in(ck, codes, sizeof codes), *const out = check_out(ck, ROWS * LD);
        args a = {variant, x, out};
        witness(x->host, out->want);
        if (check_run(ck, run, &a)) check_equal_u8(ck, "out", out, COLS, LD);
    }
    check_variant_end(ck);
    return ck->failed > failed;
}

bool check_selftest(check *ck)
{
    bool ok = true;
    const int cases = ck->cases, failed = ck->failed;
    ck->quiet = true;
    for (int bug = 0; bug <= NUM_BUGS; bug++) {
        const bool reported = reports(ck, bug);
        if (reported == (bug != 0)) continue;
        printf("FAILURE: self-test: bug %d is %s\n", bug, reported ? "reported but is none" : "not reported");
        ok = false;
    }
    ck->quiet = false;
    ck->cases = cases;
    ck->failed = failed;
    return ok;
}
