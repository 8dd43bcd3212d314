/* Kernels that call others: each part is compiled by itself, as a function part_<i>, and linked with a kernel that
 * calls them in turn. Equal parts are one function. */
#include "cl/internal.h"

#include <stdlib.h>
#include <string.h>

#include "cl/source.h"

typedef struct chain {
    vq_device *dev;
    const char *name;
    const vq_kernel_part *parts;
    int count;
    int functions[VQ_MOST_PARTS]; /* functions[i]: the first part that is the same, which part i calls; or i */
    char *key;                    /* of the options of all parts */
    char *options[VQ_MOST_PARTS]; /* the device's, then the parts' own */
    char *sources[VQ_MOST_PARTS + 1];
    char *all; /* of the sources, for the disk cache */
} chain;

static vq_status add(char **text, const char *more)
{
    char *const old = *text;
    const vq_status status = vq_format(text, "%s%s", old ? old : "", more);
    free(old);
    return status;
}

/* The kernel's parameters and the call of one part. */
static vq_status add_part(char **params, char **calls, const vq_kernel_part *part, int index, int function)
{
    vq_status status = VQ_OK;
    char *text = NULL;
    VQ_GO(vq_format(&text, "    part_%d(", function));
    VQ_GO(add(calls, text));
    const char *type = part->params;
    for (int i = 0; *type; i++) {
        const size_t len = strcspn(type, ",");
        free(text);
        VQ_GO(vq_format(&text, "%s%.*s a%d_%d", index || i ? ", " : "", (int)len, type, index, i));
        VQ_GO(add(params, text));
        free(text);
        VQ_GO(vq_format(&text, "%sa%d_%d", i ? ", " : "", index, i));
        VQ_GO(add(calls, text));
        type += type[len] ? len + 1 : len;
    }
    VQ_GO(add(calls, ");\n"));
done:
    free(text);
    return status;
}

static vq_status make_caller(char **out, const chain *c)
{
    vq_status status = VQ_OK;
    char *params = NULL, *calls = NULL, *declared = NULL, *text = NULL;
    for (int i = 0; i < c->count; i++) {
        free(text);
        VQ_GO(vq_format(&text, "void part_%d(%s);\n", i, c->parts[i].params));
        if (c->functions[i] == i) VQ_GO(add(&declared, text));
        VQ_GO(add_part(&params, &calls, &c->parts[i], i, c->functions[i]));
    }
    VQ_GO(vq_format(out, "%s__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void %s(%s)\n{\n%s}\n", declared,
                    c->name, params, calls));
done:
    free(text);
    free(declared);
    free(calls);
    free(params);
    return status;
}

static bool are_equal(const vq_kernel_part *a, const vq_kernel_part *b)
{
    return a->variant == b->variant && !strcmp(a->function, b->function) && !strcmp(a->options, b->options) &&
           !strcmp(a->params, b->params);
}

static vq_status prepare(chain *c)
{
    vq_status status = VQ_OK;
    char *text = NULL;
    for (int i = 0; i < c->count; i++) {
        const vq_kernel_part *const p = &c->parts[i];
        int *const function = &c->functions[i];
        while (*function < i && !are_equal(&c->parts[*function], p)) ++*function;
        VQ_GO(vq_program_options(&text, c->dev, p->variant, p->options));
        VQ_GO(vq_format(&c->options[i], "%s -DVQ_PART -D%s=part_%d", text, p->function, *function));
        free(text);
        VQ_GO(vq_format(&text, "%s: %s; ", p->variant->name, c->options[i]));
        VQ_GO(add(&c->key, text));
        free(text);
        text = NULL;
    }
done:
    free(text);
    return status;
}

static vq_status get_sources(chain *c)
{
    for (int i = 0; i < c->count; i++) VQ_TRY(vq_source_get(&c->sources[i], c->parts[i].variant->file));
    VQ_TRY(make_caller(&c->sources[c->count], c));
    for (int i = 0; i <= c->count; i++) VQ_TRY(add(&c->all, c->sources[i]));
    return VQ_OK;
}

static void clear(chain *c)
{
    for (int i = 0; i < VQ_MOST_PARTS; i++) free(c->options[i]);
    for (int i = 0; i <= VQ_MOST_PARTS; i++) free(c->sources[i]);
    free(c->key);
    free(c->all);
}

static vq_status compile(cl_program *out, const chain *c, int i, const char *hash)
{
    const char *const source = c->sources[i], *const options = i < c->count ? c->options[i] : "-cl-std=CL1.2 -w";
    cl_int error;
    *out = clCreateProgramWithSource(c->dev->context, 1, (const char **)&source, NULL, &error);
    if (error != CL_SUCCESS) return vq_cl_fail(c->dev, error, "clCreateProgramWithSource of %s", c->name);
    error = clCompileProgram(*out, 1, &c->dev->id, options, 0, NULL, NULL, NULL, NULL);
    return error == CL_SUCCESS ? VQ_OK : vq_program_refused(c->dev, *out, error, c->name, hash, c->name);
}

static vq_status link(cl_program *out, const chain *c, const char *hash)
{
    cl_program programs[VQ_MOST_PARTS + 1] = {NULL};
    cl_uint count = 0;
    vq_status status = VQ_OK;
    const double start = vq_now();
    for (int i = 0; i <= c->count; i++)
        if (i == c->count || c->functions[i] == i) VQ_GO(compile(&programs[count++], c, i, hash));
    cl_int error;
    *out = clLinkProgram(c->dev->context, 1, &c->dev->id, "", count, programs, NULL, NULL, &error);
    if (error != CL_SUCCESS) {
        status = vq_program_refused(c->dev, *out ? *out : programs[count - 1], error, c->name, hash, c->name);
        if (*out) clReleaseProgram(*out);
        *out = NULL;
        goto done;
    }
    vq_log(VQ_LOG_DEBUG, "device %s: linked %s of %s in %.1f ms", c->dev->info.name, c->name, c->key,
           1e3 * (vq_now() - start));
    vq_program_to_cache(c->dev, *out, hash);
done:
    for (int i = 0; i <= c->count; i++)
        if (programs[i]) clReleaseProgram(programs[i]);
    return status;
}

static vq_status build(cl_program *out, chain *c)
{
    char hash[33];
    VQ_TRY(get_sources(c));
    VQ_TRY(vq_cache_key(hash, c->dev, "chain", c->key, c->all));
    *out = vq_program_from_cache(c->dev, hash, "");
    return *out ? VQ_OK : link(out, c, hash);
}

/* A chain that was refused stays among the programs, as others do. */
static vq_status get_program(cl_program *out, chain *c)
{
    const vq_program *const p = vq_program_find(c->dev, c->name, c->key);
    *out = p ? p->program : NULL;
    if (p) return *out ? VQ_OK : VQ_ERR_BUILD;
    const vq_status status = build(out, c);
    if (status != VQ_OK && status != VQ_ERR_BUILD) return status;
    VQ_TRY(vq_program_keep(c->dev, c->name, c->key, *out));
    return status;
}

static vq_status create(vq_kernel **out, chain *c)
{
    cl_program program;
    cl_int error;
    VQ_TRY(get_program(&program, c));
    const cl_kernel kernel = clCreateKernel(program, c->name, &error);
    if (error != CL_SUCCESS) return vq_cl_fail(c->dev, error, "no usable kernel %s", c->name);
    const vq_status status = vq_kernel_adopt(out, c->dev, c->parts[0].variant, c->name, c->key, kernel);
    if (status != VQ_OK) clReleaseKernel(kernel);
    return status;
}

vq_status vq_kernel_chain(vq_kernel **out, vq_device *dev, const char *name, const vq_kernel_part *parts, int count)
{
    chain c = {.dev = dev, .name = name, .parts = parts, .count = count};
    *out = NULL;
    if (count < 1 || count > VQ_MOST_PARTS)
        return vq_fail(VQ_ERR_INVALID_ARG, "%s: %d parts, must be 1 to %d", name, count, VQ_MOST_PARTS);
    pthread_mutex_lock(&dev->lock);
    vq_status status = prepare(&c);
    if (status == VQ_OK) *out = vq_kernel_find(dev, parts[0].variant, name, c.key);
    if (status == VQ_OK && !*out) status = create(out, &c);
    pthread_mutex_unlock(&dev->lock);
    clear(&c);
    return status;
}
