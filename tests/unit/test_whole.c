/* quant/whole.h: which products take the form of whole numbers, and that the form means what the quantizers do. */
#include "unit.h"

#include <string.h>

#include "quant/whole.h"
#include "tiny_model.h"

typedef struct fixture {
    vq_graph *g;
    vq_qmodel *m;
    vq_whole_product *products;
} fixture;

static void make(fixture *f, const tiny_options *o)
{
    f->g = tiny_graph(o->chans, o->seed);
    f->m = tiny_qmodel(f->g, o);
}

static void drop(fixture *f)
{
    vq_qmodel_destroy(&f->m);
    vq_graph_destroy(&f->g);
}

static int find(const fixture *f, const char *name)
{
    for (int i = 0; i < f->g->num_nodes; i++)
        if (strcmp(f->g->nodes[i].name, name) == 0) return i;
    fail_msg("no node %s", name);
    return 0;
}

static vq_quantizer *operand(const fixture *f, const char *name, int slot)
{
    return &f->m->nodes[find(f, name)].in[slot];
}

/* Scales in a product, with everything as it is. */
static int count(fixture *f, const char *name)
{
    unit_ok(vq_whole_products(&f->products, f->m));
    const int n = f->products[find(f, name)].count;
    vq_whole_products_destroy(&f->products, f->g->num_nodes);
    assert_null(f->products);
    return n;
}

static const tiny_options per_tensor = {3, 4, 4, VQ_PER_TENSOR, false, 1, false},
                          per_head = {3, 8, 8, VQ_PER_HEAD, false, 2, true},
                          uniform = {3, 6, 6, VQ_PER_TENSOR, true, 3, false};

static void test_whole__every_product_of_a_calibrated_model(void **state)
{
    const tiny_options *const all[] = {&per_tensor, &per_head, &uniform};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        make(&f, all[i]);
        assert_int_equal(count(&f, "patch_embed.proj"), 24);
        assert_int_equal(count(&f, "blocks.0.attn.qkv"), 72);
        assert_int_equal(count(&f, "blocks.1.attn.scores"), 3);
        assert_int_equal(count(&f, "blocks.1.attn.context"), 24);
        assert_int_equal(count(&f, "blocks.1.mlp.fc2"), 24);
        assert_int_equal(count(&f, "head"), 7);
        assert_int_equal(count(&f, "blocks.0.norm1"), 0);
        drop(&f);
    }
}

/* A level's bytes times their scale are what it stands for. */
static void check_codebook(fixture *f)
{
    const vq_quantizer *const p = operand(f, "blocks.0.attn.context", 0), *const v =
                                                                              operand(f, "blocks.0.attn.context", 1);
    unit_ok(vq_whole_products(&f->products, f->m));
    const vq_whole_product *const product = &f->products[find(f, "blocks.0.attn.context")];
    bool any_low = false;
    for (int c = 0; c < product->count; c++) {
        const int head = c / 8, group = p->groups == 1 ? 0 : head;
        const float v_scale = v->scale[v->groups == product->count ? c : v->groups == 1 ? 0 : head];
        for (int i = 0; i < p->levels; i++) {
            int high, low;
            vq_whole_value(p, group, i, &high, &low);
            assert_in_range(low, 0, 255);
            any_low = any_low || low;
            const double whole = (product->low ? 256.0 * high + low : high) * (double)product->scale[c];
            const double value = ((double)p->values[group * p->levels + i] - (double)p->zero[group]) *
                                 (double)p->scale[group] * (double)v_scale;
            assert_float_equal(whole, value, 1e-6 * (value < 0 ? -value : value));
        }
    }
    assert_int_equal(any_low, product->low);
    vq_whole_products_destroy(&f->products, f->g->num_nodes);
}

static void test_whole__codebooks_by_bytes(void **state)
{
    const tiny_options *const all[] = {&per_tensor, &per_head, &uniform};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture f;
        make(&f, all[i]);
        check_codebook(&f);
        drop(&f);
    }
}

static void test_whole__negative_values(void **state)
{
    uint16_t values[] = {0, 256, 300, 65535};
    float zero = 300;
    const vq_quantizer q = {.kind = VQ_QUANTIZER_CODEBOOK, .levels = 4, .groups = 1, .zero = &zero, .values = values};
    static const int high[] = {-2, -1, 0, 254}, low[] = {212, 212, 0, 211};
    (void)state;
    for (int i = 0; i < 4; i++) {
        int h, l;
        vq_whole_value(&q, 0, i, &h, &l);
        assert_int_equal(256 * h + l, values[i] - 300);
        assert_int_equal(h, high[i]);
        assert_int_equal(l, low[i]);
    }
}

/* A fractional zero point, or no quantizer: floats as before, and Q, K, V, P all or none. */
static void test_whole__left_out(void **state)
{
    static const struct {
        const char *node;
        int slot;
        const char *out[2], *still;
    } cases[] = {
        {"blocks.0.mlp.fc1", 0, {"blocks.0.mlp.fc1", "blocks.0.mlp.fc1"}, "blocks.1.mlp.fc1"},
        {"blocks.0.attn.scores", 0, {"blocks.0.attn.scores", "blocks.0.attn.context"}, "blocks.1.attn.scores"},
        {"blocks.0.attn.scores", 1, {"blocks.0.attn.scores", "blocks.0.attn.context"}, "blocks.0.attn.qkv"},
        {"blocks.0.attn.context", 1, {"blocks.0.attn.scores", "blocks.0.attn.context"}, "blocks.0.attn.proj"},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++)
        for (int none = 0; none < 2; none++) {
            fixture f;
            make(&f, &per_head);
            vq_quantizer *const q = operand(&f, cases[i].node, cases[i].slot);
            if (none)
                vq_quantizer_clear(q);
            else
                q->zero[0] += 0.25f;
            assert_int_equal(count(&f, cases[i].out[0]), 0);
            assert_int_equal(count(&f, cases[i].out[1]), 0);
            assert_true(count(&f, cases[i].still) > 0);
            drop(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole__every_product_of_a_calibrated_model),
        cmocka_unit_test(test_whole__codebooks_by_bytes),
        cmocka_unit_test(test_whole__negative_values),
        cmocka_unit_test(test_whole__left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
