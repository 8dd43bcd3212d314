/* vitq: finds the command, reads its options, runs it, and turns its outcome into an exit code. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

static int help(int argc, char **argv)
{
    const cli_command command = argc > 2 ? cli_command_find(argv[2]) : 0;
    if (argc > 3) return cli_fail(CLI_USAGE, "help: takes one word at most");
    if (argc <= 2)
        cli_help(stdout);
    else if (command)
        cli_help_command(stdout, command);
    else if (strcmp(argv[2], "exit-codes") == 0)
        cli_help_exit_codes(stdout);
    else
        return cli_fail(CLI_USAGE,
                        "help: nothing on '%s'; there are devices, inspect, calibrate, sensitivity, eval, sweep, "
                        "predict, export, exit-codes",
                        argv[2]);
    return 0;
}

static int unknown_command(const char *word)
{
    static const char *const names[] = {"devices", "inspect", "calibrate", "sensitivity", "eval",
                                        "sweep",   "predict", "export",    "help",        NULL};
    const char *const nearest = cli_nearest(word, names);
    if (nearest) return cli_fail(CLI_USAGE, "unknown command '%s'; did you mean '%s'?", word, nearest);
    return cli_fail(CLI_USAGE, "unknown command '%s'; 'vitq --help' lists them", word);
}

static int run_command(cli_command command, int argc, char **argv)
{
    cli_options options;
    const int code = cli_options_parse(&options, command, argc, argv);
    if (code) return code;
    if (options.help) {
        cli_help_command(stdout, command);
        return 0;
    }
    cli_terminal_init(&options);
    cli_signals_init();
    switch (command) {
    case CLI_DEVICES: return cli_devices(&options);
    case CLI_INSPECT: return cli_inspect(&options);
    case CLI_CALIBRATE: return cli_calibrate(&options);
    case CLI_EVAL: return cli_eval(&options);
    case CLI_SWEEP: return cli_sweep(&options);
    case CLI_PREDICT: return cli_predict(&options);
    case CLI_SENSITIVITY: return cli_sensitivity(&options);
    case CLI_EXPORT: return cli_export(&options);
    }
    return CLI_USAGE;
}

static int run(int argc, char **argv)
{
    const char *const word = argc > 1 ? argv[1] : "";
    if (argc < 2) {
        cli_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return help(argc, argv);
    if (strcmp(word, "--version") == 0) {
        printf("vitq %s\n", vq_version());
        return 0;
    }
    if (word[0] == '-')
        return cli_fail(CLI_USAGE, "a command comes first, then options such as '%s'; 'vitq --help' lists them", word);
    const cli_command command = cli_command_find(word);
    return command ? run_command(command, argc, argv) : unknown_command(word);
}

int main(int argc, char **argv)
{
    const int code = run(argc, argv);
    cli_progress_end();
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail(code ? code : VQ_ERR_IO, "stdout: %s", errno ? strerror(errno) : "could not be written");
    return code;
}
