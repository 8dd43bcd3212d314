/* Pixels of three interleaved channels, taken apart by shuffles. */
#ifndef CHANNELS_U8_H
#define CHANNELS_U8_H

#include "vq_vector.h"

typedef struct channels {
    uchar16 c0, c1, c2;
} channels;

/* Each channel of 16 pixels: of the 48 bytes every third. */
static channels channels_of(__global const uchar *pixels)
{
    const uchar16 v0 = LOAD_AT(uchar16, pixels), v1 = LOAD_AT(uchar16, pixels + 16), v2 = LOAD_AT(uchar16, pixels + 32);
    return (channels){(uchar16)(v0.s0369, v0.sc, v0.sf, v1.s258b, v1.se, v2.s147a, v2.sd),
                      (uchar16)(v0.s147a, v0.sd, v1.s0369, v1.sc, v1.sf, v2.s258b, v2.se),
                      (uchar16)(v0.s258b, v0.se, v1.s147a, v1.sd, v2.s0369, v2.sc, v2.sf)};
}

#endif
