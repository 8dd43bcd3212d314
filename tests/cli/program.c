#define _XOPEN_SOURCE 700 /* pseudo-terminals, nftw */

#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zlib.h>

enum { SECONDS = 600 }; /* a program that takes longer hangs */

const char *vitq_path, *classify_path;
const char *model_path = VQ_SOURCE_DIR "/models/fashion_vit";
const char *test_images, *test_labels, *train_images;

bool find_files(int argc, char **argv)
{
    static char paths[3][512];
    const char *const set = getenv("VITQ_FASHION_MNIST"), *const data = set ? set : "/usr/share/datasets/fashion-mnist";
    if (argc != 3) {
        fprintf(stderr, "usage: %s VITQ CLASSIFY\n", argv[0]);
        exit(1);
    }
    vitq_path = argv[1];
    classify_path = argv[2];
    snprintf(paths[0], sizeof paths[0], "%s/t10k-images-idx3-ubyte.gz", data);
    snprintf(paths[1], sizeof paths[1], "%s/t10k-labels-idx1-ubyte.gz", data);
    snprintf(paths[2], sizeof paths[2], "%s/train-images-idx3-ubyte.gz", data);
    test_images = paths[0];
    test_labels = paths[1];
    train_images = paths[2];
    if (exists(model_path) && exists(test_images)) return true;
    printf("skipped: %s or %s is not there\n", model_path, test_images);
    return false;
}

/* ---- running -------------------------------------------------------------------------------------------------------
 */

static void become(const run_how *how, const char *const *words)
{
    if (how && how->env) putenv((char *)how->env);
    if (how && how->file_limit) {
        const struct rlimit limit = {(rlim_t)how->file_limit, (rlim_t)how->file_limit};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    alarm(SECONDS); /* outlives exec */
    execv(words[0], (char *const *)words);
    fprintf(stderr, "cannot run %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

static void redirect(const char *path, int to)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || dup2(fd, to) < 0) _exit(127);
    close(fd);
}

static void join_words(char *out, size_t size, const char *const *words)
{
    size_t used = 0;
    out[0] = 0;
    for (; *words && used < size; words++) used += (size_t)snprintf(out + used, size - used, "%s ", *words);
}

process start_words(const run_how *how, const char *const *words)
{
    static int number;
    process p;
    snprintf(p.out, sizeof p.out, "%s", scratch("out%d", ++number));
    snprintf(p.err, sizeof p.err, "%s", scratch("err%d", number));
    join_words(p.words, sizeof p.words, words);
    fflush(NULL);
    p.pid = fork();
    if (p.pid < 0) fail_msg("fork: %s", strerror(errno));
    if (p.pid == 0) {
        redirect(how && how->out ? how->out : p.out, STDOUT_FILENO);
        redirect(p.err, STDERR_FILENO);
        become(how, words);
    }
    if (how && how->out) write_text(p.out, "");
    return p;
}

const run_result *finish(process *p)
{
    static run_result results[8];
    static int next;
    run_result *const r = &results[next++ % 8];
    int status;
    size_t bytes;
    free(r->out);
    free(r->err);
    while (waitpid(p->pid, &status, 0) < 0)
        if (errno != EINTR) fail_msg("waitpid: %s", strerror(errno));
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    r->out = (char *)read_file(&bytes, p->out);
    r->err = (char *)read_file(&bytes, p->err);
    memcpy(r->words, p->words, sizeof r->words);
    unlink(p->out);
    unlink(p->err);
    return r;
}

const run_result *run_words(const run_how *how, const char *const *words)
{
    process p = start_words(how, words);
    return finish(&p);
}

const char *check_ok(const run_result *r)
{
    if (r->code != 0 || r->err[0])
        fail_msg("%s\nended with %d, expected 0 and nothing on stderr, which has:\n%s", r->words, r->code, r->err);
    return r->out;
}

cJSON *parse_json(const char *text)
{
    cJSON *const o = cJSON_Parse(text);
    if (!o) fail_msg("is not JSON:\n%s", text);
    return o;
}

void check_fails(const run_result *r, int code, const char *says)
{
    const char *const end = strchr(r->err, '\n');
    const bool one_line = strncmp(r->err, "vitq: ", 6) == 0 && end > r->err + 6 && end[1] == 0;
    if (r->code != code || r->out[0] || !one_line || !strstr(r->err, says))
        fail_msg("%s\nended with %d, expected %d and one line on stderr with \"%s\"; stderr has:\n%s\nand stdout:\n%s",
                 r->words, r->code, code, says, r->err, r->out);
}

const char *in_terminal(const char *const *words)
{
    static char text[1 << 20];
    size_t used = 0;
    int status;
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) fail_msg("no terminal: %s", strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) fail_msg("fork: %s", strerror(errno));
    if (pid == 0) {
        setsid();
        const int slave = open(ptsname(master), O_RDWR);
        for (int fd = 0; fd < 3; fd++)
            if (slave < 0 || dup2(slave, fd) < 0) _exit(127);
        become(&(run_how){.env = "TERM=xterm"}, words);
    }
    for (;;) { /* ends with an error once the program has closed the other side */
        const ssize_t n = read(master, text + used, sizeof text - 1 - used);
        if (n <= 0) break;
        used += (size_t)n;
    }
    text[used] = 0;
    close(master);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s in a terminal did not end with 0:\n%s", words[1], text);
    return text;
}

/* ---- looking -------------------------------------------------------------------------------------------------------
 */

void has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

void lacks(const char *text, const char *part)
{
    if (strstr(text, part)) fail_msg("\"%s\" is in:\n%s", part, text);
}

void matches(const char *text, const char *pattern)
{
    regex_t compiled;
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0) fail_msg("bad pattern %s", pattern);
    const int found = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    if (found != 0) fail_msg("%s does not match:\n%s", pattern, text);
}

int times(const char *text, const char *part)
{
    int n = 0;
    for (const char *found = strstr(text, part); found; found = strstr(found + 1, part)) n++;
    return n;
}

const cJSON *at(const cJSON *object, const char *path)
{
    const cJSON *o = object;
    const char *part = path;
    while (o && *part) {
        char name[64];
        const size_t length = strcspn(part, ".");
        snprintf(name, sizeof name, "%.*s", (int)length, part);
        o = cJSON_IsArray(o) ? cJSON_GetArrayItem(o, (int)strtol(name, NULL, 10))
                             : cJSON_GetObjectItemCaseSensitive(o, name);
        part += length + (part[length] == '.');
    }
    if (!o) fail_msg("there is no %s", path);
    return o;
}

double num(const cJSON *object, const char *path)
{
    const cJSON *const o = at(object, path);
    if (!cJSON_IsNumber(o)) fail_msg("%s is no number", path);
    return o->valuedouble;
}

const char *str(const cJSON *object, const char *path)
{
    const cJSON *const o = at(object, path);
    if (!cJSON_IsString(o)) fail_msg("%s is no string", path);
    return o->valuestring;
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static char folder[64];

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(const char *fmt, ...)
{
    static char paths[512][384];
    static int used;
    char name[256];
    va_list args;
    if (!folder[0]) {
        strcpy(folder, "/tmp/vitq-cli-XXXXXX");
        if (!mkdtemp(folder)) {
            perror(folder);
            exit(1);
        }
        atexit(remove_folder);
    }
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    if (used == 512) fail_msg("too many scratch paths");
    snprintf(paths[used], sizeof paths[0], "%s/%s", folder, name);
    return paths[used++];
}

bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int entries(const char *path)
{
    int n = 0;
    DIR *const dir = opendir(path);
    if (!dir) fail_msg("%s: %s", path, strerror(errno));
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

void make_folder(const char *path)
{
    if (mkdir(path, 0777) != 0) fail_msg("%s: %s", path, strerror(errno));
}

void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *const f = fopen(path, "wb");
    if (!f || (bytes && fwrite(data, 1, bytes, f) != bytes) || fclose(f) != 0) fail_msg("cannot write %s", path);
}

void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

uint8_t *read_file(size_t *bytes, const char *path)
{
    struct stat info;
    FILE *const f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &info) != 0) fail_msg("%s: %s", path, strerror(errno));
    *bytes = (size_t)info.st_size;
    uint8_t *const data = malloc(*bytes + 1);
    if (!data || fread(data, 1, *bytes, f) != *bytes) fail_msg("cannot read %s", path);
    data[*bytes] = 0;
    fclose(f);
    return data;
}

void copy_file(const char *from, const char *to)
{
    size_t bytes;
    uint8_t *const data = read_file(&bytes, from);
    write_file(to, data, bytes);
    free(data);
}

bool same_files(const char *a, const char *b)
{
    size_t bytes_a, bytes_b;
    uint8_t *const data_a = read_file(&bytes_a, a), *const data_b = read_file(&bytes_b, b);
    const bool same = bytes_a == bytes_b && memcmp(data_a, data_b, bytes_a) == 0;
    free(data_a);
    free(data_b);
    return same;
}

static void put32(uint8_t *to, unsigned long v)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t put_chunk(uint8_t *to, const char *kind, const void *data, size_t bytes)
{
    put32(to, bytes);
    memcpy(to + 4, kind, 4);
    memcpy(to + 8, data, bytes);
    put32(to + 8 + bytes, crc32(0, to + 4, (uInt)(4 + bytes)));
    return bytes + 12;
}

void write_png(const char *path, const uint8_t *pixels)
{
    enum { SIDE = 28 };
    uint8_t header[13] = {0, 0, 0, SIDE, 0, 0, 0, SIDE, 8, 0, 0, 0, 0}, raw[SIDE * (SIDE + 1)], packed[2048];
    uint8_t file[4096] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uLongf packed_bytes = sizeof packed;
    size_t used = 8;
    for (int y = 0; y < SIDE; y++) {
        raw[y * (SIDE + 1)] = 0;
        memcpy(raw + y * (SIDE + 1) + 1, pixels + y * SIDE, SIDE);
    }
    if (compress(packed, &packed_bytes, raw, sizeof raw) != Z_OK) fail_msg("cannot compress %s", path);
    used += put_chunk(file + used, "IHDR", header, sizeof header);
    used += put_chunk(file + used, "IDAT", packed, packed_bytes);
    used += put_chunk(file + used, "IEND", "", 0);
    write_file(path, file, used);
}

tensors read_tensors(const char *path)
{
    tensors t = {0};
    uint64_t length = 0;
    t.file = read_file(&t.bytes, path);
    for (int i = 8; i-- > 0 && t.bytes >= 8;) length = length << 8 | t.file[i];
    if (t.bytes < 8 || length > t.bytes - 8) fail_msg("%s: no safetensors file", path);
    t.header = cJSON_ParseWithLength((const char *)t.file + 8, length);
    if (!t.header) fail_msg("%s: its header is not JSON", path);
    t.data = t.file + 8 + length;
    t.bytes -= 8 + length;
    return t;
}

void clear_tensors(tensors *t)
{
    cJSON_Delete(t->header);
    free(t->file);
    *t = (tensors){0};
}
