/* vitq-bench compare: two reports, row by row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const bench_page page = {
    "[options] A.json B.json",
    "Compares what --json printed twice: before and after a change, or on two devices. Rows are matched by everything\n"
    "but their results (op, variant, model, layer, shape, bits, batch); rows of one report alone are listed.\n\n"
    "The exit code is 1 where a row of B is a regression: its median time is longer than A's by more than the\n"
    "threshold, and its fastest round is slower than A's slowest, so that it is not noise.\n",
    "A and B are median times of a run in us, ratio B by A, above 1 where B is slower; in brackets the least and the\n"
    "largest ratio of any two rounds. At the end the geometric mean of the ratios, by op.\n",
    "  vitq-bench ops --json > before.json; ...; vitq-bench ops --json > after.json\n"
    "  vitq-bench compare before.json after.json                 exit code 1 where something got slower by 5%\n"
    "  vitq-bench compare --threshold 20% before.json after.json  on a machine that does other work, too\n"
    "  vitq-bench compare --best cpu.json gpu.json               two devices, each with its fastest variants\n"};

/* Mean ratio of an op's rows. */
typedef struct op_sum {
    char op[sizeof((bench_row *)0)->op];
    double log_sum;
    int count;
} op_sum;

typedef struct comparison {
    bench_options o;
    bench_report a, b;
    bool *used; /* of b's rows */
    op_sum sums[64];
    int num_sums, regressions, improvements, matched, missing;
} comparison;

static void add_ratio(comparison *c, const char *op, double ratio)
{
    int i = 0;
    while (i < c->num_sums && strcmp(c->sums[i].op, op) != 0) i++;
    if (i == (int)(sizeof c->sums / sizeof c->sums[0])) return;
    if (i == c->num_sums) {
        snprintf(c->sums[i].op, sizeof c->sums[i].op, "%s", op);
        c->num_sums++;
    }
    c->sums[i].log_sum += log(ratio);
    c->sums[i].count++;
}

static void print_name(const bench_row *row)
{
    printf("%s %s%s%s%s%s %s", row->op, row->model, *row->layer ? " " : "", row->layer, *row->variant ? " " : "",
           row->variant, bench_row_shape(row));
}

static void compare_rows(comparison *c, const bench_row *a, const bench_row *b)
{
    const double ratio = b->median / a->median, low = b->fastest / a->slowest, high = b->slowest / a->fastest;
    const bool worse = ratio > 1 + c->o.threshold && low > 1, better = ratio * (1 + c->o.threshold) < 1 && high < 1;
    c->matched++;
    c->regressions += worse;
    c->improvements += better;
    add_ratio(c, a->op, ratio);
    printf("%10.1f %10.1f %7.3f [%.3f, %.3f] %-10s ", 1e6 * a->median, 1e6 * b->median, ratio, low, high,
           worse    ? "REGRESSION"
           : better ? "faster"
                    : "");
    print_name(a);
    if (strcmp(a->variant, b->variant) != 0) printf(" (B: %s)", b->variant);
    printf("\n");
}

static void compare_all(comparison *c)
{
    printf("A %s: %s (%s), vitq %s\nB %s: %s (%s), vitq %s\n\n%10s %10s %7s\n", c->o.args[0], c->a.device, c->a.driver,
           c->a.version, c->o.args[1], c->b.device, c->b.driver, c->b.version, "A us", "B us", "ratio");
    for (size_t i = 0; i < c->a.count; i++) {
        size_t j = 0;
        while (j < c->b.count && (c->used[j] || !bench_row_matches(&c->a.rows[i], &c->b.rows[j], c->o.best))) j++;
        if (j == c->b.count) continue;
        c->used[j] = true;
        c->a.rows[i].rounds = NAN; /* marks it as matched */
        compare_rows(c, &c->a.rows[i], &c->b.rows[j]);
    }
    for (size_t i = 0; i < c->a.count + c->b.count; i++) {
        const bool of_a = i < c->a.count;
        const bench_row *const row = of_a ? &c->a.rows[i] : &c->b.rows[i - c->a.count];
        if (of_a ? isnan(row->rounds) : c->used[i - c->a.count]) continue;
        printf("only in %c: ", of_a ? 'A' : 'B');
        print_name(row);
        printf("\n");
        c->missing++;
    }
}

static void print_sums(const comparison *c)
{
    printf("\n");
    for (int i = 0; i < c->num_sums; i++)
        printf("%-28s %3d rows, mean ratio %.3f\n", c->sums[i].op, c->sums[i].count,
               exp(c->sums[i].log_sum / c->sums[i].count));
    printf("%d rows compared, %d regressions and %d faster beyond %g%%, %d in one report alone\n", c->matched,
           c->regressions, c->improvements, 100 * c->o.threshold, c->missing);
}

static int compare(comparison *c)
{
    for (size_t i = 0; i < c->a.count; i++) c->a.rows[i].rounds = 0;
    if (c->o.best) {
        bench_report_keep_best(&c->a);
        bench_report_keep_best(&c->b);
    }
    c->used = calloc(c->b.count + 1, sizeof *c->used);
    if (!c->used) return VQ_ERR_NO_MEMORY;
    compare_all(c);
    print_sums(c);
    if (c->matched) return c->regressions ? BENCH_REGRESSION : 0;
    fprintf(stderr, "vitq-bench compare: no row of %s is in %s\n", c->o.args[0], c->o.args[1]);
    return VQ_ERR_INVALID_ARG;
}

int bench_cmd_compare(int argc, char **argv)
{
    static comparison c;
    c = (comparison){.o = {.threshold = 0.05}};
    int code = bench_parse(&c.o, BENCH_COMPARE, &page, argc, argv);
    if (code) return code - 1;
    if (c.o.num_args != 2) {
        fprintf(stderr, "vitq-bench compare: takes two files, not %d\n", c.o.num_args);
        return BENCH_USAGE;
    }
    code = VQ_ERR_FORMAT;
    if (bench_report_read(&c.a, c.o.args[0]) && bench_report_read(&c.b, c.o.args[1])) code = compare(&c);
    free(c.used);
    bench_report_free(&c.a);
    bench_report_free(&c.b);
    return code;
}
