/* The axes of a sweep's grid. A new one is a row of the table in sweep_axes.c, a number here, and a column of the
 * database, added by one more step of the upgrades in sweep_db.c. */
#ifndef VQ_SRC_SWEEP_AXES_H
#define VQ_SRC_SWEEP_AXES_H

#include "base/base.h"
#include "vitq/mixed.h"
#include "vitq/sweep.h"

enum { VQ_NUM_AXES = 6 };

typedef struct vq_axis {
    const char *name;  /* also the column of the database */
    const char *usual; /* value where a grid leaves the axis out; an empty one is left out of a point's key */
    /* Checks a value and gives it the one form that equal values have; free() releases *out. */
    vq_status (*normalize)(char **out, const char *text);
    void (*apply)(vq_calib_params *params, const char *value); /* of normal form; may be pointed to */
} vq_axis;

extern const vq_axis vq_axes[VQ_NUM_AXES];

/* The budget of a value of the bits axis that is one, "budget=4.5"; else false. */
bool vq_axis_budget(vq_budget *out, const char *value);

/* -1 where there is none. */
int vq_axis_find(const char *name);

/* Hash of a recipe's contents: those of its file, or of the built-in recipe. */
vq_status vq_recipe_hash(char hash[33], const char *recipe);
bool vq_recipe_is_file(const char *recipe);

#endif
