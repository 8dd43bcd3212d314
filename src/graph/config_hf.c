/* config.json and preprocessor_config.json of Hugging Face transformers. Image processors are told by their class: what
 * a file leaves out is the default of that class. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/config.h"

typedef struct hf_processor {
    const char *name; /* without "ImageProcessor", "ImageProcessorFast" or "FeatureExtractor" */
    int resample;     /* Pillow's number */
    bool crops;       /* knows do_center_crop and crop_size */
    bool square;      /* a size of one number means both sides, not the shorter one */
} hf_processor;

enum { PIL_BILINEAR = 2, PIL_BICUBIC = 3 };

static const hf_processor processors[] = {
    {"ViT", PIL_BILINEAR, false, true},
    {"DeiT", PIL_BICUBIC, true, true},
    {"Bit", PIL_BICUBIC, true, false},
    {"CLIP", PIL_BICUBIC, true, false},
};

vq_status vq_config_hf_common(vq_config *c, const vq_config_doc *doc)
{
    int img[2] = {c->img_height, c->img_width};
    const cJSON *const labels = vq_config_member(doc->root, "id2label");
    VQ_TRY(vq_config_pair(img, doc->root, doc->path, "", "image_size", VQ_MAX_SIDE));
    VQ_TRY(vq_config_int(&c->chans, doc->root, doc->path, "", "num_channels", 1, 3));
    VQ_TRY(vq_config_int(&c->num_classes, doc->root, doc->path, "", "num_labels", 1, VQ_MAX_CLASSES));
    c->img_height = img[0];
    c->img_width = img[1];
    if (!vq_config_is_set(labels)) return VQ_OK;
    c->num_classes = cJSON_GetArraySize(labels);
    if (!cJSON_IsObject(labels) || c->num_classes < 1 || c->num_classes > VQ_MAX_CLASSES)
        return vq_fail(VQ_ERR_FORMAT, "%s: id2label has %d entries, must be an object of 1 to %d", doc->path,
                       c->num_classes, VQ_MAX_CLASSES);
    return VQ_OK;
}

/* ---- preprocessing -------------------------------------------------------------------------------------------------
 */

/* "ViTImageProcessor" and the like; where the file does not say, what goes with the model. */
static vq_status find_processor(const hf_processor **out, const vq_config_doc *doc)
{
    static const char *const ends[] = {"ImageProcessor", "ImageProcessorFast", "FeatureExtractor"};
    const cJSON *type = vq_config_member(doc->pre, "image_processor_type");
    if (!vq_config_is_set(type)) type = vq_config_member(doc->pre, "feature_extractor_type");
    if (!vq_config_is_set(type)) {
        *out = &processors[strncmp(doc->name, "DeiT", 4) == 0 ? 1 : strncmp(doc->name, "Dino", 4) == 0 ? 2 : 0];
        return VQ_OK;
    }
    const char *const name = cJSON_IsString(type) ? type->valuestring : "?";
    for (size_t i = 0; i < VQ_ARRAY_LEN(processors); i++) {
        const size_t length = strlen(processors[i].name);
        if (strncmp(name, processors[i].name, length) != 0) continue;
        for (size_t e = 0; e < VQ_ARRAY_LEN(ends); e++)
            if (strcmp(name + length, ends[e]) == 0) {
                *out = &processors[i];
                return VQ_OK;
            }
    }
    return vq_fail(VQ_ERR_UNSUPPORTED,
                   "%s: image_processor_type is \"%.60s\"; known: ViT, DeiT, Bit and CLIPImageProcessor", doc->pre_path,
                   name);
}

/* A size: a number, or an object with "height" and "width" or "shortest_edge"; edge is 0 or that one. */
static vq_status read_size(int size[2], int *edge, const vq_config_doc *doc, const char *key, bool square)
{
    const cJSON *const item = vq_config_member(doc->pre, key);
    size[0] = size[1] = *edge = 0;
    if (cJSON_IsObject(item)) {
        VQ_TRY(vq_config_int(edge, item, doc->pre_path, key, "shortest_edge", 1, VQ_MAX_SIDE));
        VQ_TRY(vq_config_int(&size[0], item, doc->pre_path, key, "height", 1, VQ_MAX_SIDE));
        VQ_TRY(vq_config_int(&size[1], item, doc->pre_path, key, "width", 1, VQ_MAX_SIDE));
    } else {
        VQ_TRY(vq_config_pair(size, doc->pre, doc->pre_path, "", key, VQ_MAX_SIDE));
        if (!square && size[0] == size[1]) {
            *edge = size[0];
            size[0] = size[1] = 0;
        }
    }
    if ((*edge > 0) == (size[0] > 0 && size[1] > 0))
        return vq_fail(VQ_ERR_FORMAT, "%s: %s must have \"height\" and \"width\", or \"shortest_edge\"", doc->pre_path,
                       key);
    return VQ_OK;
}

/* How an image becomes one of the model's size. */
typedef struct hf_geometry {
    int size[2], edge; /* resized to: both sides, or the shorter one */
    int out[2];        /* then cropped to */
    bool crop;
} hf_geometry;

static vq_status read_geometry(hf_geometry *g, const vq_config_doc *doc, const hf_processor *p)
{
    bool resize = true;
    int edge = 0;
    g->crop = p->crops;
    VQ_TRY(vq_config_bool(&resize, doc->pre, doc->pre_path, "", "do_resize"));
    if (!resize) return vq_fail(VQ_ERR_UNSUPPORTED, "%s: do_resize is false; images must be resized", doc->pre_path);
    VQ_TRY(read_size(g->size, &g->edge, doc, "size", p->square));
    if (p->crops) VQ_TRY(vq_config_bool(&g->crop, doc->pre, doc->pre_path, "", "do_center_crop"));
    g->out[0] = g->size[0];
    g->out[1] = g->size[1];
    if (g->crop) VQ_TRY(read_size(g->out, &edge, doc, "crop_size", true));
    if (edge || g->out[0] == 0)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: %s: images of many sizes come out", doc->pre_path,
                       edge ? "crop_size has \"shortest_edge\"" : "size has \"shortest_edge\" and nothing is cropped");
    if (g->out[0] > VQ_MAX(g->edge, g->size[0]) || g->out[1] > VQ_MAX(g->edge, g->size[1]))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: crop_size %d x %d is larger than size", doc->pre_path, g->out[0],
                       g->out[1]);
    if (g->edge && g->out[0] != g->out[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: crop_size %d x %d must be square with \"shortest_edge\"", doc->pre_path,
                       g->out[0], g->out[1]);
    return VQ_OK;
}

vq_status vq_config_hf_input_size(vq_config *c, const vq_config_doc *doc)
{
    const hf_processor *p;
    hf_geometry g;
    VQ_TRY(find_processor(&p, doc));
    VQ_TRY(read_geometry(&g, doc, p));
    c->img_height = g.out[0];
    c->img_width = g.out[1];
    return VQ_OK;
}

/* The crop_pct with floor(out / crop_pct) == size. */
static float crop_pct_of(int out, int size)
{
    const float exact = (float)out / (float)size;
    if ((double)exact * size == out) return exact;
    return (float)(out / (size + 0.25));
}

static vq_status set_geometry(vq_preprocess *pre, const vq_config_doc *doc, const hf_geometry *g)
{
    pre->crop_mode = g->edge ? VQ_CROP_CENTER : VQ_CROP_SQUASH;
    pre->crop_floor = true;
    pre->crop_pct = crop_pct_of(g->out[0], g->edge ? g->edge : g->size[0]);
    if (!(pre->crop_pct >= 0.01f))
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: crop_size is less than a hundredth of size", doc->pre_path);
    if (!g->edge && (int)floor(g->out[1] / (double)pre->crop_pct) != g->size[1])
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: size %d x %d has another shape than crop_size %d x %d", doc->pre_path,
                       g->size[0], g->size[1], g->out[0], g->out[1]);
    return VQ_OK;
}

/* (u8 * factor - mean) / std as (u8 / 255 - mean') / std'. */
static vq_status read_normalization(vq_preprocess *pre, const vq_config_doc *doc)
{
    bool rescale = true, normalize = true;
    double factor = 1.0 / 255;
    VQ_TRY(vq_config_bool(&rescale, doc->pre, doc->pre_path, "", "do_rescale"));
    VQ_TRY(vq_config_bool(&normalize, doc->pre, doc->pre_path, "", "do_normalize"));
    VQ_TRY(vq_config_number(&factor, doc->pre, doc->pre_path, "", "rescale_factor", 1e-6, 1e3));
    for (int i = 0; i < pre->chans; i++) pre->std[i] = 1;
    if (normalize) {
        VQ_TRY(vq_config_stats(pre->mean, doc->pre, doc->pre_path, "", "image_mean", pre->chans, false));
        VQ_TRY(vq_config_stats(pre->std, doc->pre, doc->pre_path, "", "image_std", pre->chans, true));
    }
    const double scale = rescale ? factor * 255 : 255;
    for (int i = 0; i < pre->chans && fabs(scale - 1) > 1e-9; i++) {
        pre->mean[i] = (float)(pre->mean[i] / scale);
        pre->std[i] = (float)(pre->std[i] / scale);
        if (!(pre->std[i] >= 1e-6f && fabsf(pre->mean[i]) <= 1e3f))
            return vq_fail(VQ_ERR_FORMAT,
                           "%s: rescale_factor %g, image_mean[%d] and image_std[%d] make no sense together",
                           doc->pre_path, rescale ? factor : 1.0, i, i);
    }
    return VQ_OK;
}

static vq_status read_preprocess(vq_config *c, const vq_config_doc *doc)
{
    const hf_processor *p;
    hf_geometry g;
    int resample;
    vq_preprocess *const pre = &c->pre;
    VQ_TRY(find_processor(&p, doc));
    VQ_TRY(read_geometry(&g, doc, p));
    if (g.out[0] != c->img_height || g.out[1] != c->img_width)
        return vq_fail(VQ_ERR_FORMAT, "%s: images come out as %d x %d, image_size is %d x %d", doc->pre_path, g.out[0],
                       g.out[1], c->img_height, c->img_width);
    resample = p->resample;
    VQ_TRY(vq_config_int(&resample, doc->pre, doc->pre_path, "", "resample", 0, 5));
    if (resample != PIL_BILINEAR && resample != PIL_BICUBIC)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: resample is %d, known: 2 (bilinear), 3 (bicubic)", doc->pre_path,
                       resample);
    *pre = (vq_preprocess){.chans = c->chans,
                           .height = c->img_height,
                           .width = c->img_width,
                           .resample = resample == PIL_BICUBIC ? VQ_RESAMPLE_BICUBIC : VQ_RESAMPLE_BILINEAR};
    VQ_TRY(set_geometry(pre, doc, &g));
    return read_normalization(pre, doc);
}

/* ---- labels --------------------------------------------------------------------------------------------------------
 */

/* id2label: {"0": "tench", ...}, every class once, in any order. */
static vq_status read_labels(vq_config *c, const vq_config_doc *doc)
{
    const cJSON *const labels = vq_config_member(doc->root, "id2label"), *label;
    if (!vq_config_is_set(labels)) return VQ_OK;
    VQ_TRY(vq_alloc(&c->labels, (size_t)c->num_classes, sizeof *c->labels, "labels"));
    cJSON_ArrayForEach(label, labels)
    {
        char *end;
        const long i = strtol(label->string, &end, 10);
        if (end == label->string || *end || i < 0 || i >= c->num_classes || c->labels[i])
            return vq_fail(VQ_ERR_FORMAT, "%s: id2label has the key \"%.40s\", must have each of 0 to %d once",
                           doc->path, label->string, c->num_classes - 1);
        if (!cJSON_IsString(label)) return vq_fail(VQ_ERR_FORMAT, "%s: id2label[%ld] is not a string", doc->path, i);
        VQ_TRY(vq_strdup(&c->labels[i], label->valuestring));
    }
    return VQ_OK;
}

vq_status vq_config_hf_finish(vq_config *c, const vq_config_doc *doc)
{
    if (c->chans != 1 && c->chans != 3)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: num_channels is %d, must be 1 or 3", doc->path, c->chans);
    VQ_TRY(read_preprocess(c, doc));
    return read_labels(c, doc);
}
