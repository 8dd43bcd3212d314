/* Whole models: what they cost, and where the time goes. */
#include <math.h>
#include <stdlib.h>

#include "run/float_run.h"
#include "run/int_cost.h"
#include "run/int_run.h"
#include "run/lanes.h"
#include "run/model.h"
#include "run/session.h"
#include "vitq/bench.h"

/* Multiply-adds of a node for one image. */
static double products_of(const vq_graph *g, const vq_node *node)
{
    const vq_value *const in = &g->values[node->in[0]], *const out = &g->values[node->out];
    switch (node->op) {
    case VQ_NODE_PATCH_EMBED: return (double)out->rows * out->cols * g->pre.chans * node->patch * node->patch;
    case VQ_NODE_LINEAR: return (double)out->rows * out->cols * in->cols;
    case VQ_NODE_SCORES: return (double)out->rows * out->cols * node->head_dim;
    case VQ_NODE_CONTEXT: return (double)in->rows * in->cols * node->head_dim;
    default: return 0;
    }
}

vq_status vq_bench_model_ops(double *ops, const vq_model *model)
{
    if (!ops || !model) return vq_fail(VQ_ERR_INVALID_ARG, "bench: no model, or no place for its operations");
    const vq_graph *const g = vq_model_graph(model);
    *ops = 0;
    for (int i = 0; i < g->num_nodes; i++) *ops += 2 * products_of(g, &g->nodes[i]);
    return VQ_OK;
}

/* ---- step by step ------------------------------------------------------------------------------------------------ */

typedef struct stepping {
    vq_device *dev;
    const vq_graph *graph;
    vq_int_run *ints; /* or */
    vq_float_run *floats;
    const vq_int_graph *int_graph;
    int batch, count, at;       /* at: the node that runs */
    double *seconds, *launches; /* [count] sums of all runs */
} stepping;

typedef struct step_time {
    double launches, seconds;
} step_time;

static void add_time(void *user, const char *function, size_t launches, double seconds)
{
    step_time *const t = user;
    (void)function;
    t->launches += (double)launches;
    t->seconds += seconds;
}

/* One lane's launches at a time, for those side by side would count each other's time. */
static vq_status run_step(void *user, vq_lane_stage stage, int lane, vq_lane_share share)
{
    stepping *const s = user;
    const int i = s->at;
    step_time t = {0};
    if (stage != VQ_LANE_RUN) return VQ_OK;
    if (s->ints)
        VQ_TRY(vq_int_run_node(s->ints, lane, i, share.count));
    else
        VQ_TRY(vq_float_run_node(lane ? s->floats->lanes[lane] : s->floats, i, share.count));
    VQ_TRY(vq_device_profile(s->dev, add_time, &t));
    if (lane == 0) s->launches[i] += t.launches;
    s->seconds[i] += t.seconds;
    return VQ_OK;
}

static vq_status run_steps(stepping *s)
{
    const int lanes = s->ints ? vq_int_run_lanes(s->ints) : VQ_MAX(s->floats->num_lanes, 1);
    for (s->at = 0; s->at < s->count; s->at++) VQ_TRY(vq_lanes_run(s->dev, lanes, s->batch, run_step, s));
    return VQ_OK;
}

static void add_cost(vq_bench_step *step, const stepping *s, int i)
{
    const vq_int_cost fused = vq_int_cost_fused(s->int_graph, i, s->batch),
                      apart = vq_int_cost_apart(s->int_graph, i, s->batch);
    step->operations += fused.operations;
    step->bytes += fused.bytes + 2 * (double)vq_int_run_scratch_bytes(s->ints, i, s->batch);
    step->constants += (double)vq_int_run_constant_bytes(s->ints, i);
    step->apart_launches += apart.launches;
    step->apart_bytes += apart.bytes;
}

static void describe_int(vq_bench_step *step, const stepping *s, int i)
{
    static const char *const ops[] = {"patchify_u8",   "tokens_s32",   "gemm_s8",
                                      "layernorm_s32", "attention_u8", "pool_s32"};
    static const char *const kinds[] = {"codes", "table", "add", "set"};
    const vq_int_node *const n = &s->int_graph->nodes[i];
    step->name = n->name;
    step->op = ops[n->op];
    step->kind = n->op == VQ_INT_GEMM ? kinds[n->u.gemm.w.epilogue] : "";
    step->type = VQ_BENCH_S8;
    add_cost(step, s, i);
    while (i + 1 < s->count && vq_int_run_is_part(s->ints, i + 1)) {
        step->op = "row_chain";
        step->kind = "";
        add_cost(step, s, ++i);
    }
}

static double count_of(const vq_graph *g, int value)
{
    return value < 0 ? 0 : (double)g->values[value].rows * g->values[value].cols;
}

static double param_bytes(const vq_graph *g, int param)
{
    return param < 0 ? 0 : sizeof(float) * (double)vq_shape_count(&g->params[param].shape);
}

/* A linear reads what is added to it, too; attention reads qkv and keeps its scores to itself. */
static void describe_fused(vq_bench_step *step, const stepping *s, int i)
{
    const vq_graph *const g = s->graph;
    const vq_node *const n = &g->nodes[i];
    if (n[1].op == VQ_NODE_ADD) step->bytes += sizeof(float) * count_of(g, n->out) * s->batch;
    if (n->op != VQ_NODE_SCORES) return;
    step->op = "attention";
    step->operations += 2 * products_of(g, &n[2]) * s->batch;
    step->bytes = sizeof(float) * (count_of(g, n->in[0]) + count_of(g, n[2].out)) * s->batch;
}

/* Inputs and output once each; attention reads of its whole qkv value what the node needs. */
static void describe_float(vq_bench_step *step, const stepping *s, int i)
{
    const vq_graph *const g = s->graph;
    const vq_node *const n = &g->nodes[i];
    double read = n->in[0] == 0 ? count_of(g, 0) / sizeof(float) : count_of(g, n->in[0]);
    if (n->op == VQ_NODE_ADD) read += count_of(g, n->in[1]);
    if (n->op == VQ_NODE_SCORES) read *= 2.0 / 3;
    if (n->op == VQ_NODE_CONTEXT) read += count_of(g, n->in[1]) / 3;
    step->name = n->name;
    step->op = vq_node_op_name(n->op);
    step->kind = "";
    step->type = VQ_BENCH_F32;
    step->operations = 2 * products_of(g, n) * s->batch;
    step->bytes = sizeof(float) * (read + count_of(g, n->out)) * s->batch;
    step->constants = param_bytes(g, n->weight) + param_bytes(g, n->bias);
    if (i + 1 < g->num_nodes && s->floats->fusion.leaders && s->floats->fusion.leaders[i + 1] == i)
        describe_fused(step, s, i);
    step->apart_launches = step->apart_bytes = NAN;
}

/* What leaders that share a launch do, together. */
static void describe_float_chain(vq_bench_step *step, const stepping *s, int first)
{
    const vq_float_fusion *const f = &s->floats->fusion;
    describe_float(step, s, first);
    for (int i = first + 1; f->chains && i < s->count && f->chains[i] == first; i++) {
        vq_bench_step next = {.bytes = 0};
        if (f->leaders[i] != i) continue;
        describe_float(&next, s, i);
        step->op = "row_chain";
        step->operations += next.operations;
        step->bytes += next.bytes;
        step->constants += next.constants;
    }
}

static vq_status create_stepping(stepping *s, vq_session *session, int batch)
{
    const vq_model *const model = vq_session_model(session);
    *s = (stepping){.dev = vq_session_device(session),
                    .graph = vq_model_graph(model),
                    .ints = vq_session_ints(session),
                    .floats = vq_session_floats(session),
                    .batch = batch};
    if (!s->dev) return vq_fail(VQ_ERR_INVALID_ARG, "bench: the witness has no steps");
    if (s->ints) s->int_graph = model->qmodel->ints;
    s->count = s->ints ? s->int_graph->num_nodes : s->graph->num_nodes;
    VQ_TRY(vq_alloc(&s->seconds, (size_t)s->count, sizeof *s->seconds, "times of steps"));
    return vq_alloc(&s->launches, (size_t)s->count, sizeof *s->launches, "launches of steps");
}

vq_status vq_bench_steps(vq_session *session, const uint8_t *pixels, int batch, int runs, vq_bench_step_fn fn,
                         void *user)
{
    stepping s = {0};
    float *logits = NULL;
    vq_status status = VQ_OK;
    if (!session || !pixels || !fn || runs < 1)
        return vq_fail(VQ_ERR_INVALID_ARG, "bench: no session, pixels or function, or %d runs", runs);
    VQ_GO(create_stepping(&s, session, batch));
    VQ_GO(vq_alloc(&logits, (size_t)VQ_MAX(batch, 1) * (size_t)s.graph->num_classes, sizeof *logits, "logits"));
    VQ_GO(vq_session_run(session, pixels, batch, logits));
    VQ_GO(vq_device_profile(s.dev, NULL, NULL));
    for (int r = 0; r < runs; r++) VQ_GO(run_steps(&s));
    for (int i = 0; i < s.count; i++) {
        if (s.floats ? vq_float_run_is_part(s.floats, i) : vq_int_run_is_part(s.ints, i)) continue;
        vq_bench_step step = {.launches = s.launches[i] / runs, .seconds = s.seconds[i] / runs};
        if (s.ints)
            describe_int(&step, &s, i);
        else
            describe_float_chain(&step, &s, i);
        fn(user, &step);
    }
done:
    free(logits);
    free(s.seconds);
    free(s.launches);
    return status;
}
