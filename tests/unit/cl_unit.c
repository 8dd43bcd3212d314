#include "cl_unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char cl_cache_dir[96], cl_log[65536];
int cl_warnings;

static void keep_log(void *user, vq_log_level level, const char *text)
{
    (void)user;
    const size_t used = strlen(cl_log);
    snprintf(cl_log + used, sizeof cl_log - used, "%s\n", text);
    if (level == VQ_LOG_WARN) cl_warnings++;
}

void cl_begin(void)
{
    snprintf(cl_cache_dir, sizeof cl_cache_dir, "%s", unit_path("cache"));
    unsetenv("VITQ_KERNELS");
    unsetenv("VITQ_KERNEL_DIR");
    vq_log_set(keep_log, NULL, VQ_LOG_DEBUG);
}

bool cl_has_device(void)
{
    int count;
    if (vq_device_list(NULL, 0, &count) == VQ_OK && count > 0) return true;
    printf("no OpenCL device: the rest is skipped\n");
    return false;
}

void cl_clear_log(void)
{
    cl_log[0] = '\0';
    cl_warnings = 0;
}

vq_device *cl_open(const char *kernels, const char *cache)
{
    vq_device *dev;
    const vq_device_params params = {.kernels = kernels, .cache_dir = cache ? cache : cl_cache_dir, .profile = true};
    cl_clear_log();
    assert_int_equal(vq_device_open(&dev, &params), VQ_OK);
    return dev;
}

int cl_setup_device(void **state)
{
    *state = cl_open("", NULL);
    return 0;
}

int cl_destroy_device(void **state)
{
    vq_device *dev = *state;
    vq_device_destroy(&dev);
    return 0;
}
