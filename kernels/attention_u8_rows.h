/* Where the tokens of an attention are: one after another, or rows of a raster that make up a window (WINDOWS, see
 * base/int_ops.h). */
#ifndef ATTENTION_U8_ROWS_H
#define ATTENTION_U8_ROWS_H

#ifndef WINDOWS
#define WINDOWS 0
#endif

/* map, region: s32 [windows][tokens]; bias: s32 [heads][tokens][tokens]; pad: u8 [3C]. Not looked at without WINDOWS. */
#define MAP_ARGS    __global const int *map, __global const uchar *pad, int windows, int raster
#define WINDOW_ARGS \
    __global const int *map, __global const int *region, __global const int *bias, __global const uchar *pad, int mask, \
        int windows, int raster

/* Columns of all tokens of one attention. */
typedef struct token_rows {
    __global const uchar *base, *pad;
    __global const int *map;
    int ld;
} token_rows;

#if WINDOWS
/* The window'th part of all images' windows. */
#define FIRST_ROW(part, tokens)     ((size_t)((part) / windows) * raster)
#define MAP_OF(part, tokens)        (map + (int)((part) - (part) / windows * windows) * (tokens))
#define ROW_INDEX(map_of, j)        ((map_of)[j])
#else
#define FIRST_ROW(part, tokens)     ((size_t)(part) * (tokens))
#define MAP_OF(part, tokens)        map
#define ROW_INDEX(map_of, j)        (j)
#endif

static __global const uchar *row_of(const token_rows *r, int j)
{
#if WINDOWS
    const int at = r->map[j];
    return at < 0 ? r->pad : r->base + (size_t)at * r->ld;
#else
    return r->base + (size_t)j * r->ld;
#endif
}

static token_rows columns(token_rows r, int by)
{
    r.base += by;
#if WINDOWS
    r.pad += by;
#endif
    return r;
}

#endif
