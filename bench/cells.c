/* Measurements of ops, interleaved over rounds so that a change of the machine's clock falls on all of them alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static const int copy_kib[] = {128, 2048, 32768, 131072};

static bool ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

static vq_status append(bench_cells *cells, const bench_cell *cell)
{
    bench_cell *const grown = realloc(cells->items, (cells->count + 1) * sizeof *grown);
    if (!grown) {
        fprintf(stderr, "vitq-bench: out of memory for %zu measurements\n", cells->count + 1);
        return VQ_ERR_NO_MEMORY;
    }
    cells->items = grown;
    grown[cells->count++] = *cell;
    return VQ_OK;
}

vq_status bench_cells_add(bench_cells *cells, vq_device *dev, const vq_bench_op_params *params,
                          const bench_shape *shape, const char *layer, const char *variants)
{
    const char *names[BENCH_MAX_VARIANTS];
    int count;
    vq_status status = vq_bench_op_variants(names, BENCH_MAX_VARIANTS, &count, dev, params->op);
    for (int v = 0; v < count && v < BENCH_MAX_VARIANTS && status == VQ_OK; v++) {
        bench_cell cell = {.params = *params, .shape = shape, .layer = layer};
        if (!bench_wanted(variants, names[v])) continue;
        cell.params.variant = names[v];
        status = append(cells, &cell);
    }
    return status;
}

/* ---- what is measured of a layer --------------------------------------------------------------------------------- */

typedef struct adding {
    bench_cells *cells;
    vq_device *dev;
    const bench_options *o;
    const bench_shape *shape;
    vq_status status;
} adding;

static void add(adding *a, const char *op, int m, int n, int k)
{
    if (a->status != VQ_OK || !bench_wanted(a->o->ops, op)) return;
    const vq_bench_op_params params = {.op = op,
                                       .batch = m ? a->o->batch : 0, /* without rows it is about weights */
                                       .m = m,
                                       .n = n,
                                       .k = k,
                                       .window = a->shape->window,
                                       .epilogue = a->shape->epilogue,
                                       .w_bits = a->o->w_bits,
                                       .a_bits = a->o->a_bits,
                                       .seconds = a->o->seconds};
    a->status = bench_cells_add(a->cells, a->dev, &params, a->shape, a->shape->name, a->o->variants);
}

/* The images that a patch embedding [M][K] is of: square, of three channels or one. */
static void add_patches(adding *a)
{
    const bench_shape *const s = a->shape;
    const int side = (int)lround(sqrt(s->m)), chans = s->k % 3 ? 1 : 3, patch = (int)lround(sqrt(s->k / chans));
    if (side * side == s->m && chans * patch * patch == s->k) {
        add(a, "patchify_u8", side * patch, chans, patch);
        add(a, "patchify_f32", side * patch, chans, patch);
    }
}

static void add_layer(adding *a)
{
    const bench_shape *const s = a->shape;
    if (s->attention) {
        const int tokens = s->window ? s->window * s->window : s->m;
        add(a, "attention_u8", s->m, s->n, s->k);
        if (!s->window) add(a, "attention_f32", s->m, s->n, s->k);
        add(a, "softmax_f32", s->m * s->n, tokens, 1);
        add(a, "softmax_f64", s->m * s->n, tokens, 1);
        return;
    }
    add(a, "gemm_s8", s->m, s->n, s->k);
    add(a, "gemm_f32", s->m, s->n, s->k);
    add(a, "linear_f32", s->m, s->n, s->k);
    if (ends_with(s->name, "patch")) add_patches(a);
    if (ends_with(s->name, "qkv")) {
        static const char *const inputs[] = {"layernorm_s32", "layernorm_f32", "layernorm_f64", "tokens_s32",
                                             "pool_s32",      "fakequant_f32", "quantile_f32",  "quant_error_f32"};
        for (size_t i = 0; i < LEN(inputs); i++) add(a, inputs[i], s->m, s->k, 1);
    }
    if (ends_with(s->name, "qkv")) {
        static const char *const rounding[] = {"gptq_f32", "descent_f32", "gram_error_f32"};
        for (size_t i = 0; i < LEN(rounding); i++) add(a, rounding[i], 0, s->n, s->k);
    }
    if (s->epilogue == VQ_BENCH_TABLE) {
        add(a, "gelu_f32", s->m, s->n, 1);
        add(a, "gelu_rational_f32", s->m, s->n, 1);
    }
    if (s->epilogue == VQ_BENCH_ADD && ends_with(s->name, "proj")) add(a, "elementwise_f32", s->m, s->n, 1);
}

vq_status bench_cells_of_shapes(bench_cells *cells, vq_device *dev, const bench_shapes *shapes, const bench_options *o)
{
    adding a = {.cells = cells, .dev = dev, .o = o, .status = VQ_OK};
    for (size_t i = 0; i < shapes->count; i++) {
        a.shape = &shapes->items[i];
        add_layer(&a);
    }
    return a.status;
}

/* ---- peaks ------------------------------------------------------------------------------------------------------- */

vq_status bench_cells_of_peaks(bench_cells *cells, vq_device *dev, const bench_options *o)
{
    static const char *const alone[] = {"peak_s8", "peak_f32"}, *const launches[] = {"enqueue", "round_trip"};
    vq_status status = VQ_OK;
    for (size_t i = 0; i < LEN(alone) && status == VQ_OK; i++)
        status = bench_cells_add(cells, dev, &(vq_bench_op_params){.op = alone[i], .seconds = o->seconds}, NULL, "",
                                 o->variants);
    /* what moves data or launches is the same kernel in all variants for processors */
    const char *choice = NULL;
    if (status == VQ_OK) status = vq_bench_op_choice(&choice, dev, "copy");
    for (size_t i = 0; i < LEN(copy_kib) && status == VQ_OK; i++) {
        const vq_device_info *const info = vq_device_get_info(dev);
        const size_t bytes = (size_t)copy_kib[i] << 10;
        if (bytes > info->max_alloc_bytes || bytes > info->global_mem_bytes / 8) continue;
        const vq_bench_op_params params = {.op = "copy", .m = copy_kib[i], .seconds = o->seconds};
        status = bench_cells_add(cells, dev, &params, NULL, "", choice);
    }
    for (size_t i = 0; i < LEN(launches) && status == VQ_OK; i++)
        status = bench_cells_add(cells, dev, &(vq_bench_op_params){.op = launches[i], .seconds = o->seconds}, NULL, "",
                                 choice);
    return status;
}

void bench_peaks_take(bench_peaks *peaks, const bench_cells *cells)
{
    for (size_t i = 0; i < cells->count; i++) {
        const bench_cell *const c = &cells->items[i];
        const double gops = 1e-9 * c->result.ops / c->best;
        if (!c->done) continue;
        if (!strcmp(c->params.op, "peak_s8")) peaks->s8 = fmax(peaks->s8, gops);
        if (!strcmp(c->params.op, "peak_f32")) peaks->f32 = fmax(peaks->f32, gops);
        if (!strcmp(c->params.op, "enqueue")) peaks->enqueue = c->best;
        if (!strcmp(c->params.op, "round_trip")) peaks->round_trip = c->best;
        if (strcmp(c->params.op, "copy") != 0) continue;
        int at = 0;
        while (at < peaks->num_copies && peaks->copies[at].bytes < c->result.bytes) at++;
        if (at == BENCH_MAX_COPIES) continue;
        if (at == peaks->num_copies) {
            peaks->copies[at].gbps = 0;
            peaks->num_copies++;
        }
        peaks->copies[at].bytes = c->result.bytes;
        peaks->copies[at].gbps = fmax(peaks->copies[at].gbps, 1e-9 * c->result.bytes / c->best);
    }
}

vq_status bench_peaks_measure(bench_peaks *peaks, vq_device *dev, int device)
{
    const bench_options quick = {.device = device, .rounds = 1, .seconds = 0.02, .quiet = true};
    bench_cells cells = {0};
    const vq_status status = bench_cells_of_peaks(&cells, dev, &quick);
    if (status == VQ_OK) {
        bench_cells_round(&cells, dev, &quick, 0);
        bench_peaks_take(peaks, &cells);
    }
    free(cells.items);
    return status;
}

/* That of the largest copy that moves no more bytes, as the same caches hold it, or of a larger one that was faster:
 * small copies are launches for the most part. */
double bench_bandwidth(const bench_peaks *peaks, double bytes)
{
    int at = 0;
    if (!peaks->num_copies) return 0;
    while (at + 1 < peaks->num_copies && peaks->copies[at + 1].bytes <= bytes) at++;
    double best = 0;
    for (; at < peaks->num_copies; at++) best = fmax(best, peaks->copies[at].gbps);
    return best;
}

void bench_row_bound(bench_row *row, const bench_peaks *peaks)
{
    const double peak = !strcmp(row->type, "int8") ? peaks->s8 : peaks->f32, gbps = bench_bandwidth(peaks, row->bytes);
    const double compute = row->ops > 0 && peak > 0 ? 1e-9 * row->ops / peak : 0;
    const double memory = row->bytes > 0 && gbps > 0 ? 1e-9 * row->bytes / gbps : 0;
    if (row->ops > 0) row->gops = 1e-9 * row->ops / row->median;
    if (row->bytes > 0) row->gbps = 1e-9 * row->bytes / row->median;
    if (compute > 0) row->share_of_peak = compute / row->median;
    if (compute <= 0 && memory <= 0) return;
    row->bound_seconds = fmax(compute, memory);
    row->share_of_bound = row->bound_seconds / row->median;
    snprintf(row->bound, sizeof row->bound, "%s", memory > compute ? "memory" : row->type);
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static void measure(bench_cell *c, vq_device *dev)
{
    c->params.seed = (uint64_t)c->done + 1;
    c->status = vq_bench_op(&c->result, dev, &c->params);
    if (c->status != VQ_OK) {
        fprintf(stderr, "vitq-bench: %s is left out: %s\n", c->params.variant, vq_status_name(c->status));
        return;
    }
    if (!c->done || c->result.min < c->best) c->best = c->result.min;
    c->median[c->done++] = c->result.median;
}

void bench_cells_round(bench_cells *cells, vq_device *dev, const bench_options *o, int round)
{
    for (size_t i = 0; i < cells->count; i++) {
        bench_cell *const c = &cells->items[i];
        if (c->status != VQ_OK || c->done >= BENCH_MAX_ROUNDS) continue;
        bench_progress(o, round, i + 1, cells->count, c->params.variant);
        measure(c, dev);
    }
    bench_progress(o, round, 0, 0, NULL);
}

vq_status bench_cells_status(const bench_cells *cells)
{
    for (size_t i = 0; i < cells->count; i++)
        if (cells->items[i].status != VQ_OK) return cells->items[i].status;
    return VQ_OK;
}
