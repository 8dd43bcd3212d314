/* What of an integer graph is done together, and how long its values live. No device. */
#ifndef VQ_SRC_INT_PLAN_H
#define VQ_SRC_INT_PLAN_H

#include "quant/quant.h"

/* leaders [num_nodes]: leaders[i] is the first of the successive nodes, at most `most`, that one launch may do row by row with
 * node i among them; i itself where it stands alone. Such nodes are products without a row map and LayerNorms that merge no
 * neighbours, of the same number of rows, each of which reads no row of the others' results but its own. */
void vq_int_leaders(int *leaders, const vq_int_graph *graph, int most);

/* Lifetimes of the values over the node list, for the memory plan: value v is alive from node first[v] to last[v]. The pixels
 * (value 0) are alive from node 0. Nodes that are done together are all alive at once. Arrays of graph->num_values. */
void vq_int_lifetimes(const vq_int_graph *graph, const int *leaders, int *first, int *last);

#endif
