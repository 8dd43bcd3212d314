/* Nodes of an integer graph that one launch does, and lifetimes. */
#include "run/int_plan.h"

/* Rows per image and how far apart a node reads them; 0 rows: not row by row. */
typedef struct row_access {
    int rows, step;
} row_access;

static row_access access_of(const vq_int_node *n)
{
    if (n->op == VQ_INT_GEMM && n->u.gemm.rows_in == 0) return (row_access){n->u.gemm.rows, n->u.gemm.row_step};
    if (n->op == VQ_INT_LAYERNORM && n->u.layernorm.w.merge_h == 0)
        return (row_access){n->u.layernorm.rows, n->u.layernorm.row_step};
    return (row_access){0, 1};
}

/* Whether node `next` may follow nodes first..next-1, which are done together. */
static bool joins(const vq_int_graph *g, int first, int next)
{
    const vq_int_node *const n = &g->nodes[next];
    const row_access a = access_of(n);
    if (a.rows == 0 || access_of(&g->nodes[first]).rows != a.rows) return false;
    for (int i = first; i < next; i++) {
        const vq_int_node *const before = &g->nodes[i];
        if (a.step != 1 && before->out == n->in) return false;
        if (access_of(before).step != 1 && before->in == n->out) return false;
    }
    return true;
}

void vq_int_leaders(int *leaders, const vq_int_graph *g, int most)
{
    for (int i = 0, first = 0; i < g->num_nodes; i++) {
        if (i == 0 || i - first == most || !joins(g, first, i)) first = i;
        leaders[i] = first;
    }
}

static int last_led(const vq_int_graph *g, const int *leaders, int i)
{
    while (i + 1 < g->num_nodes && leaders[i + 1] == leaders[i]) i++;
    return i;
}

void vq_int_lifetimes(const vq_int_graph *g, const int *leaders, int *first, int *last)
{
    for (int v = 0; v < g->num_values; v++) {
        first[v] = v == 0 ? 0 : g->num_nodes;
        last[v] = 0;
    }
    for (int i = 0; i < g->num_nodes; i++) {
        const vq_int_node *const n = &g->nodes[i];
        const int end = last_led(g, leaders, i);
        first[n->out] = VQ_MIN(first[n->out], leaders[i]);
        last[n->out] = end;
        if (n->in >= 0) last[n->in] = VQ_MAX(last[n->in], end);
    }
}
