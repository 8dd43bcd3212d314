#include "image/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

void vq_csv_clear(vq_csv *csv)
{
    free(csv->text);
    free(csv->cells);
    free(csv->rows);
    *csv = (vq_csv){0};
}

/* Reads one field from *in and writes it to *out (never ahead of *in); returns the character behind it, '"' where the
 * text ended inside quotes. */
static char read_field(char **in, char **out)
{
    char *r = *in, *w = *out;
    bool open = *r == '"';
    if (open) {
        for (r++; *r; r++) {
            if (*r == '"' && *++r != '"') {
                open = false;
                break;
            }
            *w++ = *r;
        }
    }
    if (open) return '"';
    while (*r && *r != ',' && *r != '\n' && *r != '\r') *w++ = *r++;
    const char behind = *r;
    if (behind) r++;
    if (behind == '\r' && *r == '\n') r++;
    *w++ = 0;
    *in = r;
    *out = w;
    return behind;
}

/* A NUL is appended to the text, and each field is written where it or something before it stood: a field needs room
 * for its own NUL, which the separator gives. */
vq_status vq_csv_read(vq_csv *csv, const char *path, size_t max_bytes)
{
    size_t bytes = 0, separators = 1, lines = 1, cell = 0;
    vq_status status = VQ_OK;
    *csv = (vq_csv){0};
    VQ_GO(vq_file_read(&csv->text, &bytes, path, max_bytes));
    if (strlen(csv->text) != bytes) VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: not text", path));
    for (size_t i = 0; i < bytes; i++) {
        const char c = csv->text[i];
        lines += c == '\n' || c == '\r';
        separators += c == ',' || c == '\n' || c == '\r';
    }
    VQ_GO(vq_alloc(&csv->cells, separators, sizeof *csv->cells, path));
    VQ_GO(vq_alloc(&csv->rows, lines + 1, sizeof *csv->rows, path));
    char *in = csv->text, *out = csv->text;
    if (bytes >= 3 && memcmp(in, "\xef\xbb\xbf", 3) == 0) in += 3; /* byte order mark */
    while (*in) {
        if (*in == '\n' || *in == '\r') {
            in++;
            continue;
        }
        csv->rows[csv->num_rows++] = cell;
        char behind = ',';
        while (behind == ',') {
            csv->cells[cell++] = out;
            behind = read_field(&in, &out);
            if (behind == '"') VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: row %zu: a quote is not closed", path, csv->num_rows));
        }
    }
    csv->rows[csv->num_rows] = cell;
done:
    if (status != VQ_OK) vq_csv_clear(csv);
    return status;
}

const char *vq_csv_cell(const vq_csv *csv, size_t row, int column)
{
    const size_t cell = csv->rows[row] + (size_t)column;
    return column >= 0 && cell < csv->rows[row + 1] ? csv->cells[cell] : "";
}

int vq_csv_column(const vq_csv *csv, const char *name)
{
    const size_t count = csv->num_rows ? csv->rows[1] - csv->rows[0] : 0;
    for (size_t c = 0; c < count; c++)
        if (strcmp(vq_csv_cell(csv, 0, (int)c), name) == 0) return (int)c;
    return -1;
}
