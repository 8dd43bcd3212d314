/* Runs of equal values of a table, arranged for a binary search. */
#include "ops/table_runs.h"

#include "base/base.h"

void vq_table_runs_find(vq_table_runs *out, const uint16_t *table, int len)
{
    out->count = 0;
    for (int i = 0; i < len; i++) {
        if (i && table[i] == table[i - 1]) continue;
        if (out->count == VQ_MAX_RUNS) {
            out->count++;
            return;
        }
        out->begins[out->count] = (uint16_t)i;
        out->values[out->count++] = table[i];
    }
}

/* Runs that the table lacks begin where only its last entry can be, with that value. */
void vq_table_runs_fill(uint16_t *edges, uint16_t *values, const vq_table_runs *runs, int steps)
{
    for (int s = 0; s <= steps; s++)
        for (int i = 0; i < 1 << s; i++) {
            int run = 0;
            for (int bit = 0; bit < s; bit++) run |= (i >> bit & 1) << (steps - 1 - bit);
            if (s == steps)
                values[i] = runs->values[VQ_MIN(run, runs->count - 1)];
            else
                edges[VQ_RUN_WORDS * s + i] =
                    (run += 1 << (steps - 1 - s)) < runs->count ? runs->begins[run] : UINT16_MAX;
        }
    for (int i = 0; i < VQ_RUN_WORDS; i++) edges[i] = edges[0];
}

void vq_table_differences(uint8_t *out, const uint8_t *bytes, int count)
{
    for (int i = 0; i < count; i++) out[i] = bytes[i] ^ (i < VQ_BYTE_ROW ? 0 : bytes[i - VQ_BYTE_ROW]);
}
