/* Finding, opening and closing OpenCL devices. */
#include "cl/internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PLATFORMS 16
#define MAX_DEVICES   64

typedef struct found_device {
    cl_platform_id platform;
    cl_device_id id;
} found_device;

/* All devices of all platforms, in the loader's order. A platform that fails to list is passed over. */
static int find_devices(found_device found[MAX_DEVICES])
{
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint num_platforms = 0;
    /* The loader reports "no platform" as an error (CL_PLATFORM_NOT_FOUND_KHR). */
    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &num_platforms) != CL_SUCCESS) return 0;
    num_platforms = VQ_MIN(num_platforms, MAX_PLATFORMS);
    int count = 0;
    for (cl_uint i = 0; i < num_platforms && count < MAX_DEVICES; i++) {
        cl_device_id ids[MAX_DEVICES];
        cl_uint num = 0;
        const cl_uint room = (cl_uint)(MAX_DEVICES - count);
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, room, ids, &num) != CL_SUCCESS) continue;
        for (cl_uint j = 0; j < VQ_MIN(num, room); j++) found[count++] = (found_device){platforms[i], ids[j]};
    }
    return count;
}

/* A string property, cut to the size of text and without surrounding blanks; "" where the driver has none. */
static void device_text(char *text, size_t size, cl_device_id id, cl_device_info what)
{
    char full[1024] = "";
    if (clGetDeviceInfo(id, what, sizeof full, full, NULL) != CL_SUCCESS) full[0] = '\0';
    full[sizeof full - 1] = '\0';
    const char *from = full + strspn(full, " \t");
    size_t len = strlen(from);
    while (len && strchr(" \t\n", from[len - 1])) len--;
    len = VQ_MIN(len, size - 1);
    memcpy(text, from, len);
    text[len] = '\0';
}

static uint64_t device_u64(cl_device_id id, cl_device_info what)
{
    cl_ulong value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static int device_int(cl_device_id id, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? (int)value : 0;
}

static void fill_info(vq_device_info *info, found_device dev)
{
    size_t group = 0;
    *info = (vq_device_info){0};
    device_text(info->name, sizeof info->name, dev.id, CL_DEVICE_NAME);
    device_text(info->vendor, sizeof info->vendor, dev.id, CL_DEVICE_VENDOR);
    device_text(info->driver, sizeof info->driver, dev.id, CL_DRIVER_VERSION);
    device_text(info->version, sizeof info->version, dev.id, CL_DEVICE_VERSION);
    if (clGetPlatformInfo(dev.platform, CL_PLATFORM_NAME, sizeof info->platform, info->platform, NULL) != CL_SUCCESS) {
        info->platform[0] = '\0';
    }
    info->platform[sizeof info->platform - 1] = '\0';
    const uint64_t type = device_u64(dev.id, CL_DEVICE_TYPE);
    info->is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
    info->is_gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    info->compute_units = device_int(dev.id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->max_clock_mhz = device_int(dev.id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    clGetDeviceInfo(dev.id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    info->max_work_group = group;
    info->global_mem_bytes = (size_t)device_u64(dev.id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->local_mem_bytes = (size_t)device_u64(dev.id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->max_alloc_bytes = (size_t)device_u64(dev.id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
}

vq_status vq_device_list(vq_device_info *info, int max, int *count)
{
    found_device found[MAX_DEVICES];
    if (!count) return vq_fail(VQ_ERR_INVALID_ARG, "device list: count is NULL");
    *count = 0;
    if (max < 0 || (max > 0 && !info)) {
        return vq_fail(VQ_ERR_INVALID_ARG, "device list: room for %d entries%s", max, info ? "" : ", but none given");
    }
    *count = find_devices(found);
    for (int i = 0; i < VQ_MIN(*count, max); i++) fill_info(&info[i], found[i]);
    return VQ_OK;
}

static vq_status pick(vq_device *dev, int index)
{
    found_device found[MAX_DEVICES];
    const int count = find_devices(found);
    if (count == 0) {
        return vq_fail(VQ_ERR_NO_DEVICE, "no OpenCL device found; for the CPU install the Debian package "
                                         "pocl-opencl-icd, for a GPU its vendor's OpenCL driver");
    }
    if (index < 0 || index >= count) {
        return vq_fail(VQ_ERR_NO_DEVICE, "no OpenCL device %d, the last one is %d", index, count - 1);
    }
    dev->platform = found[index].platform;
    dev->id = found[index].id;
    fill_info(&dev->info, found[index]);
    dev->exact_division = (device_u64(dev->id, CL_DEVICE_SINGLE_FP_CONFIG) & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    return VQ_OK;
}

static vq_status check_device(const vq_device *dev)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    clGetDeviceInfo(dev->id, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL);
    clGetDeviceInfo(dev->id, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    if (!available) return vq_fail(VQ_ERR_NO_DEVICE, "device %s is not available", dev->info.name);
    if (!compiler) return vq_fail(VQ_ERR_UNSUPPORTED, "device %s has no compiler for OpenCL C", dev->info.name);
    if (device_int(dev->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) > VQ_BUF_ALIGN * 8) {
        return vq_fail(VQ_ERR_UNSUPPORTED, "device %s: parts of a buffer must start at multiples of %d bits, not %d",
                       dev->info.name, device_int(dev->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN), VQ_BUF_ALIGN * 8);
    }
    return VQ_OK;
}

static _Thread_local int current_lane;

int vq_device_lanes(const vq_device *dev)
{
    return dev->lanes;
}

cl_command_queue vq_queue_of(const vq_device *dev)
{
    return dev->queues[VQ_MIN(current_lane, dev->lanes - 1)];
}

void vq_lane_enter(vq_device *dev, int lane)
{
    clFlush(vq_queue_of(dev));
    current_lane = lane;
}

static vq_status create_queues(vq_device *dev)
{
    cl_int error;
    const cl_context_properties props[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)dev->platform, 0};
    dev->context = clCreateContext(props, 1, &dev->id, NULL, NULL, &error);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clCreateContext");
    const cl_command_queue_properties kind = dev->profile ? CL_QUEUE_PROFILING_ENABLE : 0;
    const int lanes = dev->info.is_cpu && dev->info.compute_units > 1 ? VQ_MAX_LANES : 1;
    for (; dev->lanes < lanes; dev->lanes++) {
        dev->queues[dev->lanes] = clCreateCommandQueue(dev->context, dev->id, kind, &error);
        if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clCreateCommandQueue");
    }
    return VQ_OK;
}

static vq_status open_device(vq_device *dev, const vq_device_params *params)
{
    if (pthread_mutex_init(&dev->lock, NULL) != 0) return vq_fail(VQ_ERR_NO_MEMORY, "device: no mutex");
    dev->has_lock = true;
    dev->profile = params->profile;
    VQ_TRY(pick(dev, params->index));
    VQ_TRY(check_device(dev));
    VQ_TRY(create_queues(dev));
    vq_cache_open(dev, params->cache_dir);
    dev->info.caps = vq_probe_caps(dev);
    vq_tuning_load(dev);
    const char *choice = params->kernels ? params->kernels : getenv("VITQ_KERNELS");
    return vq_registry_apply(dev, choice ? choice : "");
}

vq_status vq_device_open(vq_device **out, const vq_device_params *params)
{
    const vq_device_params defaults = {0};
    vq_device *dev;
    if (!out) return vq_fail(VQ_ERR_INVALID_ARG, "device: no place for the result");
    *out = NULL;
    VQ_TRY(vq_alloc(&dev, 1, sizeof *dev, "a device"));
    const vq_status status = open_device(dev, params ? params : &defaults);
    if (status != VQ_OK) {
        vq_device_destroy(&dev);
        return status;
    }
    *out = dev;
    return VQ_OK;
}

void vq_device_destroy(vq_device **dev_ptr)
{
    vq_device *dev = *dev_ptr;
    if (!dev) return;
    for (int i = 0; i < dev->lanes; i++) clFinish(dev->queues[i]);
    vq_launch_destroy_all(dev);
    vq_program_destroy_all(dev);
    for (int i = 0; i < dev->lanes; i++) clReleaseCommandQueue(dev->queues[i]);
    if (dev->context) clReleaseContext(dev->context);
    if (dev->has_lock) pthread_mutex_destroy(&dev->lock);
    free(dev->chosen_text);
    free(dev->cache_dir);
    free(dev);
    *dev_ptr = NULL;
}

const vq_device_info *vq_device_get_info(const vq_device *dev)
{
    return &dev->info;
}

const char *vq_cap_name(unsigned cap)
{
    static const char *const names[] = {"cpu",     "avx2",       "avx512bw",   "avx512vnni", "avxvnni",
                                        "clblast", "avx512ifma", "avx512vbmi", "dot_khr",    "dot_dp4a",
                                        "dot_amd", "mma_nv",     "mfma",       "emulated",   "mma_nv_s4"};
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++)
        if (cap == 1u << i) return names[i];
    return NULL;
}
