/* softmax_f64: the witness's figures, but for the last bit now and then. */
#include "softmax.h"

void check_softmax_f64(check *ck)
{
    static const form f = {VQ_OP_SOFTMAX_F64, vq_softmax_f64_run, 1e-15, 1e-38, 1};
    check_softmax(ck, &f);
}
