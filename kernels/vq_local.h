/* For functions that take __local pointers: inlined always. PoCL 3.1 turns the __local arrays of a kernel into memory of
 * its work-group only after functions that are always passed the same array may have been specialized to use it directly;
 * such an array stays one global variable, which the work-groups of all threads overwrite for each other. */
#ifndef VQ_LOCAL_H
#define VQ_LOCAL_H

#define VQ_LOCAL_FUNCTION __attribute__((always_inline)) static inline

#endif
