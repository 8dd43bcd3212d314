#include "calib/search.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops_f32.h"

/* Written as the official code has them: 1 - p is taken in double, then rounded to float. */
static const double percentiles[] = {0.999, 0.9999, 0.99999};
enum { NUM_PERCENTILES = VQ_ARRAY_LEN(percentiles) };

/* ---- order statistics ----------------------------------------------------------------------------------------------
 */

/* A quantile as a pair of neighbouring order statistics and the weight between them. */
typedef struct quantile {
    size_t below, above;
    float weight;
} quantile;

/* torch.quantile: the rank is a float32 product; beyond 2^24 elements, where torch refuses and the official code falls
 * back to numpy, it is a double. */
static quantile quantile_at(double p, size_t n)
{
    const double rank = n <= ((size_t)1 << 24) ? (double)((float)p * (float)(n - 1)) : p * (double)(n - 1);
    const double below = floor(rank);
    quantile q = {(size_t)below, (size_t)ceil(rank), (float)(rank - below)};
    q.below = VQ_MIN(q.below, n - 1);
    q.above = VQ_MIN(q.above, n - 1);
    return q;
}

/* torch.lerp, which is exact at both ends. */
static float interpolate(float below, float above, float weight)
{
    return weight < 0.5f ? below + weight * (above - below) : above - (above - below) * (1.0f - weight);
}

/* values[group][i] = quantile i of the group. */
static vq_status quantiles(const vq_score *s, const double *p, int num, float *values)
{
    const int groups = s->groups.groups;
    const size_t n = s->all.count / (size_t)s->all.groups;
    quantile q[VQ_MAX_RANKS / 2];
    size_t ranks[VQ_MAX_RANKS];
    float *stats = NULL;
    vq_status status = VQ_OK;
    for (int i = 0; i < num; i++) {
        q[i] = quantile_at(p[i], n);
        ranks[2 * i] = q[i].below;
        ranks[2 * i + 1] = q[i].above;
    }
    VQ_GO(vq_alloc(&stats, (size_t)groups * (size_t)num * 2, sizeof *stats, "order statistics"));
    VQ_GO(vq_rows_quantile(s->x, &s->all, s->first, groups, ranks, 2 * num, stats));
    for (int i = 0; i < groups * num; i++) values[i] = interpolate(stats[2 * i], stats[2 * i + 1], q[i % num].weight);
done:
    free(stats);
    return status;
}

/* The first candidate with the smallest error. */
static int best_of(const double *error, int num)
{
    int best = 0;
    for (int i = 1; i < num; i++)
        if (error[i] < error[best]) best = i;
    return best;
}

/* Moves the indices of the `keep` smallest errors to the front of order [num], best first; ties in order of index. */
static void select_best(const double *error, int num, int keep, int *order)
{
    for (int i = 0; i < num; i++) order[i] = i;
    for (int i = 0; i < VQ_MIN(keep, num); i++) {
        int best = i;
        for (int j = i + 1; j < num; j++)
            if (error[order[j]] < error[order[best]] ||
                (error[order[j]] == error[order[best]] && order[j] < order[best]))
                best = j;
        const int t = order[i];
        order[i] = order[best];
        order[best] = t;
    }
}

/* ---- uniform: ranges -----------------------------------------------------------------------------------------------
 */

static vq_status search_minmax(const vq_score *s, vq_quantizer *q)
{
    static const double ends[] = {0.0, 1.0};
    float *range = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&range, (size_t)q->groups * 2, sizeof *range, "ranges"));
    VQ_GO(quantiles(s, ends, 2, range));
    for (int i = 0; i < q->groups; i++)
        vq_uniform_from_range(&q->scale[i], &q->zero[i], range[2 * i], range[2 * i + 1], q->levels);
done:
    free(range);
    return status;
}

/* Candidates of every group: scale, zero and error are [groups][num]. */
typedef struct pairs {
    float *scale, *zero;
    double *error;
    int num;
} pairs;

static vq_status pairs_create(pairs *p, int groups, int num)
{
    const size_t count = (size_t)groups * (size_t)num;
    *p = (pairs){.num = num};
    VQ_TRY(vq_alloc(&p->scale, count, sizeof *p->scale, "candidates"));
    VQ_TRY(vq_alloc(&p->zero, count, sizeof *p->zero, "candidates"));
    return vq_alloc(&p->error, count, sizeof *p->error, "candidates");
}

static void pairs_destroy(pairs *p)
{
    free(p->scale);
    free(p->zero);
    free(p->error);
}

static vq_status search_percentile(const vq_score *s, vq_quantizer *q)
{
    double p[2 * NUM_PERCENTILES];
    float *range = NULL;
    pairs c = {0};
    vq_status status = VQ_OK;
    for (int i = 0; i < NUM_PERCENTILES; i++) {
        p[2 * i] = 1.0 - percentiles[i];
        p[2 * i + 1] = percentiles[i];
    }
    VQ_GO(pairs_create(&c, q->groups, NUM_PERCENTILES));
    VQ_GO(vq_alloc(&range, 2 * (size_t)q->groups * NUM_PERCENTILES, sizeof *range, "ranges"));
    VQ_GO(quantiles(s, p, 2 * NUM_PERCENTILES, range));
    for (int i = 0; i < q->groups * NUM_PERCENTILES; i++)
        vq_uniform_from_range(&c.scale[i], &c.zero[i], range[2 * i], range[2 * i + 1], q->levels);
    VQ_GO(s->uniform(s, c.scale, c.zero, NUM_PERCENTILES, q->levels, c.error));
    for (int i = 0; i < q->groups; i++) {
        const int best = i * NUM_PERCENTILES + best_of(&c.error[i * NUM_PERCENTILES], NUM_PERCENTILES);
        q->scale[i] = c.scale[best];
        q->zero[i] = c.zero[best];
    }
done:
    free(range);
    pairs_destroy(&c);
    return status;
}

/* ---- uniform: grids ------------------------------------------------------------------------------------------------
 */

enum { PAIRS = 128, PARENTS = 16, CHILDREN = PAIRS / PARENTS, STEPS = 6, ZEROS = 16 };

/* One group's grid: scales from lo to hi, and which zero points. */
typedef struct grid {
    float lo, hi;
    int zeros;
    float zero[ZEROS];
} grid;

/* Zero points as the official code has them: about the middle, all of them for few levels. From 5 bits on half of the
 * 16 lie about the zero point of the whole range, half about that of its middle part. */
static void grid_zeros(grid *g, const float range[4], int levels, bool weights)
{
    const int all = weights ? levels / 2 : levels;
    if (all <= ZEROS) {
        g->zeros = all;
        for (int i = 0; i < all; i++) g->zero[i] = (float)((levels - all) / 2 + i);
        return;
    }
    const float center[2] = {rintf(-range[0] / g->hi), rintf(-range[1] / g->lo)};
    g->zeros = ZEROS;
    for (int i = 0; i < ZEROS; i++) g->zero[i] = center[i % 2] + (float)(i / 2 - ZEROS / 4);
}

/* range: quantiles 0, .1, .9, 1. */
static void make_grid(grid *g, const float range[4], int levels, bool weights)
{
    float scale, zero;
    vq_uniform_from_range(&scale, &zero, range[0], range[3], levels);
    g->hi = scale;
    g->lo = (range[2] - range[1]) / (float)(levels - 1);
    /* most of the elements may be equal */
    if (!(g->lo >= scale * 0.02f)) g->lo = scale * 0.02f;
    if (range[3] - range[0] >= FLT_MIN * (float)levels) {
        grid_zeros(g, range, levels, weights);
        return;
    }
    *g = (grid){scale, scale, 1, {zero}}; /* a constant */
}

static float grid_scale(const grid *g, int i, int num)
{
    return num == 1 ? g->hi : g->lo + (g->hi - g->lo) * (float)i / (float)(num - 1);
}

/* Fills num candidates of a group: scale fastest. What the grid leaves over repeats its last pair. */
static void fill_grid(const grid *g, float *scale, float *zero, int num)
{
    const int scales = num / g->zeros;
    for (int i = 0; i < num; i++) {
        const int z = VQ_MIN(i / scales, g->zeros - 1);
        scale[i] = grid_scale(g, i % scales, scales);
        zero[i] = g->zero[z];
    }
}

static void keep_best(vq_quantizer *q, double *best, int group, const pairs *c)
{
    const int first = group * c->num, at = first + best_of(&c->error[first], c->num);
    if (!(c->error[at] < best[group])) return;
    best[group] = c->error[at];
    q->scale[group] = c->scale[at];
    q->zero[group] = c->zero[at];
}

/* Replaces a group's pairs by children of its best ones, spread d about each. */
static void make_children(pairs *c, int group, float d, float smallest)
{
    float scale[PARENTS], zero[PARENTS];
    int order[PAIRS];
    const int first = group * PAIRS;
    select_best(&c->error[first], PAIRS, PARENTS, order);
    for (int p = 0; p < PARENTS; p++) {
        scale[p] = c->scale[first + order[p]];
        zero[p] = c->zero[first + order[p]];
    }
    for (int i = 0; i < PAIRS; i++) {
        const int parent = i / CHILDREN, child = i % CHILDREN;
        c->scale[first + i] = fmaxf(scale[parent] + ((float)child / (CHILDREN - 1) - 0.5f) * d, smallest);
        c->zero[first + i] = zero[parent];
    }
}

static vq_status search_grid(const vq_score *s, bool fpcs, bool weights, vq_quantizer *q)
{
    static const double ends[] = {0.0, 0.1, 0.9, 1.0};
    const int most = weights ? q->levels / 2 : q->levels, num = fpcs ? PAIRS : PAIRS * VQ_MIN(most, ZEROS);
    grid *grids = NULL;
    float *range = NULL;
    double *best = NULL;
    pairs c = {0};
    vq_status status = VQ_OK;
    VQ_GO(pairs_create(&c, q->groups, num));
    VQ_GO(vq_alloc(&grids, (size_t)q->groups, sizeof *grids, "grids"));
    VQ_GO(vq_alloc(&range, 4 * (size_t)q->groups, sizeof *range, "ranges"));
    VQ_GO(vq_alloc(&best, (size_t)q->groups, sizeof *best, "errors"));
    VQ_GO(quantiles(s, ends, 4, range));
    for (int i = 0; i < q->groups; i++) {
        best[i] = INFINITY;
        make_grid(&grids[i], &range[4 * i], q->levels, weights);
        fill_grid(&grids[i], &c.scale[i * num], &c.zero[i * num], num);
        q->scale[i] = grids[i].hi; /* where every error is a NaN or infinite */
        q->zero[i] = grids[i].zero[0];
    }
    for (int step = 0; step < (fpcs ? STEPS : 1); step++) {
        if (step)
            for (int i = 0; i < q->groups; i++) {
                const grid *const g = &grids[i];
                const float spacing = (g->hi - g->lo) / (float)VQ_MAX(PAIRS / g->zeros - 1, 1);
                make_children(&c, i, spacing * powf(CHILDREN - 0.5f, (float)(1 - step)), g->hi * 1e-3f);
            }
        VQ_GO(s->uniform(s, c.scale, c.zero, num, q->levels, c.error));
        for (int i = 0; i < q->groups; i++) keep_best(q, best, i, &c);
    }
done:
    pairs_destroy(&c);
    free(grids);
    free(range);
    free(best);
    return status;
}

vq_status vq_search_uniform(const vq_score *s, vq_search how, bool weights, vq_quantizer *q)
{
    switch (how) {
    case VQ_SEARCH_MINMAX: return search_minmax(s, q);
    case VQ_SEARCH_PERCENTILE: return search_percentile(s, q);
    case VQ_SEARCH_FULL: return search_grid(s, false, weights, q);
    case VQ_SEARCH_FPCS: break;
    }
    return search_grid(s, true, weights, q);
}

/* ---- codebooks -----------------------------------------------------------------------------------------------------
 */

enum { TOPS = 16, SHAPES_KEPT = 8, BOOKS_KEPT = 32, BOOK_CHILDREN = 4, FITTED = 16, LOW_VALUES = 3, BATCH = 64 };

typedef struct book {
    float top, shape[VQ_SHAPE_MAX];
    double error;
} book;

typedef struct book_search {
    const vq_score *score;
    const vq_codebook_task *task;
    vq_quantizer made[BATCH];
} book_search;

/* A softmax never gives all zeros, but its upper quantile may underflow on a hostile model. */
static float positive(float top)
{
    return isfinite(top) ? fmaxf(top, 0x1p-100f) : FLT_MAX / 0x1p17f;
}

/* Until it is fitted, the lowest level stands for half of the level above. */
static vq_status make_book(vq_quantizer *q, const vq_codebook_task *t, const book *b)
{
    VQ_TRY(vq_codebook_create(q, t->family, t->bits, t->extra_level, positive(b->top), t->offset, b->shape));
    if (t->family->lowest_is_rest && !t->extra_level) q->values[0] = q->values[1] / 2;
    return VQ_OK;
}

static void clear_made(book_search *s, int num)
{
    for (int i = 0; i < num; i++) vq_quantizer_clear(&s->made[i]);
}

static vq_status score_books(book_search *s, book *b, int num)
{
    double error[BATCH];
    for (int first = 0; first < num; first += BATCH) {
        const int count = VQ_MIN(BATCH, num - first);
        vq_status status = VQ_OK;
        int made = 0;
        for (; status == VQ_OK && made < count; made++) status = make_book(&s->made[made], s->task, &b[first + made]);
        if (status == VQ_OK) status = s->score->codebook(s->score, s->made, count, error);
        clear_made(s, made);
        VQ_TRY(status);
        for (int i = 0; i < count; i++) b[first + i].error = error[i];
    }
    return VQ_OK;
}

/* The BOOKS_KEPT best first, best before all; equal ones in the order they had. */
static vq_status sort_books(book *b, int num)
{
    int *order = NULL;
    double *error = NULL;
    book *copy = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&order, (size_t)num, sizeof *order, "candidates"));
    VQ_GO(vq_alloc(&error, (size_t)num, sizeof *error, "candidates"));
    VQ_GO(vq_alloc(&copy, (size_t)num, sizeof *copy, "candidates"));
    for (int i = 0; i < num; i++) error[i] = b[i].error;
    memcpy(copy, b, (size_t)num * sizeof *b);
    select_best(error, num, VQ_MIN(num, BOOKS_KEPT), order);
    for (int i = 0; i < num; i++) b[i] = copy[order[i]];
done:
    free(order);
    free(error);
    free(copy);
    return status;
}

/* Every combination of the family's shape parameters. */
static int fill_shapes(const vq_codebook_family *f, book *out)
{
    const vq_codebook_axis *const a = &f->axis[0], *const b = &f->axis[1];
    const int na = VQ_MAX(a->count, 1), nb = VQ_MAX(b->count, 1);
    for (int i = 0; out && i < na * nb; i++) {
        const int at[VQ_SHAPE_MAX] = {i % na, i / na};
        for (int k = 0; k < VQ_SHAPE_MAX; k++) {
            const vq_codebook_axis *const x = &f->axis[k];
            out[i].shape[k] = x->count < 2 ? x->lo : x->lo + (x->hi - x->lo) * (float)at[k] / (float)(x->count - 1);
        }
    }
    return na * nb;
}

/* The largest values to try. */
static vq_status find_tops(const book_search *s, float *tops, int *num)
{
    const vq_codebook_task *const t = s->task;
    float q[NUM_PERCENTILES + 3];
    static const double p[] = {0.999, 0.9999, 0.99999, 1.0, 0.9, 0.0};
    VQ_TRY(quantiles(s->score, p, NUM_PERCENTILES + 3, q));
    const float most = q[NUM_PERCENTILES];
    *num = 0;
    if (t->search == VQ_SEARCH_MINMAX) {
        tops[(*num)++] = most + t->offset;
    } else if (t->search == VQ_SEARCH_PERCENTILE || (t->probability && t->search == VQ_SEARCH_FULL)) {
        for (int i = 0; i < NUM_PERCENTILES; i++) tops[(*num)++] = q[i] + t->offset;
        if (t->search == VQ_SEARCH_FULL) {
            tops[(*num)++] = most;
            tops[(*num)++] = 1;
        }
    } else if (t->probability) {
        tops[(*num)++] = 1;
    } else {
        const float low = VQ_MAX(q[NUM_PERCENTILES + 1], 0.05f * most);
        for (*num = 0; *num < TOPS; (*num)++) tops[*num] = low + (most - low) * (float)*num / (TOPS - 1) + t->offset;
    }
    return VQ_OK;
}

static vq_status cross(book_search *s, book *out, const book *shapes, int num_shapes, const float *tops, int num_tops)
{
    for (int i = 0; i < num_shapes * num_tops; i++) {
        out[i] = shapes[i % num_shapes];
        out[i].top = tops[i / num_shapes];
    }
    VQ_TRY(score_books(s, out, num_shapes * num_tops));
    return sort_books(out, num_shapes * num_tops);
}

/* Finer tops about the best ones; the best never gets lost. books has room for BOOKS_KEPT * (BOOK_CHILDREN + 1). */
static vq_status refine_tops(book_search *s, book *books, int kept, float spacing)
{
    for (int step = 1; step < STEPS; step++) {
        int num = kept;
        for (int i = 0; i < kept; i++)
            for (int child = 0; child < BOOK_CHILDREN; child++) {
                books[num] = books[i];
                books[num++].top += ((float)child / (BOOK_CHILDREN - 1) - 0.5f) * spacing;
            }
        for (int i = kept; i < num; i++) books[i].top = fmaxf(books[i].top, 0x1p-100f);
        VQ_TRY(score_books(s, books + kept, num - kept));
        VQ_TRY(sort_books(books, num));
        spacing /= BOOK_CHILDREN - 0.5f;
        kept = VQ_MIN(BOOKS_KEPT / 4, num); /* most of the parents of a later step are siblings */
    }
    return VQ_OK;
}

/* Shape parameters that are not whole, about the best book, once: spacing and half of it to both sides. */
static vq_status refine_shapes(book_search *s, book *books)
{
    book tries[1 + 4 * VQ_SHAPE_MAX];
    int num = 1;
    tries[0] = books[0];
    for (int k = 0; k < VQ_SHAPE_MAX; k++) {
        const vq_codebook_axis *const a = &s->task->family->axis[k];
        if (a->count < 2 || a->whole) continue;
        for (int i = 0; i < 4; i++) {
            const float step = (a->hi - a->lo) / (float)(a->count - 1) / 3;
            tries[num] = books[0];
            tries[num].shape[k] += step * (float)(i < 2 ? i - 2 : i - 1);
            tries[num].shape[k] = fminf(fmaxf(tries[num].shape[k], a->lo), a->hi);
            num++;
        }
    }
    if (num == 1) return VQ_OK;
    VQ_TRY(score_books(s, tries + 1, num - 1));
    for (int i = 1; i < num; i++)
        if (tries[i].error < books[0].error) books[0] = tries[i];
    return VQ_OK;
}

/* The error is a quadratic function of the lowest level's value, whose minimum, the mean of what the level holds, three
 * points give: 0, h and 2h, h half the level above. Sets that value and returns the error there. */
static double fit_lowest_value(vq_quantizer *q, const double error[LOW_VALUES])
{
    const double a = 0.5 * (error[2] - 2 * error[1] + error[0]), b = error[1] - error[0] - a, top = 2.0;
    const double best = a > 0 ? fmin(fmax(-b / (2 * a), 0), top) : 0;
    q->values[0] = (uint16_t)rint(best * 0.5 * q->values[1]);
    return error[0] + best * (b + a * best);
}

/* Where the error is no such function of the value, the fit is but one more value to try. */
static vq_status check_fits(book_search *s, int num, const double *error, double *fitted)
{
    vq_quantizer tries[FITTED];
    for (int i = 0; i < num; i++) tries[i] = s->made[i * LOW_VALUES]; /* borrowed */
    VQ_TRY(s->score->codebook(s->score, tries, num, fitted));
    for (int i = 0; i < num; i++)
        for (int low = 0; low < LOW_VALUES; low++) {
            vq_quantizer *const q = &s->made[i * LOW_VALUES];
            if (!(error[i * LOW_VALUES + low] < fitted[i])) continue;
            fitted[i] = error[i * LOW_VALUES + low];
            q->values[0] = (uint16_t)(q->values[1] * low / 2);
        }
    return VQ_OK;
}

/* With 2^bits levels in all, the exact zero of official codes costs the smallest nonzero level. At 4 bits most
 * probabilities of a ViT lie there (1/197 is near delta * 2^-7.5), so that the level stands for the mean of what it
 * holds; at 6 bits and more that is zero again. Of the first num books the best one, so fitted, is the result. */
static vq_status fit_lowest(book_search *s, const book *books, int num, vq_quantizer *out)
{
    double error[FITTED * LOW_VALUES], fitted[FITTED];
    vq_status status = VQ_OK;
    int made = 0, best = 0;
    num = VQ_MIN(num, FITTED);
    for (; made < num * LOW_VALUES; made++) {
        vq_quantizer *const q = &s->made[made];
        VQ_GO(make_book(q, s->task, &books[made / LOW_VALUES]));
        q->values[0] = (uint16_t)(q->values[1] * (made % LOW_VALUES) / 2);
    }
    VQ_GO(s->score->codebook(s->score, s->made, made, error));
    for (int i = 0; i < num; i++) fitted[i] = fit_lowest_value(&s->made[i * LOW_VALUES], &error[i * LOW_VALUES]);
    if (s->score->cosine) VQ_GO(check_fits(s, num, error, fitted));
    best = best_of(fitted, num) * LOW_VALUES;
    *out = s->made[best];
    s->made[best] = (vq_quantizer){0};
done:
    clear_made(s, made);
    return status;
}

vq_status vq_search_codebook(const vq_score *s, const vq_codebook_task *task, vq_quantizer *out)
{
    book_search b = {.score = s, .task = task};
    const int num_shapes = fill_shapes(task->family, NULL);
    const bool progressive = task->search == VQ_SEARCH_FPCS;
    float tops[TOPS];
    int num_tops, num;
    book *shapes = NULL, *books = NULL;
    vq_status status = VQ_OK;
    *out = (vq_quantizer){0};
    VQ_GO(find_tops(&b, tops, &num_tops));
    num = num_shapes * num_tops;
    VQ_GO(vq_alloc(&shapes, (size_t)num_shapes, sizeof *shapes, "candidates"));
    VQ_GO(vq_alloc(&books, (size_t)VQ_MAX(num, BOOKS_KEPT * (BOOK_CHILDREN + 1)), sizeof *books, "candidates"));
    fill_shapes(task->family, shapes);
    if (progressive && num_tops > 1) {
        if (num_shapes > 1) VQ_GO(cross(&b, shapes, shapes, num_shapes, &tops[num_tops - 2], 1));
        num = VQ_MIN(num_shapes, SHAPES_KEPT) * num_tops;
        VQ_GO(cross(&b, books, shapes, VQ_MIN(num_shapes, SHAPES_KEPT), tops, num_tops));
        VQ_GO(refine_tops(&b, books, VQ_MIN(num, BOOKS_KEPT), (tops[num_tops - 1] - tops[0]) / (float)(num_tops - 1)));
        num = BOOKS_KEPT / 4;
    } else {
        VQ_GO(cross(&b, books, shapes, num_shapes, tops, num_tops));
    }
    VQ_GO(refine_shapes(&b, books));
    if (task->family->lowest_is_rest && !task->extra_level)
        VQ_GO(fit_lowest(&b, books, num, out));
    else
        VQ_GO(make_book(out, task, &books[0]));
done:
    free(shapes);
    free(books);
    return status;
}
