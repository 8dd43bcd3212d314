/* The command line: one table of options for all commands. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define MEASURES (BENCH_PEAKS | BENCH_OPS | BENCH_GEMM | BENCH_SWEEP | BENCH_MODEL | BENCH_TUNE)
#define ROUNDS   (MEASURES | BENCH_STARTUP)
#define PRINTS   (BENCH_PEAKS | BENCH_OPS | BENCH_GEMM | BENCH_SWEEP | BENCH_MODEL | BENCH_STARTUP)
#define SHAPED   (BENCH_OPS | BENCH_GEMM | BENCH_SWEEP | BENCH_TUNE)

/* What getopt_long returns: letters for options that have one, numbers for the others. */
enum {
    BITS = 256,
    TYPE,
    OPS,
    KINDS,
    VARIANTS,
    BATCHES,
    THRESHOLD,
    BEST,
    JSON,
    CSV,
    NO_VERIFY,
    DRY_RUN,
    SWEEP_BITS,
    WEIGHTS,
    LANES,
    ONCE
};

static const struct {
    const char *name, *value; /* value NULL: a flag */
    int id;
    unsigned commands;
    const char *about;
} options[] = {
    {"batch", "N", 'b', SHAPED, "images per run: M is multiplied by it (default 8)"},
    {"batches", "LIST", BATCHES, BENCH_MODEL, "images per run, one after another (default 1,8,32)"},
    {"bits", "wNaM", BITS, BENCH_OPS | BENCH_GEMM | BENCH_TUNE,
     "bits of weights and codes, 2 to 8 (default w8a8); below 8 some variants are faster"},
    {"bits", "N", SWEEP_BITS, BENCH_SWEEP, "bits of the quantizers, 2 to 8 (default 4); a codebook has 2^N levels"},
    {"candidates", "N", 'c', BENCH_SWEEP, "quantizers per call (default 16); errors of x go over it in passes of 16"},
    {"ops", "LIST", OPS, BENCH_OPS | BENCH_TUNE,
     "only ops with one of these texts in their names, e.g. gemm,attention"},
    {"type", "TYPE", TYPE, BENCH_GEMM, "int8, fp32 or all (default all)"},
    {"kinds", "LIST", KINDS, BENCH_SWEEP, "only kinds with one of these texts in their names, e.g. output,codebook"},
    {"variants", "LIST", VARIANTS, BENCH_PEAKS | BENCH_OPS | BENCH_GEMM | BENCH_SWEEP,
     "only kernel variants with one of these texts in their names, e.g. vnni,clblast"},
    {"rounds", "N", 'r', ROUNDS, "rounds over all of it, 1 to 99; the median of rounds is reported"},
    {"seconds", "X", 's', MEASURES, "time to measure for, per measurement and round"},
    {"device", "N", 'd', ROUNDS, "number of the device in 'vitq devices' (default 0)"},
    {"weights", "HOW", WEIGHTS, BENCH_MODEL | BENCH_STARTUP,
     "weights of up to 4 bits on the device: packed, two in a byte (default), or bytes"},
    {"lanes", "N", LANES, BENCH_MODEL,
     "queues that share the images of a batch, 1 to 8 (default: as many as the device has use for)"},
    {"no-verify", NULL, NO_VERIFY, BENCH_MODEL, "do not run the witness first, which is slow for large models"},
    {"threshold", "P", THRESHOLD, BENCH_COMPARE, "a row is a regression beyond this, e.g. 5% (default) or 0.05"},
    {"best", NULL, BEST, BENCH_COMPARE | BENCH_PLOT, "of every op and shape only its fastest variant"},
    {"dry-run", NULL, DRY_RUN, BENCH_TUNE, "print what is the fastest, write nothing"},
    {"once", NULL, ONCE, BENCH_STARTUP,
     "start in this process, with the caches as they are; seconds of the four phases"},
    {"output", "FILE", 'o', BENCH_PLOT, "write here instead of on stdout"},
    {"json", NULL, JSON, PRINTS, "print one JSON object on stdout"},
    {"csv", NULL, CSV, PRINTS, "print the same rows as CSV"},
    {"quiet", NULL, 'q', ROUNDS, "no progress line; there is none off a terminal either"},
    {"help", NULL, 'h', ~0u, "this text"},
};
enum { NUM_OPTIONS = sizeof options / sizeof options[0] };

static const char *const command_names[] = {"peaks",   "ops",  "gemm", "sweep",  "model",
                                            "compare", "plot", "tune", "startup"};

const char *bench_command_name(bench_command command)
{
    int i = 0;
    while (!(command >> i & 1)) i++;
    return command_names[i];
}

static bool fail(const bench_options *o, const char *option, const char *text, const char *what)
{
    fprintf(stderr, "vitq-bench %s: --%s %s: must be %s\n", bench_command_name(o->command), option, text, what);
    return false;
}

static bool to_int(int *out, const bench_options *o, const char *option, const char *text, int min, int max)
{
    char *end, what[64];
    const long value = strtol(text, &end, 10);
    snprintf(what, sizeof what, "a number from %d to %d", min, max);
    if (end == text || *end || value < min || value > max) return fail(o, option, text, what);
    *out = (int)value;
    return true;
}

static bool to_seconds(bench_options *o, const char *text)
{
    char *end;
    o->seconds = strtod(text, &end);
    if (end != text && !*end && o->seconds >= 0.001 && o->seconds <= 60) return true;
    return fail(o, "seconds", text, "a number from 0.001 to 60");
}

static bool to_threshold(bench_options *o, const char *text)
{
    char *end;
    const double value = strtod(text, &end);
    const bool percent = end != text && !strcmp(end, "%");
    o->threshold = percent ? value / 100 : value;
    if (end != text && (percent || !*end) && o->threshold >= 0 && o->threshold <= 10) return true;
    return fail(o, "threshold", text, "like 5% or 0.05, at most 1000%");
}

static bool to_bits(bench_options *o, const char *text)
{
    char rest[2];
    if (sscanf(text, "w%1da%1d%1s", &o->w_bits, &o->a_bits, rest) == 2 && o->w_bits >= 2 && o->w_bits <= 8 &&
        o->a_bits >= 2 && o->a_bits <= 8)
        return true;
    return fail(o, "bits", text, "like w4a8, 2 to 8 bits each");
}

static bool to_type(bench_options *o, const char *text)
{
    o->type = text;
    return !strcmp(text, "int8") || !strcmp(text, "fp32") || !strcmp(text, "all") ||
           fail(o, "type", text, "int8, fp32 or all");
}

static bool to_weights(bench_options *o, const char *text)
{
    o->weights = !strcmp(text, "bytes") ? VQ_WEIGHTS_BYTES : VQ_WEIGHTS_PACKED;
    return o->weights == VQ_WEIGHTS_BYTES || !strcmp(text, "packed") || fail(o, "weights", text, "packed or bytes");
}

static bool take(bench_options *o, int id, const char *text)
{
    switch (id) {
    case 'b': return to_int(&o->batch, o, "batch", text, 1, 4096);
    case 'c': return to_int(&o->candidates, o, "candidates", text, 1, 4096);
    case 'r': return to_int(&o->rounds, o, "rounds", text, 1, BENCH_MAX_ROUNDS);
    case 'd': return to_int(&o->device, o, "device", text, 0, 65535);
    case 's': return to_seconds(o, text);
    case SWEEP_BITS: return to_int(&o->bits, o, "bits", text, 2, 8);
    case BITS: return to_bits(o, text);
    case TYPE: return to_type(o, text);
    case WEIGHTS: return to_weights(o, text);
    case LANES: return to_int(&o->lanes, o, "lanes", text, 1, 8);
    case THRESHOLD: return to_threshold(o, text);
    case OPS: o->ops = text; break;
    case KINDS: o->kinds = text; break;
    case VARIANTS: o->variants = text; break;
    case BATCHES: o->batches = text; break;
    case 'o': o->output = text; break;
    case BEST: o->best = true; break;
    case NO_VERIFY: o->no_verify = true; break;
    case ONCE: o->once = true; break;
    case DRY_RUN: o->dry_run = true; break;
    case JSON: o->json = true; break;
    case CSV: o->csv = true; break;
    case 'q': o->quiet = true; break;
    case 'h': o->help = true; break;
    default: return false;
    }
    return true;
}

/* o still holds the defaults. */
static void print_options(const bench_options *o, bench_command command)
{
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        char left[40];
        if (!(options[i].commands & command)) continue;
        const bool letter = options[i].id < 256;
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", letter ? '-' : ' ', letter ? options[i].id : ' ',
                 letter ? "," : " ", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-22s %s", left, options[i].about);
        if (options[i].id == 'r') printf(" (default %d)", o->rounds);
        if (options[i].id == 's') printf(" (default %g)", o->seconds);
        printf("\n");
    }
}

static void print_page(const bench_options *o, bench_command command, const bench_page *page)
{
    printf("usage: vitq-bench %s %s\n\n%s\noptions:\n", bench_command_name(command), page->usage, page->about);
    print_options(o, command);
    printf("\n%s%s%sexamples:\n%s", page->columns ? "columns: " : "", page->columns ? page->columns : "",
           page->columns ? "\n" : "", page->examples);
}

int bench_parse(bench_options *o, bench_command command, const bench_page *page, int argc, char **argv)
{
    struct option longs[NUM_OPTIONS + 1] = {{0}};
    char shorts[2 * NUM_OPTIONS + 1] = "";
    size_t num_longs = 0, len = 0;
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        if (!(options[i].commands & command)) continue;
        longs[num_longs++] =
            (struct option){options[i].name, options[i].value ? required_argument : no_argument, NULL, options[i].id};
        if (options[i].id >= 256) continue;
        shorts[len++] = (char)options[i].id;
        if (options[i].value) shorts[len++] = ':';
    }
    o->command = command;
    bool ok = true;
    for (int c; ok && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == '?') fprintf(stderr, "'vitq-bench %s --help' lists the options\n", bench_command_name(command));
        ok = c != '?' && take(o, c, optarg);
    }
    if (!ok) return 1 + BENCH_USAGE;
    if (o->help) {
        print_page(o, command, page);
        return 1;
    }
    if (o->json && o->csv) {
        fprintf(stderr, "vitq-bench %s: --json or --csv, not both\n", bench_command_name(command));
        return 1 + BENCH_USAGE;
    }
    o->args = argv + optind;
    o->num_args = argc - optind;
    return 0;
}

bool bench_wanted(const char *list, const char *name)
{
    char part[64];
    for (const char *p = list; p && *p;) {
        const size_t len = strcspn(p, ",");
        snprintf(part, sizeof part, "%.*s", (int)len, p);
        if (*part && strstr(name, part)) return true;
        p += len + (p[len] == ',');
    }
    return !list;
}

void bench_progress(const bench_options *o, int round, size_t done, size_t total, const char *what)
{
    if (o->quiet || !isatty(STDERR_FILENO)) return;
    if (what)
        fprintf(stderr, "\rround %d of %d, %zu of %zu: %-32s", round + 1, o->rounds, done, total, what);
    else
        fprintf(stderr, "\r%72s\r", "");
}

int bench_by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
