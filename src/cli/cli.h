/* What the commands share: messages, the progress line, interruption, JSON, checks. */
#ifndef VQ_SRC_CLI_CLI_H
#define VQ_SRC_CLI_CLI_H

#include <cjson/cJSON.h>

#include "cli/options.h"
#include "vitq/calib.h"
#include "vitq/device.h"
#include "vitq/session.h"

#if defined(__GNUC__)
#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLI_PRINTF(fmt, args)
#endif

enum { CLI_LINE = 1024 }; /* longest message */

/* ---- messages (terminal.c) ---- */

/* Routes the library's messages and decides on progress line and warnings. Call once, before any thread. */
void cli_terminal_init(const cli_options *options);

/* One line "vitq: text" on stderr; returns code. */
int cli_fail(int code, const char *fmt, ...) CLI_PRINTF(2, 3);
/* "vitq: warning: text", nothing with --quiet. */
void cli_warn(const char *fmt, ...) CLI_PRINTF(1, 2);

/* Around library calls that skip images: their errors become warnings, but for the last one if the call failed.
 * end returns how many were skipped. */
void cli_skips_begin(void);
int cli_skips_end(bool failed);

/* A vq_progress_fn: draws the progress line where stderr is a terminal; false once the user pressed Ctrl-C. */
bool cli_progress(void *unused, const char *stage, const char *item, size_t done, size_t total);
void cli_note(const char *text); /* in the place of the progress line, for steps that cannot report */
void cli_progress_end(void);     /* clears the line */

/* ---- phases (phases.c): seconds spent in each, and the process's peak memory at its end ---- */
enum { CLI_MAX_PHASES = 24 };
typedef struct cli_phases {
    struct {
        char name[32];
        double seconds, peak_memory;
    } phases[CLI_MAX_PHASES], *current;
    int count;
    double since, peak_memory;
} cli_phases;
/* Ends the current phase and begins another, or goes on with an earlier one of that name; NULL: none. */
void cli_phases_begin(cli_phases *p, const char *name);
/* A vq_progress_fn for user = cli_phases *: its stages are phases; otherwise as cli_progress. */
bool cli_phases_progress(void *phases, const char *stage, const char *item, size_t done, size_t total);
void cli_phases_json(cJSON *root, const cli_phases *p); /* adds "phases" */
void cli_phases_print(const cli_phases *p);             /* "open 0.2, load 0.4, ..." */

/* ---- Ctrl-C (terminal.c) ---- */
void cli_signals_init(void);
bool cli_interrupted(void);
/* While held a second Ctrl-C does not kill: a file is being put in place. */
void cli_signals_hold(bool hold);
/* Says that the work was interrupted and returns the exit code, 128 + signal. */
int cli_stopped(const char *detail);
/* Exit code of a failed or cancelled library call, whose message is out already. */
int cli_code(vq_status status);

/* ---- output (output.c) ---- */

/* Text that is valid UTF-8 in the JSON even where a file name is not. */
void cli_json_text(cJSON *object, const char *name, const char *text);
/* Rounded to so many decimals. */
void cli_json_number(cJSON *object, const char *name, double value, int decimals);
/* Prints and deletes the object; returns an exit code. */
int cli_json_print(cJSON *object);

/* Fails where path cannot be written: missing or read-only folder, a folder itself, or the same file as input (may be
 * NULL). Returns an exit code. */
int cli_check_output(const char *path, const char *input);

double cli_now(void);         /* seconds of a monotonic clock */
double cli_peak_memory(void); /* bytes */
double cli_file_bytes(const char *path);

/* Device as --device and --kernels say. */
vq_status cli_open_device(vq_device **out, const cli_options *options);

/* Fails where the recipe is neither built in nor the name of a file; NULL is the default one. Returns an exit code. */
int cli_check_recipe(const char *name);

/* The one argument of a command, NULL (and a line, CLI_USAGE in *code) where there are none or more. */
const char *cli_one_argument(const cli_options *options, const char *what, int *code);

/* ---- commands: exit codes ---- */
int cli_devices(const cli_options *options);
int cli_inspect(const cli_options *options);
int cli_calibrate(const cli_options *options);
int cli_eval(const cli_options *options);
int cli_sweep(const cli_options *options);
int cli_predict(const cli_options *options);
int cli_sensitivity(const cli_options *options);
int cli_export(const cli_options *options);

/* ---- help (help.c) ---- */
void cli_help(FILE *out);
void cli_help_command(FILE *out, cli_command command);
void cli_help_exit_codes(FILE *out);

#endif
