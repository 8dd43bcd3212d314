/* What the variants of layernorm_s32 share. */
#ifndef LAYERNORM_S32_H
#define LAYERNORM_S32_H

/* LAYERNORM_SET: s32 results instead of codes. */
#ifdef LAYERNORM_SET
#define OUT int
#define OUT_MIN (-2147483648L)
#define OUT_MAX 2147483647L
#else
#define OUT uchar
#define OUT_MIN 0L
#define OUT_MAX ((long)code_max)
#endif

/* mult    s32 [c], then zeros up to a multiple of 16
 * rows_per_item: of the kernels for CPUs
 * bias    s64 with the rounding term, shift u64, both spread: of 16 channels first the even ones, then the odd ones */
#define LAYERNORM_ARGS                                                                                                \
    __global const int *x, int ldx, __global const int *mult, __global const long *bias, __global const ulong *shift, \
        __global OUT *codes, int ld_codes, int m, int c, ulong c_eps, uint root, int code_max, int merge_h,           \
        int merge_w, int rows_per_item

#ifdef LAYERNORM_MERGE
/* Part p (0..3) of merged row `row`: its c/4 channels, 0 beyond the grid. */
static __global const int *part_of(__global const int *x, int ldx, int row, int p, int merge_h, int merge_w)
{
    const int across = (merge_w + 1) / 2, rows = (merge_h + 1) / 2 * across;
    const int image = row / rows, at = row - image * rows, down = at / across, right = at - down * across;
    const int y = 2 * down + (p & 1), left = 2 * right + p / 2;
    if (y >= merge_h || left >= merge_w) return 0;
    return x + ((size_t)image * (merge_h * merge_w) + (y * merge_w + left)) * ldx;
}
#endif

#define LIMIT ((1 << 26) - 1)

static int spread(int i)
{
    return (i & ~15) + (i & 1) * 8 + (i & 15) / 2;
}

/* floor((2*sum + c) / (2*c)) */
static int mean_of(long sum, int c)
{
    const long a = 2 * sum + c, b = 2L * c, q = a / b;
    return (int)(q - (a - q * b < 0));
}

/* floor(sqrt(v)) for v >= 2^62: one integer Newton step from a float estimate (relative error below 2^-20, so below
 * 2^-41 after the step), then to the exact value by single steps, whose number the estimate decides, never the result.
 */
static uint root_of(ulong v)
{
    const ulong estimate = min((ulong)(sqrt((float)(v >> 24)) * 4096.0f), 0xffffffffUL);
    ulong r = min((estimate + v / estimate) >> 1, 0xffffffffUL);
    while (r * r > v) r--;
    while (r < 0xffffffffUL && (r + 1) * (r + 1) <= v) r++;
    return (uint)r;
}

/* d * *gain, shifted right by the result (9..40) with rounding, is d / deviation with 16 fraction bits. */
static int gain_of(ulong v, uint root, uint *gain)
{
    const int s = (int)clz(v) & ~1;
    *gain = (uint)(((ulong)root << 33) / root_of(v << s));
    return 40 - s / 2;
}

#endif
