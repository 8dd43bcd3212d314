/* Attention within windows of a grid of tokens (arXiv 2103.14030), as addressing: which row of a raster [height][width]
 * each token of each window is. */
#ifndef VQ_SRC_WINDOWS_H
#define VQ_SRC_WINDOWS_H

#include "base/base.h"

/* Windows of window_h x window_w over the grid, shifted cyclically by shift_h, shift_w. Where the grid is no multiple of
 * the window, rows of padding are added below and to the right: in the shifted grid, or, with pad_first, before it is
 * shifted. All sizes are positive, shifts 0 .. window - 1; height == 0: no windows, one attention over everything. */
typedef struct vq_windows {
    int height, width, window_h, window_w, shift_h, shift_w;
    bool pad_first;
} vq_windows;

/* Number of windows, 1 where there are none. */
int vq_windows_count(const vq_windows *w);
/* Tokens of one window. */
int vq_windows_tokens(const vq_windows *w);
/* Does any window hold padding? */
bool vq_windows_padded(const vq_windows *w);

/* map [count * tokens]: row of the raster of every token, -1 for padding. */
void vq_windows_map(const vq_windows *w, int32_t *map);
/* back [height * width]: the inverse. */
void vq_windows_back(const vq_windows *w, int32_t *back);
/* region [count * tokens]: tokens of a window attend to each other unmasked where these are equal. The cyclic shift
 * brings tokens together that are no neighbours. */
void vq_windows_regions(const vq_windows *w, int32_t *region);
/* Entry of a table [(2 window_h - 1) * (2 window_w - 1)] of relative positions for tokens i and j of a window. */
int vq_windows_relative(const vq_windows *w, int i, int j);

/* map [ceil(height / 2) * ceil(width / 2)][4]: the rows of 2 x 2 neighbours, top left, bottom left, top right, bottom
 * right; -1 beyond the grid. */
void vq_merge_map(int height, int width, int32_t *map);

#endif
