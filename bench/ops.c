/* vitq-bench peaks, ops and gemm: every eligible variant of every op on the shapes of real models. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char *const type_names[] = {"int8", "fp32"};

#define SHAPES_TEXT                                                                                                   \
    "SHAPES are names in bench/shapes (vit_tiny, vit_small, vit_base, swin_tiny, demo; of every patch and image "     \
    "size\n"                                                                                                          \
    "vit_{tiny,small,medium,base,large,huge}_family, deit_distilled, dinov2; default vit_tiny) or files with lines\n" \
    "\"name M N K [codes|table|add|set]\", M for one image, and \"name T H D attention [window]\".\n"

#define COLUMNS_TEXT                                                                                                  \
    "us is the median of the rounds' median times of a run, +-% half the distance between the fastest and the\n"      \
    "slowest round, GOP/s operations (two of a multiply-add) and GB/s bytes that must be read and written, by that\n" \
    "time; bound what limits the op on this device, as measured in this run: multiply-adds on registers (int8,\n"     \
    "fp32) or copies of as many bytes (memory); share the least time that it allows, by the time taken; best the\n"   \
    "same by the time of the fastest sample, which other programs on the machine disturb least.\n"

static const bench_page peaks_page = {
    "[options]",
    "Measures what the device can do at most: u8 x s8 and FP32 multiply-adds on registers by every instruction that\n"
    "the kernels use, copies of four sizes (caches make the small ones faster), and launches of an empty kernel, put\n"
    "into the queue alone and waited for. All other commands compare with these.\n",
    "us is the median time of a run, +-% half the distance between the fastest and the slowest round; GOP/s counts\n"
    "two operations a multiply-add, GB/s bytes read and written, both at the fastest.\n",
    "  vitq-bench peaks                        this device\n"
    "  vitq-bench peaks --json > peaks.json    for a script, or for 'vitq-bench plot'\n"
    "  vitq-bench peaks -d 1 --rounds 9        the second device, with more patience\n"};

static const bench_page ops_page = {
    "[options] [SHAPES...]",
    "Times every op of vitq, by every kernel variant that the device can run, on the shapes of real models. Results\n"
    "are verified against the plain-C witness first: integers must be equal, floats near.\n\n" SHAPES_TEXT,
    COLUMNS_TEXT,
    "  vitq-bench ops                               ViT-Ti at batch 8\n"
    "  vitq-bench ops --ops attention,layernorm     of these ops alone\n"
    "  vitq-bench ops --json demo > a.json          for 'vitq-bench compare' and 'vitq-bench plot'\n"
    "  vitq-bench ops --csv --batch 1 vit_small     for a spreadsheet\n"};

static const bench_page gemm_page = {
    "[options] [SHAPES...]",
    "Times the matrix products of real models as vitq runs them: int8 products with the integer runtime's epilogue\n"
    "(requantization, table, residual sum), FP32 products with a bias. Every kernel variant that the device can run\n"
    "is verified against the plain-C witness first. The same as 'vitq-bench ops --ops gemm'.\n\n" SHAPES_TEXT,
    COLUMNS_TEXT,
    "  vitq-bench gemm                              ViT-Ti at batch 8\n"
    "  vitq-bench gemm --batch 1 vit_tiny vit_base  latency shapes of two models\n"
    "  vitq-bench gemm --type int8 --bits w4a4      4-bit layers\n"
    "  vitq-bench gemm --json demo > gemm.json      for a script\n"};

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static double given(int value)
{
    return value ? value : NAN;
}

static bool fill_row(bench_report *r, bench_cell *c, const char *bench)
{
    const vq_bench_op_params *const p = &c->params;
    bench_row *const row = bench_report_add(r, bench);
    if (!row) return false;
    snprintf(row->op, sizeof row->op, "%s", p->op);
    snprintf(row->variant, sizeof row->variant, "%s", p->variant);
    snprintf(row->type, sizeof row->type, "%s", type_names[vq_bench_op_type(p->op)]);
    snprintf(row->model, sizeof row->model, "%s", c->shape ? c->shape->model : "");
    snprintf(row->layer, sizeof row->layer, "%s", c->layer);
    row->batch = given(p->batch);
    row->m = given(p->m);
    row->n = given(p->n);
    row->k = given(p->k);
    row->window = given(p->window);
    if (!strcmp(p->op, "gemm_s8")) {
        row->w_bits = p->w_bits;
        snprintf(row->kind, sizeof row->kind, "%s", bench_epilogue_name(p->epilogue));
    }
    if (c->shape && (!strcmp(row->type, "int8") || strstr(p->op, "quant"))) row->a_bits = p->a_bits;
    bench_row_times(row, c->median, c->done);
    row->least = c->best;
    row->ops = c->result.ops > 0 ? c->result.ops : NAN;
    row->bytes = c->result.bytes > 0 ? c->result.bytes : NAN;
    row->verified = (double)c->result.verified;
    row->max_error = c->result.max_error;
    bench_row_bound(row, &r->peaks);
    return true;
}

static bool fill_rows(bench_report *r, bench_cells *cells, const char *bench)
{
    for (size_t i = 0; i < cells->count; i++)
        if (cells->items[i].done && !fill_row(r, &cells->items[i], bench)) return false;
    return true;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static const char *number(char out[16], const char *format, double value)
{
    if (isfinite(value))
        snprintf(out, 16, format, value);
    else
        snprintf(out, 16, "-");
    return out;
}

static void print_head(const bench_report *r)
{
    printf("%s (%s), %g compute units: %s\n", r->device, r->driver, r->compute_units, r->caps);
}

void bench_print_peaks(const bench_peaks *p)
{
    printf("peaks: int8 %.0f and fp32 %.0f GOP/s, copies", p->s8, p->f32);
    for (int i = 0; i < p->num_copies; i++)
        printf("%s %.3g MB at %.1f", i ? "," : "", 1e-6 * p->copies[i].bytes, p->copies[i].gbps);
    printf(" GB/s, launch %.1f us, %.1f us waited for\n", 1e6 * p->enqueue, 1e6 * p->round_trip);
}

static void print_row(const bench_row *row, bool fastest)
{
    char gops[16], gbps[16], share[16], best[16];
    const double at = fastest ? row->least : row->median;
    printf("  %-28s %10.1f %6.1f %9s %8s", row->variant, 1e6 * row->median,
           50 * (row->slowest - row->fastest) / row->median, number(gops, "%.1f", 1e-9 * row->ops / at),
           number(gbps, "%.2f", 1e-9 * row->bytes / at));
    if (!fastest)
        printf(" %7s %6s %6s", *row->bound ? row->bound : "-", number(share, "%.1f%%", 100 * row->share_of_bound),
               number(best, "%.1f%%", 100 * row->bound_seconds / row->least));
    printf("\n");
}

static void print_table(const bench_report *r, bool peaks)
{
    const bench_row *last = NULL;
    print_head(r);
    bench_print_peaks(&r->peaks);
    for (size_t i = 0; i < r->count; i++) {
        const bench_row *const row = &r->rows[i];
        if (!last || !bench_row_matches(last, row, true)) {
            if (peaks && strcmp(row->op, "copy") == 0)
                printf("\ncopy of %g KiB", row->m);
            else if (peaks)
                printf("\n%s", row->op);
            else
                printf("\n%s %s %s: %s", row->op, row->model, row->layer, bench_row_shape(row));
            printf("\n  %-28s %10s %6s %9s %8s%s\n", "variant", "us", "+-%", "GOP/s", "GB/s",
                   peaks ? "" : "   bound  share   best");
        }
        print_row(row, peaks);
        last = row;
    }
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

typedef struct run {
    bench_options o;
    vq_device *dev;
    bench_shapes shapes;
    bench_cells peaks, cells;
    bench_report report;
} run;

/* From the second round on only what may still be the best of the peaks. */
static void drop_weak_peaks(run *b)
{
    for (size_t i = 0; i < b->peaks.count; i++) {
        bench_cell *const c = &b->peaks.items[i];
        const double best = !strcmp(c->params.op, "peak_s8")    ? b->report.peaks.s8
                            : !strcmp(c->params.op, "peak_f32") ? b->report.peaks.f32
                                                                : 0;
        if (c->done && 1e-9 * c->result.ops / c->best < 0.6 * best) c->status = VQ_ERR_UNSUPPORTED;
    }
}

static vq_status measure(run *b, bool peaks_alone)
{
    bench_options quick = b->o;
    quick.quiet = true;
    quick.variants = NULL;
    if (!peaks_alone && quick.seconds > 0.05) quick.seconds = 0.05;
    vq_status status = bench_cells_of_peaks(&b->peaks, b->dev, peaks_alone ? &b->o : &quick);
    if (status == VQ_OK && !peaks_alone) status = bench_cells_of_shapes(&b->cells, b->dev, &b->shapes, &b->o);
    if (status == VQ_OK && !(peaks_alone ? b->peaks.count : b->cells.count)) {
        fprintf(stderr, "vitq-bench %s: no variant of this device has \"%s\" in its name, or no op \"%s\"\n",
                bench_command_name(b->o.command), b->o.variants ? b->o.variants : "", b->o.ops ? b->o.ops : "");
        return VQ_ERR_INVALID_ARG;
    }
    for (int r = 0; r < b->o.rounds && status == VQ_OK; r++) {
        bench_cells_round(&b->peaks, b->dev, peaks_alone ? &b->o : &quick, r);
        bench_peaks_take(&b->report.peaks, &b->peaks);
        if (!peaks_alone && r == 0) drop_weak_peaks(b);
        bench_cells_round(&b->cells, b->dev, &b->o, r);
    }
    return status;
}

static vq_status run_all(run *b)
{
    const bool peaks_alone = b->o.command == BENCH_PEAKS;
    vq_status status = vq_device_open(&b->dev, &(vq_device_params){.index = b->o.device});
    if (status != VQ_OK) return status;
    status = measure(b, peaks_alone);
    if (status != VQ_OK) return status;
    bench_report_begin(&b->report, b->dev, &b->o);
    if (!fill_rows(&b->report, peaks_alone ? &b->peaks : &b->cells, peaks_alone ? "peaks" : "ops"))
        return VQ_ERR_NO_MEMORY;
    if (b->o.json || b->o.csv)
        status = bench_report_print(&b->report, &b->o);
    else
        print_table(&b->report, peaks_alone);
    return status == VQ_OK ? bench_cells_status(peaks_alone ? &b->peaks : &b->cells) : status;
}

static int run_command(run *b, bench_command command, const bench_page *page, int argc, char **argv)
{
    int code = bench_parse(&b->o, command, page, argc, argv);
    if (!code && command == BENCH_PEAKS && b->o.num_args) {
        fprintf(stderr, "vitq-bench peaks: \"%s\" is not an option\n", b->o.args[0]);
        code = 1 + BENCH_USAGE;
    }
    if (!code && command != BENCH_PEAKS && !bench_shapes_read(&b->shapes, b->o.args, b->o.num_args, true))
        code = 1 + BENCH_USAGE;
    if (b->o.type)
        b->o.ops = !strcmp(b->o.type, "int8") ? "gemm_s8" : !strcmp(b->o.type, "fp32") ? "gemm_f32" : b->o.ops;
    const vq_status status = code ? VQ_OK : run_all(b);
    bench_report_free(&b->report);
    free(b->peaks.items);
    free(b->cells.items);
    free(b->shapes.items);
    vq_device_destroy(&b->dev);
    return code ? code - 1 : (int)status;
}

int bench_cmd_peaks(int argc, char **argv)
{
    run b = {.o = {.rounds = 5, .seconds = 0.05}};
    return run_command(&b, BENCH_PEAKS, &peaks_page, argc, argv);
}

int bench_cmd_ops(int argc, char **argv)
{
    run b = {.o = {.rounds = 3, .seconds = 0.05, .batch = 8, .w_bits = 8, .a_bits = 8}};
    return run_command(&b, BENCH_OPS, &ops_page, argc, argv);
}

int bench_cmd_gemm(int argc, char **argv)
{
    run b = {.o = {.rounds = 5, .seconds = 0.1, .batch = 8, .w_bits = 8, .a_bits = 8, .ops = "gemm"}};
    return run_command(&b, BENCH_GEMM, &gemm_page, argc, argv);
}
