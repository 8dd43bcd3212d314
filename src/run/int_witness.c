/* The integer graph in plain C: what every device must reproduce bit for bit. */
#include <stdlib.h>

#include "ref/ref_int.h"
#include "run/int_run.h"

static vq_status run_node(const vq_int_graph *g, int i, void *const *values, int batch)
{
    const vq_int_node *const n = &g->nodes[i];
    const void *const in = n->in < 0 ? NULL : values[n->in];
    void *const out = values[n->out];
    const int ld_in = n->in < 0 ? 0 : g->values[n->in].pitch, ld_out = g->values[n->out].pitch;
    switch (n->op) {
    case VQ_INT_PATCHIFY: {
        vq_patchify_shape shape = n->u.patchify;
        shape.batch = batch;
        vq_ref_patchify_u8(&shape, in, out, ld_out);
        return VQ_OK;
    }
    case VQ_INT_TOKENS: vq_ref_tokens_s32(n->u.tokens.init, n->u.tokens.count, out, batch); return VQ_OK;
    case VQ_INT_GEMM:
        vq_ref_gemm_s8_planes(&n->u.gemm.w, in, ld_in * n->u.gemm.row_step, g->values[n->in].plane_pitch, out, ld_out,
                              g->values[n->out].plane_pitch, batch * n->u.gemm.rows, n->u.gemm.rows_in,
                              n->u.gemm.rows_out, n->u.gemm.row_first);
        return VQ_OK;
    case VQ_INT_LAYERNORM:
        vq_ref_layernorm_s32(&n->u.layernorm.w, in, ld_in * n->u.layernorm.row_step, out, ld_out,
                             batch * n->u.layernorm.rows);
        return VQ_OK;
    case VQ_INT_POOL: vq_ref_pool_s32(&n->u.pool, in, out, ld_out, batch); return VQ_OK;
    case VQ_INT_ATTENTION:
        return vq_ref_attention_u8(&n->u.attention.w, in, ld_in, out, ld_out, batch, n->u.attention.tokens);
    }
    return vq_fail(VQ_ERR_UNSUPPORTED, "%s: unknown integer operation %d", n->name, (int)n->op);
}

vq_status vq_int_witness_logits(const vq_int_graph *graph, const uint8_t *pixels, int batch, int32_t *logits)
{
    void **values = NULL;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&values, (size_t)graph->num_values, sizeof *values, "integer witness"));
    values[0] = (void *)(uintptr_t)pixels; /* read only */
    const int last = graph->nodes[graph->num_nodes - 1].out;
    for (int v = 1; v < graph->num_values; v++)
        if (v == last)
            values[v] = logits;
        else
            VQ_GO(vq_alloc(&values[v], (size_t)batch, vq_int_value_bytes(&graph->values[v]), "integer witness"));
    for (int i = 0; i < graph->num_nodes; i++) VQ_GO(run_node(graph, i, values, batch));
done:
    for (int v = 1; values && v < graph->num_values; v++)
        if (values[v] != logits) free(values[v]);
    free(values);
    return status;
}
