/* vitq tier 0: status codes, log, version.
 *
 * General rules, for every header of this library:
 * - A function that can fail returns vq_status. Results come through out-pointers, first in the list; on failure they
 *   are set to NULL or zero. The text of a failure goes to the log, once, at VQ_LOG_ERROR.
 * - `_create`, `_open` and `_load` functions give ownership; the matching `_destroy(T **)` takes it back, sets the
 *   pointer to NULL and accepts a pointer to NULL. Destroy in the reverse order of creation.
 * - In a params struct zero means "the default"; passing NULL for the struct means "all defaults". It need only live
 *   until the function returns.
 * - Returned `const` pointers are borrowed and live as long as the object they came from.
 * - Different objects may be used from different threads at the same time; one object from one thread at a time, unless
 *   a comment says otherwise. */
#ifndef VITQ_BASE_H
#define VITQ_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VQ_VERSION_STRING "0.1.0"

/* The vitq program exits with the value of the status that ended it; 1 is kept for "command line not understood". */
typedef enum vq_status {
    VQ_OK = 0,
    VQ_ERR_INVALID_ARG = 2, /* a documented precondition on an argument does not hold */
    VQ_ERR_SHAPE,           /* tensor shapes do not fit together, or a tensor is missing */
    VQ_ERR_UNSUPPORTED,     /* valid, but this model, device or build cannot do it */
    VQ_ERR_NO_DEVICE,       /* no OpenCL device, or none of that number */
    VQ_ERR_NO_MEMORY,       /* out of host memory */
    VQ_ERR_DEVICE_MEMORY,   /* out of device memory */
    VQ_ERR_BUILD,           /* a kernel did not compile; the log holds the build log */
    VQ_ERR_DEVICE,          /* any other OpenCL error; the log holds its name */
    VQ_ERR_IO,              /* a file could not be read or written */
    VQ_ERR_FORMAT,          /* a file is malformed */
    VQ_ERR_VERSION,         /* a file was made by another version of the format */
    VQ_ERR_CANCELLED,       /* a progress callback asked to stop */
    VQ_STATUS_COUNT
} vq_status;

/* Short name of a status ("invalid argument"); never NULL. */
const char *vq_status_name(vq_status status);

/* Version of the library that is running, "MAJOR.MINOR.PATCH". */
const char *vq_version(void);

typedef enum vq_log_level { VQ_LOG_ERROR, VQ_LOG_WARN, VQ_LOG_INFO, VQ_LOG_DEBUG } vq_log_level;

/* Receives one line without a newline at its end. May be called from several threads, one call at a time. */
typedef void (*vq_log_fn)(void *user, vq_log_level level, const char *text);

/* Sends messages up to max_level to fn, for the whole process; fn == NULL restores the default, which prints
 * "vitq: text" on stderr for errors and warnings. Call before other threads use the library. */
void vq_log_set(vq_log_fn fn, void *user, vq_log_level max_level);

/* Reports progress of long work; called from the thread that does the work.
 * stage: what is being done ("calibrate"), item: on which part ("blocks.3.attn.qkv", may be ""), done of total steps.
 * Returning false asks the work to stop; the function that called then fails with VQ_ERR_CANCELLED. */
typedef bool (*vq_progress_fn)(void *user, const char *stage, const char *item, size_t done, size_t total);

#ifdef __cplusplus
}
#endif
#endif
