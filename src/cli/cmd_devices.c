/* vitq devices: what OpenCL devices there are, and with --probe what vitq's kernels may use on them. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MAX_DEVICES = 64 };

static const char *type_name(const vq_device_info *d)
{
    return d->is_cpu ? "CPU" : d->is_gpu ? "GPU" : "other";
}

static void print_device(int i, const vq_device_info *d, bool probed)
{
    printf("%s%d  %s (%s)\n", i ? "\n" : "", i, d->name, type_name(d));
    printf("   platform   %s, %s\n", d->platform, d->version);
    printf("   driver     %s\n", d->driver);
    printf("   units      %d", d->compute_units);
    if (d->max_clock_mhz) printf(" at %d MHz", d->max_clock_mhz);
    printf(", work-groups to %zu\n", d->max_work_group);
    printf("   memory     %.1f GiB (%.1f GiB in one piece), %zu KiB local\n", (double)d->global_mem_bytes / (1 << 30),
           (double)d->max_alloc_bytes / (1 << 30), d->local_mem_bytes >> 10);
    if (!probed) return;
    printf("   kernels    may use");
    for (unsigned cap = 1; vq_cap_name(cap); cap <<= 1)
        if (d->caps & cap) printf(" %s", vq_cap_name(cap));
    printf("%s\n", d->caps ? "" : " OpenCL C 1.2 only");
}

static cJSON *describe(int i, const vq_device_info *d, bool probed)
{
    cJSON *const o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "index", i);
    cli_json_text(o, "name", d->name);
    cJSON_AddStringToObject(o, "type", type_name(d));
    cli_json_text(o, "vendor", d->vendor);
    cli_json_text(o, "platform", d->platform);
    cli_json_text(o, "version", d->version);
    cli_json_text(o, "driver", d->driver);
    cJSON_AddNumberToObject(o, "compute_units", d->compute_units);
    cJSON_AddNumberToObject(o, "max_clock_mhz", d->max_clock_mhz);
    cJSON_AddNumberToObject(o, "max_work_group", (double)d->max_work_group);
    cJSON_AddNumberToObject(o, "global_mem_bytes", (double)d->global_mem_bytes);
    cJSON_AddNumberToObject(o, "max_alloc_bytes", (double)d->max_alloc_bytes);
    cJSON_AddNumberToObject(o, "local_mem_bytes", (double)d->local_mem_bytes);
    if (!probed) return o;
    cJSON *const list = cJSON_AddArrayToObject(o, "caps");
    for (unsigned cap = 1; vq_cap_name(cap); cap <<= 1)
        if (d->caps & cap) cJSON_AddItemToArray(list, cJSON_CreateString(vq_cap_name(cap)));
    return o;
}

/* Replaces the listed entry by that of the opened device, which knows its caps. */
static vq_status probe(vq_device_info *info, int index, const char *kernels)
{
    const vq_device_params params = {.index = index, .kernels = kernels};
    vq_device *dev = NULL;
    const vq_status status = vq_device_open(&dev, &params);
    if (status == VQ_OK) *info = *vq_device_get_info(dev);
    vq_device_destroy(&dev);
    return status;
}

int cli_devices(const cli_options *options)
{
    vq_device_info *const info = calloc(MAX_DEVICES, sizeof *info);
    int count = 0, code = 0;
    if (!info) return cli_fail(VQ_ERR_NO_MEMORY, "out of memory");
    if (options->num_args) {
        code = cli_fail(CLI_USAGE, "devices: takes no argument, '%s' was given", options->args[0]);
        goto done;
    }
    code = cli_code(vq_device_list(info, MAX_DEVICES, &count));
    if (code) goto done;
    if (count > MAX_DEVICES) count = MAX_DEVICES;
    if (count == 0) {
        code = cli_fail(VQ_ERR_NO_DEVICE, "no OpenCL device found; on Debian, package pocl-opencl-icd runs OpenCL on "
                                          "the processor, a GPU needs its vendor's driver");
        goto done;
    }
    for (int i = 0; options->probe && i < count && !code; i++) code = cli_code(probe(&info[i], i, options->kernels));
    if (code) goto done;
    if (options->json) {
        cJSON *const root = cJSON_CreateObject(), *const list = cJSON_AddArrayToObject(root, "devices");
        for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, describe(i, &info[i], options->probe));
        code = cli_json_print(root);
    } else {
        for (int i = 0; i < count; i++) print_device(i, &info[i], options->probe);
    }
done:
    free(info);
    return code;
}
