/* The list of kernel variants and the choice among them. */
#include "cl/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const vq_variant rows[] = {
#define VQ_KERNEL(id, variant, file, needs, options, p0, p1, p2, p3) \
    {VQ_OP_##id, variant, file, needs, options, {p0, p1, p2, p3}},
#include "registry.def"
    {VQ_OP_COUNT, NULL, NULL, 0, NULL, {0, 0, 0, 0}},
};

static const char *const op_names[] = {
#define VQ_OP(id, name) name,
#include "registry.def"
};

/* The rows by op, each op's ended by NULL: made once from `rows`, whose order between ops is free. */
static const vq_variant *list[VQ_ARRAY_LEN(rows) + VQ_OP_COUNT];
static const vq_variant *const *first[VQ_OP_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_lists(void)
{
    size_t n = 0;
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        first[op] = &list[n];
        for (const vq_variant *v = rows; v->name; v++) {
            if (v->op == (vq_op)op) list[n++] = v;
        }
        list[n++] = NULL;
    }
}

const char *vq_op_name(vq_op op)
{
    return (unsigned)op < VQ_OP_COUNT ? op_names[op] : "?";
}

bool vq_variant_is_wide(const vq_variant *variant)
{
    return strstr(variant->file, "_wide") != NULL;
}

const vq_variant *const *vq_variants(vq_op op)
{
    pthread_once(&once, make_lists);
    return first[op];
}

bool vq_variant_eligible(const vq_device *dev, const vq_variant *variant)
{
    return (variant->needs & ~dev->info.caps) == 0;
}

vq_status vq_variant_find(const vq_variant **out, const char *name)
{
    *out = NULL;
    for (const vq_variant *v = rows; v->name; v++) {
        if (!strcmp(v->name, name)) {
            *out = v;
            return VQ_OK;
        }
    }
    return vq_fail(VQ_ERR_INVALID_ARG, "no kernel variant is named %s", name);
}

/* "portable" of "gemm_s8__portable"; "" where the name has no such part. */
static const char *class_of(const vq_variant *v)
{
    const char *sep = strstr(v->name, "__");
    return sep ? sep + 2 : "";
}

void vq_variants_needing(char *out, size_t size, unsigned cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (const vq_variant *v = rows; v->name; v++) {
        if (!(v->needs & cap) || used + strlen(v->name) + 8 > size) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", v->name);
    }
}

static vq_status fail_choice(const vq_device *dev, const char *word)
{
    char text[2048] = "";
    for (const vq_variant *v = rows; v->name; v++) {
        if (!vq_variant_eligible(dev, v) || strlen(text) + strlen(v->name) + 2 > sizeof text) continue;
        strcat(text, " ");
        strcat(text, v->name);
    }
    return vq_fail(VQ_ERR_INVALID_ARG,
                   "kernel choice \"%s\": device %s has no such variant; it has portable, wide or any of:%s", word,
                   dev->info.name, text);
}

/* One word of the choice: a variant's name binds its op; a class binds the ops that have it and limits all others to
 * rows that need no more than the class does. */
static vq_status apply_word(vq_device *dev, const char *word)
{
    bool found = false;
    unsigned needs = 0;
    for (const vq_variant *v = rows; v->name; v++) {
        if (!vq_variant_eligible(dev, v)) continue;
        if (!strcmp(v->name, word)) {
            dev->allowed[v->op] = v;
            return VQ_OK;
        }
        if (strcmp(class_of(v), word) != 0) continue;
        found = true;
        needs |= v->needs;
        dev->class_name = class_of(v);
    }
    /* "portable" is understood even by a build whose registry is empty; "wide" by a device that no row gives it. */
    if (!strcmp(word, "portable") || !strcmp(word, "wide")) {
        if (!found) dev->class_name = "";
        found = true;
    }
    if (!found) return fail_choice(dev, word);
    dev->class_needs = needs;
    return VQ_OK;
}

vq_status vq_registry_apply(vq_device *dev, const char *choice)
{
    vq_status status = VQ_OK;
    char *copy, *rest = NULL;
    dev->class_needs = ~0u;
    dev->class_name = "";
    VQ_TRY(vq_strdup(&copy, choice));
    for (char *word = strtok_r(copy, ", ", &rest); word && status == VQ_OK; word = strtok_r(NULL, ", ", &rest)) {
        status = apply_word(dev, word);
    }
    free(copy);
    return status;
}

/* Whether the choice leaves this row to its op. */
static bool permitted(const vq_device *dev, const vq_variant *v, bool op_has_class)
{
    if (!vq_variant_eligible(dev, v)) return false;
    if (dev->allowed[v->op]) return v == dev->allowed[v->op];
    if (op_has_class) return !strcmp(class_of(v), dev->class_name);
    return (v->needs & ~dev->class_needs) == 0;
}

static bool has_class(const vq_device *dev, vq_op op)
{
    if (!*dev->class_name) return false;
    for (const vq_variant *const *v = vq_variants(op); *v; v++) {
        if (vq_variant_eligible(dev, *v) && !strcmp(class_of(*v), dev->class_name)) return true;
    }
    return false;
}

/* Whether the device's compiler takes the row; says so once where it does not. */
static bool compiles(vq_device *dev, const vq_variant *v)
{
    char *options = NULL;
    if (vq_program_options(&options, dev, v, NULL) != VQ_OK) return false;
    const bool ok = vq_program_compiles(dev, v->file, options, v->name);
    free(options);
    return ok;
}

/* Whether nobody asked for a variant or a class of them. */
static bool is_free(const vq_device *dev, vq_op op)
{
    return !dev->allowed[op] && dev->class_needs == ~0u && !*dev->class_name;
}

/* The strongest row below `last` that the device and the choice's class allow and that compiles, else row 0. */
static const vq_variant *weaker(vq_device *dev, const vq_variant *const *v, int last)
{
    for (int i = last - 1; i > 0; i--) {
        const bool open = vq_variant_eligible(dev, v[i]) && (v[i]->needs & ~dev->class_needs) == 0;
        if (open && compiles(dev, v[i])) return v[i];
    }
    return v[0];
}

/* What the tuning table names; else the strongest permitted row that compiles, else the strongest weaker one that does,
 * else row 0, whose failure is then the caller's to report. */
static const vq_variant *choose(vq_device *dev, vq_op op)
{
    const vq_variant *const *v = vq_variants(op);
    const bool with_class = has_class(dev, op);
    int last = 0;
    if (!v[0]) return NULL;
    if (is_free(dev, op) && dev->tuned[op] && compiles(dev, dev->tuned[op])) return dev->tuned[op];
    for (int i = 0; v[i]; i++) {
        if (permitted(dev, v[i], with_class)) last = i;
    }
    if (last > 0 && compiles(dev, v[last])) return v[last];
    return weaker(dev, v, last);
}

const vq_variant *vq_variant_choose(vq_device *dev, vq_op op)
{
    pthread_mutex_lock(&dev->lock);
    if (!dev->chosen[op]) {
        dev->chosen[op] = dev->forced[op] ? dev->forced[op] : choose(dev, op);
        if (dev->chosen[op]) {
            vq_log(VQ_LOG_DEBUG, "device %s: %s uses %s", dev->info.name, vq_op_name(op), dev->chosen[op]->name);
        }
    }
    const vq_variant *variant = dev->chosen[op];
    pthread_mutex_unlock(&dev->lock);
    return variant;
}

const vq_variant *vq_variant_weaker(vq_device *dev, const vq_variant *variant)
{
    const vq_variant *const *const v = vq_variants(variant->op);
    int i = 0;
    while (v[i] != variant) i++;
    if (i == 0) return NULL;
    pthread_mutex_lock(&dev->lock);
    const vq_variant *const found = weaker(dev, v, i);
    pthread_mutex_unlock(&dev->lock);
    return found;
}

vq_status vq_variant_force(vq_device *dev, vq_op op, const vq_variant *variant)
{
    if (variant && variant->op != op) {
        return vq_fail(VQ_ERR_INVALID_ARG, "%s is no variant of %s", variant->name, vq_op_name(op));
    }
    if (variant && !vq_variant_eligible(dev, variant)) {
        return vq_fail(VQ_ERR_UNSUPPORTED, "device %s cannot run %s: it lacks capabilities 0x%x", dev->info.name,
                       variant->name, variant->needs & ~dev->info.caps);
    }
    pthread_mutex_lock(&dev->lock);
    dev->forced[op] = variant;
    dev->chosen[op] = NULL;
    pthread_mutex_unlock(&dev->lock);
    return VQ_OK;
}

static vq_status chosen_text(char **out, const vq_device *dev)
{
    VQ_TRY(vq_strdup(out, ""));
    for (int op = 0; op < VQ_OP_COUNT; op++) {
        if (!dev->chosen[op]) continue;
        char *longer;
        const vq_status status =
            vq_format(&longer, "%s%s%s=%s", *out, **out ? " " : "", vq_op_name((vq_op)op), dev->chosen[op]->name);
        free(*out);
        *out = status == VQ_OK ? longer : NULL;
        VQ_TRY(status);
    }
    return VQ_OK;
}

const char *vq_device_variants(vq_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    free(dev->chosen_text);
    dev->chosen_text = NULL;
    const vq_status status = chosen_text(&dev->chosen_text, dev);
    const char *text = status == VQ_OK ? dev->chosen_text : "";
    pthread_mutex_unlock(&dev->lock);
    return text;
}
