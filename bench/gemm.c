/* vitq-bench gemm: every eligible variant on every shape, interleaved over rounds so that a change of the machine's
 * clock falls on all of them alike; the peak is measured again in every round. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { MAX_VARIANTS = 32, MAX_ROUNDS = 99 };

typedef struct options {
    int device, batch, rounds, w_bits, a_bits;
    double seconds;
    bool json, quiet, s8, f32;
    const char *variants; /* comma list of parts of names; NULL: all */
    bench_shapes shapes;
} options;

/* One variant on one shape: its rounds. */
typedef struct cell {
    vq_bench_type type;
    const char *variant;
    const bench_shape *shape;
    vq_bench_gemm_result result; /* of the last round */
    double median[MAX_ROUNDS];   /* seconds a run */
    double best;
    int done;
} cell;

typedef struct bench {
    options o;
    vq_device *dev;
    double peak[2]; /* GOP/s by vq_bench_type: the best of all rounds */
    cell *cells;
    size_t num_cells;
} bench;

static const char *const type_names[] = {"int8", "fp32"};

static void help(void)
{
    printf("usage: vitq-bench gemm [options] [SHAPES...]\n\n"
           "Times the matrix products of real models as vitq runs them: int8 products with the integer runtime's\n"
           "epilogue (requantization, table, residual sum), FP32 products with a bias. Every kernel variant that the\n"
           "device can run is verified against the plain-C witness first, then timed.\n\n"
           "SHAPES are names in bench/shapes (vit_tiny, vit_small, vit_base, swin_tiny, demo; of every\n"
           "patch and image size vit_{tiny,small,medium,base,large,huge}_family, deit_distilled, dinov2; default "
           "vit_tiny) or\n"
           "files with lines \"name M N K [codes|table|add|set]\", M for one image.\n\n"
           "options:\n"
           "  -b, --batch N        images per run: M is multiplied by it (default 8)\n"
           "      --bits wNaM      range of weights and codes, 2 to 8 bits (default w8a8); below 8 some variants are\n"
           "                       faster, as more products fit 16 bits\n"
           "      --type TYPE      int8, fp32 or all (default all)\n"
           "      --variants LIST  only variants with one of these texts in their names, e.g. vnni,clblast\n"
           "  -r, --rounds N       rounds over all of it (default 5); the median of rounds is reported\n"
           "  -s, --seconds X      time to measure for, per variant, shape and round (default 0.1)\n"
           "  -d, --device N       number of the device in 'vitq devices' (default 0)\n"
           "      --json           print one JSON object on stdout\n"
           "  -q, --quiet          no progress line\n"
           "  -h, --help           this text\n\n"
           "columns: us is the median time of a run over rounds, +-%% half the distance between the fastest and the\n"
           "slowest round, GOP/s 2*M*N*K by that time, peak the share of the most that multiply-adds on registers\n"
           "alone reached on this machine in this run (int8: the strongest dot-product instruction; fp32: fused\n"
           "multiply-adds).\n\n"
           "examples:\n"
           "  vitq-bench gemm                              ViT-Ti at batch 8\n"
           "  vitq-bench gemm --batch 1 vit_tiny vit_base  latency shapes of two models\n"
           "  vitq-bench gemm --type int8 --bits w4a4      4-bit layers\n"
           "  vitq-bench gemm --json demo > gemm.json      for a script\n");
}

/* ---- command line ------------------------------------------------------------------------------------------------ */

static bool to_bits(options *o, const char *text)
{
    char rest[2];
    if (sscanf(text, "w%1da%1d%1s", &o->w_bits, &o->a_bits, rest) == 2 && o->w_bits >= 2 && o->w_bits <= 8 &&
        o->a_bits >= 2 && o->a_bits <= 8)
        return true;
    fprintf(stderr, "vitq-bench gemm: --bits %s: must be like w4a8, 2 to 8 bits each\n", text);
    return false;
}

static bool to_type(options *o, const char *text)
{
    o->s8 = !strcmp(text, "int8") || !strcmp(text, "all");
    o->f32 = !strcmp(text, "fp32") || !strcmp(text, "all");
    if (o->s8 || o->f32) return true;
    fprintf(stderr, "vitq-bench gemm: --type %s: must be int8, fp32 or all\n", text);
    return false;
}

/* 0 to go on, else 1 + exit code. */
static int parse(options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"batch", required_argument, NULL, 'b'},
        {"bits", required_argument, NULL, 'w'},
        {"type", required_argument, NULL, 't'},
        {"variants", required_argument, NULL, 'v'},
        {"rounds", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"device", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *o = (options){.batch = 8, .rounds = 5, .w_bits = 8, .a_bits = 8, .seconds = 0.1, .s8 = true, .f32 = true};
    bool ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, "b:r:s:d:qh", longs, NULL)) != -1;) {
        switch (c) {
        case 'b': ok = bench_int(&o->batch, "gemm", "batch", optarg, 1, 4096); break;
        case 'r': ok = bench_int(&o->rounds, "gemm", "rounds", optarg, 1, MAX_ROUNDS); break;
        case 'd': ok = bench_int(&o->device, "gemm", "device", optarg, 0, 65535); break;
        case 's': ok = bench_seconds(&o->seconds, "gemm", optarg); break;
        case 'w': ok = to_bits(o, optarg); break;
        case 't': ok = to_type(o, optarg); break;
        case 'v': o->variants = optarg; break;
        case 'j': o->json = true; break;
        case 'q': o->quiet = true; break;
        case 'h': help(); return 1;
        default: fprintf(stderr, "'vitq-bench gemm --help' lists the options\n"); return 1 + BENCH_USAGE;
        }
    }
    if (ok && optind == argc) ok = bench_shapes_read(&o->shapes, "vit_tiny");
    for (int i = optind; ok && i < argc; i++) ok = bench_shapes_read(&o->shapes, argv[i]);
    return ok ? 0 : 1 + BENCH_USAGE;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static vq_status add_cells(bench *b, vq_bench_type type)
{
    const char *names[MAX_VARIANTS];
    int count;
    const vq_status status = vq_bench_variants(names, MAX_VARIANTS, &count, b->dev, type);
    if (status != VQ_OK) return status;
    const size_t shapes = b->o.shapes.count, most = b->num_cells + shapes * MAX_VARIANTS;
    cell *const grown = realloc(b->cells, most * sizeof *grown);
    if (!grown) {
        fprintf(stderr, "vitq-bench: out of memory for %zu measurements\n", most);
        return VQ_ERR_NO_MEMORY;
    }
    b->cells = grown;
    for (size_t i = 0; i < shapes; i++)
        for (int v = 0; v < count && v < MAX_VARIANTS; v++)
            if (bench_wanted(b->o.variants, names[v]))
                b->cells[b->num_cells++] = (cell){.type = type, .variant = names[v], .shape = &b->o.shapes.items[i]};
    return VQ_OK;
}

static vq_status measure(bench *b, cell *c)
{
    const vq_bench_gemm_params params = {.type = c->type,
                                         .variant = c->variant,
                                         .m = c->shape->m * b->o.batch,
                                         .n = c->shape->n,
                                         .k = c->shape->k,
                                         .epilogue = c->shape->epilogue,
                                         .w_bits = b->o.w_bits,
                                         .a_bits = b->o.a_bits,
                                         .seconds = b->o.seconds,
                                         .seed = (uint64_t)c->done + 1};
    const vq_status status = vq_bench_gemm(&c->result, b->dev, &params);
    if (status != VQ_OK) return status;
    if (!c->done || c->result.min < c->best) c->best = c->result.min;
    c->median[c->done++] = c->result.median;
    return VQ_OK;
}

static vq_status measure_peak(bench *b, vq_bench_type type)
{
    double gops;
    const vq_status status = vq_bench_peak(&gops, b->dev, type);
    if (status == VQ_OK && gops > b->peak[type]) b->peak[type] = gops;
    return status;
}

static vq_status measure_all(bench *b)
{
    vq_status status = VQ_OK;
    if (b->o.s8) status = add_cells(b, VQ_BENCH_S8);
    if (status == VQ_OK && b->o.f32) status = add_cells(b, VQ_BENCH_F32);
    if (status == VQ_OK && !b->num_cells) {
        fprintf(stderr, "vitq-bench gemm: no variant of this device has \"%s\" in its name\n", b->o.variants);
        return VQ_ERR_INVALID_ARG;
    }
    for (int r = 0; r < b->o.rounds; r++) {
        if (status == VQ_OK && b->o.s8) status = measure_peak(b, VQ_BENCH_S8);
        if (status == VQ_OK && b->o.f32) status = measure_peak(b, VQ_BENCH_F32);
        for (size_t i = 0; i < b->num_cells && status == VQ_OK; i++) {
            if (!b->o.quiet)
                fprintf(stderr, "\rround %d of %d, %zu of %zu: %-28s", r + 1, b->o.rounds, i + 1, b->num_cells,
                        b->cells[i].variant);
            status = measure(b, &b->cells[i]);
        }
    }
    if (!b->o.quiet) fprintf(stderr, "\r%60s\r", "");
    return status;
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static double gops_of(const bench *b, const cell *c, double seconds)
{
    return 2e-9 * c->shape->m * b->o.batch * c->shape->n * c->shape->k / seconds;
}

static void print_table(const bench *b)
{
    const vq_device_info *const info = vq_device_get_info(b->dev);
    const cell *last = NULL;
    printf("%s, %d compute units, batch %d, w%da%d\n", info->name, info->compute_units, b->o.batch, b->o.w_bits,
           b->o.a_bits);
    for (int type = 0; type < 2; type++)
        if (b->peak[type] > 0) printf("%s peak: %.0f GOP/s\n", type_names[type], b->peak[type]);
    for (size_t i = 0; i < b->num_cells; i++) {
        const cell *const c = &b->cells[i];
        const double median = c->median[c->done / 2], spread = (c->median[c->done - 1] - c->median[0]) / 2 / median;
        if (!last || last->shape != c->shape || last->type != c->type)
            printf("\n%s %s %s, M %d, N %d, K %d%s%s\n  %-26s %10s %7s %9s %6s\n", type_names[c->type], c->shape->model,
                   c->shape->name, c->shape->m * b->o.batch, c->shape->n, c->shape->k,
                   c->type == VQ_BENCH_S8 ? ", " : "",
                   c->type == VQ_BENCH_S8 ? bench_epilogue_name(c->shape->epilogue) : "", "variant", "us", "+-%",
                   "GOP/s", "peak");
        printf("  %-26s %10.1f %7.1f %9.1f %5.1f%%\n", c->variant, 1e6 * median, 100 * spread, gops_of(b, c, median),
               100 * gops_of(b, c, median) / b->peak[c->type]);
        last = c;
    }
}

static cJSON *cell_json(const bench *b, const cell *c)
{
    cJSON *const o = cJSON_CreateObject();
    const double median = c->median[c->done / 2];
    cJSON_AddStringToObject(o, "type", type_names[c->type]);
    cJSON_AddStringToObject(o, "variant", c->variant);
    cJSON_AddStringToObject(o, "model", c->shape->model);
    cJSON_AddStringToObject(o, "layer", c->shape->name);
    cJSON_AddNumberToObject(o, "m", c->shape->m * b->o.batch);
    cJSON_AddNumberToObject(o, "n", c->shape->n);
    cJSON_AddNumberToObject(o, "k", c->shape->k);
    if (c->type == VQ_BENCH_S8) cJSON_AddStringToObject(o, "epilogue", bench_epilogue_name(c->shape->epilogue));
    cJSON_AddNumberToObject(o, "seconds_median", median);
    cJSON_AddNumberToObject(o, "seconds_fastest_round", c->median[0]);
    cJSON_AddNumberToObject(o, "seconds_slowest_round", c->median[c->done - 1]);
    cJSON_AddNumberToObject(o, "seconds_min", c->best);
    cJSON_AddNumberToObject(o, "gops", gops_of(b, c, median));
    cJSON_AddNumberToObject(o, "share_of_peak", gops_of(b, c, median) / b->peak[c->type]);
    cJSON_AddNumberToObject(o, "verified_rows", c->result.verified_rows);
    cJSON_AddNumberToObject(o, "max_error", c->result.max_error);
    return o;
}

static vq_status print_json(const bench *b)
{
    cJSON *const root = bench_json_begin(b->dev);
    cJSON_AddNumberToObject(root, "batch", b->o.batch);
    cJSON_AddNumberToObject(root, "w_bits", b->o.w_bits);
    cJSON_AddNumberToObject(root, "a_bits", b->o.a_bits);
    cJSON_AddNumberToObject(root, "rounds", b->o.rounds);
    cJSON_AddNumberToObject(root, "peak_gops_int8", b->peak[VQ_BENCH_S8]);
    cJSON_AddNumberToObject(root, "peak_gops_fp32", b->peak[VQ_BENCH_F32]);
    cJSON *const list = cJSON_AddArrayToObject(root, "results");
    for (size_t i = 0; i < b->num_cells; i++) cJSON_AddItemToArray(list, cell_json(b, &b->cells[i]));
    return bench_json_end(root);
}

int bench_gemm(int argc, char **argv)
{
    bench b = {0};
    const int code = parse(&b.o, argc, argv);
    vq_status status = VQ_OK;
    if (code) goto done;
    status = vq_device_open(&b.dev, &(vq_device_params){.index = b.o.device});
    if (status == VQ_OK) status = measure_all(&b);
    if (status != VQ_OK) goto done;
    for (size_t i = 0; i < b.num_cells; i++)
        qsort(b.cells[i].median, (size_t)b.cells[i].done, sizeof(double), bench_by_size);
    if (b.o.json)
        status = print_json(&b);
    else
        print_table(&b);
done:
    free(b.cells);
    free(b.o.shapes.items);
    vq_device_destroy(&b.dev);
    return code ? code - 1 : (int)status;
}
