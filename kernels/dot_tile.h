/* A product of tiles by sums of 4 products of bytes, for work-groups of SIDE x SIDE items: EACH x EACH neighbouring sums per
 * item, from tiles [fours][pitch] in local memory. VQ_P0 SIDE, VQ_P1 EACH, 4. */
#ifndef DOT_TILE_H
#define DOT_TILE_H

#include "vq_dot.h"
#include "vq_local.h"

#define SIDE  VQ_P0
#define EACH  VQ_P1
#define TILE  (SIDE * EACH)
#define ITEMS (SIDE * SIDE)
#define PITCH (TILE + 4) /* items that store neighbouring fours of a row meet different banks */

/* Emulated sums are long, and so is the time a compiler needs for several times as many. */
#if VQ_DOT == 0
#define UNROLL _Pragma("unroll 1")
#else
#define UNROLL _Pragma("unroll")
#endif
#define UNROLL_NONE _Pragma("unroll 1")
#ifndef UNROLL_FOURS
#define UNROLL_FOURS UNROLL
#endif

/* Rows of codes are PITCH apart, those of weights, which went through FLIP4, `pitch`. */
VQ_LOCAL_FUNCTION void multiply(int acc[EACH][EACH], __local const uint *a_tile, __local const uint *w_tile, int pitch,
                                int fours, int x, int y)
{
    UNROLL_FOURS
    for (int kk = 0; kk < fours; kk++) {
        uint codes[EACH], weights[EACH];
        for (int i = 0; i < EACH; i++) codes[i] = a_tile[kk * PITCH + y * EACH + i];
        for (int j = 0; j < EACH; j++) weights[j] = w_tile[kk * pitch + x * EACH + j];
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++) acc[i][j] = DOT4(acc[i][j], codes[i], weights[j]);
    }
}

#endif
