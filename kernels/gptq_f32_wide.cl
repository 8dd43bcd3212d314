/* gptq_f32 for CPUs: 16 rows at a time. */
#define LANES_WIDE
#include "gptq_f32.h"
