/* vitq-bench sweep: how fast candidate quantizers are scored, beside what memory and arithmetic allow. Measurements are
 * interleaved over rounds, the limits measured again in every round. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MAX_VARIANTS = BENCH_MAX_VARIANTS, MAX_ROUNDS = BENCH_MAX_ROUNDS };

/* One kind by one variant on one shape: its rounds. */
typedef struct cell {
    vq_sweep_kind kind;
    const char *variant; /* NULL: the device's choice */
    const bench_shape *shape;
    vq_bench_sweep_result result; /* of the last round */
    double median[MAX_ROUNDS];
    int done;
} cell;

typedef struct bench {
    bench_options o;
    bench_shapes shapes;
    vq_device *dev;
    vq_sweep_limits limits; /* the best of all rounds */
    cell *cells;
    size_t num_cells;
} bench;

static const char *const kind_names[] = {"uniform", "channels", "codebook", "output", "output-codebook", "output-f32"};

static const bench_page page = {
    "[options] [SHAPES...]",
    "Times the sweeps of calibration on layers of real models: one pass over a tensor that scores many candidate\n"
    "quantizers, by the error of the tensor itself or of the layer's output. Errors are compared with the plain-C\n"
    "witness first.\n\n"
    "SHAPES are names in bench/shapes (vit_tiny, vit_small, vit_base, swin_tiny, demo; of every patch and image size\n"
    "vit_{tiny,small,medium,base,large,huge}_family, deit_distilled, dinov2; default vit_tiny) or files with lines\n"
    "\"name M N K\", M for one image: x is [M][K], the output [M][N].\n\n"
    "kinds:\n"
    "  uniform          error of x: uniform quantizers for the whole tensor\n"
    "  channels         error of x: uniform quantizers for every column\n"
    "  codebook         error of x: thresholds and values\n"
    "  output           error of the output: uniform codes times 8-bit weights, exact integer sums\n"
    "  output-codebook  the same for codebooks of 16-bit values, as two integer products\n"
    "  output-f32       error of the output with FP32 weights\n\n"
    "Without --variants the device's choice is measured; --variants all takes every one.\n",
    "us is the median time of a call, upload of candidates and reading of errors included; Gce/s 1e9\n"
    "candidate-elements, M*K*candidates, a second; GOP/s the products' operations; bound the larger of two times:\n"
    "memory, x and y read once at the speed a kernel reads at, and compute, the arithmetic alone (quantizing and\n"
    "comparing on registers; for outputs the products at the peak of multiply-adds, encoding not counted); share\n"
    "is the bound's time by the call's.\n",
    "  vitq-bench sweep                             ViT-Ti at batch 8\n"
    "  vitq-bench sweep --kinds output -c 128       a whole step of a search over layer outputs\n"
    "  vitq-bench sweep --bits 3 --variants all demo\n"
    "  vitq-bench sweep --json vit_base > sweep.json\n"};

/* ---- command line ------------------------------------------------------------------------------------------------ */

static bool known_kinds(const char *list)
{
    for (int i = 0; i < VQ_SWEEP_KINDS; i++)
        if (bench_wanted(list, kind_names[i])) return true;
    fprintf(stderr, "vitq-bench sweep: --kinds %s: none of", list);
    for (int i = 0; i < VQ_SWEEP_KINDS; i++) fprintf(stderr, " %s", kind_names[i]);
    fprintf(stderr, "\n");
    return false;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* Variants to measure for a kind; a NULL stands for the device's choice. */
static vq_status pick_variants(const char *names[MAX_VARIANTS], int *count, bench *b, vq_sweep_kind kind)
{
    const char *all[MAX_VARIANTS];
    int found = 0;
    *count = 0;
    if (!b->o.variants) {
        names[(*count)++] = NULL;
        return VQ_OK;
    }
    const vq_status status = vq_bench_sweep_variants(all, MAX_VARIANTS, &found, b->dev, kind);
    for (int i = 0; i < found && i < MAX_VARIANTS && status == VQ_OK; i++)
        if (!strcmp(b->o.variants, "all") || bench_wanted(b->o.variants, all[i])) names[(*count)++] = all[i];
    return status;
}

static vq_status add_cells(bench *b)
{
    b->cells = malloc(b->shapes.count * VQ_SWEEP_KINDS * MAX_VARIANTS * sizeof *b->cells);
    if (!b->cells) {
        fprintf(stderr, "vitq-bench: out of memory for %zu shapes\n", b->shapes.count);
        return VQ_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < b->shapes.count; i++)
        for (int kind = 0; kind < VQ_SWEEP_KINDS; kind++) {
            const char *names[MAX_VARIANTS];
            int count;
            if (!bench_wanted(b->o.kinds, kind_names[kind])) continue;
            const vq_status status = pick_variants(names, &count, b, (vq_sweep_kind)kind);
            if (status != VQ_OK) return status;
            for (int v = 0; v < count; v++)
                b->cells[b->num_cells++] =
                    (cell){.kind = (vq_sweep_kind)kind, .variant = names[v], .shape = &b->shapes.items[i]};
        }
    if (b->num_cells) return VQ_OK;
    fprintf(stderr, "vitq-bench sweep: no variant of this device has \"%s\" in its name\n", b->o.variants);
    return VQ_ERR_INVALID_ARG;
}

static void take_max(double *best, double value)
{
    if (value > *best) *best = value;
}

static vq_status measure_limits(bench *b)
{
    vq_sweep_limits now;
    const vq_status status = vq_bench_sweep_limits(&now, b->dev, b->o.bits);
    if (status != VQ_OK) return status;
    take_max(&b->limits.read_gbps, now.read_gbps);
    take_max(&b->limits.uniform, now.uniform);
    take_max(&b->limits.codebook, now.codebook);
    take_max(&b->limits.int8, now.int8);
    take_max(&b->limits.fp32, now.fp32);
    return VQ_OK;
}

static vq_status measure(bench *b, cell *c)
{
    const vq_bench_sweep_params params = {.kind = c->kind,
                                          .variant = c->variant,
                                          .m = c->shape->m * b->o.batch,
                                          .n = c->shape->n,
                                          .k = c->shape->k,
                                          .candidates = b->o.candidates,
                                          .bits = b->o.bits,
                                          .seconds = b->o.seconds,
                                          .seed = (uint64_t)c->done + 1};
    const vq_status status = vq_bench_sweep(&c->result, b->dev, &params, &b->limits);
    if (status == VQ_OK) c->median[c->done++] = c->result.median;
    return status;
}

static vq_status measure_all(bench *b)
{
    vq_status status = add_cells(b);
    for (int r = 0; r < b->o.rounds && status == VQ_OK; r++) {
        status = measure_limits(b);
        for (size_t i = 0; i < b->num_cells && status == VQ_OK; i++) {
            bench_progress(&b->o, r, i + 1, b->num_cells, kind_names[b->cells[i].kind]);
            status = measure(b, &b->cells[i]);
        }
    }
    bench_progress(&b->o, 0, 0, 0, NULL);
    return status;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

/* What a cell comes to: the median of its rounds, beside the limits known in the last one, the best so far. */
typedef struct summary {
    double median, spread, rate, gops, bound;
    bool memory; /* is the bound */
} summary;

static summary summary_of(const cell *c)
{
    const vq_bench_sweep_result *const r = &c->result;
    const double median = c->median[c->done / 2];
    summary s = {.median = median, .spread = (c->median[c->done - 1] - c->median[0]) / 2 / median};
    s.rate = r->rate * r->median / median;
    s.gops = r->gops * r->median / median;
    s.memory = r->memory_seconds > r->compute_seconds;
    s.bound = s.memory ? r->memory_seconds : r->compute_seconds;
    return s;
}

static void print_table(const bench *b)
{
    const vq_device_info *const info = vq_device_get_info(b->dev);
    const cell *last = NULL;
    printf("%s, %d compute units, batch %d, %d candidates of %d bits\n", info->name, info->compute_units, b->o.batch,
           b->o.candidates, b->o.bits);
    printf("limits: read %.1f GB/s, uniform %.1f and codebook %.1f Gce/s on registers, int8 %.0f and fp32 %.0f GOP/s\n",
           b->limits.read_gbps, b->limits.uniform, b->limits.codebook, b->limits.int8, b->limits.fp32);
    for (size_t i = 0; i < b->num_cells; i++) {
        const cell *const c = &b->cells[i];
        const summary s = summary_of(c);
        if (!last || last->shape != c->shape)
            printf("\n%s %s, M %d, N %d, K %d\n  %-16s %-30s %10s %6s %8s %8s %8s %6s\n", c->shape->model,
                   c->shape->name, c->shape->m * b->o.batch, c->shape->n, c->shape->k, "kind", "variant", "us", "+-%",
                   "Gce/s", "GOP/s", "bound", "share");
        printf("  %-16s %-30s %10.1f %6.1f %8.3f %8.1f %8s %5.1f%%\n", kind_names[c->kind], c->result.variant,
               1e6 * s.median, 100 * s.spread, s.rate, s.gops, s.memory ? "memory" : "compute",
               100 * s.bound / s.median);
        last = c;
    }
}

static bool fill_row(bench_report *r, const bench *b, cell *c)
{
    const summary s = summary_of(c);
    bench_row *const row = bench_report_add(r, "sweep");
    if (!row) return false;
    snprintf(row->op, sizeof row->op, "%s", c->kind >= VQ_SWEEP_OUTPUT ? "output_error" : "quant_error_f32");
    snprintf(row->kind, sizeof row->kind, "%s", kind_names[c->kind]);
    snprintf(row->variant, sizeof row->variant, "%s", c->result.variant);
    snprintf(row->model, sizeof row->model, "%s", c->shape->model);
    snprintf(row->layer, sizeof row->layer, "%s", c->shape->name);
    snprintf(row->bound, sizeof row->bound, "%s", s.memory ? "memory" : "compute");
    row->batch = b->o.batch;
    row->m = c->shape->m;
    row->n = c->shape->n;
    row->k = c->shape->k;
    row->a_bits = b->o.bits;
    row->candidates = b->o.candidates;
    bench_row_times(row, c->median, c->done);
    row->rate = s.rate;
    row->gops = s.gops;
    row->memory_seconds = c->result.memory_seconds;
    row->compute_seconds = c->result.compute_seconds;
    row->bound_seconds = s.bound;
    row->share_of_bound = s.bound / s.median;
    row->max_error = c->result.max_error;
    return true;
}

static vq_status print_report(bench *b)
{
    bench_report r = {.peaks = {.s8 = b->limits.int8,
                                .f32 = b->limits.fp32,
                                .read_gbps = b->limits.read_gbps,
                                .uniform = b->limits.uniform,
                                .codebook = b->limits.codebook}};
    vq_status status = VQ_OK;
    bench_report_begin(&r, b->dev, &b->o);
    for (size_t i = 0; i < b->num_cells && status == VQ_OK; i++)
        if (!fill_row(&r, b, &b->cells[i])) status = VQ_ERR_NO_MEMORY;
    if (status == VQ_OK) status = bench_report_print(&r, &b->o);
    bench_report_free(&r);
    return status;
}

int bench_cmd_sweep(int argc, char **argv)
{
    bench b = {.o = {.batch = 8, .rounds = 3, .bits = 4, .candidates = 16, .seconds = 0.1}};
    int code = bench_parse(&b.o, BENCH_SWEEP, &page, argc, argv);
    vq_status status = VQ_OK;
    if (!code && (!known_kinds(b.o.kinds) || !bench_shapes_read(&b.shapes, b.o.args, b.o.num_args, false)))
        code = 1 + BENCH_USAGE;
    if (code) goto done;
    status = vq_device_open(&b.dev, &(vq_device_params){.index = b.o.device});
    if (status == VQ_OK) status = measure_all(&b);
    if (status != VQ_OK) goto done;
    for (size_t i = 0; i < b.num_cells; i++)
        qsort(b.cells[i].median, (size_t)b.cells[i].done, sizeof(double), bench_by_size);
    if (b.o.json || b.o.csv)
        status = print_report(&b);
    else
        print_table(&b);
done:
    free(b.cells);
    free(b.shapes.items);
    vq_device_destroy(&b.dev);
    return code ? code - 1 : (int)status;
}
