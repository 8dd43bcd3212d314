#include "calib/recipe.h"

#include <string.h>

#include "base/base.h"

static const vq_recipe recipes[] = {
    {"repq", "RepQ-ViT: percentile ranges, LayerNorm scale reparameterization, log-sqrt2 after softmax (default)",
     VQ_RANGE_PERCENTILE, VQ_SOFTMAX_LOG_SQRT2, true},
    {"minmax", "naive baseline: smallest to largest value everywhere, uniform after softmax", VQ_RANGE_MINMAX,
     VQ_SOFTMAX_UNIFORM, false},
};

vq_status vq_recipe_find(const vq_recipe **out, const char *name)
{
    char known[128] = "";
    *out = NULL;
    for (size_t i = 0; i < VQ_ARRAY_LEN(recipes); i++) {
        if (!name || strcmp(name, recipes[i].name) == 0) {
            *out = &recipes[i];
            return VQ_OK;
        }
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, recipes[i].name, sizeof known - strlen(known) - 1);
    }
    return vq_fail(VQ_ERR_INVALID_ARG, "unknown recipe '%s'; there are: %s", name, known);
}

const char *vq_recipe_name(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(recipes) ? recipes[i].name : NULL;
}

const char *vq_recipe_about(int i)
{
    return i >= 0 && (size_t)i < VQ_ARRAY_LEN(recipes) ? recipes[i].about : NULL;
}
