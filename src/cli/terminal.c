/* stderr: messages, the progress line above which they appear, and Ctrl-C. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

static bool quiet, drawing, drawn;
static int columns = 80;

/* ---- messages ------------------------------------------------------------------------------------------------------
 */

static void clear_line(void)
{
    if (drawn) fputs("\r\033[K", stderr);
    drawn = false;
}

static void print_line(const char *kind, const char *text)
{
    clear_line();
    fprintf(stderr, "vitq: %s%s\n", kind, text);
}

int cli_fail(int code, const char *fmt, ...)
{
    char text[CLI_LINE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c; c++) /* an argument may hold anything; it stays one line */
        if ((unsigned char)*c < 32 || *c == 127) *c = ' ';
    print_line("", text);
    return code;
}

void cli_warn(const char *fmt, ...)
{
    char text[CLI_LINE];
    va_list args;
    if (quiet) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    print_line("warning: ", text);
}

/* Which of the errors in a skipping call is the fatal one is known only when the call returns: the newest waits. */
static struct {
    bool active;
    int count;
    char text[CLI_LINE];
} skips;

static void flush_skip(void)
{
    if (!skips.text[0]) return;
    cli_warn("skipped: %s", skips.text);
    skips.count++;
    skips.text[0] = 0;
}

void cli_skips_begin(void)
{
    skips.active = true;
    skips.count = 0;
    skips.text[0] = 0;
}

int cli_skips_end(bool failed)
{
    if (failed && skips.text[0])
        print_line("", skips.text);
    else
        flush_skip();
    skips.active = false;
    return skips.count;
}

static void on_log(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level == VQ_LOG_WARN) {
        cli_warn("%s", text);
    } else if (level != VQ_LOG_ERROR) {
        print_line("", text);
    } else if (skips.active) {
        flush_skip();
        snprintf(skips.text, sizeof skips.text, "%s", text);
    } else {
        print_line("", text);
    }
}

void cli_terminal_init(const cli_options *options)
{
    static const struct {
        const char *name;
        vq_log_level level;
    } levels[] = {{"info", VQ_LOG_INFO}, {"debug", VQ_LOG_DEBUG}};
    const char *const term = getenv("TERM"), *const wanted = getenv("VITQ_LOG");
    vq_log_level level = VQ_LOG_WARN;
    struct winsize size;
    quiet = options->quiet;
    drawing = !quiet && isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    if (drawing && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) columns = size.ws_col;
    for (size_t i = 0; wanted && i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(wanted, levels[i].name) == 0) level = levels[i].level;
    vq_log_set(on_log, NULL, level);
}

/* ---- progress ------------------------------------------------------------------------------------------------------
 */

static struct {
    char stage[32];
    double started, shown;
    size_t first;
} progress;

static void format_left(char *out, size_t size, double seconds)
{
    const long s = (long)(seconds + 0.5);
    if (s < 100)
        snprintf(out, size, "%ld s left", s);
    else if (s < 6000)
        snprintf(out, size, "%ld min %02ld s left", s / 60, s % 60);
    else
        snprintf(out, size, "%ld h %02ld min left", s / 3600, s / 60 % 60);
}

static void draw(const char *stage, const char *item, size_t done, size_t total, double now)
{
    char line[256], left[48] = "", shown[96] = "";
    const double seconds = now - progress.started, steps = (double)(done - progress.first);
    if (seconds > 0.5 && steps > 0)
        format_left(left, sizeof left, seconds / steps * (double)(total > done ? total - done : 0));
    if (item[0]) { /* of a long path the end tells more */
        const size_t n = strlen(item), keep = 40;
        snprintf(shown, sizeof shown, "  %s%s", n > keep ? "..." : "", n > keep ? item + n - keep : item);
    }
    snprintf(line, sizeof line, "%s%s  %zu/%zu", stage, shown, done, total);
    if (left[0]) {
        const size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "  %.1f/s  %s", steps / seconds, left);
    }
    fprintf(stderr, "\r\033[K%.*s", columns - 1, line);
    fflush(stderr);
    drawn = true;
}

bool cli_progress(void *unused, const char *stage, const char *item, size_t done, size_t total)
{
    const double now = cli_now();
    (void)unused;
    if (!drawing) return !cli_interrupted();
    const bool begins = strncmp(stage, progress.stage, sizeof progress.stage - 1) != 0;
    if (begins || done < progress.first) {
        snprintf(progress.stage, sizeof progress.stage, "%s", stage);
        progress.started = now;
        progress.first = done;
    }
    if (begins || now - progress.shown >= 0.1) {
        draw(stage, item ? item : "", done, total, now);
        progress.shown = now;
    }
    return !cli_interrupted();
}

void cli_note(const char *text)
{
    if (!drawing) return;
    fprintf(stderr, "\r\033[K%.*s", columns - 1, text);
    fflush(stderr);
    drawn = true;
}

void cli_progress_end(void)
{
    clear_line();
    fflush(stderr);
}

/* ---- Ctrl-C --------------------------------------------------------------------------------------------------------
 */

static volatile sig_atomic_t signalled, held;

static void on_signal(int sig)
{
    if (signalled && !held) _exit(128 + sig); /* asked twice */
    signalled = sig;
}

void cli_signals_init(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* a file over the user's size limit is a write error like a full disk */
    sigaction(SIGXFSZ, &action, NULL);
}

bool cli_interrupted(void)
{
    return signalled != 0;
}

void cli_signals_hold(bool hold)
{
    held = hold;
}

int cli_stopped(const char *detail)
{
    return cli_fail(128 + (signalled ? signalled : SIGINT), "interrupted%s%s", detail[0] ? ": " : "", detail);
}

int cli_code(vq_status status)
{
    if (status == VQ_ERR_CANCELLED) return cli_stopped("nothing was written");
    return (int)status;
}
