/* Any bytes as a CSV file of labels. */
#include <string.h>

#include "fuzz.h"
#include "image/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    vq_csv csv;
    fuzz_quiet();
    if (vq_csv_read(&csv, fuzz_file(data, bytes), 1 << 20) != VQ_OK) {
        fuzz_require(csv.text == NULL && csv.num_rows == 0);
        return 0;
    }
    const int file = vq_csv_column(&csv, "file");
    size_t length = 0;
    for (size_t r = 0; r < csv.num_rows; r++)
        for (int c = 0; c < 4; c++) length += strlen(vq_csv_cell(&csv, r, c));
    fuzz_require(length <= bytes);
    fuzz_require(csv.num_rows == 0 || file < (int)(csv.rows[1] - csv.rows[0]));
    vq_csv_clear(&csv);
    return 0;
}
