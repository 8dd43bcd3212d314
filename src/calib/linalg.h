/* Factorizations of the symmetric positive definite matrices of rounding, on the host in double: one per layer, K^3
 * operations beside the M K^2 of the data's own products. Thread-safe. */
#ifndef VQ_SRC_LINALG_H
#define VQ_SRC_LINALG_H

#include "base/base.h"

/* The upper triangular U with U'U = (H + damping * mean(diag H) * I)^-1, H [k][k] symmetric; rows and columns are taken
 * in the order given ([k], a permutation). out [k][k], zero below the diagonal. Columns of H that are all zero (dead
 * inputs) count as damping alone. Fails with VQ_ERR_INVALID_ARG where H is not finite. */
vq_status vq_inverse_factor(float *out, const double *h, const int32_t *order, int k, double damping);

#endif
