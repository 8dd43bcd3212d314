/* Capabilities of GPUs: a way to multiply counts only after the known-answer kernel of kernels/probe_gpu.cl, built from
 * the very macros that the product's kernels use, compiled, ran and was right. Every way is tried on every device that
 * is no CPU; extensions only tell whether a failure is worth a warning. */
#include "cl/internal.h"

#include <stdlib.h>
#include <string.h>

#include "cl/source.h"

enum { SIZE = 64, COUNT = SIZE * SIZE };

typedef struct way {
    unsigned cap;
    const char *name, *options;
    size_t local[2];        /* the work-group of the rows that use it: a device with smaller ones does not have it */
    const char *extensions; /* of extensions that promise it; NULL: none does */
    bool u4;                /* codes of 4 bits on both sides, weights [k/8][64][4] */
} way;

static const way ways[] = {
    {VQ_CAP_DOT_KHR, "dot_khr", "-cl-std=CL3.0 -DVQ_DOT=1", {16, 16}, "cl_khr_integer_dot_product", false},
    {VQ_CAP_DOT_AMD, "dot_amd", "-cl-std=CL1.2 -DVQ_DOT=3", {16, 16}, "cl_amd_", false},
    {VQ_CAP_DOT_DP4A, "dot_dp4a", "-cl-std=CL1.2 -DVQ_DOT=2", {16, 16}, "cl_nv_", false},
    {VQ_CAP_MMA_NV, "mma_nv", "-cl-std=CL1.2 -DPROBE_MMA -DVQ_P0=16 -DVQ_P1=4 -DVQ_MMA=1", {16, 16}, "cl_nv_", false},
    {VQ_CAP_MMA_NV_S4,
     "mma_nv_s4",
     "-cl-std=CL1.2 -DPROBE_MMA -DW_PACKED=1 -DVQ_P0=16 -DVQ_P1=4 -DVQ_MMA=1",
     {16, 16},
     NULL,
     true},
    {VQ_CAP_MFMA,
     "mfma",
     "-cl-std=CL1.2 -DPROBE_MFMA -DVQ_P0=16 -DVQ_P1=4 -DVQ_MMA=2 -DVQ_DOT=3",
     {16, 16},
     NULL,
     false},
    {VQ_CAP_MFMA,
     "mfma of 16 x 16",
     "-cl-std=CL1.2 -DPROBE_MFMA -DMFMA_SIDE=16 -DVQ_P0=16 -DVQ_P1=4 -DVQ_MMA=2 -DVQ_DOT=3",
     {16, 16},
     NULL,
     false},
    {VQ_CAP_EMULATED,
     "emulated_mfma of 16 x 16",
     "-cl-std=CL1.2 -DPROBE_MFMA -DMFMA_SIDE=16 -DVQ_P0=16 -DVQ_P1=4 -DDOT4_UNSIGNED=1",
     {16, 16},
     "",
     false},
    {VQ_CAP_EMULATED,
     "emulated_mfma",
     "-cl-std=CL1.2 -DPROBE_MFMA -DVQ_P0=16 -DVQ_P1=4 -DDOT4_UNSIGNED=1",
     {16, 16},
     "",
     false},
    {VQ_CAP_EMULATED,
     "emulated_mma_s4",
     "-cl-std=CL1.2 -DPROBE_MMA -DW_PACKED=1 -DVQ_P0=16 -DVQ_P1=4",
     {16, 16},
     "",
     true},
    {VQ_CAP_EMULATED, "emulated_mma", "-cl-std=CL1.2 -DPROBE_MMA -DVQ_P0=16 -DVQ_P1=4", {16, 16}, "", false},
    {VQ_CAP_EMULATED, "emulated_udot", "-cl-std=CL1.2 -DDOT4_UNSIGNED=1", {16, 16}, "", false},
    {VQ_CAP_EMULATED, "emulated_dot", "-cl-std=CL1.2", {16, 16}, "", false},
};

/* Weight k of column j. */
static int weight(const int8_t *w, int k, int j, bool u4)
{
    if (!u4) return w[4 * (k / 4 * SIZE + j) + k % 4];
    return (uint8_t)w[4 * (k / 8 * SIZE + j) + k % 4] >> (k & 4) & 15;
}

static void fill(uint8_t *a, int8_t *w, int32_t *c, int32_t *want, bool u4)
{
    for (int i = 0; i < COUNT; i++) {
        a[i] = (uint8_t)(i % 37 == 0 ? 255 : 37 * i + i / SIZE * 11);
        if (u4) a[i] &= 15;
        w[i] = (int8_t)(i % 41 == 0 ? -128 : (53 * i + 7 * (i / SIZE)) % 256 - 128);
        c[i] = 1000 * i - 7000;
    }
    for (int i = 0; i < COUNT; i++) {
        want[i] = c[i];
        for (int k = 0; k < SIZE; k++) want[i] += a[i / SIZE * SIZE + k] * weight(w, k, i % SIZE, u4);
    }
}

/* Runs the built kernel; true where every sum is right. */
static bool run(vq_device *dev, cl_program program, const way *w)
{
    uint8_t codes[COUNT];
    int8_t weights[COUNT];
    int32_t out[COUNT], want[COUNT];
    cl_int error;
    fill(codes, weights, out, want, w->u4);
    const cl_mem_flags in = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
    cl_mem mem[3] = {clCreateBuffer(dev->context, in, sizeof codes, codes, &error),
                     clCreateBuffer(dev->context, in, sizeof weights, weights, &error),
                     clCreateBuffer(dev->context, CL_MEM_COPY_HOST_PTR, sizeof out, out, &error)};
    cl_kernel kernel = clCreateKernel(program, "probe", &error);
    bool ready = kernel != NULL, right = false;
    for (cl_uint i = 0; i < 3 && ready; i++)
        ready = mem[i] && clSetKernelArg(kernel, i, sizeof mem[i], &mem[i]) == CL_SUCCESS;
    if (ready &&
        clEnqueueNDRangeKernel(vq_queue_of(dev), kernel, 2, NULL, w->local, w->local, 0, NULL, NULL) == CL_SUCCESS &&
        clEnqueueReadBuffer(vq_queue_of(dev), mem[2], CL_TRUE, 0, sizeof out, out, 0, NULL, NULL) == CL_SUCCESS)
        right = !memcmp(out, want, sizeof out);
    if (kernel) clReleaseKernel(kernel);
    for (int i = 0; i < 3; i++)
        if (mem[i]) clReleaseMemObject(mem[i]);
    return right;
}

static bool promised(const vq_device *dev, const way *w)
{
    size_t bytes = 0;
    if (!w->extensions) return false;
    if (clGetDeviceInfo(dev->id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) != CL_SUCCESS) return false;
    char *const text = calloc(bytes + 1, 1);
    const bool found = text && clGetDeviceInfo(dev->id, CL_DEVICE_EXTENSIONS, bytes, text, NULL) == CL_SUCCESS &&
                       strstr(text, w->extensions) != NULL;
    free(text);
    return found;
}

static bool works(vq_device *dev, const char *source, const way *w)
{
    cl_int error;
    cl_program program = clCreateProgramWithSource(dev->context, 1, &source, NULL, &error);
    if (error != CL_SUCCESS) return false;
    const bool built = clBuildProgram(program, 1, &dev->id, w->options, NULL, NULL) == CL_SUCCESS;
    const bool right = built && run(dev, program, w);
    if (right) {
        vq_log(VQ_LOG_DEBUG, "device %s: %s works", dev->info.name, w->name);
    } else {
        const char *const verdict = built ? "did not give the known answer" : "does not compile";
        char *const path = vq_program_keep_log(dev, program, w->options, source, verdict), variants[200];
        vq_variants_needing(variants, sizeof variants, w->cap);
        vq_log(built || promised(dev, w) ? VQ_LOG_WARN : VQ_LOG_DEBUG,
               "device %s: %s %s; kernels that need it are passed over: %s (build log: %s)", dev->info.name, w->name,
               verdict, variants, path ? path : "not kept, the cache is off");
        free(path);
    }
    clReleaseProgram(program);
    return right;
}

/* A capability that several ways stand for needs all of them. */
static unsigned run_ways(vq_device *dev, const char *source, unsigned candidates)
{
    unsigned caps = candidates;
    for (size_t i = 0; i < VQ_ARRAY_LEN(ways); i++) {
        const way *const w = &ways[i];
        if (!(caps & w->cap)) continue;
        const bool fits = w->local[0] * w->local[1] <= dev->info.max_work_group;
        if (!fits || !works(dev, source, w)) caps &= ~w->cap;
    }
    return caps;
}

static unsigned candidates_of(const vq_device *dev)
{
    const char *const emulate = getenv("VITQ_EMULATE");
    unsigned candidates = 0;
    for (size_t i = 0; i < VQ_ARRAY_LEN(ways); i++) candidates |= ways[i].cap;
    /* compilers for CPUs may end the process over a GPU's assembly */
    if (dev->info.is_cpu) candidates &= VQ_CAP_EMULATED;
    if (!emulate || strcmp(emulate, "1") != 0) candidates &= ~(unsigned)VQ_CAP_EMULATED;
    return candidates;
}

/* The answer is kept under the candidates too: a cache filled with emulation answers nobody who did not ask for it. */
unsigned vq_probe_gpu_caps(vq_device *dev)
{
    const unsigned candidates = candidates_of(dev);
    char *source = NULL, *identity = NULL, hash[33];
    unsigned char *data = NULL;
    size_t bytes;
    unsigned caps = 0;
    if (!candidates) return 0;
    if (vq_source_get(&source, "probe_gpu.cl") != VQ_OK || vq_format(&identity, "gpu %x", candidates) != VQ_OK ||
        vq_cache_key(hash, dev, "probe", identity, source) != VQ_OK)
        goto done;
    if (vq_cache_load(dev, hash, &data, &bytes) && bytes == sizeof caps) {
        memcpy(&caps, data, sizeof caps);
        caps &= candidates;
    } else {
        caps = run_ways(dev, source, candidates);
        vq_cache_store(dev, hash, &caps, sizeof caps);
    }
done:
    free(data);
    free(identity);
    free(source);
    return caps;
}
