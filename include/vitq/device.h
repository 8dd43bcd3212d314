/* vitq tier 1: OpenCL devices. */
#ifndef VITQ_DEVICE_H
#define VITQ_DEVICE_H

#include "vitq/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An OpenCL device with its context, queue, compiled kernels and tuning. Thread-safe: sessions on one device may run
 * from several threads, their work is queued one after the other. */
typedef struct vq_device vq_device;

/* What a kernel variant may need. Those of a CPU instruction set are set only after a tiny kernel that uses the
 * instruction was compiled, run, and gave the known answer on that device. */
enum {
    VQ_CAP_CPU = 1u << 0,        /* CPU device: one work-item per register tile pays */
    VQ_CAP_AVX2 = 1u << 1,       /* 256-bit vpmaddubsw/vpmaddwd as inline assembly */
    VQ_CAP_AVX512BW = 1u << 2,   /* 512-bit vpmaddwd as inline assembly */
    VQ_CAP_AVX512VNNI = 1u << 3, /* 512-bit vpdpbusd as inline assembly */
    VQ_CAP_AVXVNNI = 1u << 4,    /* 256-bit vpdpbusd as inline assembly */
    VQ_CAP_CLBLAST = 1u << 5,    /* CLBlast runs on the device */
    VQ_CAP_AVX512IFMA = 1u << 6, /* 512-bit vpmadd52huq as inline assembly */
    VQ_CAP_AVX512VBMI = 1u << 7, /* 512-bit vpermi2b and vpmultishiftqb as inline assembly */
    /* of GPUs, each by a known answer of the macros that its kernels use */
    VQ_CAP_DOT_KHR = 1u << 8,  /* cl_khr_integer_dot_product */
    VQ_CAP_DOT_DP4A = 1u << 9, /* NVIDIA's dp4a as inline PTX */
    VQ_CAP_DOT_AMD = 1u << 10, /* AMD's v_dot4_u32_u8 */
    VQ_CAP_MMA_NV = 1u << 11,  /* NVIDIA's mma.sync.m16n8k32 of s8, ldmatrix and cp.async as inline PTX */
    VQ_CAP_MFMA = 1u << 12,    /* AMD's v_mfma_i32_32x32x8i8 and v_mfma_i32_16x16x16i8 */
    /* Where the environment variable VITQ_EMULATE is 1: kernels for GPUs with their instructions as OpenCL C, to test
     * them without a GPU. Slow. */
    VQ_CAP_EMULATED = 1u << 13,
    VQ_CAP_MMA_NV_S4 = 1u << 14 /* NVIDIA's mma.sync.m16n8k64 of u4 as inline PTX */
};

/* "avx2" of the one bit VQ_CAP_AVX2, a static text; NULL where the bit means nothing. */
const char *vq_cap_name(unsigned cap);

typedef struct vq_device_info {
    char name[128], vendor[128], driver[128], version[128], platform[128];
    bool is_cpu, is_gpu;
    int compute_units;
    int max_clock_mhz;         /* as the driver reports it; 0 unknown */
    size_t max_work_group;     /* work-items */
    size_t global_mem_bytes, local_mem_bytes, max_alloc_bytes;
    unsigned caps;             /* VQ_CAP_*; 0 in entries of vq_device_list, known only once opened */
} vq_device_info;

/* Fills up to max entries of info (info may be NULL when max is 0) and stores the number of devices found in *count.
 * Finding none is no error: *count is 0. */
vq_status vq_device_list(vq_device_info *info, int max, int *count);

typedef struct vq_device_params {
    int index;             /* which device, in the order of vq_device_list */
    const char *kernels;   /* variant choice as in the environment variable VITQ_KERNELS, which is read when NULL:
                              "portable", "wide", or a comma list of variant names; "" chooses freely */
    const char *cache_dir; /* compiled programs; NULL: $VITQ_CACHE_DIR, else $XDG_CACHE_HOME/vitq, else ~/.cache/vitq;
                              "" turns the cache off */
    bool profile;          /* keep device times of every launch, for vq_bench */
} vq_device_params;

/* Opens a device and probes its capabilities. Fails with VQ_ERR_NO_DEVICE where there is none (the log says which
 * package to install). */
vq_status vq_device_open(vq_device **out, const vq_device_params *params);
void vq_device_destroy(vq_device **dev);

const vq_device_info *vq_device_get_info(const vq_device *dev);

/* Variant names chosen so far, as "op=variant op=variant ..."; borrowed, valid until the next call for this device. */
const char *vq_device_variants(vq_device *dev);

#ifdef __cplusplus
}
#endif
#endif
