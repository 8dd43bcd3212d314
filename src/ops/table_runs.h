/* Tables that are runs of equal values, for kernels that find an entry's run by a binary search in registers
 * (kernels/attention_u8_lookup.h, kernels/gemm_s8_lookup.h): step s of the search sets bit s of i where the entry has reached
 * an edge, which is number i of the step's 2^s edges, for the i so far. */
#ifndef VQ_SRC_OPS_TABLE_RUNS_H
#define VQ_SRC_OPS_TABLE_RUNS_H

#include <stdint.h>

enum { VQ_MAX_RUNS = 128, VQ_MAX_RUN_STEPS = 7, VQ_RUN_WORDS = 32 }; /* words of a register */

typedef struct vq_table_runs {
    int count; /* VQ_MAX_RUNS + 1: there are more */
    uint16_t begins[VQ_MAX_RUNS], values[VQ_MAX_RUNS];
} vq_table_runs;

/* The runs of table, len entries, at most 65536. */
void vq_table_runs_find(vq_table_runs *out, const uint16_t *table, int len);

/* For a search of that many steps, which 2^steps runs or fewer allow: edges of step s from VQ_RUN_WORDS * s on (step 0's one
 * in all words of its row), and the values of the 2^steps i. */
void vq_table_runs_fill(uint16_t *edges, uint16_t *values, const vq_table_runs *runs, int steps);

/* count bytes as kernels/lookup_bytes.h finds them: row k of VQ_BYTE_ROW as what differs from row k - 1. */
enum { VQ_BYTE_ROW = 16 };
void vq_table_differences(uint8_t *out, const uint8_t *bytes, int count);

#endif
