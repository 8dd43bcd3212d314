/* quantile_f32 on a device. Small groups are done whole by one launch. A large group takes three passes of histograms
 * over 11, 11 and 10 bits of its keys: after each, the host looks up the digit that holds every rank, and only elements
 * that agree with one of these beginnings ("slots") are counted in the next pass. */
#include "ops/args_f32.h"
#include "ops/ops_f32.h"
#include "ops/variant_f32.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BINS = 2048,
    NO_SLOT = 255,
    PASSES = 3,
    TILE = 16,             /* groups per work-item of the wide kernel */
    SMALL_ALONE = 1 << 14, /* a group of so few elements is done whole, whatever the number of groups */
    SMALL = 1 << 18,       /* so is one of these where groups are enough to keep the device busy */
    MANY_GROUPS = 16,
    MIN_CHUNK = 1 << 15,     /* elements that pay for clearing and adding up a chunk's histograms */
    SCRATCH_BYTES = 64 << 20 /* of one launch over small groups, unless one tile needs more */
};

static const char op_name[] = "quantile_f32";

/* One call. */
typedef struct selection {
    vq_device *dev;
    const vq_variant *variant;
    const vq_groups *g;
    const size_t *ranks;
    int num_ranks;
    size_t n, inner;
    size_t first, count; /* groups wanted */
} selection;

static vq_status fail_nan(size_t group)
{
    return vq_fail(VQ_ERR_INVALID_ARG, "%s: group %zu has a NaN", op_name, group);
}

/* ---- small groups ------------------------------------------------------------------------------------------------ */

static vq_status launch_groups(const selection *s, const vq_buf *x, const vq_buf *scratch, const vq_buf *ranks,
                               const vq_buf *out, size_t first, size_t count)
{
    const bool wide = vq_variant_is_wide(s->variant);
    const vq_grid grid = {{wide ? VQ_CEIL_DIV(count, TILE) : count}, {wide ? 1 : (size_t)s->variant->p[0]}};
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, s->dev, s->variant, "quantile_groups", NULL));
    return VQ_LAUNCH(s->dev, kernel, grid, VQ_A_BUF(x), VQ_A_BUF(scratch), VQ_A_BUF(ranks), VQ_A_BUF(out),
                     VQ_A_I32((int)s->inner), VQ_A_I32(s->g->groups), VQ_A_I32((int)s->n), VQ_A_I32(s->num_ranks),
                     VQ_A_I32((int)first));
}

static vq_status select_small(const selection *s, const vq_buf *x, float *out)
{
    const size_t groups = (size_t)s->g->groups, out_count = groups * (size_t)s->num_ranks, end = s->first + s->count,
                 wanted = s->count * (size_t)s->num_ranks;
    const size_t tile_bytes = (TILE + 1) * s->n * sizeof(uint32_t);
    const size_t step = VQ_MIN(VQ_MAX(SCRATCH_BYTES / tile_bytes, 1) * TILE, VQ_ROUND_UP(s->count, TILE));
    const bool wide = vq_variant_is_wide(s->variant);
    int32_t ranks[VQ_MAX_RANKS] = {0};
    vq_buf *scratch = NULL, *ranks_buf = NULL, *out_buf = NULL;
    vq_status status = VQ_OK;
    for (int i = 0; i < s->num_ranks; i++) ranks[i] = (int32_t)s->ranks[i];
    VQ_GO(vq_buf_create_from(&ranks_buf, s->dev, ranks, sizeof ranks));
    VQ_GO(vq_buf_create(&out_buf, s->dev, out_count * sizeof *out));
    VQ_GO(vq_buf_create(&scratch, s->dev, wide ? step / TILE * tile_bytes : sizeof(uint32_t)));
    for (size_t first = s->first; first < end; first += step)
        VQ_GO(launch_groups(s, x, scratch, ranks_buf, out_buf, first, VQ_MIN(step, end - first)));
    VQ_GO(vq_buf_read(s->dev, out_buf, s->first * (size_t)s->num_ranks * sizeof *out, out, wanted * sizeof *out));
    for (size_t i = 0; i < wanted; i++)
        if (isnan(out[i])) VQ_GO(fail_nan(s->first + i / (size_t)s->num_ranks));
done:
    vq_buf_destroy(&scratch);
    vq_buf_destroy(&out_buf);
    vq_buf_destroy(&ranks_buf);
    return status;
}

/* ---- a large group ----------------------------------------------------------------------------------------------- */

/* Buffers and state of the passes over one group after another. */
typedef struct passes {
    vq_buf *partial, *nans, *map0, *map1, *dense;
    uint32_t *bins;   /* [num_ranks][BINS] */
    int32_t *any_nan; /* [chunks] */
    uint8_t *map;     /* [num_ranks][BINS] */
    size_t chunks, chunk_len;
    int slots;
    int slot[VQ_MAX_RANKS];     /* where each rank's elements are counted */
    size_t left[VQ_MAX_RANKS];  /* rank among these elements */
    uint32_t key[VQ_MAX_RANKS]; /* the digits found so far */
} passes;

static vq_status passes_begin(passes *p, const selection *s)
{
    const size_t hist = (size_t)s->num_ranks * BINS, max_chunks = (size_t)s->variant->p[1];
    memset(p, 0, sizeof *p);
    p->chunk_len = VQ_MAX(VQ_CEIL_DIV(s->n, max_chunks), (size_t)MIN_CHUNK);
    p->chunks = VQ_CEIL_DIV(s->n, p->chunk_len);
    VQ_TRY(vq_alloc(&p->bins, hist, sizeof *p->bins, "histograms"));
    VQ_TRY(vq_alloc(&p->map, hist, sizeof *p->map, "slots of digits"));
    VQ_TRY(vq_alloc(&p->any_nan, p->chunks, sizeof *p->any_nan, "NaN marks"));
    VQ_TRY(vq_buf_create(&p->partial, s->dev, p->chunks * hist * sizeof *p->bins));
    VQ_TRY(vq_buf_create(&p->nans, s->dev, p->chunks * sizeof *p->any_nan));
    VQ_TRY(vq_buf_create(&p->map0, s->dev, BINS));
    VQ_TRY(vq_buf_create(&p->map1, s->dev, hist));
    return s->n == s->inner ? VQ_OK : vq_buf_create(&p->dense, s->dev, s->n * sizeof(float));
}

static void passes_end(passes *p)
{
    vq_buf_destroy(&p->partial);
    vq_buf_destroy(&p->nans);
    vq_buf_destroy(&p->map0);
    vq_buf_destroy(&p->map1);
    vq_buf_destroy(&p->dense);
    free(p->bins);
    free(p->map);
    free(p->any_nan);
}

static vq_status launch_gather(const selection *s, const passes *p, const vq_buf *x, size_t group)
{
    vq_kernel *kernel = NULL;
    VQ_TRY(vq_kernel_get(&kernel, s->dev, s->variant, "quantile_gather", NULL));
    return VQ_LAUNCH(s->dev, kernel, vq_grid_elements(s->variant, s->n), VQ_A_BUF(x), VQ_A_BUF(p->dense),
                     VQ_A_I32((int)s->inner), VQ_A_I32(s->g->groups), VQ_A_I32((int)s->n), VQ_A_I32((int)group));
}

/* The histograms of a pass, added up, in p->bins. */
static vq_status count(const selection *s, passes *p, const vq_buf *x, int pass)
{
    const bool wide = vq_variant_is_wide(s->variant);
    const size_t size = (size_t)p->slots * BINS;
    const vq_grid grid = {{p->chunks, wide ? 1 : (size_t)p->slots, 1}, {wide ? 1 : (size_t)s->variant->p[0], 1, 1}};
    vq_kernel *histogram = NULL, *sum = NULL;
    VQ_TRY(vq_kernel_get(&histogram, s->dev, s->variant, "quantile_histogram", NULL));
    VQ_TRY(vq_kernel_get(&sum, s->dev, s->variant, "quantile_sum", NULL));
    VQ_TRY(VQ_LAUNCH(s->dev, histogram, grid, VQ_A_BUF(x), VQ_A_I32((int)s->n), VQ_A_I32((int)p->chunk_len),
                     VQ_A_I32(pass), VQ_A_I32(p->slots), VQ_A_BUF(p->map0), VQ_A_BUF(p->map1), VQ_A_BUF(p->partial),
                     VQ_A_BUF(p->nans)));
    VQ_TRY(VQ_LAUNCH(s->dev, sum, vq_grid_elements(s->variant, size), VQ_A_BUF(p->partial), VQ_A_I32((int)p->chunks),
                     VQ_A_I32((int)size)));
    return vq_buf_read(s->dev, p->partial, 0, p->bins, size * sizeof *p->bins);
}

/* Finds the digit of every rank and gives every (slot, digit) in use a slot of the next pass, in p->map. */
static void narrow(const selection *s, passes *p, int pass)
{
    const int bits = pass == PASSES - 1 ? 10 : 11;
    int next = 0;
    memset(p->map, NO_SLOT, (size_t)p->slots * BINS);
    for (int r = 0; r < s->num_ranks; r++) {
        const uint32_t *const bins = p->bins + (size_t)p->slot[r] * BINS;
        uint32_t digit = 0;
        while (digit < BINS - 1 && p->left[r] >= bins[digit]) p->left[r] -= bins[digit++];
        uint8_t *const to = &p->map[(size_t)p->slot[r] * BINS + digit];
        if (*to == NO_SLOT) *to = (uint8_t)next++;
        p->slot[r] = *to;
        p->key[r] = p->key[r] << bits | digit;
    }
    p->slots = next;
}

static vq_status find_nan(const selection *s, const passes *p, size_t group)
{
    VQ_TRY(vq_buf_read(s->dev, p->nans, 0, p->any_nan, p->chunks * sizeof *p->any_nan));
    for (size_t i = 0; i < p->chunks; i++)
        if (p->any_nan[i]) return fail_nan(group);
    return VQ_OK;
}

static float value_of(uint32_t key)
{
    const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void start(const selection *s, passes *p)
{
    p->slots = 1;
    for (int r = 0; r < s->num_ranks; r++) {
        p->slot[r] = 0;
        p->left[r] = s->ranks[r];
        p->key[r] = 0;
    }
}

static vq_status select_large(const selection *s, passes *p, const vq_buf *x, size_t group, float *out)
{
    const vq_buf *const dense = p->dense ? p->dense : x;
    if (p->dense) VQ_TRY(launch_gather(s, p, x, group));
    start(s, p);
    for (int pass = 0; pass < PASSES; pass++) {
        const int slots = p->slots;
        VQ_TRY(count(s, p, dense, pass));
        if (pass == 0) VQ_TRY(find_nan(s, p, group));
        narrow(s, p, pass);
        if (pass < PASSES - 1)
            VQ_TRY(vq_buf_write(s->dev, pass == 0 ? p->map0 : p->map1, 0, p->map, (size_t)slots * BINS));
    }
    for (int r = 0; r < s->num_ranks; r++) out[r] = value_of(p->key[r]);
    return VQ_OK;
}

static vq_status check_ranks(size_t n, const size_t *ranks, int num_ranks)
{
    if (num_ranks < 1 || num_ranks > VQ_MAX_RANKS)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d ranks, from 1 to %d are possible", op_name, num_ranks, VQ_MAX_RANKS);
    for (int i = 0; i < num_ranks; i++)
        if (ranks[i] >= n)
            return vq_fail(VQ_ERR_INVALID_ARG, "%s: rank %zu in groups of %zu elements", op_name, ranks[i], n);
    return VQ_OK;
}

vq_status vq_quantile_f32_some(vq_device *dev, const vq_groups *g, int first, int count, const vq_buf *x,
                               const size_t *ranks, int num_ranks, float *out)
{
    VQ_TRY(vq_need_groups(op_name, g));
    VQ_TRY(vq_need(op_name, "x", x, g->count, sizeof(float)));
    if (first < 0 || count < 1 || count > g->groups - first)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: groups %d to %d of %d", op_name, first, first + count - 1, g->groups);
    const size_t n = g->count / (size_t)g->groups;
    VQ_TRY(check_ranks(n, ranks, num_ranks));
    const selection s = {.dev = dev,
                         .variant = vq_variant_choose(dev, VQ_OP_QUANTILE_F32),
                         .g = g,
                         .ranks = ranks,
                         .num_ranks = num_ranks,
                         .n = n,
                         .inner = g->groups == 1 ? g->count : g->inner,
                         .first = (size_t)first,
                         .count = (size_t)count};
    if (n <= SMALL_ALONE || (n <= SMALL && count >= MANY_GROUPS)) return select_small(&s, x, out);

    passes p;
    vq_status status = VQ_OK;
    VQ_GO(passes_begin(&p, &s));
    for (size_t i = 0; i < s.count; i++) VQ_GO(select_large(&s, &p, x, s.first + i, out + i * (size_t)num_ranks));
done:
    passes_end(&p);
    return status;
}

vq_status vq_quantile_f32_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const size_t *ranks, int num_ranks,
                              float *out)
{
    return vq_quantile_f32_some(dev, g, 0, g->groups, x, ranks, num_ranks, out);
}

/* ---- a group that comes part by part ------------------------------------------------------------------------------
 */

/* The histograms of a pass over all parts, added up in total [slots][BINS] and left in whole's bins, which end at
 * 2^32. */
static vq_status count_parts(const selection *s, passes *whole, const vq_quantile_parts *parts, int pass,
                             uint32_t *total)
{
    const size_t size = (size_t)whole->slots * BINS;
    memset(total, 0, size * sizeof *total);
    for (size_t first = 0; first < s->n; first += parts->step) {
        const vq_buf *x = NULL;
        selection part = *s;
        part.n = VQ_MIN(parts->step, s->n - first);
        whole->chunks = VQ_CEIL_DIV(part.n, whole->chunk_len);
        VQ_TRY(parts->load(parts->user, first, part.n, &x));
        VQ_TRY(vq_need(op_name, "a part", x, part.n, sizeof(float)));
        VQ_TRY(count(&part, whole, x, pass));
        if (pass == 0) VQ_TRY(find_nan(&part, whole, 0));
        for (size_t i = 0; i < size; i++) total[i] += whole->bins[i];
    }
    memcpy(whole->bins, total, size * sizeof *total);
    return VQ_OK;
}

vq_status vq_quantile_f32_parts_run(vq_device *dev, size_t n, const vq_quantile_parts *parts, const size_t *ranks,
                                    int num_ranks, float *out)
{
    passes p = {0};
    uint32_t *total = NULL;
    vq_status status = VQ_OK;
    VQ_TRY(check_ranks(n, ranks, num_ranks));
    if (n > UINT32_MAX || !parts->step)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %zu elements in parts of %zu", op_name, n, parts->step);
    const size_t most = VQ_MIN(parts->step, n);
    const selection s = {.dev = dev,
                         .variant = vq_variant_choose(dev, VQ_OP_QUANTILE_F32),
                         .ranks = ranks,
                         .num_ranks = num_ranks,
                         .n = n,
                         .inner = n};
    selection part = s;
    part.n = part.inner = most;
    VQ_GO(passes_begin(&p, &part));
    VQ_GO(vq_alloc(&total, (size_t)num_ranks * BINS, sizeof *total, "histograms"));
    start(&s, &p);
    for (int pass = 0; pass < PASSES; pass++) {
        const int slots = p.slots;
        VQ_GO(count_parts(&s, &p, parts, pass, total));
        narrow(&s, &p, pass);
        if (pass < PASSES - 1) VQ_GO(vq_buf_write(dev, pass == 0 ? p.map0 : p.map1, 0, p.map, (size_t)slots * BINS));
    }
    for (int r = 0; r < num_ranks; r++) out[r] = value_of(p.key[r]);
done:
    passes_end(&p);
    free(total);
    return status;
}
