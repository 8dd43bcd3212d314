/* vitq: low-bit calibration and integer inference of vision transformers on any OpenCL device.
 * Tiers, lower never knows higher: base (status, log), device (OpenCL devices), image (photos to pixels), model (reading
 * and describing models), calib (quantizing one), mixed (bits tensor by tensor), session (running one), export (writing one
 * for other programs), eval (judging one), sweep (judging a grid of settings), bench (timing kernels). */
#ifndef VITQ_H
#define VITQ_H

#include "vitq/base.h"
#include "vitq/device.h"
#include "vitq/image.h"
#include "vitq/model.h"
#include "vitq/calib.h"
#include "vitq/session.h"
#include "vitq/export.h"
#include "vitq/eval.h"
#include "vitq/mixed.h"
#include "vitq/sweep.h"
#include "vitq/bench.h"

#endif
