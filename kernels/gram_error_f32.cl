/* gram_error_f32 for any device: a work-item per candidate. */
#include "gram_error_f32.h"
