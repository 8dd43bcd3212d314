/* layernorm_f64 for CPUs: one work-item per VQ_P0 rows, 8 columns at a time. Grid: (rows / VQ_P0), work-groups of one. */
#include "vq_vector.h"

#pragma OPENCL EXTENSION cl_khr_fp64 : enable

static double8 load(__global const float *x)
{
    return __builtin_convertvector(LOAD_AT(float8, x), double8);
}

static double lanes(double8 v)
{
    const double4 a = v.lo + v.hi;
    const double2 b = a.lo + a.hi;
    return b.x + b.y;
}

static void row(__global const float *in, __global const float *gamma, __global const float *beta, double eps,
                __global float *out, int c)
{
    const int whole = c & ~7;
    double8 sum = 0, squares = 0;
    double tail = 0, tail_squares = 0;
    for (int i = 0; i < whole; i += 8) sum += load(in + i);
    for (int i = whole; i < c; i++) tail += (double)in[i];
    const double mean = (lanes(sum) + tail) / c;
    for (int i = 0; i < whole; i += 8) {
        const double8 d = load(in + i) - mean;
        squares += d * d;
    }
    for (int i = whole; i < c; i++) {
        const double d = (double)in[i] - mean;
        tail_squares += d * d;
    }
    const double scale = 1 / sqrt((lanes(squares) + tail_squares) / c + eps);
    for (int i = 0; i < whole; i += 8)
        STORE_AT(float8, out + i) =
            __builtin_convertvector((load(in + i) - mean) * scale * load(gamma + i) + load(beta + i), float8);
    for (int i = whole; i < c; i++)
        out[i] = (float)(((double)in[i] - mean) * scale * (double)gamma[i] + (double)beta[i]);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void layernorm_f64(__global const float *x,
                                                                           __global const float *gamma,
                                                                           __global const float *beta, float eps,
                                                                           __global float *y, int m, int c)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, m);
    for (int r = first; r < end; r++) row(x + (size_t)r * c, gamma, beta, (double)eps, y + (size_t)r * c, c);
}
