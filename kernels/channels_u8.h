/* Pixels of three interleaved channels, taken apart by shuffles. */
#ifndef CHANNELS_U8_H
#define CHANNELS_U8_H

/* One channel of 16 pixels of three: bytes c, c+3, c+6, .. of the 48 in v0 v1 v2. */
static uchar16 channel0(uchar16 v0, uchar16 v1, uchar16 v2)
{
    return (uchar16)(v0.s0369, v0.sc, v0.sf, v1.s258b, v1.se, v2.s147a, v2.sd);
}

static uchar16 channel1(uchar16 v0, uchar16 v1, uchar16 v2)
{
    return (uchar16)(v0.s147a, v0.sd, v1.s0369, v1.sc, v1.sf, v2.s258b, v2.se);
}

static uchar16 channel2(uchar16 v0, uchar16 v1, uchar16 v2)
{
    return (uchar16)(v0.s258b, v0.se, v1.s147a, v1.sd, v2.s0369, v2.sc, v2.sf);
}

#endif
