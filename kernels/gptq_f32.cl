/* gptq_f32 for any device: a work-item per row. */
#include "gptq_f32.h"
