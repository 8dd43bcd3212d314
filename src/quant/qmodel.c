#include <stdlib.h>

#include "quant/quant.h"

void vq_qmodel_destroy(vq_qmodel **m_ptr)
{
    if (!m_ptr || !*m_ptr) return;
    vq_qmodel *const m = *m_ptr;
    for (int i = 0; m->nodes && i < m->graph->num_nodes; i++) {
        vq_quantizer_clear(&m->nodes[i].in[0]);
        vq_quantizer_clear(&m->nodes[i].in[1]);
        vq_quantizer_clear(&m->nodes[i].weight);
        free(m->nodes[i].codes);
    }
    free(m->nodes);
    vq_int_graph_destroy(&m->ints);
    vq_graph_destroy(&m->graph);
    free(m->manifest);
    free(m);
    *m_ptr = NULL;
}

void vq_qmodel_weight_f32(float *out, const vq_qmodel *m, int node)
{
    const vq_qnode *const qn = &m->nodes[node];
    const vq_shape *const shape = &m->graph->params[m->graph->nodes[node].weight].shape;
    const size_t rows = (size_t)shape->dims[0], cols = vq_shape_count(shape) / rows;
    for (size_t n = 0; n < rows; n++)
        for (size_t k = 0; k < cols; k++)
            out[n * cols + k] = ((float)qn->codes[n * cols + k] - qn->weight.zero[n]) * qn->weight.scale[n];
}

void vq_qmodel_weight_whole(float *out, const vq_qmodel *m, int node)
{
    const vq_qnode *const qn = &m->nodes[node];
    const vq_shape *const shape = &m->graph->params[m->graph->nodes[node].weight].shape;
    const size_t rows = (size_t)shape->dims[0], cols = vq_shape_count(shape) / rows;
    for (size_t n = 0; n < rows; n++)
        for (size_t k = 0; k < cols; k++) out[n * cols + k] = (float)qn->codes[n * cols + k] - qn->weight.zero[n];
}

/* The int graph owns the arrays that the ops see as const. */
static void release(const void *array)
{
    free((void *)(uintptr_t)array);
}

static void destroy_gemm(const vq_gemm_s8_weights *w)
{
    release(w->w);
    release(w->w_zero);
    release(w->bias);
    release(w->mult);
    release(w->zero);
    release(w->shift);
    release(w->table);
    release(w->table_low);
}

static void destroy_attention(const vq_attention_u8_weights *w)
{
    release(w->q_zero);
    release(w->score_mult);
    release(w->score_shift);
    release(w->prob);
    release(w->bias);
    release(w->pad);
    release(w->v_zero);
    release(w->mult);
    release(w->shift);
}

static void destroy_node(vq_int_node *n)
{
    switch (n->op) {
    case VQ_INT_PATCHIFY: break;
    case VQ_INT_TOKENS: free(n->u.tokens.init); break;
    case VQ_INT_GEMM: destroy_gemm(&n->u.gemm.w); break;
    case VQ_INT_LAYERNORM:
        release(n->u.layernorm.w.mult);
        release(n->u.layernorm.w.shift);
        release(n->u.layernorm.w.bias);
        break;
    case VQ_INT_ATTENTION: destroy_attention(&n->u.attention.w); break;
    case VQ_INT_POOL: break;
    }
    free(n->name);
}

void vq_int_graph_destroy(vq_int_graph **g)
{
    if (!g || !*g) return;
    for (int i = 0; i < (*g)->num_nodes; i++) destroy_node(&(*g)->nodes[i]);
    free((*g)->nodes);
    free((*g)->values);
    free(*g);
    *g = NULL;
}
