/* gram_error_f32 for CPUs: 16 candidates at a time. */
#define LANES_WIDE
#include "gram_error_f32.h"
