/* attention_u8 on a device: constants per head, the probability table also as edges and values of its runs, and for CPU
 * variants the packing of K and V, before every run or in it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/args_int.h"
#include "ops/ops_int.h"
#include "ops/table_runs.h"

enum {
    MAX_HEAD_DIM = 256,
    MAX_TOKENS = 4095,
    MAX_RUNS = 64 /* a search of 6 steps, or buckets */,
    CHANNEL_PAD = 32,
    HEAD_FIELDS = 4,
    CHANNEL_FIELDS = 3
};

struct vq_attention_u8 {
    const vq_variant *variant;
    vq_buf *consts, *prob, *search;
    vq_buf *map, *region, *bias, *pad;  /* within windows: of their tokens [windows][T]; [heads][T][T]; [3C] */
    int windows, window_tokens, raster; /* 1, 0, 0 where there are none */
    int mask;
    int heads, head_dim, padded, prob_step, prob_last, prob_shift, zero, code_max;
    int steps;       /* of the search for a table's run in registers, 0: none; 1: by buckets */
    int byte_tables; /* where buckets are looked up byte by byte: the 16ths of MAX_RUNS that they take; else 0 */
    int block;       /* rows and channels of a work-group of a GPU's variant; 0: the variant is none */
    int items;       /* heads that keep the device busy with one work-item each; CPUs' variants */
    bool one_item, prob_low, small_scores, clamp_sums, high_shifts;
    int score_steps; /* groups of 4 channels whose products of Q and K fit 16 bits; 0: operands of 16 bits multiply */
    int k_middle;    /* what codes of K are less by in such products, instead of 128 */
};

static vq_status check_requant(const char *what, int i, int32_t mult, int shift)
{
    if (shift >= 1 && shift <= 62 && (!mult || mult >= 1 << 30)) return VQ_OK;
    return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: %s %d has multiplier %d and shift %d, out of range", what, i,
                   mult, shift);
}

static int num_tables(const vq_attention_u8_weights *w)
{
    return VQ_MAX(w->prob_tables, 1);
}

static int num_pairs(const vq_windows *w)
{
    return (2 * w->window_h - 1) * (2 * w->window_w - 1);
}

static bool is_axis(int size, int window, int shift)
{
    return size > 0 && size <= MAX_TOKENS && window > 0 && window <= size && shift >= 0 && shift < window;
}

static vq_status check_windows(const vq_attention_u8_weights *w)
{
    const vq_windows *const v = &w->windows;
    if (v->height == 0) return VQ_OK;
    if (!is_axis(v->height, v->window_h, v->shift_h) || !is_axis(v->width, v->window_w, v->shift_w) ||
        vq_windows_tokens(v) > MAX_TOKENS || !w->bias || !w->pad != !vq_windows_padded(v))
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "attention_u8: windows of %d x %d, shifted by %d and %d, in a grid of %d x %d", v->window_h,
                       v->window_w, v->shift_h, v->shift_w, v->height, v->width);
    for (int i = 0; i < num_pairs(v) * w->heads; i++)
        if (w->bias[i] < -VQ_SCORE_BIAS_MAX || w->bias[i] > VQ_SCORE_BIAS_MAX)
            return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: bias %d is %d, out of range", i, w->bias[i]);
    if (w->mask > 0 || w->mask < -VQ_SCORE_BIAS_MAX)
        return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: the mask is %d, out of range", w->mask);
    return VQ_OK;
}

static vq_status check_weights(const vq_attention_u8_weights *w)
{
    if (w->heads < 1 || w->head_dim < 1 || w->head_dim > MAX_HEAD_DIM || w->heads > INT32_MAX / 4 / MAX_HEAD_DIM)
        return vq_fail(VQ_ERR_UNSUPPORTED, "attention_u8: %d heads of width %d, at most %d wide", w->heads, w->head_dim,
                       MAX_HEAD_DIM);
    if (w->qkv_bits < 0 || w->qkv_bits > 8)
        return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: %d bits of q, k and v", w->qkv_bits);
    if (w->bits < 1 || w->bits > 8 || w->prob_len < 1 || w->prob_len > 65536 || w->prob_shift < 0 || w->prob_shift > 30)
        return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: %d bits of output, probability table of %d entries, shift %d",
                       w->bits, w->prob_len, w->prob_shift);
    if (w->prob_tables > 1 && w->prob_tables != w->heads)
        return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: %d probability tables for %d heads", w->prob_tables,
                       w->heads);
    for (int i = 0; i < w->prob_len * num_tables(w) && !w->prob_low; i++)
        if (w->prob[i] & 255)
            return vq_fail(VQ_ERR_INVALID_ARG, "attention_u8: probability %d is %d, but prob_low is not set", i,
                           w->prob[i]);
    VQ_TRY(check_windows(w));
    for (int h = 0; h < w->heads; h++) VQ_TRY(check_requant("head", h, w->score_mult[h], w->score_shift[h]));
    for (int c = 0; c < w->heads * w->head_dim; c++) VQ_TRY(check_requant("channel", c, w->mult[c], w->shift[c]));
    return VQ_OK;
}

/* The smallest sum that becomes a score of 2^30 or more, at most INT32_MAX. */
static int32_t sum_limit(int32_t mult, int shift)
{
    const int64_t one = (int64_t)1 << VQ_MIN(30 + shift, 62); /* 2^62 / mult is more than an s32 can be */
    return mult ? (int32_t)VQ_MIN((one + mult - 1) / mult, INT32_MAX) : INT32_MAX;
}

enum { LEAST_HIGH = 33 }; /* from this shift on the rounding term is in a product's upper half */

static bool has_high_shifts(const vq_attention_u8_weights *w)
{
    for (int c = 0; c < w->heads * w->head_dim; c++)
        if (w->mult[c] && w->shift[c] < LEAST_HIGH) return false;
    return true;
}

static vq_status create_consts(vq_attention_u8 *op, vq_device *dev, const vq_attention_u8_weights *w)
{
    const size_t heads = (size_t)op->heads, width = (size_t)op->head_dim, padded = (size_t)op->padded;
    const size_t count = heads * HEAD_FIELDS + heads * CHANNEL_FIELDS * padded;
    int32_t *consts = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&consts, count, sizeof *consts, "attention_u8 constants"));
    for (size_t h = 0; h < heads; h++) {
        int32_t *const head = consts + h * HEAD_FIELDS;
        int32_t *const channel = consts + heads * HEAD_FIELDS + h * CHANNEL_FIELDS * padded;
        head[0] = w->q_zero[h];
        head[1] = w->score_mult[h];
        head[2] = w->score_shift[h];
        head[3] = sum_limit(w->score_mult[h], w->score_shift[h]);
        for (size_t d = 0; d < padded; d++) channel[2 * padded + d] = LEAST_HIGH; /* in range beyond the width */
        for (size_t d = 0; d < width; d++) {
            channel[d] = w->v_zero[h * width + d];
            channel[padded + d] = w->mult[h * width + d];
            channel[2 * padded + d] = w->mult[h * width + d] ? w->shift[h * width + d] : LEAST_HIGH;
        }
    }
    VQ_GO(vq_buf_create_from(&op->consts, dev, consts, count * sizeof *consts));
done:
    free(consts);
    return status;
}

/* Buckets of 2^shift entries, each with the value where it begins and the first entry that has another, which is the
 * next bucket's value; UINT16_MAX where there is none. Entries beyond bound count as bound. */
typedef struct buckets {
    uint16_t edges[MAX_RUNS], values[MAX_RUNS];
    int shift, bound;
} buckets;

/* False where a bucket has more than one edge, or where they reach beyond scores' differences of 2^30. */
static bool make_buckets(buckets *b, int shift, int bound, const uint16_t *prob, int len, int prob_shift)
{
    b->shift = shift;
    b->bound = bound;
    if (bound >= UINT16_MAX || (int64_t)bound << prob_shift > 1 << 30) return false;
    for (int i = 0; i < MAX_RUNS; i++) {
        int x = i << shift, end = (i + 1) << shift;
        b->values[i] = prob[VQ_MIN(x, len - 1)];
        while (x < VQ_MIN(end, len) && prob[x] == b->values[i]) x++;
        b->edges[i] = x < VQ_MIN(end, len) ? (uint16_t)x : UINT16_MAX;
    }
    for (int x = 0; x < len; x++) {
        const int clipped = VQ_MIN(x, bound), i = clipped >> shift;
        if (b->values[i + (clipped >= b->edges[i])] != prob[x]) return false;
    }
    return true;
}

static int last_edge(const uint16_t *prob, int len)
{
    int last = len - 1;
    while (last > 0 && prob[last] == prob[last - 1]) last--;
    return last;
}

/* kernels/attention_u8_lookup.h, the find_values of one step: buckets as small as 63 of them can be that reach the last
 * edge. */
static bool fill_buckets(uint16_t search[8][32], const uint16_t *prob, int len, int prob_shift)
{
    const int last = last_edge(prob, len);
    buckets b;
    int shift = 0;
    while (last >> shift >= MAX_RUNS - 1) shift++;
    const int bound = VQ_MIN(((MAX_RUNS - 1) << shift) - 1, UINT16_MAX - 1);
    if (!make_buckets(&b, shift, bound, prob, len, prob_shift)) return false;
    memcpy(search[0], b.edges, sizeof b.edges);
    memcpy(search[2], b.values, sizeof b.values);
    search[4][0] = (uint16_t)b.shift;
    search[4][1] = (uint16_t)b.bound;
    return true;
}

/* The find_bytes of the same file: buckets as large as possible. Returns how many tables of 16 bytes they take, 0 where
 * there are none. */
static int fill_byte_buckets(uint16_t search[8][32], const uint16_t *prob, int len, int prob_shift)
{
    const int last = last_edge(prob, len);
    for (int shift = 15; last >> shift < MAX_RUNS - 1 && shift >= 0; shift--) {
        const int count = (last >> shift) + 1;
        buckets b;
        if (!make_buckets(&b, shift, (count << shift) - 1, prob, len, prob_shift)) continue;
        uint8_t bytes[4][MAX_RUNS];
        for (int i = 0; i < MAX_RUNS; i++) {
            bytes[0][i] = (uint8_t)b.edges[i];
            bytes[1][i] = (uint8_t)(b.edges[i] >> 8);
            bytes[2][i] = (uint8_t)b.values[i];
            bytes[3][i] = (uint8_t)(b.values[i] >> 8);
        }
        for (int i = 0; i < 4; i++) vq_table_differences((uint8_t *)search[i], bytes[i], MAX_RUNS);
        search[4][0] = (uint16_t)b.shift;
        search[4][1] = (uint16_t)b.bound;
        return VQ_CEIL_DIV(count + 1, VQ_BYTE_ROW);
    }
    return 0;
}

/* For variants that look bytes up in registers. */
static void fill_byte_tables(vq_attention_u8 *op, uint16_t (*search)[8][32], const vq_attention_u8_weights *w)
{
    int most = 1;
    for (int i = 0; i < num_tables(w); i++) {
        const int tables = fill_byte_buckets(search[i], vq_attention_prob(w, i), w->prob_len, w->prob_shift);
        if (!tables) return;
        most = VQ_MAX(most, tables);
    }
    op->steps = 1;
    op->byte_tables = most;
}

/* For those that look words up; wherever the runs are few enough, if not in buckets, by a search. */
static void fill_word_tables(vq_attention_u8 *op, uint16_t (*search)[8][32], const vq_attention_u8_weights *w)
{
    const int tables = num_tables(w);
    vq_table_runs runs;
    int most = 0;
    for (int i = 0; i < tables; i++) {
        vq_table_runs_find(&runs, vq_attention_prob(w, i), w->prob_len);
        most = VQ_MAX(most, runs.count);
    }
    /* kernels may take a difference of scores for no more than 2^30 */
    if (most > MAX_RUNS || (int64_t)w->prob_len << w->prob_shift > 1 << 30) return;
    bool in_buckets = true;
    for (int i = 0; i < tables && in_buckets; i++)
        in_buckets = fill_buckets(search[i], vq_attention_prob(w, i), w->prob_len, w->prob_shift);
    op->steps = in_buckets ? 1 : most <= 16 ? 4 : 6;
    for (int i = 0; i < tables && op->steps > 1; i++) {
        vq_table_runs_find(&runs, vq_attention_prob(w, i), w->prob_len);
        vq_table_runs_fill(search[i][0], search[i][6], &runs, op->steps);
    }
}

/* The tables as they are and, where their runs and the variant's instructions allow it, for the search. */
static vq_status create_tables(vq_attention_u8 *op, vq_device *dev, const vq_attention_u8_weights *w)
{
    const int tables = num_tables(w);
    uint16_t(*search)[8][32] = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&search, (size_t)tables, sizeof *search, "attention_u8 tables"));
    if (op->variant->needs & (VQ_CAP_AVX512BW | VQ_CAP_AVX512VNNI)) fill_word_tables(op, search, w);
    if (op->variant->needs & (VQ_CAP_AVX2 | VQ_CAP_AVXVNNI)) fill_byte_tables(op, search, w);
    VQ_GO(vq_buf_create_from(&op->search, dev, search, (size_t)tables * sizeof *search));
    if (!op->steps) /* else the search is all that the kernel reads */
        VQ_GO(vq_buf_create_from(&op->prob, dev, w->prob, (size_t)(tables * w->prob_len) * sizeof *w->prob));
done:
    free(search);
    return status;
}

/* Kernels read whole vectors from rows of biases and regions, past the last token too. */
enum { SPARE_INTS = 32 };

static vq_status create_windows(vq_attention_u8 *op, vq_device *dev, const vq_attention_u8_weights *w)
{
    const vq_windows *const v = &w->windows;
    int32_t *map = NULL, *region = NULL, *bias = NULL;
    vq_status status = VQ_OK;
    op->windows = vq_windows_count(v);
    if (v->height == 0) return VQ_OK;
    const size_t t = (size_t)vq_windows_tokens(v), all = (size_t)op->windows * t + SPARE_INTS;
    const size_t count = (size_t)w->heads * t * t + SPARE_INTS;
    op->window_tokens = (int)t;
    op->raster = v->height * v->width;
    op->mask = w->mask;
    VQ_GO(vq_alloc(&map, all, sizeof *map, "attention_u8 windows"));
    VQ_GO(vq_alloc(&region, all, sizeof *region, "attention_u8 windows"));
    VQ_GO(vq_alloc(&bias, count, sizeof *bias, "attention_u8 biases"));
    vq_windows_map(v, map);
    vq_windows_regions(v, region);
    for (size_t h = 0; h < (size_t)w->heads; h++)
        for (size_t i = 0; i < t; i++)
            for (size_t j = 0; j < t; j++)
                bias[(h * t + i) * t + j] =
                    w->bias[(size_t)vq_windows_relative(v, (int)i, (int)j) * (size_t)w->heads + h];
    VQ_GO(vq_buf_create_from(&op->map, dev, map, all * sizeof *map));
    VQ_GO(vq_buf_create_from(&op->region, dev, region, all * sizeof *region));
    VQ_GO(vq_buf_create_from(&op->bias, dev, bias, count * sizeof *bias));
    if (w->pad) VQ_GO(vq_buf_create_from(&op->pad, dev, w->pad, (size_t)(3 * w->heads * w->head_dim)));
done:
    free(map);
    free(region);
    free(bias);
    return status;
}

/* The largest code of q, k and v. */
static int qkv_max(const vq_attention_u8_weights *w)
{
    int most = (1 << (w->qkv_bits ? w->qkv_bits : 8)) - 1;
    for (int i = 0; w->pad && i < 3 * w->heads * w->head_dim; i++) most = VQ_MAX(most, w->pad[i]);
    return most;
}

/* What brings the codes of K next to 0. */
static int k_middle(const vq_attention_u8_weights *w)
{
    return (qkv_max(w) + 1) / 2;
}

/* Groups of 4 channels that vpmaddubsw sums in lanes of 16 bits, two products of each in a lane; 0 where the variant
 * does not, or too few fit to be worth while. */
static int score_steps(const vq_variant *variant, const vq_attention_u8_weights *w)
{
    enum { DOT_MADD = 2, WORTH_WHILE = 2 };
    const int most = qkv_max(w), steps = INT16_MAX / (2 * most * k_middle(w));
    if (variant->p[3] != DOT_MADD || !vq_variant_is_wide(variant) || most > INT8_MAX || steps < WORTH_WHILE) return 0;
    return VQ_MIN(steps, VQ_CEIL_DIV(MAX_HEAD_DIM, 4));
}

/* No score's size can reach 2^29, and the shifts allow 32-bit halves: kernels/attention_u8_math.h, requant_score. */
static bool has_small_scores(const vq_attention_u8_weights *w)
{
    double added = w->windows.height ? -(double)w->mask : 0, most = 0;
    for (int i = 0; w->windows.height && i < num_pairs(&w->windows) * w->heads; i++)
        most = fmax(most, fabs((double)w->bias[i]));
    added += most;
    for (int h = 0; h < w->heads; h++) {
        const double q_zero = w->q_zero[h], q_most = fmax(fabs(q_zero), fabs(qkv_max(w) - q_zero));
        const double bound = w->head_dim * 128.0 * q_most; /* codes of K less 128 */
        if (w->score_shift[h] > 32 || ldexp(bound * w->score_mult[h], -w->score_shift[h]) + 1 + added >= 0x1p29)
            return false;
    }
    return true;
}

/* Scores of clamped sums fit s32, and the shifts allow 32-bit halves: the same file, the same function. */
static bool can_clamp_sums(const vq_attention_u8_weights *w)
{
    for (int h = 0; h < w->heads; h++)
        if (w->score_shift[h] < 3 || w->score_shift[h] > 32) return false;
    return true;
}

static vq_status create(vq_attention_u8 *op, vq_device *dev, const vq_attention_u8_weights *w)
{
    VQ_TRY(check_weights(w));
    op->variant = vq_variant_choose(dev, VQ_OP_ATTENTION_U8);
    op->one_item = vq_variant_is_wide(op->variant);
    op->items = 4 * VQ_MAX(vq_device_get_info(dev)->compute_units, 1);
    op->block = op->one_item ? 0 : op->variant->p[0] * op->variant->p[1];
    op->heads = w->heads;
    op->head_dim = w->head_dim;
    op->padded = VQ_ROUND_UP(w->head_dim, CHANNEL_PAD);
    op->prob_step = w->prob_tables > 1 ? w->prob_len : 0;
    op->prob_last = w->prob_len - 1;
    op->prob_shift = w->prob_shift;
    op->prob_low = w->prob_low;
    op->zero = w->zero;
    op->code_max = (1 << w->bits) - 1;
    op->score_steps = score_steps(op->variant, w);
    op->k_middle = k_middle(w);
    op->small_scores = has_small_scores(w);
    op->clamp_sums = !op->small_scores && can_clamp_sums(w);
    op->high_shifts = has_high_shifts(w);
    VQ_TRY(create_consts(op, dev, w));
    VQ_TRY(create_windows(op, dev, w));
    return create_tables(op, dev, w);
}

vq_status vq_attention_u8_create(vq_attention_u8 **out, vq_device *dev, const vq_attention_u8_weights *weights)
{
    vq_attention_u8 *op;
    *out = NULL;
    VQ_TRY(vq_alloc(&op, 1, sizeof *op, "an attention"));
    const vq_status status = create(op, dev, weights);
    if (status != VQ_OK) {
        vq_attention_u8_destroy(&op);
        return status;
    }
    *out = op;
    return VQ_OK;
}

size_t vq_attention_u8_device_bytes(const vq_attention_u8 *op)
{
    const vq_buf *const all[] = {op->consts, op->prob, op->search, op->map, op->region, op->bias, op->pad};
    size_t bytes = 0;
    for (size_t i = 0; i < VQ_ARRAY_LEN(all); i++) bytes += vq_buf_bytes(all[i]);
    return bytes;
}

void vq_attention_u8_destroy(vq_attention_u8 **op_ptr)
{
    vq_attention_u8 *const op = *op_ptr;
    if (!op) return;
    vq_buf_destroy(&op->map);
    vq_buf_destroy(&op->region);
    vq_buf_destroy(&op->bias);
    vq_buf_destroy(&op->pad);
    vq_buf_destroy(&op->search);
    vq_buf_destroy(&op->prob);
    vq_buf_destroy(&op->consts);
    free(op);
    *op_ptr = NULL;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

size_t vq_attention_u8_scratch_bytes(const vq_attention_u8 *op, int batch, int tokens)
{
    /* kernels/attention_u8_wide.cl: GROUP, Q_GROUP and V_BYTES by DOT, and ALL() */
    static const size_t groups[] = {1, 4, 2, 4}, q_groups[] = {1, 4, 4, 4}, v_bytes[] = {1, 1, 2, 1};
    if (!op->one_item || batch < 1 || tokens < 1) return 0;
    const int *const p = op->variant->p;
    const size_t panel = (size_t)(p[1] * p[2]), group = groups[p[3]], q_group = q_groups[p[3]];
    const size_t t = (size_t)(op->raster ? op->window_tokens : tokens), width = (size_t)op->head_dim;
    const size_t t_padded = VQ_ROUND_UP(t, panel), width_padded = VQ_ROUND_UP(width, panel);
    const size_t bytes = (t_padded + width_padded) * sizeof(int32_t) + t_padded * VQ_ROUND_UP(width, q_group) +
                         width_padded * VQ_ROUND_UP(t, group) * v_bytes[p[3]];
    return (size_t)batch * (size_t)op->windows * (size_t)op->heads * VQ_ROUND_UP(bytes, (size_t)64);
}

static vq_status check_run(const vq_attention_u8 *op, const vq_buf *qkv, int ld_qkv, const vq_buf *out, int ld_out,
                           const vq_buf *scratch, int batch, int tokens)
{
    const int c = op->heads * op->head_dim;
    if (op->raster && op->raster != tokens)
        return vq_fail(VQ_ERR_SHAPE, "attention_u8: %d tokens of a grid of %d", tokens, op->raster);
    if (batch < 1 || tokens < 1 || (tokens > MAX_TOKENS && !op->raster) || ld_qkv < 3 * c || ld_out < c ||
        batch > INT32_MAX / tokens)
        return vq_fail(VQ_ERR_SHAPE, "attention_u8: %d images of %d tokens, %d heads of %d, row strides %d and %d",
                       batch, tokens, op->heads, op->head_dim, ld_qkv, ld_out);
    const size_t rows = (size_t)batch * (size_t)tokens,
                 scratch_bytes = vq_attention_u8_scratch_bytes(op, batch, tokens);
    VQ_TRY(vq_need_bytes("attention_u8", "qkv", qkv, vq_rows_bytes(rows, ld_qkv, 3 * c, 1)));
    VQ_TRY(vq_need_bytes("attention_u8", "out", out, vq_rows_bytes(rows, ld_out, c, 1)));
    return scratch_bytes ? vq_need_bytes("attention_u8", "scratch", scratch, scratch_bytes) : VQ_OK;
}

/* Bounds on the tokens that programs are built for: private and local buffers have their size. */
static int max_tokens(int tokens)
{
    int bound = 256;
    while (bound < tokens) bound *= 4;
    return bound;
}

/* Tiles of tokens whose scores a GPU's variant keeps in registers, as many as there is room for (tests/offline): all,
 * or 0. */
static int kept_tiles(const vq_attention_u8 *op, int tiles)
{
    const int most = op->raster ? VQ_MIN(op->variant->p[2], 2) : op->variant->p[2];
    return tiles <= most ? tiles : 0;
}

/* Variants whose work-groups have many items, GPUs' and the portable one. */
static vq_status run_items(vq_device *dev, const vq_attention_u8 *op, const vq_buf *qkv, int ld_qkv, const vq_buf *out,
                           int ld_out, int batch, int t)
{
    const size_t heads = (size_t)op->heads, parts = (size_t)batch * (size_t)op->windows;
    const char *const windows = op->raster ? " -DWINDOWS=1" : "";
    vq_grid grid = {{(size_t)t, heads, parts}, {(size_t)op->variant->p[0]}};
    char options[112];
    vq_kernel *kernel;
    if (op->block) {
        const int tiles = VQ_CEIL_DIV(t, op->block);
        const bool aligned = op->head_dim % 4 == 0 && ld_qkv % 4 == 0;
        snprintf(options, sizeof options, "-DSLICE=%d -DTILES=%d -DPROB_LOW=%d -DALIGNED=%d%s",
                 op->head_dim > 32 ? 16 : 8, kept_tiles(op, tiles), op->prob_low, aligned, windows);
        grid.groups[0] = (size_t)tiles * (size_t)VQ_CEIL_DIV(op->head_dim, op->block);
        grid.local[1] = grid.local[0];
    } else {
        snprintf(options, sizeof options, "-DMAX_T=%d%s", max_tokens(t), windows);
    }
    VQ_TRY(vq_kernel_get(&kernel, dev, op->variant, "attention_u8", options));
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(qkv), VQ_A_I32(ld_qkv), VQ_A_BUF(out), VQ_A_I32(ld_out),
                     VQ_A_BUF(op->consts), VQ_A_BUF(op->prob), VQ_A_I32(op->prob_step), VQ_A_I32(op->prob_last),
                     VQ_A_I32(op->prob_shift), VQ_A_I32(t), VQ_A_I32(op->head_dim), VQ_A_I32(op->padded),
                     VQ_A_I32(op->zero), VQ_A_I32(op->code_max), VQ_A_BUF(op->map), VQ_A_BUF(op->region),
                     VQ_A_BUF(op->bias), VQ_A_BUF(op->pad), VQ_A_I32(op->mask), VQ_A_I32(op->windows),
                     VQ_A_I32(op->raster));
}

vq_status vq_attention_u8_run(vq_device *dev, const vq_attention_u8 *op, const vq_buf *qkv, int ld_qkv,
                              const vq_buf *out, int ld_out, const vq_buf *scratch, int batch, int tokens)
{
    const int t = op->raster ? op->window_tokens : tokens;
    const size_t heads = (size_t)op->heads, parts = (size_t)batch * (size_t)op->windows;
    const char *const windows = op->raster ? " -DWINDOWS=1" : "";
    char options[192];
    vq_kernel *kernel, *pack;
    VQ_TRY(check_run(op, qkv, ld_qkv, out, ld_out, scratch, batch, tokens));
    if (!op->one_item) return run_items(dev, op, qkv, ld_qkv, out, ld_out, batch, t);
    const int at =
        snprintf(options, sizeof options,
                 "-DMAX_T=%d -DPROB_LOW=%d -DSTEPS=%d -DTABLES=%d -DSMALL_SCORES=%d -DCLAMP_SUMS=%d -DHIGH_SHIFTS=%d%s",
                 max_tokens(t), op->prob_low, op->steps, op->byte_tables, op->small_scores, op->clamp_sums,
                 op->high_shifts, windows);
    if (op->score_steps)
        snprintf(options + at, sizeof options - (size_t)at, " -DSCORE_STEPS=%d -DK_MIDDLE=%d", op->score_steps,
                 op->k_middle);
    VQ_TRY(vq_kernel_get(&kernel, dev, op->variant, "attention_u8", options));
    /* enough heads for all threads: each packs its own, while it is in the thread's caches */
    const bool packs = heads * parts >= (size_t)op->items;
    const vq_grid pack_grid = {{heads, parts}, {1}};
    const vq_grid grid = {{packs ? 1 : VQ_CEIL_DIV((size_t)t, (size_t)op->variant->p[0]), heads, parts}, {1}};
    if (!packs) {
        VQ_TRY(vq_kernel_get(&pack, dev, op->variant, "attention_u8_pack", options));
        VQ_TRY(VQ_LAUNCH(dev, pack, pack_grid, VQ_A_BUF(qkv), VQ_A_I32(ld_qkv), VQ_A_BUF(scratch), VQ_A_BUF(op->consts),
                         VQ_A_I32(t), VQ_A_I32(op->head_dim), VQ_A_BUF(op->map), VQ_A_BUF(op->pad),
                         VQ_A_I32(op->windows), VQ_A_I32(op->raster)));
    }
    return VQ_LAUNCH(dev, kernel, grid, VQ_A_BUF(qkv), VQ_A_I32(ld_qkv), VQ_A_BUF(out), VQ_A_I32(ld_out),
                     VQ_A_BUF(scratch), VQ_A_BUF(op->consts), VQ_A_BUF(op->prob ? op->prob : op->search),
                     VQ_A_I32(op->prob_step), VQ_A_I32(op->prob_last), VQ_A_I32(op->prob_shift), VQ_A_BUF(op->search),
                     VQ_A_I32(t), VQ_A_I32(op->head_dim), VQ_A_I32(op->padded), VQ_A_I32(op->zero),
                     VQ_A_I32(op->code_max), VQ_A_I32(packs), VQ_A_BUF(op->map), VQ_A_BUF(op->region),
                     VQ_A_BUF(op->bias), VQ_A_BUF(op->pad), VQ_A_I32(op->mask), VQ_A_I32(op->windows),
                     VQ_A_I32(op->raster));
}
