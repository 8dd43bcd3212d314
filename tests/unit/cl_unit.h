/* What the tests of src/cl share beside unit.h: devices with a cache of their own, all that was logged. */
#ifndef VQ_TEST_CL_UNIT_H
#define VQ_TEST_CL_UNIT_H

#include "cl/cl.h"
#include "unit.h"

#define SKIP 77

/* Catches the log and forgets settings of the environment. */
void cl_begin(void);
/* False, and a line says so, where there is none. */
bool cl_has_device(void);

extern char cl_cache_dir[96]; /* in the scratch folder: the programs of all tests but those of the cache */
extern char cl_log[65536];    /* what was logged since the last cl_clear_log */
extern int cl_warnings;       /* of it */
void cl_clear_log(void);

/* cache NULL: cl_cache_dir. The log is cleared. */
vq_device *cl_open(const char *kernels, const char *cache);

/* *state is a device. */
int cl_setup_device(void **state);
int cl_destroy_device(void **state);
#define WITH_DEVICE(f) cmocka_unit_test_setup_teardown(f, cl_setup_device, cl_destroy_device)

#endif
