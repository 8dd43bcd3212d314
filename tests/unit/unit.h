/* What unit tests share: cmocka, the last error line, a scratch folder. */
#ifndef VQ_TEST_UNIT_H
#define VQ_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

/* Errors go into unit_error from here on, and not to stderr. */
void unit_catch_log(void);
extern char unit_error[1024]; /* the last line at VQ_LOG_ERROR */
extern int unit_num_errors;   /* lines since the last unit_fails */

/* The call fails with exactly this status and one line that contains text. */
#define unit_fails(call, status, text)                \
    do {                                              \
        unit_num_errors = 0;                          \
        unit_error[0] = 0;                            \
        assert_int_equal((call), (status));           \
        unit_check_error((text), __FILE__, __LINE__); \
    } while (0)
void unit_check_error(const char *text, const char *file, int line);

#define unit_ok(call) assert_int_equal((call), VQ_OK)

/* "FOLDER/name" in a scratch folder that is made on the first call and removed at exit; valid until 8 further calls. */
const char *unit_path(const char *name);
/* Writes a file there and returns its path. */
const char *unit_write(const char *name, const void *data, size_t bytes);
const char *unit_write_text(const char *name, const char *text);
/* A file of the repository. */
const char *unit_source(const char *name);

/* 64-bit FNV-1a. */
uint64_t unit_hash(const void *data, size_t bytes);

#endif
