/* softmax_f64 for CPUs: one work-item per VQ_P0 rows, 8 columns at a time. x and y may be the same memory.
 * Grid: (rows / VQ_P0), work-groups of one. */
#include "vq_vector.h"

#pragma OPENCL EXTENSION cl_khr_fp64 : enable

/* e^x for x <= 0: 2^n * e^r with |r| <= ln(2)/2, Taylor's polynomial of degree 13 (off by 5e-18), below e^-708 zero. */
static double8 exp_neg(double8 x)
{
    const double8 shifted = max(x, (double8)-708.0) * 1.4426950408889634 + 6755399441055744.0; /* 1.5 * 2^52: n in the low bits */
    const double8 n = shifted - 6755399441055744.0;
    const double8 r = fma(n, (double8)-1.9082149292705877e-10, fma(n, (double8)-0.69314718036912382, max(x, (double8)-708.0)));
    double8 p = 1.0 / 6227020800;
    p = fma(p, r, (double8)(1.0 / 479001600));
    p = fma(p, r, (double8)(1.0 / 39916800));
    p = fma(p, r, (double8)(1.0 / 3628800));
    p = fma(p, r, (double8)(1.0 / 362880));
    p = fma(p, r, (double8)(1.0 / 40320));
    p = fma(p, r, (double8)(1.0 / 5040));
    p = fma(p, r, (double8)(1.0 / 720));
    p = fma(p, r, (double8)(1.0 / 120));
    p = fma(p, r, (double8)(1.0 / 24));
    p = fma(p, r, (double8)(1.0 / 6));
    p = fma(p, r, (double8)0.5);
    p = fma(p, r, (double8)1.0);
    p = fma(p, r, (double8)1.0);
    const double8 scale = as_double8((as_long8(shifted) + 1023) << 52);
    return x < -708.0 ? (double8)0.0 : p * scale;
}

static double8 load(__global const float *x)
{
    return __builtin_convertvector(LOAD_AT(float8, x), double8);
}

static double lanes_sum(double8 v)
{
    const double4 a = v.lo + v.hi;
    const double2 b = a.lo + a.hi;
    return b.x + b.y;
}

static double lanes_max(double8 v)
{
    const double4 a = fmax(v.lo, v.hi);
    const double2 b = fmax(a.lo, a.hi);
    return fmax(b.x, b.y);
}

/* The exponentials are computed twice: memory for a row of them would bound t. */
static void row(__global const float *in, __global float *out, int t)
{
    const int whole = t & ~7, rest = t - whole;
    double tail[8];
    for (int i = 0; i < 8; i++) tail[i] = i < rest ? (double)in[whole + i] : -(double)INFINITY;
    const double8 last = vload8(0, tail);
    double8 top = last;
    for (int i = 0; i < whole; i += 8) {
        const double8 v = load(in + i);
        top = v > top ? v : top;
    }
    const double row_top = lanes_max(top);
    const double8 e_last = exp_neg(last - row_top);
    double8 sum = e_last;
    for (int i = 0; i < whole; i += 8) sum += exp_neg(load(in + i) - row_top);
    const double row_sum = lanes_sum(sum);
    for (int i = 0; i < whole; i += 8)
        STORE_AT(float8, out + i) = __builtin_convertvector(exp_neg(load(in + i) - row_top) / row_sum, float8);
    vstore8(e_last / row_sum, 0, tail);
    for (int i = 0; i < rest; i++) out[whole + i] = (float)tail[i];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_f64(__global const float *x, __global float *y,
                                                                         int rows, int t)
{
    const int first = (int)get_group_id(0) * VQ_P0, end = min(first + VQ_P0, rows);
    for (int r = first; r < end; r++) row(x + (size_t)r * t, y + (size_t)r * t, t);
}
