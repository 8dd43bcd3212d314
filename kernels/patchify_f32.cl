/* patchify_f32 for any device: an element per work-item. Grid: (columns of the output / VQ_P0, patches, images). Output
 * columns are [c][y][x] of the patch. a / b and a % b do not stand side by side, as in elementwise_f32.cl. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, 1, 1))) void
patchify_f32(__global const uchar *image, __global float *out, int height, int width, int chans, int patch)
{
    const int col = (int)get_global_id(0), cols = chans * patch * patch, across = width / patch;
    const int c = col / (patch * patch), y = col / patch - c * patch, x = col - (c * patch + y) * patch;
    const int at = (int)get_group_id(1), down = at / across, right = at - down * across;
    const size_t row = get_group_id(2) * get_num_groups(1) + at;
    const size_t line = get_group_id(2) * height + down * patch + y, pixel = right * patch + x;
    if (col < cols) out[row * cols + col] = image[(line * width + pixel) * chans + c];
}
