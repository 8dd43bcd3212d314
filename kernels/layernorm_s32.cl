/* layernorm_s32: one work-group of VQ_P0 (a power of two) work-items per row. Grid: (m). base/int_ops.h has the formula
 * and why nothing overflows. */
#include "layernorm_s32.h"
#include "vq_local.h"

static int deviation(int x, int mean)
{
    return (int)clamp((long)x - mean, -(long)LIMIT, (long)LIMIT);
}

/* Sum over the work-group, in every item. */
VQ_LOCAL_FUNCTION long sum_group(__local long *part, long value)
{
    const int item = (int)get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    part[item] = value;
    for (int middle = VQ_P0 / 2; middle > 0; middle /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < middle) part[item] += part[item + middle];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return part[0];
}

__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void layernorm_s32(LAYERNORM_ARGS)
{
    __local long part[VQ_P0];
    __local uint shared[2]; /* gain and its shift */
    const size_t row = get_group_id(0);
#ifdef LAYERNORM_MERGE
    __global const int *parts[4];
    const int quarter = c / 4;
    for (int p = 0; p < 4; p++) parts[p] = part_of(x, ldx, (int)row, p, merge_h, merge_w);
#define IN(i) (parts[(i) / quarter] ? parts[(i) / quarter][(i) - (i) / quarter * quarter] : 0)
#else
    __global const int *const in = x + row * (size_t)ldx;
#define IN(i) in[i]
#endif
    const int item = (int)get_local_id(0);
    long sum = 0, squares = 0; /* the squares' sum may pass 2^63: it wraps to the right u64 */
    for (int i = item; i < c; i += VQ_P0) sum += IN(i);
    const int mean = mean_of(sum_group(part, sum), c);
    for (int i = item; i < c; i += VQ_P0) {
        const long d = deviation(IN(i), mean);
        squares += d * d;
    }
    const ulong v = (ulong)sum_group(part, squares) + c_eps;
    if (item == 0) {
        uint of_row;
        shared[1] = (uint)gain_of(v, root, &of_row);
        shared[0] = of_row;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const long gain = shared[0];
    const int h = (int)shared[1];
    for (int i = item; i < c; i += VQ_P0) {
        const long y = (deviation(IN(i), mean) * gain + (1L << (h - 1))) >> h;
        const long code = (y * mult[i] + bias[spread(i)]) >> shift[spread(i)];
        codes[row * (size_t)ld_codes + i] = (OUT)clamp(code, OUT_MIN, OUT_MAX);
    }
}
