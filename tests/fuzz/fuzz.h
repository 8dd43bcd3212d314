/* What fuzz targets share. A target returns 0 for every input; whatever it finds wrong it abort()s on. */
#ifndef VQ_TEST_FUZZ_H
#define VQ_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Turns the log off; call first. */
void fuzz_quiet(void);
/* Reads every byte, so that a sanitizer sees a wrong range. */
void fuzz_touch(const void *data, size_t bytes);
/* Writes the input to a scratch file and returns its path, for readers that take paths. */
const char *fuzz_file(const uint8_t *data, size_t bytes);
#define fuzz_require(x) ((x) ? (void)0 : fuzz_fail(#x, __FILE__, __LINE__))
void fuzz_fail(const char *what, const char *file, int line);

#endif
