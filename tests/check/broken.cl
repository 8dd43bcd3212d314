/* The harness tests itself with this: out[r][c] = (x[r][c] * 3 + 2) >> 2, and what BUG breaks.
 * BUG 0 right, 1 writes one past each row, 2 truncates instead of rounding, 3 skips the last work-group, 4 writes one past
 * the buffer, 5 changes its input. */
__kernel void broken(__global uchar *x, __global uchar *out, int rows, int cols, int ld)
{
    const int i = (int)get_global_id(0), r = i / cols, c = i % cols;
    const int round = BUG == 2 ? 0 : 2;
    if (BUG == 3 && get_group_id(0) == get_num_groups(0) - 1) return;
    if (r >= rows) return;
    out[r * ld + c] = (uchar)((x[r * ld + c] * 3 + round) >> 2);
    if (BUG == 1 && c == cols - 1) out[r * ld + cols] = 0;
    if (BUG == 4 && i == rows * cols - 1) out[rows * ld] = 0;
    if (BUG == 5 && i == 0) x[1] ^= 1;
}
