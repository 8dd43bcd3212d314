/* PNG through libspng, JPEG through libjpeg-turbo. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <spng.h>

#include "image/pixels.h"

static vq_status allocate(vq_pixels *out, const char *name, size_t height, size_t width)
{
    if (height == 0 || width == 0 || height > VQ_MAX_PIXELS / width)
        return vq_fail(VQ_ERR_FORMAT, "%s: image of %zu x %zu pixels, must be 1 to %zu in all", name, width, height,
                       VQ_MAX_PIXELS);
    out->height = (int)height;
    out->width = (int)width;
    out->chans = 3;
    return vq_alloc(&out->data, height * width, 3, name);
}

vq_status vq_decode_png(vq_pixels *out, const char *name, const uint8_t *data, size_t bytes)
{
    struct spng_ihdr header;
    spng_ctx *const ctx = spng_ctx_new(0);
    vq_status status = VQ_OK;
    int error = 0;
    *out = (vq_pixels){0};
    if (!ctx) return vq_fail(VQ_ERR_NO_MEMORY, "%s: out of memory", name);
    error = spng_set_png_buffer(ctx, data, bytes);
    if (!error) error = spng_get_ihdr(ctx, &header);
    if (error) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: malformed PNG: %s", name, spng_strerror(error)));
    VQ_GO(allocate(out, name, header.height, header.width));
    error = spng_decode_image(ctx, out->data, (size_t)out->height * (size_t)out->width * 3, SPNG_FMT_RGB8, 0);
    if (error) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: malformed PNG: %s", name, spng_strerror(error)));
done:
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

static void decode_jpeg(jpeg_state *s, const uint8_t *data, size_t bytes)
{
    struct jpeg_decompress_struct *const info = &s->info;
    info->err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    info->client_data = s;
    if (setjmp(s->jump)) return;
    jpeg_create_decompress(info);
    jpeg_mem_src(info, data, (unsigned long)bytes);
    jpeg_read_header(info, TRUE);
    if (info->num_components == 4) {
        s->status = vq_fail(VQ_ERR_UNSUPPORTED, "%s: CMYK JPEG; convert it to RGB first", s->name);
        return;
    }
    s->status = allocate(s->out, s->name, info->image_height, info->image_width);
    if (s->status != VQ_OK) return;
    info->out_color_space = JCS_RGB;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = s->out->data + (size_t)info->output_scanline * (size_t)s->out->width * 3;
        jpeg_read_scanlines(info, &row, 1);
    }
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
