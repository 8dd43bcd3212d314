/* Running the programs and looking at what they did: shared by the tests from end to end. */
#ifndef VQ_TESTS_CLI_PROGRAM_H
#define VQ_TESTS_CLI_PROGRAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "vitq/base.h"

enum { USAGE = 1 }; /* exit code of a command line that is not understood; the others are vq_status */

/* Paths of the programs, of the bundled model, and of Fashion-MNIST's files. */
extern const char *vitq_path, *classify_path;
extern const char *model_path, *test_images, *test_labels, *train_images;

/* Fills them from the command line VITQ CLASSIFY and from $VITQ_FASHION_MNIST; false where model or images are absent.
 */
bool find_files(int argc, char **argv);

/* ---- running ---- */

typedef struct run_result {
    int code;        /* exit code, -N where signal N ended it */
    char *out, *err; /* all of stdout and stderr, ended by a NUL */
    char words[512]; /* the command line, for messages */
} run_result;

typedef struct run_how {
    const char *env; /* NULL or "NAME=VALUE" */
    long file_limit; /* 0 or the largest file it may write, bytes */
    const char *out; /* NULL or where stdout goes */
} run_how;

typedef struct process {
    pid_t pid;
    char out[512], err[512];
    char words[512];
} process;

/* words: the program and its arguments, NULL behind the last. */
process start_words(const run_how *how, const char *const *words);
const run_result *finish(process *p); /* valid until eight further calls */

#define WORDS(...)         ((const char *const[]){__VA_ARGS__, NULL})
#define start(...)         start_words(NULL, WORDS(vitq_path, __VA_ARGS__))
#define run_with(how, ...) run_words((how), WORDS(__VA_ARGS__))
#define vitq(...)          run_words(NULL, WORDS(vitq_path, __VA_ARGS__))
const run_result *run_words(const run_how *how, const char *const *words);

/* stdout of a run that ends with 0 and an empty stderr. */
#define ok(...) check_ok(vitq(__VA_ARGS__))
const char *check_ok(const run_result *r);

/* The same with --json, parsed; cJSON_Delete releases it. */
#define json(...) parse_json(ok(__VA_ARGS__, "--json"))
cJSON *parse_json(const char *text);

/* A run that ends with exactly this code, one line on stderr that holds says, and nothing on stdout. */
#define fails(code, says, ...)           check_fails(vitq(__VA_ARGS__), (code), (says))
#define fails_with(how, code, says, ...) check_fails(run_words((how), WORDS(vitq_path, __VA_ARGS__)), (code), (says))
void check_fails(const run_result *r, int code, const char *says);

/* Everything that a run in a terminal prints, stdout and stderr; it must end with 0. */
const char *in_terminal(const char *const *words);

/* ---- looking ---- */

void has(const char *text, const char *part);
void lacks(const char *text, const char *part);
void matches(const char *text, const char *pattern); /* POSIX extended regular expression */
int times(const char *text, const char *part);

/* Member by path, "manifest.samples" or "images.0.classes"; fails where it is not there. */
const cJSON *at(const cJSON *object, const char *path);
double num(const cJSON *object, const char *path);
const char *str(const cJSON *object, const char *path);

/* ---- files ---- */

/* A path in a scratch folder that is removed at the end; printf's arguments. Valid to the end. */
const char *scratch(const char *fmt, ...);
bool exists(const char *path);
int entries(const char *folder); /* how many files and folders are in it */
void make_folder(const char *path);
void write_file(const char *path, const void *data, size_t bytes);
void write_text(const char *path, const char *text);
uint8_t *read_file(size_t *bytes, const char *path); /* free() releases it */
void copy_file(const char *from, const char *to);
bool same_files(const char *a, const char *b);

/* An 8-bit grey PNG of 28 x 28. */
void write_png(const char *path, const uint8_t *pixels);

typedef struct tensors {
    cJSON *header;
    const uint8_t *data;
    size_t bytes;
    uint8_t *file;
} tensors;
tensors read_tensors(const char *path);
void clear_tensors(tensors *t);

#endif
