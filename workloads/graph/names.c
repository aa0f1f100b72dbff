#include "workloads/graph/names.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <string.h>

#define MAX_TEXT_BYTES ((size_t)64 << 20)

void fm_names_release(struct fm_names *names)
{
    fm_free(names->entry);
    fm_free(names->slot);
    fm_buf_release(&names->text);
    *names = (struct fm_names){ 0 };
}

static const char *text_of(const struct fm_names *names, size_t entry)
{
    return fm_buf_text(&names->text) + names->entry[entry].text;
}

/* the slot that holds the name, or the empty one where it belongs */
static size_t slot_of(const struct fm_names *names, const char *name)
{
    size_t i = (size_t)fm_hash_text(FM_HASH_INIT, name) & (names->slots - 1);
    while (names->slot[i] && strcmp(text_of(names, names->slot[i] - 1), name) != 0) i = (i + 1) & (names->slots - 1);
    return i;
}

static bool widen(struct fm_names *names)
{
    size_t slots = names->slots ? names->slots * 2 : 64;
    uint32_t *slot = fm_calloc(slots, sizeof *slot);
    if (!slot) return false;
    fm_free(names->slot);
    names->slot = slot;
    names->slots = slots;
    for (size_t e = 0; e < names->count; e++) slot[slot_of(names, text_of(names, e))] = (uint32_t)e + 1;
    return true;
}

void fm_names_add(struct fm_names *names, const char *name, uint32_t number)
{
    if (names->failed) return;
    names->text.max_bytes = MAX_TEXT_BYTES;
    size_t text = names->text.bytes;
    struct fm_name_entry *grown = fm_grow(names->entry, &names->room, names->count + 1, sizeof *grown);
    if (grown) names->entry = grown;
    fm_buf_add(&names->text, name, strlen(name) + 1);
    if (!grown || !fm_buf_ok(&names->text) || (2 * (names->count + 1) > names->slots && !widen(names))) {
        names->failed = true;
        return;
    }
    size_t slot = slot_of(names, name);
    names->entry[names->count++] = (struct fm_name_entry){ text, number };
    names->slot[slot] = (uint32_t)names->count;
}

void fm_names_set(struct fm_names *names, const char *name, uint32_t number)
{
    if (names->failed || !names->count) return;
    uint32_t found = names->slot[slot_of(names, name)];
    if (found) names->entry[found - 1].number = number;
}

void fm_names_clear(struct fm_names *names)
{
    names->count = 0;
    fm_buf_clear(&names->text);
    if (names->slot) memset(names->slot, 0, names->slots * sizeof *names->slot);
}

uint32_t fm_names_find(const struct fm_names *names, const char *name)
{
    if (!names->count) return FM_NO_NUMBER;
    uint32_t found = names->slot[slot_of(names, name)];
    return found ? names->entry[found - 1].number : FM_NO_NUMBER;
}

const char *fm_names_nearest(const struct fm_names *names, const char *name)
{
    const char *best = NULL;
    for (size_t e = 0; e < names->count; e++) { /* a handful at a time: the best so far against the next */
        const char *pair[] = { best ? best : text_of(names, e), text_of(names, e) };
        const char *near = fm_nearest(name, pair, 2);
        if (near) best = near;
    }
    return best ? best : "";
}
