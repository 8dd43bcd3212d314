/* What is behind a pool sees one row of the residual stream, the class token, and rows do not meet outside attention:
 * of everything between the last attention and the pool the other rows are work for nothing. For ViT this is most of
 * the last block. The logits stay the same to the bit. */
#include <stdlib.h>

#include "quant/lower.h"

typedef enum rows_read { READ_NONE, READ_FIRST, READ_ALL } rows_read;

static void mark(rows_read *read, rows_read what)
{
    *read = VQ_MAX(*read, what);
}

/* Whether every row of the image goes through, to the row of the same number. */
static bool is_row_by_row(const vq_int_graph *g, const vq_int_node *n)
{
    return !n->u.gemm.rows_in && n->u.gemm.rows == g->values[n->out].rows && n->u.gemm.rows == g->values[n->in].rows;
}

/* Only the first row of a product: into the first row of its image where it adds to the stream, else the only one. */
static void keep_first_gemm(vq_int_graph *g, vq_int_node *n)
{
    vq_int_value *const out = &g->values[n->out];
    if (n->u.gemm.w.epilogue == VQ_GEMM_ADD) {
        n->u.gemm.rows_in = 1;
        n->u.gemm.rows_out = out->rows;
        n->u.gemm.row_first = 0;
    } else {
        out->rows = 1;
    }
    n->u.gemm.rows = 1;
}

static void prune_node(vq_int_graph *g, vq_int_node *n, rows_read *read)
{
    const bool first = read[n->out] == READ_FIRST;
    bool alone = false; /* n reads the first row alone */
    if (n->op == VQ_INT_GEMM && first && is_row_by_row(g, n)) {
        keep_first_gemm(g, n);
        alone = true;
    } else if (n->op == VQ_INT_LAYERNORM && first && n->u.layernorm.rows == g->values[n->in].rows) {
        n->u.layernorm.rows = g->values[n->out].rows = 1;
        n->u.layernorm.row_step = g->values[n->in].rows;
        alone = true;
    } else if (n->op == VQ_INT_LAYERNORM) {
        alone = n->u.layernorm.rows == 1 && !n->u.layernorm.w.merge_h; /* the pool's */
    }
    if (n->in >= 0) mark(&read[n->in], alone ? READ_FIRST : READ_ALL);
}

vq_status vq_int_prune_rows(vq_int_graph *g)
{
    rows_read *read = NULL;
    VQ_TRY(vq_alloc(&read, (size_t)g->num_values, sizeof *read, "rows read"));
    if (g->num_nodes) read[g->nodes[g->num_nodes - 1].out] = READ_ALL;
    for (int i = g->num_nodes - 1; i >= 0; i--) prune_node(g, &g->nodes[i], read);
    free(read);
    for (int i = 0; i < g->num_nodes; i++) { /* one row, of an input that may have kept all of its */
        vq_int_node *const n = &g->nodes[i];
        if (n->op == VQ_INT_GEMM && n->u.gemm.rows == 1) n->u.gemm.row_step = g->values[n->in].rows;
    }
    return VQ_OK;
}
