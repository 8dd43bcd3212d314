/* Compiled programs on disk. An entry is <hash>.clbin: magic and format version, XXH3 of the data, size, data. Nothing
 * here fails: a cache that cannot be used is a cache that is off. */
#include "cl/internal.h"

#include <errno.h>
#include <stdio.h>
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

static void turn_off(vq_device *dev, const char *why)
{
    vq_log(VQ_LOG_DEBUG, "cache %s cannot be used and is off: %s", dev->cache_dir, why);
    free(dev->cache_dir);
    dev->cache_dir = NULL;
}

void vq_cache_open(vq_device *dev, const char *wanted)
{
    dev->cache_dir = NULL;
    if ((wanted ? vq_strdup(&dev->cache_dir, wanted) : default_dir(&dev->cache_dir)) != VQ_OK) return;
    if (!*dev->cache_dir) {
        free(dev->cache_dir);
        dev->cache_dir = NULL;
    } else if (!make_dirs(dev->cache_dir)) {
        turn_off(dev, strerror(errno));
    }
}

static char *entry_path(const vq_device *dev, const char *hash, const char *suffix)
{
    char *path = NULL;
    if (!dev->cache_dir || vq_format(&path, "%s/%s%s", dev->cache_dir, hash, suffix) != VQ_OK) return NULL;
    return path;
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

bool vq_cache_load(vq_device *dev, const char *hash, unsigned char **data, size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    char *path = entry_path(dev, hash, ".clbin");
    const bool loaded = path && vq_is_file(path) && access(path, R_OK) == 0 && read_entry(path, data, bytes);
    free(path);
    return loaded;
}

/* Writes a file that appears whole or not at all. Not base's writer: its failures are errors, here they are not, and
 * since entries carry a checksum they need not be flushed to disk one by one. */
static bool write_file(const char *path, const void *head, size_t head_bytes, const void *data, size_t bytes)
{
    char *tmp = NULL;
    if (vq_format(&tmp, "%s.tmp.XXXXXX", path) != VQ_OK) return false;
    const int fd = mkstemp(tmp);
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    bool ok = f && fwrite(head, 1, head_bytes, f) == head_bytes && fwrite(data, 1, bytes, f) == bytes;
    if (f) {
        ok = fclose(f) == 0 && ok;
    } else if (fd >= 0) {
        close(fd);
    }
    ok = ok && rename(tmp, path) == 0;
    if (!ok && fd >= 0) unlink(tmp);
    free(tmp);
    return ok;
}

void vq_cache_store(vq_device *dev, const char *hash, const void *data, size_t bytes)
{
    char header[HEADER_SIZE];
    char *path = entry_path(dev, hash, ".clbin");
    if (!path) return;
    make_header(header, data, bytes);
    if (!write_file(path, header, sizeof header, data, bytes)) turn_off(dev, strerror(errno));
    free(path);
}

char *vq_cache_store_log(vq_device *dev, const char *hash, const char *text)
{
    char *path = entry_path(dev, hash, ".log");
    if (path && write_file(path, "", 0, text, strlen(text))) return path;
    free(path);
    return NULL;
}

char *vq_cache_log_path(const vq_device *dev, const char *hash)
{
    char *path = entry_path(dev, hash, ".log");
    if (path && vq_is_file(path)) return path;
    free(path);
    return NULL;
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
