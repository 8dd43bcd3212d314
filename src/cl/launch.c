/* Kernels, launches and their times. */
#include "cl/internal.h"

#include <stdlib.h>
#include <string.h>

static void destroy_kernel(vq_kernel *k)
{
    if (k->kernel) clReleaseKernel(k->kernel);
    free(k->function);
    free(k->options);
    free(k);
}

vq_status vq_kernel_adopt(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                          const char *options, cl_kernel kernel)
{
    vq_status status = VQ_OK;
    vq_kernel *k;
    VQ_TRY(vq_alloc(&k, 1, sizeof *k, "a kernel"));
    k->variant = variant;
    VQ_GO(vq_strdup(&k->function, function));
    VQ_GO(vq_strdup(&k->options, options));
    k->kernel = kernel;
    k->next = dev->kernels;
    dev->kernels = *out = k;
    return VQ_OK;
done:
    destroy_kernel(k);
    return status;
}

/* skipped: as vq_program_get has it. */
static vq_status create_kernel(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                               const char *options, const char *skipped)
{
    vq_status status = VQ_OK;
    char *all_options = NULL;
    cl_program program;
    cl_kernel kernel = NULL;
    cl_int error;
    VQ_GO(vq_program_options(&all_options, dev, variant, options));
    VQ_GO(vq_program_get(&program, dev, variant->file, all_options, skipped));
    kernel = clCreateKernel(program, function, &error);
    if (error != CL_SUCCESS) {
        VQ_GO(vq_cl_fail(dev, error, "%s has no usable kernel %s", variant->file, function));
    }
    VQ_GO(vq_kernel_adopt(out, dev, variant, function, options, kernel));
    kernel = NULL;
done:
    if (kernel) clReleaseKernel(kernel);
    free(all_options);
    return status;
}

vq_kernel *vq_kernel_find(const vq_device *dev, const vq_variant *variant, const char *function, const char *options)
{
    for (vq_kernel *k = dev->kernels; k; k = k->next)
        if (k->variant == variant && !strcmp(k->function, function) && !strcmp(k->options, options)) return k;
    return NULL;
}

static vq_status get_kernel(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                            const char *options, const char *skipped)
{
    *out = vq_kernel_find(dev, variant, function, options);
    return *out ? VQ_OK : create_kernel(out, dev, variant, function, options, skipped);
}

vq_status vq_kernel_get(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                        const char *options)
{
    *out = NULL;
    if (!variant) return vq_fail(VQ_ERR_UNSUPPORTED, "kernel %s: its op has no variants in this build", function);
    pthread_mutex_lock(&dev->lock);
    const vq_status status = get_kernel(out, dev, variant, function, options ? options : "", NULL);
    pthread_mutex_unlock(&dev->lock);
    return status;
}

vq_status vq_kernel_try(vq_kernel **out, vq_device *dev, const vq_variant *variant, const char *function,
                        const char *options)
{
    *out = NULL;
    pthread_mutex_lock(&dev->lock);
    const vq_status status = get_kernel(out, dev, variant, function, options, variant->name);
    pthread_mutex_unlock(&dev->lock);
    return status;
}

static cl_int set_arg(cl_kernel kernel, cl_uint i, const vq_arg *arg)
{
    switch (arg->kind) {
    case VQ_ARG_BUF: {
        const cl_mem mem = arg->u.buf ? arg->u.buf->mem : NULL;
        return clSetKernelArg(kernel, i, sizeof mem, &mem);
    }
    case VQ_ARG_I32: return clSetKernelArg(kernel, i, sizeof arg->u.i32, &arg->u.i32);
    case VQ_ARG_F32: return clSetKernelArg(kernel, i, sizeof arg->u.f32, &arg->u.f32);
    case VQ_ARG_I64: return clSetKernelArg(kernel, i, sizeof arg->u.i64, &arg->u.i64);
    case VQ_ARG_LOCAL: return clSetKernelArg(kernel, i, arg->u.local_bytes, NULL);
    }
    return CL_INVALID_ARG_VALUE;
}

static vq_status launch(vq_device *dev, vq_kernel *k, const size_t global[3], const size_t local[3], const vq_arg *args,
                        int num_args)
{
    for (int i = 0; i < num_args; i++) {
        const cl_int error = set_arg(k->kernel, (cl_uint)i, &args[i]);
        if (error != CL_SUCCESS) {
            return vq_cl_fail(dev, error, "%s (%s): argument %d of %d", k->function, k->variant->name, i, num_args);
        }
    }
    cl_event event = NULL;
    const cl_int error = clEnqueueNDRangeKernel(vq_queue_of(dev), k->kernel, 3, NULL, global, local, 0, NULL,
                                                dev->profile ? &event : NULL);
    if (error != CL_SUCCESS) {
        return vq_cl_fail(dev, error, "%s (%s): %zu x %zu x %zu work-items in groups of %zu x %zu x %zu, %d arguments",
                          k->function, k->variant->name, global[0], global[1], global[2], local[0], local[1], local[2],
                          num_args);
    }
    return event ? vq_profile_add(dev, event, k->function) : VQ_OK;
}

vq_status vq_launch(vq_device *dev, vq_kernel *kernel, vq_grid grid, const vq_arg *args, int num_args)
{
    size_t global[3], local[3];
    for (int i = 0; i < 3; i++) {
        local[i] = VQ_MAX(grid.local[i], 1);
        global[i] = VQ_MAX(grid.groups[i], 1) * local[i];
    }
    if (!kernel) return vq_fail(VQ_ERR_INVALID_ARG, "device %s: launch without a kernel", dev->info.name);
    pthread_mutex_lock(&dev->lock);
    const vq_status status = launch(dev, kernel, global, local, args, num_args);
    pthread_mutex_unlock(&dev->lock);
    return status;
}

static vq_status find_sum(vq_profile_sum **out, vq_device *dev, const char *function)
{
    for (vq_profile_sum *s = dev->sums; s; s = s->next) {
        if (!strcmp(s->function, function)) {
            *out = s;
            return VQ_OK;
        }
    }
    vq_profile_sum *sum;
    VQ_TRY(vq_alloc(&sum, 1, sizeof *sum, "a profile"));
    const vq_status status = vq_strdup(&sum->function, function);
    if (status != VQ_OK) {
        free(sum);
        return status;
    }
    sum->next = dev->sums;
    dev->sums = sum;
    *out = sum;
    return VQ_OK;
}

/* Waits for all pending events and adds their times up. */
static vq_status drain(vq_device *dev)
{
    vq_status status = vq_device_finish(dev);
    for (int i = 0; i < dev->num_events; i++) {
        cl_ulong start = 0, end = 0;
        const cl_event event = dev->events[i].event;
        cl_int error = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
        if (error == CL_SUCCESS) {
            error = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
        }
        clReleaseEvent(event);
        if (error != CL_SUCCESS && status == VQ_OK) {
            status = vq_cl_fail(dev, error, "time of %s", dev->events[i].sum->function);
        }
        dev->events[i].sum->launches++;
        dev->events[i].sum->seconds += 1e-9 * (double)(end - start);
    }
    dev->num_events = 0;
    return status;
}

vq_status vq_profile_add(vq_device *dev, cl_event event, const char *function)
{
    vq_status status = VQ_OK;
    vq_profile_sum *sum;
    if (!dev->events) VQ_GO(vq_alloc(&dev->events, VQ_MAX_EVENTS, sizeof *dev->events, "profile events"));
    VQ_GO(find_sum(&sum, dev, function));
    dev->events[dev->num_events++] = (vq_profile_event){event, sum};
    return dev->num_events == VQ_MAX_EVENTS ? drain(dev) : VQ_OK;
done:
    clReleaseEvent(event);
    return status;
}

vq_status vq_device_profile(vq_device *dev, vq_profile_fn fn, void *user)
{
    if (!dev->profile) return vq_fail(VQ_ERR_INVALID_ARG, "device %s was not opened with profile", dev->info.name);
    pthread_mutex_lock(&dev->lock);
    const vq_status status = drain(dev);
    for (vq_profile_sum *s = dev->sums; s; s = s->next) {
        if (fn && s->launches) fn(user, s->function, s->launches, s->seconds);
        s->launches = 0;
        s->seconds = 0;
    }
    pthread_mutex_unlock(&dev->lock);
    return status;
}

void vq_launch_destroy_all(vq_device *dev)
{
    for (int i = 0; i < dev->num_events; i++) clReleaseEvent(dev->events[i].event);
    free(dev->events);
    while (dev->sums) {
        vq_profile_sum *s = dev->sums;
        dev->sums = s->next;
        free(s->function);
        free(s);
    }
    while (dev->kernels) {
        vq_kernel *k = dev->kernels;
        dev->kernels = k->next;
        destroy_kernel(k);
    }
}
