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
    "near those of the portable kernels. Images are noise, which takes the same time as photos.\n",
    "us is the median of the rounds' median times of a run, +-% half the distance between the fastest and the\n"
    "slowest round; GOP/s operations of the matrix products, share what they take at the device's peak of int8 or "
    "fp32\n"
    "multiply-adds, by the time taken; MB on the device, weights and activations; RSS the most memory the process had\n"
    "since the batch size before. Below: device time by kernel, of one run with a profiling queue.\n",
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
} job;

static vq_status one_image(job *j, vq_device *dev, bool witness, void *logits)
{
    vq_session *session;
    vq_status status =
        vq_session_create(&session, dev, j->model, &(vq_session_params){.max_batch = 1, .witness = witness});
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

static vq_status add_row(job *j, double *medians, double least, double device_bytes)
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
    row->device_bytes = device_bytes;
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
    vq_status status = vq_session_create(&session, j->b->dev, j->model, &(vq_session_params){.max_batch = j->batch});
    for (int i = 0; i < 2 && status == VQ_OK; i++) status = vq_session_run(session, j->images, j->batch, j->out);
    for (int r = 0; r < o->rounds && status == VQ_OK; r++) {
        bench_progress(o, r, (size_t)j->batch, (size_t)j->batch, j->name);
        status = time_round(&medians[r], &least, j, session);
    }
    bench_progress(o, 0, 0, 0, NULL);
    if (status == VQ_OK) status = add_row(j, medians, least, (double)vq_session_device_bytes(session));
    vq_session_destroy(&session);
    return status;
}

/* ---- where the time goes ----------------------------------------------------------------------------------------- */

static void add_kernel(void *user, const char *function, size_t launches, double seconds)
{
    job *const j = user;
    bench_row *const row = bench_report_add(&j->b->report, "profile");
    if (!row) return;
    fill_common(row, j, function);
    row->median = row->fastest = row->slowest = seconds / PROFILE_RUNS;
    row->launches = (double)launches / PROFILE_RUNS;
}

static int by_time(const void *a, const void *b)
{
    const double x = ((const bench_row *)a)->median, y = ((const bench_row *)b)->median;
    return x < y ? 1 : x > y ? -1 : 0;
}

static vq_status profile(job *j)
{
    run *const b = j->b;
    const size_t first = b->report.count;
    vq_session *session;
    double total = 0;
    vq_status status = vq_session_create(&session, b->profiled, j->model, &(vq_session_params){.max_batch = j->batch});
    if (status == VQ_OK) status = vq_session_run(session, j->images, j->batch, j->out);
    if (status == VQ_OK) status = vq_bench_profile(b->profiled, NULL, NULL);
    for (int i = 0; i < PROFILE_RUNS && status == VQ_OK; i++)
        status = vq_session_run(session, j->images, j->batch, j->out);
    if (status == VQ_OK) status = vq_bench_profile(b->profiled, add_kernel, j);
    vq_session_destroy(&session);
    for (size_t i = first; i < b->report.count; i++) total += b->report.rows[i].median;
    for (size_t i = first; i < b->report.count; i++) b->report.rows[i].time_share = b->report.rows[i].median / total;
    if (b->report.count > first)
        qsort(b->report.rows + first, b->report.count - first, sizeof *b->report.rows, by_time);
    return status;
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

static void print_table(const bench_report *r)
{
    printf("%s (%s), %g compute units: %s\n", r->device, r->driver, r->compute_units, r->caps);
    printf("peaks: int8 %.0f and fp32 %.0f GOP/s\n", r->peaks.s8, r->peaks.f32);
    for (size_t i = 0; i < r->count; i++) {
        const bench_row *const row = &r->rows[i];
        if (!strcmp(row->bench, "profile")) {
            printf("    %-28s %5.1f%% %10.1f us, %g launches\n", row->op, 100 * row->time_share, 1e6 * row->median,
                   row->launches);
            continue;
        }
        printf("\n%s, %s, batch %g\n  %10s %6s %9s %9s %7s %8s %8s\n  %10.1f %6.1f %9.1f %9.1f %6.1f%% %8.1f %8.1f\n",
               row->model, row->op, row->batch, "us", "+-%", "images/s", "GOP/s", "share", "MB", "RSS MB",
               1e6 * row->median, 50 * (row->slowest - row->fastest) / row->median, row->images_per_second, row->gops,
               100 * row->share_of_bound, 1e-6 * row->device_bytes, 1e-6 * row->peak_rss_bytes);
    }
}

static vq_status run_all(run *b)
{
    const vq_device_params params = {.index = b->o.device}, profiled = {.index = b->o.device, .profile = true};
    vq_status status = vq_device_open(&b->dev, &params);
    if (status == VQ_OK) status = vq_device_open(&b->profiled, &profiled);
    if (status == VQ_OK) status = vq_bench_peak(&b->report.peaks.s8, b->dev, VQ_BENCH_S8);
    if (status == VQ_OK) status = vq_bench_peak(&b->report.peaks.f32, b->dev, VQ_BENCH_F32);
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
