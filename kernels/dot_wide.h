/* One step of an integer product in x86 registers: MAC(sum, x, y) adds to every 32-bit lane of sum the products of that
 * lane's codes in x (u8, or s16 where DOT is 2) and weights in y. Included where LANES, intv and DOT are defined:
 * DOT  1 vpmaddubsw: sums in 16 bits, which to_sum() widens. 4 codes a lane
 *      2 vpmaddwd on operands of 16 bits. 2 codes a lane
 *      3 vpdpbusd. 4 codes a lane
 * MAC_PAIRS(sum, x, y) the same with pairs of s16 in both, and where BYTE_SUMS is defined MAC_BYTES that of DOT 1.
 * DOT_ASM may be __asm__ volatile: then equal products are taken each time, as a measurement wants them. */
#ifndef DOT_WIDE_H
#define DOT_WIDE_H

#ifndef DOT_ASM
#define DOT_ASM __asm__
#endif

#if LANES == 16
#define REG "v"
#define VEX
#else
#define REG "x"
#define VEX "%{vex%} "
#endif

#if DOT == 1 || defined(BYTE_SUMS)
#define MAC_BYTES(sum, x, y)                                                                                               \
    {                                                                                                                  \
        intv pairs;                                                                                                    \
        DOT_ASM("vpmaddubsw %2, %1, %0" : "=" REG(pairs) : REG(x), REG(y));                                            \
        DOT_ASM("vpaddw %1, %0, %0" : "+" REG(sum) : REG(pairs));                                                      \
    }
static intv to_sum(intv pairs)
{
    intv sum;
    DOT_ASM("vpmaddwd %2, %1, %0" : "=" REG(sum) : REG(pairs), REG((intv)(0x00010001)));
    return sum;
}
#endif

#if DOT == 1
#define MAC MAC_BYTES
#elif DOT == 2
#define MAC MAC_PAIRS
#endif

#if DOT == 3
#define MAC(sum, x, y)       DOT_ASM(VEX "vpdpbusd %2, %1, %0" : "+" REG(sum) : REG(x), REG(y));
#define MAC_PAIRS(sum, x, y) DOT_ASM(VEX "vpdpwssd %2, %1, %0" : "+" REG(sum) : REG(x), REG(y));
#elif DOT
#define MAC_PAIRS(sum, x, y)                                                                                           \
    {                                                                                                                  \
        intv pairs;                                                                                                    \
        DOT_ASM("vpmaddwd %2, %1, %0" : "=" REG(pairs) : REG(x), REG(y));                                              \
        sum += pairs;                                                                                                  \
    }
#endif

#endif
