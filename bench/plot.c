/* vitq-bench plot: a report as one SVG file, roofline above, bars below. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { WIDTH = 960, LEFT = 70, RIGHT = 30, ROOF_TOP = 70, ROOF_HEIGHT = 400, BAR = 16, MAX_BARS = 400, LABEL = 470 };

static const bench_page page = {
    "[options] FILE.json",
    "Draws what 'vitq-bench ops --json' (or gemm, sweep, model, peaks) printed: a roofline, logarithmic on both axes,\n"
    "with the device's peaks and copy bandwidth as lines and every row that has operations and bytes as a point; and\n"
    "below it a bar for each row, as long as its share of the bound, or its images a second. The SVG needs nothing\n"
    "but a browser; points and bars have tooltips.\n",
    NULL,
    "  vitq-bench ops --json > ops.json && vitq-bench plot ops.json -o ops.svg\n"
    "  vitq-bench plot --best ops.json > best.svg     only the fastest variant of every op and shape\n"};

static const char *const colors[] = {"#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
                                     "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0"};

typedef struct plot {
    FILE *out;
    const bench_report *r;
    double x_min, x_max, y_min, y_max; /* of the roofline: operations a byte, GOP/s */
} plot;

/* Text of XML: what markup is made of escaped, what XML does not allow left out. */
static void put_text(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        switch (*c) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*c < 0x20 || *c >= 0x7f ? '?' : *c, out);
        }
    }
}

static void put_name(FILE *out, const bench_row *row)
{
    put_text(out, row->op);
    fputc(' ', out);
    put_text(out, row->model);
    fputc(' ', out);
    put_text(out, row->layer);
    fputc(' ', out);
    put_text(out, row->kind);
    fputc(' ', out);
    put_text(out, row->variant);
    if (*row->bench == 'm' || !strcmp(row->bench, "profile")) fprintf(out, "batch %g", row->batch);
}

/* The same color for the same op. */
static const char *color_of(const char *op)
{
    unsigned hash = 2166136261u;
    for (; *op; op++) hash = (hash ^ (unsigned char)*op) * 16777619u;
    return colors[(hash >> 8) % (sizeof colors / sizeof colors[0])];
}

/* ---- roofline ---------------------------------------------------------------------------------------------------- */

static bool is_point(const bench_row *row)
{
    return row->ops > 0 && row->bytes > 0 && row->gops > 0 && isfinite(row->ops / row->bytes) && isfinite(row->gops);
}

static double x_of(const plot *p, double intensity)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (log10(intensity) - log10(p->x_min)) / (log10(p->x_max) - log10(p->x_min));
}

static double y_of(const plot *p, double gops)
{
    return ROOF_TOP + ROOF_HEIGHT * (log10(p->y_max) - log10(gops)) / (log10(p->y_max) - log10(p->y_min));
}

/* Whole powers of ten around all points and lines; a hostile file may have any numbers. */
static void set_axes(plot *p)
{
    const bench_peaks *const peaks = &p->r->peaks;
    double x0 = 1, x1 = 100, y0 = 10, y1 = 100;
    for (size_t i = 0; i < p->r->count; i++) {
        const bench_row *const row = &p->r->rows[i];
        if (!is_point(row)) continue;
        x0 = fmin(x0, row->ops / row->bytes);
        x1 = fmax(x1, row->ops / row->bytes);
        y0 = fmin(y0, row->gops);
        y1 = fmax(y1, row->gops);
    }
    y1 = fmax(y1, fmax(peaks->s8, peaks->f32));
    p->x_min = pow(10, floor(fmax(log10(x0), -12)));
    p->x_max = pow(10, ceil(fmin(log10(x1), 12)));
    p->y_min = pow(10, floor(fmax(log10(y0), -12)));
    p->y_max = pow(10, ceil(fmin(log10(y1), 15)));
}

static double within(double value, double lo, double hi)
{
    return fmin(fmax(value, lo), hi);
}

static void draw_axes(const plot *p)
{
    for (double x = p->x_min; x < p->x_max * 1.5; x *= 10)
        fprintf(p->out,
                "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                x_of(p, x), ROOF_TOP, x_of(p, x), ROOF_TOP + ROOF_HEIGHT, x_of(p, x), ROOF_TOP + ROOF_HEIGHT + 16, x);
    for (double y = p->y_min; y < p->y_max * 1.5; y *= 10)
        fprintf(p->out,
                "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, y_of(p, y), WIDTH - RIGHT, y_of(p, y), LEFT - 6, y_of(p, y) + 4, y);
    fprintf(p->out,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">operations a byte</text>\n"
            "<text x=\"%d\" y=\"%d\">GOP/s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, ROOF_TOP + ROOF_HEIGHT + 34, LEFT - 50, ROOF_TOP - 10);
}

/* A peak, and the slope of the bandwidth up to it. */
static void draw_roof(const plot *p, const char *name, double gops, double gbps)
{
    if (!(gops > 0) || gops < p->y_min) return;
    const double knee = gbps > 0 ? within(gops / gbps, p->x_min, p->x_max) : p->x_min;
    const double start = gbps > 0 ? within(p->y_min / gbps, p->x_min, knee) : p->x_min;
    if (gbps > 0)
        fprintf(p->out, "<line class=\"roof\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x_of(p, start),
                y_of(p, within(start * gbps, p->y_min, p->y_max)), x_of(p, knee),
                y_of(p, within(knee * gbps, p->y_min, p->y_max)));
    fprintf(p->out, "<line class=\"roof\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", x_of(p, knee),
            y_of(p, gops), WIDTH - RIGHT, y_of(p, gops));
    fprintf(p->out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s %.0f GOP/s</text>\n", WIDTH - RIGHT,
            y_of(p, gops) - 5, name, gops);
}

static void draw_point(const plot *p, const bench_row *row)
{
    fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>",
            x_of(p, within(row->ops / row->bytes, p->x_min, p->x_max)), y_of(p, within(row->gops, p->y_min, p->y_max)),
            color_of(row->op));
    put_name(p->out, row);
    fprintf(p->out, ": %.4g GOP/s, %.4g operations a byte</title></circle>\n", row->gops, row->ops / row->bytes);
}

static void draw_roofline(plot *p)
{
    const bench_peaks *const peaks = &p->r->peaks;
    const int last = peaks->num_copies - 1;
    set_axes(p);
    draw_axes(p);
    draw_roof(p, "int8", peaks->s8, last >= 0 ? peaks->copies[last].gbps : 0);
    draw_roof(p, "fp32", peaks->f32, last >= 0 ? peaks->copies[last].gbps : 0);
    if (last >= 0)
        fprintf(p->out, "<text x=\"%d\" y=\"%d\">slope: copies of %.0f MB, %.1f GB/s; smaller ones are faster</text>\n",
                LEFT + 40, ROOF_TOP - 10, 1e-6 * peaks->copies[last].bytes, peaks->copies[last].gbps);
    for (size_t i = 0; i < p->r->count; i++)
        if (is_point(&p->r->rows[i])) draw_point(p, &p->r->rows[i]);
}

/* ---- bars -------------------------------------------------------------------------------------------------------- */

static double bar_value(const bench_row *row, bool images)
{
    const double value = images                    ? row->images_per_second
                         : row->share_of_bound > 0 ? row->share_of_bound
                                                   : row->time_share;
    return value > 0 && isfinite(value) ? value : 0;
}

static size_t draw_bars(const plot *p, bool images, size_t first, const char *title)
{
    const int top = ROOF_TOP + ROOF_HEIGHT + 70;
    double most = images ? 0 : 1;
    size_t at = first;
    for (size_t i = 0; i < p->r->count; i++) most = fmax(most, bar_value(&p->r->rows[i], images));
    if (!(most > 0)) return at;
    bool titled = false;
    for (size_t i = 0; i < p->r->count && at < MAX_BARS; i++) {
        const bench_row *const row = &p->r->rows[i];
        const double value = bar_value(row, images);
        if (value <= 0) continue;
        if (!titled) {
            fprintf(p->out, "<text class=\"title\" x=\"%d\" y=\"%zu\">%s</text>\n", LEFT,
                    (size_t)top + (at + 1) * BAR - 4, title);
            titled = true;
            at++;
        }
        const size_t y = (size_t)top + at * BAR;
        fprintf(p->out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", LABEL, y + 12);
        put_name(p->out, row);
        fprintf(p->out, "</text>\n<rect x=\"%d\" y=\"%zu\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>", LABEL + 6,
                y + 2, (WIDTH - RIGHT - LABEL - 80) * value / most, BAR - 4, color_of(row->op));
        put_text(p->out, bench_row_shape(row));
        fprintf(p->out, "</title></rect>\n<text x=\"%.1f\" y=\"%zu\">",
                LABEL + 12 + (WIDTH - RIGHT - LABEL - 80) * value / most, y + 12);
        fprintf(p->out, images ? "%.4g</text>\n" : "%.1f%%</text>\n", images ? value : 100 * value);
        at++;
    }
    return at;
}

static size_t count_bars(const bench_report *r)
{
    size_t count = 4;
    for (size_t i = 0; i < r->count; i++)
        count += (size_t)(bar_value(&r->rows[i], true) > 0) + (size_t)(bar_value(&r->rows[i], false) > 0);
    return count < MAX_BARS + 4 ? count : MAX_BARS + 4;
}

static void draw(FILE *out, const bench_report *r)
{
    plot p = {.out = out, .r = r};
    const size_t height = ROOF_TOP + ROOF_HEIGHT + 90 + count_bars(r) * BAR;
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%zu\" viewBox=\"0 0 %d %zu\">\n<style>text{font:11px sans-serif;fill:#333}"
            ".title{font-size:14px;font-weight:bold}.grid{stroke:#ddd}.roof{stroke:#555;stroke-width:2}"
            "circle{fill-opacity:.7}</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
            "<text class=\"title\" x=\"%d\" y=\"24\">",
            WIDTH, height, WIDTH, height, LEFT);
    put_text(out, r->device);
    fputs(" (", out);
    put_text(out, r->driver);
    fputs(")</text>\n", out);
    draw_roofline(&p);
    const size_t bars = draw_bars(&p, true, 0, "images a second");
    draw_bars(&p, false, bars, "share of the bound; of kernels in a model, of its time");
    fputs("</svg>\n", out);
}

static int write_plot(const bench_report *r, const char *path)
{
    FILE *const out = path ? fopen(path, "w") : stdout;
    if (!out) {
        fprintf(stderr, "vitq-bench plot: %s: %s\n", path, strerror(errno));
        return VQ_ERR_IO;
    }
    draw(out, r);
    const bool ok = !ferror(out) && (path ? fclose(out) : fflush(out)) == 0;
    if (ok) return 0;
    fprintf(stderr, "vitq-bench plot: %s cannot be written: %s\n", path ? path : "stdout", strerror(errno));
    if (path) remove(path);
    return VQ_ERR_IO;
}

int bench_cmd_plot(int argc, char **argv)
{
    bench_options o = {0};
    bench_report r = {0};
    int code = bench_parse(&o, BENCH_PLOT, &page, argc, argv);
    if (code) return code - 1;
    if (o.num_args != 1) {
        fprintf(stderr, "vitq-bench plot: takes one file, not %d\n", o.num_args);
        return BENCH_USAGE;
    }
    code = VQ_ERR_FORMAT;
    if (bench_report_read(&r, o.args[0])) {
        if (o.best) bench_report_keep_best(&r);
        code = write_plot(&r, o.output);
    }
    bench_report_free(&r);
    return code;
}
