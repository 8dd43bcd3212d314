/* Device memory: buffers, views and copies. */
#include "cl/internal.h"

#include <stdlib.h>

static vq_status check_range(const vq_device *dev, const char *what, const vq_buf *buf, size_t offset, size_t bytes)
{
    if (!buf) return vq_fail(VQ_ERR_INVALID_ARG, "device %s: %s: buffer is NULL", dev->info.name, what);
    if (offset > buf->bytes || bytes > buf->bytes - offset) {
        return vq_fail(VQ_ERR_INVALID_ARG, "device %s: %s of %zu bytes at %zu is outside a buffer of %zu bytes",
                       dev->info.name, what, bytes, offset, buf->bytes);
    }
    return VQ_OK;
}

static vq_status create(vq_buf **out, vq_device *dev, size_t bytes, void *data)
{
    *out = NULL;
    if (bytes == 0) return vq_fail(VQ_ERR_INVALID_ARG, "device %s: buffer of 0 bytes", dev->info.name);
    if (bytes > dev->info.max_alloc_bytes) {
        return vq_fail(VQ_ERR_DEVICE_MEMORY, "device %s: buffer of %zu bytes, the largest it can allocate is %zu",
                       dev->info.name, bytes, dev->info.max_alloc_bytes);
    }
    vq_buf *buf;
    VQ_TRY(vq_alloc(&buf, 1, sizeof *buf, "a buffer"));
    cl_int error;
    const cl_mem_flags flags = CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0);
    buf->mem = clCreateBuffer(dev->context, flags, bytes, data, &error);
    buf->bytes = bytes;
    if (error != CL_SUCCESS) {
        free(buf);
        return vq_cl_fail(dev, error, "clCreateBuffer of %zu bytes", bytes);
    }
    *out = buf;
    return VQ_OK;
}

vq_status vq_buf_create(vq_buf **out, vq_device *dev, size_t bytes)
{
    VQ_TRY(create(out, dev, bytes, NULL));
    const cl_uint zero = 0;
    const size_t pattern = bytes % sizeof zero ? 1 : sizeof zero;
    const cl_int error = clEnqueueFillBuffer(vq_queue_of(dev), (*out)->mem, &zero, pattern, 0, bytes, 0, NULL, NULL);
    if (error == CL_SUCCESS) return VQ_OK;
    vq_buf_destroy(out);
    return vq_cl_fail(dev, error, "clEnqueueFillBuffer of %zu bytes", bytes);
}

vq_status vq_buf_create_from(vq_buf **out, vq_device *dev, const void *data, size_t bytes)
{
    *out = NULL;
    if (!data) return vq_fail(VQ_ERR_INVALID_ARG, "device %s: no data for a buffer", dev->info.name);
    /* OpenCL 1.2 takes the pointer as non-const but only reads through it. */
    union {
        const void *in;
        void *cl;
    } ptr = {.in = data};
    return create(out, dev, bytes, ptr.cl);
}

vq_status vq_buf_view(vq_buf **out, vq_device *dev, const vq_buf *parent, size_t offset, size_t bytes)
{
    *out = NULL;
    VQ_TRY(check_range(dev, "view", parent, offset, bytes));
    if (bytes == 0 || offset % VQ_BUF_ALIGN) {
        return vq_fail(VQ_ERR_INVALID_ARG, "device %s: view of %zu bytes at %zu, which is no multiple of %d",
                       dev->info.name, bytes, offset, VQ_BUF_ALIGN);
    }
    vq_buf *buf;
    VQ_TRY(vq_alloc(&buf, 1, sizeof *buf, "a view"));
    cl_int error;
    const cl_buffer_region region = {offset, bytes};
    buf->mem = clCreateSubBuffer(parent->mem, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    buf->bytes = bytes;
    if (error != CL_SUCCESS) {
        free(buf);
        return vq_cl_fail(dev, error, "clCreateSubBuffer of %zu bytes at %zu", bytes, offset);
    }
    *out = buf;
    return VQ_OK;
}

void vq_buf_destroy(vq_buf **buf)
{
    if (!*buf) return;
    clReleaseMemObject((*buf)->mem);
    free(*buf);
    *buf = NULL;
}

size_t vq_buf_bytes(const vq_buf *buf)
{
    return buf ? buf->bytes : 0;
}

vq_status vq_buf_write(vq_device *dev, const vq_buf *buf, size_t offset, const void *data, size_t bytes)
{
    VQ_TRY(check_range(dev, "write", buf, offset, bytes));
    if (bytes == 0) return VQ_OK;
    const cl_int error = clEnqueueWriteBuffer(vq_queue_of(dev), buf->mem, CL_TRUE, offset, bytes, data, 0, NULL, NULL);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clEnqueueWriteBuffer of %zu bytes", bytes);
    return VQ_OK;
}

vq_status vq_buf_read(vq_device *dev, const vq_buf *buf, size_t offset, void *data, size_t bytes)
{
    VQ_TRY(check_range(dev, "read", buf, offset, bytes));
    if (bytes == 0) return VQ_OK;
    const cl_int error = clEnqueueReadBuffer(vq_queue_of(dev), buf->mem, CL_TRUE, offset, bytes, data, 0, NULL, NULL);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clEnqueueReadBuffer of %zu bytes", bytes);
    return VQ_OK;
}

vq_status vq_buf_fill(vq_device *dev, const vq_buf *buf, size_t offset, uint32_t value, size_t bytes)
{
    VQ_TRY(check_range(dev, "fill", buf, offset, bytes));
    if (offset % sizeof value || bytes % sizeof value) {
        return vq_fail(VQ_ERR_INVALID_ARG, "device %s: fill of %zu bytes at %zu, must be multiples of 4",
                       dev->info.name, bytes, offset);
    }
    if (bytes == 0) return VQ_OK;
    const cl_int error =
        clEnqueueFillBuffer(vq_queue_of(dev), buf->mem, &value, sizeof value, offset, bytes, 0, NULL, NULL);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clEnqueueFillBuffer of %zu bytes", bytes);
    return VQ_OK;
}

vq_status vq_buf_copy(vq_device *dev, const vq_buf *dst, size_t dst_offset, const vq_buf *src, size_t src_offset,
                      size_t bytes)
{
    VQ_TRY(check_range(dev, "copy", dst, dst_offset, bytes));
    VQ_TRY(check_range(dev, "copy", src, src_offset, bytes));
    if (bytes == 0) return VQ_OK;
    const cl_int error =
        clEnqueueCopyBuffer(vq_queue_of(dev), src->mem, dst->mem, src_offset, dst_offset, bytes, 0, NULL, NULL);
    if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clEnqueueCopyBuffer of %zu bytes", bytes);
    return VQ_OK;
}

vq_status vq_device_finish(vq_device *dev)
{
    for (int i = 0; i < dev->lanes; i++) {
        const cl_int error = clFinish(dev->queues[i]);
        if (error != CL_SUCCESS) return vq_cl_fail(dev, error, "clFinish");
    }
    return VQ_OK;
}
