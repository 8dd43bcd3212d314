/* PNG through libspng, JPEG through libjpeg-turbo. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <spng.h>

#include "image/pixels.h"

enum { MAX_CHUNK_BYTES = 1 << 26, MAX_SCANS = 500 };

static vq_status allocate(vq_pixels *out, const char *name, size_t height, size_t width)
{
    if (height == 0 || width == 0 || height > VQ_MAX_SIDE || width > VQ_MAX_SIDE || height > VQ_MAX_PIXELS / width)
        return vq_fail(VQ_ERR_FORMAT, "%s: image of %zu x %zu pixels, must be 1 to %zu a side and %zu in all", name,
                       width, height, VQ_MAX_SIDE, VQ_MAX_PIXELS);
    out->height = (int)height;
    out->width = (int)width;
    out->chans = 3;
    return vq_alloc(&out->data, height * width, 3, name);
}

/* A header may promise gigabytes in a file of a few bytes: before they are allocated, check that the file could hold
 * them. needed is the least number of bytes that such an image takes. */
static vq_status check_size(const char *name, size_t bytes, size_t needed, size_t height, size_t width)
{
    if (bytes >= needed) return VQ_OK;
    return vq_fail(VQ_ERR_FORMAT, "%s: %zu bytes cannot hold %zu x %zu pixels; the file is truncated or hostile", name,
                   bytes, width, height);
}

enum { DEFLATE_RATIO = 1032 }; /* the best that deflate can do */

static int png_channels(int color_type)
{
    switch (color_type) {
    case SPNG_COLOR_TYPE_TRUECOLOR: return 3;
    case SPNG_COLOR_TYPE_TRUECOLOR_ALPHA: return 4;
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA: return 2;
    default: return 1;
    }
}

static vq_status read_png(vq_pixels *out, const char *name, spng_ctx *ctx, const uint8_t *data, size_t bytes)
{
    struct spng_ihdr h;
    int error = spng_set_image_limits(ctx, VQ_MAX_SIDE, VQ_MAX_SIDE);
    if (!error) error = spng_set_chunk_limits(ctx, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES);
    if (!error) error = spng_set_png_buffer(ctx, data, bytes);
    if (!error) error = spng_get_ihdr(ctx, &h);
    if (!error) {
        const size_t raw = (size_t)h.height * h.width * h.bit_depth * (size_t)png_channels(h.color_type) / 8;
        VQ_TRY(check_size(name, bytes, raw / DEFLATE_RATIO, h.height, h.width));
        VQ_TRY(allocate(out, name, h.height, h.width));
        error = spng_decode_image(ctx, out->data, (size_t)h.height * h.width * 3, SPNG_FMT_RGB8, 0);
    }
    if (!error) error = spng_decode_chunks(ctx); /* up to the end mark */
    return error ? vq_fail(VQ_ERR_FORMAT, "%s: malformed PNG: %s", name, spng_strerror(error)) : VQ_OK;
}

vq_status vq_decode_png(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes)
{
    spng_ctx *const ctx = spng_ctx_new(0);
    *out = (vq_pixels){0};
    if (!ctx) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", name);
    const vq_status status = read_png(out, name, ctx, data, bytes);
    spng_ctx_free(ctx);
    if (status != VQ_OK) {
        free(out->data);
        *out = (vq_pixels){0};
    }
    return status;
}

typedef struct jpeg_state {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const char *name;
    vq_pixels *out;
    vq_status status;
} jpeg_state;

static void on_error(j_common_ptr info)
{
    jpeg_state *const s = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    s->status = vq_fail(VQ_ERR_FORMAT, "%s: malformed JPEG: %s", s->name, text);
    longjmp(s->jump, 1);
}

/* libjpeg fills what is missing with grey and goes on; a file that ends early is an error here, as in Pillow. */
static void on_message(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

/* A progressive file may ask for any number of passes over the whole image. */
static void on_progress(j_common_ptr info)
{
    jpeg_state *const s = info->client_data;
    if (s->info.input_scan_number <= MAX_SCANS) return;
    s->status = vq_fail(VQ_ERR_FORMAT, "%s: malformed JPEG: more than %d scans", s->name, MAX_SCANS);
    longjmp(s->jump, 1);
}

static unsigned mul_255(unsigned a, unsigned b)
{
    const unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* One row in place, four channels to three. As Pillow: the file holds inverted inks (Adobe's habit). */
static void cmyk_to_rgb(uint8_t *row, int width)
{
    for (int x = 0; x < width; x++) {
        const unsigned light = row[4 * x + 3];
        for (int c = 0; c < 3; c++) row[3 * x + c] = (uint8_t)(light - mul_255(255u - row[4 * x + c], light));
    }
}

static void read_jpeg_rows(jpeg_state *s)
{
    struct jpeg_decompress_struct *const info = &s->info;
    const size_t row_bytes = (size_t)s->out->width * 3;
    const bool cmyk = info->out_color_space == JCS_CMYK;
    /* libjpeg's own pool: freed with the decompressor, also after a longjmp. */
    JSAMPARRAY wide = cmyk ? info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, info->output_width * 4, 1) : NULL;
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = s->out->data + (size_t)info->output_scanline * row_bytes;
        jpeg_read_scanlines(info, cmyk ? wide : &row, 1);
        if (!cmyk) continue;
        cmyk_to_rgb(wide[0], s->out->width);
        memcpy(row, wide[0], row_bytes);
    }
}

static void decode_jpeg(jpeg_state *s, const uint8_t *data, size_t bytes)
{
    struct jpeg_decompress_struct *const info = &s->info;
    info->err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    info->client_data = s;
    if (setjmp(s->jump)) return;
    jpeg_create_decompress(info);
    s->progress.progress_monitor = on_progress;
    info->progress = &s->progress;
    jpeg_mem_src(info, data, (unsigned long)bytes);
    jpeg_read_header(info, TRUE);
    /* Huffman codes take at least one bit for each block of 8 x 8. */
    const size_t blocks = (size_t)info->image_height * info->image_width / 64;
    s->status = check_size(s->name, bytes, info->arith_code ? 0 : blocks / 8, info->image_height, info->image_width);
    if (s->status == VQ_OK) s->status = allocate(s->out, s->name, info->image_height, info->image_width);
    if (s->status != VQ_OK) return;
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(info);
    read_jpeg_rows(s);
    jpeg_finish_decompress(info);
}

vq_status vq_decode_jpeg(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes)
{
    jpeg_state s = {.name = name, .out = out};
    *out = (vq_pixels){0};
    decode_jpeg(&s, data, bytes);
    jpeg_destroy_decompress(&s.info);
    if (s.status != VQ_OK) {
        free(out->data);
        *out = (vq_pixels){0};
    }
    return s.status;
}

vq_status vq_decode(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    *out = (vq_pixels){0};
    if (bytes == 0) return vq_fail(VQ_ERR_FORMAT, "%s: empty file", name);
    if (bytes >= sizeof png && memcmp(data, png, sizeof png) == 0) return vq_decode_png(out, name, data, bytes);
    if (bytes >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff)
        return vq_decode_jpeg(out, name, data, bytes);
    return vq_fail(VQ_ERR_FORMAT, "%s: neither a PNG nor a JPEG", name);
}

void vq_pixels_to_grey(vq_pixels *p)
{
    if (p->chans == 1) return;
    const size_t count = (size_t)p->height * (size_t)p->width;
    for (size_t i = 0; i < count; i++) { /* ITU-R 601 luma in 16 bits, as Pillow */
        const uint8_t *const c = p->data + 3 * i;
        p->data[i] = (uint8_t)((c[0] * 19595u + c[1] * 38470u + c[2] * 7471u + 0x8000u) >> 16);
    }
    p->chans = 1;
}

vq_status vq_pixels_to_rgb(vq_pixels *p, const char *name)
{
    const size_t count = (size_t)p->height * (size_t)p->width;
    uint8_t *rgb;
    if (p->chans == 3) return VQ_OK;
    VQ_TRY(vq_alloc(&rgb, count, 3, name));
    for (size_t i = 0; i < 3 * count; i++) rgb[i] = p->data[i / 3];
    free(p->data);
    p->data = rgb;
    p->chans = 3;
    return VQ_OK;
}
