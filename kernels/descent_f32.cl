/* descent_f32 for any device: a work-item per row. */
#include "descent_f32.h"
