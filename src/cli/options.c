#include "cli/options.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"

#define ALL \
    (CLI_DEVICES | CLI_INSPECT | CLI_SENSITIVITY | CLI_CALIBRATE | CLI_EVAL | CLI_SWEEP | CLI_PREDICT | CLI_EXPORT)
#define RUN (CLI_CALIBRATE | CLI_SENSITIVITY | CLI_EVAL | CLI_SWEEP | CLI_PREDICT)

typedef enum option_kind { FLAG, TEXT, NUMBER, BITS, MODE, SEED, BYTES, WEIGHTS } option_kind;

typedef struct option {
    const char *name;
    char letter; /* 0: none */
    option_kind kind;
    int commands;
    size_t offset;
    int min, max;         /* NUMBER */
    const char *argument; /* NULL for a flag */
    const char *about;
} option;

#define AT(field) offsetof(cli_options, field)

/* A name may have several rows, for commands that mean different things by it. */
static const option options[] = {
    {"images", 'i', TEXT, CLI_CALIBRATE | CLI_SENSITIVITY | CLI_EVAL, AT(images), 0, 0, "PATH",
     "folder of photos (PNG, JPEG), one photo, or an IDX file, plain or gzip"},
    {"labels", 'l', TEXT, CLI_CALIBRATE | CLI_SENSITIVITY | CLI_EVAL, AT(labels), 0, 0, "FILE",
     "CSV with columns file,class_index, or an IDX file; decides which images and their order"},
    {"output", 'o', TEXT, CLI_CALIBRATE, AT(output), 0, 0, "FILE", "the model to write, by custom *.vitq.safetensors"},
    {"output", 'o', TEXT, CLI_EXPORT, AT(output), 0, 0, "FILE", "the ONNX file to write"},
    {"input", 0, TEXT, CLI_EXPORT, AT(input), 0, 0, "KIND",
     "normalized: float NCHW by the config's mean and std (default); u8: pixels, NHWC"},
    {"int4", 0, FLAG, CLI_EXPORT, AT(int4), 0, 0, NULL,
     "weights of 4 bits or less as INT4, half the size; needs a reader of operator set 21"},
    {"exact", 0, FLAG, CLI_EXPORT, AT(exact), 0, 0, NULL,
     "sums that no order changes: any runtime gives the codes of 'vitq eval --mode fake'; slower"},
    {"recipe", 'r', TEXT, CLI_CALIBRATE | CLI_SENSITIVITY, AT(recipe), 0, 0, "NAME",
     "how to calibrate (default repq): a name listed below, or a recipe FILE.json"},
    {"parts", 0, TEXT, CLI_CALIBRATE | CLI_SENSITIVITY, AT(parts), 0, 0, "K=V,...",
     "change parts of the recipe: gelu.quantizer=tanq,reparam=mosf"},
    {"search", 0, TEXT, CLI_CALIBRATE | CLI_SENSITIVITY, AT(search), 0, 0, "HOW",
     "full or fpcs: every search of the recipe that is one of them"},
    {"bits", 'b', BITS, CLI_CALIBRATE, 0, 2, 8, "wNaM", "bits of weights and activations, 2 to 8 each (default w4a4)"},
    {"budget", 0, TEXT, CLI_CALIBRATE, AT(budget), 0, 0, "B",
     "bits tensor by tensor: 4.5 on average, 4.5/5 of weights and activations, or 3.2MB of file"},
    {"sensitivity", 0, TEXT, CLI_CALIBRATE, AT(sensitivity), 0, 0, "FILE",
     "with --budget: what 'vitq sensitivity --json' printed, instead of measuring it again"},
    {"bits-range", 0, TEXT, CLI_SENSITIVITY, AT(bits_range), 0, 0, "N..M", "widths to measure (default 2..8)"},
    {"every-width", 0, FLAG, CLI_SENSITIVITY, AT(every_width), 0, 0, NULL,
     "compute the logits at odd widths too, instead of inferring them from the even ones; slower"},
    {"samples", 'n', NUMBER, CLI_CALIBRATE | CLI_SENSITIVITY, AT(samples), 1, 65536, "N",
     "images to calibrate with (default 32)"},
    {"seed", 's', SEED, CLI_CALIBRATE | CLI_SENSITIVITY, 0, 0, 0, "S",
     "draw the samples at random with this seed, not the first ones"},
    {"memory", 0, BYTES, CLI_CALIBRATE | CLI_SWEEP, AT(memory), 0, 0, "SIZE",
     "what calibration may take, 600MB or 2GiB (default 1.5GB): the result is the same, with a temporary file"},
    {"official-levels", 0, FLAG, CLI_CALIBRATE, AT(official_levels), 0, 0, NULL,
     "repq with the level counts of the published code; such a model runs as fake-quant only"},
    {"mode", 'm', MODE, CLI_EVAL | CLI_PREDICT, AT(mode), 0, 0, "MODE",
     "fp32, fake (quantized values in float) or int; default: int for a quantized model, else fp32"},
    {"images", 'i', TEXT, CLI_SWEEP, AT(images), 0, 0, "PATH",
     "what to calibrate with: folder of photos (PNG, JPEG), or an IDX file, plain or gzip"},
    {"val", 'v', TEXT, CLI_SWEEP, AT(val), 0, 0, "PATH", "what to judge with: images of the same kinds"},
    {"labels", 'l', TEXT, CLI_SWEEP, AT(labels), 0, 0, "FILE",
     "labels of --val: CSV with columns file,class_index, or an IDX file"},
    {"recipes", 'r', TEXT, CLI_SWEEP, AT(recipes), 0, 0, "LIST",
     "recipes, names (listed below) or FILE.json, with commas between (default repq)"},
    {"bits", 'b', TEXT, CLI_SWEEP, AT(bits_list), 0, 0, "LIST",
     "bits of weights and activations (default w4a4), or budgets: w4a4,budget=4.5,budget=3.2MB/5"},
    {"samples", 'n', TEXT, CLI_SWEEP, AT(samples_list), 0, 0, "LIST",
     "numbers of images to calibrate with (default 32)"},
    {"seeds", 's', TEXT, CLI_SWEEP, AT(seeds), 0, 0, "LIST",
     "seeds to draw them with: 0..4 or 1,2,7; 'first': the first ones in order (default)"},
    {"parts", 0, TEXT, CLI_SWEEP, AT(parts), 0, 0, "LIST",
     "changed parts of the recipes, ';' between values: 'none;gelu.quantizer=tanq,reparam=mosf'"},
    {"search", 0, TEXT, CLI_SWEEP, AT(search), 0, 0, "LIST", "none, full, fpcs: what searches of the recipes become"},
    {"modes", 'm', TEXT, CLI_SWEEP, AT(modes), 0, 0, "LIST", "how to judge each model: fake, int (default both)"},
    {"db", 0, TEXT, CLI_SWEEP, AT(db), 0, 0, "FILE", "SQLite database of the results, made if need be"},
    {"show", 0, FLAG, CLI_SWEEP, AT(show), 0, 0, NULL, "print what is in --db, also while others work on it"},
    {"csv", 0, FLAG, CLI_SWEEP, AT(csv), 0, 0, NULL, "with --show: comma-separated values with a header row"},
    {"retry", 0, FLAG, CLI_SWEEP, AT(retry), 0, 0, NULL, "try points again that failed before"},
    {"batch", 0, NUMBER, CLI_EVAL | CLI_PREDICT, AT(batch), 1, 4096, "N",
     "images per run (default: up to 32, as --memory allows)"},
    {"memory", 0, BYTES, CLI_EVAL | CLI_PREDICT, AT(memory), 0, 0, "SIZE",
     "what activations may take on the device where --batch is not given (default: a quarter of what is free)"},
    {"weights", 0, WEIGHTS, CLI_EVAL | CLI_PREDICT, AT(weights), 0, 0, "HOW",
     "weights of up to 4 bits in mode int: packed (two a byte, default) or bytes; the same logits"},
    {"batch", 0, NUMBER, CLI_SWEEP, AT(batch), 1, 4096, "N", "images per run (default 8)"},
    {"limit", 0, NUMBER, CLI_EVAL | CLI_SWEEP, AT(limit), 1, INT_MAX, "N", "only the first N labelled images"},
    {"logits", 0, TEXT, CLI_EVAL, AT(logits), 0, 0, "FILE",
     "write the logits as safetensors, one row per image: float32, or int32 (units of 2^-16) for int"},
    {"skip-bad", 0, FLAG, CLI_CALIBRATE | CLI_SENSITIVITY | CLI_EVAL, AT(skip_bad), 0, 0, NULL,
     "leave unreadable images out and count them, instead of failing"},
    {"witness", 0, FLAG, CLI_EVAL, AT(witness), 0, 0, NULL, "mode int in plain C on the host: same logits, slow"},
    {"topk", 'k', NUMBER, CLI_PREDICT, AT(topk), 1, 1000000, "N", "how many classes to print (default 5)"},
    {"probe", 0, FLAG, CLI_DEVICES, AT(probe), 0, 0, NULL, "open each device and try what its kernels may use"},
    {"device", 'd', NUMBER, RUN, AT(device), 0, 65535, "N", "number of the device in 'vitq devices' (default 0)"},
    {"kernels", 0, TEXT, RUN | CLI_DEVICES, AT(kernels), 0, 0, "NAMES",
     "'portable', 'wide' or variant names with commas; also $VITQ_KERNELS"},
    {"json", 0, FLAG, ALL, AT(json), 0, 0, NULL, "print one JSON object on stdout"},
    {"quiet", 'q', FLAG, ALL, AT(quiet), 0, 0, NULL,
     "no progress line, no warnings; calibrate and export print nothing"},
    {"help", 'h', FLAG, ALL, AT(help), 0, 0, NULL, "print this text"},
};

enum { NUM_OPTIONS = sizeof options / sizeof options[0] };

static const struct {
    cli_command command;
    const char *name;
} commands[] = {{CLI_DEVICES, "devices"},         {CLI_INSPECT, "inspect"}, {CLI_CALIBRATE, "calibrate"},
                {CLI_SENSITIVITY, "sensitivity"}, {CLI_EVAL, "eval"},       {CLI_SWEEP, "sweep"},
                {CLI_PREDICT, "predict"},         {CLI_EXPORT, "export"}};

enum { NUM_COMMANDS = sizeof commands / sizeof commands[0] };

const char *cli_command_name(cli_command command)
{
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (commands[i].command == command) return commands[i].name;
    return "";
}

cli_command cli_command_find(const char *name)
{
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return commands[i].command;
    return 0;
}

void cli_options_print(FILE *out, cli_command command)
{
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const option *const o = &options[i];
        char left[48], letter[4] = "  ";
        if (!(o->commands & (int)command)) continue;
        if (o->letter) snprintf(letter, sizeof letter, "-%c", o->letter);
        snprintf(left, sizeof left, "%s --%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        fprintf(out, "  %-22s %s\n", left, o->about);
    }
}

/* ---- nearest word --------------------------------------------------------------------------------------------------
 */

static int min3(int a, int b, int c)
{
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to insert, delete, replace or swap; words longer than the table count as far apart. */
static int edit_distance(const char *a, const char *b)
{
    enum { MAX = 24 };
    int d[MAX + 1][MAX + 1];
    const size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX) return INT_MAX;
    for (size_t i = 0; i <= na; i++) d[i][0] = (int)i;
    for (size_t j = 0; j <= nb; j++) d[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    return d[na][nb];
}

const char *cli_nearest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    int best_distance = (int)(strlen(word) / 3) + 2; /* further off it is no typing mistake */
    for (; *candidates; candidates++) {
        const size_t n = strlen(word);
        const bool begins = n >= 3 && strncmp(word, *candidates, n) == 0;
        const int distance = begins ? 1 : edit_distance(word, *candidates);
        if (distance < best_distance) {
            best_distance = distance;
            best = *candidates;
        }
    }
    return best;
}

/* ---- values --------------------------------------------------------------------------------------------------------
 */

static bool parse_long(long long *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && *end == 0 && errno == 0 && text[0] != ' ';
}

static int set_number(cli_options *out, const option *o, const char *text)
{
    long long v;
    if (!parse_long(&v, text)) return cli_fail(CLI_USAGE, "--%s: '%s' is not a whole number", o->name, text);
    if (v < o->min || v > o->max) {
        if (o->max == INT_MAX)
            return cli_fail(VQ_ERR_INVALID_ARG, "--%s: %s is out of range, must be at least %d", o->name, text, o->min);
        return cli_fail(VQ_ERR_INVALID_ARG, "--%s: %s is out of range, must be %d to %d", o->name, text, o->min,
                        o->max);
    }
    *(int *)((char *)out + o->offset) = (int)v;
    return 0;
}

static int set_bits(cli_options *out, const option *o, const char *text)
{
    char behind;
    int w, a;
    if (strlen(text) > 8 || strpbrk(text, " \t+-") || sscanf(text, "%*1[wW]%2d%*1[aA]%2d%c", &w, &a, &behind) != 2)
        return cli_fail(CLI_USAGE, "--bits: '%s' is not of the form w4a4 (bits of weights, bits of activations)", text);
    if (w < o->min || w > o->max || a < o->min || a > o->max)
        return cli_fail(VQ_ERR_INVALID_ARG, "--bits: %s is out of range, both must be %d to %d", text, o->min, o->max);
    out->w_bits = w;
    out->a_bits = a;
    out->bits_given = true;
    return 0;
}

static int set_mode(cli_options *out, const char *text)
{
    static const vq_mode modes[] = {VQ_MODE_FP32, VQ_MODE_FAKE, VQ_MODE_INT};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(text, vq_mode_name(modes[i])) != 0) continue;
        out->mode = modes[i];
        return 0;
    }
    return cli_fail(CLI_USAGE, "--mode: '%s' is not one of fp32, fake, int", text);
}

static int set_weights(cli_options *out, const char *text)
{
    if (strcmp(text, "packed") == 0)
        out->weights = VQ_WEIGHTS_PACKED;
    else if (strcmp(text, "bytes") == 0)
        out->weights = VQ_WEIGHTS_BYTES;
    else
        return cli_fail(CLI_USAGE, "--weights: '%s' is not one of packed, bytes", text);
    return 0;
}

static int set_seed(cli_options *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    out->seed = strtoull(text, &end, 10);
    out->seeded = true;
    if (end == text || *end || errno || text[0] < '0' || text[0] > '9')
        return cli_fail(CLI_USAGE, "--seed: '%s' is not a whole number from 0 to 2^64-1", text);
    return 0;
}

/* "600MB", "1.5GB", "512MiB". */
static int set_bytes(cli_options *out, const option *o, const char *text)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};
    char *end = NULL;
    const double n = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(end, units[i].name) != 0) continue;
        if (text[0] < '0' || text[0] > '9' || !(n * units[i].bytes >= 1) || n * units[i].bytes > 0x1p52)
            return cli_fail(VQ_ERR_INVALID_ARG, "--%s: %s is out of range", o->name, text);
        *(size_t *)((char *)out + o->offset) = (size_t)(n * units[i].bytes);
        return 0;
    }
    return cli_fail(CLI_USAGE, "--%s: '%s' is not a size such as 600MB, 1.5GB or 512MiB", o->name, text);
}

static int set_value(cli_options *out, const option *o, const char *text)
{
    switch (o->kind) {
    case FLAG: *(bool *)((char *)out + o->offset) = true; return 0;
    case TEXT:
        if (!*text) return cli_fail(CLI_USAGE, "--%s: is empty", o->name);
        *(const char **)((char *)out + o->offset) = text;
        return 0;
    case NUMBER: return set_number(out, o, text);
    case BITS: return set_bits(out, o, text);
    case MODE: return set_mode(out, text);
    case WEIGHTS: return set_weights(out, text);
    case SEED: return set_seed(out, text);
    case BYTES: return set_bytes(out, o, text);
    }
    return 0;
}

/* ---- parsing -------------------------------------------------------------------------------------------------------
 */

/* word is without its dashes and "=value": length n. The command's own row where it has one, else any other's. */
static const option *find_option(cli_command command, const char *word, size_t n, bool letter)
{
    const option *found = NULL;
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const option *const o = &options[i];
        const bool same = letter ? o->letter == word[0] : strncmp(o->name, word, n) == 0 && !o->name[n];
        if (same && (!found || o->commands & (int)command)) found = o;
    }
    return found;
}

static int unknown_option(cli_command command, const char *arg)
{
    const char *names[NUM_OPTIONS + 1];
    const char *const word = arg + (arg[1] == '-' ? 2 : 1), *nearest;
    const int length = (int)strcspn(arg, "=");
    char plain[32];
    int n = 0;
    for (int i = 0; i < NUM_OPTIONS; i++)
        if (options[i].commands & (int)command) names[n++] = options[i].name;
    names[n] = NULL;
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(word, "="), word);
    nearest = cli_nearest(plain, names);
    if (nearest)
        return cli_fail(CLI_USAGE, "%s: unknown option '%.*s'; did you mean '--%s'?", cli_command_name(command), length,
                        arg, nearest);
    return cli_fail(CLI_USAGE, "%s: unknown option '%.*s'; 'vitq %s --help' lists them", cli_command_name(command),
                    length, arg, cli_command_name(command));
}

static int wrong_command(cli_command command, const option *o)
{
    char owners[64] = "";
    for (int i = 0; i < NUM_COMMANDS; i++) {
        if (!(o->commands & (int)commands[i].command)) continue;
        const size_t used = strlen(owners);
        snprintf(owners + used, sizeof owners - used, "%s%s", used ? ", " : "", commands[i].name);
    }
    return cli_fail(CLI_USAGE, "%s: takes no --%s; it belongs to %s", cli_command_name(command), o->name, owners);
}

/* One option at argv[*at]; *at moves on over a value of its own. */
static int parse_option(cli_options *out, int argc, char **argv, int *at)
{
    const char *const arg = argv[*at];
    const bool letter = arg[1] != '-';
    const char *const word = arg + (letter ? 1 : 2);
    const size_t length = letter ? 1 : strcspn(word, "=");
    const char *value = word[length] ? word + length : NULL;
    const option *const o = find_option(out->command, word, length, letter);
    if (value && *value == '=') value++;
    if (!o) return unknown_option(out->command, arg);
    if (!(o->commands & (int)out->command)) return wrong_command(out->command, o);
    if (o->kind == FLAG && value) return cli_fail(CLI_USAGE, "--%s: takes no value, '%s' was given", o->name, value);
    if (o->kind != FLAG && !value) {
        if (*at + 1 >= argc) return cli_fail(CLI_USAGE, "--%s: needs a value, %s", o->name, o->argument);
        value = argv[++*at];
    }
    return set_value(out, o, value);
}

int cli_options_parse(cli_options *out, cli_command command, int argc, char **argv)
{
    bool only_args = false;
    *out = (cli_options){.command = command, .samples = 32, .topk = 5, .w_bits = 4, .a_bits = 4};
    out->args = argv + 2;
    for (int i = 2; i < argc; i++) {
        char *const arg = argv[i];
        if (!only_args && strcmp(arg, "--") == 0) {
            only_args = true;
        } else if (only_args || arg[0] != '-' || !arg[1]) {
            out->args[out->num_args++] = arg; /* never ahead of i */
        } else {
            const int code = parse_option(out, argc, argv, &i);
            if (code) return code;
            if (out->help) return 0;
        }
    }
    return 0;
}
