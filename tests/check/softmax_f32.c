/* softmax_f32 */
#include "softmax.h"

void check_softmax_f32(check *ck)
{
    static const form f = {VQ_OP_SOFTMAX_F32, vq_softmax_f32_run, 1e-10, 1e-7, 16};
    check_softmax(ck, &f);
}
