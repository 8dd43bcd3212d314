#include "graph/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_INDEX_BYTES = 64 << 20, MAX_SHARDS = 1000, MAX_NAME = 200 };

struct vq_weights {
    char *path;
    vq_shard_index index; /* of one file: one shard, no entries */
    vq_safetensors **shards;
};

/* ---- index ---------------------------------------------------------------------------------------------------------
 */

void vq_shard_index_clear(vq_shard_index *index)
{
    for (int i = 0; i < index->num_shards; i++) free(index->shards[i]);
    for (int i = 0; i < index->num_entries; i++) free(index->entries[i].tensor);
    free(index->shards);
    free(index->entries);
    *index = (vq_shard_index){0};
}

/* A file beside the index, never one elsewhere. */
static bool is_shard_name(const char *name)
{
    static const char end[] = ".safetensors";
    const size_t length = strlen(name);
    if (length < sizeof end || length > MAX_NAME || name[0] == '.' || strcmp(name + length - strlen(end), end) != 0)
        return false;
    for (; *name; name++)
        if (*name == '/' || *name == '\\' || (unsigned char)*name < 32) return false;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const vq_shard_entry *)a)->tensor, ((const vq_shard_entry *)b)->tensor);
}

static int find_shard(const vq_shard_index *index, const char *name)
{
    char *const *const at =
        bsearch(&name, index->shards, (size_t)index->num_shards, sizeof *index->shards, compare_names);
    return at ? (int)(at - index->shards) : -1;
}

/* The names of files that occur, each once. */
static vq_status collect_shards(vq_shard_index *index, const cJSON *map, const char *path)
{
    const cJSON *item;
    const size_t count = (size_t)cJSON_GetArraySize(map);
    const char **names = NULL;
    size_t used = 0;
    vq_status status = VQ_OK;
    VQ_GO(vq_alloc(&names, count, sizeof *names, "index of shards"));
    cJSON_ArrayForEach(item, map)
    {
        if (!cJSON_IsString(item) || !is_shard_name(item->valuestring))
            VQ_GO(vq_fail(VQ_ERR_FORMAT,
                          "%s: weight_map of %.80s is \"%.80s\", must be the name of a .safetensors file in "
                          "the same folder",
                          path, item->string, cJSON_IsString(item) ? item->valuestring : "?"));
        names[used++] = item->valuestring;
    }
    qsort(names, used, sizeof *names, compare_names);
    VQ_GO(vq_alloc(&index->shards, MAX_SHARDS, sizeof *index->shards, "index of shards"));
    for (size_t i = 0; i < used; i++) {
        if (i > 0 && strcmp(names[i], names[i - 1]) == 0) continue;
        if (index->num_shards == MAX_SHARDS)
            VQ_GO(vq_fail(VQ_ERR_FORMAT, "%s: weight_map names more than %d files", path, MAX_SHARDS));
        VQ_GO(vq_strdup(&index->shards[index->num_shards], names[i]));
        index->num_shards++;
    }
done:
    free(names);
    return status;
}

static vq_status read_index(vq_shard_index *index, const cJSON *root, const char *path)
{
    const cJSON *const map = cJSON_IsObject(root) ? cJSON_GetObjectItemCaseSensitive(root, "weight_map") : NULL;
    const cJSON *item;
    if (!cJSON_IsObject(map) || !map->child)
        return vq_fail(VQ_ERR_FORMAT, "%s: \"weight_map\" is not an object with at least one tensor", path);
    VQ_TRY(collect_shards(index, map, path));
    VQ_TRY(vq_alloc(&index->entries, (size_t)cJSON_GetArraySize(map), sizeof *index->entries, "index of shards"));
    cJSON_ArrayForEach(item, map)
    {
        vq_shard_entry *const e = &index->entries[index->num_entries];
        VQ_TRY(vq_strdup(&e->tensor, item->string));
        e->shard = find_shard(index, item->valuestring);
        index->num_entries++;
    }
    qsort(index->entries, (size_t)index->num_entries, sizeof *index->entries, compare_entries);
    for (int i = 1; i < index->num_entries; i++)
        if (strcmp(index->entries[i].tensor, index->entries[i - 1].tensor) == 0)
            return vq_fail(VQ_ERR_FORMAT, "%s: weight_map lists %.80s twice", path, index->entries[i].tensor);
    return VQ_OK;
}

vq_status vq_shard_index_parse(vq_shard_index *out, const char *path, const char *json, size_t bytes)
{
    cJSON *root = NULL;
    *out = (vq_shard_index){0};
    VQ_TRY(vq_json_parse(&root, path, json, bytes));
    const vq_status status = read_index(out, root, path);
    cJSON_Delete(root);
    if (status != VQ_OK) vq_shard_index_clear(out);
    return status;
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static const vq_shard_entry *find_entry(const vq_weights *w, const char *tensor)
{
    const vq_shard_entry key = {.tensor = (char *)(uintptr_t)tensor};
    return bsearch(&key, w->index.entries, (size_t)w->index.num_entries, sizeof key, compare_entries);
}

/* The index and the shards say the same. */
static vq_status check_shards(const vq_weights *w)
{
    for (int i = 0; i < w->index.num_entries; i++) {
        const vq_shard_entry *const e = &w->index.entries[i];
        if (!vq_safetensors_find(w->shards[e->shard], e->tensor))
            return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s is not in %s", w->path, e->tensor,
                           w->index.shards[e->shard]);
    }
    for (int s = 0; s < w->index.num_shards; s++)
        for (int i = 0; i < vq_safetensors_count(w->shards[s]); i++) {
            const char *const name = vq_safetensors_at(w->shards[s], i)->name;
            const vq_shard_entry *const e = find_entry(w, name);
            if (!e || e->shard != s)
                return vq_fail(VQ_ERR_FORMAT, "%s: tensor %.80s is in %s, and weight_map %s", w->path, name,
                               w->index.shards[s], e ? "has it elsewhere" : "does not list it");
        }
    return VQ_OK;
}

static vq_status open_shards(vq_weights *w)
{
    char *json = NULL, *shard = NULL, *dir = NULL;
    size_t bytes = 0;
    const char *const slash = strrchr(w->path, '/');
    vq_status status = VQ_OK;
    VQ_GO(vq_file_read(&json, &bytes, w->path, MAX_INDEX_BYTES));
    VQ_GO(vq_shard_index_parse(&w->index, w->path, json, bytes));
    VQ_GO(vq_alloc(&w->shards, (size_t)w->index.num_shards, sizeof(vq_safetensors *), "shards"));
    VQ_GO(slash ? vq_format(&dir, "%.*s", (int)(slash - w->path) + 1, w->path) : vq_strdup(&dir, "./"));
    for (int i = 0; i < w->index.num_shards; i++) {
        free(shard);
        shard = NULL;
        VQ_GO(vq_format(&shard, "%s%s", dir, w->index.shards[i]));
        if (!vq_is_file(shard)) VQ_GO(vq_fail(VQ_ERR_IO, "%s: shard %s is missing", w->path, w->index.shards[i]));
        VQ_GO(vq_safetensors_open(&w->shards[i], shard));
    }
    VQ_GO(check_shards(w));
done:
    free(json);
    free(shard);
    free(dir);
    return status;
}

static vq_status open_one(vq_weights *w)
{
    VQ_TRY(vq_alloc(&w->shards, 1, sizeof(vq_safetensors *), "weights"));
    VQ_TRY(vq_alloc(&w->index.shards, 1, sizeof(char *), "weights"));
    VQ_TRY(vq_strdup(&w->index.shards[0], w->path));
    w->index.num_shards = 1;
    return vq_safetensors_open(&w->shards[0], w->path);
}

vq_status vq_weights_open(vq_weights **out, const char *path)
{
    vq_weights *w = NULL;
    vq_status status = VQ_OK;
    *out = NULL;
    VQ_GO(vq_alloc(&w, 1, sizeof *w, "weights"));
    VQ_GO(vq_strdup(&w->path, path));
    VQ_GO(vq_ends_with(path, ".json") ? open_shards(w) : open_one(w));
    *out = w;
    w = NULL;
done:
    vq_weights_destroy(&w);
    return status;
}

void vq_weights_destroy(vq_weights **weights)
{
    if (!weights || !*weights) return;
    vq_weights *const w = *weights;
    for (int i = 0; w->shards && i < w->index.num_shards; i++) vq_safetensors_destroy(&w->shards[i]);
    free(w->shards);
    vq_shard_index_clear(&w->index);
    free(w->path);
    free(w);
    *weights = NULL;
}

int vq_weights_count(const vq_weights *w)
{
    int count = 0;
    for (int i = 0; i < w->index.num_shards; i++) count += vq_safetensors_count(w->shards[i]);
    return count;
}

const vq_st_tensor *vq_weights_at(const vq_weights *w, int i, const vq_safetensors **st)
{
    int s = 0;
    for (; i >= vq_safetensors_count(w->shards[s]); s++) i -= vq_safetensors_count(w->shards[s]);
    if (st) *st = w->shards[s];
    return vq_safetensors_at(w->shards[s], i);
}

const vq_st_tensor *vq_weights_find(const vq_weights *w, const char *name, const vq_safetensors **st)
{
    for (int s = 0; s < w->index.num_shards; s++) {
        const vq_st_tensor *const t = vq_safetensors_find(w->shards[s], name);
        if (st && t) *st = w->shards[s];
        if (t) return t;
    }
    return NULL;
}

const char *vq_weights_path(const vq_weights *w)
{
    return w->path;
}

static vq_status hash_file(char out[33], const char *path)
{
    vq_file_map map;
    VQ_TRY(vq_file_map_open(&map, path));
    vq_hash_hex(out, map.data, map.bytes);
    vq_file_map_close(&map);
    return VQ_OK;
}

vq_status vq_weights_hash(char out[33], const vq_weights *w)
{
    char *all = NULL;
    vq_status status = VQ_OK;
    if (w->index.num_shards == 1) return hash_file(out, vq_safetensors_path(w->shards[0]));
    VQ_TRY(vq_alloc(&all, (size_t)w->index.num_shards, 33, "hashes"));
    for (int i = 0; i < w->index.num_shards; i++) VQ_GO(hash_file(all + 32 * i, vq_safetensors_path(w->shards[i])));
    vq_hash_hex(out, all, (size_t)w->index.num_shards * 32);
done:
    free(all);
    return status;
}
