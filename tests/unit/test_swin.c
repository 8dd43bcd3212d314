/* Swin Transformers: what windows, shifts and padding are, and configs that are refused by the line that names the
 * field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

static char last_error[512];

static void keep_error(void *user, vq_log_level level, const char *text)
{
    (void)user;
    if (level == VQ_LOG_ERROR) snprintf(last_error, sizeof last_error, "%s", text);
}

#define PRE                                                                                          \
    "\"pretrained_cfg\":{\"input_size\":[3,224,224],\"interpolation\":\"bicubic\",\"crop_pct\":0.9," \
    "\"crop_mode\":\"center\",\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]}"

static vq_status parse(vq_graph **g, const char *name, const char *args)
{
    char json[1024];
    snprintf(json, sizeof json, "{\"architecture\":\"%s\",%s,\"model_args\":%s}", name, PRE, args);
    last_error[0] = 0;
    vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
    const vq_status status = vq_graph_from_config(g, "config.json", json, strlen(json));
    vq_log_set(NULL, NULL, VQ_LOG_WARN);
    return status;
}

/* ---- addressing ----------------------------------------------------------------------------------------------------
 */

enum { MAX_SIDE = 32 };

/* As the models do it: an array that is padded and rolled, in the order of each. */
static void expected_map(const vq_windows *w, int32_t *map)
{
    const int high = (w->height + w->window_h - 1) / w->window_h * w->window_h;
    const int wide = (w->width + w->window_w - 1) / w->window_w * w->window_w;
    const int roll_h = w->pad_first ? high : w->height, roll_w = w->pad_first ? wide : w->width;
    int32_t grid[MAX_SIDE][MAX_SIDE], at = 0;
    for (int y = 0; y < high; y++)
        for (int x = 0; x < wide; x++) {
            grid[y][x] = -1;
            if (y >= roll_h || x >= roll_w) continue; /* padded behind the roll */
            const int from_y = (y + w->shift_h) % roll_h, from_x = (x + w->shift_w) % roll_w;
            if (from_y < w->height && from_x < w->width) grid[y][x] = from_y * w->width + from_x;
        }
    for (int top = 0; top < high; top += w->window_h)
        for (int left = 0; left < wide; left += w->window_w)
            for (int y = 0; y < w->window_h; y++)
                for (int x = 0; x < w->window_w; x++) map[at++] = grid[top + y][left + x];
}

static const vq_windows cases[] = {
    {8, 8, 4, 4, 0, 0, false}, {8, 8, 4, 4, 2, 2, false}, {10, 10, 4, 4, 2, 2, false}, {11, 11, 4, 4, 2, 2, true},
    {5, 7, 3, 2, 1, 1, false}, {5, 7, 3, 2, 1, 1, true},  {3, 12, 3, 5, 0, 2, false},  {1, 1, 1, 1, 0, 0, false},
};

static void test_swin__windows_are_a_padded_roll(void **state)
{
    int32_t map[MAX_SIDE * MAX_SIDE], want[MAX_SIDE * MAX_SIDE], back[MAX_SIDE * MAX_SIDE];
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(cases); i++) {
        const vq_windows *const w = &cases[i];
        const int count = vq_windows_count(w) * vq_windows_tokens(w);
        vq_windows_map(w, map);
        expected_map(w, want);
        assert_memory_equal(map, want, (size_t)count * sizeof *map);
        vq_windows_back(w, back);
        for (int r = 0; r < w->height * w->width; r++) assert_int_equal(map[back[r]], r);
        assert_int_equal(vq_windows_padded(w), count > w->height * w->width);
    }
}

/* Two tokens of a window are in one region where no roll has brought them together: their distance in the raster is
 * that in the window. */
static void test_swin__regions_tell_what_the_shift_brought_together(void **state)
{
    static const vq_windows w = {8, 8, 4, 4, 2, 2, false};
    int32_t map[64], region[64];
    (void)state;
    vq_windows_map(&w, map);
    vq_windows_regions(&w, region);
    for (int i = 0; i < 64; i++)
        for (int j = i / 16 * 16; j < i / 16 * 16 + 16; j++) {
            const int down = map[i] / 8 - map[j] / 8, right = map[i] % 8 - map[j] % 8;
            const bool neighbours = down == i % 16 / 4 - j % 16 / 4 && right == i % 4 - j % 4;
            assert_int_equal(region[i] == region[j], neighbours);
        }
}

static void test_swin__relative_positions(void **state)
{
    static const vq_windows w = {6, 6, 2, 3, 0, 0, false};
    (void)state;
    assert_int_equal(vq_windows_relative(&w, 0, 0), 1 * 5 + 2);
    assert_int_equal(vq_windows_relative(&w, 0, 5), 0);  /* up and left of the other, as far as it goes */
    assert_int_equal(vq_windows_relative(&w, 5, 0), 14); /* down and right */
    assert_int_equal(vq_windows_relative(&w, 3, 1), 2 * 5 + 1);
}

static void test_swin__merging_goes_down_before_right(void **state)
{
    static const int32_t even[] = {0, 2, 1, 3}, odd[] = {0, 3, 1, 4, 2, 5, -1, -1, 6, -1, 7, -1, 8, -1, -1, -1};
    int32_t map[16];
    (void)state;
    vq_merge_map(2, 2, map);
    assert_memory_equal(map, even, sizeof even);
    vq_merge_map(3, 3, map);
    assert_memory_equal(map, odd, sizeof odd);
}

/* ---- configs -------------------------------------------------------------------------------------------------------
 */

static void test_swin__architectures(void **state)
{
    static const struct {
        const char *name;
        int dim, depth, tokens, windows, window;
    } known[] = {
        {"swin_tiny_patch4_window7_224", 96, 12, 3136, 64, 7},
        {"swin_small_patch4_window7_224.ms_in1k", 96, 24, 3136, 64, 7},
        {"swin_base_patch4_window12_384", 128, 24, 3136, 25, 12}, /* PRE says 224 */
        {"swin_large_patch4_window7_224", 192, 24, 3136, 64, 7},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(known); i++) {
        vq_graph *g = NULL;
        int shifted = 0;
        assert_int_equal(parse(&g, known[i].name, "{}"), VQ_OK);
        assert_int_equal(g->embed_dim, known[i].dim);
        assert_int_equal(g->depth, known[i].depth);
        assert_int_equal(g->tokens, known[i].tokens);
        for (int n = 0; n < g->num_nodes; n++)
            shifted += g->nodes[n].op == VQ_NODE_SCORES && g->nodes[n].windows.shift_h > 0;
        for (int n = 0; n < g->num_nodes; n++)
            if (g->nodes[n].op == VQ_NODE_SCORES) {
                assert_int_equal(vq_windows_count(&g->nodes[n].windows), known[i].windows);
                assert_int_equal(g->nodes[n].windows.window_w, known[i].window);
                break;
            }
        assert_int_equal(shifted, known[i].depth / 2 - 1); /* in the last stage one window covers the grid */
        vq_graph_destroy(&g);
    }
}

static void test_swin__config_names_the_fault(void **state)
{
    static const struct {
        const char *args, *want;
    } bad[] = {
        {"{\"depths\":[2,2]}", "depths has 2 entries and num_heads 4"},
        {"{\"depths\":[]}", "model_args.depths has 0 entries"},
        {"{\"depths\":[2,0,2,2]}", "model_args.depths[1] is 0"},
        {"{\"depths\":[2,2,1000000,2]}", "model_args.depths[2] is 1e+06"},
        {"{\"depths\":[200,2,200,2]}", "depths has 404 blocks, at most 256"},
        {"{\"img_size\":8192,\"num_heads\":[96,96,96,96]}", "img_size 8192 x 8192 makes"},
        {"{\"depths\":6}", "model_args.depths has"},
        {"{\"depths\":[2,2,2.5,2]}", "model_args.depths[2] is 2.5"},
        {"{\"num_heads\":[3,6,12,-1]}", "model_args.num_heads[3] is -1"},
        {"{\"num_heads\":[5,6,12,24]}", "num_heads[0] is 5 and does not divide"},
        {"{\"num_heads\":[3,6,12,24,48]}", "depths has 4 entries and num_heads 5"},
        {"{\"window_size\":0}", "model_args.window_size is 0"},
        {"{\"window_size\":[7,7,7]}", "model_args.window_size has 3 entries"},
        {"{\"window_size\":64,\"img_size\":1024}", "window_size 64 x 64 makes 4096 tokens"},
        {"{\"embed_dim\":4000}", "embed_dim 4000 makes"},
        {"{\"embed_dim\":1e99}", "model_args.embed_dim is 1e+99"},
        {"{\"mlp_ratio\":1e9}", "mlp_ratio 1e+09 makes"},
        {"{\"mlp_ratio\":-1}", "mlp_ratio -1 makes"},
        {"{\"img_size\":226}", "img_size 226 x 226 is not a multiple of patch_size 4"},
        {"{\"img_size\":36}", "img_size 36 x 36 makes a grid of 9 x 9 in stage 0, which must be even"},
        {"{\"img_size\":1000000}", "model_args.img_size is 1e+06"},
        {"{\"patch_size\":[4,2]}", "patch_size is 4 x 2, must be square"},
        {"{\"patch_size\":0}", "model_args.patch_size is 0"},
        {"{\"qkv_bias\":3}", "model_args.qkv_bias is not true or false"},
        {"{\"ape\":true}", "model_args.ape is not supported"},
        {"{\"head_dim\":32}", "model_args.head_dim is 32"},
        {"{\"global_pool\":\"max\"}", "model_args.global_pool is \"max\""},
        {"[]", "model_args is not an object"},
    };
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(bad); i++) {
        vq_graph *g = NULL;
        const vq_status status = parse(&g, "swin_tiny_patch4_window7_224", bad[i].args);
        if (status == VQ_OK || g || !strstr(last_error, bad[i].want) || strncmp(last_error, "config.json: ", 13) != 0)
            fail_msg("%s gave %d: %s", bad[i].args, (int)status, last_error);
    }
}

static void test_swin__unknown_names(void **state)
{
    static const char *const names[] = {"swin_s3_tiny_224",
                                        "swin_tiny_patch4_window0_224",
                                        "swin_huge_patch4_window7_224",
                                        "swin_tiny_patch2_window7_224",
                                        "swin_tiny_patch4_window7_224x",
                                        "swinv2_tiny_window8_256"};
    (void)state;
    for (size_t i = 0; i < VQ_ARRAY_LEN(names); i++) {
        vq_graph *g = NULL;
        assert_int_equal(parse(&g, names[i], "{}"), VQ_ERR_UNSUPPORTED);
        assert_non_null(strstr(last_error, "is not known; known: "));
    }
}

static void test_swin__transformers_window_must_fit(void **state)
{
    static const char config[] =
        "{\"architectures\":[\"SwinForImageClassification\"],\"image_size\":32,\"embed_dim\":24,"
        "\"depths\":[2,2],\"num_heads\":[2,2],\"window_size\":%d,\"num_labels\":5}";
    static const char pre[] = "{\"image_processor_type\":\"ViTImageProcessor\",\"size\":{\"height\":32,\"width\":32},"
                              "\"image_mean\":[0.5,0.5,0.5],\"image_std\":[0.5,0.5,0.5]}";
    char json[512];
    (void)state;
    for (int window = 4; window <= 5; window++) {
        vq_graph *g = NULL;
        snprintf(json, sizeof json, config, window);
        vq_log_set(keep_error, NULL, VQ_LOG_ERROR);
        const vq_status status =
            vq_graph_from_configs(&g, "config.json", json, strlen(json), "pre.json", pre, sizeof pre - 1);
        vq_log_set(NULL, NULL, VQ_LOG_WARN);
        if (window == 4) assert_int_equal(status, VQ_OK);
        if (window == 5) {
            assert_int_equal(status, VQ_ERR_UNSUPPORTED);
            assert_non_null(strstr(last_error, "window_size 5 does not fit the grid of 4 x 4 in stage 1"));
        }
        vq_graph_destroy(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swin__windows_are_a_padded_roll),
        cmocka_unit_test(test_swin__regions_tell_what_the_shift_brought_together),
        cmocka_unit_test(test_swin__relative_positions),
        cmocka_unit_test(test_swin__merging_goes_down_before_right),
        cmocka_unit_test(test_swin__architectures),
        cmocka_unit_test(test_swin__config_names_the_fault),
        cmocka_unit_test(test_swin__unknown_names),
        cmocka_unit_test(test_swin__transformers_window_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
