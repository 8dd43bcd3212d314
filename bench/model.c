/* vitq-bench model: whole models over batch sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "vitq/session.h"

enum { MAX_BATCHES = 16, PROFILE_RUNS = 3, MAX_SAMPLES = 2000 };
#define FP32_BOUND 1e-3

static const bench_page page = {
    "[options] FILE...",
    "Times whole models, pixels to logits: FP32 ones (a folder with model.safetensors and config.json) and quantized\n"
    "ones (.vitq.safetensors, as 'vitq calibrate' writes them, of any bits), for several batch sizes. The logits of "
    "one\n"
    "image are verified first: of a quantized model they must equal those of the plain-C witness, of an FP32 model be\n"
    "near those of the portable kernels. Images are noise, which takes as long as photos do.\n",
    "us is the median of the rounds' median times of a run, +-% half the distance between the fastest and the\n"
    "slowest round; GOP/s operations of the matrix products, share what they take at the device's peak of int8 or "
    "fp32\n"
    "multiply-adds, by the time taken; MB on the device, weights and activations; RSS the most memory the process had\n"
    "since the batch size before. Then the kernels of a run and the bytes it moves, and what both would be if every\n"
    "kernel did one thing, counted from the graph. Below: device time by op, of runs with a profiling queue; bound is\n"
    "what limits it, share the time at that limit by the time taken.\n",
    "  vitq-bench model models/fashion_vit                  the bundled model, FP32\n"
    "  vitq calibrate MODEL -i PHOTOS -o w4a4.vitq.safetensors --bits w4a4\n"
    "  vitq-bench model MODEL w4a4.vitq.safetensors         FP32 beside 4 bits\n"
    "  vitq-bench model --batches 1 --json FILE > one.json  latency, for a script\n"};

typedef struct run {
    bench_options o;
    vq_device *dev, *profiled, *portable;
    int batches[MAX_BATCHES], num_batches;
    bench_report report;
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Begins a new maximum of the process's memory, where the system can (Linux). */
static void reset_peak_memory(void)
{
    FILE *const f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* Bytes; NAN where the system does not say. */
static double peak_memory(void)
{
    char line[128];
    double kilobytes = NAN;
    FILE *const f = fopen("/proc/self/status", "r");
    while (f && isnan(kilobytes) && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6)) kilobytes = strtod(line + 6, NULL);
    if (f) fclose(f);
    return kilobytes * 1024;
}

static bool parse_batches(run *b)
{
    const char *text = b->o.batches ? b->o.batches : "1,8,32";
    while (*text) {
        char *end;
        const long value = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || value < 1 || value > 4096 || b->num_batches == MAX_BATCHES) {
            fprintf(stderr, "vitq-bench model: --batches %s: must be up to %d numbers from 1 to 4096, like 1,8,32\n",
                    b->o.batches, MAX_BATCHES);
            return false;
        }
        b->batches[b->num_batches++] = (int)value;
        text = end + (*end == ',');
    }
    if (!b->num_batches) fprintf(stderr, "vitq-bench model: --batches is empty\n");
    return b->num_batches > 0;
}

/* ---- one model --------------------------------------------------------------------------------------------------- */

typedef struct job {
    run *b;
    const vq_model *model;
    const char *name;
    int batch;
    size_t pixels, logits; /* of an image: bytes, numbers */
    uint8_t *images;
    float *out; /* or s32 */
    size_t verified;
    double max_error;
    size_t first;                            /* of the profile's rows */
    double launches, activations, constants; /* of a run; the last two bytes */
    double apart_launches, apart_bytes;
} job;

static vq_status open_session(vq_session **session, const job *j, vq_device *dev, int batch)
{
    const vq_session_params params = {.max_batch = batch, .weights = j->b->o.weights, .lanes = j->b->o.lanes};
    return vq_session_create(session, dev, j->model, &params);
}

static vq_status one_image(job *j, vq_device *dev, bool witness, void *logits)
{
    vq_session *session;
    vq_status status =
        witness ? vq_session_create(&session, NULL, j->model, &(vq_session_params){.max_batch = 1, .witness = true})
                : open_session(&session, j, dev, 1);
    if (status == VQ_OK) status = vq_session_run(session, j->images, 1, logits);
    vq_session_destroy(&session);
    return status;
}

static vq_status compare(job *j, const float *want)
{
    double size = 0;
    j->verified = j->logits;
    j->max_error = 0;
    if (vq_model_is_quantized(j->model)) {
        if (!memcmp(j->out, want, j->logits * sizeof *want)) return VQ_OK;
        fprintf(stderr, "vitq-bench: %s: the device's logits differ from the witness's\n", j->name);
        return VQ_ERR_DEVICE;
    }
    for (size_t i = 0; i < j->logits; i++) size = fmax(size, fabs((double)want[i]));
    for (size_t i = 0; i < j->logits; i++)
        j->max_error = fmax(j->max_error, fabs((double)j->out[i] - (double)want[i]) / fmax(size, 1e-30));
    if (j->max_error < FP32_BOUND) return VQ_OK;
    fprintf(stderr, "vitq-bench: %s: the logits are off by %g of the largest from those of the portable kernels\n",
            j->name, j->max_error);
    return VQ_ERR_DEVICE;
}

static vq_status verify(job *j)
{
    run *const b = j->b;
    const bool witness = vq_model_is_quantized(j->model);
    vq_status status = VQ_OK;
    if (b->o.no_verify) return VQ_OK;
    float *const want = calloc(j->logits, sizeof *want);
    if (!want) return VQ_ERR_NO_MEMORY;
    if (!witness && !b->portable)
        status = vq_device_open(&b->portable, &(vq_device_params){.index = b->o.device, .kernels = "portable"});
    if (status == VQ_OK) status = one_image(j, b->portable, witness, want);
    if (status == VQ_OK) status = one_image(j, b->dev, false, j->out);
    if (status == VQ_OK) status = compare(j, want);
    free(want);
    return status;
}

/* Median of the runs of a round. */
static vq_status time_round(double *median, double *least, job *j, vq_session *session)
{
    static double times[MAX_SAMPLES];
    int count = 0;
    for (const double start = now(); count < MAX_SAMPLES && (count < 3 || now() - start < j->b->o.seconds);) {
        const double begin = now();
        const vq_status status = vq_session_run(session, j->images, j->batch, j->out);
        if (status != VQ_OK) return status;
        times[count++] = now() - begin;
    }
    qsort(times, (size_t)count, sizeof *times, bench_by_size);
    *median = times[count / 2];
    *least = fmin(*least, times[0]);
    return VQ_OK;
}

static void fill_common(bench_row *row, const job *j, const char *op)
{
    const bool quantized = vq_model_is_quantized(j->model);
    snprintf(row->op, sizeof row->op, "%s", op);
    snprintf(row->model, sizeof row->model, "%s", j->name);
    snprintf(row->type, sizeof row->type, "%s", quantized ? "int8" : "fp32");
    row->batch = j->batch;
}

static vq_status add_row(job *j, double *medians, double least, const vq_session *session)
{
    bench_report *const r = &j->b->report;
    double ops;
    const vq_status status = vq_bench_model_ops(&ops, j->model);
    bench_row *const row = status == VQ_OK ? bench_report_add(r, "model") : NULL;
    if (!row) return status == VQ_OK ? VQ_ERR_NO_MEMORY : status;
    fill_common(row, j, vq_model_is_quantized(j->model) ? "int" : "fp32");
    bench_row_times(row, medians, j->b->o.rounds);
    row->least = least;
    row->ops = ops * j->batch;
    row->images_per_second = j->batch / row->median;
    row->device_bytes = (double)vq_session_device_bytes(session);
    row->model_bytes = (double)vq_session_model_bytes(session);
    row->peak_rss_bytes = peak_memory();
    row->verified = (double)j->verified;
    row->max_error = j->max_error;
    bench_row_bound(row, &r->peaks);
    return VQ_OK;
}

static vq_status measure(job *j)
{
    const bench_options *const o = &j->b->o;
    double medians[BENCH_MAX_ROUNDS], least = INFINITY;
    vq_session *session;
    reset_peak_memory();
    vq_status status = open_session(&session, j, j->b->dev, j->batch);
    for (int i = 0; i < 2 && status == VQ_OK; i++) status = vq_session_run(session, j->images, j->batch, j->out);
    for (int r = 0; r < o->rounds && status == VQ_OK; r++) {
        bench_progress(o, r, (size_t)j->batch, (size_t)j->batch, j->name);
        status = time_round(&medians[r], &least, j, session);
    }
    bench_progress(o, 0, 0, 0, NULL);
    if (status == VQ_OK) status = add_row(j, medians, least, session);
    vq_session_destroy(&session);
    return status;
}

/* ---- where the time goes ----------------------------------------------------------------------------------------- */

/* The row of steps with this op and kind, behind `first`; NULL after a line on stderr. */
static bench_row *row_of(job *j, const vq_bench_step *step)
{
    bench_report *const r = &j->b->report;
    for (size_t i = j->first; i < r->count; i++)
        if (!strcmp(r->rows[i].op, step->op) && !strcmp(r->rows[i].kind, step->kind)) return &r->rows[i];
    bench_row *const row = bench_report_add(r, "profile");
    if (!row) return NULL;
    fill_common(row, j, step->op);
    snprintf(row->kind, sizeof row->kind, "%s", step->kind);
    row->median = row->launches = row->ops = row->bytes = row->memory_seconds = row->compute_seconds = 0;
    row->bound_seconds = 0;
    return row;
}

/* A step is bound by what takes longer: its products at the peak, or its bytes at the bandwidth of a copy that large.
 * An op's bound is the sum of its steps'. */
static void add_step(void *user, const vq_bench_step *step)
{
    job *const j = user;
    const bench_peaks *const p = &j->b->report.peaks;
    const double peak = step->type == VQ_BENCH_S8 ? p->s8 : p->f32, bytes = step->bytes + step->constants;
    const double gbps = bench_bandwidth(p, bytes);
    const double compute = peak > 0 ? 1e-9 * step->operations / peak : 0, memory = gbps > 0 ? 1e-9 * bytes / gbps : 0;
    j->launches += step->launches;
    j->activations += step->bytes;
    j->constants += step->constants;
    j->apart_launches += step->apart_launches;
    j->apart_bytes += step->apart_bytes;
    bench_row *const row = row_of(j, step);
    if (!row) return;
    row->median += step->seconds;
    row->launches += step->launches;
    row->ops += step->operations;
    row->bytes += bytes;
    row->compute_seconds += compute;
    row->memory_seconds += memory;
    row->bound_seconds += fmax(compute, memory);
}

static int by_time(const void *a, const void *b)
{
    const double x = ((const bench_row *)a)->median, y = ((const bench_row *)b)->median;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void finish_profile(job *j)
{
    bench_report *const r = &j->b->report;
    double total = 0;
    for (size_t i = j->first; i < r->count; i++) total += r->rows[i].median;
    for (size_t i = j->first; i < r->count; i++) {
        bench_row *const row = &r->rows[i];
        row->fastest = row->slowest = row->median;
        row->time_share = row->median / total;
        row->share_of_bound = row->bound_seconds / row->median;
        snprintf(row->bound, sizeof row->bound, "%s",
                 row->memory_seconds > row->compute_seconds ? "memory" : row->type);
    }
    qsort(r->rows + j->first, r->count - j->first, sizeof *r->rows, by_time);
}

/* Kernels and bytes of a run go to the model's row, which lies before those of the profile. */
static void finish_counts(job *j)
{
    bench_row *const row = &j->b->report.rows[j->first - 1];
    row->launches = j->launches;
    row->bytes = j->activations + j->constants;
    row->unfused_launches = j->apart_launches;
    row->unfused_bytes = j->apart_bytes + j->constants;
}

static vq_status profile(job *j)
{
    vq_session *session;
    j->first = j->b->report.count;
    j->launches = j->activations = j->constants = j->apart_launches = j->apart_bytes = 0;
    vq_status status = open_session(&session, j, j->b->profiled, j->batch);
    if (status == VQ_OK) status = vq_bench_steps(session, j->images, j->batch, PROFILE_RUNS, add_step, j);
    vq_session_destroy(&session);
    if (status != VQ_OK) return status;
    finish_profile(j);
    finish_counts(j);
    return VQ_OK;
}

static vq_status measure_model(run *b, const char *path)
{
    vq_model *model;
    int most = 1;
    vq_status status = vq_model_load(&model, path);
    if (status != VQ_OK) return status;
    const vq_preprocess *const pre = vq_model_preprocess(model);
    const char *const slash = strrchr(path, '/');
    job j = {.b = b, .model = model, .name = slash && slash[1] ? slash + 1 : path};
    for (int i = 0; i < b->num_batches; i++) most = b->batches[i] > most ? b->batches[i] : most;
    j.pixels = (size_t)pre->height * (size_t)pre->width * (size_t)pre->chans;
    j.logits = (size_t)vq_model_num_classes(model);
    j.images = malloc(j.pixels * (size_t)most);
    j.out = calloc(j.logits * (size_t)most, sizeof *j.out);
    if (!j.images || !j.out) {
        fprintf(stderr, "vitq-bench: out of memory for %d images\n", most);
        status = VQ_ERR_NO_MEMORY;
    } else {
        uint32_t noise = 12345;
        for (size_t i = 0; i < j.pixels * (size_t)most; i++)
            j.images[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
        status = verify(&j);
    }
    for (int i = 0; i < b->num_batches && status == VQ_OK; i++) {
        j.batch = b->batches[i];
        status = measure(&j);
        if (status == VQ_OK) status = profile(&j);
    }
    free(j.images);
    free(j.out);
    vq_model_destroy(&model);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static void print_counts(const bench_row *row)
{
    printf("  %g kernels and %.2f MB an image (activations read and written, constants; counted)\n", row->launches,
           1e-6 * row->bytes / row->batch);
    if (isfinite(row->unfused_launches))
        printf("  each doing one thing: %g kernels and %.2f MB an image (counted, not measured)\n",
               row->unfused_launches, 1e-6 * row->unfused_bytes / row->batch);
}

static void print_profile(const bench_row *row, bool head)
{
    char name[64];
    if (head) printf("    %-24s %6s %10s %9s %8s %7s\n", "op", "time", "us", "launches", "bound", "share");
    snprintf(name, sizeof name, "%s%s%s", row->op, *row->kind ? " " : "", row->kind);
    printf("    %-24s %5.1f%% %10.1f %9g %8s %6.1f%%\n", name, 100 * row->time_share, 1e6 * row->median, row->launches,
           row->bound, 100 * row->share_of_bound);
}

static void print_model(const bench_row *row)
{
    printf("\n%s, %s, batch %g\n  %10s %6s %9s %9s %7s %8s %8s\n  %10.1f %6.1f %9.1f %9.1f %6.1f%% %8.1f %8.1f\n",
           row->model, row->op, row->batch, "us", "+-%", "images/s", "GOP/s", "share", "MB", "RSS MB",
           1e6 * row->median, 50 * (row->slowest - row->fastest) / row->median, row->images_per_second, row->gops,
           100 * row->share_of_bound, 1e-6 * row->device_bytes, 1e-6 * row->peak_rss_bytes);
    printf("  on the device: %.2f MB of model, %.2f MB of activations\n", 1e-6 * row->model_bytes,
           1e-6 * (row->device_bytes - row->model_bytes));
    print_counts(row);
}

static void print_table(const bench_report *r)
{
    printf("%s (%s), %g compute units: %s\n", r->device, r->driver, r->compute_units, r->caps);
    bench_print_peaks(&r->peaks);
    for (size_t i = 0; i < r->count; i++) {
        if (!strcmp(r->rows[i].bench, "profile"))
            print_profile(&r->rows[i], !strcmp(r->rows[i - 1].bench, "model"));
        else
            print_model(&r->rows[i]);
    }
}

static vq_status run_all(run *b)
{
    const vq_device_params params = {.index = b->o.device}, profiled = {.index = b->o.device, .profile = true};
    vq_status status = vq_device_open(&b->dev, &params);
    if (status == VQ_OK) status = vq_device_open(&b->profiled, &profiled);
    if (status == VQ_OK) status = bench_peaks_measure(&b->report.peaks, b->dev, b->o.device);
    if (status != VQ_OK) return status;
    bench_report_begin(&b->report, b->dev, &b->o);
    for (int i = 0; i < b->o.num_args && status == VQ_OK; i++) status = measure_model(b, b->o.args[i]);
    if (status != VQ_OK) return status;
    if (b->o.json || b->o.csv) return bench_report_print(&b->report, &b->o);
    print_table(&b->report);
    return VQ_OK;
}

int bench_cmd_model(int argc, char **argv)
{
    run b = {.o = {.rounds = 3, .seconds = 0.5}};
    int code = bench_parse(&b.o, BENCH_MODEL, &page, argc, argv);
    if (!code && !b.o.num_args) {
        fprintf(stderr, "vitq-bench model: no model is named; 'vitq-bench model --help' shows examples\n");
        code = 1 + BENCH_USAGE;
    }
    if (!code && !parse_batches(&b)) code = 1 + BENCH_USAGE;
    const vq_status status = code ? VQ_OK : run_all(&b);
    bench_report_free(&b.report);
    vq_device_destroy(&b.portable);
    vq_device_destroy(&b.profiled);
    vq_device_destroy(&b.dev);
    return code ? code - 1 : (int)status;
}
