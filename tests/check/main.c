/* check: every kernel variant of this device against its witness.
 *
 *     check [--list] [--device N] [--case PATTERN] [--bench] [--duration MS] [--exact] [--max-work N] [--repeat N]
 *           [--selftest] [--verbose] [seed]
 *
 * PATTERN is "variant" or "variant/case" with shell wildcards. Exit status: 0 all passed, 1 some failed, 2 command
 * line, 77 no OpenCL device. */
#include "check_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*fn)(check *ck);
} tests[] = {
#define CHECK_TEST(name) {#name, check_##name},
    CHECK_TESTS
#undef CHECK_TEST
};

static int usage(void)
{
    fprintf(stderr, "usage: check [--list] [--device N] [--case PATTERN] [--bench] [--duration MS] [--exact]\n"
                    "             [--max-work N] [--repeat N] [--selftest] [--verbose] [seed]\n");
    return 2;
}

typedef struct options {
    check ck;
    int repeat;
    bool selftest;
} options;

/* A flag without a value: true where it is one. */
static bool parse_flag(options *o, const char *arg)
{
    if (!strcmp(arg, "--list")) return o->ck.list = true;
    if (!strcmp(arg, "--bench")) return o->ck.bench = true;
    if (!strcmp(arg, "--exact")) return o->ck.exact = true;
    if (!strcmp(arg, "--verbose")) return o->ck.verbose = true;
    if (!strcmp(arg, "--selftest")) return o->selftest = true;
    return false;
}

static bool parse_value(options *o, const char *arg, const char *value)
{
    if (!strcmp(arg, "--case")) {
        o->ck.pattern = value;
        return true;
    }
    char *end;
    const double x = strtod(value, &end);
    if (*end || end == value || x < 0 || x > 1e15) return false;
    if (!strcmp(arg, "--max-work"))
        o->ck.max_work = x;
    else if (!strcmp(arg, "--duration"))
        o->ck.duration = 1e-3 * x;
    else if (!strcmp(arg, "--device") && x < 1000)
        o->ck.device = (int)x;
    else if (!strcmp(arg, "--repeat") && x >= 1 && x < 1e9)
        o->repeat = (int)x;
    else
        return false;
    return true;
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (parse_flag(o, argv[i])) continue;
        if (!strncmp(argv[i], "--", 2)) {
            if (i + 1 >= argc || !parse_value(o, argv[i], argv[i + 1])) return false;
            i++;
            continue;
        }
        char *end;
        o->ck.seed = strtoull(argv[i], &end, 10);
        if (*end || end == argv[i] || i + 1 != argc) return false;
    }
    if (o->ck.max_work < 0) o->ck.max_work = o->ck.exact ? 1e5 : 1e18;
    return true;
}

/* A kernel that nothing checks may not exist. */
static bool all_tested(void)
{
    bool ok = true;
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        bool found = !*vq_variants((vq_op)op);
        for (size_t i = 0; i < VQ_ARRAY_LEN(tests); i++) found |= !strcmp(tests[i].name, vq_op_name((vq_op)op));
        if (!found) printf("FAILURE: %s has kernels but no check\n", vq_op_name((vq_op)op));
        ok &= found;
    }
    return ok;
}

static bool run_all(options *o)
{
    bool ok = true;
    for (int r = 0; r < o->repeat; r++, o->ck.seed++)
        for (size_t i = 0; i < VQ_ARRAY_LEN(tests); i++) tests[i].fn(&o->ck);
    if (!o->ck.list && !o->ck.pattern) ok = all_tested();
    if (!o->ck.list) printf("check: %d cases, %d failed\n", o->ck.cases, o->ck.failed);
    if (!o->ck.list && !o->ck.cases) printf("FAILURE: no case was run\n");
    return ok && !o->ck.failed && (o->ck.list || o->ck.cases);
}

int main(int argc, char **argv)
{
    static options o = {.ck = {.seed = 42, .duration = 0.05, .max_work = -1}, .repeat = 1};
    if (!parse(&o, argc, argv)) return usage();
    int count = 0;
    if (vq_device_list(NULL, 0, &count) != VQ_OK || count == 0) {
        printf("check: skipped, no OpenCL device\n");
        return 77;
    }
    const vq_device_params params = {.index = o.ck.device, .kernels = "", .profile = o.ck.bench};
    if (vq_device_open(&o.ck.dev, &params) != VQ_OK) return EXIT_FAILURE;
    if (!o.ck.list)
        printf("check:\n - device: %s\n - seed: %llu\n", vq_device_get_info(o.ck.dev)->name,
               (unsigned long long)o.ck.seed);
    bool ok;
    if (o.selftest) {
        ok = check_selftest(&o.ck);
        printf("check: self-test %s\n", ok ? "passed" : "failed");
    } else {
        ok = run_all(&o);
    }
    vq_device_destroy(&o.ck.dev);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
