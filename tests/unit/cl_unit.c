#include "cl_unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char cl_dir[64], cl_cache_dir[96], cl_log[65536];
int cl_warnings;

static pid_t owner; /* of the folder: tests fork */

static void keep_log(void *user, vq_log_level level, const char *text)
{
    (void)user;
    const size_t used = strlen(cl_log);
    snprintf(cl_log + used, sizeof cl_log - used, "%s\n", text);
    if (level == VQ_LOG_WARN) cl_warnings++;
}

static void remove_dir(void)
{
    char command[128];
    if (getpid() != owner) return;
    snprintf(command, sizeof command, "rm -rf '%s'", cl_dir);
    if (system(command) != 0) fprintf(stderr, "%s is left behind\n", cl_dir);
}

void cl_begin(void)
{
    snprintf(cl_dir, sizeof cl_dir, "/tmp/vitq_test_cl_XXXXXX");
    if (!mkdtemp(cl_dir)) {
        perror(cl_dir);
        exit(1);
    }
    owner = getpid();
    atexit(remove_dir);
    snprintf(cl_cache_dir, sizeof cl_cache_dir, "%s/cache", cl_dir);
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

const char *cl_write(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", cl_dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
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
