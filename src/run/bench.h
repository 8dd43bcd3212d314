/* Inside of vq_bench: a product of random operands that can run and be verified, and timing of anything. */
#ifndef VQ_SRC_RUN_BENCH_H
#define VQ_SRC_RUN_BENCH_H

#include "cl/cl.h"
#include "vitq/bench.h"

/* One product; the fields of the other type are NULL. */
typedef struct vq_bench_problem vq_bench_problem;
vq_status vq_bench_problem_create(vq_bench_problem **out, vq_device *dev, const vq_bench_gemm_params *params);
void vq_bench_problem_destroy(vq_bench_problem **problem);
/* Enqueues one run. */
vq_status vq_bench_problem_run(vq_bench_problem *problem);
/* Compares C after the first run with the witness. */
vq_status vq_bench_problem_verify(vq_bench_problem *problem, vq_bench_gemm_result *result);

/* Fills up to max names of the variants of an op that the device has; *count is how many there are. */
vq_status vq_bench_list(const char **names, int max, int *count, const vq_device *dev, vq_op op);

#endif
