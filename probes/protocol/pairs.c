#include "probes/protocol/protocol.h"

#include <string.h>

static struct fm_pair *find(struct fm_pairs *pairs, const char *key)
{
    for (uint32_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->item[i].key, key) == 0) return &pairs->item[i];
    return NULL;
}

bool fm_pairs_set(struct fm_pairs *pairs, const char *key, const char *value)
{
    size_t key_bytes = strlen(key), value_bytes = strlen(value);
    struct fm_pair *pair = find(pairs, key);
    if (!key_bytes || key_bytes >= sizeof pair->key || value_bytes >= sizeof pair->value) return false;
    if (!pair) {
        if (pairs->count >= FM_MAX_PAIRS) return false;
        pair = &pairs->item[pairs->count++];
        memcpy(pair->key, key, key_bytes + 1);
    }
    /* value may be what the pair already holds */
    memmove(pair->value, value, value_bytes + 1);
    return true;
}

const char *fm_pairs_get(const struct fm_pairs *pairs, const char *key)
{
    for (uint32_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->item[i].key, key) == 0) return pairs->item[i].value;
    return NULL;
}
