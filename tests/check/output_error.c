/* output_error: integer and float weights, uniform quantizers and codebooks of one and two bytes, batches, strides and
 * subsets of rows. In "exact" problems the target is the output that exact sums give, so that the error must be 0. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "ops/ops_f32.h"
#include "ref/ref_f32.h"

/* LOW and HIGH: values whose other byte is 0 throughout. */
typedef enum kind { UNIFORM, CODEBOOK, CODEBOOK_LOW, CODEBOOK_HIGH } kind;

typedef struct problem {
    int m, n, k, num, levels;
    kind kind;
    int w_abs_max; /* 0: float weights */
    bool w_zero, k_major, exact;
    int outer, inner, row_step, surplus;
    bool batched; /* each batch its own weights */
} problem;

static const char *const kind_names[] = {"uniform", "codebook", "low", "high"};

typedef struct args {
    const problem *p;
    bool cosine;
    vq_output_error_shape shape;
    vq_output_error_s8 s8;
    vq_output_error_f32 f32;
    vq_candidates candidates;
    check_buf *x, *y, *b, *bias;
    const float *host_x;
    double *error;
    vq_output_error *op;
} args;

static vq_status run(void *user, vq_device *dev)
{
    args *const a = user;
    const vq_buf *const bias = a->bias ? a->bias->buf : NULL;
    if (!a->op && a->p->w_abs_max) VQ_TRY(vq_output_error_create_s8(&a->op, dev, &a->s8, bias));
    if (!a->op) VQ_TRY(vq_output_error_create_f32(&a->op, dev, &a->f32, a->b->buf, bias));
    return vq_output_error_run(dev, a->op, &a->shape, a->x->buf, a->y->buf, &a->candidates, a->error);
}

static size_t batches_of(const problem *p)
{
    return p->batched ? (size_t)p->outer * (size_t)p->inner : 1;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* scale 1 in exact problems, where x therefore spans the codes. */
static void make_candidates(check *ck, args *a)
{
    const problem *const p = a->p;
    const size_t num = (size_t)p->num, levels = (size_t)p->levels, steps = levels - 1;
    float *const scale = check_alloc(ck, num * sizeof *scale), *const zero = check_alloc(ck, num * sizeof *zero);
    float *const thresholds = check_alloc(ck, num * steps * sizeof *thresholds);
    uint16_t *const values = check_alloc(ck, num * levels * sizeof *values);
    const int top = p->kind == UNIFORM ? p->levels + 2 : p->kind == CODEBOOK_LOW ? 255 : 65535;
    for (size_t j = 0; j < num; j++) {
        const int z = check_between(ck, p->kind == UNIFORM ? -2 : 0, top);
        scale[j] = p->exact ? 1.0f : 12.0f / (float)(p->kind == UNIFORM ? p->levels : top);
        if (!p->exact) scale[j] *= 0.3f + vq_rng_uniform(check_rng(ck));
        zero[j] = (float)(p->kind == CODEBOOK_HIGH ? z & ~255 : z);
        if (p->kind == UNIFORM && !p->w_abs_max && !p->exact) zero[j] += 0.4f;
        for (size_t i = 0; i < steps; i++)
            thresholds[j * steps + i] =
                (i ? thresholds[j * steps + i - 1] : -4.0f) + vq_rng_uniform(check_rng(ck)) * 16.0f / (float)steps;
        for (size_t i = 0; i < levels; i++) {
            const int v = check_between(ck, 0, top);
            values[j * levels + i] = (uint16_t)(p->kind == CODEBOOK_HIGH ? v & ~255 : v);
        }
    }
    if (p->kind != UNIFORM && !p->exact) values[0] = (uint16_t)(p->kind == CODEBOOK_HIGH ? 0xff00 : top);
    a->candidates =
        (vq_candidates){.num = p->num, .levels = p->levels, .cosine = a->cosine, .scale = scale, .zero = zero};
    if (p->kind == UNIFORM) return;
    a->candidates.thresholds = thresholds;
    a->candidates.values = values;
}

/* Integer weights; also as doubles for the witness. */
static void make_s8(check *ck, args *a, double *real)
{
    const problem *const p = a->p;
    const size_t rows = batches_of(p) * (size_t)p->n, k = (size_t)p->k;
    int8_t *const w = check_alloc(ck, rows * k);
    int32_t *const w_zero = check_alloc(ck, rows * sizeof *w_zero);
    float *const scale = check_alloc(ck, rows * sizeof *scale);
    check_fill_s8(ck, w, rows * k, -p->w_abs_max, VQ_MIN(p->w_abs_max, 127));
    for (size_t i = 0; i < rows; i++) {
        w_zero[i] = p->w_zero ? check_between(ck, -128, 128) : 0;
        scale[i] = p->exact ? 1.0f : (0.5f + vq_rng_uniform(check_rng(ck))) / (float)p->w_abs_max;
        for (size_t at = 0; at < k; at++) real[i * k + at] = (double)scale[i] * (w[i * k + at] + w_zero[i]);
    }
    a->s8 = (vq_output_error_s8){.n = p->n,
                                 .k = p->k,
                                 .batches = p->batched ? (int)batches_of(p) : check_between(ck, 0, 1),
                                 .a_max = p->kind == UNIFORM ? p->levels - 1 : 255,
                                 .w_abs_max = p->w_abs_max,
                                 .w = w,
                                 .w_zero = p->w_zero ? w_zero : NULL,
                                 .scale = scale};
}

/* Float weights with gaps between rows and batches; integers in exact problems. */
static void make_f32(check *ck, args *a, double *real)
{
    const problem *const p = a->p;
    const size_t n = (size_t)p->n, k = (size_t)p->k, rows = p->k_major ? k : n, batches = batches_of(p);
    const size_t ld = (p->k_major ? n : k) + (size_t)p->surplus, batch = rows * ld, offset = (size_t)p->surplus;
    a->b = check_in_f32(ck, offset + batches * batch, -3, 2);
    float *const b = a->b->host;
    if (p->exact) {
        for (size_t i = 0; i < offset + batches * batch; i++) b[i] = rintf(b[i]);
        a->b = check_in(ck, b, a->b->bytes);
    }
    for (size_t z = 0; z < batches; z++)
        for (size_t i = 0; i < n; i++)
            for (size_t at = 0; at < k; at++)
                real[(z * n + i) * k + at] = (double)b[offset + z * batch + (p->k_major ? at * ld + i : i * ld + at)];
    a->f32 = (vq_output_error_f32){.n = p->n, .k = p->k, .ld = (int)ld, .k_major = p->k_major, .offset = offset};
    if (!p->batched) return;
    a->f32.outer = p->outer;
    a->f32.inner = p->inner;
    a->f32.stride_inner = batch;
    a->f32.stride_outer = (size_t)p->inner * batch;
}

/* Inner batches lie side by side in a row, as heads do; outer ones one after the other. */
static void make_shape(args *a)
{
    const problem *const p = a->p;
    vq_output_error_shape *const s = &a->shape;
    *s = (vq_output_error_shape){.m = p->m,
                                 .row_step = p->row_step,
                                 .ldx = p->inner * p->k + p->surplus,
                                 .ldy = p->n + p->surplus,
                                 .outer = p->outer,
                                 .inner = p->inner,
                                 .x_offset = (size_t)p->surplus,
                                 .x_inner = (size_t)p->k,
                                 .y_offset = 2 * (size_t)p->surplus};
    s->x_outer = (size_t)p->m * (size_t)s->ldx;
    s->y_inner = (size_t)p->m * (size_t)s->ldy;
    s->y_outer = (size_t)p->inner * s->y_inner;
}

/* ---- exact problems ---------------------------------------------------------------------------------------------- */

/* Integer of candidate 0 for x. */
static int integer_of(const vq_candidates *c, float x)
{
    int code = 0;
    if (!c->thresholds) return (int)fminf(fmaxf(rintf(x) + c->zero[0], 0.0f), (float)(c->levels - 1));
    while (code < c->levels - 1 && c->thresholds[code] <= x) code++;
    return c->values[code];
}

/* The output by sums of the two bytes, which are exact, and three float operations. */
static float exact_output(const args *a, const float *x, const double *w)
{
    const int zero = (int)a->candidates.zero[0];
    const bool bytes = a->candidates.thresholds && a->p->w_abs_max;
    int64_t low = 0, high = 0;
    for (int i = 0; i < a->p->k; i++) {
        const int v = integer_of(&a->candidates, x[i]);
        low += (bytes ? (v & 255) - (zero & 255) : v - zero) * (int64_t)w[i];
        high += bytes ? ((v >> 8) - (zero >> 8)) * (int64_t)w[i] : 0;
    }
    return fmaf(256.0f, (float)high, (float)low);
}

static void make_exact_target(check *ck, args *a, const double *w, size_t count)
{
    const problem *const p = a->p;
    const vq_output_error_shape *const s = &a->shape;
    float *const y = check_alloc(ck, count * sizeof *y);
    for (size_t b = 0; b < (size_t)p->outer * (size_t)p->inner; b++) {
        const size_t o = b / (size_t)p->inner, i = b % (size_t)p->inner;
        const float *const x = a->host_x + s->x_offset + o * s->x_outer + i * s->x_inner;
        float *const out = y + s->y_offset + o * s->y_outer + i * s->y_inner;
        for (int m = 0; m < p->m; m++)
            for (int n = 0; n < p->n; n++)
                out[m * s->ldy + n] =
                    exact_output(a, x + (size_t)m * (size_t)s->ldx,
                                 w + ((p->batched ? b : 0) * (size_t)p->n + (size_t)n) * (size_t)p->k);
    }
    a->y = check_in(ck, y, count * sizeof *y);
}

/* ---- comparison -------------------------------------------------------------------------------------------------- */

/* Outputs are off by at most `off` (float sums: K roundings of sums up to K products of these sizes; integer ones: a
 * few), which moves the mean of d^2 by 2 |d| off + off^2; sums of squares themselves have some hundred roundings. */
static void compare(check *ck, const args *a, const double *want, const double *squares)
{
    const problem *const p = a->p;
    const double weight = p->w_abs_max ? 1.5 * (p->w_zero ? 1 + 128.0 / p->w_abs_max : 1) : 3;
    const double operand = 16 * (p->kind == UNIFORM ? 1.3 : 1), size = p->k * weight * operand + 64;
    const double off = (p->w_abs_max ? 8 : 4 + 0.5 * p->k) * 0x1p-24 * size;
    for (int j = 0; j < p->num; j++) {
        double bound = p->exact ? 0 : 2e-5 * want[j] + 2 * sqrt(want[j]) * off + off * off;
        if (a->cosine && !p->exact) {
            /* the product turns by an angle of off over its size; sums of squares, the target's and those up to the
             * product's, are off by 4e-5 of what is no straight error, and by some roundings */
            const double angle = off / sqrt(fmax(squares[j], 1e-300)), target = fmax(squares[p->num], 1e-300);
            bound = 4e-5 * want[j] + 2 * sqrt(want[j]) * angle + angle * angle + 1e-5 * want[j] * squares[j] / target +
                    1e-6 * (1 + squares[j] / target);
        }
        if (!(fabs(a->error[j] - want[j]) <= bound)) {
            check_that(ck, false, "candidate %d of %d: want %.9g got %.9g, off by %.3g, bound %.3g", j, p->num, want[j],
                       a->error[j], fabs(a->error[j] - want[j]), bound);
            return;
        }
    }
    const double rows = (double)p->outer * p->inner * VQ_CEIL_DIV(p->m, p->row_step);
    check_bench(ck, 2 * rows * p->n * p->k * p->num, 4 * rows * (p->n + p->k));
}

/* size[num + 1]: mean square of each product, as the squared error of a target of zeros, and of the target. */
static void mean_squares(check *ck, const args *a, const double *w, double *size)
{
    const problem *const p = a->p;
    float *const zeros = check_alloc(ck, a->y->bytes);
    vq_candidates c = a->candidates;
    memset(zeros, 0, a->y->bytes);
    c.cosine = false;
    if (vq_ref_output_error(&a->shape, p->n, p->k, (int)batches_of(p), w, NULL, a->host_x, zeros, &c, size) != VQ_OK)
        check_that(ck, false, "no memory for the witness");
    double sum = 0, count = 0;
    for (size_t b = 0; b < (size_t)p->outer * (size_t)p->inner; b++)
        for (int m = 0; m < p->m; m += p->row_step)
            for (int n = 0; n < p->n; n++, count++) {
                const vq_output_error_shape *const s = &a->shape;
                const size_t at = s->y_offset + b / (size_t)p->inner * s->y_outer + b % (size_t)p->inner * s->y_inner;
                const double y = ((const float *)a->y->host)[at + (size_t)m * (size_t)s->ldy + (size_t)n];
                const double t = y - (a->bias ? (double)((const float *)a->bias->host)[n] : 0);
                sum += t * t;
            }
    size[p->num] = sum / count;
}

static void check_problem(check *ck, const problem *p, bool cosine)
{
    const size_t batch = (size_t)p->outer * (size_t)p->inner;
    const double work = (double)batch * VQ_CEIL_DIV(p->m, p->row_step) * p->n * p->k * p->num;
    args a = {.p = p, .cosine = cosine};
    if (!check_case(ck, work, "m%d_n%d_k%d_c%d_%s%d_%s%d%s%s%s_z%zu%s_s%d%s", p->m, p->n, p->k, p->num,
                    kind_names[p->kind], p->levels, p->w_abs_max ? "w" : "f", p->w_abs_max, p->w_zero ? "_wz" : "",
                    p->k_major ? "_kmajor" : "", p->exact ? "_exact" : "", batch, p->batched ? "w" : "", p->row_step,
                    cosine ? "_cos" : ""))
        return;
    double *const w = check_alloc(ck, batches_of(p) * (size_t)p->n * (size_t)p->k * sizeof *w);
    double *const want = check_alloc(ck, (size_t)p->num * sizeof *want);
    double *const squares = check_alloc(ck, ((size_t)p->num + 1) * sizeof *squares);
    const float reach = p->exact && p->kind == UNIFORM ? (float)p->levels : 6.0f;
    make_shape(&a);
    make_candidates(ck, &a);
    if (p->w_abs_max)
        make_s8(ck, &a, w);
    else
        make_f32(ck, &a, w);
    a.error = check_alloc(ck, (size_t)p->num * sizeof *a.error);
    a.x = check_in_f32(ck, a.shape.x_offset + (size_t)p->outer * a.shape.x_outer, -reach, reach);
    a.host_x = a.x->host;
    const size_t y_count = a.shape.y_offset + batch * a.shape.y_inner;
    if (p->exact) {
        make_exact_target(ck, &a, w, y_count);
    } else {
        a.bias = p->surplus % 2 ? NULL : check_in_f32(ck, (size_t)p->n, -3, 2);
        a.y = check_in_f32(ck, y_count, -30, 20);
        if (vq_ref_output_error(&a.shape, p->n, p->k, (int)batches_of(p), w, a.bias ? a.bias->host : NULL, a.host_x,
                                a.y->host, &a.candidates, want) != VQ_OK)
            check_that(ck, false, "no memory for the witness");
    }
    if (cosine) mean_squares(ck, &a, w, squares);
    if (cosine && p->exact) want[0] = squares[p->num] == 0; /* of a target of zeros */
    if (check_run(ck, run, &a)) compare(ck, &a, want, squares);
    vq_output_error_destroy(&a.op);
}

void check_output_error(check *ck)
{
    static const problem problems[] = {
        {1, 1, 1, 1, 2, UNIFORM, 128, false, false, false, 1, 1, 1, 0, false},
        {3, 5, 7, 3, 16, UNIFORM, 127, true, false, false, 1, 1, 1, 1, false},
        {13, 33, 17, 2, 256, UNIFORM, 128, true, false, false, 1, 1, 2, 2, false},
        {7, 32, 16, 5, 8, UNIFORM, 4, false, false, false, 2, 3, 1, 4, true},
        {10, 19, 33, 3, 16, CODEBOOK, 100, true, false, false, 2, 2, 3, 1, true},
        {12, 20, 31, 2, 64, CODEBOOK_HIGH, 64, false, false, false, 1, 1, 1, 2, false},
        {9, 21, 40, 3, 5, CODEBOOK_LOW, 128, true, false, false, 1, 2, 1, 0, false},
        {1, 1, 1, 1, 2, UNIFORM, 0, false, false, false, 1, 1, 1, 0, false},
        {11, 35, 18, 4, 16, UNIFORM, 0, false, false, false, 1, 1, 1, 2, false},
        {7, 18, 35, 3, 9, CODEBOOK, 0, false, true, false, 2, 3, 2, 1, true},
        {5, 40, 16, 2, 256, CODEBOOK_HIGH, 0, false, false, false, 1, 1, 1, 0, false},
        {17, 37, 50, 1, 256, UNIFORM, 128, true, false, true, 1, 1, 1, 1, false},
        {14, 31, 61, 1, 16, UNIFORM, 8, false, false, true, 1, 1, 1, 1, false},
        {9, 45, 70, 1, 64, CODEBOOK, 128, true, false, true, 1, 1, 1, 1, false},
        {8, 33, 90, 1, 16, CODEBOOK_HIGH, 63, false, false, true, 2, 1, 1, 3, true},
        {6, 30, 45, 1, 16, UNIFORM, 0, false, true, true, 1, 2, 1, 0, true},
        {50, 70, 3072, 1, 256, UNIFORM, 128, true, false, true, 1, 1, 1, 0, false},
        {61, 40, 3071, 1, 200, CODEBOOK, 128, true, false, true, 1, 1, 1, 2, false},
        {49, 64, 1025, 1, 16, UNIFORM, 0, false, false, true, 1, 1, 1, 1, false},
        /* scores of the heads of two images, softmax times V, and layers of a ViT-Ti */
        {197, 197, 64, 2, 16, UNIFORM, 128, false, false, false, 2, 3, 4, 0, true},
        {197, 64, 197, 2, 16, CODEBOOK, 128, false, false, false, 2, 3, 4, 0, true},
        {197, 64, 197, 2, 16, CODEBOOK, 0, false, true, false, 2, 3, 4, 0, true},
        {1576, 576, 192, 4, 16, UNIFORM, 128, false, false, false, 1, 1, 8, 0, false},
        {1576, 192, 768, 4, 16, CODEBOOK, 8, false, false, false, 1, 1, 8, 0, false},
        {1576, 576, 192, 4, 16, UNIFORM, 0, false, false, false, 1, 1, 8, 0, false},
    };
    for (const vq_variant *v = check_first(ck, VQ_OP_OUTPUT_ERROR); v; v = check_next(ck))
        for (size_t i = 0; i < VQ_ARRAY_LEN(problems); i++) {
            check_problem(ck, &problems[i], false);
            check_problem(ck, &problems[i], true);
        }
}
