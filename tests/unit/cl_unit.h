/* What the tests of src/cl share: devices with a cache of their own, what was logged, a scratch folder. */
#ifndef VQ_TEST_CL_UNIT_H
#define VQ_TEST_CL_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cl/cl.h"

#define SKIP 77

/* Makes the scratch folder, removed at exit, catches the log, and forgets settings of the environment. */
void cl_begin(void);
/* False, and a line says so, where there is none. */
bool cl_has_device(void);

extern char cl_dir[64];       /* the scratch folder */
extern char cl_cache_dir[96]; /* in it: the programs of all tests but those of the cache */
extern char cl_log[65536];    /* what was logged since the last cl_clear_log */
extern int cl_warnings;       /* of it */
void cl_clear_log(void);

/* cache NULL: cl_cache_dir. The log is cleared. */
vq_device *cl_open(const char *kernels, const char *cache);
/* Writes a file into the scratch folder and returns its path, valid until the next call. */
const char *cl_write(const char *name, const char *text);

/* *state is a device. */
int cl_setup_device(void **state);
int cl_destroy_device(void **state);
#define WITH_DEVICE(f) cmocka_unit_test_setup_teardown(f, cl_setup_device, cl_destroy_device)

#endif
