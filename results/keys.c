#include "results/keys.h"

#include <string.h>

#include "results/json.h"

const char *fm_keys_value(const struct fm_keys *keys, size_t key, const struct fm_result_cell *cell)
{
    return fm_json_text(keys->key[key].strategy ? cell->strategies : cell->set, keys->key[key].name);
}

static void add(struct fm_keys *keys, const char *name, bool strategy)
{
    for (size_t i = 0; i < keys->count; i++)
        if (keys->key[i].strategy == strategy && strcmp(keys->key[i].name, name) == 0) return;
    if (keys->count == FM_KEYS_MAX) return;
    keys->key[keys->count].name = name;
    keys->key[keys->count].strategy = strategy;
    keys->key[keys->count++].varies = false;
}

static bool differ(const char *a, const char *b)
{
    return !a != !b || (a && strcmp(a, b) != 0);
}

void fm_keys_of(const struct fm_result *result, const size_t *cells, size_t count, struct fm_keys *keys)
{
    keys->count = 0;
    for (int strategy = 0; strategy < 2; strategy++)
        for (size_t i = 0; i < count; i++) {
            const struct fm_result_cell *cell = &result->cells[cells[i]];
            const cJSON *values = strategy ? cell->strategies : cell->set, *item = NULL;
            cJSON_ArrayForEach(item, values) if (item->string) add(keys, item->string, strategy);
        }
    for (size_t k = 0; k < keys->count; k++)
        for (size_t i = 1; i < count && !keys->key[k].varies; i++)
            keys->key[k].varies = differ(fm_keys_value(keys, k, &result->cells[cells[0]]),
                                         fm_keys_value(keys, k, &result->cells[cells[i]]));
}
