/* patchify_u8: out[(b, py, px)][(c, y, x)] = image[b][py*patch + y][px*patch + x][c], zeros up to ld_out.
 * Grid: (columns / VQ_P0, rows / VQ_P1), one work-item per byte of out. */
__kernel __attribute__((reqd_work_group_size(VQ_P0, VQ_P1, 1))) void patchify_u8(__global const uchar *image,
                                                                                __global uchar *out, int rows,
                                                                                int height, int width, int chans,
                                                                                int patch, int ld_out)
{
    const int col = (int)get_global_id(0), row = (int)get_global_id(1);
    if (col >= ld_out || row >= rows) return;
    const int across = width / patch, down = height / patch;
    const int b = row / (across * down), py = row / across % down, px = row % across;
    const int c = col / (patch * patch), y = py * patch + col / patch % patch, x = px * patch + col % patch;
    uchar value = 0;
    if (c < chans) value = image[(((size_t)b * height + y) * width + x) * chans + c];
    out[(size_t)row * ld_out + col] = value;
}
