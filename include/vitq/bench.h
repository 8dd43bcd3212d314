/* vitq tier 4: measuring the kernels of a device. What vitq-bench is made of. */
#ifndef VITQ_BENCH_H
#define VITQ_BENCH_H

#include "vitq/device.h"
#include "vitq/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- ops: every kernel of vitq on a shape of a real model ---------------------------------------------------------- */

/* What follows an integer product (its cost is part of the measurement). */
typedef enum vq_bench_epilogue {
    VQ_BENCH_CODES, /* requantized to u8: qkv, LayerNorm inputs */
    VQ_BENCH_TABLE, /* requantized and looked up, u8: fc1 and GELU */
    VQ_BENCH_ADD,   /* added to the s32 residual stream: proj, fc2 */
    VQ_BENCH_SET    /* s32: patch embedding, logits */
} vq_bench_epilogue;

/* What an op's operations are counted in, and which peak bounds it. */
typedef enum vq_bench_type {
    VQ_BENCH_S8, /* u8 x s8 multiply-adds, two operations each */
    VQ_BENCH_F32 /* float operations; a fused multiply-add is two */
} vq_bench_type;

/* Ops by number, from 0; NULL past the last. About says in a line what m, n and k are for it. Those of peaks come first:
 *   peak_s8, peak_f32  multiply-adds on registers alone
 *   copy               m KiB from one buffer to another: bytes are those read and written
 *   enqueue            a launch of an empty kernel put into the queue: what the host pays
 *   round_trip         the same, and waiting for it */
const char *vq_bench_op_name(int i);
const char *vq_bench_op_about(int i);
bool vq_bench_op_is_peak(const char *op);
vq_bench_type vq_bench_op_type(const char *op);

/* Names of the kernel variants that the device can run for an op, weakest first; fills up to max and stores how many
 * there are in *count. The names are static. */
vq_status vq_bench_op_variants(const char **names, int max, int *count, vq_device *dev, const char *op);
/* The variant that vitq uses on this device: by VITQ_KERNELS, the tuning table, or the strongest. */
vq_status vq_bench_op_choice(const char **variant, vq_device *dev, const char *op);

typedef struct vq_bench_op_params {
    const char *op;             /* a vq_bench_op_name */
    const char *variant;        /* NULL: the device's choice */
    int batch;                  /* images, for ops whose about says so; 0: 1 */
    int m, n, k;                /* as about says, 1..2^20; 0: 1. Tensors below 2^30 elements */
    int window;                 /* attention_u8: side of the windows of a square raster of m tokens; 0: none */
    vq_bench_epilogue epilogue; /* gemm_s8 */
    int w_bits, a_bits;         /* of gemm_s8's weights and codes, 2..8; 0: 8 */
    double seconds;             /* time to measure for; 0: 0.2 */
    uint64_t seed;              /* of the operands */
} vq_bench_op_params;

typedef struct vq_bench_op_result {
    const char *variant;
    size_t verified;  /* elements of the result that were compared with the plain-C witness before timing: all of them,
                         or, where that takes longer than about a second, rows spread over the result or a smaller
                         batch */
    double max_error; /* of floats, relative to what rounding errors grow with; integers are compared for equality: 0 */
    int samples, runs_each;       /* each sample is the mean of runs_each runs, enqueued together */
    double min, p10, median, p90; /* seconds a run */
    double ops, bytes;            /* of a run: operations of vq_bench_op_type, 0 where they are not what it is about; bytes
                                     that must be read and written, each once */
} vq_bench_op_result;

/* Makes random operands as a calibrated model has them, verifies the result (VQ_ERR_DEVICE where it is wrong), warms up
 * with two runs, then times. The variant's choice on the device is restored. */
vq_status vq_bench_op(vq_bench_op_result *out, vq_device *dev, const vq_bench_op_params *params);

/* The most multiply-adds a second the device reaches on registers alone with any variant, as 1e9 operations (2 per
 * multiply-add); the best of a few tries of some 10 ms. */
vq_status vq_bench_peak(double *gops, vq_device *dev, vq_bench_type type);

/* ---- tuning ------------------------------------------------------------------------------------------------------- */

/* The device's tuning table: which variant an op takes where nobody asks for another (VITQ_KERNELS does), and which of
 * some parameter sets CLBlast's SGEMM takes. It lies in the cache folder, one file for a device, its driver and this
 * version's variants; devices read it when they are opened, unless $VITQ_TUNING is "off". variant NULL takes an op out of
 * it. */
vq_status vq_bench_tuning_set(vq_device *dev, const char *op, const char *variant);
/* Kernel i of CLBlast that has parameter sets, and how many; NULL past the last. Sets hold for this process from then on,
 * and for later ones once saved; -1 takes the kernel out of the table, for later ones. */
const char *vq_bench_clblast_kernel(int i, int *sets);
vq_status vq_bench_clblast_set(vq_device *dev, int kernel, int set);
/* Writes the table: what was set on this device object, beside what the file has of other ops and kernels. *path names the file, free() releases it; path may be NULL. */
vq_status vq_bench_tuning_save(char **path, vq_device *dev);

/* ---- whole models ------------------------------------------------------------------------------------------------- */

/* Operations of the matrix products of one image, two a multiply-add: patch embedding, linear layers, scores and context
 * (one product, also where the integer runtime takes it in two planes of bytes). */
vq_status vq_bench_model_ops(double *ops, const vq_model *model);

/* One step of a model's run: what it cost on the device, and what it must at least cost. */
typedef struct vq_bench_step {
    const char *name; /* of the layer, as the model has it */
    const char *op;   /* "gemm_s8" as vq_bench_op_name, or in float "linear", "softmax" ... */
    const char *kind; /* of gemm_s8: "codes", "table", "add", "set"; else "" */
    vq_bench_type type;
    double launches;          /* kernels that an image of a run passes through, measured */
    double seconds;           /* of a run, measured: the device's time */
    double operations;        /* of a run, counted: of matrix products, two a multiply-add */
    double bytes, constants;  /* the same: activations read and written, each once, and constants read */
    double apart_launches, apart_bytes; /* of integers, counted: launches and activations' bytes of kernels that each do
                                           one thing (docs/bench.md, "Kernels and bytes per image"); else NAN */
} vq_bench_step;
typedef void (*vq_bench_step_fn)(void *user, const vq_bench_step *step);

/* Runs the session, on a device opened with profile, once for the first `batch` of its pixels (as vq_session_run) to warm
 * up and `runs` times step by step, and calls fn for each step, in order. The strings live as long as the model. */
vq_status vq_bench_steps(vq_session *session, const uint8_t *pixels, int batch, int runs, vq_bench_step_fn fn,
                         void *user);

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

/* Kernel variants for a kind; as vq_bench_op_variants. */
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
