/* vitq-bench tune: fills the device's tuning table with what is the fastest here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MAX_OPS = 64 };
#define GAIN 1.02 /* what a weaker variant must win by: less may be noise */

static const bench_page page = {
    "[options] [SHAPES...]",
    "Tries every variant of every op on the layers of a model, and some parameter sets of CLBlast's SGEMM, and keeps "
    "the\n"
    "fastest in the tuning table, a file in the cache folder ($VITQ_CACHE_DIR, else $XDG_CACHE_HOME/vitq, else\n"
    "~/.cache/vitq) that every later program reads. A variant counts by its total time over all shapes, and must win "
    "by\n"
    "2% over the one that vitq would take untuned; one whose result is not the witness's is never taken. VITQ_KERNELS\n"
    "overrides the table, VITQ_TUNING=off leaves it unread; tuning makes it anew. Integer results are the same bits\n"
    "with any variant.\n\n"
    "SHAPES as in 'vitq-bench ops --help'; take those of the models you run.\n",
    "untuned and best are total times of all shapes in us, gain untuned by best.\n",
    "  vitq-bench tune                             for ViT-Ti at batch 8\n"
    "  vitq-bench tune --batch 1 vit_small vit_base\n"
    "  vitq-bench tune --ops gemm --dry-run        see what would be kept\n"};

typedef struct run {
    bench_options o;
    vq_device *dev;
    bench_shapes shapes;
    bench_cells cells;
    int kept;
} run;

/* Total of the medians of a variant over all its shapes; INFINITY where one failed or there are none. */
static double total_of(const run *b, const char *variant)
{
    double total = 0;
    for (size_t i = 0; i < b->cells.count; i++) {
        const bench_cell *const c = &b->cells.items[i];
        if (strcmp(c->params.variant, variant) != 0) continue;
        if (c->status != VQ_OK || !c->done) return INFINITY;
        double medians[BENCH_MAX_ROUNDS];
        memcpy(medians, c->median, sizeof medians);
        qsort(medians, (size_t)c->done, sizeof *medians, bench_by_size);
        total += medians[c->done / 2];
    }
    return total > 0 ? total : INFINITY;
}

static void measure(run *b)
{
    for (int r = 0; r < b->o.rounds; r++) bench_cells_round(&b->cells, b->dev, &b->o, r);
}

static vq_status tune_op(run *b, const char *op)
{
    const char *names[BENCH_MAX_VARIANTS];
    int count;
    vq_status status = vq_bench_op_variants(names, BENCH_MAX_VARIANTS, &count, b->dev, op);
    const char *best = NULL, *untuned = NULL;
    for (int v = 0; v < count && v < BENCH_MAX_VARIANTS; v++)
        if (isfinite(total_of(b, names[v]))) untuned = names[v]; /* the strongest that works */
    if (status != VQ_OK || !untuned) return status;
    best = untuned;
    for (int v = 0; v < count && v < BENCH_MAX_VARIANTS; v++) {
        const double needed = best == untuned ? GAIN : 1;
        if (total_of(b, names[v]) * needed < total_of(b, best)) best = names[v];
    }
    printf("%-18s %-30s %12.1f   %-30s %12.1f %6.2f\n", op, untuned, 1e6 * total_of(b, untuned), best,
           1e6 * total_of(b, best), total_of(b, untuned) / total_of(b, best));
    b->kept++;
    return vq_bench_tuning_set(b->dev, op, best);
}

static vq_status tune_ops(run *b)
{
    free(b->cells.items);
    b->cells = (bench_cells){0};
    vq_status status = bench_cells_of_shapes(&b->cells, b->dev, &b->shapes, &b->o);
    if (status != VQ_OK || !b->cells.count) return status;
    measure(b);
    printf("%-18s %-30s %12s   %-30s %12s %6s\n", "op", "untuned", "us", "best", "us", "gain");
    for (int i = 0; vq_bench_op_name(i) && status == VQ_OK; i++)
        if (!vq_bench_op_is_peak(vq_bench_op_name(i))) status = tune_op(b, vq_bench_op_name(i));
    return status;
}

/* ---- CLBlast ----------------------------------------------------------------------------------------------------- */

/* Total time of CLBlast's SGEMM on all shapes as it is set now; INFINITY where it fails. */
static double clblast_total(run *b)
{
    static const char variant[] = "gemm_f32__clblast";
    vq_status status = VQ_OK;
    free(b->cells.items);
    b->cells = (bench_cells){0};
    for (size_t i = 0; i < b->shapes.count && status == VQ_OK; i++) {
        const bench_shape *const s = &b->shapes.items[i];
        const vq_bench_op_params params = {
            .op = "gemm_f32", .batch = b->o.batch, .m = s->m, .n = s->n, .k = s->k, .seconds = b->o.seconds};
        if (!s->attention) status = bench_cells_add(&b->cells, b->dev, &params, s, s->name, variant);
    }
    if (status != VQ_OK) return INFINITY;
    measure(b);
    return total_of(b, variant);
}

static vq_status tune_clblast(run *b, int kernel, int sets)
{
    const char *const name = vq_bench_clblast_kernel(kernel, NULL);
    const double untuned = clblast_total(b);
    double best = untuned;
    int best_set = -1;
    for (int set = 0; set < sets; set++) {
        if (vq_bench_clblast_set(b->dev, kernel, set) != VQ_OK) continue;
        const double total = clblast_total(b);
        if (total * (best_set < 0 ? GAIN : 1) >= best) continue;
        best = total;
        best_set = set;
    }
    printf("CLBlast's %s: untuned %.1f us, best %.1f us with parameter set %d (-1: its own)\n", name, 1e6 * untuned,
           1e6 * best, best_set);
    return vq_bench_clblast_set(b->dev, kernel, best_set);
}

static bool has_clblast(const run *b)
{
    return (vq_device_get_info(b->dev)->caps & VQ_CAP_CLBLAST) && bench_wanted(b->o.ops, "gemm_f32");
}

static vq_status run_all(run *b)
{
    int sets;
    char *path = NULL;
    setenv("VITQ_TUNING", "off", 1); /* what an older table says would be taken for untuned */
    vq_status status = vq_device_open(&b->dev, &(vq_device_params){.index = b->o.device, .kernels = ""});
    for (int i = 0; status == VQ_OK && has_clblast(b) && vq_bench_clblast_kernel(i, &sets); i++)
        status = tune_clblast(b, i, sets);
    if (status == VQ_OK) status = tune_ops(b);
    if (status != VQ_OK) return status;
    if (!b->kept) {
        fprintf(stderr, "vitq-bench tune: no op \"%s\"\n", b->o.ops ? b->o.ops : "");
        return VQ_ERR_INVALID_ARG;
    }
    if (b->o.dry_run) return VQ_OK;
    status = vq_bench_tuning_save(&path, b->dev);
    if (status == VQ_OK) printf("\nkept in %s\n", path ? path : "the cache folder");
    free(path);
    return status;
}

int bench_cmd_tune(int argc, char **argv)
{
    run b = {.o = {.rounds = 3, .seconds = 0.02, .batch = 8, .w_bits = 8, .a_bits = 8}};
    int code = bench_parse(&b.o, BENCH_TUNE, &page, argc, argv);
    if (!code && !bench_shapes_read(&b.shapes, b.o.args, b.o.num_args, true)) code = 1 + BENCH_USAGE;
    const vq_status status = code ? VQ_OK : run_all(&b);
    free(b.cells.items);
    free(b.shapes.items);
    vq_device_destroy(&b.dev);
    return code ? code - 1 : (int)status;
}
