/* Floats as unsigned keys of the same order, and the pieces of order statistics all variants share. */
static inline uint key_of(float x)
{
    const uint u = as_uint(x);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static inline float value_of(uint key)
{
    return as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/* NaNs lie outside the keys of the two infinities. */
static inline int is_nan_key(uint key)
{
    return key < 0x007fffffu || key > 0xff800000u;
}

/* Element e of group g. */
static inline size_t place(uint e, uint g, uint inner, uint groups)
{
    const uint run = e / inner;
    return ((size_t)run * groups + g) * inner + (e - run * inner);
}

/* The three digits of a key, 11, 11 and 10 bits, highest first. Pass 0 counts digit 0 of all keys. Pass 1 counts digit
 * 1 of keys whose digit 0 leads to a slot in map0; pass 2 counts digit 2 of those whose digit 1 leads on in map1[slot].
 */
#define BINS    2048
#define NO_SLOT 255

static inline int slot_of(uint key, int pass, __global const uchar *map0, __global const uchar *map1)
{
    if (pass == 0) return 0;
    const int slot = map0[key >> 21];
    if (pass == 1 || slot == NO_SLOT) return slot;
    return map1[slot * BINS + ((key >> 10) & 2047)];
}

static inline uint digit_of(uint key, int pass)
{
    return pass == 0 ? key >> 21 : pass == 1 ? (key >> 10) & 2047 : key & 1023;
}
