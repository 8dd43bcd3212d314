/* Compiled programs on disk. An entry is <hash>.clbin: magic and format version, XXH3 of the data, size, data. Nothing
 * here fails: a cache that cannot be used is a cache that is off. */
#include "cl/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* Of the entries and of the key; a change of either makes all older entries unreachable. */
#define FORMAT      "vitq-clbin 1"
#define HEADER_SIZE 64
#define MAX_ENTRY   (256u << 20)

/* Header: FORMAT, NUL, 32 hex digits of the data's hash, NUL, zeros. */
static void make_header(char header[HEADER_SIZE], const void *data, size_t bytes)
{
    memset(header, 0, HEADER_SIZE);
    memcpy(header, FORMAT, sizeof FORMAT);
    vq_hash_hex(header + sizeof FORMAT, data, bytes);
}

/* mkdir -p; true where the folder exists afterwards and can be written to. */
static bool make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        const int rc = mkdir(path, 0777);
        const int why = errno;
        *p = '/';
        if (rc != 0 && why != EEXIST) return false;
    }
    if (mkdir(path, 0777) != 0 && errno != EEXIST) return false;
    return access(path, W_OK | X_OK) == 0;
}

static vq_status default_dir(char **out)
{
    const char *own = getenv("VITQ_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own) return vq_strdup(out, own);
    if (xdg && *xdg) return vq_path_join(out, xdg, "vitq");
    if (home && *home) return vq_path_join(out, home, ".cache/vitq");
    return vq_strdup(out, "");
}

void vq_cache_open(char **dir, const char *wanted)
{
    *dir = NULL;
    if ((wanted ? vq_strdup(dir, wanted) : default_dir(dir)) != VQ_OK) return;
    if (**dir && make_dirs(*dir)) return;
    if (**dir) vq_log(VQ_LOG_DEBUG, "cache %s cannot be used and is off: %s", *dir, strerror(errno));
    free(*dir);
    *dir = NULL;
}

char *vq_cache_path(const char *dir, const char *hash, const char *suffix)
{
    char *path = NULL;
    return dir && vq_format(&path, "%s/%s%s", dir, hash, suffix) == VQ_OK ? path : NULL;
}

static bool read_entry(const char *path, unsigned char **data, size_t *bytes)
{
    char *all, header[HEADER_SIZE];
    size_t size;
    if (vq_file_read(&all, &size, path, MAX_ENTRY) != VQ_OK) return false;
    if (size > HEADER_SIZE) {
        make_header(header, all + HEADER_SIZE, size - HEADER_SIZE);
        if (!memcmp(header, all, HEADER_SIZE)) {
            *bytes = size - HEADER_SIZE;
            memmove(all, all + HEADER_SIZE, *bytes);
            *data = (unsigned char *)all;
            return true;
        }
    }
    vq_log(VQ_LOG_WARN, "cache entry %s is damaged; it is made anew", path);
    free(all);
    return false;
}

bool vq_cache_load(const char *dir, const char *hash, unsigned char **data, size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    char *path = vq_cache_path(dir, hash, ".clbin");
    const bool loaded = path && access(path, R_OK) == 0 && read_entry(path, data, bytes);
    free(path);
    return loaded;
}

void vq_cache_store(const char *dir, const char *hash, const void *data, size_t bytes)
{
    vq_file_writer *w = NULL;
    char header[HEADER_SIZE];
    char *path = vq_cache_path(dir, hash, ".clbin");
    /* Asked first, because a writer's own failures are errors, and here they are not. */
    if (!path || access(dir, W_OK | X_OK) != 0) {
        vq_log(VQ_LOG_DEBUG, "cache %s cannot be written", dir ? dir : "(off)");
        free(path);
        return;
    }
    make_header(header, data, bytes);
    if (vq_file_begin(&w, path) != VQ_OK || vq_file_append(w, header, sizeof header) != VQ_OK ||
        vq_file_append(w, data, bytes) != VQ_OK || vq_file_commit(&w) != VQ_OK) {
        vq_log(VQ_LOG_DEBUG, "cache entry %s could not be written", path);
        vq_file_abort(&w);
    }
    free(path);
}

vq_status vq_cache_key(char hash[33], const vq_device *dev, const char *kind, const char *options, const char *source)
{
    char platform[256] = "";
    char *key;
    clGetPlatformInfo(dev->platform, CL_PLATFORM_VERSION, sizeof platform, platform, NULL);
    platform[sizeof platform - 1] = '\0';
    VQ_TRY(vq_format(&key, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", FORMAT, kind, platform, dev->info.vendor,
                     dev->info.name, dev->info.version, dev->info.driver, options, source));
    vq_hash_hex(hash, key, strlen(key));
    free(key);
    return VQ_OK;
}
