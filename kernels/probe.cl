/* Probes of CPU instructions: one work-item multiplies 64 (or 32) pairs of bytes and stores the sums. src/cl/probe.c
 * compiles one function at a time and compares with the known answer; kernels may use an instruction only after that.
 * The instruction's operands are in AT&T order, as everywhere in our inline assembly. */

#ifdef VQ_PROBE_AVX2
/* out s32 [8]: sums of 4 products u8 x s8, by pairs saturated to s16, as vpmaddubsw does. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint8 x = vload8(0, (__global const uint *)a), y = vload8(0, (__global const uint *)b);
    const uint8 ones = (uint8)(0x00010001);
    uint8 pairs;
    int8 sums;
    __asm__ volatile("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(x), "x"(y));
    __asm__ volatile("vpmaddwd %2, %1, %0" : "=x"(sums) : "x"(pairs), "x"(ones));
    vstore8(sums, 0, out);
}
#endif

#ifdef VQ_PROBE_AVX512BW
/* out s32 [16]: sums of 2 products s16 x s16. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint16 x = vload16(0, (__global const uint *)a), y = vload16(0, (__global const uint *)b);
    int16 sums;
    __asm__ volatile("vpmaddwd %2, %1, %0" : "=v"(sums) : "v"(x), "v"(y));
    vstore16(sums, 0, out);
}
#endif

#ifdef VQ_PROBE_AVX512VNNI
/* out s32 [16]: sums of 4 products u8 x s8 added to out. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint16 x = vload16(0, (__global const uint *)a), y = vload16(0, (__global const uint *)b);
    int16 sums = vload16(0, out);
    __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(y));
    vstore16(sums, 0, out);
}
#endif

#ifdef VQ_PROBE_AVX512IFMA
/* out s32 [16]: upper halves of products of 30-bit numbers added to out, for even and for odd lanes. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint16 mask = 0x3fffffff;
    const ulong8 x = as_ulong8(vload16(0, (__global const uint *)a) & mask);
    const ulong8 y = as_ulong8(vload16(0, (__global const uint *)b) & mask), low = 0xffffffff;
    const ulong8 sums = as_ulong8(vload16(0, out));
    ulong8 even = sums & low, odd = sums >> 32;
    __asm__ volatile("vpmadd52huq %2, %1, %0" : "+v"(even) : "v"(x & low), "v"(y << 20));
    __asm__ volatile("vpmadd52huq %2, %1, %0" : "+v"(odd) : "v"(x >> 32), "v"(y >> 32 << 20));
    vstore16(as_int16((even & low) | odd << 32), 0, out);
}
#endif

#ifdef VQ_PROBE_AVX512VBMI
/* out s32 [16]: bytes of a or b (bit 6) of the same lane by the lower two bits of a's, then fields of 8 bits, 6 apart. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint16 lane = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), odd = lane & 1u;
    const uint16 x = vload16(0, (__global const uint *)a), y = vload16(0, (__global const uint *)b);
    uint16 bytes = (x & 0x43434343u) | lane * 0x04040404u, fields;
    __asm__ volatile("vpermi2b %2, %1, %0" : "+v"(bytes) : "v"(x), "v"(y));
    __asm__ volatile("vpmultishiftqb %2, %1, %0" : "=v"(fields) : "v"(odd * 0x20202020u + 0x120c0600u), "v"(bytes));
    vstore16(as_int16(fields), 0, out);
}
#endif

#ifdef VQ_PROBE_AVXVNNI
/* out s32 [8]: sums of 4 products u8 x s8 added to out. */
__kernel void probe(__global const uchar *a, __global const char *b, __global int *out)
{
    const uint8 x = vload8(0, (__global const uint *)a), y = vload8(0, (__global const uint *)b);
    int8 sums = vload8(0, out);
    __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(x), "x"(y));
    vstore8(sums, 0, out);
}
#endif
