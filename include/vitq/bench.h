/* vitq tier 4: measuring the kernels of a device. What vitq-bench is made of. */
#ifndef VITQ_BENCH_H
#define VITQ_BENCH_H

#include "vitq/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of matrix product C [M][N] = A [M][K] * W [N][K] transposed. */
typedef enum vq_bench_type {
    VQ_BENCH_S8, /* u8 codes with s8 weights and the integer runtime's epilogues, exact */
    VQ_BENCH_F32 /* floats with a bias */
} vq_bench_type;

/* What follows an integer product (its cost is part of the measurement). */
typedef enum vq_bench_epilogue {
    VQ_BENCH_CODES, /* requantized to u8: qkv, LayerNorm inputs */
    VQ_BENCH_TABLE, /* requantized and looked up, u8: fc1 and GELU */
    VQ_BENCH_ADD,   /* added to the s32 residual stream: proj, fc2 */
    VQ_BENCH_SET    /* s32: patch embedding, logits */
} vq_bench_epilogue;

/* Names of the kernel variants that the device can run for a type, weakest first; fills up to max and stores how many
 * there are in *count. The names are static. */
vq_status vq_bench_variants(const char **names, int max, int *count, vq_device *dev, vq_bench_type type);

/* Measures the most multiply-adds a second the device reaches on registers alone, as 1e9 operations (2 per
 * multiply-add): with the strongest dot-product instruction the kernels may use there, or with float multiply-adds. The
 * best of a few tries of some 20 ms. */
vq_status vq_bench_peak(double *gops, vq_device *dev, vq_bench_type type);

typedef struct vq_bench_gemm_params {
    vq_bench_type type;
    const char *variant;        /* NULL: the device's choice */
    int m, n, k;                /* 1..2^20 each, n*k and m*n below 2^30 */
    vq_bench_epilogue epilogue; /* S8 */
    int w_bits, a_bits;         /* S8, 2..8; 0: 8 */
    double seconds;             /* time to measure for; 0: 0.2 */
    uint64_t seed;              /* of the operands */
} vq_bench_gemm_params;

typedef struct vq_bench_gemm_result {
    const char *variant;
    int verified_rows;            /* of C that were compared with the plain-C witness before timing: all of them, or as
                                     many as it computes in a second, spread over C */
    double max_error;             /* F32: largest |difference| / (sum |a||w| + |bias|); S8: 0 */
    int samples, runs_each;       /* each sample is the mean of runs_each runs, enqueued together */
    double min, p10, median, p90; /* seconds a run */
    double gops;                  /* 2*M*N*K / median / 1e9 */
} vq_bench_gemm_result;

/* Makes a layer from random operands, verifies its result (VQ_ERR_DEVICE where it is wrong), then times it. */
vq_status vq_bench_gemm(vq_bench_gemm_result *out, vq_device *dev, const vq_bench_gemm_params *params);

/* ---- sweeps of calibration: many candidate quantizers of a tensor, one pass over it -------------------------------
 */

typedef enum vq_sweep_kind {
    VQ_SWEEP_UNIFORM,         /* error of the tensor [M][K] itself: uniform, one group */
    VQ_SWEEP_CHANNELS,        /* the same, every column its own candidates */
    VQ_SWEEP_CODEBOOK,        /* codebooks, one group */
    VQ_SWEEP_OUTPUT,          /* error of the layer's output [M][N]: uniform codes, integer weights */
    VQ_SWEEP_OUTPUT_CODEBOOK, /* codebooks with values of 16 bits: two integer products */
    VQ_SWEEP_OUTPUT_F32,      /* uniform, float weights */
    VQ_SWEEP_KINDS
} vq_sweep_kind;

/* What the device can do at most, measured: sweeps are compared with it. */
typedef struct vq_sweep_limits {
    double read_gbps; /* GB/s that a kernel reads from memory */
    double uniform,
        codebook;      /* 1e9 elements quantized and compared a second, on registers alone; codebooks of 2^bits */
    double int8, fp32; /* vq_bench_peak, GOP/s */
} vq_sweep_limits;
vq_status vq_bench_sweep_limits(vq_sweep_limits *out, vq_device *dev, int bits);

/* Kernel variants for a kind; as vq_bench_variants. */
vq_status vq_bench_sweep_variants(const char **names, int max, int *count, vq_device *dev, vq_sweep_kind kind);

typedef struct vq_bench_sweep_params {
    vq_sweep_kind kind;
    const char *variant; /* NULL: the device's choice */
    int m, n, k;         /* 1..2^20 each, products of two below 2^30 */
    int candidates;      /* 1..4096; 0: 16 */
    int bits;            /* of the candidates, 2..8; 0: 4 */
    double seconds;      /* time to measure for; 0: 0.2 */
    uint64_t seed;
} vq_bench_sweep_params;

typedef struct vq_bench_sweep_result {
    const char *variant;
    double max_error; /* largest relative difference from the plain-C witness, on as many rows as it does in a
                         fraction of a second */
    int samples;
    double min, p10, median, p90; /* seconds of a call, candidates uploaded and errors read back */
    double rate;                  /* 1e9 candidate-elements, M*K*candidates, by the median */
    double gops;                  /* integer or float operations of the products; 0 for errors of the tensor itself */
    double memory_seconds;        /* x (and y) read once at limits->read_gbps */
    double compute_seconds;       /* the arithmetic alone: quantizers, or products for errors of the output */
} vq_bench_sweep_result;

/* Makes a layer of random values, verifies its errors (VQ_ERR_DEVICE where they are wrong), then times the call. */
vq_status vq_bench_sweep(vq_bench_sweep_result *out, vq_device *dev, const vq_bench_sweep_params *params,
                         const vq_sweep_limits *limits);

#ifdef __cplusplus
}
#endif
#endif
