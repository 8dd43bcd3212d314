/* vitq-bench startup: what comes before the first logits, in processes of its own: with empty caches and with full
 * ones. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { NUM_PHASES = 4 };

static const bench_page page = {
    "[options] FILE...",
    "Times the start of programs, from nothing to the first image's logits, for models as 'vitq-bench model' takes "
    "them.\n"
    "Every measurement is a process of its own. Cold ones have empty caches, vitq's ($VITQ_CACHE_DIR) and that of "
    "PoCL\n"
    "($POCL_CACHE_DIR; other drivers may keep one elsewhere): instructions are probed and kernels compiled. Warm ones "
    "find\n"
    "what the last cold one left. Both caches are temporary folders; yours stay as they are.\n",
    "ms is the median of the rounds, +-% half the distance between the fastest and the slowest: in all, and of it\n"
    "device (found, opened, probed), model (read), session (kernels built or loaded, weights packed and uploaded) and\n"
    "first (the first image, with kernels that are built when they first run).\n",
    "  vitq-bench startup models/fashion_vit                the bundled model, FP32\n"
    "  vitq-bench startup --rounds 3 --json w4a4.vitq.safetensors > start.json\n"};

/* ---- the process that starts ------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static vq_status first_image(vq_session *session, const vq_model *model)
{
    const vq_preprocess *const pre = vq_model_preprocess(model);
    uint8_t *const pixels = calloc((size_t)pre->height * (size_t)pre->width, (size_t)pre->chans);
    float *const logits = calloc((size_t)vq_model_num_classes(model), sizeof *logits);
    const vq_status status = pixels && logits ? vq_session_run(session, pixels, 1, logits) : VQ_ERR_NO_MEMORY;
    free(pixels);
    free(logits);
    return status;
}

/* Prints the seconds of the phases. */
static vq_status start_once(const bench_options *o)
{
    double at[NUM_PHASES + 1] = {now()};
    vq_device *dev = NULL;
    vq_model *model = NULL;
    vq_session *session = NULL;
    const vq_session_params params = {.max_batch = 1, .weights = o->weights};
    vq_status status = vq_device_open(&dev, &(vq_device_params){.index = o->device});
    at[1] = now();
    if (status == VQ_OK) status = vq_model_load(&model, o->args[0]);
    at[2] = now();
    if (status == VQ_OK) status = vq_session_create(&session, dev, model, &params);
    at[3] = now();
    if (status == VQ_OK) status = first_image(session, model);
    at[4] = now();
    for (int i = 0; i < NUM_PHASES && status == VQ_OK; i++) printf("%.9f\n", at[i + 1] - at[i]);
    vq_session_destroy(&session);
    vq_model_destroy(&model);
    vq_device_destroy(&dev);
    return status;
}

/* ---- the process that measures ----------------------------------------------------------------------------------- */

typedef struct run {
    bench_options o;
    bench_report report;
    char folder[64]; /* of both caches */
} run;

static int remove_entry(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

static bool make_folders(run *b)
{
    char path[sizeof b->folder + 8];
    snprintf(b->folder, sizeof b->folder, "/tmp/vitq-startup-XXXXXX");
    if (!mkdtemp(b->folder)) {
        fprintf(stderr, "vitq-bench startup: %s: %s\n", b->folder, strerror(errno));
        b->folder[0] = '\0';
        return false;
    }
    snprintf(path, sizeof path, "%s/vitq", b->folder);
    setenv("VITQ_CACHE_DIR", path, 1);
    snprintf(path, sizeof path, "%s/pocl", b->folder);
    setenv("POCL_CACHE_DIR", path, 1);
    return true;
}

static void remove_folders(run *b)
{
    if (b->folder[0]) nftw(b->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    b->folder[0] = '\0';
}

/* This program again, its output read. */
static FILE *start_process(pid_t *pid, const run *b, const char *model)
{
    int ends[2];
    char device[16];
    snprintf(device, sizeof device, "%d", b->o.device);
    if (pipe(ends) != 0) return NULL;
    *pid = fork();
    if (*pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "vitq-bench", "startup", "--once", "-d", device, "--weights",
              b->o.weights == VQ_WEIGHTS_BYTES ? "bytes" : "packed", "--", model, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (*pid < 0) {
        close(ends[0]);
        return NULL;
    }
    return fdopen(ends[0], "r");
}

/* Seconds of the phases of one process. */
static vq_status measure(double seconds[NUM_PHASES], const run *b, const char *model)
{
    pid_t pid = -1;
    int ended = 0, read = 0;
    FILE *const f = start_process(&pid, b, model);
    while (f && read < NUM_PHASES && fscanf(f, "%lf", &seconds[read]) == 1) read++;
    if (f) fclose(f);
    if (pid > 0) waitpid(pid, &ended, 0);
    if (!f || !WIFEXITED(ended) || WEXITSTATUS(ended) == 127) {
        fprintf(stderr, "vitq-bench startup: cannot run this program again\n");
        return VQ_ERR_IO;
    }
    if (WEXITSTATUS(ended)) return (vq_status)WEXITSTATUS(ended); /* it said why */
    return read == NUM_PHASES ? VQ_OK : VQ_ERR_IO;
}

static vq_status add_rows(run *b, const char *model, bool quantized, bool cold,
                          double seconds[NUM_PHASES][BENCH_MAX_ROUNDS], double *totals)
{
    static const char *const phases[NUM_PHASES] = {"device", "model", "session", "first"};
    const char *const slash = strrchr(model, '/');
    for (int p = -1; p < NUM_PHASES; p++) {
        bench_row *const row = bench_report_add(&b->report, "startup");
        if (!row) return VQ_ERR_NO_MEMORY;
        snprintf(row->op, sizeof row->op, "%s", p < 0 ? "all" : phases[p]);
        snprintf(row->kind, sizeof row->kind, "%s", cold ? "cold" : "warm");
        snprintf(row->type, sizeof row->type, "%s", quantized ? "int8" : "fp32");
        snprintf(row->model, sizeof row->model, "%s", slash && slash[1] ? slash + 1 : model);
        bench_row_times(row, p < 0 ? totals : seconds[p], b->o.rounds);
        row->least = row->fastest;
    }
    return VQ_OK;
}

static vq_status measure_model(run *b, const char *path)
{
    static double seconds[2][NUM_PHASES][BENCH_MAX_ROUNDS], totals[2][BENCH_MAX_ROUNDS];
    vq_model *model;
    vq_status status = vq_model_load(&model, path); /* also into the system's cache of files */
    if (status != VQ_OK) return status;
    const bool quantized = vq_model_is_quantized(model);
    vq_model_destroy(&model);
    memset(totals, 0, sizeof totals);
    for (int r = 0; r < b->o.rounds && status == VQ_OK; r++) {
        if (!make_folders(b)) return VQ_ERR_IO;
        for (int warm = 0; warm < 2 && status == VQ_OK; warm++) {
            double phases[NUM_PHASES] = {0};
            bench_progress(&b->o, r, (size_t)warm + 1, 2, path);
            status = measure(phases, b, path);
            for (int p = 0; p < NUM_PHASES; p++) totals[warm][r] += seconds[warm][p][r] = phases[p];
        }
        remove_folders(b);
    }
    bench_progress(&b->o, 0, 0, 0, NULL);
    for (int warm = 0; warm < 2 && status == VQ_OK; warm++)
        status = add_rows(b, path, quantized, !warm, seconds[warm], totals[warm]);
    return status;
}

static void print_table(const bench_report *r)
{
    printf("%s (%s), %g compute units: %s\n", r->device, r->driver, r->compute_units, r->caps);
    for (size_t i = 0; i < r->count; i += 1 + NUM_PHASES) {
        const bench_row *const row = &r->rows[i];
        if (!strcmp(row->kind, "cold"))
            printf("\n%s, %s\n  %-6s %10s %6s %10s %10s %10s %10s\n", row->model, row->type, "caches", "ms", "+-%",
                   "device", "model", "session", "first");
        printf("  %-6s %10.1f %6.1f", row->kind, 1e3 * row->median, 50 * (row->slowest - row->fastest) / row->median);
        for (size_t p = 1; p <= NUM_PHASES; p++) printf(" %10.1f", 1e3 * row[p].median);
        printf("\n");
    }
}

static vq_status run_all(run *b)
{
    vq_status status = VQ_OK;
    for (int i = 0; i < b->o.num_args && status == VQ_OK; i++) status = measure_model(b, b->o.args[i]);
    if (status != VQ_OK) return status;
    /* only now: what a device's threads and settings are would not follow into the processes */
    unsetenv("VITQ_CACHE_DIR");
    unsetenv("POCL_CACHE_DIR");
    vq_device *dev;
    status = vq_device_open(&dev, &(vq_device_params){.index = b->o.device, .cache_dir = ""});
    if (status != VQ_OK) return status;
    bench_report_begin(&b->report, dev, &b->o);
    vq_device_destroy(&dev);
    if (b->o.json || b->o.csv) return bench_report_print(&b->report, &b->o);
    print_table(&b->report);
    return VQ_OK;
}

int bench_cmd_startup(int argc, char **argv)
{
    run b = {.o = {.rounds = 3}};
    int code = bench_parse(&b.o, BENCH_STARTUP, &page, argc, argv);
    if (!code && !b.o.num_args) {
        fprintf(stderr, "vitq-bench startup: no model is named; 'vitq-bench startup --help' shows examples\n");
        code = 1 + BENCH_USAGE;
    }
    if (code) return code - 1;
    if (b.o.once) return (int)start_once(&b.o);
    const vq_status status = run_all(&b);
    remove_folders(&b);
    bench_report_free(&b.report);
    return (int)status;
}
