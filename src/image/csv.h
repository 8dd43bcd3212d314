/* CSV as RFC 4180: commas, quoted fields, doubled quotes; LF or CRLF. */
#ifndef VQ_SRC_CSV_H
#define VQ_SRC_CSV_H

#include "base/base.h"

typedef struct vq_csv {
    char *text;   /* cells, each ended by a NUL */
    char **cells; /* row after row */
    size_t *rows; /* [num_rows + 1]: index of each row's first cell; empty lines are no rows */
    size_t num_rows;
} vq_csv;

vq_status vq_csv_read(vq_csv *out, const char *path, size_t max_bytes);
void vq_csv_clear(vq_csv *csv);
/* Column whose name stands in the first row, -1 where there is none. */
int vq_csv_column(const vq_csv *csv, const char *name);
/* "" where the row is shorter. */
const char *vq_csv_cell(const vq_csv *csv, size_t row, int column);

#endif
