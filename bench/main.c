/* vitq-bench: measures the kernels of vitq on a device. */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const struct {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"peaks", "what the device can do at most: multiply-adds, copies, launches", bench_cmd_peaks},
    {"ops", "every op by every kernel variant on layers of real models", bench_cmd_ops},
    {"gemm", "matrix products alone, int8 and FP32", bench_cmd_gemm},
    {"sweep", "calibration: candidate quantizers scored by tensor and by layer output", bench_cmd_sweep},
    {"model", "whole models: images a second by batch, memory, where the time goes", bench_cmd_model},
    {"startup", "to the first image, with empty caches and with full ones", bench_cmd_startup},
    {"compare", "two reports row by row; exit code 1 on a regression", bench_cmd_compare},
    {"plot", "a report as SVG: roofline and bars", bench_cmd_plot},
    {"tune", "finds the fastest variants and keeps them for all programs", bench_cmd_tune},
};

static void usage(FILE *out)
{
    fprintf(out, "usage: vitq-bench COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].about);
    fprintf(out, "\n'vitq-bench COMMAND --help' explains one.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? BENCH_USAGE : 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "vitq-bench: no command \"%s\"; there is:", argv[1]);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) fprintf(stderr, " %s", commands[i].name);
    fprintf(stderr, "\n");
    return BENCH_USAGE;
}
