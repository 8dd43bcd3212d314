/* One source for a kernel whose work is 16 independent lanes: 16 work-items with a lane each, or, where LANES_WIDE is
 * defined, one work-item with vectors of 16. lane_t holds the lanes; LANE_LOAD and LANE_STORE move the 16 floats at an
 * aligned address; FOR_LANES runs its body for every lane that this work-item has. */
#ifndef LANES_F32_H
#define LANES_F32_H

#include "quantizer_f32.h"

#ifdef LANES_WIDE
typedef float16 lane_t;
#define LANES_OP             __kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
#define LANE_LOAD(p)         (*(__global const float16 *)(p))
#define LANE_STORE(p, x)     (*(__global float16 *)(p) = (x))
#define LANE_CODE(x, s, z, top) uniform_code16(x, s, z, top)
#define FOR_LANES(i)         for (int i = 0; i < 16; i++)
#define LANE_AT(x, i)        ((x)[i])
#else
typedef float lane_t;
#define LANES_OP             __kernel __attribute__((reqd_work_group_size(16, 1, 1))) void
#define LANE_LOAD(p)         ((p)[get_local_id(0)])
#define LANE_STORE(p, x)     ((p)[get_local_id(0)] = (x))
#define LANE_CODE(x, s, z, top) uniform_code(x, s, z, top)
#define FOR_LANES(i)         for (int i = (int)get_local_id(0), once = 1; once; once = 0)
#define LANE_AT(x, i)        (x)
#endif

#endif
