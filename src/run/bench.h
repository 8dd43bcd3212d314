/* Inside of vq_bench: an op on random operands that can run and be verified, and timing of anything. */
#ifndef VQ_SRC_RUN_BENCH_H
#define VQ_SRC_RUN_BENCH_H

#include "cl/cl.h"
#include "vitq/bench.h"

enum { VQ_BENCH_SLOTS = 8 };

/* An op with its operands. What lies in the slots is freed by vq_bench. */
typedef struct vq_bench_case {
    vq_bench_op_params p; /* complete: no zeros */
    vq_device *dev;
    vq_rng rng;
    vq_buf *buf[VQ_BENCH_SLOTS];
    void *host[VQ_BENCH_SLOTS];
    void *op; /* freed by the op's destroy */
    int ld_in, ld_out;
    double ops, bytes;
    size_t verified;
    double max_error;
} vq_bench_case;

/* How samples are taken. */
typedef enum vq_bench_pace {
    VQ_BENCH_TOGETHER, /* runs enqueued together, as many as take a millisecond */
    VQ_BENCH_ALONE,    /* each run waited for */
    VQ_BENCH_ENQUEUE   /* the time of enqueuing alone */
} vq_bench_pace;

typedef struct vq_bench_op_def {
    const char *name, *about;
    vq_op op;
    vq_bench_type type;
    vq_bench_pace pace;
    vq_status (*make)(vq_bench_case *c);   /* operands on host and device; ops and bytes */
    vq_status (*run)(vq_bench_case *c);    /* enqueues one run */
    vq_status (*verify)(vq_bench_case *c); /* runs, and compares with the witness */
    void (*destroy)(vq_bench_case *c);     /* of c->op; may be NULL */
} vq_bench_op_def;

/* Of floats, with make_stem, run_stem and verify_stem. */
#define VQ_BENCH_F32_OP_OF(name, about, id, operands, stem)                                                        \
    {                                                                                                              \
        name, about, VQ_OP_##id, VQ_BENCH_F32, VQ_BENCH_TOGETHER, make_##operands, run_##stem, verify_##stem, NULL \
    }
#define VQ_BENCH_F32_OP(name, about, id, stem) VQ_BENCH_F32_OP_OF(name, about, id, stem, stem)

extern const vq_bench_op_def vq_bench_peak_ops[], vq_bench_gemm_ops[], vq_bench_int_ops[], vq_bench_f32_ops[],
    vq_bench_calib_ops[];
extern const int vq_bench_num_peak_ops, vq_bench_num_gemm_ops, vq_bench_num_int_ops, vq_bench_num_f32_ops,
    vq_bench_num_calib_ops;

/* Host memory and device memory in a slot. */
vq_status vq_bench_host(void *out_ptr, vq_bench_case *c, int slot, size_t count, size_t size);
vq_status vq_bench_upload(vq_bench_case *c, int slot, const void *data, size_t bytes);
vq_status vq_bench_random_f32(float **out, vq_bench_case *c, int slot, size_t count, float lo, float hi);
/* A code of 2 to 8 bits as those of real layers lie: about the middle, 2^(bits - 1), with a deviation of a seventh of them
 * all, as inputs of linear layers and Q have at most. Of two bits, any. */
uint8_t vq_bench_code(vq_rng *rng, int bits);
/* Failure of a verification: element `at` of `what`. */
vq_status vq_bench_differs(const vq_bench_case *c, const char *what, size_t at, double got, double want);

/* Fills up to max names of the variants of an op that the device has; *count is how many there are. */
vq_status vq_bench_list(const char **names, int max, int *count, const vq_device *dev, vq_op op);

#endif
