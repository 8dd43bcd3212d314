#include "calib/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/ops_f32.h"

/* What a transfer between file and device takes on the host. */
enum { PIECE = 1 << 20, PIECE_FLOATS = PIECE / sizeof(float) };

struct vq_store {
    int fd;
    char *folder;  /* for messages */
    size_t end;    /* of what is in use */
    size_t most;   /* that end has been */
    size_t *begin; /* [num] of what is reserved, ascending; odd once it was given back */
    int num, capacity;
    float *piece; /* [PIECE_FLOATS] */
};

/* ---- the file ------------------------------------------------------------------------------------------------------
 */

static vq_status open_unnamed(vq_store *s, const char *folder)
{
    char *path = NULL;
    VQ_TRY(vq_strdup(&s->folder, folder));
    VQ_TRY(vq_format(&path, "%s/vitq-XXXXXX", folder));
    s->fd = mkstemp(path);
    const int error = errno;
    if (s->fd >= 0) unlink(path);
    free(path);
    if (s->fd < 0) return vq_fail(VQ_ERR_IO, "%s: cannot make a temporary file: %s", folder, strerror(error));
    return VQ_OK;
}

vq_status vq_store_create(vq_store **out)
{
    const char *const given = getenv("TMPDIR");
    vq_store *s = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_TRY(vq_alloc(&s, 1, sizeof *s, "a temporary file"));
    s->fd = -1;
    VQ_GO(vq_alloc(&s->piece, PIECE_FLOATS, sizeof *s->piece, "a temporary file"));
    VQ_GO(open_unnamed(s, given && *given ? given : "/tmp"));
    *out = s;
    s = NULL;
done:
    vq_store_destroy(&s);
    return status;
}

void vq_store_destroy(vq_store **store)
{
    vq_store *const s = *store;
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    free(s->folder);
    free(s->begin);
    free(s->piece);
    free(s);
    *store = NULL;
}

size_t vq_store_bytes(const vq_store *s)
{
    return s->most;
}

vq_status vq_store_reserve(vq_store *s, size_t bytes, size_t *offset)
{
    if (s->num == s->capacity) {
        const int capacity = s->capacity ? 2 * s->capacity : 16;
        size_t *const grown = realloc(s->begin, (size_t)capacity * sizeof *grown);
        if (!grown) return vq_fail(VQ_ERR_NO_MEMORY, "out of memory for a temporary file");
        s->begin = grown;
        s->capacity = capacity;
    }
    *offset = s->end;
    s->begin[s->num++] = s->end;
    s->end += VQ_ROUND_UP(VQ_MAX(bytes, 1), (size_t)4096);
    s->most = VQ_MAX(s->most, s->end);
    return VQ_OK;
}

void vq_store_give_back(vq_store *s, size_t offset)
{
    for (int i = s->num; i-- > 0;)
        if (s->begin[i] == offset) s->begin[i] |= 1; /* they are multiples of 4096 */
    while (s->num > 0 && (s->begin[s->num - 1] & 1)) s->end = s->begin[--s->num] & ~(size_t)1;
}

vq_status vq_store_write(vq_store *s, size_t offset, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t n = pwrite(s->fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return vq_fail(VQ_ERR_IO, "%s: the temporary file of %zu MB that --memory needs cannot grow: %s", s->folder,
                           s->end / 1000000, n < 0 ? strerror(errno) : "nothing was written");
        at += n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return VQ_OK;
}

vq_status vq_store_read(vq_store *s, size_t offset, void *data, size_t bytes)
{
    char *at = data;
    while (bytes > 0) {
        const ssize_t n = pread(s->fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return vq_fail(VQ_ERR_IO, "%s: the temporary file cannot be read: %s", s->folder,
                           n < 0 ? strerror(errno) : "it has become shorter");
        at += n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return VQ_OK;
}

/* ---- parts ---------------------------------------------------------------------------------------------------------
 */

size_t vq_rows_step(const vq_rows *r, size_t total, size_t unit)
{
    if (r->whole || r->part >= total) return total;
    return VQ_MIN(VQ_MAX(r->part / unit, 1) * unit, total);
}

static vq_status make_room(vq_rows *r, size_t count)
{
    if (r->here && r->here->bytes / sizeof(float) >= count) return VQ_OK;
    vq_buf_destroy(&r->here);
    return vq_buf_create(&r->here, r->dev, count * sizeof(float));
}

vq_status vq_rows_load(const vq_buf **out, vq_rows *r, size_t first, size_t count)
{
    VQ_TRY(vq_rows_open(out, r, first, count));
    return r->whole ? VQ_OK : vq_rows_read(r, first, count, r->here, 0);
}

vq_status vq_rows_open(const vq_buf **out, vq_rows *r, size_t first, size_t count)
{
    *out = r->whole;
    if (r->whole && first) return vq_fail(VQ_ERR_INVALID_ARG, "a tensor that is whole has no part at %zu", first);
    if (r->whole) return VQ_OK;
    VQ_TRY(make_room(r, count));
    *out = r->here;
    return VQ_OK;
}

vq_status vq_rows_keep(vq_rows *r, size_t first, size_t count)
{
    return r->whole ? VQ_OK : vq_rows_write(r, first, count, r->here, 0);
}

vq_status vq_rows_read(const vq_rows *r, size_t first, size_t count, const vq_buf *to, size_t to_first)
{
    const size_t size = sizeof(float);
    if (r->whole) return vq_buf_copy(r->dev, to, to_first * size, r->whole, first * size, count * size);
    for (size_t done = 0; done < count; done += PIECE_FLOATS) {
        const size_t n = VQ_MIN(count - done, (size_t)PIECE_FLOATS);
        VQ_TRY(vq_store_read(r->store, r->offset + (first + done) * size, r->store->piece, n * size));
        VQ_TRY(vq_buf_write(r->dev, to, (to_first + done) * size, r->store->piece, n * size));
    }
    return VQ_OK;
}

/* Whole runs fill a piece, as every transfer to the device takes as long as many reads of a cached file. */
static vq_status read_short_runs(const vq_rows *r, const vq_runs *runs, const vq_buf *to, size_t to_first)
{
    const size_t size = sizeof(float), at_once = PIECE_FLOATS / runs->length;
    for (size_t done = 0, n; done < runs->count; done += n) {
        n = VQ_MIN(runs->count - done, at_once);
        for (size_t i = 0; i < n; i++)
            VQ_TRY(vq_store_read(r->store, r->offset + (runs->first + (done + i) * runs->step) * size,
                                 r->store->piece + i * runs->length, runs->length * size));
        VQ_TRY(vq_buf_write(r->dev, to, (to_first + done * runs->length) * size, r->store->piece,
                            n * runs->length * size));
    }
    return VQ_OK;
}

vq_status vq_rows_read_runs(const vq_rows *r, const vq_runs *runs, const vq_buf *to, size_t to_first)
{
    if (runs->step == runs->length) return vq_rows_read(r, runs->first, runs->count * runs->length, to, to_first);
    if (!r->whole && runs->length <= PIECE_FLOATS) return read_short_runs(r, runs, to, to_first);
    for (size_t i = 0; i < runs->count; i++)
        VQ_TRY(vq_rows_read(r, runs->first + i * runs->step, runs->length, to, to_first + i * runs->length));
    return VQ_OK;
}

vq_status vq_rows_write(const vq_rows *r, size_t first, size_t count, const vq_buf *from, size_t from_first)
{
    const size_t size = sizeof(float);
    if (r->whole) return vq_buf_copy(r->dev, r->whole, first * size, from, from_first * size, count * size);
    for (size_t done = 0; done < count; done += PIECE_FLOATS) {
        const size_t n = VQ_MIN(count - done, (size_t)PIECE_FLOATS);
        VQ_TRY(vq_buf_read(r->dev, from, (from_first + done) * size, r->store->piece, n * size));
        VQ_TRY(vq_store_write(r->store, r->offset + (first + done) * size, r->store->piece, n * size));
    }
    return VQ_OK;
}

void vq_rows_close(vq_rows *r)
{
    vq_buf_destroy(&r->here);
}

/* ---- order statistics ----------------------------------------------------------------------------------------------
 */

/* Some groups of a tensor in the store. */
typedef struct columns {
    vq_rows *r;
    const vq_groups *g;
    size_t first, count; /* groups */
} columns;

/* Elements begin .. end of the chosen groups, run after run: element e lies in run e / (inner * count). */
static vq_status gather(const columns *c, size_t begin, size_t end, const vq_buf *to)
{
    const size_t line = c->g->groups == 1 ? c->g->count : c->g->inner * c->count,
                 period = c->g->groups == 1 ? c->g->count : c->g->inner * (size_t)c->g->groups,
                 start = c->g->groups == 1 ? 0 : c->g->inner * c->first, size = sizeof(float);
    if (c->g->groups == 1) return vq_rows_read(c->r, begin, end - begin, to, 0);
    vq_store *const store = c->r->store;
    /* whole periods are read at once where they are short, else only what is wanted */
    const size_t lines = VQ_MAX(PIECE_FLOATS / 2 / period, 1);
    float *const in = store->piece, *const out = store->piece + PIECE_FLOATS / 2;
    size_t at = begin;
    if (period > PIECE_FLOATS / 2) {
        while (at < end) {
            const size_t in_line = at % line, n = VQ_MIN(VQ_MIN(line - in_line, end - at), (size_t)PIECE_FLOATS);
            const size_t from = at / line * period + start + in_line;
            VQ_TRY(vq_store_read(store, c->r->offset + from * size, in, n * size));
            VQ_TRY(vq_buf_write(c->r->dev, to, (at - begin) * size, in, n * size));
            at += n;
        }
        return VQ_OK;
    }
    while (at < end) {
        const size_t line0 = at / line, n_lines = VQ_MIN(lines, VQ_CEIL_DIV(end, line) - line0);
        const size_t stop = VQ_MIN(end, (line0 + n_lines) * line), begun = at;
        VQ_TRY(vq_store_read(store, c->r->offset + line0 * period * size, in, n_lines * period * size));
        for (size_t n; at < stop; at += n) {
            const size_t in_line = at % line;
            n = VQ_MIN(line - in_line, stop - at);
            memcpy(out + (at - begun), in + (at / line - line0) * period + start + in_line, n * size);
        }
        VQ_TRY(vq_buf_write(c->r->dev, to, (begun - begin) * size, out, (stop - begun) * size));
    }
    return VQ_OK;
}

static vq_status load_columns(void *user, size_t first, size_t count, const vq_buf **x)
{
    const columns *const c = user;
    VQ_TRY(make_room(c->r, count));
    *x = c->r->here;
    return gather(c, first, first + count, c->r->here);
}

vq_status vq_rows_quantile(vq_rows *r, const vq_groups *g, int first, int count, const size_t *ranks, int num_ranks,
                           float *out)
{
    const size_t n = g->count / (size_t)g->groups, together = r->part / n;
    if (r->whole) return vq_quantile_f32_some(r->dev, g, first, count, r->whole, ranks, num_ranks, out);
    for (int done = 0; done < count;) {
        const int some = (int)VQ_MIN((size_t)(count - done), VQ_MAX(together, 1));
        columns c = {r, g, (size_t)(first + done), (size_t)some};
        float *const to = out + (size_t)done * (size_t)num_ranks;
        if (together) {
            const vq_groups dense = {n * (size_t)some, some == 1 ? n : g->inner, some};
            const vq_buf *x = NULL;
            VQ_TRY(load_columns(&c, 0, dense.count, &x));
            VQ_TRY(vq_quantile_f32_some(r->dev, &dense, 0, some, x, ranks, num_ranks, to));
        } else {
            const vq_quantile_parts parts = {r->part, load_columns, &c};
            VQ_TRY(vq_quantile_f32_parts_run(r->dev, n, &parts, ranks, num_ranks, to));
        }
        done += some;
    }
    return VQ_OK;
}
