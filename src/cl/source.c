/* Kernel text with its includes inlined, so that one string is all a program depends on: the key of the disk cache is a
 * hash of it, and no include path has to exist on the user's machine. */
#include "cl/source.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define MAX_DEPTH      16
#define MAX_FILE_BYTES (1u << 20)
#define MAX_TEXT_BYTES (8u << 20) /* a kernel is some 10 kB; more is an include that runs wild */

typedef struct text {
    char *data;
    size_t len, cap;
} text;

static vq_status append(text *t, const char *s, size_t n)
{
    if (t->len + n > MAX_TEXT_BYTES) {
        return vq_fail(VQ_ERR_FORMAT, "kernel source is over %u bytes after its includes", MAX_TEXT_BYTES);
    }
    if (t->len + n + 1 > t->cap) {
        const size_t cap = 2 * (t->len + n + 1);
        char *grown = realloc(t->data, cap);
        if (!grown) return vq_fail(VQ_ERR_NO_MEMORY, "kernel source: out of memory for %zu bytes", cap);
        t->data = grown;
        t->cap = cap;
    }
    memcpy(t->data + t->len, s, n);
    t->len += n;
    t->data[t->len] = '\0';
    return VQ_OK;
}

static vq_status append_line_mark(text *t, int line, const char *name)
{
    char *mark;
    VQ_TRY(vq_format(&mark, "#line %d \"%s\"\n", line, name));
    const vq_status status = append(t, mark, strlen(mark));
    free(mark);
    return status;
}

static const char *embedded_text(const char *name)
{
    for (const vq_embedded_file *f = vq_embedded_files; f->name; f++) {
        if (!strcmp(f->name, name)) return f->text;
    }
    return NULL;
}

/* One file as a fresh string. */
static vq_status read_file(char **out, const char *name)
{
    const char *dir = getenv("VITQ_KERNEL_DIR");
    char *path = NULL;
    size_t bytes;
    *out = NULL;
    if (strchr(name, '/')) return vq_file_read(out, &bytes, name, MAX_FILE_BYTES);
    if (dir && *dir) {
        VQ_TRY(vq_path_join(&path, dir, name));
        const bool found = vq_is_file(path);
        const vq_status status = found ? vq_file_read(out, &bytes, path, MAX_FILE_BYTES) : VQ_OK;
        free(path);
        if (found) return status;
    }
    const char *embedded = embedded_text(name);
    if (!embedded) return vq_fail(VQ_ERR_BUILD, "kernel file %s is not part of this build", name);
    return vq_strdup(out, embedded);
}

/* Finds the name in `#include "name"`; false where the line is anything else. */
static bool parse_include(const char *line, const char *end, const char **name, size_t *len)
{
    const char *p = line;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p == end || *p++ != '#') return false;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (end - p < 7 || memcmp(p, "include", 7)) return false;
    p += 7;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p == end || *p++ != '"') return false;
    const char *close = memchr(p, '"', (size_t)(end - p));
    if (!close) return false;
    *name = p;
    *len = (size_t)(close - p);
    return true;
}

static vq_status append_file(text *t, const char *name, int depth);

static vq_status append_include(text *t, const char *from, int line, const char *name, size_t len, int depth)
{
    char *included = NULL;
    if (depth >= MAX_DEPTH) return vq_fail(VQ_ERR_FORMAT, "%s:%d: includes nest over %d deep", from, line, MAX_DEPTH);
    VQ_TRY(vq_format(&included, "%.*s", (int)len, name));
    vq_status status = append_file(t, included, depth + 1);
    free(included);
    if (status == VQ_OK) status = append_line_mark(t, line + 1, from);
    return status;
}

static vq_status append_file(text *t, const char *name, int depth)
{
    char *body;
    VQ_TRY(read_file(&body, name));
    vq_status status = append_line_mark(t, 1, name);
    int line = 1;
    for (const char *p = body; *p && status == VQ_OK; line++) {
        const char *newline = strchr(p, '\n');
        const char *end = newline ? newline : p + strlen(p);
        const char *inc;
        size_t len;
        if (parse_include(p, end, &inc, &len)) {
            status = append_include(t, name, line, inc, len, depth);
        } else {
            status = append(t, p, (size_t)(end - p));
            if (status == VQ_OK) status = append(t, "\n", 1);
        }
        p = newline ? newline + 1 : end;
    }
    free(body);
    return status;
}

vq_status vq_source_get(char **out, const char *name)
{
    text t = {0};
    const vq_status status = append_file(&t, name, 0);
    if (status == VQ_OK) {
        *out = t.data;
    } else {
        free(t.data);
        *out = NULL;
    }
    return status;
}
