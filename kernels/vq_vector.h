/* Vectors at addresses aligned to their elements only. vloadn and vstoren mean the same, but some CPU compilers turn
 * them into a load or store per element. */
#ifndef VQ_VECTOR_H
#define VQ_VECTOR_H

/* For variants that name x86's instructions. */
#ifdef __clang__
typedef uchar uchar32 __attribute__((ext_vector_type(32)));
typedef char char32 __attribute__((ext_vector_type(32)));
#endif

typedef struct __attribute__((packed)) vq_at_uchar16 {
    uchar16 v;
} vq_at_uchar16;
typedef struct __attribute__((packed)) vq_at_ushort16 {
    ushort16 v;
} vq_at_ushort16;
typedef struct __attribute__((packed)) vq_at_int8 {
    int8 v;
} vq_at_int8;
typedef struct __attribute__((packed)) vq_at_uint8 {
    uint8 v;
} vq_at_uint8;
typedef struct __attribute__((packed)) vq_at_int16 {
    int16 v;
} vq_at_int16;
typedef struct __attribute__((packed)) vq_at_float8 {
    float8 v;
} vq_at_float8;
typedef struct __attribute__((packed)) vq_at_float16 {
    float16 v;
} vq_at_float16;
typedef struct __attribute__((packed)) vq_at_long8 {
    long8 v;
} vq_at_long8;

/* LOAD_AT(uchar16, p) reads, STORE_AT(uchar16, p) = x writes, in global memory. */
#define LOAD_AT(type, p)  (((__global const vq_at_##type *)(p))->v)
#define STORE_AT(type, p) (((__global vq_at_##type *)(p))->v)

#endif
