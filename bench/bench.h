/* The parts of vitq-bench. */
#ifndef VQ_BENCH_BENCH_H
#define VQ_BENCH_BENCH_H

#include <stddef.h>
#include <stdio.h>

#include "vitq/bench.h"
#include "vitq/session.h"

enum { BENCH_USAGE = 1, BENCH_REGRESSION = 1, BENCH_NAME = 32, BENCH_MAX_ROUNDS = 99, BENCH_MAX_VARIANTS = 32 };

/* ---- the command line: one table of options for all commands ----------------------------------------------------- */

typedef enum bench_command {
    BENCH_PEAKS = 1 << 0,
    BENCH_OPS = 1 << 1,
    BENCH_GEMM = 1 << 2,
    BENCH_SWEEP = 1 << 3,
    BENCH_MODEL = 1 << 4,
    BENCH_COMPARE = 1 << 5,
    BENCH_PLOT = 1 << 6,
    BENCH_TUNE = 1 << 7,
    BENCH_STARTUP = 1 << 8
} bench_command;

typedef struct bench_options {
    bench_command command;
    bool help, json, csv, quiet, best, no_verify, dry_run, once;
    int device, batch, rounds, w_bits, a_bits, bits, candidates;
    double seconds, threshold; /* threshold as a fraction */
    vq_weights weights;
    int lanes;                 /* 0: as many as the device has use for */
    const char *type;          /* "int8", "fp32" or "all" */
    const char *ops, *kinds, *variants, *batches, *output; /* comma lists of parts of names; NULL: all */
    char **args;                                           /* what is no option */
    int num_args;
} bench_options;

/* What a command's page of help says besides its options. */
typedef struct bench_page {
    const char *usage, *about, *columns, *examples;
} bench_page;

/* Parses argv[1..] (argv[0] is the command's name) over the values that *o holds. 0 to go on, else 1 + exit code, after
 * the page of help or one line on stderr. */
int bench_parse(bench_options *o, bench_command command, const bench_page *page, int argc, char **argv);
const char *bench_command_name(bench_command command);
/* Whether a comma list of parts of names (NULL: all) has one of `name`. */
bool bench_wanted(const char *list, const char *name);
int bench_by_size(const void *a, const void *b); /* of doubles, for qsort */
/* A line of progress on stderr, unless quiet; NULL clears it. */
void bench_progress(const bench_options *o, int round, size_t done, size_t total, const char *what);

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

/* One line of bench/shapes/NAME.txt: a matrix product, or an attention of m tokens, n heads of k channels. */
typedef struct bench_shape {
    char model[BENCH_NAME], name[BENCH_NAME];
    int m, n, k; /* m of one image */
    vq_bench_epilogue epilogue;
    bool attention;
    int window; /* side; 0: none */
} bench_shape;

typedef struct bench_shapes {
    bench_shape *items;
    size_t count;
} bench_shapes;

/* Adds the shapes of files, named by path or as bench/shapes/NAME.txt; of vit_tiny where none is named. Attentions are
 * left out unless wanted. False after one line on stderr. */
bool bench_shapes_read(bench_shapes *shapes, char **names, int count, bool attentions);
const char *bench_epilogue_name(vq_bench_epilogue epilogue);

/* ---- results: one schema for all commands ------------------------------------------------------------------------ */

/* A measurement. Numbers that do not apply are NAN, texts "". docs/bench.md says what each field means. */
typedef struct bench_row {
    char bench[16], op[32], kind[24], variant[64], model[128], layer[BENCH_NAME], type[8], bound[8];
    double batch, m, n, k, window, w_bits, a_bits, candidates, rounds;
    double median, fastest, slowest, least; /* seconds */
    double ops, bytes, gops, gbps, bound_seconds, share_of_bound, share_of_peak;
    double verified, max_error;
    double rate, memory_seconds, compute_seconds; /* sweep: 1e9 candidate-elements a second */
    double images_per_second, device_bytes, model_bytes, peak_rss_bytes, time_share, launches;
    double unfused_launches, unfused_bytes;
} bench_row;

enum { BENCH_MAX_COPIES = 8 };
/* What the device can do at most; 0: not measured. */
typedef struct bench_peaks {
    double s8, f32; /* GOP/s */
    int num_copies;
    struct {
        double bytes, gbps; /* read and written, ascending */
    } copies[BENCH_MAX_COPIES];
    double enqueue, round_trip;                /* seconds */
    double read_gbps, uniform, codebook;       /* of sweeps */
} bench_peaks;

typedef struct bench_report {
    char command[16], version[32], device[128], vendor[128], driver[128], platform[128], caps[160];
    double compute_units;
    double batch, rounds, seconds; /* settings */
    bench_peaks peaks;
    bench_row *rows;
    size_t count;
} bench_report;

void bench_report_begin(bench_report *r, const vq_device *dev, const bench_options *o);
/* A row of absent fields at the end; NULL after a line on stderr. Pointers to rows hold until the next one is added. */
bench_row *bench_report_add(bench_report *r, const char *bench);
/* Prints as JSON or CSV on stdout, as the options say. */
vq_status bench_report_print(const bench_report *r, const bench_options *o);
/* Reads what --json printed; false after one line on stderr that names the file. */
bool bench_report_read(bench_report *r, const char *path);
void bench_report_free(bench_report *r);
/* Fills the row's median, fastest and slowest from its rounds, which it sorts. */
void bench_row_times(bench_row *row, double *medians, int count);
/* "M 1576, N 576, K 192, codes"; valid until the next call. */
const char *bench_row_shape(const bench_row *row);
/* Keeps of rows that differ in their variant alone the fastest. */
void bench_report_keep_best(bench_report *r);
/* Same measurement of two reports: equal in everything but results and, if asked, the variant. */
bool bench_row_matches(const bench_row *a, const bench_row *b, bool any_variant);

/* ---- ops --------------------------------------------------------------------------------------------------------- */

/* An op by a variant on a shape: its rounds. */
typedef struct bench_cell {
    vq_bench_op_params params;
    const bench_shape *shape; /* NULL for peaks */
    const char *layer;
    vq_bench_op_result result; /* of the last round */
    double median[BENCH_MAX_ROUNDS], best;
    int done;
    vq_status status; /* a cell that failed is left out from then on */
} bench_cell;

typedef struct bench_cells {
    bench_cell *items;
    size_t count;
} bench_cells;

/* Adds a cell for every variant of params->op that is wanted and the device has. */
vq_status bench_cells_add(bench_cells *cells, vq_device *dev, const vq_bench_op_params *params, const bench_shape *shape,
                          const char *layer, const char *variants);
/* The ops of the shapes. */
vq_status bench_cells_of_shapes(bench_cells *cells, vq_device *dev, const bench_shapes *shapes, const bench_options *o);
vq_status bench_cells_of_peaks(bench_cells *cells, vq_device *dev, const bench_options *o);
/* One more round of all; total: rounds to come, for the line of progress. */
void bench_cells_round(bench_cells *cells, vq_device *dev, const bench_options *o, int round);
/* The first failure among the cells. */
vq_status bench_cells_status(const bench_cells *cells);
/* The best of the peaks' cells so far. */
void bench_peaks_take(bench_peaks *peaks, const bench_cells *cells);
/* Peaks and copies measured once, quickly. */
vq_status bench_peaks_measure(bench_peaks *peaks, vq_device *dev, int device);
void bench_print_peaks(const bench_peaks *peaks); /* a line */
double bench_bandwidth(const bench_peaks *peaks, double bytes); /* GB/s, 0 unknown */
void bench_row_bound(bench_row *row, const bench_peaks *peaks);

int bench_cmd_peaks(int argc, char **argv); /* argv[0] is the command's name; the exit code */
int bench_cmd_ops(int argc, char **argv);
int bench_cmd_gemm(int argc, char **argv);
int bench_cmd_sweep(int argc, char **argv);
int bench_cmd_model(int argc, char **argv);
int bench_cmd_startup(int argc, char **argv);
int bench_cmd_compare(int argc, char **argv);
int bench_cmd_plot(int argc, char **argv);
int bench_cmd_tune(int argc, char **argv);

#endif
