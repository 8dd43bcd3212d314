/* The precision inside the *_f64 kernels: double, or float where a device has no doubles. */
#ifndef VQ_REAL_H
#define VQ_REAL_H

#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double vq_real;
#else
typedef float vq_real;
#endif

#endif
