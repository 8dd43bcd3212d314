#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static vq_status fail_errno(const char *path, const char *what)
{
    return vq_fail(VQ_ERR_IO, "%s: %s: %s", path, what, strerror(errno));
}

/* Opens a regular file for reading; *bytes is its size. */
static vq_status open_regular(int *fd, size_t *bytes, const char *path)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return fail_errno(path, "cannot open");
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(*fd);
        *fd = -1;
        return vq_fail(VQ_ERR_IO, "%s: not a regular file", path);
    }
    *bytes = (size_t)st.st_size;
    return VQ_OK;
}

vq_status vq_file_map_open(vq_file_map *out, const char *path)
{
    int fd = -1;
    size_t bytes = 0;
    *out = (vq_file_map){0};
    VQ_TRY(open_regular(&fd, &bytes, path));
    void *const data = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (data == MAP_FAILED) return fail_errno(path, "cannot map");
    *out = (vq_file_map){data, bytes};
    return VQ_OK;
}

void vq_file_map_close(vq_file_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (vq_file_map){0};
}

bool vq_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool vq_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

vq_status vq_file_read(char **out, size_t *bytes, const char *path, size_t max_bytes)
{
    int fd = -1;
    size_t done = 0;
    vq_status status = VQ_OK;
    *out = NULL;
    *bytes = 0;
    VQ_TRY(open_regular(&fd, bytes, path));
    if (*bytes > max_bytes)
        VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: %zu bytes, at most %zu expected", path, *bytes, max_bytes));
    VQ_GO(vq_alloc(out, *bytes + 1, 1, path));
    while (done < *bytes) {
        const ssize_t n = read(fd, *out + done, *bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) VQ_GO(fail_errno(path, "cannot read"));
        if (n == 0) VQ_GO(vq_fail(VQ_ERR_IO, "%s: became shorter while it was read", path));
        done += (size_t)n;
    }
done:
    close(fd);
    if (status != VQ_OK) {
        free(*out);
        *out = NULL;
        *bytes = 0;
    }
    return status;
}

vq_status vq_path_join(char **out, const char *dir, const char *name)
{
    const size_t n = strlen(dir);
    return vq_format(out, n && dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

struct vq_file_writer {
    char *path, *tmp;
    int fd;
};

void vq_file_abort(vq_file_writer **w)
{
    if (!*w) return;
    if ((*w)->fd >= 0) {
        close((*w)->fd);
        unlink((*w)->tmp);
    }
    free((*w)->path);
    free((*w)->tmp);
    free(*w);
    *w = NULL;
}

vq_status vq_file_begin(vq_file_writer **out, const char *path)
{
    vq_file_writer *w = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_alloc(&w, 1, sizeof *w, path));
    w->fd = -1;
    VQ_GO(vq_strdup(&w->path, path));
    VQ_GO(vq_format(&w->tmp, "%s.tmp.%ld", path, (long)getpid()));
    if (vq_is_dir(path)) VQ_GO(vq_fail(VQ_ERR_IO, "%s: is a folder, a file name is needed", path));
    w->fd = open(w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) VQ_GO(fail_errno(path, "cannot write"));
    *out = w;
    w = NULL;
done:
    vq_file_abort(&w);
    return status;
}

vq_status vq_file_append(vq_file_writer *w, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes) {
        const ssize_t n = write(w->fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(w->path, "cannot write");
        p += n;
        bytes -= (size_t)n;
    }
    return VQ_OK;
}

vq_status vq_file_commit(vq_file_writer **w)
{
    vq_status status = VQ_OK;
    if (fsync((*w)->fd) != 0) status = fail_errno((*w)->path, "cannot write");
    if (close((*w)->fd) != 0 && status == VQ_OK) status = fail_errno((*w)->path, "cannot write");
    (*w)->fd = -1;
    if (status == VQ_OK && rename((*w)->tmp, (*w)->path) != 0) status = fail_errno((*w)->path, "cannot rename to");
    if (status != VQ_OK) unlink((*w)->tmp);
    vq_file_abort(w);
    return status;
}
