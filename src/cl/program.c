/* Programs: from source or from the disk cache, one per file and options, built when first asked for. */
#include "cl/internal.h"

#include <stdlib.h>
#include <string.h>

#include "cl/source.h"

vq_program *vq_program_find(const vq_device *dev, const char *file, const char *options)
{
    for (vq_program *p = dev->programs; p; p = p->next) {
        if (!strcmp(p->file, file) && !strcmp(p->options, options)) return p;
    }
    return NULL;
}

cl_program vq_program_from_cache(vq_device *dev, const char *hash, const char *options)
{
    unsigned char *data;
    size_t bytes;
    cl_int error, binary_status = CL_SUCCESS;
    if (!vq_cache_load(dev, hash, &data, &bytes)) return NULL;
    const unsigned char *binary = data;
    cl_program program = clCreateProgramWithBinary(dev->context, 1, &dev->id, &bytes, &binary, &binary_status, &error);
    free(data);
    if (error == CL_SUCCESS) error = binary_status;
    if (error == CL_SUCCESS) error = clBuildProgram(program, 1, &dev->id, options, NULL, NULL);
    if (error == CL_SUCCESS) return program;
    vq_log(VQ_LOG_DEBUG, "device %s: cached program %s refused: %s", dev->info.name, hash, vq_cl_error_name(error));
    if (program) clReleaseProgram(program);
    return NULL;
}

void vq_program_to_cache(vq_device *dev, cl_program program, const char *hash)
{
    size_t bytes = 0;
    unsigned char *data = NULL;
    if (!dev->cache_dir) return;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL) != CL_SUCCESS || !bytes) return;
    data = malloc(bytes);
    if (data && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof data, &data, NULL) == CL_SUCCESS) {
        vq_cache_store(dev, hash, data, bytes);
    }
    free(data);
}

/* The build log as a fresh string, NULL where there is none. */
static char *build_log(const vq_device *dev, cl_program program)
{
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS) return NULL;
    char *log = calloc(bytes + 1, 1);
    if (log && clGetProgramBuildInfo(program, dev->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL) == CL_SUCCESS)
        return log;
    free(log);
    return NULL;
}

char *vq_program_keep_log(vq_device *dev, cl_program program, const char *options, const char *source,
                          const char *verdict)
{
    char hash[33], *text = NULL, *path = NULL, *const log = build_log(dev, program);
    if (vq_cache_key(hash, dev, "probe", options, source) == VQ_OK &&
        vq_format(&text, "%s: %s\n%s", options, verdict, log ? log : "") == VQ_OK)
        path = vq_cache_store_log(dev, hash, text);
    free(text);
    free(log);
    return path;
}

/* The first line that tells what is wrong, cut out of log in place. */
static const char *first_error(char *log)
{
    char *line = strstr(log, "error");
    if (!line) line = log;
    while (line > log && line[-1] != '\n') line--;
    line[strcspn(line, "\n")] = '\0';
    return line;
}

vq_status vq_program_refused(vq_device *dev, cl_program program, cl_int error, const char *file, const char *hash,
                             const char *skipped)
{
    char *log = build_log(dev, program);
    char *path = log ? vq_cache_store_log(dev, hash, log) : NULL;
    if (log) vq_log(VQ_LOG_DEBUG, "device %s: build log of %s:\n%s", dev->info.name, file, log);
    const char *why = log && *log ? first_error(log) : vq_cl_error_name(error);
    const char *where = path ? path : "not kept, the cache is off";
    if (skipped) {
        vq_log(VQ_LOG_WARN, "device %s: %s does not compile and is passed over: %s (build log: %s)", dev->info.name,
               skipped, why, where);
    } else {
        vq_fail(VQ_ERR_BUILD, "device %s: %s does not compile: %s (build log: %s)", dev->info.name, file, why, where);
    }
    free(path);
    free(log);
    return VQ_ERR_BUILD;
}

static vq_status build_from_source(cl_program *out, vq_device *dev, const char *file, const char *options,
                                   const char *source, const char *hash, const char *skipped)
{
    cl_int error;
    const double start = vq_now();
    cl_program program = clCreateProgramWithSource(dev->context, 1, &source, NULL, &error);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clCreateProgramWithSource of %s", file);
    error = clBuildProgram(program, 1, &dev->id, options, NULL, NULL);
    if (error != CL_SUCCESS) {
        const vq_status status = vq_program_refused(dev, program, error, file, hash, skipped);
        clReleaseProgram(program);
        return status;
    }
    vq_log(VQ_LOG_DEBUG, "device %s: built %s %s in %.1f ms", dev->info.name, file, options, 1e3 * (vq_now() - start));
    *out = program;
    return VQ_OK;
}

static void destroy(vq_program *p)
{
    if (p->program) clReleaseProgram(p->program);
    free(p->file);
    free(p->options);
    free(p);
}

vq_status vq_program_keep(vq_device *dev, const char *file, const char *options, cl_program program)
{
    vq_status status = VQ_OK;
    vq_program *p = NULL;
    VQ_GO(vq_alloc(&p, 1, sizeof *p, "a program"));
    VQ_GO(vq_strdup(&p->file, file));
    VQ_GO(vq_strdup(&p->options, options));
    p->program = program;
    p->next = dev->programs;
    dev->programs = p;
    return VQ_OK;
done:
    if (program) clReleaseProgram(program);
    if (p) destroy(p);
    return status;
}

/* From disk, else from the source; kept in memory, also that its build failed. */
static vq_status build(vq_device *dev, const char *file, const char *options, const char *source, const char *skipped)
{
    char hash[33];
    VQ_TRY(vq_cache_key(hash, dev, "program", options, source));
    cl_program program = vq_program_from_cache(dev, hash, options);
    if (program) return vq_program_keep(dev, file, options, program);
    const vq_status status = build_from_source(&program, dev, file, options, source, hash, skipped);
    if (status != VQ_OK && status != VQ_ERR_BUILD) return status;
    VQ_TRY(vq_program_keep(dev, file, options, program));
    if (program) memcpy(dev->programs->unsaved, hash, sizeof hash);
    return status;
}

vq_status vq_program_get(cl_program *out, vq_device *dev, const char *file, const char *options, const char *skipped)
{
    vq_program *p = vq_program_find(dev, file, options);
    *out = NULL;
    if (p && !p->program && skipped) return VQ_ERR_BUILD;
    if (p && !p->program) return vq_fail(VQ_ERR_BUILD, "device %s: %s did not compile", dev->info.name, file);
    if (!p) {
        char *source;
        VQ_TRY(vq_source_get(&source, file));
        const vq_status status = build(dev, file, options, source, skipped);
        free(source);
        VQ_TRY(status);
        p = dev->programs;
    }
    if (*p->unsaved) vq_program_to_cache(dev, p->program, p->unsaved);
    *p->unsaved = '\0';
    *out = p->program;
    return VQ_OK;
}

bool vq_program_compiles(vq_device *dev, const char *file, const char *options, const char *skipped)
{
    static const char yes[] = "compiles";
    const vq_program *const p = vq_program_find(dev, file, options);
    char hash[33], *source;
    unsigned char *known = NULL;
    size_t bytes;
    if (p) return p->program != NULL;
    if (vq_source_get(&source, file) != VQ_OK) return false;
    bool ok = vq_cache_key(hash, dev, yes, options, source) == VQ_OK;
    if (ok && !vq_cache_load(dev, hash, &known, &bytes)) {
        ok = build(dev, file, options, source, skipped) == VQ_OK;
        if (ok) vq_cache_store(dev, hash, yes, sizeof yes);
    }
    free(known);
    free(source);
    return ok;
}

/* A row's options may ask for a later OpenCL C. Codes are rint(x / scale): a division that is off by a bit moves values
 * that lie on a rounding boundary. Without -w, PoCL's compiler counts its warnings on stderr: with AVX2 alone one for
 * every vector of 512 bits that a function takes. Lint reads the kernels' warnings. */
vq_status vq_program_options(char **out, const vq_device *dev, const vq_variant *v, const char *options)
{
    const bool later = v->options && strstr(v->options, "-cl-std=");
    return vq_format(out, "%s%s -w -DVQ_P0=%d -DVQ_P1=%d -DVQ_P2=%d -DVQ_P3=%d%s%s%s%s", later ? "" : "-cl-std=CL1.2",
                     dev->exact_division ? " -cl-fp32-correctly-rounded-divide-sqrt" : "", v->p[0], v->p[1], v->p[2],
                     v->p[3], v->options && *v->options ? " " : "", v->options ? v->options : "",
                     options && *options ? " " : "", options ? options : "");
}

void vq_program_destroy_all(vq_device *dev)
{
    while (dev->programs) {
        vq_program *p = dev->programs;
        dev->programs = p->next;
        destroy(p);
    }
}
