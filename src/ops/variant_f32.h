/* What a float variant's p[0] means for its grid: rows named __wide give every work-group one work-item that does p[0]
 * rows or elements; the others have p[0] items in a work-group. */
#ifndef VQ_SRC_VARIANT_F32_H
#define VQ_SRC_VARIANT_F32_H

#include "cl/cl.h"

/* One work-group per row; wide: per p[0] rows. */
static inline vq_grid vq_grid_rows(const vq_variant *variant, size_t rows)
{
    const size_t p = (size_t)variant->p[0];
    return vq_variant_is_wide(variant) ? (vq_grid){{VQ_CEIL_DIV(rows, p)}, {1}} : (vq_grid){{rows}, {p}};
}

/* p[0] elements per work-group. */
static inline vq_grid vq_grid_elements(const vq_variant *variant, size_t count)
{
    const size_t p = (size_t)variant->p[0];
    return (vq_grid){{VQ_CEIL_DIV(count, p)}, {vq_variant_is_wide(variant) ? 1 : p}};
}

#endif
