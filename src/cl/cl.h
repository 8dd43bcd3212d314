/* What src/ops and src/run see of OpenCL: buffers, kernel variants, launches. No OpenCL type leaves this folder. */
#ifndef VQ_SRC_CL_H
#define VQ_SRC_CL_H

#include "base/base.h"
#include "vitq/device.h"

/* Device memory. A view shares its parent's memory and must be destroyed before it. */
typedef struct vq_buf {
    void *mem; /* cl_mem */
    size_t bytes;
} vq_buf;

/* Memory filled with zeros. bytes > 0. */
vq_status vq_buf_create(vq_buf **out, vq_device *dev, size_t bytes);
/* The same with contents copied from the host. */
vq_status vq_buf_create_from(vq_buf **out, vq_device *dev, const void *data, size_t bytes);
/* Part of a parent; offset is a multiple of VQ_BUF_ALIGN. */
#define VQ_BUF_ALIGN 4096
vq_status vq_buf_view(vq_buf **out, vq_device *dev, const vq_buf *parent, size_t offset, size_t bytes);
void vq_buf_destroy(vq_buf **buf);
/* 0 of NULL. */
size_t vq_buf_bytes(const vq_buf *buf);

/* Blocking copies; offset + bytes must lie inside the buffer. */
vq_status vq_buf_write(vq_device *dev, const vq_buf *buf, size_t offset, const void *data, size_t bytes);
vq_status vq_buf_read(vq_device *dev, const vq_buf *buf, size_t offset, void *data, size_t bytes);
/* Enqueued, not waited for. fill: bytes is a multiple of 4, value repeats. */
vq_status vq_buf_fill(vq_device *dev, const vq_buf *buf, size_t offset, uint32_t value, size_t bytes);
vq_status vq_buf_copy(vq_device *dev, const vq_buf *dst, size_t dst_offset, const vq_buf *src, size_t src_offset,
                      size_t bytes);
/* Waits for everything enqueued, in all lanes. */
vq_status vq_device_finish(vq_device *dev);

/* Lanes: queues of a device, each in order, side by side. At the end of every launch a CPU's threads wait for the last of
 * them, and then for the next launch; with two lanes they go on with the other one's work. */
enum { VQ_MAX_LANES = 2 };
/* How many are worth using: VQ_MAX_LANES on CPU devices of several compute units, else 1. */
int vq_device_lanes(const vq_device *dev);
/* Where the calling thread's launches, fills and copies go from now on, on whatever device has so many lanes: lane 0 until
 * the first call. What it enqueued on dev before may start. */
void vq_lane_enter(vq_device *dev, int lane);

/* Every op that has kernels, in the order of kernels/registry.def. */
typedef enum vq_op {
#define VQ_OP(id, name) VQ_OP_##id,
#include "registry.def"
    VQ_OP_COUNT
} vq_op;

const char *vq_op_name(vq_op op); /* "gemm_s8" */

/* One row of kernels/registry.def. p[] are the numbers that host and kernel must agree on (tile sizes); they reach the
 * kernel as -DVQ_P0=.. to -DVQ_P3=.. besides the row's own options. */
typedef struct vq_variant {
    vq_op op;
    const char *name;    /* "gemm_s8__portable" */
    const char *file;    /* "gemm_s8.cl" */
    unsigned needs;      /* VQ_CAP_* */
    const char *options;
    int p[4];
} vq_variant;

/* All variants of an op, weakest first, ended by NULL; eligible or not. */
const vq_variant *const *vq_variants(vq_op op);
bool vq_variant_eligible(const vq_device *dev, const vq_variant *variant);
/* Whether every work-group has one work-item, with vectors for lanes: rows for CPUs, from files *_wide.cl. */
bool vq_variant_is_wide(const vq_variant *variant);
vq_status vq_variant_find(const vq_variant **out, const char *name);

/* The variant this device uses for an op: a forced one, else what the device's VITQ_KERNELS choice allows, else the last
 * eligible row. Never fails: row 0 of every op needs nothing. */
const vq_variant *vq_variant_choose(vq_device *dev, vq_op op);
/* The strongest of the variants below this one that the choice leaves to its op and that compiles, for layers that this one
 * does not compile for; NULL where there is none. */
const vq_variant *vq_variant_weaker(vq_device *dev, const vq_variant *variant);
/* Forces a variant for its op on this device (tests, benchmarks); NULL restores the choice. */
vq_status vq_variant_force(vq_device *dev, vq_op op, const vq_variant *variant);

/* The device's tuning table, read when it was opened: a variant per op that a free choice takes instead of the strongest
 * (NULL: none), and CLBlast's parameter sets. A choice by VITQ_KERNELS overrides it. */
vq_status vq_tuning_set(vq_device *dev, vq_op op, const vq_variant *variant);
/* Writes it to the cache folder, for all later programs: what was set since the device was opened, beside what the file
 * there says of other ops and kernels. */
vq_status vq_tuning_save(vq_device *dev);
/* Where; free() releases. NULL where the cache is off. */
char *vq_tuning_path(const vq_device *dev);

typedef enum vq_clblast_kernel { VQ_CLBLAST_XGEMM, VQ_CLBLAST_XGEMM_DIRECT, VQ_CLBLAST_KERNELS } vq_clblast_kernel;
const char *vq_clblast_kernel_name(vq_clblast_kernel kernel);
int vq_clblast_num_sets(vq_clblast_kernel kernel);
/* From now on, in this process, for this device; part of the table. -1 takes the kernel out of the table, but this process
 * goes on with the set it had. */
vq_status vq_clblast_use_set(vq_device *dev, vq_clblast_kernel kernel, int set);

/* A compiled kernel function of a variant, owned by the device and cached there; options may be NULL. */
typedef struct vq_kernel vq_kernel;
vq_status vq_kernel_get(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                        const char *options);
/* The same where something else can take its place: that the compiler refuses it is a warning, once, and VQ_ERR_BUILD. */
vq_status vq_kernel_try(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                        const char *options);

/* A kernel that calls kernel functions of variants, one after another, in each of its work-groups: with the arguments of all
 * of them in a row, and the group ids that it has itself. Those must be VQ_ONE_ITEM_KERNELs (kernels/vq_part.h); what one
 * writes the next ones of the same work-group may read. params: the types of a function's parameters, with commas between
 * them. At most VQ_MOST_PARTS. Owned by the device; `name` is that of its function. That the compiler or linker refuses it is
 * a warning, once, and VQ_ERR_BUILD. */
enum { VQ_MOST_PARTS = 8 };
typedef struct vq_kernel_part {
    const vq_variant *variant;
    const char *function, *options, *params;
} vq_kernel_part;
vq_status vq_kernel_chain(vq_kernel **out, vq_device *dev, const char *name, const vq_kernel_part *parts, int count);

/* Kernel arguments, in order. */
typedef struct vq_arg {
    enum { VQ_ARG_BUF, VQ_ARG_I32, VQ_ARG_F32, VQ_ARG_I64, VQ_ARG_LOCAL } kind;
    union {
        const vq_buf *buf; /* NULL passes a null pointer */
        int32_t i32;
        float f32;
        int64_t i64;
        size_t local_bytes;
    } u;
} vq_arg;
#define VQ_A_BUF(b)   ((vq_arg){VQ_ARG_BUF, {.buf = (b)}})
#define VQ_A_I32(x)   ((vq_arg){VQ_ARG_I32, {.i32 = (x)}})
#define VQ_A_F32(x)   ((vq_arg){VQ_ARG_F32, {.f32 = (x)}})
#define VQ_A_I64(x)   ((vq_arg){VQ_ARG_I64, {.i64 = (x)}})
#define VQ_A_LOCAL(n) ((vq_arg){VQ_ARG_LOCAL, {.local_bytes = (n)}})

/* Enqueues num_groups[i] work-groups of local[i] work-items in each of three dimensions (0 counts as 1). Returns at once;
 * the queue is in order. Thread-safe per device. */
typedef struct vq_grid {
    size_t groups[3], local[3];
} vq_grid;
vq_status vq_launch(vq_device *dev, vq_kernel *kernel, vq_grid grid, const vq_arg *args, int num_args);
#define VQ_LAUNCH(dev, kernel, grid, ...)                                                                              \
    vq_launch(dev, kernel, grid, (const vq_arg[]){__VA_ARGS__}, (int)VQ_ARRAY_LEN(((const vq_arg[]){__VA_ARGS__})))

/* Device time of all launches since the last call, by kernel function, for devices opened with profile; fn may be NULL
 * to discard. Waits for the queue. */
typedef void (*vq_profile_fn)(void *user, const char *function, size_t launches, double seconds);
vq_status vq_device_profile(vq_device *dev, vq_profile_fn fn, void *user);

/* SGEMM by CLBlast on the device's queue; only where VQ_CAP_CLBLAST is set.
 * C[z] = alpha * op(A[z]) * op(B[z]) + beta * C[z], row-major, z = 0..batch-1; offsets and strides in elements. */
typedef struct vq_clblast_sgemm {
    const vq_buf *a, *b, *c;
    size_t a_offset, b_offset, c_offset;
    int m, n, k, lda, ldb, ldc;
    bool trans_a, trans_b; /* A is [K][M], B is [N][K] */
    float alpha, beta;
    int batch;
    size_t a_stride, b_stride, c_stride;
} vq_clblast_sgemm;
vq_status vq_clblast_run(vq_device *dev, const vq_clblast_sgemm *args);

#endif
