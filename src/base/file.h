/* Files: read-only mapping, whole reads, atomic writes. Every message names the path. */
#ifndef VQ_SRC_FILE_H
#define VQ_SRC_FILE_H

#include "base/base.h"

typedef struct vq_file_map {
    const uint8_t *data; /* NULL when bytes is 0 */
    size_t bytes;
} vq_file_map;

/* Maps a regular file read-only. Directories, missing and unreadable files fail with VQ_ERR_IO. */
vq_status vq_file_map_open(vq_file_map *out, const char *path);
void vq_file_map_close(vq_file_map *map); /* accepts an empty map */

bool vq_is_dir(const char *path);
bool vq_is_file(const char *path);

/* Reads a whole file of at most max_bytes; a NUL is put behind the data. free() releases *out. */
vq_status vq_file_read(char **out, size_t *bytes, const char *path, size_t max_bytes);

/* "dir/name" in a fresh string. */
vq_status vq_path_join(char **out, const char *dir, const char *name);

/* A file that appears whole or not at all: written as PATH.tmp.PID in the same folder, flushed to disk, then renamed.
 * begin fails early where the folder is missing or not writable; commit and abort both free the writer. */
typedef struct vq_file_writer vq_file_writer;
vq_status vq_file_begin(vq_file_writer **out, const char *path);
vq_status vq_file_append(vq_file_writer *w, const void *data, size_t bytes);
vq_status vq_file_commit(vq_file_writer **w);
void vq_file_abort(vq_file_writer **w); /* removes the temporary file; accepts a pointer to NULL */

#endif
