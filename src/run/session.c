/* Sessions: one model prepared on one device, or the integer witness without any. */
#include "run/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "run/float_plan.h"
#include "run/float_run.h"
#include "run/int_run.h"
#include "run/lanes.h"
#include "run/model.h"

enum { WITNESS_BATCH = 8, CHOSEN_BATCH = 32, MAX_BATCH = 4096 };

struct vq_session {
    vq_mode mode;
    int max_batch;
    vq_device *dev; /* NULL for the witness */
    const vq_model *model;
    bool witness;
    vq_float_run *floats;
    vq_int_run *ints;
};

const char *vq_mode_name(vq_mode mode)
{
    switch (mode) {
    case VQ_MODE_DEFAULT: return "default";
    case VQ_MODE_FP32: return "fp32";
    case VQ_MODE_FAKE: return "fake";
    case VQ_MODE_INT: return "int";
    }
    return "unknown";
}

void vq_session_destroy(vq_session **session)
{
    if (!session || !*session) return;
    vq_float_run_destroy(&(*session)->floats);
    vq_int_run_destroy(&(*session)->ints);
    free(*session);
    *session = NULL;
}

static vq_status check_mode(const vq_model *model, vq_mode mode)
{
    if (mode == VQ_MODE_FP32 && model->qmodel)
        return vq_fail(VQ_ERR_UNSUPPORTED,
                       "%s: a quantized file does not keep the float weights; use mode fake or int, "
                       "or give the original model",
                       model->path);
    if (mode != VQ_MODE_FP32 && !model->qmodel)
        return vq_fail(VQ_ERR_UNSUPPORTED, "%s: mode %s needs a quantized model; run 'vitq calibrate' first",
                       model->path, vq_mode_name(mode));
    if (mode == VQ_MODE_INT && !model->qmodel->ints)
        return vq_fail(VQ_ERR_UNSUPPORTED,
                       "%s: calibrated with the official level counts, which have no integer form; "
                       "use mode fake",
                       model->path);
    return VQ_OK;
}

/* Memory that the system could give; of /proc/meminfo, all of it where there is none. */
static size_t free_memory(size_t all)
{
    char line[128];
    unsigned long long kilobytes = 0;
    FILE *const f = fopen("/proc/meminfo", "r");
    while (f && !kilobytes && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) != 1) kilobytes = 0;
    if (f) fclose(f);
    return kilobytes ? (size_t)VQ_MIN(kilobytes * 1024, all) : all;
}

static size_t memory_for(const vq_device *dev, const vq_session_params *p)
{
    const vq_device_info *const info = vq_device_get_info(dev);
    if (p->memory) return p->memory;
    return (info->is_cpu ? free_memory(info->global_mem_bytes) : info->global_mem_bytes) / 4;
}

static vq_status create_ints(vq_session *s, const vq_session_params *p, int most)
{
    static const vq_storage storages[] = {VQ_STORAGE_DEFAULT, VQ_STORAGE_BYTES, VQ_STORAGE_PACKED};
    const vq_int_run_params params = {.max_batch = p->max_batch,
                                      .most_batch = most,
                                      .memory = memory_for(s->dev, p),
                                      .storage = storages[p->weights],
                                      .lanes = p->lanes};
    VQ_TRY(vq_int_run_create(&s->ints, s->dev, s->model->qmodel->ints, &params));
    s->max_batch = vq_int_run_max_batch(s->ints);
    return VQ_OK;
}

static vq_status create_floats(vq_session *s, const vq_session_params *p, int most)
{
    const vq_graph *const g = vq_model_graph(s->model);
    const vq_qmodel *const fake = s->mode == VQ_MODE_FAKE ? s->model->qmodel : NULL;
    const int lanes = fake ? 1 : vq_lanes_of(s->dev, p->lanes);
    if (!s->max_batch) VQ_TRY(vq_float_run_fit(&s->max_batch, s->dev, g, fake, lanes, most, memory_for(s->dev, p)));
    if (!fake) return vq_float_run_create_fused(&s->floats, s->dev, g, s->max_batch, lanes);
    VQ_TRY(vq_float_run_create(&s->floats, s->dev, g, s->max_batch));
    return vq_float_run_quantized(s->floats, fake);
}

vq_status vq_session_create(vq_session **out, vq_device *dev, const vq_model *model, const vq_session_params *params)
{
    static const vq_session_params defaults = {0};
    const vq_session_params *const p = params ? params : &defaults;
    vq_session *s = NULL;
    vq_status status = VQ_OK;
    if (out) *out = NULL;
    if (!out || !model) return vq_fail(VQ_ERR_INVALID_ARG, "vq_session_create: NULL argument");
    if (p->max_batch < 0 || p->max_batch > MAX_BATCH)
        return vq_fail(VQ_ERR_INVALID_ARG, "batch is %d, must be 1 to %d", p->max_batch, MAX_BATCH);
    if ((unsigned)p->weights > VQ_WEIGHTS_PACKED || p->images < 0 || p->lanes < 0)
        return vq_fail(VQ_ERR_INVALID_ARG, "vq_session_create: weights %d, %d images and %d lanes", (int)p->weights,
                       p->images, p->lanes);
    const vq_mode mode = p->mode != VQ_MODE_DEFAULT ? p->mode : model->qmodel ? VQ_MODE_INT : VQ_MODE_FP32;
    VQ_TRY(check_mode(model, mode));
    if (p->witness && mode != VQ_MODE_INT)
        return vq_fail(VQ_ERR_INVALID_ARG, "the witness runs in mode int only, not %s", vq_mode_name(mode));
    if (!dev && !p->witness) return vq_fail(VQ_ERR_INVALID_ARG, "vq_session_create: a device is needed");

    VQ_TRY(vq_alloc(&s, 1, sizeof *s, "session"));
    s->mode = mode;
    const int most = p->images ? VQ_MIN(p->images, CHOSEN_BATCH) : CHOSEN_BATCH;
    s->max_batch = p->max_batch ? p->max_batch : p->witness ? WITNESS_BATCH : 0;
    s->model = model;
    s->dev = p->witness ? NULL : dev;
    s->witness = p->witness;
    if (!p->witness) VQ_GO(mode == VQ_MODE_INT ? create_ints(s, p, most) : create_floats(s, p, most));
    *out = s;
    s = NULL;
done:
    vq_session_destroy(&s);
    return status;
}

vq_mode vq_session_mode(const vq_session *session)
{
    return session->mode;
}

const vq_model *vq_session_model(const vq_session *session)
{
    return session->model;
}

vq_device *vq_session_device(const vq_session *session)
{
    return session->dev;
}

struct vq_int_run *vq_session_ints(const vq_session *session)
{
    return session->ints;
}

struct vq_float_run *vq_session_floats(const vq_session *session)
{
    return session->floats;
}

int vq_session_max_batch(const vq_session *session)
{
    return session->max_batch;
}

size_t vq_session_model_bytes(const vq_session *session)
{
    return session->ints ? vq_int_run_model_bytes(session->ints) : session->floats ? session->floats->model_bytes : 0;
}

size_t vq_session_activation_bytes(const vq_session *session)
{
    if (session->ints) return vq_int_run_activation_bytes(session->ints);
    return session->floats ? vq_float_run_activation_bytes(session->floats) : 0;
}

size_t vq_session_device_bytes(const vq_session *session)
{
    return vq_session_model_bytes(session) + vq_session_activation_bytes(session);
}

vq_status vq_session_run(vq_session *s, const uint8_t *pixels, int batch, void *logits)
{
    if (!s || !pixels || !logits) return vq_fail(VQ_ERR_INVALID_ARG, "vq_session_run: NULL argument");
    if (batch < 1 || batch > s->max_batch)
        return vq_fail(VQ_ERR_INVALID_ARG, "batch is %d, must be 1 to %d", batch, s->max_batch);
    if (s->witness) return vq_int_witness_logits(s->model->qmodel->ints, pixels, batch, logits);
    if (s->ints) return vq_int_run_logits(s->ints, pixels, batch, logits);
    return vq_float_run_logits(s->floats, pixels, batch, logits);
}

static double logit(const void *logits, int i, vq_mode mode)
{
    if (mode == VQ_MODE_INT) return ((const int32_t *)logits)[i] * (1.0 / (1 << VQ_RESIDUAL_BITS));
    return ((const float *)logits)[i];
}

void vq_topk(int *classes, float *probs, int k, const void *logits, int n, vq_mode mode)
{
    for (int r = 0; r < k; r++) {
        int best = -1;
        for (int i = 0; i < n; i++) {
            bool taken = false;
            for (int j = 0; j < r && !taken; j++) taken = classes[j] == i;
            if (!taken && (best < 0 || logit(logits, i, mode) > logit(logits, best, mode))) best = i;
        }
        classes[r] = best;
    }
    if (!probs) return;
    const double top = logit(logits, classes[0], mode);
    double sum = 0;
    for (int i = 0; i < n; i++) sum += exp(logit(logits, i, mode) - top);
    for (int r = 0; r < k; r++) probs[r] = (float)(exp(logit(logits, classes[r], mode) - top) / sum);
}

vq_status vq_logits_save(const char *path, const void *logits, size_t rows, int num_classes, vq_mode mode)
{
    vq_st_writer *writer = NULL;
    vq_status status = VQ_OK;
    if (!path || !logits) return vq_fail(VQ_ERR_INVALID_ARG, "vq_logits_save: NULL argument");
    VQ_GO(vq_st_writer_create(&writer));
    VQ_GO(vq_st_writer_add(writer, "logits", mode == VQ_MODE_INT ? VQ_DTYPE_S32 : VQ_DTYPE_F32,
                           vq_shape2((int64_t)rows, num_classes), logits));
    VQ_GO(vq_st_writer_finish(writer, path));
done:
    vq_st_writer_destroy(&writer);
    return status;
}
