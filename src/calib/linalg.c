#include "calib/linalg.h"

#include <math.h>
#include <stdlib.h>

static double mean_diagonal(const double *h, int k)
{
    double sum = 0;
    for (int i = 0; i < k; i++) sum += h[(size_t)i * (size_t)k + (size_t)i];
    return sum / k;
}

/* a [k][k] = H in the given order, damped. */
static vq_status damped(double *a, const double *h, const int32_t *order, int k, double damping)
{
    const size_t n = (size_t)k;
    const double mean = mean_diagonal(h, k), extra = mean > 0 ? damping * mean : 1;
    if (!isfinite(mean)) return vq_fail(VQ_ERR_INVALID_ARG, "a layer's inputs are not finite");
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) a[i * n + j] = h[(size_t)order[i] * n + (size_t)order[j]];
        a[i * n + i] += extra;
    }
    return VQ_OK;
}

/* The lower triangle of a becomes that of T with A = T'T, T lower triangular: Cholesky from the last row up. T' is
 * upper, which is what the inverse needs. */
static vq_status factor(double *a, int k)
{
    const size_t n = (size_t)k;
    for (size_t j = n; j-- > 0;) {
        double *const row = a + j * n;
        if (!(row[j] > 0) || !isfinite(row[j]))
            return vq_fail(VQ_ERR_INVALID_ARG, "a layer's Gram matrix is not positive; use more damping");
        const double root = sqrt(row[j]);
        for (size_t i = 0; i <= j; i++) row[i] /= root;
        row[j] = root;
        for (size_t i = 0; i < j; i++) {
            double *const to = a + i * n;
            const double f = row[i];
            for (size_t l = 0; l <= i; l++) to[l] -= f * row[l];
        }
    }
    return VQ_OK;
}

vq_status vq_inverse_factor(float *out, const double *h, const int32_t *order, int k, double damping)
{
    const size_t n = (size_t)k;
    double *a = NULL, *row = NULL, *u = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&a, n * n, sizeof *a, "factorization"));
    VQ_GO(vq_alloc(&u, n * n, sizeof *u, "factorization"));
    VQ_GO(damped(a, h, order, k, damping));
    VQ_GO(factor(a, k));
    /* U = (T')^-1, row by row from the last: U_i = (e_i - sum_{l > i} T_li U_l) / T_ii */
    for (size_t i = n; i-- > 0;) {
        row = u + i * n;
        row[i] = 1;
        for (size_t l = i + 1; l < n; l++) {
            const double f = a[l * n + i];
            const double *const from = u + l * n;
            for (size_t j = l; j < n; j++) row[j] -= f * from[j];
        }
        for (size_t j = i; j < n; j++) row[j] /= a[i * n + i];
        for (size_t j = 0; j < n; j++) out[i * n + j] = j < i ? 0.0f : (float)row[j];
    }
done:
    free(a);
    free(u);
    return status;
}
