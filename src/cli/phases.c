/* Where the time and the memory of a long command went. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

void cli_phases_begin(cli_phases *p, const char *name)
{
    const double now = cli_now(),
                 peak = fmax(cli_peak_memory(), p->peak_memory); /* the kernel's own goes back a page */
    if (p->current) {
        p->current->seconds += now - p->since;
        p->current->peak_memory = peak;
    }
    p->since = now;
    p->peak_memory = peak;
    p->current = NULL;
    if (!name) return;
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->phases[i].name, name) == 0) p->current = &p->phases[i];
    if (p->current || p->count == CLI_MAX_PHASES) return;
    p->current = &p->phases[p->count++];
    snprintf(p->current->name, sizeof p->current->name, "%s", name);
}

bool cli_phases_progress(void *phases, const char *stage, const char *item, size_t done, size_t total)
{
    cli_phases *const p = phases;
    if (!p->current || strcmp(p->current->name, stage) != 0) cli_phases_begin(p, stage);
    return cli_progress(NULL, stage, item, done, total);
}

void cli_phases_json(cJSON *root, const cli_phases *p)
{
    cJSON *const list = cJSON_AddArrayToObject(root, "phases");
    for (int i = 0; i < p->count; i++) {
        cJSON *const o = cJSON_CreateObject();
        cli_json_text(o, "name", p->phases[i].name);
        cli_json_number(o, "seconds", p->phases[i].seconds, 3);
        cJSON_AddNumberToObject(o, "peak_memory_bytes", p->phases[i].peak_memory);
        cJSON_AddItemToArray(list, o);
    }
}

void cli_phases_print(const cli_phases *p)
{
    for (int i = 0; i < p->count; i++) printf("%s%s %.1f", i ? ", " : "", p->phases[i].name, p->phases[i].seconds);
}
