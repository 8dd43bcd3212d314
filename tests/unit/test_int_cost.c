/* Operations, bytes and launches of integer nodes against counts by hand. */
#include "run/int_cost.h"
#include "unit.h"

enum { BATCH = 2, M = 3, N = 5, K = 7, ROWS = BATCH * M };

static vq_int_value values[] = {{.rows = M, .cols = K, .pitch = 16}, {.rows = M, .cols = N, .pitch = 16}};
static vq_int_node node;
static const vq_int_graph graph = {.num_values = 2, .num_nodes = 1, .values = values, .nodes = &node};

static void expect(double operations, double bytes, double launches, double bytes_apart)
{
    const vq_int_cost fused = vq_int_cost_fused(&graph, 0, BATCH), apart = vq_int_cost_apart(&graph, 0, BATCH);
    assert_true(fused.operations == operations && apart.operations == operations);
    assert_true(fused.bytes == bytes);
    assert_true(apart.launches == launches);
    assert_true(apart.bytes == bytes_apart);
}

static void test_products(void **state)
{
    static const uint8_t table[4];
    static const int32_t zeros[N];
    const double a = ROWS * K, c = ROWS * N;
    vq_gemm_s8_weights *const w = &node.u.gemm.w;
    (void)state;
    node = (vq_int_node){.op = VQ_INT_GEMM, .in = 0, .out = 1};
    *w = (vq_gemm_s8_weights){.n = N, .k = K, .epilogue = VQ_GEMM_CODES};
    node.u.gemm.rows = M;
    /* the product writes s32, requantization reads them and writes codes */
    expect(2 * ROWS * N * K, a + c, 2, (a + 4 * c) + (4 * c + c));
    w->epilogue = VQ_GEMM_SET;
    expect(2 * ROWS * N * K, a + 4 * c, 2, (a + 4 * c) + (4 * c + 4 * c));
    w->epilogue = VQ_GEMM_ADD;
    expect(2 * ROWS * N * K, a + 8 * c, 3, (a + 4 * c) + (4 * c + 4 * c) + 12 * c);
    w->epilogue = VQ_GEMM_TABLE;
    w->table = table;
    expect(2 * ROWS * N * K, a + c, 3, (a + 4 * c) + (4 * c + 2 * c) + (2 * c + c));
    w->table_low = table;
    expect(2 * ROWS * N * K, a + 2 * c, 3, (a + 4 * c) + (4 * c + 2 * c) + (2 * c + 2 * c));
    /* two planes: two products and their sum; zero points of weights: sums of A's rows */
    *w = (vq_gemm_s8_weights){.n = N, .k = K, .epilogue = VQ_GEMM_CODES, .a_planes = 2, .w_zero = zeros};
    expect(4 * ROWS * N * K, 2 * a + c, 5, 2 * (a + 4 * c) + 12 * c + (2 * a + 4 * ROWS) + (4 * c + 4 * ROWS + c));
}

static void test_rows(void **state)
{
    const double x = ROWS * N;
    (void)state;
    values[1].s32 = false;
    node = (vq_int_node){.op = VQ_INT_LAYERNORM, .in = 0, .out = 1};
    node.u.layernorm.rows = M;
    node.u.layernorm.w.c = N;
    expect(0, 5 * x, 2, 8 * x + 5 * x);
    node.u.layernorm.w.merge_h = node.u.layernorm.w.merge_w = 2;
    expect(0, 5 * x, 3, 8 * x + 8 * x + 5 * x);
    node.u.layernorm.w = (vq_layernorm_s32_weights){.c = N, .set = true};
    expect(0, 8 * x, 1, 8 * x);
    node = (vq_int_node){.op = VQ_INT_POOL, .in = 0, .out = 1};
    node.u.pool = (vq_pool_s32_weights){.rows = M, .c = N, .parts = 1, .count = {2}};
    expect(0, BATCH * 2 * N * 4 + x, 2, BATCH * 2 * N * 4 + x + 2 * BATCH * N * 4);
    node = (vq_int_node){.op = VQ_INT_TOKENS, .in = -1, .out = 1};
    node.u.tokens.count = M * N;
    expect(0, 4 * x, 1, 4 * x);
    node = (vq_int_node){.op = VQ_INT_PATCHIFY, .in = 0, .out = 1};
    expect(0, ROWS * K + x, 1, ROWS * K + x);
}

static void test_attention(void **state)
{
    enum { HEADS = 2, D = 4, T = M };
    const double v = BATCH * T * HEADS * D, s = BATCH * HEADS * T * T;
    vq_attention_u8_weights *const w = &node.u.attention.w;
    (void)state;
    node = (vq_int_node){.op = VQ_INT_ATTENTION, .in = 0, .out = 1};
    node.u.attention.tokens = T;
    *w = (vq_attention_u8_weights){.heads = HEADS, .head_dim = D};
    const double moved = 6 * v, scores = 2 * v + 4 * s, softmax = 8 * s + 8 * s + 5 * s, rest = 5 * v + 2 * v;
    expect(2 * s * D * 2, 4 * v, 10, moved + scores + softmax + (s + v + 4 * v) + rest);
    /* both bytes of probabilities: two products and their sum */
    w->prob_low = true;
    expect(2 * s * D * 3, 4 * v, 12, moved + scores + softmax + s + 2 * (s + v + 4 * v) + 12 * v + rest);
    /* 2 x 2 windows of 2 x 2 tokens in a raster of 3 x 3: padded */
    w->prob_low = false;
    w->windows = (vq_windows){.height = 3, .width = 3, .window_h = 2, .window_w = 2};
    values[1].rows = 9;
    const double wide = BATCH * 9 * HEADS * D, squares = BATCH * 4 * HEADS * 4 * 4;
    expect(2 * squares * D * 2, 4 * wide, 11,
           6 * wide + (2 * wide + 4 * squares) + 8 * squares + 21 * squares + (squares + 5 * wide) + 7 * wide);
    values[1].rows = M;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
