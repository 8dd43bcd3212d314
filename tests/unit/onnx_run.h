/* A reader of ONNX files for tests: enough operators, each as its specification says, to run what vitq exports. It shares
 * with the library only the message definitions. */
#ifndef VQ_TESTS_ONNX_RUN_H
#define VQ_TESTS_ONNX_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "onnx.pb-c.h"

enum { ONNX_MAX_RANK = 5 };

typedef struct onnx_tensor {
    const char *name;
    int type; /* ONNX__TENSOR_PROTO__DATA_TYPE__*, 9 for bool */
    int rank;
    int64_t dims[ONNX_MAX_RANK];
    size_t count;
    double *v; /* integers and floats alike; floats are rounded to f32 after every operation */
} onnx_tensor;

typedef struct onnx_run {
    Onnx__ModelProto *model;
    onnx_tensor *tensors; /* constants, the input, then outputs of nodes as they come */
    size_t num_tensors;
} onnx_run;

/* Reads a file and its constants. Fails the test for anything that is not a well-formed graph of the operators here:
 * every input known before its node, every name new, every constant as long as its shape. */
void onnx_open(onnx_run *run, const char *path);
void onnx_close(onnx_run *run);
/* Runs it on an input of that shape (data as doubles, [count of the shape]); the batch is dims[0]. */
const onnx_tensor *onnx_forward(onnx_run *run, const double *input, int64_t batch);
const onnx_tensor *onnx_find(const onnx_run *run, const char *name); /* NULL: none */
const char *onnx_metadata(const onnx_run *run, const char *key);     /* NULL: none */
int onnx_count(const onnx_run *run, const char *op);                 /* nodes of that operator */

#endif
