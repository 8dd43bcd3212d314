/* patchify_u8: out[(b, py, px)][(c, y, x)] = image[b][py*patch + y][px*patch + x][c], zeros up to ld_out.
 * Grid: (columns / VQ_P0, rows / VQ_P1), one work-item per byte of out. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, VQ_P1, 1))) void patchify_u8(__global const uchar *image,
                                                                                __global uchar *out, int rows,
                                                                                int height, int width, int chans,
                                                                                int patch, int ld_out)
{
    const int col = (int)get_global_id(0), row = (int)get_global_id(1);
    if (col >= ld_out || row >= rows) return;
    /* remainders by subtraction: a quotient and a remainder of the same numbers become an instruction that Oclgrind
     * does not know */
    const int across = width / patch, down = height / patch;
    const int patch_row = row / across, px = row - patch_row * across;
    const int b = patch_row / down, py = patch_row - b * down;
    const int line = col / patch, c = line / patch;
    const int y = py * patch + line - c * patch, x = px * patch + col - line * patch;
    uchar value = 0;
    if (c < chans) value = image[(((size_t)b * height + y) * width + x) * chans + c];
    out[(size_t)row * ld_out + col] = value;
}
