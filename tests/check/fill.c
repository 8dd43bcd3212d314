/* Pathological inputs. */
#include "check_state.h"

#include <math.h>

typedef enum pattern {
    CONSTANT,
    ALL_LOW,
    ALL_HIGH,
    ALTERNATING,
    RUNS,
    OUTLIERS,
    COLUMN,
    NORMAL,
    UNIFORM,
    NUM_PATTERNS
} pattern;

typedef struct generator {
    pattern kind;
    double lo, hi, constant;
    uint32_t period, phase, run;
    bool high;
} generator;

/* Half of all buffers are uniform or normal, so that cases with something to see are frequent. */
static generator start(check *ck, double lo, double hi)
{
    vq_rng *const rng = check_rng(ck);
    const uint32_t pick = vq_rng_below(rng, 2 * NUM_PATTERNS);
    generator g = {.kind = pick < NUM_PATTERNS ? (pattern)pick : pick % 3 ? UNIFORM : NORMAL, .lo = lo, .hi = hi};
    g.constant = lo + (hi - lo) * vq_rng_uniform(rng);
    if (lo <= 0 && hi >= 0 && vq_rng_below(rng, 2)) g.constant = 0;
    g.period = 2 + vq_rng_below(rng, 200);
    g.phase = vq_rng_below(rng, g.period);
    return g;
}

static double normal(vq_rng *rng, const generator *g, double part)
{
    const double x = 0.5 * (g->lo + g->hi) + part * (g->hi - g->lo) * vq_rng_normal(rng);
    return x < g->lo ? g->lo : x > g->hi ? g->hi : x;
}

/* Value i of the pattern, in [lo, hi]. */
static double draw(check *ck, generator *g, size_t i)
{
    vq_rng *const rng = check_rng(ck);
    switch (g->kind) {
    case CONSTANT: return g->constant;
    case ALL_LOW: return g->lo;
    case ALL_HIGH: return g->hi;
    case ALTERNATING: return i % 2 ? g->hi : g->lo;
    case RUNS:
        if (!g->run) {
            g->run = 1 + vq_rng_below(rng, 40);
            g->high = !g->high;
        }
        g->run--;
        return g->high ? g->hi : g->lo;
    case OUTLIERS: return vq_rng_below(rng, 64) ? normal(rng, g, 0.01) : vq_rng_below(rng, 2) ? g->lo : g->hi;
    case COLUMN: return i % g->period == g->phase ? normal(rng, g, 0.4) : normal(rng, g, 0.02);
    case NORMAL: return normal(rng, g, 0.15);
    default: return g->lo + (g->hi - g->lo) * ((double)vq_rng_u32(rng) / 4294967295.0);
    }
}

void check_fill_u8(check *ck, uint8_t *x, size_t count, int lo, int hi)
{
    generator g = start(ck, lo, hi);
    for (size_t i = 0; i < count; i++) x[i] = (uint8_t)lrint(draw(ck, &g, i));
}

void check_fill_s8(check *ck, int8_t *x, size_t count, int lo, int hi)
{
    generator g = start(ck, lo, hi);
    for (size_t i = 0; i < count; i++) x[i] = (int8_t)lrint(draw(ck, &g, i));
}

void check_fill_s32(check *ck, int32_t *x, size_t count, int32_t lo, int32_t hi)
{
    generator g = start(ck, lo, hi);
    for (size_t i = 0; i < count; i++) x[i] = (int32_t)llrint(draw(ck, &g, i));
}

void check_fill_f32(check *ck, float *x, size_t count, float lo, float hi)
{
    generator g = start(ck, (double)lo, (double)hi);
    for (size_t i = 0; i < count; i++) x[i] = (float)draw(ck, &g, i);
}

int check_between(check *ck, int lo, int hi)
{
    return lo + (int)vq_rng_below(check_rng(ck), (uint32_t)(hi - lo) + 1);
}
