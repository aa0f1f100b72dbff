#include "workloads/program/candidates.h"

#include "tuner/base/memory.h"

#include <string.h>

void fm_workspaces_release(struct fm_workspaces *table)
{
    if (!table) return;
    fm_free(table->entry);
    fm_free(table->slot);
    *table = (struct fm_workspaces){ 0 };
}

/* the slot that holds the key, or the empty one where it would go */
static size_t find_slot(const struct fm_workspaces *table, uint64_t key)
{
    size_t i = (size_t)(key ^ (key >> 32)) & (table->slots - 1);
    while (table->slot[i] && table->entry[table->slot[i] - 1].key != key) i = (i + 1) & (table->slots - 1);
    return i;
}

const struct fm_workspace_entry *fm_workspaces_find(const struct fm_workspaces *table, uint64_t key)
{
    if (!table->slots) return NULL;
    uint32_t index = table->slot[find_slot(table, key)];
    return index ? &table->entry[index - 1] : NULL;
}

static fm_status grow_slots(struct fm_workspaces *table, struct fm_err *err)
{
    size_t slots = table->slots ? table->slots * 2 : 256;
    uint32_t *slot = fm_calloc(slots, sizeof *slot);
    if (!slot) return FM_FAIL(err, FM_NOMEM, "workspace table of %zu", slots);
    fm_free(table->slot);
    table->slot = slot;
    table->slots = slots;
    for (size_t i = 0; i < table->count; i++) table->slot[find_slot(table, table->entry[i].key)] = (uint32_t)i + 1;
    return FM_OK;
}

fm_status fm_workspaces_add(struct fm_workspaces *table, const struct fm_workspace_entry *entry, struct fm_err *err)
{
    if (table->count * 2 >= table->slots) {
        fm_status status = grow_slots(table, err);
        if (status != FM_OK) return status;
    }
    size_t i = find_slot(table, entry->key);
    if (table->slot[i]) {
        table->entry[table->slot[i] - 1] = *entry;
        return FM_OK;
    }
    struct fm_workspace_entry *grown = fm_grow(table->entry, &table->room, table->count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "workspace table of %zu", table->count);
    table->entry = grown;
    table->entry[table->count++] = *entry;
    table->slot[i] = (uint32_t)table->count;
    return FM_OK;
}
