/* Capabilities of a device. A CPU instruction counts only after a tiny kernel that uses it was compiled, run, and gave
 * the known answer: the OpenCL driver's compiler decides whether inline assembly passes, and cpuid alone cannot tell.
 * cpuid is asked first all the same, because running an instruction the processor lacks would end the process. */
#include "cl/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define HAVE_X86 1
#else
#define HAVE_X86 0
#endif

#include "cl/source.h"

#define PROBE_BYTES 64

/* Plain-C answer of one 32-bit lane. */
typedef int32_t (*lane_fn)(const uint8_t *a, const int8_t *b);

static int32_t saturate_s16(int32_t x)
{
    return VQ_MIN(VQ_MAX(x, INT16_MIN), INT16_MAX);
}

static int32_t lane_maddubs(const uint8_t *a, const int8_t *b)
{
    return saturate_s16(a[0] * b[0] + a[1] * b[1]) + saturate_s16(a[2] * b[2] + a[3] * b[3]);
}

static int32_t lane_dot(const uint8_t *a, const int8_t *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}

static int32_t lane_maddwd(const uint8_t *a, const int8_t *b)
{
    int16_t x[2], y[2];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    /* In 64 bits: only the sum of two products of -32768 leaves s32, and the inputs below hold none. */
    return (int32_t)((int64_t)x[0] * y[0] + (int64_t)x[1] * y[1]);
}

/* The upper half of the product of the numbers' lower 30 bits. */
static int32_t lane_mul_hi(const uint8_t *a, const int8_t *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (int32_t)((uint64_t)(x & 0x3fffffff) * (y & 0x3fffffff) >> 32);
}

/* Bytes of both by the lower bits of those of a, then fields of 8 bits, 6 apart. */
static int32_t lane_permute(const uint8_t *a, const int8_t *b)
{
    uint32_t bytes = 0, fields = 0;
    for (int i = 0; i < 4; i++) bytes |= (uint32_t)(a[i] & 64 ? (uint8_t)b[a[i] & 3] : a[a[i] & 3]) << (8 * i);
    for (int i = 0; i < 4; i++) fields |= (bytes >> (6 * i) & 255) << (8 * i);
    return (int32_t)fields;
}

typedef struct probe {
    unsigned cap;
    const char *name, *options;
    int lanes;
    bool adds; /* to what out holds */
    lane_fn lane;
} probe;

static const probe probes[] = {
    {VQ_CAP_AVX2, "AVX2", "-cl-std=CL1.2 -DVQ_PROBE_AVX2", 8, false, lane_maddubs},
    {VQ_CAP_AVX512BW, "AVX-512BW", "-cl-std=CL1.2 -DVQ_PROBE_AVX512BW", 16, false, lane_maddwd},
    {VQ_CAP_AVX512VNNI, "AVX-512 VNNI", "-cl-std=CL1.2 -DVQ_PROBE_AVX512VNNI", 16, true, lane_dot},
    {VQ_CAP_AVX512IFMA, "AVX-512 IFMA", "-cl-std=CL1.2 -DVQ_PROBE_AVX512IFMA", 16, true, lane_mul_hi},
    {VQ_CAP_AVX512VBMI, "AVX-512 VBMI", "-cl-std=CL1.2 -DVQ_PROBE_AVX512VBMI", 16, false, lane_permute},
    {VQ_CAP_AVXVNNI, "AVX-VNNI", "-cl-std=CL1.2 -DVQ_PROBE_AVXVNNI", 8, true, lane_dot},
};

/* What cpuid and the operating system allow. */
static unsigned host_caps(void)
{
    unsigned caps = 0;
#if HAVE_X86
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") != 0;
    if (avx2) caps |= VQ_CAP_AVX2;
    if (__builtin_cpu_supports("avx512bw")) caps |= VQ_CAP_AVX512BW;
    if (__builtin_cpu_supports("avx512vnni")) caps |= VQ_CAP_AVX512VNNI;
    if (__builtin_cpu_supports("avx512ifma")) caps |= VQ_CAP_AVX512IFMA;
    if (__builtin_cpu_supports("avx512vbmi")) caps |= VQ_CAP_AVX512VBMI;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4))) caps |= VQ_CAP_AVXVNNI;
#endif
    return caps;
}

/* The processor's marketing name, so that a cache that moves to another machine is not believed there. */
static void host_name(char name[49])
{
    memset(name, 0, 49);
#if HAVE_X86
    for (unsigned i = 0; i < 3; i++) {
        unsigned r[4] = {0};
        if (__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3])) memcpy(name + 16 * i, r, 16);
    }
#endif
}

/* Runs the built probe; true where every lane is right. */
static bool run(vq_device *dev, cl_program program, const probe *p)
{
    uint8_t a[PROBE_BYTES];
    int8_t b[PROBE_BYTES];
    int32_t out[16], want[16];
    cl_int error;
    bool right = false;
    for (int i = 0; i < PROBE_BYTES; i++) {
        a[i] = (uint8_t)(i == 0 ? 255 : 37 * i + 11);
        b[i] = (int8_t)(i == 0 ? -128 : (53 * i + 5) % 255 - 127);
    }
    for (int i = 0; i < 16; i++) {
        out[i] = 1000 * i - 7000;
        want[i] = (p->adds || i >= p->lanes ? out[i] : 0) + (i < p->lanes ? p->lane(a + 4 * i, b + 4 * i) : 0);
    }
    const cl_mem_flags in = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
    cl_mem mem[3] = {clCreateBuffer(dev->context, in, sizeof a, a, &error),
                     clCreateBuffer(dev->context, in, sizeof b, b, &error),
                     clCreateBuffer(dev->context, CL_MEM_COPY_HOST_PTR, sizeof out, out, &error)};
    cl_kernel kernel = clCreateKernel(program, "probe", &error);
    bool ready = kernel != NULL;
    for (cl_uint i = 0; i < 3 && ready; i++) {
        ready = mem[i] && clSetKernelArg(kernel, i, sizeof mem[i], &mem[i]) == CL_SUCCESS;
    }
    const size_t one = 1;
    if (ready && clEnqueueNDRangeKernel(vq_queue_of(dev), kernel, 1, NULL, &one, &one, 0, NULL, NULL) == CL_SUCCESS &&
        clEnqueueReadBuffer(vq_queue_of(dev), mem[2], CL_TRUE, 0, sizeof out, out, 0, NULL, NULL) == CL_SUCCESS) {
        right = !memcmp(out, want, sizeof out);
    }
    if (kernel) clReleaseKernel(kernel);
    for (int i = 0; i < 3; i++) {
        if (mem[i]) clReleaseMemObject(mem[i]);
    }
    return right;
}

/* Whether a warning about the capability on a device of that name is still to be given: once in a process. */
static bool first_warning(const char *device, unsigned cap)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char last[256];
    static unsigned warned;
    pthread_mutex_lock(&lock);
    if (strncmp(last, device, sizeof last - 1) != 0) {
        snprintf(last, sizeof last, "%s", device);
        warned = 0;
    }
    const bool first = !(warned & cap);
    warned |= cap;
    pthread_mutex_unlock(&lock);
    return first;
}

/* The processor has it, the driver's compiler has not. */
static void warn(const vq_device *dev, const probe *p, const char *verdict, const char *log_path)
{
    char variants[200];
    if (!first_warning(dev->info.name, p->cap)) return;
    vq_variants_needing(variants, sizeof variants, p->cap);
    vq_log(VQ_LOG_WARN, "device %s: the probe of %s %s; kernels that need it are passed over: %s (build log: %s)",
           dev->info.name, p->name, verdict, variants, log_path ? log_path : "not kept, the cache is off");
}

static bool works(vq_device *dev, const char *source, const probe *p)
{
    cl_int error;
    cl_program program = clCreateProgramWithSource(dev->context, 1, &source, NULL, &error);
    if (error != CL_SUCCESS) return false;
    const bool built = clBuildProgram(program, 1, &dev->id, p->options, NULL, NULL) == CL_SUCCESS;
    const bool right = built && run(dev, program, p);
    if (right) {
        vq_log(VQ_LOG_DEBUG, "device %s: %s works", dev->info.name, p->name);
    } else {
        const char *const verdict = built ? "gives a wrong answer" : "does not compile";
        char *const path = vq_program_keep_log(dev, program, p->options, source, verdict);
        warn(dev, p, verdict, path);
        free(path);
    }
    clReleaseProgram(program);
    return right;
}

static unsigned run_probes(vq_device *dev, const char *source, unsigned candidates)
{
    unsigned caps = 0;
    for (size_t i = 0; i < VQ_ARRAY_LEN(probes); i++) {
        const probe *const p = &probes[i];
        if (!(candidates & p->cap))
            vq_log(VQ_LOG_DEBUG, "device %s: the processor has no %s", dev->info.name, p->name);
        else if (works(dev, source, p))
            caps |= p->cap;
    }
    return caps;
}

/* Of an earlier process's probes. */
static void warn_again(const vq_device *dev, const char *source, unsigned missing)
{
    for (size_t i = 0; i < VQ_ARRAY_LEN(probes); i++) {
        const probe *const p = &probes[i];
        char hash[33];
        if (!(missing & p->cap) || vq_cache_key(hash, dev, "probe", p->options, source) != VQ_OK) continue;
        char *const path = vq_cache_log_path(dev, hash);
        warn(dev, p, "failed before", path);
        free(path);
    }
}

/* The probes' result, from the disk cache where the same driver on the same processor was asked before. */
static unsigned probe_instructions(vq_device *dev, unsigned candidates)
{
    char *source = NULL, *identity = NULL, hash[33], name[49];
    unsigned char *data = NULL;
    size_t bytes;
    unsigned caps = 0;
    host_name(name);
    if (vq_source_get(&source, "probe.cl") != VQ_OK || vq_format(&identity, "%s %x", name, candidates) != VQ_OK ||
        vq_cache_key(hash, dev, "probe", identity, source) != VQ_OK) {
        goto done;
    }
    if (vq_cache_load(dev, hash, &data, &bytes) && bytes == sizeof caps) {
        memcpy(&caps, data, sizeof caps);
        caps &= candidates;
        warn_again(dev, source, candidates & ~caps);
    } else {
        caps = run_probes(dev, source, candidates);
        vq_cache_store(dev, hash, &caps, sizeof caps);
    }
done:
    free(data);
    free(identity);
    free(source);
    return caps;
}

unsigned vq_probe_caps(vq_device *dev)
{
    unsigned caps = VQ_CAP_CLBLAST | vq_probe_gpu_caps(dev);
    if (dev->info.is_cpu) caps |= VQ_CAP_CPU;
    const unsigned candidates = dev->info.is_cpu ? host_caps() : 0;
    return candidates ? caps | probe_instructions(dev, candidates) : caps;
}
