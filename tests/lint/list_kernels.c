/* Prints every program the product builds, "name|file|options" a line: the rows of the registry and the probes. */
#include <stdio.h>

#include "vitq/device.h"

static const struct {
    const char *name, *file, *options;
    unsigned needs;
    int p[4];
} rows[] = {
#define VQ_KERNEL(id, variant, file, needs, options, p0, p1, p2, p3) {variant, file, options, needs, {p0, p1, p2, p3}},
#include "registry.def"
    {"layernorm_s32__portable set", "layernorm_s32.cl", "-DLAYERNORM_SET", 0, {64, 0, 0, 0}},
    {"layernorm_s32__wide set", "layernorm_s32_wide.cl", "-DLAYERNORM_SET", 0, {16, 0, 0, 0}},
    {"gemm_s8__wide_avx2 on words", "gemm_s8_wide.cl", "-DWIDENED=1", 0, {6, 2, 8, 2}},
    {"gemm_s8__wide_avx2 on centred codes", "gemm_s8_wide.cl", "-DDOT=4", 0, {6, 2, 8, 2}},
    {"gemm_s8__wide_avx512bw on centred codes", "gemm_s8_wide.cl", "-DDOT=4 -DREQUANT=2", 0, {8, 3, 16, 2}},
    {"attention_u8__wide_avx2 of few bits", "attention_u8_wide.cl", "-DSCORE_STEPS=8 -DK_MIDDLE=8", 0, {6, 2, 8, 2}},
    {"gemm_s8__wide_avx2 in a chain", "gemm_s8_wide.cl", "-DVQ_PART -Dgemm_s8=part_0", 0, {6, 2, 8, 2}},
    {"gemm_s8__wide_vnni in a chain", "gemm_s8_wide.cl", "-DVQ_PART -Dgemm_s8=part_0", 0, {8, 3, 16, 3}},
    {"layernorm_s32__wide in a chain", "layernorm_s32_wide.cl", "-DVQ_PART -Dlayernorm_s32=part_1", 0, {16, 0, 0, 0}},
    {"linear_f32__wide in a chain", "linear_f32_wide.cl", "-DVQ_PART -Dlinear_f32=part_2", 0, {8, 3, 0, 0}},
    {"layernorm_f32__wide in a chain", "layernorm_f32_wide.cl", "-DVQ_PART -Dlayernorm_f32=part_3", 0, {16, 0, 0, 0}},
    {"probe AVX2", "probe.cl", "-DVQ_PROBE_AVX2", 0, {0, 0, 0, 0}},
    {"probe AVX512BW", "probe.cl", "-DVQ_PROBE_AVX512BW", 0, {0, 0, 0, 0}},
    {"probe AVX512VNNI", "probe.cl", "-DVQ_PROBE_AVX512VNNI", 0, {0, 0, 0, 0}},
    {"probe AVX512IFMA", "probe.cl", "-DVQ_PROBE_AVX512IFMA", 0, {0, 0, 0, 0}},
    {"probe AVX512VBMI", "probe.cl", "-DVQ_PROBE_AVX512VBMI", 0, {0, 0, 0, 0}},
    {"probe emulated mma", "probe_gpu.cl", "-DPROBE_MMA", 0, {16, 4, 0, 0}},
    {"probe emulated mma u4", "probe_gpu.cl", "-DPROBE_MMA -DW_PACKED=1", 0, {16, 4, 0, 0}},
    {"probe emulated mfma", "probe_gpu.cl", "-DPROBE_MFMA -DDOT4_UNSIGNED=1", 0, {16, 4, 0, 0}},
    {"probe emulated mfma of 16", "probe_gpu.cl", "-DPROBE_MFMA -DDOT4_UNSIGNED=1 -DMFMA_SIDE=16", 0, {16, 4, 0, 0}},
    {"probe emulated dot", "probe_gpu.cl", "", 0, {0, 0, 0, 0}},
    {"probe emulated udot", "probe_gpu.cl", "-DDOT4_UNSIGNED=1", 0, {0, 0, 0, 0}},
    {"probe AVXVNNI", "probe.cl", "-DVQ_PROBE_AVXVNNI", 0, {0, 0, 0, 0}},
};

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("%s|%s|-DVQ_P0=%d -DVQ_P1=%d -DVQ_P2=%d -DVQ_P3=%d %s\n", rows[i].name, rows[i].file, rows[i].p[0],
               rows[i].p[1], rows[i].p[2], rows[i].p[3], rows[i].options);
    }
    return 0;
}
