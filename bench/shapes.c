/* Files of layer shapes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char *const epilogues[] = {"codes", "table", "add", "set"};

const char *bench_epilogue_name(vq_bench_epilogue epilogue)
{
    return epilogues[epilogue];
}

static bool to_epilogue(bench_shape *out, const char *text)
{
    if (!strcmp(text, "attention")) return out->attention = true;
    for (size_t i = 0; i < sizeof epilogues / sizeof epilogues[0]; i++) {
        if (strcmp(text, epilogues[i]) != 0) continue;
        out->epilogue = (vq_bench_epilogue)i;
        return true;
    }
    return false;
}

/* 1 a shape, 0 a blank line or comment, -1 malformed. */
static int parse_line(bench_shape *out, const char *line)
{
    char what[16] = "codes", rest[2];
    const char *const start = line + strspn(line, " \t");
    if (strchr("#\r\n", *start)) return 0;
    const int fields =
        sscanf(start, "%31s %d %d %d %15s %d %1s", out->name, &out->m, &out->n, &out->k, what, &out->window, rest);
    if (fields < 4 || fields > 6 || out->m < 1 || out->n < 1 || out->k < 1 || !to_epilogue(out, what)) return -1;
    return fields < 6 || (out->attention && out->window > 0) ? 1 : -1;
}

static bool append(bench_shapes *shapes, const bench_shape *shape)
{
    bench_shape *const grown = realloc(shapes->items, (shapes->count + 1) * sizeof *grown);
    if (!grown) {
        fprintf(stderr, "vitq-bench: out of memory for %zu shapes\n", shapes->count + 1);
        return false;
    }
    shapes->items = grown;
    grown[shapes->count++] = *shape;
    return true;
}

static bool read_lines(bench_shapes *shapes, FILE *file, const char *path, const char *model, bool attentions)
{
    char line[256];
    const size_t before = shapes->count;
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        bench_shape shape = {0};
        snprintf(shape.model, sizeof shape.model, "%s", model);
        const int kind = parse_line(&shape, line);
        if (kind < 0) {
            fprintf(stderr,
                    "vitq-bench: %s:%d: not \"name M N K [codes|table|add|set]\" or \"name T H D attention [W]\"\n",
                    path, number);
            return false;
        }
        if (kind && (attentions || !shape.attention) && !append(shapes, &shape)) return false;
    }
    if (ferror(file) || shapes->count == before) {
        fprintf(stderr, "vitq-bench: %s %s\n", path, ferror(file) ? "cannot be read" : "holds no shapes");
        return false;
    }
    return true;
}

static bool read_file(bench_shapes *shapes, const char *name, bool attentions)
{
    char path[4096], model[BENCH_NAME];
    const bool is_path = strchr(name, '/') || strchr(name, '.');
    const char *const slash = strrchr(name, '/');
    const char *const base = slash ? slash + 1 : name;
    snprintf(path, sizeof path, is_path ? "%s" : VQ_SHAPES_DIR "/%s.txt", name);
    snprintf(model, sizeof model, "%.*s", (int)strcspn(base, "."), base);
    FILE *const file = fopen(path, "r");
    if (!file) {
        fprintf(stderr,
                "vitq-bench: no file %s (shapes come as a path, or by name, as the files in bench/shapes: "
                "vit_tiny, vit_base_family, deit_distilled, dinov2, swin_tiny ...)\n",
                path);
        return false;
    }
    const bool ok = read_lines(shapes, file, path, model, attentions);
    fclose(file);
    return ok;
}

bool bench_shapes_read(bench_shapes *shapes, char **names, int count, bool attentions)
{
    if (!count) return read_file(shapes, "vit_tiny", attentions);
    for (int i = 0; i < count; i++)
        if (!read_file(shapes, names[i], attentions)) return false;
    return true;
}
