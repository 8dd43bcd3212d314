/* descent_f32 for CPUs: 16 rows at a time. */
#define LANES_WIDE
#include "descent_f32.h"
