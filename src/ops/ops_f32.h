/* Device side of the float ops. base/float_ops.h says what the structs mean; ref/ref_f32.h is the plain-C witness.
 * Runs are enqueued, not waited for, unless a function returns host data. All buffers are dense f32 unless said.
 * Reductions have a fixed order: the same result on every run of one device and variant. Tensors have at most 2^31 - 1
 * elements. */
#ifndef VQ_SRC_OPS_F32_H
#define VQ_SRC_OPS_F32_H

#include "base/float_ops.h"
#include "cl/cl.h"

/* bias [N] may be NULL. C may not overlap A or B. */
vq_status vq_gemm_f32_run(vq_device *dev, const vq_gemm_f32_shape *shape, const vq_buf *a, const vq_buf *b,
                          const vq_buf *bias, const vq_buf *c);
/* A linear layer for inference, its weights packed beforehand for the variant chosen when it was created:
 * y [m][n] = x [m][k] w' + bias, then GELU, or plus other [m][n]. */
typedef struct vq_linear_f32 vq_linear_f32;
/* Its weights are zeros until they are set. */
vq_status vq_linear_f32_create(vq_linear_f32 **out, vq_device *dev, int n, int k);
void vq_linear_f32_destroy(vq_linear_f32 **op);
size_t vq_linear_f32_bytes(const vq_linear_f32 *op); /* on the device */
/* w host [n][k]. Blocks. */
vq_status vq_linear_f32_set(vq_linear_f32 *op, vq_device *dev, const float *w);
/* bias [n] may be NULL; other is read with VQ_LINEAR_ADD only. y may be other, not x. */
typedef struct vq_linear_f32_io {
    const vq_buf *x, *bias, *other, *y;
    int m;
    vq_linear_epilogue epilogue;
} vq_linear_f32_io;
vq_status vq_linear_f32_run(vq_device *dev, const vq_linear_f32 *op, const vq_linear_f32_io *io);
/* out[i][j] = sum over rows of x[m][i] * y[m][j], on the host, double [kx][ky]; x [m][kx], y [m][ky]. x == y (one
 * pointer) gives a Gram matrix, exactly symmetric, at half the work. Products of 512 rows are float sums, their total
 * is in double. Blocks. */
vq_status vq_gram_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, int m, int kx, int ky, double *out);
/* Adds the products of these rows to out, so that data may come part by part: the same result to the bit where all parts
 * but the last have a multiple of VQ_GRAM_ROWS rows. */
enum { VQ_GRAM_ROWS = 512 };
vq_status vq_gram_f32_add(vq_device *dev, const vq_buf *x, const vq_buf *y, int m, int kx, int ky, double *out);

/* y[m][c] = (x - mean) / sqrt(var + eps) * gamma + beta, var over C (biased); x rows start ldx elements apart, y is
 * dense. */
typedef struct vq_layernorm_f32_io {
    const vq_buf *x, *gamma, *beta, *y;
    int m, c, ldx;
    float eps;
} vq_layernorm_f32_io;
vq_status vq_layernorm_f32_run(vq_device *dev, const vq_layernorm_f32_io *io);
/* y = softmax along the last dim of x [rows][t]; x == y allowed. */
vq_status vq_softmax_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t);
/* All of attention but its linears: out [batch][t][heads * d] = softmax(scale * Q K') V, head by head; qkv [batch][t][3]
 * [heads * d]; scale > 0. Fails where the tokens do not fit a work-group's local memory (_fits). */
bool vq_attention_f32_fits(vq_device *dev, int t, int d);
vq_status vq_attention_f32_run(vq_device *dev, const vq_buf *qkv, int t, int heads, int d, float scale,
                               const vq_buf *out, int batch);
/* y = x/2 (1 + erf(x / sqrt 2)), exact erf; x == y allowed. */
vq_status vq_gelu_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t count);
/* Reproducible forms, for fake-quant inference: what they give depends on no variant and no order of sums. layernorm_f64
 * (x dense) and softmax_f64 compute in double and round once: two devices differ in a last bit about once in 10^8
 * elements; without doubles (cl_khr_fp64) in float, no better than the plain ones. gelu_rational has the steps of
 * kernels/vq_gelu_rational.h and equal bits wherever float division is correctly rounded; it is off by 1e-6 at most. */
vq_status vq_layernorm_f64_run(vq_device *dev, const vq_buf *x, const vq_buf *gamma, const vq_buf *beta, float eps,
                               const vq_buf *y, int m, int c);
vq_status vq_softmax_f64_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t rows, int t);
vq_status vq_gelu_rational_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *y, size_t count);
/* y = (256 * y + low) * scale + bias, each operation rounded: y [planes][rows][cols]; low like y or NULL; scale [rows] with
 * by_row, else [cols]; bias [cols] or NULL. Behind products of whole numbers, which are exact. */
vq_status vq_rescale_f32_run(vq_device *dev, const vq_buf *y, const vq_buf *low, const vq_buf *scale, bool by_row,
                             const vq_buf *bias, int planes, int rows, int cols);
/* y = a + b; any may be the same buffer. */
vq_status vq_add_f32_run(vq_device *dev, const vq_buf *a, const vq_buf *b, const vq_buf *y, size_t count);
/* image u8 [B][height][width][chans] to f32 [B*P][chans*patch*patch], patch pixels in the order [c][y][x], values
 * 0..255. */
vq_status vq_patchify_f32_run(vq_device *dev, int batch, int height, int width, int chans, int patch,
                              const vq_buf *image_u8, const vq_buf *out);
/* out f32 [B][count], every image the same init[count]. */
vq_status vq_broadcast_f32_run(vq_device *dev, const vq_buf *init, size_t count, const vq_buf *out, int batch);
/* y[b][first + i] += x[b][i] for i < x_count; x [B][x_count], y [B][y_count], first + x_count <= y_count. */
vq_status vq_add_rows_f32_run(vq_device *dev, const vq_buf *x, size_t x_count, const vq_buf *y, size_t y_count,
                              size_t first, int batch);
/* y[b][y_first + c] = mean of x[b][first + r][c] over r < count; x [B][rows][cols], y [B][y_cols]. One row is copied as it
 * is. */
vq_status vq_mean_rows_f32_run(vq_device *dev, const vq_buf *x, int rows, int cols, int first, int count,
                               const vq_buf *y, int y_cols, int y_first, int batch);
/* y[b][r] = x[b][map[r]], or pad where map[r] is negative; x [B][x_rows][cols], y [B][rows][cols], map s32 [rows] below
 * x_rows, pad [cols]. y may not overlap x. */
vq_status vq_gather_rows_f32_run(vq_device *dev, const vq_buf *x, int x_rows, const vq_buf *map, const vq_buf *pad,
                                 const vq_buf *y, int rows, int cols, int batch);
/* y[b][w][h][i][j] += bias[h][i][j], and mask where region[w][i] != region[w][j]; y [B][windows][heads][t][t], region s32
 * [windows][t]. */
vq_status vq_window_bias_f32_run(vq_device *dev, const vq_buf *y, const vq_buf *bias, const vq_buf *region, float mask,
                                 int windows, int heads, int t, int batch);
/* x[r][k] *= factor[k] (weights of a reparameterized linear), x [rows][cols]. */
vq_status vq_scale_columns_f32_run(vq_device *dev, const vq_buf *x, const vq_buf *factor, size_t rows, int cols);

/* Uniform fake-quantization; scale and zero are device f32 [groups]; x == y allowed. */
vq_status vq_fakequant_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                                   const vq_buf *zero, int levels, const vq_buf *y);
/* Whole numbers instead of values: y = code - zero; zero must be integral. */
vq_status vq_whole_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                               const vq_buf *zero, int levels, const vq_buf *y);
/* The codes instead of the values: u8 [count]; zero must be integral. */
vq_status vq_quantize_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *scale,
                                  const vq_buf *zero, int levels, const vq_buf *codes_u8);
/* Codebook fake-quantization; thresholds f32 [groups][levels-1] ascending, values f32 [groups][levels]; levels up to
 * 257; x == y allowed. */
vq_status vq_fakequant_codebook_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const vq_buf *thresholds,
                                    const vq_buf *values, int levels, const vq_buf *y);

/* Exact order statistics of every group: out[group * num_ranks + r] = element of rank ranks[r] (ascending; NaN fails
 * with VQ_ERR_INVALID_ARG and a line). Radix selection on the device; the host only picks bins. Blocks. num_ranks <=
 * VQ_MAX_RANKS. */
vq_status vq_quantile_f32_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const size_t *ranks, int num_ranks,
                              float *out);
/* Only of `count` groups from `first` on: out[i * num_ranks + r]. */
vq_status vq_quantile_f32_some(vq_device *dev, const vq_groups *g, int first, int count, const vq_buf *x,
                               const size_t *ranks, int num_ranks, float *out);
/* One group of n elements (below 2^32) that comes part by part, all of it three times over: load gives a buffer with
 * elements first .. first + count, in parts of `step` and the rest. */
typedef struct vq_quantile_parts {
    size_t step;
    vq_status (*load)(void *user, size_t first, size_t count, const vq_buf **x);
    void *user;
} vq_quantile_parts;
vq_status vq_quantile_f32_parts_run(vq_device *dev, size_t n, const vq_quantile_parts *parts, const size_t *ranks,
                                    int num_ranks, float *out);
/* Squared error of num candidates per group: scale and zero host arrays [groups][num]; error[groups][num] in double =
 * sum over the group of (x - x^)^2 / elements of the group. One pass over x. Blocks. */
vq_status vq_quant_error_uniform_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *scale,
                                     const float *zero, int num, int levels, double *error);
/* The same for num codebooks, host arrays thresholds [groups][num][levels-1], values [groups][num][levels]. */
vq_status vq_quant_error_codebook_run(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *thresholds,
                                      const float *values, int num, int levels, double *error);
/* The same as sums that are added to sum[groups][num], so that a tensor may come part by part: the same result to the bit
 * where all parts but the last have a multiple of vq_quant_error_part(g) elements (of g only inner and groups count). */
vq_status vq_quant_error_uniform_add(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *scale,
                                     const float *zero, int num, int levels, double *sum);
vq_status vq_quant_error_codebook_add(vq_device *dev, const vq_groups *g, const vq_buf *x, const float *thresholds,
                                      const float *values, int num, int levels, double *sum);
size_t vq_quant_error_part(const vq_groups *g);

/* What rounding the weights of a linear layer costs at its output, by the Gram matrix of its inputs: with candidate j of
 * row r, a uniform quantizer of the row w_r, and d = w^_r - w_r,
 *     error[r][j] = d' G d - 2 d' c_r
 * which is the squared error of the layer's output over the data, summed, less that of d = 0: G = X'X [k][k] f32,
 * c = R'X [n][k] f32 with R [m][n] what the layer with float weights lacks of the output wanted. With `diagonal` only
 * the diagonal of G counts. w f32 [n][k]; scale and zero host arrays [n][num]; error host [n][num]. Blocks. */
vq_status vq_gram_error_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const vq_buf *cross, const float *scale,
                            const float *zero, int n, int k, int num, int levels, bool diagonal, float *error);
/* What a cosine is made of: terms host [n][num][3] = d' G d, d' c_r and d' p_r, with p = W G [n][k] (with `diagonal`, of
 * its diagonal alone). */
vq_status vq_gram_terms_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const vq_buf *cross,
                            const vq_buf *along, const float *scale, const float *zero, int n, int k, int num,
                            int levels, bool diagonal, float *terms);

/* Rounds the columns of w f32 [n][k] one after another, order[0] first (host int32 [k], a permutation), each with its
 * row's uniform quantizer (host scale, zero [n]), and moves every column's error to the later ones: GPTQ (arXiv
 * 2210.17323), algorithm 1. factor f32 [k][k]: the upper Cholesky factor of the inverse of the Gram matrix, both in the
 * order of rounding, row i from column i; what is below the diagonal is not read. codes u8 [n][k], values f32 [n][k] =
 * (code - zero) * scale, may not be w. levels <= 256. Blocks. */
vq_status vq_gptq_run(vq_device *dev, const vq_buf *w, const vq_buf *factor, const int32_t *order, const float *scale,
                      const float *zero, int n, int k, int levels, const vq_buf *codes, const vq_buf *values);

/* Improves rounded weights: one sweep of coordinate descent on d' G d, d = w - w^ of a row. Columns in order, each gets
 * the code that is best while the others stay (QuantEase, arXiv 2309.01885). w f32 [n][k]; gram f32 [k][k], its diagonal
 * positive; host scale and zero [n]; codes u8 [n][k], to start from and improved; values f32 [n][k] = (code - zero) *
 * scale; error host [n] = d' G d of every row, or NULL. levels <= 256. Blocks. */
vq_status vq_descent_run(vq_device *dev, const vq_buf *w, const vq_buf *gram, const float *scale, const float *zero,
                         int n, int k, int levels, const vq_buf *codes, const vq_buf *values, float *error);

/* output_error (base/float_ops.h). An op holds a layer's weights on the device, packed for the variant chosen when it
 * was created, and serves any number of runs; it may run from one thread at a time. bias f32 [n] may be NULL; neither
 * it nor b is needed after creation. Integer weights: products are exact (creation fails where 32 bits cannot hold
 * them, a run where a zero point makes them leave 32 bits); float weights: sums of floats, in a fixed order. */
typedef struct vq_output_error vq_output_error;
vq_status vq_output_error_create_s8(vq_output_error **out, vq_device *dev, const vq_output_error_s8 *weights,
                                    const vq_buf *bias);
vq_status vq_output_error_create_f32(vq_output_error **out, vq_device *dev, const vq_output_error_f32 *weights,
                                     const vq_buf *b, const vq_buf *bias);
void vq_output_error_destroy(vq_output_error **op);
/* error[num] on the host. Blocks. Nothing of the size of candidates x rows is written: floats are summed over panels of
 * rows on the device, panels in double on the host, both in a fixed order. */
vq_status vq_output_error_run(vq_device *dev, const vq_output_error *op, const vq_output_error_shape *shape,
                              const vq_buf *x, const vq_buf *y, const vq_candidates *candidates, double *error);

/* The same for data that come part by part: `rows` scored rows of each of `batch` batches in all. Parts are whole
 * batches, in order, each with an op of equal n and k; or, of one batch, multiples of _panel rows and the rest: then the
 * errors are those of one run, to the bit. candidates must outlive the sweep. */
typedef struct vq_output_sweep vq_output_sweep;
vq_status vq_output_sweep_begin(vq_output_sweep **out, vq_device *dev, const vq_output_error *op, int rows,
                                size_t batch, const vq_candidates *candidates);
int vq_output_sweep_panel(const vq_output_sweep *s);
vq_status vq_output_sweep_add(vq_output_sweep *s, vq_device *dev, const vq_output_error *op,
                              const vq_output_error_shape *shape, const vq_buf *x, const vq_buf *y);
void vq_output_sweep_errors(const vq_output_sweep *s, const vq_output_error *op, double *error);
void vq_output_sweep_end(vq_output_sweep **sweep);

#endif
