/* stdout, files, clocks. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

/* Length of the UTF-8 sequence that s starts with, 0 if it is none. Overlong forms and surrogates are let through only
 * where JSON readers do not mind them. */
static int utf8_length(const unsigned char *s)
{
    const int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : 4;
    if (s[0] >= 0xf5 || (s[0] >= 0x80 && s[0] < 0xc2)) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0))) return 0;
    if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))) return 0;
    return n;
}

void cli_json_text(cJSON *object, const char *name, const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    char *const copy = malloc(3 * strlen(text) + 1), *out = copy;
    if (!copy) return;
    while (*in) {
        const int n = utf8_length(in);
        if (n) {
            memcpy(out, in, (size_t)n);
            out += n;
            in += n;
        } else { /* the replacement character */
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            in++;
        }
    }
    *out = 0;
    cJSON_AddStringToObject(object, name, copy);
    free(copy);
}

void cli_json_number(cJSON *object, const char *name, double value, int decimals)
{
    const double unit = pow(10, decimals);
    cJSON_AddNumberToObject(object, name, round(value * unit) / unit);
}

int cli_json_print(cJSON *object)
{
    char *const text = cJSON_Print(object);
    cJSON_Delete(object);
    if (!text) return cli_fail(VQ_ERR_NO_MEMORY, "out of memory for the output");
    puts(text);
    free(text);
    return 0;
}

static bool same_file(const char *path, const char *input)
{
    static const char weights[] = "/model.safetensors";
    struct stat a, b;
    if (stat(path, &a) != 0 || stat(input, &b) != 0) return false;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
    if (!S_ISDIR(b.st_mode)) return false;
    char *const inner = malloc(strlen(input) + sizeof weights);
    if (!inner) return false;
    memcpy(inner, input, strlen(input));
    memcpy(inner + strlen(input), weights, sizeof weights);
    const bool same = stat(inner, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    free(inner);
    return same;
}

int cli_check_output(const char *path, const char *input)
{
    const char *const slash = strrchr(path, '/');
    struct stat info;
    const bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return cli_fail(VQ_ERR_IO, "%s: is a folder; give the name of a file to write", path);
    if (exists && !S_ISREG(info.st_mode)) /* it would be replaced by a file */
        return cli_fail(VQ_ERR_IO, "%s: is not a regular file", path);
    if (slash && !slash[1]) return cli_fail(VQ_ERR_IO, "%s: names a folder, not a file to write", path);
    if (input && same_file(path, input)) return cli_fail(VQ_ERR_INVALID_ARG, "%s: would overwrite the input", path);
    const size_t n = slash ? (size_t)(slash - path) : 0;
    char *const folder = malloc(n + 2);
    int code = 0;
    if (!folder) return cli_fail(VQ_ERR_NO_MEMORY, "out of memory");
    memcpy(folder, path, n);
    strcpy(folder + n, n ? "" : slash ? "/" : ".");
    if (stat(folder, &info) != 0)
        code = cli_fail(VQ_ERR_IO, "%s: cannot be written, folder %s: %s", path, folder, strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        code = cli_fail(VQ_ERR_IO, "%s: cannot be written, %s is not a folder", path, folder);
    else if (access(folder, W_OK | X_OK) != 0)
        code = cli_fail(VQ_ERR_IO, "%s: cannot be written, folder %s: %s", path, folder, strerror(errno));
    free(folder);
    return code;
}

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double cli_peak_memory(void)
{
    char line[128];
    double kilobytes = 0;
    FILE *const f = fopen("/proc/self/status", "r"); /* ru_maxrss would count what ran before exec, too */
    while (f && kilobytes == 0 && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtod(line + 6, NULL);
    if (f) fclose(f);
    return kilobytes * 1024;
}

double cli_file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

vq_status cli_open_device(vq_device **out, const cli_options *options)
{
    const vq_device_params params = {.index = options->device, .kernels = options->kernels};
    cli_note("preparing kernels (slower the first time)");
    return vq_device_open(out, &params);
}

const char *cli_one_argument(const cli_options *options, const char *what, int *code)
{
    const char *const name = cli_command_name(options->command);
    if (options->num_args == 1 && options->args[0][0]) return options->args[0];
    if (options->num_args < 2)
        *code = cli_fail(CLI_USAGE, "%s: needs %s; 'vitq %s --help' shows how", name, what, name);
    else
        *code = cli_fail(CLI_USAGE, "%s: takes one argument, '%s' is too many", name, options->args[1]);
    return NULL;
}
