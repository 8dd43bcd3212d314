/* The parts of vitq-bench. */
#ifndef VQ_BENCH_BENCH_H
#define VQ_BENCH_BENCH_H

#include <stddef.h>

#include "vitq/bench.h"

enum { BENCH_USAGE = 1, BENCH_NAME = 32 };

/* One line of bench/shapes/NAME.txt. */
typedef struct bench_shape {
    char model[BENCH_NAME], name[BENCH_NAME];
    int m, n, k; /* m of one image */
    vq_bench_epilogue epilogue;
} bench_shape;

typedef struct bench_shapes {
    bench_shape *items;
    size_t count;
} bench_shapes;

/* Adds the shapes of a file, named by path or as bench/shapes/NAME.txt. False after one line on stderr. */
bool bench_shapes_read(bench_shapes *shapes, const char *name);
bool bench_epilogue_parse(vq_bench_epilogue *out, const char *text);
const char *bench_epilogue_name(vq_bench_epilogue epilogue);

/* Numbers of options; false after one line on stderr. */
bool bench_int(int *out, const char *command, const char *option, const char *text, int min, int max);
bool bench_seconds(double *out, const char *command, const char *text);
/* Whether a comma list of parts of names (NULL: all) has one of `name`. */
bool bench_wanted(const char *list, const char *name);
/* A JSON object that says what was measured: device, driver, version, compute units. */
struct cJSON *bench_json_begin(const vq_device *dev);
/* Prints the object and frees it. */
vq_status bench_json_end(struct cJSON *root);
int bench_by_size(const void *a, const void *b); /* of doubles, for qsort */

/* vitq-bench gemm; argv[0] is "gemm". Returns the exit code. */
int bench_gemm(int argc, char **argv);
int bench_sweep(int argc, char **argv); /* the same of "sweep" */

#endif
