#include "calib/sweep_axes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_RECIPE_BYTES = 1 << 20 };

/* ---- recipes -------------------------------------------------------------------------------------------------------
 */

bool vq_recipe_is_file(const char *recipe)
{
    const size_t length = strlen(recipe);
    return length > 5 && strcmp(recipe + length - 5, ".json") == 0;
}

vq_status vq_recipe_hash(char hash[33], const char *recipe)
{
    char *text = NULL;
    size_t bytes = 0;
    if (!vq_recipe_is_file(recipe)) {
        int i = 0;
        while (vq_recipe_name(i) && strcmp(vq_recipe_name(i), recipe) != 0) i++;
        const char *const json = vq_recipe_name(i) ? vq_recipe_json(i) : "";
        vq_hash_hex(hash, json, strlen(json));
        return VQ_OK;
    }
    VQ_TRY(vq_file_read(&text, &bytes, recipe, MAX_RECIPE_BYTES));
    vq_hash_hex(hash, text, bytes);
    free(text);
    return VQ_OK;
}

/* ---- values --------------------------------------------------------------------------------------------------------
 */

static vq_status normalize_recipe(char **out, const char *text)
{
    if (!*text) return vq_fail(VQ_ERR_INVALID_ARG, "sweep: an empty name of a recipe");
    return vq_strdup(out, text); /* that there is such a recipe is checked together with its parts */
}

static const char budget_prefix[] = "budget=";

bool vq_axis_budget(vq_budget *out, const char *value)
{
    const size_t length = strlen(budget_prefix);
    return strncmp(value, budget_prefix, length) == 0 && vq_budget_parse(out, value + length) == VQ_OK;
}

static vq_status normalize_budget(char **out, const char *text)
{
    vq_budget b;
    VQ_TRY(vq_budget_parse(&b, text + strlen(budget_prefix)));
    const double first = b.bytes > 0 ? b.bytes * 1e-6 : b.weight_bits;
    const char *const unit = b.bytes > 0 ? "MB" : "";
    if (b.activation_bits == b.weight_bits) return vq_format(out, "%s%.9g%s", budget_prefix, first, unit);
    return vq_format(out, "%s%.9g%s/%.9g", budget_prefix, first, unit, b.activation_bits);
}

static vq_status normalize_bits(char **out, const char *text)
{
    if (strncmp(text, budget_prefix, strlen(budget_prefix)) == 0) return normalize_budget(out, text);
    const bool form = strlen(text) == 4 && strchr("wW", text[0]) && strchr("aA", text[2]);
    if (!form || text[1] < '2' || text[1] > '8' || text[3] < '2' || text[3] > '8')
        return vq_fail(VQ_ERR_INVALID_ARG,
                       "sweep: bits '%.40s' are not of the form w4a4, each from 2 to 8, or budget=4.5", text);
    return vq_format(out, "w%ca%c", text[1], text[3]);
}

static vq_status normalize_samples(char **out, const char *text)
{
    char *end = NULL;
    const long n = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || n < 1 || n > 65536)
        return vq_fail(VQ_ERR_INVALID_ARG, "sweep: samples '%.40s' is not a number from 1 to 65536", text);
    return vq_format(out, "%ld", n);
}

static vq_status normalize_seed(char **out, const char *text)
{
    char *end = NULL;
    if (strcmp(text, "first") == 0) return vq_strdup(out, text);
    errno = 0;
    const unsigned long long seed = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return vq_fail(VQ_ERR_INVALID_ARG, "sweep: seed '%.40s' is neither a number from 0 to 2^64-1 nor 'first'",
                       text);
    return vq_format(out, "%llu", seed);
}

/* Checked by whoever reads it; "none" changes nothing. */
static vq_status normalize_change(char **out, const char *text)
{
    return vq_strdup(out, strcmp(text, "none") == 0 ? "" : text);
}

static void apply_recipe(vq_calib_params *params, const char *value)
{
    params->recipe = value;
}

static void apply_bits(vq_calib_params *params, const char *value)
{
    if (strncmp(value, budget_prefix, strlen(budget_prefix)) == 0) return; /* see vq_axis_budget */
    params->w_bits = value[1] - '0';
    params->a_bits = value[3] - '0';
}

static void apply_samples(vq_calib_params *params, const char *value)
{
    params->samples = (int)strtol(value, NULL, 10);
}

static void apply_seed(vq_calib_params *params, const char *value)
{
    params->shuffle = strcmp(value, "first") != 0;
    params->seed = params->shuffle ? strtoull(value, NULL, 10) : 0;
}

static void apply_parts(vq_calib_params *params, const char *value)
{
    params->parts = *value ? value : NULL;
}

static void apply_search(vq_calib_params *params, const char *value)
{
    params->search = *value ? value : NULL;
}

const vq_axis vq_axes[VQ_NUM_AXES] = {
    {"recipe", "repq", normalize_recipe, apply_recipe},  {"bits", "w4a4", normalize_bits, apply_bits},
    {"samples", "32", normalize_samples, apply_samples}, {"seed", "first", normalize_seed, apply_seed},
    {"parts", "", normalize_change, apply_parts},        {"search", "", normalize_change, apply_search},
};

int vq_axis_find(const char *name)
{
    for (int i = 0; i < VQ_NUM_AXES; i++)
        if (strcmp(vq_axes[i].name, name) == 0) return i;
    return -1;
}

const char *vq_sweep_axis_name(int i)
{
    return i >= 0 && i < VQ_NUM_AXES ? vq_axes[i].name : NULL;
}

const char *vq_sweep_axis_usual(int i)
{
    return i >= 0 && i < VQ_NUM_AXES ? vq_axes[i].usual : NULL;
}
