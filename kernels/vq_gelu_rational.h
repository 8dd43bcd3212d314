/* gelu_rational_f32, for kernels and hosts: x/2 (1 + erf(x / sqrt 2)) in steps that every device rounds alike,
 *     u = x * ROOT_HALF,  t = min(u * u, TOP),  p and q by Horner's rule from the first coefficient on (p = p * t + next),
 *     erf = clamp(u * p / q, -1, 1),  y = x * 0.5 * (erf + 1)
 * each operation rounded to float. u p / q is fitted to erf for |u| <= 4 by weighted least squares. */
#ifndef VQ_GELU_RATIONAL_H
#define VQ_GELU_RATIONAL_H

#define VQ_GELU_ROOT_HALF 0.707106781f
#define VQ_GELU_TOP       16.0f
#define VQ_GELU_TERMS     6
#define VQ_GELU_NUMERATOR 1.9748307e-6f, 2.8804234e-4f, 4.0036689e-3f, 5.3467546e-2f, 1.9624946e-1f, 1.1283790f
#define VQ_GELU_DENOMINATOR 3.7480920e-5f, 1.2163664e-3f, 1.5444466e-2f, 1.1647661e-1f, 5.0725272e-1f, 1.0f

#endif
