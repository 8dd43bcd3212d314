#include "base/windows.h"

int vq_windows_count(const vq_windows *w)
{
    return w->height ? VQ_CEIL_DIV(w->height, w->window_h) * VQ_CEIL_DIV(w->width, w->window_w) : 1;
}

int vq_windows_tokens(const vq_windows *w)
{
    return w->window_h * w->window_w;
}

bool vq_windows_padded(const vq_windows *w)
{
    return w->height && (w->height % w->window_h || w->width % w->window_w);
}

/* Place in the shifted, padded grid. */
typedef struct place {
    int y, x;
} place;

static place place_of(const vq_windows *w, int i)
{
    const int tokens = vq_windows_tokens(w), window = i / tokens, token = i % tokens;
    const int across = VQ_CEIL_DIV(w->width, w->window_w);
    return (place){window / across * w->window_h + token / w->window_w,
                   window % across * w->window_w + token % w->window_w};
}

/* Where a coordinate of the shifted grid lies in the raster, -1 in the padding. */
static int unshifted(int at, int size, int window, int shift, bool pad_first)
{
    if (!pad_first) return at < size ? (at + shift) % size : -1;
    const int from = (at + shift) % VQ_ROUND_UP(size, window);
    return from < size ? from : -1;
}

void vq_windows_map(const vq_windows *w, int32_t *map)
{
    const int count = vq_windows_count(w) * vq_windows_tokens(w);
    for (int i = 0; i < count; i++) {
        const place p = place_of(w, i);
        const int y = unshifted(p.y, w->height, w->window_h, w->shift_h, w->pad_first);
        const int x = unshifted(p.x, w->width, w->window_w, w->shift_w, w->pad_first);
        map[i] = y < 0 || x < 0 ? -1 : y * w->width + x;
    }
}

void vq_windows_back(const vq_windows *w, int32_t *back)
{
    const int count = vq_windows_count(w) * vq_windows_tokens(w);
    for (int i = 0; i < count; i++) {
        const place p = place_of(w, i);
        const int y = unshifted(p.y, w->height, w->window_h, w->shift_h, w->pad_first);
        const int x = unshifted(p.x, w->width, w->window_w, w->shift_w, w->pad_first);
        if (y >= 0 && x >= 0) back[y * w->width + x] = i;
    }
}

/* The last window of a shifted axis holds what lay at its end, and what lay at its beginning. */
static int stripe(int at, int size, int window, int shift)
{
    const int end = VQ_ROUND_UP(size, window);
    return shift == 0 ? 0 : at < end - window ? 0 : at < end - shift ? 1 : 2;
}

void vq_windows_regions(const vq_windows *w, int32_t *region)
{
    const int count = vq_windows_count(w) * vq_windows_tokens(w);
    for (int i = 0; i < count; i++) {
        const place p = place_of(w, i);
        region[i] =
            3 * stripe(p.y, w->height, w->window_h, w->shift_h) + stripe(p.x, w->width, w->window_w, w->shift_w);
    }
}

int vq_windows_relative(const vq_windows *w, int i, int j)
{
    const int down = i / w->window_w - j / w->window_w + w->window_h - 1;
    const int right = i % w->window_w - j % w->window_w + w->window_w - 1;
    return down * (2 * w->window_w - 1) + right;
}

void vq_merge_map(int height, int width, int32_t *map)
{
    const int across = VQ_CEIL_DIV(width, 2), rows = VQ_CEIL_DIV(height, 2) * across;
    for (int i = 0; i < 4 * rows; i++) {
        const int y = 2 * (i / 4 / across) + i % 2, x = 2 * (i / 4 % across) + i / 2 % 2;
        map[i] = y < height && x < width ? y * width + x : -1;
    }
}
