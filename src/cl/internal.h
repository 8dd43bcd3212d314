/* What the files of src/cl share; no other folder includes this. */
#ifndef VQ_SRC_CL_INTERNAL_H
#define VQ_SRC_CL_INTERNAL_H

#include <pthread.h>

#include <CL/cl.h>

#include "cl/cl.h"

/* A built program: one per kernel file and options. Failed builds are remembered, so that they are tried once. */
typedef struct vq_program {
    struct vq_program *next;
    char *file, *options;
    cl_program program; /* NULL: the build failed */
    char unsaved[33];   /* what the disk cache is yet to keep it under; else empty */
} vq_program;

struct vq_kernel {
    struct vq_kernel *next;
    const vq_variant *variant;
    char *function, *options;
    cl_kernel kernel;
};

/* Device time by kernel function, for devices opened with profile. */
typedef struct vq_profile_sum {
    struct vq_profile_sum *next;
    char *function;
    size_t launches;
    double seconds;
} vq_profile_sum;

typedef struct vq_profile_event {
    cl_event event;
    vq_profile_sum *sum;
} vq_profile_event;

#define VQ_MAX_EVENTS 1024

/* Everything below `lock` is guarded by it, except mem objects and queues, which OpenCL guards itself. */
struct vq_device {
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queues[VQ_MAX_LANES]; /* each in order */
    int lanes;
    vq_device_info info;
    char *cache_dir; /* NULL: no disk cache */
    bool profile;
    bool exact_division; /* the device can round float division correctly, if asked */

    bool has_lock;
    pthread_mutex_t lock;
    vq_program *programs;
    vq_kernel *kernels;
    const vq_variant *allowed[VQ_OP_COUNT]; /* by VITQ_KERNELS, NULL: free choice up to class_needs */
    unsigned class_needs;                   /* capabilities that a free choice may use */
    const char *class_name;                 /* preferred class, "" for none; part of a registry row */
    const vq_variant *tuned[VQ_OP_COUNT]; /* by the tuning table, NULL: nothing */
    int clblast_set[VQ_CLBLAST_KERNELS];   /* -1: CLBlast's own */
    bool tuned_here[VQ_OP_COUNT], set_here[VQ_CLBLAST_KERNELS]; /* since the device was opened */
    const vq_variant *forced[VQ_OP_COUNT];
    const vq_variant *chosen[VQ_OP_COUNT];
    char *chosen_text;
    vq_profile_sum *sums;
    vq_profile_event *events; /* [VQ_MAX_EVENTS] */
    int num_events;
};

/* device.c: the queue of the calling thread's lane. */
cl_command_queue vq_queue_of(const vq_device *dev);

/* error.c: "CL_OUT_OF_RESOURCES"; and vq_fail with the device's name in front and the error's behind, choosing the status
 * by the error. */
const char *vq_cl_error_name(cl_int error);
vq_status vq_cl_fail(const vq_device *dev, cl_int error, const char *fmt, ...) VQ_PRINTF(3, 4);

/* cache.c: entries of the disk cache by the hash of a key. Nothing here fails loudly: what goes wrong is a debug message
 * and turns the cache off (cache_dir becomes NULL); a damaged entry is a warning and counts as missing. */
void vq_cache_open(vq_device *dev, const char *wanted);
bool vq_cache_load(vq_device *dev, const char *hash, unsigned char **data, size_t *bytes); /* free() releases data */
void vq_cache_store(vq_device *dev, const char *hash, const void *data, size_t bytes);
/* Writes text beside the entry of that hash; the path, which free() releases, or NULL. */
char *vq_cache_store_log(vq_device *dev, const char *hash, const char *text);
/* That path, where the file is there; else NULL. */
char *vq_cache_log_path(const vq_device *dev, const char *hash);
/* Hash of a kind of entry, the device's identity and two texts: everything that can change a compiled program. */
vq_status vq_cache_key(char hash[33], const vq_device *dev, const char *kind, const char *options, const char *source);

/* program.c; call with the lock held. Builds, or takes from memory or disk, the program of a file. A failed build is an
 * error, or a warning where skipped names the variant that is then passed over. */
vq_status vq_program_get(cl_program *out, vq_device *dev, const char *file, const char *options, const char *skipped);
/* Whether the compiler takes it. What it makes does not go to disk before somebody gets it: only that it could. */
bool vq_program_compiles(vq_device *dev, const char *file, const char *options, const char *skipped);
/* The steps of it, which chain.c takes, too: a program of memory or NULL; of the disk cache or NULL; into the disk cache; the
 * report of a build that failed, VQ_ERR_BUILD; into memory, with which the program belongs to the device (NULL: its build
 * failed). */
vq_program *vq_program_find(const vq_device *dev, const char *file, const char *options);
cl_program vq_program_from_cache(vq_device *dev, const char *hash, const char *options);
void vq_program_to_cache(vq_device *dev, cl_program program, const char *hash);
vq_status vq_program_refused(vq_device *dev, cl_program program, cl_int error, const char *file, const char *hash,
                             const char *skipped);
vq_status vq_program_keep(vq_device *dev, const char *file, const char *options, cl_program program);
/* Keeps what became of a probe and its build log beside the cached programs; the path, which free() releases, or NULL. */
char *vq_program_keep_log(vq_device *dev, cl_program program, const char *options, const char *source,
                          const char *verdict);
/* Options of a variant with the caller's; free() releases. */
vq_status vq_program_options(char **out, const vq_device *dev, const vq_variant *variant, const char *options);
void vq_program_destroy_all(vq_device *dev);

/* probe.c: the VQ_CAP_* bits of an opened device. */
unsigned vq_probe_caps(vq_device *dev);
/* probe_gpu.c: those of GPUs, and VQ_CAP_EMULATED where it is asked for. */
unsigned vq_probe_gpu_caps(vq_device *dev);

/* registry.c: the names of variants that need a capability, as many as fit. */
void vq_variants_needing(char *out, size_t size, unsigned cap);
/* registry.c: applies a VITQ_KERNELS choice to a device whose capabilities are known. */
vq_status vq_registry_apply(vq_device *dev, const char *choice);

/* tuning.c: reads the table of an opened device. A damaged one is a warning, and written anew without entries. */
void vq_tuning_load(vq_device *dev);

/* launch.c: a kernel that is there already, or NULL; and one more, which takes over `kernel` unless it fails. Call both with
 * the lock held. */
vq_kernel *vq_kernel_find(const vq_device *dev, const vq_variant *variant, const char *function, const char *options);
vq_status vq_kernel_adopt(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                          const char *options, cl_kernel kernel);
void vq_launch_destroy_all(vq_device *dev);
/* Takes over an event of work enqueued under the name of a function; call with the lock held. */
vq_status vq_profile_add(vq_device *dev, cl_event event, const char *function);

#endif
