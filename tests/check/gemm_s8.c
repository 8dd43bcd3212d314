/* gemm_s8 on every variant: all epilogues, ways to requantize, code ranges and row maps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ops/ops_int.h"
#include "ref/ref_int.h"

/* SHIFTS_LEAST: the least that leave each row's largest sum room in 32 bits, see ops/gemm_s8.c; SHIFTS_BELOW: row 0's
 * is one less. */
typedef enum shifts { SHIFTS_CODES, SHIFTS_LOW, SHIFTS_ANY, SHIFTS_LEAST, SHIFTS_BELOW } shifts;

typedef struct problem {
    int m, n, k;
    vq_gemm_epilogue epilogue;
    int a_max, w_abs_max;
    bool w_zero;
    shifts shifts;
    int table_len; /* below 0: one that is no step function */
    bool row_map;
    int a_planes, c_planes;
} problem;

/* Weights of few bits: a row's are among so many values, so far apart; 0 is one of them where it must. */
typedef struct few_bits {
    int codes, step;
    bool with_zero, packs;
    vq_storage storage;
} few_bits;

/* Codes at most `far` away from one, but for one in `rare`, which is anything. Or rare 0: all just so far away, to any
 * side; below 0: all to one side for a while, every 16th one further. */
typedef struct near_codes {
    int zero, far, rare;
} near_codes;

/* What a problem may have beside; 0: as usual. */
typedef struct extras {
    few_bits few;
    int runs;     /* the table has so many of equal entries */
    int every;    /* the table changes every so many entries */
    int steps;    /* so many groups of k sum to all that 16 bits take, up and down; below 0: to one code's worth more */
    int zero_max; /* |w_zero|; 128 */
    near_codes near;
} extras;

static const char *const epilogue_names[] = {"codes", "table", "add", "set"};
static const char *const storage_names[] = {"_default", "_bytes", "_packed"};
static const char *const shift_names[] = {"32bit", "shifted", "64bit", "least", "below"};

typedef struct args {
    const vq_gemm_s8_weights *weights;
    vq_storage storage;
    vq_gemm_s8 *op;
    vq_gemm_s8_io io;
} args;

/* A new op each time, so that creation is part of what is checked; kept for check_bench, which runs it often. */
static vq_status run(void *user, vq_device *dev)
{
    args *const a = user;
    if (!a->op) VQ_TRY(vq_gemm_s8_create(&a->op, dev, a->weights, a->storage));
    return vq_gemm_s8_run(dev, a->op, &a->io);
}

/* Falls, then rises, in steps of 1 as GELU's tables do; or anything. */
static uint8_t *make_table(check *ck, int len, bool steps)
{
    uint8_t *const table = check_alloc(ck, (size_t)len);
    const int every = VQ_MAX(len / 200, 20 + check_between(ck, 12, 30)), turn = check_between(ck, 0, len / 2);
    int code = 9;
    if (!steps) check_fill_u8(ck, table, (size_t)len, 0, 255);
    for (int i = 0; steps && i < len; i++) {
        if (i % every == every / 3) code = i < turn ? VQ_MAX(code - 1, 0) : VQ_MIN(code + 1, 255);
        table[i] = (uint8_t)code;
    }
    return table;
}

/* So many runs of equal entries, their edges anywhere but for some side by side in the middle. */
static void make_runs(check *ck, vq_gemm_s8_weights *w, int len, int runs, bool pairs)
{
    uint8_t *const table = check_alloc(ck, (size_t)len), *const low = check_alloc(ck, (size_t)len);
    uint8_t *const edge = check_alloc(ck, (size_t)len);
    memset(edge, 0, (size_t)len);
    for (int i = 1; i < runs;) {
        const int at = i < 4 ? len / 2 + i : check_between(ck, 1, len - 1);
        if (!edge[at]) i++;
        edge[at] = 1;
    }
    for (int i = 0; i < len; i++) { /* two runs may differ in the low plane alone */
        table[i] = (uint8_t)((i ? table[i - 1] : 7) + (edge[i] && (!pairs || check_between(ck, 0, 3)) ? 91 : 0));
        low[i] = (uint8_t)((i ? low[i - 1] : 200) + (edge[i] ? check_between(ck, 1, 255) : 0));
    }
    w->table = table;
    if (pairs) w->table_low = low;
}

static uint8_t *make_spaced(check *ck, int len, int every)
{
    uint8_t *const table = check_alloc(ck, (size_t)len);
    for (int i = 0; i < len; i++)
        table[i] = (uint8_t)((i ? table[i - 1] : 3) + (i && i % every == 0 ? check_between(ck, 1, 255) : 0));
    return table;
}

static int shift_of(check *ck, const problem *p)
{
    if (p->shifts == SHIFTS_ANY) return check_between(ck, 1, 62);
    if (p->shifts == SHIFTS_LOW) return check_between(ck, 28, 40);
    return check_between(ck, 38, 44);
}

static void fill_few(check *ck, int8_t *w, const problem *p, const few_bits *f)
{
    const int span = (f->codes - 1) * f->step;
    for (int n = 0; n < p->n; n++) {
        const int low = f->with_zero ? -f->step * check_between(ck, 0, f->codes - 1)
                                     : check_between(ck, -p->w_abs_max, VQ_MIN(p->w_abs_max, 127) - span);
        for (int k = 0; k < p->k; k++)
            w[(size_t)n * (size_t)p->k + (size_t)k] = (int8_t)(low + f->step * check_between(ck, 0, f->codes - 1));
    }
}

/* Lanes of two neighbours of a group, as vpmaddubsw makes them, whose weights above 0 and those below 0 each sum to
 * what codes of a_max just do not carry past 16 bits, in every run of `steps` groups. */
static void fill_to_16_bits(check *ck, int8_t *w, const problem *p, int steps)
{
    const int most = INT16_MAX / VQ_MIN(p->a_max, 255) + (steps < 0), run = 4 * abs(steps);
    for (int n = 0; n < p->n; n++) {
        int8_t *const row = w + (size_t)n * (size_t)p->k;
        for (int first = 0; first < p->k; first += run)
            for (int lane = 0; lane < 2; lane++) {
                int left[2] = {most, most};
                for (int i = 0; i < run; i++) {
                    const int k = first + i, down = check_between(ck, 0, 1);
                    if (k >= p->k || (k >> 1 & 1) != lane) continue;
                    const int largest = VQ_MIN(left[down], p->w_abs_max);
                    const int size = i + 8 >= run ? largest : check_between(ck, 0, largest);
                    left[down] -= size;
                    row[k] = (int8_t)(down ? -size : size);
                }
            }
    }
}

/* Rows 0 to 2: all codes the largest; those alone that meet row 0's weights above 0, zero point and all; below 0. */
static void meet_weights(uint8_t *a, int lda, const problem *p, const vq_gemm_s8_weights *w)
{
    const int zero = p->shifts >= SHIFTS_LEAST && w->w_zero ? w->w_zero[0] : 0;
    for (int r = 0; r < VQ_MIN(p->m, 3); r++)
        for (int k = 0; k < p->k; k++) {
            const int x = w->w[k] + zero;
            const bool met = r == 0 || (r == 1 ? x > 0 : x < 0);
            a[(size_t)r * (size_t)lda + (size_t)k] = (uint8_t)(met ? p->a_max : 0);
        }
}

static void fill_near(check *ck, uint8_t *a, size_t count, const near_codes *x)
{
    for (size_t i = 0; i < count; i++) {
        const bool any = x->rare > 0 && !check_between(ck, 0, x->rare - 1);
        const bool down = x->rare < 0 ? i / 64 % 2 != 0 : check_between(ck, 0, 1) != 0;
        const int size = x->rare > 0 ? check_between(ck, 0, x->far) : x->far + (x->rare < 0 && i % 16 == 15);
        const int d = down ? -size : size;
        a[i] = (uint8_t)(any ? check_between(ck, 0, 255) : VQ_MIN(VQ_MAX(x->zero + d, 0), 255));
    }
}

static void set_least_shifts(uint8_t *shift, const vq_gemm_s8_weights *w)
{
    for (int n = 0; n < w->n; n++) {
        double up = w->bias[n], down = -w->bias[n];
        for (int k = 0; k < w->k; k++) {
            const int x = w->w[(size_t)n * (size_t)w->k + (size_t)k] + (w->w_zero ? w->w_zero[n] : 0);
            up += w->a_max * VQ_MAX(x, 0);
            down -= w->a_max * VQ_MIN(x, 0);
        }
        shift[n] = 33;
        for (double most = 2 * VQ_MAX(up, down); shift[n] > 1 && most < 0x1p31; most *= 2) shift[n]--;
    }
}

static void fill_weights(check *ck, vq_gemm_s8_weights *w, const problem *p, const extras *x)
{
    const size_t n = (size_t)p->n, count = n * (size_t)p->k;
    int8_t *const values = check_alloc(ck, count);
    int32_t *const ints = check_alloc(ck, 4 * n * sizeof *ints);
    uint8_t *const shift = check_alloc(ck, n);
    const bool table = p->epilogue == VQ_GEMM_TABLE;
    const int zero_max = x->zero_max ? x->zero_max : 128;
    const int len = p->table_len < 0 ? -p->table_len : p->table_len;
    check_fill_s8(ck, values, count, -p->w_abs_max, VQ_MIN(p->w_abs_max, 127));
    if (x->few.codes) fill_few(ck, values, p, &x->few);
    if (x->steps) fill_to_16_bits(ck, values, p, x->steps);
    check_fill_s32(ck, ints, n, -100000, 100000);
    for (size_t i = 0; i < n; i++) {
        ints[n + i] = check_between(ck, 0, 30) ? check_between(ck, 1 << 30, INT32_MAX) : 0;
        ints[2 * n + i] = table ? len / 2 + check_between(ck, -9, 9) : check_between(ck, -40, 300);
        ints[3 * n + i] = i < 2 ? (i ? zero_max : -zero_max) : check_between(ck, -zero_max, zero_max);
        shift[i] = (uint8_t)shift_of(ck, p);
    }
    *w = (vq_gemm_s8_weights){.n = p->n,
                              .k = p->k,
                              .a_planes = p->a_planes,
                              .a_max = p->a_max,
                              .a_zero = x->near.zero,
                              .w_abs_max = p->w_abs_max,
                              .w = values,
                              .bias = ints,
                              .mult = ints + n,
                              .zero = ints + 2 * n,
                              .w_zero = p->w_zero ? ints + 3 * n : NULL,
                              .shift = shift,
                              .epilogue = p->epilogue,
                              .bits = check_between(ck, 2, 8)};
    if (p->shifts >= SHIFTS_LEAST) set_least_shifts(shift, w);
    if (p->shifts == SHIFTS_BELOW) shift[0]--;
    if (!table) return;
    w->table_len = len;
    if (x->runs) {
        make_runs(ck, w, len, x->runs, p->c_planes == 2);
        return;
    }
    w->table = x->every ? make_spaced(ck, len, x->every) : make_table(ck, len, p->table_len > 0);
    if (p->c_planes == 2) w->table_low = make_table(ck, len, p->table_len > 0);
}

/* Codes, or high and low bytes of values up to a_max; columns between and beyond the planes hold anything. */
static check_buf *make_a(check *ck, const problem *p, int lda, int pitch, const vq_gemm_s8_weights *met,
                         const near_codes *near)
{
    const size_t count = (size_t)p->m * (size_t)lda;
    uint8_t *const bytes = check_alloc(ck, count), *const high = check_alloc(ck, count);
    check_fill_u8(ck, bytes, count, 0, p->a_planes == 2 ? 255 : p->a_max);
    if (met) meet_weights(bytes, lda, p, met);
    if (near->far) fill_near(ck, bytes, count, near);
    if (p->a_planes != 2) return check_in(ck, bytes, count);
    check_fill_u8(ck, high, count, 0, p->a_max >> 8);
    for (size_t i = 0; i < count; i++) {
        const size_t col = i % (size_t)lda;
        if (col >= (size_t)p->k) continue;
        bytes[i] = high[i];
        uint8_t *const low = &bytes[i + (size_t)pitch];
        if (high[i] == p->a_max >> 8) *low = VQ_MIN(*low, (uint8_t)(p->a_max & 255));
    }
    return check_in(ck, bytes, count);
}

static int padded(check *ck, int cols)
{
    return VQ_ROUND_UP(cols, VQ_CODE_PITCH) + VQ_CODE_PITCH * check_between(ck, 0, 1);
}

static void check_problem(check *ck, const vq_variant *v, const problem *p, const extras *x)
{
    const few_bits *const few = x->few.codes ? &x->few : NULL;
    const double work = (double)p->m * p->n * p->k;
    char text[64] = "";
    size_t at = 0;
    vq_gemm_s8_weights w;
    args a = {.weights = &w, .storage = few ? few->storage : VQ_STORAGE_DEFAULT};
    if (x->runs) at += (size_t)snprintf(text + at, sizeof text - at, "_runs%d", x->runs);
    if (x->every) at += (size_t)snprintf(text + at, sizeof text - at, "_every%d", x->every);
    if (x->steps) at += (size_t)snprintf(text + at, sizeof text - at, "_steps%d", x->steps);
    if (x->zero_max) at += (size_t)snprintf(text + at, sizeof text - at, "_zero%d", x->zero_max);
    if (x->near.far) snprintf(text + at, sizeof text - at, "_near%d_%d_%d", x->near.zero, x->near.far, x->near.rare);
    if (!check_case(ck, work, "m%d_n%d_k%d_%s_a%d_w%d%s_%s%s_t%d%s%s%s", p->m, p->n, p->k, epilogue_names[p->epilogue],
                    p->a_max, p->w_abs_max, p->w_zero ? "_wz" : "", shift_names[p->shifts], p->row_map ? "_map" : "",
                    p->table_len, text, p->c_planes == 2 ? "_pairs" : "", few ? storage_names[few->storage] : ""))
        return;
    const bool codes = p->epilogue == VQ_GEMM_CODES || p->epilogue == VQ_GEMM_TABLE;
    const int a_pitch = p->a_planes == 2 ? padded(ck, p->k) : 0, lda = padded(ck, a_pitch + p->k);
    const int c_pitch = p->c_planes == 2 ? padded(ck, p->n) : 0;
    const int ldc = codes ? padded(ck, c_pitch + p->n) : p->n + check_between(ck, 0, 3);
    const int rows_in = p->row_map ? VQ_CEIL_DIV(p->m, 2) : 0, rows_out = p->row_map ? rows_in + 2 : 0;
    const int rows = p->row_map ? 2 * rows_out : p->m;
    fill_weights(ck, &w, p, x);
    check_buf *const in = make_a(ck, p, lda, a_pitch, x->steps || p->shifts >= SHIFTS_LEAST ? &w : NULL, &x->near);
    check_buf *const out = codes ? check_out(ck, (size_t)rows * (size_t)ldc)
                                 : check_in_s32(ck, (size_t)rows * (size_t)ldc, INT32_MIN, INT32_MAX);
    vq_ref_gemm_s8_planes(&w, in->host, lda, a_pitch, out->want, ldc, c_pitch, p->m, rows_in, rows_out, p->row_map);
    a.io = (vq_gemm_s8_io){.a = in->buf,
                           .c = out->buf,
                           .m = p->m,
                           .lda = lda,
                           .ldc = ldc,
                           .rows_in = rows_in,
                           .rows_out = rows_out,
                           .row_first = p->row_map,
                           .a_plane_pitch = a_pitch,
                           .c_plane_pitch = c_pitch};
    if (check_run(ck, run, &a)) {
        const bool unpacks = vq_variant_is_wide(v) || v->p[2] == 1 || (v->p[2] == 2 && p->a_max <= 15);
        if (few)
            check_that(ck, vq_gemm_s8_is_packed(a.op) == (unpacks && few->packs), "weights are%s packed",
                       vq_gemm_s8_is_packed(a.op) ? "" : " not");
        if (codes)
            check_equal_u8(ck, "c", out, (size_t)(c_pitch + p->n), (size_t)ldc);
        else
            check_equal_s32(ck, "c", out, (size_t)p->n, (size_t)ldc);
        check_bench(ck, 2 * work * p->a_planes,
                    (double)p->m * p->k + (double)p->n * p->k + (double)p->m * p->n * (codes ? 1 : 4));
    }
    vq_gemm_s8_destroy(&a.op);
}

/* Variants that multiply words, or bytes where codes of 8 bits lie near one: DOT 2 in kernels/gemm_s8_wide.cl. */
static bool takes_centred(const vq_variant *v)
{
    return vq_variant_is_wide(v) && v->p[3] == 2;
}

void check_gemm_s8(check *ck)
{
    static const problem problems[] = {
        {1, 1, 1, VQ_GEMM_SET, 255, 128, false, SHIFTS_ANY, 0, false, 1, 1},
        {3, 5, 7, VQ_GEMM_CODES, 255, 128, true, SHIFTS_ANY, 0, false, 1, 1},
        {13, 33, 17, VQ_GEMM_CODES, 255, 128, true, SHIFTS_CODES, 0, false, 1, 1},
        {12, 32, 16, VQ_GEMM_TABLE, 255, 128, false, SHIFTS_CODES, 300, false, 1, 1},
        {25, 65, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 16384, false, 1, 1},
        {25, 64, 31, VQ_GEMM_TABLE, 15, 8, false, SHIFTS_CODES, 5000, false, 1, 1},
        {25, 64, 31, VQ_GEMM_TABLE, 63, 32, true, SHIFTS_CODES, -2500, false, 1, 1},
        {7, 40, 50, VQ_GEMM_TABLE, 255, 128, false, SHIFTS_CODES, -65536, false, 1, 1},
        {11, 37, 90, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_ANY, 1000, false, 1, 1},
        {14, 31, 33, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, true, 1, 1},
        {15, 48, 200, VQ_GEMM_ADD, 7, 4, false, SHIFTS_ANY, 0, true, 1, 1},
        {16, 50, 64, VQ_GEMM_SET, 3, 2, false, SHIFTS_LOW, 0, true, 1, 1},
        {49, 50, 2100, VQ_GEMM_SET, 255, 128, true, SHIFTS_LOW, 0, false, 1, 1},
        {11, 20, 3072, VQ_GEMM_ADD, 127, 64, false, SHIFTS_LOW, 0, false, 1, 1},
        {11, 20, 3071, VQ_GEMM_CODES, 255, 64, true, SHIFTS_CODES, 0, false, 1, 1},
        {197, 64, 192, VQ_GEMM_CODES, 15, 15, false, SHIFTS_CODES, 0, false, 1, 1},
        /* two planes on one side or both; the first ones' sums reach what fits */
        {1, 1, 1, VQ_GEMM_SET, 65535, 128, true, SHIFTS_ANY, 0, false, 2, 1},
        {12, 33, 250, VQ_GEMM_SET, 65535, 128, false, SHIFTS_ANY, 0, true, 2, 1},
        {14, 35, 120, VQ_GEMM_ADD, 65535, 128, true, SHIFTS_LOW, 0, false, 2, 1},
        {25, 65, 100, VQ_GEMM_CODES, 65535, 128, true, SHIFTS_CODES, 0, false, 2, 1},
        {7, 40, 3071, VQ_GEMM_ADD, 65407, 8, false, SHIFTS_LOW, 0, false, 2, 1},
        {26, 65, 33, VQ_GEMM_TABLE, 65535, 64, true, SHIFTS_CODES, 2000, false, 2, 2},
        {11, 37, 31, VQ_GEMM_TABLE, 40000, 64, true, SHIFTS_ANY, -1500, false, 2, 2},
        {25, 64, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 16384, false, 1, 2},
        {13, 45, 66, VQ_GEMM_TABLE, 15, 8, false, SHIFTS_CODES, -65536, false, 1, 2},
        /* weights beyond 1 MB: work-items of most rows and few columns */
        {100, 1100, 1001, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 16376, false, 1, 1},
        {25, 1100, 1001, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, true, 1, 1},
        /* a ViT-Ti at batch 8 */
        {1576, 576, 192, VQ_GEMM_CODES, 255, 128, true, SHIFTS_CODES, 0, false, 1, 1},
        {1576, 192, 192, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, false, 1, 1},
        {1576, 768, 192, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 16376, false, 1, 1},
        {1576, 192, 768, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, false, 1, 1},
        {1576, 192, 768, VQ_GEMM_ADD, 15, 8, false, SHIFTS_LOW, 0, false, 1, 1},
        {1576, 192, 768, VQ_GEMM_ADD, 65535, 8, false, SHIFTS_LOW, 0, false, 2, 1},
        {1576, 768, 192, VQ_GEMM_TABLE, 15, 8, false, SHIFTS_CODES, -16376, false, 1, 2},
    };
    static const struct {
        problem p;
        few_bits few;
    } packed[] = {
        {{1, 1, 1, VQ_GEMM_SET, 15, 60, false, SHIFTS_ANY, 0, false, 1, 1}, {16, 4, true, true, VQ_STORAGE_PACKED}},
        {{3, 5, 7, VQ_GEMM_CODES, 15, 15, true, SHIFTS_ANY, 0, false, 1, 1}, {16, 1, true, true, VQ_STORAGE_PACKED}},
        {{25, 65, 101, VQ_GEMM_TABLE, 15, 120, true, SHIFTS_CODES, 2000, false, 1, 1},
         {16, 8, true, true, VQ_STORAGE_PACKED}},
        {{13, 33, 18, VQ_GEMM_ADD, 255, 28, false, SHIFTS_LOW, 0, true, 1, 1}, {8, 4, true, true, VQ_STORAGE_PACKED}},
        {{14, 97, 36, VQ_GEMM_CODES, 255, 120, false, SHIFTS_CODES, 0, false, 1, 1},
         {16, 8, true, true, VQ_STORAGE_PACKED}},
        {{9, 50, 64, VQ_GEMM_SET, 15, 100, true, SHIFTS_LOW, 0, false, 1, 1}, {16, 4, false, true, VQ_STORAGE_PACKED}},
        {{9, 50, 67, VQ_GEMM_SET, 15, 127, true, SHIFTS_LOW, 0, false, 1, 1}, {16, 4, false, false, VQ_STORAGE_PACKED}},
        {{17, 9, 64, VQ_GEMM_SET, 15, 15, true, SHIFTS_LOW, 0, false, 1, 1}, {16, 1, true, true, VQ_STORAGE_PACKED}},
        {{16, 8, 129, VQ_GEMM_CODES, 15, 128, false, SHIFTS_CODES, 0, false, 1, 1},
         {16, 16, true, true, VQ_STORAGE_PACKED}},
        {{65, 3, 200, VQ_GEMM_ADD, 15, 128, true, SHIFTS_LOW, 0, true, 1, 1},
         {2, 120, false, true, VQ_STORAGE_PACKED}}, /* codes 0 and 15 */
        {{1, 70, 63, VQ_GEMM_SET, 7, 8, false, SHIFTS_ANY, 0, false, 1, 1}, {16, 1, true, true, VQ_STORAGE_PACKED}},
        {{26, 65, 33, VQ_GEMM_TABLE, 65535, 15, true, SHIFTS_CODES, 2000, false, 2, 2},
         {16, 1, true, true, VQ_STORAGE_PACKED}},
        {{11, 20, 3071, VQ_GEMM_CODES, 63, 96, false, SHIFTS_CODES, 0, false, 1, 1},
         {4, 32, true, true, VQ_STORAGE_PACKED}},
        {{1576, 576, 192, VQ_GEMM_CODES, 15, 60, false, SHIFTS_CODES, 0, false, 1, 1},
         {16, 4, true, true, VQ_STORAGE_PACKED}},
        {{1576, 576, 192, VQ_GEMM_CODES, 15, 60, false, SHIFTS_CODES, 0, false, 1, 1},
         {16, 4, true, false, VQ_STORAGE_BYTES}},
        {{1576, 768, 192, VQ_GEMM_TABLE, 15, 60, false, SHIFTS_CODES, 16376, false, 1, 1},
         {16, 4, true, true, VQ_STORAGE_PACKED}},
        {{1576, 768, 192, VQ_GEMM_TABLE, 15, 60, false, SHIFTS_CODES, 16376, false, 1, 1},
         {16, 4, true, false, VQ_STORAGE_BYTES}},
        {{1576, 192, 768, VQ_GEMM_ADD, 15, 60, false, SHIFTS_LOW, 0, false, 1, 1},
         {16, 4, true, true, VQ_STORAGE_PACKED}},
        {{1576, 192, 768, VQ_GEMM_ADD, 15, 60, false, SHIFTS_LOW, 0, false, 1, 1},
         {16, 4, true, false, VQ_STORAGE_BYTES}},
        {{197, 192, 768, VQ_GEMM_ADD, 15, 60, false, SHIFTS_LOW, 0, false, 1, 1},
         {16, 4, true, true, VQ_STORAGE_PACKED}},
        {{197, 192, 768, VQ_GEMM_ADD, 15, 60, false, SHIFTS_LOW, 0, false, 1, 1},
         {16, 4, true, false, VQ_STORAGE_BYTES}},
    };
    static const struct {
        problem p;
        int runs;
    } tables[] = {
        {{25, 65, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 2000, false, 1, 2}, 1},
        {{25, 65, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 2000, false, 1, 2}, 17},
        {{17, 96, 31, VQ_GEMM_TABLE, 15, 8, false, SHIFTS_CODES, 16384, false, 1, 2}, 32},
        {{9, 97, 64, VQ_GEMM_TABLE, 255, 64, true, SHIFTS_CODES, 65536, false, 2, 2}, 33},
        {{31, 144, 36, VQ_GEMM_TABLE, 63, 32, false, SHIFTS_CODES, 16380, false, 1, 2}, 64},
        {{25, 48, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_ANY, 3001, false, 1, 2}, 65},
        {{25, 50, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 65532, false, 1, 2}, 128},
        {{25, 50, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 65532, false, 1, 2}, 129},
        {{25, 65, 100, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 300, false, 1, 1}, 20},
        {{16, 49, 100, VQ_GEMM_TABLE, 255, 128, false, SHIFTS_CODES, 16384, false, 1, 1}, 90},
        {{1576, 768, 192, VQ_GEMM_TABLE, 15, 8, false, SHIFTS_CODES, 16376, false, 1, 2}, 20},
        {{1576, 768, 192, VQ_GEMM_TABLE, 255, 128, true, SHIFTS_CODES, 65532, false, 1, 2}, 75},
    };
    /* where buckets of 2^n entries change once (ops/gemm_s8_table.c): at their ends, as many as there may be, one more
     */
    static const struct {
        int len, every;
    } spaced[] = {{2, 1},   {17, 16},   {1000, 33}, {1024, 127}, {128, 128},   {129, 128},   {254, 2},
                  {300, 2}, {8128, 64}, {8129, 64}, {3969, 63},  {16256, 128}, {16257, 128}, {16256, 129}};
    static const struct {
        problem p;
        int steps, zero_max;
    } edges[] = {
        {{14, 50, 48, VQ_GEMM_SET, 255, 127, false, SHIFTS_LOW, 0, false, 1, 1}, 1, 0},
        {{14, 50, 50, VQ_GEMM_CODES, 255, 127, true, SHIFTS_CODES, 0, false, 1, 1}, 2, 0},
        {{7, 33, 95, VQ_GEMM_ADD, 255, 127, true, SHIFTS_LOW, 0, true, 1, 1}, 3, 255},
        {{14, 50, 48, VQ_GEMM_SET, 255, 127, false, SHIFTS_LOW, 0, false, 1, 1}, -2, 0},
        {{13, 49, 96, VQ_GEMM_SET, 63, 127, true, SHIFTS_LOW, 0, false, 1, 1}, -8, 0},
        {{9, 33, 400, VQ_GEMM_SET, 15, 8, false, SHIFTS_LOW, 0, false, 1, 1}, -100, 0},
        {{13, 49, 93, VQ_GEMM_SET, 63, 127, true, SHIFTS_LOW, 0, false, 1, 1}, 8, 256},
        {{9, 97, 401, VQ_GEMM_TABLE, 63, 32, false, SHIFTS_CODES, 3000, false, 1, 1}, 34, 0},
        {{11, 20, 1000, VQ_GEMM_CODES, 15, 8, false, SHIFTS_CODES, 0, false, 1, 1}, 250, 0},
        {{25, 65, 31, VQ_GEMM_SET, 65535, 127, false, SHIFTS_LOW, 0, false, 2, 1}, 2, 0},
        {{13, 50, 3071, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, true, 1, 1}, 0, 255},
        {{13, 50, 129, VQ_GEMM_CODES, 255, 128, true, SHIFTS_CODES, 0, false, 1, 1}, 0, 32767},
        {{14, 50, 48, VQ_GEMM_SET, 255, 127, true, SHIFTS_LEAST, 0, false, 1, 1}, 0, 0},
        {{13, 49, 96, VQ_GEMM_ADD, 15, 8, true, SHIFTS_LEAST, 0, true, 1, 1}, 0, 8},
        {{14, 50, 48, VQ_GEMM_SET, 255, 127, true, SHIFTS_BELOW, 0, false, 1, 1}, 0, 0},
        {{13, 49, 96, VQ_GEMM_ADD, 15, 8, true, SHIFTS_BELOW, 0, true, 1, 1}, 0, 8},
        {{8, 97, 36, VQ_GEMM_SET, 63, 32, false, SHIFTS_LEAST, 0, false, 1, 1}, 0, 0},
        {{26, 65, 33, VQ_GEMM_TABLE, 65535, 64, true, SHIFTS_LEAST, 2000, false, 2, 2}, 0, 0},
    };
    /* codes near one, as those of real layers are, and weights as far apart as can be (kernels/gemm_s8_centred.h): 1, 2
     * and 4 groups that just fit 16 bits and just do not, few extra steps, too many */
    static const few_bits far_apart = {2, 255, false, false, VQ_STORAGE_BYTES};
    static const near_codes near[] = {{128, 64, 0},  {128, 65, 0},   {100, 32, 0},  {140, 33, 0},  {128, 16, 0},
                                      {9, 17, 0},    {128, 127, 0},  {0, 255, 0},   {255, 255, 0}, {128, 20, 40},
                                      {5, 8, 60},    {250, 30, 100}, {128, 45, 9},  {120, 90, 5},  {128, 128, 1},
                                      {128, 64, -1}, {128, 32, -1},  {128, 16, -1}, {90, 15, -1}};
    static const problem near_problems[] = {
        {25, 65, 100, VQ_GEMM_SET, 255, 128, true, SHIFTS_LOW, 0, false, 1, 1},
        {14, 49, 192, VQ_GEMM_CODES, 255, 128, false, SHIFTS_CODES, 0, false, 1, 1},
        {9, 33, 783, VQ_GEMM_ADD, 255, 128, true, SHIFTS_LOW, 0, true, 1, 1},
    };
    for (const vq_variant *v = check_first(ck, VQ_OP_GEMM_S8); v; v = check_next(ck)) {
        for (size_t i = 0; i < VQ_ARRAY_LEN(problems); i++) check_problem(ck, v, &problems[i], &(extras){.runs = 0});
        for (size_t i = 0; i < VQ_ARRAY_LEN(packed); i++)
            check_problem(ck, v, &packed[i].p, &(extras){.few = packed[i].few});
        for (size_t i = 0; i < VQ_ARRAY_LEN(tables); i++)
            check_problem(ck, v, &tables[i].p, &(extras){.runs = tables[i].runs});
        for (size_t i = 0; i < VQ_ARRAY_LEN(spaced) && vq_variant_is_wide(v); i++)
            check_problem(ck, v,
                          &(problem){9, 48, 36, VQ_GEMM_TABLE, 63, 31, i % 2, SHIFTS_CODES, spaced[i].len, false, 1, 1},
                          &(extras){.every = spaced[i].every});
        for (size_t i = 0; i < VQ_ARRAY_LEN(near) * VQ_ARRAY_LEN(near_problems) && takes_centred(v); i++) {
            const near_codes *const c = &near[i % VQ_ARRAY_LEN(near)];
            check_problem(ck, v, &near_problems[i / VQ_ARRAY_LEN(near)],
                          &(extras){.few = c->rare > 0 ? (few_bits){0} : far_apart, .near = *c});
        }
        /* of sums of 16 bits and of pairs, which only kernels for CPUs take */
        for (size_t i = 0; i < VQ_ARRAY_LEN(edges) && vq_variant_is_wide(v); i++)
            check_problem(ck, v, &edges[i].p, &(extras){.steps = edges[i].steps, .zero_max = edges[i].zero_max});
    }
}
