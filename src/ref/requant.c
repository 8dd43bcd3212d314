/* Witness of the project's one rounding rule. */
#include "ref/ref_int.h"

int32_t vq_ref_requant(int32_t x, int32_t mult, int shift)
{
    const int64_t sum = (int64_t)x * mult + ((int64_t)1 << (shift - 1));
    /* floor division: C rounds towards zero, so negative sums step down where there is a remainder */
    const int64_t unit = (int64_t)1 << shift;
    const int64_t q = sum / unit - (sum % unit < 0);
    return q > INT32_MAX ? INT32_MAX : q < INT32_MIN ? INT32_MIN : (int32_t)q;
}
