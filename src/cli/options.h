/* The command line: one table of options for all commands, parsed into one struct. */
#ifndef VQ_SRC_CLI_OPTIONS_H
#define VQ_SRC_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vitq/session.h"

/* Bits, so that an option can belong to several. */
typedef enum cli_command {
    CLI_DEVICES = 1 << 0,
    CLI_INSPECT = 1 << 1,
    CLI_CALIBRATE = 1 << 2,
    CLI_EVAL = 1 << 3,
    CLI_PREDICT = 1 << 4,
    CLI_SWEEP = 1 << 5,
    CLI_SENSITIVITY = 1 << 6,
    CLI_EXPORT = 1 << 7
} cli_command;

enum { CLI_USAGE = 1 }; /* exit code for a command line that is not understood */

typedef struct cli_options {
    cli_command command;
    bool help, json, quiet, skip_bad, official_levels, probe, witness, show, csv, retry, every_width, int4, exact;
    const char *images, *labels, *logits, *output, *recipe, *parts, *search, *kernels, *bits_range, *budget, *sensitivity;
    const char *val, *db, *recipes, *bits_list, *samples_list, *seeds, *modes; /* sweep; lists as they were given */
    const char *input; /* export */
    int device, samples, batch, limit, topk; /* limit 0: all */
    int w_bits, a_bits;
    vq_mode mode;
    vq_weights weights;
    bool seeded, bits_given;
    uint64_t seed;
    size_t memory; /* bytes; 0: not given */
    char **args; /* what is no option; points into argv */
    int num_args;
} cli_options;

/* Parses argv[2..]; argv[1] named the command. Returns 0, or the exit code after one line on stderr. argv is reordered:
 * args points to its end. */
int cli_options_parse(cli_options *out, cli_command command, int argc, char **argv);

const char *cli_command_name(cli_command command);
/* The command of that name, 0 if there is none. */
cli_command cli_command_find(const char *name);

/* The options a command takes, one per line, for its help. */
void cli_options_print(FILE *out, cli_command command);

/* The candidate most like word (few letters wrong, swapped, missing), NULL if none is near. Ends at a NULL candidate.
 */
const char *cli_nearest(const char *word, const char *const *candidates);

#endif
