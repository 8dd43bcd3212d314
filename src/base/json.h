/* JSON through cJSON: the include, and checked parsing. */
#ifndef VQ_SRC_JSON_H
#define VQ_SRC_JSON_H

#include <cJSON.h>

#include "base/base.h"

/* Parses exactly bytes characters (no NUL needed); anything but one JSON value fails with VQ_ERR_FORMAT, naming path
 * and the offset. cJSON_Delete releases *out. */
vq_status vq_json_parse(cJSON **out, const char *path, const char *text, size_t bytes);

/* A member that must be there and of the right kind; messages name path and key. The integer lies in min..max. */
vq_status vq_json_int(int *out, const cJSON *object, const char *key, int min, int max, const char *path);
vq_status vq_json_number(double *out, const cJSON *object, const char *key, const char *path);
vq_status vq_json_string(const char **out, const cJSON *object, const char *key, const char *path); /* borrowed */
vq_status vq_json_array(const cJSON **out, const cJSON *object, const char *key, const char *path);
vq_status vq_json_object(const cJSON **out, const cJSON *object, const char *key, const char *path);

#endif
